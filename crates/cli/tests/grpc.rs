//! `gptoss serve --grpc` at the command line: what is refused, and the folder that routers read.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use gptoss_harmony::Vocab;

fn gptoss(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gptoss"));
    command.args(args).env_remove("GPTOSS_CONFIG");
    command
}

#[test]
fn what_would_be_open_to_others_or_has_several_models_is_refused() {
    let check = |args: &[&str], words: &str| {
        let output = gptoss(&[&["serve", "--port", "0"], args].concat()).output().expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(words), "{args:?}: {told}");
    };
    check(&["--grpc", "0.0.0.0:0"], "vLLM's protocol asks nobody for a key");
    check(
        &["--grpc", "127.0.0.1:0", "-m", "demo", "-m", "synthetic:tiny"],
        "a worker of a router has one model",
    );
    check(&["--grpc", "127.0.0.1:0", "--model-idle", "5"], "a router expects the model to stay");
    check(&["--grpc", "127.0.0.1:0", "--grpc-tls"], "--tls-client-ca");
    check(&["--grpc-model-dir", "x"], "--grpc");
    check(&["--grpc", "8001"], "8001");
}

#[test]
fn routers_find_a_folder_that_reads_as_the_model_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let wanted = folder.path().join("new/demo");
    let wanted = wanted.to_str().expect("text");
    let args = ["serve", "--port", "0", "--grpc", "127.0.0.1:0", "--quiet", "--grpc-model-dir", wanted];
    let mut server = gptoss(&args).stdout(Stdio::piped()).spawn().expect("runs");
    let lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let told =
        lines.map_while(Result::ok).find(|line| line.starts_with("A worker of routers at http://127.0.0.1:"));
    server.kill().expect("runs");
    server.wait().expect("ends");
    assert!(told.is_some_and(|line| line.contains("new/demo")));
    let read = |name: &str| std::fs::read(format!("{wanted}/{name}")).expect(name);
    let vocab = Vocab::from_tokenizer_json(&read("tokenizer.json")).expect("a tokenizer");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model/tokenizer.json");
    let own = Vocab::from_tokenizer_json(&std::fs::read(own).expect("reads")).expect("a tokenizer");
    let text = "What is 27 + 58? Größe 😀";
    assert_eq!((vocab.encode_ids(text), vocab.stop_ids()), (own.encode_ids(text), own.stop_ids()));
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&read(name)).expect(name);
    assert_eq!(json("config.json")["model_type"], "gpt_oss");
    assert_eq!(json("generation_config.json")["eos_token_id"][0], own.stop_ids()[0]);
    let template = json("tokenizer_config.json")["chat_template"].as_str().expect("a template").to_owned();
    assert_eq!(template.as_bytes(), read("chat_template.jinja"));
    assert!(template.ends_with("{%- endif -%}\n"));
}
