//! Every line of the "Bad input": a message that says what, where and what to do, the right exit
//! code, no panic.
//!
//! Each case damages a copy of a small checkpoint in one place and runs the program on it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{Ran, ended, run, run_with, testdata};
use tempfile::TempDir;

/// A copy of `testdata/tiny` that a test may damage.
fn copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(testdata("tiny")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

fn score(folder: &Path) -> Ran {
    let args = ["score", "--model", folder.to_str().unwrap(), "--token-ids", "-", "--precision", "exact"];
    run_with(&args, b"[1, 2, 3]")
}

/// Replaces text in a JSON file of the copy.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Changes the header of a safetensors file without changing its length.
fn edit_header(file: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("in the header");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn an_undamaged_copy_is_fine() {
    let (_folder, path) = copy();
    score(&path).ok();
}

#[test]
fn a_truncated_shard() {
    let (_folder, path) = copy();
    let shard = path.join("model-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1000]).unwrap();
    score(&path).fails(1, &["model-00002.safetensors", "truncated", "download"]);
    fs::write(&shard, b"").unwrap();
    score(&path).fails(1, &["model-00002.safetensors"]);
}

#[test]
fn a_missing_shard() {
    let (_folder, path) = copy();
    fs::remove_file(path.join("model-00003.safetensors")).unwrap();
    score(&path).fails(1, &["model-00003.safetensors"]);
}

#[test]
fn an_index_that_names_a_path_outside_the_folder() {
    for outside in ["../model-00001.safetensors", "/etc/passwd", "a/../../b.safetensors"] {
        let (_folder, path) = copy();
        edit(&path.join("model.safetensors.index.json"), "model-00001.safetensors", outside);
        score(&path).fails(1, &["model.safetensors.index.json", outside]);
    }
}

#[test]
fn a_wrong_dtype_and_a_wrong_shape() {
    let (_folder, path) = copy();
    let shard = path.join("model-00000.safetensors");
    edit_header(&shard, "\"BF16\"", "\"I16\" ");
    score(&path).fails(1, &["model-00000.safetensors", "I16", "BF16"]);
    let (_folder, path) = copy();
    edit_header(&path.join("model-00000.safetensors"), "[512, 128]", "[256, 256]");
    score(&path).fails(1, &["256", "512", "shape"]);
}

/// Writes `bytes` at `offset` into the first tensor whose name ends so, and gives its name.
fn overwrite(checkpoint: &Path, end: &str, offset: usize, bytes: &[u8]) -> String {
    let shards = (0..).map(|index| checkpoint.join(format!("model-{index:05}.safetensors")));
    for shard in shards.take_while(|shard| shard.exists()) {
        let mut file = fs::read(&shard).unwrap();
        let header_len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&file[8..8 + header_len]).unwrap();
        let found = header.as_object().unwrap().iter().find(|(name, _)| name.ends_with(end));
        let Some((name, entry)) = found else { continue };
        let start = 8 + header_len + entry["data_offsets"][0].as_u64().unwrap() as usize + offset;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        fs::write(&shard, file).unwrap();
        return name.clone();
    }
    panic!("no tensor is called {end}")
}

#[test]
fn nan_scales() {
    let (_folder, path) = copy();
    let name = overwrite(&path, "_scales", 3, &[255]);
    score(&path).fails(1, &[&name, "NaN", "block 3", "damaged"]);
}

/// With `--logits` the message began with "cannot write OUT", though nothing was wrong there.
#[test]
fn logits_that_are_not_finite() {
    let (folder, path) = copy();
    // The infinity of bf16.
    overwrite(&path, "model.norm.weight", 0, &[0x80, 0x7f]);
    let out = folder.path().join("logits.safetensors");
    let (model, out) = (path.to_str().unwrap(), out.to_str().unwrap());
    let args = ["score", "--model", model, "--token-ids", "-", "--precision", "exact", "--logits", out];
    let said = run_with(&args, b"[1, 2, 3]").fails(1, &["position 0 are not finite", "damaged"]);
    assert!(!said.contains("cannot write"), "{said}");
    assert!(!Path::new(out).exists());
}

#[test]
fn an_unknown_model_type() {
    let (_folder, path) = copy();
    edit(&path.join("config.json"), "\"gpt_oss\"", "\"llama\"");
    score(&path).fails(1, &["config.json", "llama", "gpt_oss"]);
}

#[test]
fn a_damaged_config_or_tokenizer() {
    let (_folder, path) = copy();
    let run_text = || run(&["run", "hi", "--model", path.to_str().unwrap()]);
    fs::write(path.join("tokenizer.json"), b"{\"model\": {").unwrap();
    run_text().fails(1, &["tokenizer", "damaged"]);
    fs::write(path.join("tokenizer.json"), b"\xff\xfe").unwrap();
    run_text().fails(1, &["tokenizer"]);
    fs::write(path.join("config.json"), b"{\"model_type\": \"gpt_oss\"").unwrap();
    score(&path).fails(1, &["config.json"]);
    fs::remove_file(path.join("config.json")).unwrap();
    score(&path).fails(1, &["config.json"]);
}

#[test]
fn a_damaged_generation_config() {
    let (_folder, path) = copy();
    fs::write(path.join("generation_config.json"), b"{\"temperature\": 9}").unwrap();
    run(&["run", "hi", "--model", path.to_str().unwrap()])
        .fails(1, &["generation_config.json", "temperature", "9"]);
    // Who does not sample is not stopped by it.
    run(&["inspect", path.to_str().unwrap()]).ok();
    score(&path).ok();
}

#[test]
fn token_ids_beyond_the_vocabulary() {
    let args = ["score", "--model", "synthetic:tiny", "--token-ids", "-"];
    run_with(&args, b"[511]").ok();
    run_with(&args, b"[3, 512]").fails(1, &["512", "index 1", "0 to 511"]);
    let args = ["run", "hi", "--model", "synthetic:tiny", "--logit-bias", "512=1"];
    run(&args).fails(2, &["logit_bias", "512"]);
}

#[test]
fn a_prompt_longer_than_the_context() {
    let prompt = "word ".repeat(300);
    let args = ["run", &prompt, "--model", "synthetic:tiny", "--context", "256"];
    run(&args).fails(1, &["context", "256", "longer context"]);
    let long = "word ".repeat(5000);
    run_with(&["run"], long.as_bytes()).fails(1, &["context", "4096"]);
    run(&["run", "hi", "--context", "8192"]).fails(2, &["--context 8192", "4096"]);
    run(&["inspect", "gpt-oss-20b", "--context", "200000"]).fails(2, &["--context 200000", "131072"]);
}

/// A file that shrinks while it is mapped: the handler names it and ends the program with 1. The chat has
/// mapped the weights and waits for a line when the test cuts them; the turn that the line begins reads what
/// is no longer there.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_shrinks_while_mapped() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    // Written by `synth`, because chat needs a tokenizer and `testdata/tiny` has none.
    let tiny = tempfile::tempdir().unwrap();
    let synth = tiny.path().join("tiny");
    run(&["synth", "tiny", synth.to_str().unwrap()]).ok();
    let mut child =
        crate::program::gptoss(&["chat", "--model", synth.to_str().unwrap(), "--max-tokens", "4"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // The answer to /help says that the model is loaded.
    stdin.write_all(b"/help\n").unwrap();
    let mut line = String::new();
    while !line.contains("/effort") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the answer to /help");
    }
    let weights = fs::read_dir(&synth).unwrap().map(|entry| entry.unwrap().path());
    for file in weights.filter(|file| file.extension().is_some_and(|extension| extension == "safetensors")) {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(4096).unwrap();
    }
    stdin.write_all(b"hello\n").unwrap();
    drop(stdin);
    let status = ended(&mut child);
    let rest: String = stderr.lines().map(|line| line.unwrap() + "\n").collect();
    assert_eq!(status.code(), Some(1), "{rest}");
    assert!(rest.contains(".safetensors") && rest.contains("error"), "{rest}");
}

#[test]
fn an_unknown_preset_or_flag_is_a_usage_error() {
    run(&["inspect", "gpt-oss-7b"]).fails(2, &["gpt-oss-7b", "the presets are"]);
    run(&["run", "hi", "--model", "synthetic:gpt-oss-7b"]).fails(2, &["gpt-oss-7b", "gpt-oss-20b"]);
    run(&["run", "hi", "--model", "nothing"]).fails(2, &["`nothing`"]);
    run(&["run", "hi", "--model", "gpt-oss:20b"]).fails(1, &["gptoss pull openai/gpt-oss-20b", "13.8 GB"]);
    run(&["run", "hi", "--modle", "demo"]).fails(2, &["--modle"]);
    run(&["fly"]).fails(2, &["fly"]);
    run(&["run", "hi", "--temperature", "-1"]).fails(2, &["--temperature"]);
    run(&["run", "hi", "--top-p", "2"]).fails(2, &["--top-p"]);
    run(&["run", ""]).fails(2, &["prompt is empty"]);
    run(&["run", "hi", "--model", "openai/not-pulled"]).fails(1, &["openai/not-pulled", "gptoss pull"]);
    run(&["run", "hi", "--model", "./no/such/folder"]).fails(1, &["no such folder"]);
}

#[test]
fn no_arguments_show_what_to_try() {
    let ran = run(&[]);
    assert_eq!(ran.code, 2);
    for hint in ["gptoss run", "gptoss chat", "embedded demo model"] {
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    assert!(run(&["--help"]).ok().contains("gptoss inspect gpt-oss-120b"));
    let help = run(&["run", "--help"]).ok();
    assert!(help.contains("generation_config.json"));
    // A flag is listed under the heading it belongs to.
    let place = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text} in {help}"));
    assert!(place("--max-tokens") < place("Sampling (") && place("--json") < place("Sampling ("));
    assert!(place("Sampling (") < place("--seed") && place("Computation:") < place("--precision"));
}

/// The name of a folder, of a tensor or of a file may hold escape sequences; an error that quotes it must not
/// pass them on.
#[cfg(unix)]
#[test]
fn names_in_errors_cannot_command_the_terminal() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a\x1b[2Jb");
    fs::create_dir(&folder).unwrap();
    let said = score(&folder).fails(1, &["config.json", "a\u{fffd}[2Jb"]);
    assert!(!said.contains('\x1b'), "{said:?}");
}

#[test]
fn input_that_is_not_utf8() {
    run_with(&["run", "-"], b"caf\xe9")
        .fails(1, &["standard input is not UTF-8", "0xe9 at offset 3", "UTF-8 first"]);
    run_with(&["chat", "--model", "synthetic:tiny", "--max-tokens", "1"], b"/help\nh\xffllo\n")
        .fails(1, &["line 2 of standard input", "0xff at offset 1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    fs::write(&file, b"ok \xc0").unwrap();
    let name = file.to_str().unwrap();
    run(&["score", "--text", name]).fails(1, &[name, "0xc0 at offset 3"]);
    run(&["render", name]).fails(1, &[name, "0xc0 at offset 3"]);
    run(&["run", "hi", "--functions", name]).fails(1, &[name, "0xc0 at offset 3"]);
}
