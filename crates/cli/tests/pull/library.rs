//! GGUF repositories, and what is done with models once they are here: `list`, `show`, `rm`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stand_in::{REPOSITORY, sha256};
use super::{House, tiny};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn gguf() -> Vec<u8> {
    fs::read(testdata("tiny-yarn-bf16.gguf")).unwrap()
}

/// A repository of two quantizations, one of them in a folder, beside other files.
fn gguf_house() -> House {
    let files = [
        ("README.md", b"not wanted".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("tiny-F16.gguf", b"GGUF of another kind".to_vec()),
        ("BF16/tiny-BF16.gguf", gguf()),
    ];
    House::with_files(BTreeMap::from(files.map(|(name, bytes)| (name.to_owned(), bytes))))
}

impl House {
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run_with(arguments, &[]).ok().stdout).unwrap()
    }
}

#[test]
fn one_of_several_gguf_models_is_pulled_and_used() {
    let house = gguf_house();
    house.pull().refused(1, &["there are 2 models", "BF16/tiny-BF16", "ORG/NAME:QUANT"]);
    house.run_with(&["pull", "org/tiny:Q4"], &[]).refused(1, &["no model is called Q4", "tiny-F16"]);
    let pulled = house.run_with(&["pull", "org/tiny:bf16"], &[]).ok();
    assert!(pulled.stderr.contains("use it with --model org/tiny:bf16"), "{}", pulled.stderr);
    let link = fs::read_link(house.snapshot().join("BF16/tiny-BF16.gguf")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(sha256(&gguf())));
    assert!(
        !house.snapshot().join("config.json").exists() && !house.snapshot().join("tiny-F16.gguf").exists()
    );
    // The only one that is here needs no name.
    for model in ["org/tiny", "org/tiny:BF16"] {
        let shown = house.json(&["show", model, "--json"]);
        assert_eq!(shown["files"][0]["bytes"], gguf().len(), "{shown}");
    }
    house.run_with(&["inspect", "org/tiny:F16"], &[]).refused(1, &["no model is called F16"]);
    let by_pattern = gguf_house();
    by_pattern.run_with(&["pull", REPOSITORY, "--include", "*BF16.gguf"], &[]).ok();
    assert!(by_pattern.snapshot().join("BF16/tiny-BF16.gguf").exists());
}

#[test]
fn what_was_pulled_is_listed_shown_and_removed() {
    let house = House::new();
    assert_eq!(house.json(&["list", "--json"]), Value::Array(Vec::new()));
    house.pull().ok();
    let num_bytes: usize = tiny().values().map(Vec::len).sum();
    let listed = house.json(&["list", "--json"]);
    let row = &listed[0];
    assert_eq!((row["model"].as_str(), row["bytes"].as_u64()), (Some(REPOSITORY), Some(num_bytes as u64)));
    assert!(row["fits"] == "yes" && row["parameters"].as_u64() > Some(100_000), "{row}");
    assert!(row["least_memory_bytes"].as_u64() <= row["memory_bytes"].as_u64(), "{row}");
    let table = house.run_with(&["ls"], &[]).ok().stdout;
    assert!(table.starts_with("MODEL") && table.contains(REPOSITORY) && table.contains("yes"), "{table}");
    let shown = house.run_with(&["show", REPOSITORY], &[]).ok().stdout;
    for fact in ["license", "model-00001.safetensors", "experts", "16 GB: fits"] {
        assert!(shown.contains(fact), "{fact} in {shown}");
    }

    house.run_with(&["rm", REPOSITORY], &[]).refused(2, &["--yes"]);
    house.run_with(&["rm", "org/other", "--yes"], &[]).refused(1, &["gptoss list"]);
    house.run_with(&["rm", "../tiny", "--yes"], &[]).refused(2, &["not a pulled model"]);
    assert!(house.snapshot().is_dir());
    let removed = house.json(&["rm", REPOSITORY, "--yes", "--json"]);
    assert!(removed["freed_bytes"].as_u64() >= Some(num_bytes as u64), "{removed}");
    assert!(!house.folder().exists());
    assert_eq!(house.json(&["list", "--json"]), Value::Array(Vec::new()));
}

/// `show gpt-oss-20b` told of random weights of that shape, also when the model was there.
#[test]
fn a_released_model_goes_by_the_names_people_have() {
    let house = House::new();
    house.run_with(&["show", "gpt-oss-20b"], &[]).refused(1, &["run `gptoss pull openai/gpt-oss-20b`"]);
    house.pull().ok();
    // The stand-in for the hub has one repository: its folder gets the released model's name.
    let folder = house.folder().with_file_name("models--openai--gpt-oss-20b");
    fs::rename(house.folder(), &folder).unwrap();
    for name in ["gpt-oss-20b", "gpt-oss:20b", "gpt-oss", "openai/gpt-oss-20b"] {
        let shown = house.json(&["show", name, "--json"]);
        assert!(shown["license"].as_str().unwrap().starts_with("Apache-2.0"), "{name}: {shown}");
        assert!(!shown["files"].as_array().unwrap().is_empty(), "{name}: {shown}");
    }
    house.run_with(&["rm", "gpt-oss:20b", "--yes"], &[]).ok();
    assert!(!folder.exists());
}

/// Another snapshot of the same repository keeps its files.
#[cfg(unix)]
#[test]
fn removing_a_revision_leaves_the_others_whole() {
    let house = House::new();
    house.pull().ok();
    let other = house.folder().join("snapshots").join("f".repeat(40));
    fs::create_dir_all(&other).unwrap();
    for name in tiny().keys() {
        std::os::unix::fs::symlink(fs::read_link(house.snapshot().join(name)).unwrap(), other.join(name))
            .unwrap();
    }
    let removed = house.json(&["rm", "org/tiny@main", "--yes", "--json"]);
    assert_eq!(removed["freed_bytes"], 0);
    assert!(!house.snapshot().exists() && !house.folder().join("refs/main").exists());
    let listed = house.json(&["list", "--json"]);
    assert_eq!(listed[0]["model"], format!("org/tiny@{}", "f".repeat(40)));
    house.run_with(&["show", &format!("org/tiny@{}", "f".repeat(40))], &[]).ok();
}

#[test]
fn ollamas_models_are_found_by_their_names() {
    let house = House::new();
    let store = house.home.path().join("ollama");
    let manifests = store.join("manifests/registry.ollama.ai/library/gpt-oss");
    fs::create_dir_all(&manifests).unwrap();
    fs::create_dir_all(store.join("blobs")).unwrap();
    let hex = sha256(&gguf());
    fs::write(store.join("blobs").join(format!("sha256-{hex}")), gguf()).unwrap();
    let layer = r#"{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:"#;
    fs::write(manifests.join("20b"), format!("{{\"layers\": [{layer}{hex}\", \"size\": 1}}]}}")).unwrap();
    let variables = [("OLLAMA_MODELS", store.to_str().unwrap())];
    let inspected = house.run_with(&["inspect", "gpt-oss:20b"], &variables).ok();
    assert!(inspected.stdout.starts_with("gpt-oss:20b (GGUF"), "{}", inspected.stdout);
    let listed = house.run_with(&["list"], &variables).ok();
    assert!(listed.stdout.contains("gpt-oss:20b"), "{}", listed.stdout);
    // Without it the name is that of the released model.
    house
        .run_with(&["inspect", "gpt-oss:20b"], &[])
        .refused(1, &["run `gptoss pull openai/gpt-oss-20b` (13.8 GB)"]);
}
