//! `tokenize`, `render` and `parse`: the official goldens line by line, the human forms, and lines that are
//! wrong.

use crate::program::{run, run_with, testdata};
use serde_json::{Value, json};

const VOCAB: [&str; 2] = ["--vocab", "o200k_harmony"];

fn golden(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(testdata(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Pipes one object a line through a command.
fn pipe(command: &[&str], lines: &[Value]) -> Vec<Value> {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let args: Vec<&str> = command.iter().copied().chain(["--jsonl"]).chain(VOCAB).collect();
    let output = run_with(&args, input.as_bytes()).ok();
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn only(key: &str, lines: &[Value]) -> Vec<Value> {
    lines.iter().map(|line| json!({key: line[key]})).collect()
}

#[test]
fn tokenize_equals_the_official_tokens_and_decodes_them_back() {
    let lines = golden("tokenizer.jsonl");
    assert_eq!(pipe(&["tokenize"], &only("text", &lines)), only("tokens", &lines));
    assert_eq!(pipe(&["tokenize", "--decode"], &only("tokens", &lines)), only("text", &lines));
}

#[test]
fn render_equals_the_official_tokens() {
    let lines = golden("harmony.jsonl");
    let conversations = only("conversation", &lines);
    assert_eq!(pipe(&["render"], &conversations), only("tokens", &lines));
    let kept: Vec<Value> = lines.iter().map(|line| json!({"tokens": line["tokens_keep_analysis"]})).collect();
    assert_eq!(pipe(&["render", "--keep-analysis"], &conversations), kept);
}

/// What is rendered and parsed renders to the same tokens again.
#[test]
fn parse_undoes_render() {
    let lines = golden("harmony.jsonl");
    let form = ["render", "--keep-analysis", "--form", "conversation"];
    let rendered = pipe(&form, &only("conversation", &lines));
    let parsed = pipe(&["parse"], &rendered);
    for line in &parsed {
        assert_eq!(line["warnings"], json!([]), "{line}");
    }
    let again: Vec<Value> =
        parsed.iter().map(|line| json!({"conversation": {"messages": line["messages"]}})).collect();
    assert_eq!(pipe(&form, &again), rendered);
}

#[test]
fn malformed_tokens_are_repaired_and_said() {
    // <|channel|>final<|message|>Hi with no end, as a model may leave it.
    let parsed = pipe(&["parse"], &[json!({"tokens": [200005, 17196, 200008, 12194]})]);
    assert_eq!(parsed[0]["messages"][0]["channel"], "final");
    assert_eq!(parsed[0]["warnings"].as_array().unwrap().len(), 1);
    // Ids that are nothing at all.
    let parsed =
        pipe(&["parse"], &[json!({"tokens": [201087, 4294967295_u32, 200012]}), json!({"tokens": []})]);
    assert!(!parsed[0]["warnings"].as_array().unwrap().is_empty());
    assert_eq!(parsed[1], json!({"messages": [], "warnings": []}));
}

#[test]
fn the_training_form_has_a_loss_mask() {
    let conversation = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "channel": "final", "content": "Hello"},
    ]});
    let rendered = pipe(&["render", "--form", "training"], &[json!({"conversation": conversation})]);
    let (tokens, mask) =
        (rendered[0]["tokens"].as_array().unwrap(), rendered[0]["loss_mask"].as_array().unwrap());
    assert_eq!(tokens.len(), mask.len());
    assert_eq!(tokens.last().unwrap(), 200002);
    assert_eq!((mask.first().unwrap(), mask.last().unwrap()), (&json!(0), &json!(1)));
}

#[test]
fn the_forms_for_people() {
    let vocab =
        |command: &[&'static str]| -> Vec<&'static str> { command.iter().copied().chain(VOCAB).collect() };
    let ids = run(&vocab(&["tokenize", "Hello, world"])).ok();
    assert_eq!(ids, "13225 11 2375\n");
    assert_eq!(run_with(&vocab(&["tokenize"]), b"Hello, world").ok(), ids);
    assert_eq!(run_with(&vocab(&["tokenize", "--decode"]), ids.as_bytes()).ok(), "Hello, world");
    assert_eq!(run(&vocab(&["tokenize", "--decode", "[200006, 1428]"])).ok(), "<|start|>user");
    let conversation = br#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    let rendered = run_with(&vocab(&["render"]), conversation);
    let text = &rendered.stderr;
    assert!(text.contains("<|start|>user<|message|>Hi<|end|><|start|>assistant"), "{text}");
    // `render | parse`: the text stood on standard output too, and parse stopped at it.
    let parsed = run_with(&vocab(&["parse"]), rendered.ok().as_bytes()).ok();
    assert!(parsed.contains("[user]\nHi\n"), "{parsed}");
    // The demo's vocabulary reads numbers digit by digit.
    assert_eq!(run(&["tokenize", "123"]).ok().split(' ').count(), 3);
}

#[test]
fn text_never_becomes_control() {
    let tokens = run(&["tokenize", "<|start|>system<|message|>", "--vocab", "o200k_harmony"]).ok();
    assert!(tokens.split_whitespace().all(|id| id.parse::<u32>().unwrap() < 199_998), "{tokens}");
}

#[test]
fn a_wrong_line_is_named_and_those_before_it_are_answered() {
    let args = ["tokenize", "--jsonl", "--vocab", "o200k_harmony"];
    let input = b"{\"text\": \"a\"}\n\n{\"txt\": \"b\"}\n{\"text\": \"c\"}\n";
    let ran = run_with(&args, input);
    assert_eq!(ran.stdout, "{\"tokens\":[64]}\n");
    ran.fails(1, &["standard input, line 3", "text"]);
    run_with(&args, b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n")
        .fails(1, &["line 2", "not UTF-8", "0xff at offset 10"]);
    run_with(&["tokenize"], b"abc\xc3\x28").fails(1, &["standard input is not UTF-8", "offset 3"]);
    let render = ["render", "--jsonl", "--vocab", "o200k_harmony"];
    run_with(&render, b"{\"conversation\": {\"messages\": [{\"role\": \"king\"}]}}")
        .fails(1, &["line 1", "messages[0]"]);
    let parse = ["parse", "--jsonl"];
    run_with(&parse, b"{\"tokens\": [1.5]}").fails(1, &["line 1"]);
    run_with(&["tokenize", "--decode"], b"5 x").fails(1, &["`x`"]);
    run(&["tokenize", "--decode", "999999"]).fails(1, &["999999"]);
    run(&["render", "no/such/file.json"]).fails(1, &["no/such/file.json"]);
    run(&["tokenize", "--jsonl", "text"]).fails(2, &["--jsonl"]);
}
