//! `run` and `synth`: any member of the family speaks, the same request gives the same bytes, and outputs go
//! where they belong.

use std::fs;

use crate::program::{endless_answer, final_bias, run, run_with};
use serde_json::Value;

fn run_json(args: &[&str]) -> Value {
    let args: Vec<&str> = ["run", "--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&run(&args).ok()).unwrap()
}

#[test]
fn the_json_object_says_everything_about_the_turn() {
    let report = run_json(&[
        "Hello",
        "--model",
        "synthetic:tiny",
        "--seed",
        "3",
        "--max-tokens",
        "20",
        "--effort",
        "high",
    ]);
    assert_eq!(report["model"], "synthetic:tiny");
    assert_eq!(
        (&report["demo"], &report["effort"], &report["seed"]),
        (&false.into(), &"high".into(), &3.into())
    );
    for list in ["messages", "calls", "warnings"] {
        assert!(report[list].is_array(), "{list}");
    }
    let usage = &report["usage"];
    let completion = usage["completion_tokens"].as_u64().unwrap();
    assert!((1..=20).contains(&completion) && usage["prompt_tokens"].as_u64().unwrap() > 50);
    assert!(report["timings"]["prefill_seconds"].as_f64().unwrap() > 0.0);
    assert!(["stop", "length", "tool_calls"].contains(&report["finish_reason"].as_str().unwrap()));
}

#[test]
fn reasoning_keeps_to_the_flag() {
    let none = run_json(&["What is 27 + 58?", "--reasoning-budget", "0"]);
    assert_eq!((&none["usage"]["reasoning_tokens"], &none["warnings"]), (&0.into(), &Value::Array(vec![])));
    let few = run_json(&["What is 27 + 58?", "--reasoning-budget", "10"]);
    let tokens = few["usage"]["reasoning_tokens"].as_u64().unwrap();
    assert!((10..18).contains(&tokens) && few["warnings"].to_string().contains("budget"), "{few}");
}

#[test]
fn the_same_request_gives_the_same_messages() {
    let speak = |extra: &[&str]| {
        let args = [&["Hello", "--model", "synthetic:tiny", "--max-tokens", "24"], extra].concat();
        run_json(&args)["messages"].clone()
    };
    let once = speak(&["--seed", "5"]);
    assert_eq!(speak(&["--seed", "5", "--threads", "1"]), once);
    assert_ne!(speak(&["--seed", "6"]), once);
    let greedy = speak(&["--temperature", "0"]);
    assert_eq!(speak(&["--temperature", "0", "--seed", "1"]), greedy);
    assert_ne!(speak(&["--seed", "5", "--top-k", "2"]), once);
}

/// With every control token made impossible, what the model writes is one unfinished header and then text.
#[test]
fn a_turn_without_an_answer_is_no_failure_of_the_json_form() {
    let report = run_json(&["Hi", "--model", "synthetic:tiny", "--seed", "1", "--max-tokens", "1"]);
    assert_eq!(report["usage"]["completion_tokens"], 1);
}

/// The header is harmony's whatever the bias; within it and after it, the bias decides.
#[test]
fn a_bias_can_force_a_token() {
    // 505 is <|return|> of tiny's vocabulary; its ids end with the nine control tokens.
    let to_final = final_bias("60");
    let args = ["Hi", "--model", "synthetic:tiny", "--temperature", "0", "--logit-bias=505=100", &to_final];
    let report = run_json(&[&args[..], &["--max-tokens", "20"]].concat());
    assert_eq!(report["finish_reason"], "stop", "{report}");
    assert!(report["usage"]["completion_tokens"].as_u64().unwrap() < 9, "a header and <|return|>: {report}");
    let short = [&["run"], &args[..], &["--max-tokens", "2"]].concat();
    run(&short).fails(1, &["had not come to an answer", "--show-reasoning"]);
}

#[test]
fn synth_writes_layouts_that_inspect_and_run_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for layout in ["hf", "original", "bf16"] {
        let said = run(&["synth", "tiny", &path(layout), "--seed", "4", "--layout", layout]).ok();
        assert!(said.contains("seed 4"), "{said}");
    }
    let total = |model: &str| -> Value {
        let report: Value = serde_json::from_str(&run(&["inspect", model, "--json"]).ok()).unwrap();
        report["parameters"]["total"].clone()
    };
    assert_eq!(total(&path("hf")), total("synthetic:tiny"));
    assert_eq!(total(&path("original")), total("synthetic:tiny"));
    assert_eq!(total(&path("bf16")), total("synthetic:tiny"));
    let score = |model: &str| {
        let args = ["score", "--model", model, "--token-ids", "-", "--precision", "exact", "--json"];
        let report: Value = serde_json::from_str(&run_with(&args, b"[1, 50, 500, 7, 300]").ok()).unwrap();
        report["logprobs"].clone()
    };
    let expected = score("synthetic:tiny@4");
    for layout in ["hf", "original", "bf16"] {
        assert_eq!(score(&path(layout)), expected, "{layout}");
    }
    let speak = |model: &str| {
        run_json(&["Hello", "--model", model, "--precision", "exact", "--seed", "2", "--max-tokens", "16"])["messages"].clone()
    };
    let expected = speak("synthetic:tiny@4");
    assert_eq!(speak(&path("hf")), expected);
    assert_eq!(speak(&path("bf16")), expected);
    let no_text = run(&["run", "Hello", "--model", &path("original")]);
    no_text.fails(1, &["no tokenizer.json", "token ids"]);
}

