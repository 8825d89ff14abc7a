//! `gptoss verify`: what passes and what does not. With the feature `broken-kernel` the program computes
//! wrong, and says so: `cargo test -p gptoss-cli --test verify --features broken-kernel`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The command that looks at a model.
fn verify(model: &str, turns: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gptoss"));
    command.args(["verify", "--model", model, "--turns", turns, "--json"]).env_clear();
    command
}

/// What the program says of a model, and its exit code.
fn verified(model: &str, turns: &str) -> (Value, Option<i32>) {
    let output = verify(model, turns).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let said = serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (said, output.status.code())
}

/// The level of what is said about something; the worst, where there are several lines.
fn level<'a>(said: &'a Value, about: &str) -> Option<&'a str> {
    let lines = said["findings"].as_array().expect("a list").iter().filter(|line| line["about"] == about);
    let levels: Vec<&str> = lines.map(|line| line["level"].as_str().expect("a word")).collect();
    ["fail", "warn", "ok"].into_iter().find(|level| levels.contains(level))
}

/// The folder of the demo.
fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

/// The demo's files in a folder of their own.
fn copy(with_sums: bool) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("model");
    fs::create_dir(&folder).expect("a folder");
    for file in fs::read_dir(demo()).expect("the demo") {
        let file = file.expect("a file").path();
        let name = file.file_name().expect("a name");
        if with_sums || name != "SHA256SUMS" {
            fs::copy(&file, folder.join(name)).expect("copied");
        }
    }
    (home, folder)
}

fn name(folder: &Path) -> &str {
    folder.to_str().expect("UTF-8")
}

#[test]
#[cfg(not(feature = "broken-kernel"))]
fn the_demo_passes() {
    let (said, code) = verified("demo", "40");
    assert_eq!((code, &said["is_verified"]), (Some(0), &Value::Bool(true)), "{said}");
    for about in ["files", "kernels", "vocabulary", "turns"] {
        assert_eq!(level(&said, about), Some("ok"), "{said}");
    }
    let (_home, folder) = copy(true);
    let (said, code) = verified(name(&folder), "0");
    assert_eq!((code, level(&said, "files"), level(&said, "turns")), (Some(0), Some("ok"), None), "{said}");
}

#[test]
#[cfg(feature = "broken-kernel")]
fn a_broken_kernel_is_found() {
    let (said, code) = verified("demo", "0");
    assert_eq!((code, level(&said, "kernels")), (Some(1), Some("fail")), "{said}");
}

#[test]
fn one_flipped_bit_is_found() {
    let (_home, folder) = copy(true);
    let file = folder.join("model.safetensors");
    let mut bytes = fs::read(&file).expect("weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("written");
    let (said, code) = verified(name(&folder), "0");
    assert_eq!((code, level(&said, "files")), (Some(1), Some("fail")), "{said}");
    assert!(said.to_string().contains("model.safetensors"), "{said}");
    fs::remove_file(file.with_file_name("tokenizer_config.json")).expect("removed");
    assert!(verified(name(&folder), "0").0.to_string().contains("tokenizer_config.json is not there"));
}

/// Without hashes the turns tell a vocabulary that is not the model's; with them, the file does.
#[test]
fn another_tokenizer_is_found() {
    let (_home, folder) = copy(false);
    let file = folder.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&file).expect("a tokenizer")).expect("JSON");
    let vocab = tokenizer["model"]["vocab"].as_object_mut().expect("tokens");
    // The ids of letters turned around.
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let ids: Vec<Value> = letters.iter().map(|letter| vocab[letter].clone()).collect();
    for (letter, id) in letters.iter().zip(ids.into_iter().rev()) {
        vocab.insert(letter.clone(), id);
    }
    fs::write(&file, tokenizer.to_string()).expect("written");
    let (said, code) = verified(name(&folder), "24");
    assert_eq!(level(&said, "files"), Some("warn"), "{said}");
    assert_eq!(level(&said, "vocabulary"), Some("warn"), "{said}");
    assert_eq!((code, level(&said, "turns")), (Some(1), Some("fail")), "{said}");
}

/// The hub's cache names files by their hashes.
#[test]
fn a_snapshot_is_held_to_the_names_of_its_files() {
    let home = tempfile::tempdir().expect("a folder");
    let repository = home.path().join("models--org--demo");
    let [blobs, snapshot] = ["blobs", "snapshots/0123"].map(|name| repository.join(name));
    for folder in [&blobs, &snapshot, &repository.join("refs")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(repository.join("refs/main"), "0123").expect("a branch");
    let demo = demo();
    let sums = fs::read_to_string(demo.join("SHA256SUMS")).expect("hashes");
    for (hash, file) in sums.lines().filter_map(|line| line.split_once("  ")) {
        fs::copy(demo.join(file), blobs.join(hash)).expect("copied");
        std::os::unix::fs::symlink(blobs.join(hash), snapshot.join(file)).expect("a link");
    }
    let ask = || {
        let output = verify("org/demo", "0").env("HF_HUB_CACHE", home.path()).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let said = ask();
    assert!(said.contains("5 of 5") && said.contains("as the hub has them"), "{said}");
    let weights = fs::canonicalize(snapshot.join("model.safetensors")).expect("a blob");
    let mut bytes = fs::read(&weights).expect("weights");
    *bytes.last_mut().expect("bytes") ^= 0x80;
    fs::write(&weights, bytes).expect("written");
    let said = ask();
    assert!(said.contains("model.safetensors is ") && said.contains("\"is_verified\": false"), "{said}");
}
