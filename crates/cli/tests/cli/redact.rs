//! `redact` and `serve --redact` with a tiny filter of random weights: what it finds says nothing, but where
//! it finds it is told in the same way everywhere.

use std::fs;
use std::path::Path;

use gptoss_harmony::{MultiDigit, Vocab};
use serde_json::{Value, json};

use crate::program::{Ran, run, run_with, testdata};
use crate::serve::Server;

const TEXT: &str = "Zoë Müller, +44 20 7946 0018,\nzoe@example.com \u{1f600} 4111 1111 1111 1111\n";

/// The folder of a filter whose tokens are single bytes.
fn model(folder: &Path) -> String {
    for file in ["config.json", "model.safetensors", "viterbi_calibration.json"] {
        fs::copy(testdata(&format!("privacy-filter/{file}")), folder.join(file)).unwrap();
    }
    let tokenizer = Vocab::truncated(0, MultiDigit::Keep).to_tokenizer_json();
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn json_of(ran: Ran) -> Value {
    serde_json::from_str(&ran.ok()).unwrap()
}

/// The text with placeholders where its spans are, by bytes; characters must say the same.
fn replaced(text: &str, spans: &Value) -> String {
    let (mut out, mut end) = (String::new(), 0);
    for span in spans.as_array().unwrap() {
        let at = |field: &str| span[field].as_u64().unwrap() as usize;
        let (from, to) = (at("start_byte"), at("end_byte"));
        assert_eq!(span["text"], text[from..to]);
        let characters: String = text.chars().skip(at("start")).take(at("end") - at("start")).collect();
        assert_eq!(span["text"], characters);
        out += &text[end..from];
        out += span["placeholder"].as_str().unwrap();
        end = to;
    }
    out + &text[end..]
}

#[test]
fn text_and_json_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let file = folder.path().join("letter.txt");
    fs::write(&file, TEXT).unwrap();
    let file = file.to_str().unwrap();
    let plain = run(&["redact", file, "--model", &model]).ok();
    assert_eq!(run_with(&["redact", "--model", &model, "--threads", "1"], TEXT.as_bytes()).ok(), plain);
    assert_eq!(run_with(&["redact", "-", "--model", &model], TEXT.as_bytes()).ok(), plain);
    let object = json_of(run(&["redact", file, "--model", &model, "--json"]));
    assert_eq!((&object["text"], &object["redacted_text"]), (&json!(TEXT), &json!(plain)));
    assert_eq!(replaced(TEXT, &object["detected_spans"]), plain);
    let spans = object["detected_spans"].as_array().unwrap();
    assert_eq!(object["summary"]["span_count"], spans.len());
    assert!(spans.len() > 3 && plain.contains("<"), "{plain}");
    let label = spans[0]["label"].as_str().unwrap();
    let args = ["redact", file, "--model", &model, "--json", "--labels", label, "--replace", "[{label} {n}]"];
    let object = json_of(run(&args));
    let spans = object["detected_spans"].as_array().unwrap();
    assert!(spans.iter().all(|span| span["label"] == label), "{object}");
    assert_eq!(spans[0]["placeholder"], format!("[{label} 1]"));
    assert_eq!(replaced(TEXT, &object["detected_spans"]), object["redacted_text"]);
    assert_eq!(run_with(&["redact", "--model", &model], b"").ok(), "");
}

#[test]
fn what_cannot_be_carried_out_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let redact =
        |flags: &[&str]| run_with(&[&["redact", "--model", &model], flags].concat(), TEXT.as_bytes());
    redact(&["--labels", "name"]).fails(2, &["--labels", "\"name\" is none of", "private_person"]);
    redact(&["--replace", "<{lable}>"]).fails(2, &["--replace", "{lable}> means nothing", "{LABEL}"]);
    run(&["redact", "--model", &testdata("tiny")]).fails(1, &["openai_privacy_filter", "gpt_oss"]);
    run(&["redact"]).fails(2, &["--model"]);
    run_with(&["redact", "--model", &model], b"a\xff").fails(1, &["standard input is not UTF-8"]);
    run(&["serve", "--port", "0", "--redact", &testdata("tiny")]).fails(1, &["openai_privacy_filter"]);
}

#[test]
fn a_server_redacts_as_the_command_does() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let object = json_of(run_with(&["redact", "--model", &model, "--json"], TEXT.as_bytes()));
    let server = Server::start(&["--redact", &model]);
    let answer = server.post("/v1/redact", &json!({"input": [TEXT, ""]}));
    let result = &answer["results"][0];
    assert_eq!(result["redacted_text"], object["redacted_text"], "{answer}");
    let places = |spans: &Value| -> Vec<Value> {
        let spans = spans.as_array().unwrap().iter();
        spans.map(|span| json!([span["label"], span["start_byte"], span["end_byte"]])).collect()
    };
    assert_eq!(places(&result["spans"]), places(&object["detected_spans"]));
    assert_eq!(answer["results"][1], json!({"redacted_text": "", "spans": []}));
    let answer = server.post("/v1/redact", &json!({"input": "x", "labels": ["name"]}));
    assert_eq!(answer["error"]["param"], "labels", "{answer}");
}
