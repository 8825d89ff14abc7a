//! `--adapter`: the files of one beside the demo, at the terminal and in a server.

use std::path::{Path, PathBuf};

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterSite, Checkpoint, FactorDtype, write_adapter};
use serde_json::{Value, json};

use crate::program::{run, run_with, testdata};
use crate::serve::Server;

/// Writes an adapter of the demo with random numbers, or with a B of zeros.
pub fn written(folder: &Path, name: &str, seed: u64, size: f32) -> String {
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    let checkpoint = Checkpoint::open(&demo).unwrap();
    let config = checkpoint.config();
    let mut state = seed;
    let mut numbers = |count: usize, size: f32| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * size
        };
        (0..count).map(|_| next()).collect()
    };
    let (c, kv, f) =
        (config.hidden_size, config.num_key_value_heads * config.head_dim, config.intermediate_size);
    let mut pairs = std::collections::BTreeMap::new();
    for layer in 0..config.num_hidden_layers {
        let pair = AdapterPair { rank: 4, scale: 2.0, a: numbers(4 * c, 0.1), b: numbers(4 * kv, size) };
        pairs.insert(AdapterSite::Value(layer), pair);
        for expert in 0..config.num_local_experts {
            let pair = AdapterPair { rank: 4, scale: 2.0, a: numbers(4 * f, 0.1), b: numbers(4 * c, size) };
            pairs.insert(AdapterSite::Down { layer, expert }, pair);
        }
    }
    let path = folder.join(name);
    let adapter = Adapter { pairs, ..Adapter::default() };
    write_adapter(&path, &adapter, config, "demo", FactorDtype::F32).unwrap();
    path.to_str().unwrap().to_owned()
}

fn scored(flags: &[&str]) -> Value {
    let args = [&["score", "--token-ids", "-", "--json"], flags].concat();
    serde_json::from_str(&run_with(&args, b"[1, 50, 300, 7, 200, 9, 31]").ok()).unwrap()
}

#[test]
fn every_command_takes_an_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = written(folder.path(), "tuned", 1, 0.2);
    let zero = written(folder.path(), "zero", 1, 0.0);
    for flags in [&["--precision", "exact"][..], &["--no-kl"], &["--no-kl", "--memory", "400MB"]] {
        let base = scored(flags);
        let with = |adapter: &str| scored(&[flags, &["--adapter", adapter]].concat());
        assert_eq!(with(&zero)["logprobs"], base["logprobs"], "{flags:?}");
        assert_ne!(with(&tuned)["logprobs"], base["logprobs"], "{flags:?}");
        assert_eq!(with(&tuned)["adapter"].as_str().unwrap().len(), 12);
    }
    let ask = |flags: &[&str]| -> Value {
        let args = [&["run", "What is 27 + 58?", "--json", "--seed", "1"], flags].concat();
        serde_json::from_str(&run(&args).ok()).unwrap()
    };
    assert_eq!(ask(&["--adapter", &zero])["answer"], "85");
    assert!(ask(&["--adapter", &tuned, "--max-tokens", "20"])["adapter"].is_string());
    let bench = ["bench", "--prefill", "8", "--decode", "2", "--repeat", "1", "--json", "--adapter", &tuned];
    let rows: Value = serde_json::from_str(&run(&bench).ok()).unwrap();
    assert!(rows[0]["adapter"].is_string(), "{rows}");
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = written(folder.path(), "tuned", 1, 0.2);
    run(&["run", "hi", "--adapter", "/no/such"]).fails(1, &["/no/such"]);
    let other = testdata("tiny");
    run(&["score", "--token-ids", "-", "--model", &other, "--adapter", &tuned])
        .fails(1, &["adapter", &tuned]);
    let serve = |flags: &[&str]| run(&[&["serve", "--port", "0"], flags].concat());
    serve(&["--adapter", &tuned]).fails(2, &["[MODEL:]NAME=DIR"]);
    let (one, two) = (format!("one={tuned}"), format!("demo:one={tuned}"));
    serve(&["--adapter", &one, "--adapter", &two]).fails(2, &["demo:one"]);
    serve(&["--model", "a=demo", "--model", "b=demo", "--adapter", &one]).fails(2, &["several models"]);
    let on_card = ["--adapter", &one, "--device", "vulkan"];
    serve(&on_card).fails(2, &["adapters run on the CPU for now: --device cpu"]);
}

/// Paths in a file are from its own folder, and what does not fit is told there too.
#[test]
fn the_settings_file_has_adapters() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), "tuned", 1, 0.2);
    let file = folder.path().join("gptoss.toml");
    let check = |text: &str, command: &str| {
        std::fs::write(&file, text).unwrap();
        run(&["config", "check", file.to_str().unwrap(), "--for", command])
    };
    let served = check("[serve]\nadapter = [\"one=./tuned\", \"two=./tuned\"]\n", "serve").ok();
    assert!(served.contains("demo:one, demo:two fit their models"), "{served}");
    let ran = check("[run]\nadapter = \"./tuned\"\n", "run").ok();
    assert!(ran.contains("tuned fits the model"), "{ran}");
    let wrong = check("[serve]\nadapter = [\"one=./nothing\"]\n", "serve");
    assert!(wrong.code == 1 && wrong.stdout.contains("nothing"), "{}", wrong.stdout);
}

#[test]
fn a_server_answers_under_each_name() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = [("a", 1), ("b", 2)]
        .map(|(name, seed)| format!("{name}={}", written(folder.path(), name, seed, 0.2)));
    let root = folder.path().to_str().unwrap();
    let flags = ["--context", "1024", "--adapter", &a, "--adapter", &b, "--adapter-root", root];
    let server = Server::start(&flags);
    let ask = |name: &str| {
        let body = json!({
            "model": name, "messages": [{"role": "user", "content": "What is 27 + 58?"}],
            "temperature": 1, "seed": 7, "max_tokens": 24, "logprobs": true,
        });
        server.post("/v1/chat/completions", &body)
    };
    let [base, one, two] = ["demo", "demo:a", "demo:b"].map(&ask);
    assert!(base["choices"] != one["choices"] && one["choices"] != two["choices"]);
    assert_eq!(ask("demo")["choices"], base["choices"]);
    let fingerprint = base["system_fingerprint"].as_str().unwrap();
    assert!(one["system_fingerprint"].as_str().unwrap().starts_with(&format!("{fingerprint}+")));
    assert_eq!(ask("demo:c")["error"]["code"], "model_not_found");
    let names: Vec<Value> = server.get("/v1/models")["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(names, ["demo", "demo:a", "demo:b"]);
    // The same folder as one that was there from the start, and one whose numbers are another model's.
    let load = |name: &str, path: &str| {
        server.post("/v1/load_lora_adapter", &json!({"lora_name": name, "lora_path": path}))
    };
    assert_eq!(load("later", "b"), "Success: LoRA adapter 'later' added successfully.");
    assert_eq!(ask("later")["choices"], two["choices"]);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(load("none", "empty")["error"]["param"], "lora_path");
    run(&["serve", "--port", "0", "--adapter-root", "/no/such"]).fails(2, &["--adapter-root /no/such"]);
}