#[test]
fn synth_takes_layers_and_refuses_a_folder_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("one");
    let target = target.to_str().unwrap();
    run(&["synth", "tiny", target, "--layers", "1"]).ok();
    let report: Value = serde_json::from_str(&run(&["inspect", target, "--json"]).ok()).unwrap();
    assert_eq!(report["config"]["num_hidden_layers"], 1);
    let before = fs::read_dir(target).unwrap().count();
    run(&["synth", "tiny", target]).fails(1, &[target, "exists already"]);
    assert_eq!(fs::read_dir(target).unwrap().count(), before);
    run(&["synth", "huge", "/nonexistent/x"]).fails(2, &["unknown preset", "gpt-oss-20b"]);
}

/// Noise came without a word that the weights are random.
#[test]
fn random_weights_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("tiny");
    run(&["synth", "tiny", written.to_str().unwrap()]).ok();
    for model in ["synthetic:tiny", written.to_str().unwrap()] {
        let ran = run(&["run", "Hi", "--json", "--model", model, "--max-tokens", "1"]);
        assert!(ran.stderr.contains("random weights"), "{model}: {}", ran.stderr);
    }
    assert!(!run(&["run", "Hi", "--max-tokens", "1"]).stderr.contains("random"));
}

#[test]
fn the_prompt_may_come_from_a_pipe() {
    let speak = |args: &[&str], stdin: &[u8]| {
        let fixed = ["run", "--json", "--model", "synthetic:tiny", "--seed", "1", "--max-tokens", "8"];
        let report: Value =
            serde_json::from_str(&run_with(&[&fixed[..], args].concat(), stdin).ok()).unwrap();
        report["messages"].clone()
    };
    let expected = speak(&["Hello there"], b"");
    assert_eq!(speak(&[], b"Hello there\n"), expected);
    assert_eq!(speak(&["-"], b"Hello there"), expected);
    // Without quotes the second word was an unexpected argument.
    assert_eq!(speak(&["Hello", "there"], b""), expected);
}

#[test]
fn functions_come_in_three_spellings_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("functions.json");
    let name = file.to_str().unwrap();
    let speak = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&[
            "run",
            "Hi",
            "--json",
            "--model",
            "synthetic:tiny",
            "--seed",
            "1",
            "--max-tokens",
            "4",
            "--functions",
            name,
        ])
    };
    let bare =
        r#"{"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}"#;
    let tokens = |text: &str| -> Value {
        let report: Value = serde_json::from_str(&speak(text).ok()).unwrap();
        report["usage"]["prompt_tokens"].clone()
    };
    let expected = tokens(&format!("[{bare}]"));
    assert_eq!(tokens(&format!("[{}]", bare.replacen('{', "{\"type\": \"function\", ", 1))), expected);
    assert_eq!(tokens(&format!("[{{\"type\": \"function\", \"function\": {bare}}}]")), expected);
    assert_ne!(tokens("[]"), expected);
    speak("[{\"name\": \"a b\"}]").fails(1, &[name, "function 0", "`name`"]);
    speak("[{\"description\": 1}]").fails(1, &[name, "function 0", "`name` is missing"]);
    speak("[{]").fails(1, &[name, "line 1 column 3"]);
}

/// Nothing but the closed output can end this answer: every control token is impossible and the context is
/// long.
#[test]
fn an_answer_ends_with_its_reader() {
    use std::io::Read;
    use std::process::Stdio;
    let bias = endless_answer();
    for command in ["run", "chat"] {
        let mut args = vec![command, "--model", "synthetic:tiny", "--seed", "1", "--context", "100000"];
        args.extend(bias.iter().map(String::as_str));
        let mut child = crate::program::gptoss(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"Hello\n").unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {said}");
        assert!(!said.contains("error") && !said.contains("panicked"), "{command}: {said}");
    }
}

/// A reader that has had enough is no error and no panic.
#[test]
fn a_closed_pipe_ends_quietly() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let mut child = crate::program::gptoss(&["tokenize", "--jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..200_000 {
            if stdin.write_all(b"{\"text\": \"some words to be tokenized\"}\n").is_err() {
                break;
            }
        }
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"tokens\":["), "{line}");
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
