//! `batch`: results as the API has them, once a line, whatever ended the run before.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Ran, run};

/// A file of so many requests of the model's three paths.
fn requests(folder: &Path, count: usize) -> String {
    let line = |n: usize| {
        let (url, mut body) = match n % 3 {
            0 => ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "Hi"}]})),
            1 => ("/v1/responses", json!({"input": "Hi"})),
            _ => ("/v1/completions", json!({"prompt": "Hi"})),
        };
        let limit = if n % 3 == 1 { "max_output_tokens" } else { "max_tokens" };
        body[limit] = json!(16);
        format!("{}\n", json!({"custom_id": format!("q{n}"), "method": "POST", "url": url, "body": body}))
    };
    let file = folder.join("in.jsonl");
    fs::write(&file, (0..count).map(line).collect::<String>()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn batch(file: &str, more: &[&str]) -> Ran {
    let args = [&["batch", file, "--model", "synthetic:tiny", "--json"], more].concat();
    run(&args)
}

fn results(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("in.output.jsonl")).unwrap();
    let mut results: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    results.sort_by_key(|result| result["custom_id"].as_str().unwrap().to_owned());
    results
}

#[test]
fn every_line_has_one_result_and_a_second_run_asks_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = requests(folder.path(), 6);
    let summary: Value = serde_json::from_str(&batch(&file, &[]).ok()).unwrap();
    assert_eq!(
        (&summary["lines"], &summary["answered"], &summary["failed"]),
        (&6.into(), &6.into(), &0.into())
    );
    let first = results(folder.path());
    let ids: Vec<&str> = first.iter().map(|result| result["custom_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["q0", "q1", "q2", "q3", "q4", "q5"]);
    let objects = ["chat.completion", "response", "text_completion"];
    for (result, object) in first.iter().zip(objects) {
        assert_eq!(result["response"]["body"]["object"], object);
    }
    // A run that was killed in the middle of its fifth line.
    let output = folder.path().join("in.output.jsonl");
    let text = fs::read_to_string(&output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&output, lines[..4].join("\n") + "\n" + &lines[4][..lines[4].len() / 2]).unwrap();
    let summary: Value = serde_json::from_str(&batch(&file, &[]).ok()).unwrap();
    assert_eq!((&summary["kept"], &summary["answered"]), (&4.into(), &2.into()));
    assert!(fs::read_to_string(&output).unwrap().starts_with(&lines[..4].join("\n")));
    assert_eq!(results(folder.path()).len(), 6);
    let summary: Value = serde_json::from_str(&batch(&file, &[]).ok()).unwrap();
    assert_eq!((&summary["kept"], &summary["answered"]), (&6.into(), &0.into()));
}

#[test]
fn wrong_files_are_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.jsonl");
    let check = |content: &str, facts: &[&str]| {
        fs::write(&file, content).unwrap();
        batch(file.to_str().unwrap(), &[]).fails(1, facts);
    };
    check("", &["no request"]);
    let line = r#"{"custom_id":"a","url":"/v1/responses","body":{"input":"x"}}"#;
    check(&format!("{line}\n{line}\n{{\n"), &["line 2", "line 3"]);
    check(r#"{"custom_id":"a","url":"/v1/responses","body":{"model":"gpt-9"}}"#, &["line 1", "model"]);
    fs::write(&file, line).unwrap();
    let own = file.to_str().unwrap();
    batch(own, &["--output", own]).fails(1, &["another --output"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), line, "the requests are as they were");
    // A line that is refused is a result, and the run says that one failed.
    fs::write(&file, r#"{"custom_id":"a","url":"/v1/responses","body":{"input":"x","temperature":9}}"#)
        .unwrap();
    let ran = batch(own, &[]);
    assert_eq!((ran.code, ran.stderr.contains("1 failed")), (1, true), "{}", ran.stderr);
    assert_eq!(results(folder.path())[0]["response"]["status_code"], 400);
}
