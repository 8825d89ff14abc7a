//! `gptoss eval score`: columns, verdicts and exit codes.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::run;

/// A folder with a benchmark's rows and recorded answers.
struct Files(TempDir);

impl Files {
    fn new(data: &str, responses: &[Value]) -> Files {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("data"), data).unwrap();
        let lines: String = responses.iter().map(|row| format!("{row}\n")).collect();
        fs::write(folder.path().join("responses.jsonl"), lines).unwrap();
        Files(folder)
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    fn score(&self, task: &str, more: &[&str]) -> crate::program::Ran {
        let (data, responses) = (self.path("data"), self.path("responses.jsonl"));
        let mut args = vec!["eval", "score", task, "--data", &data, "--responses", &responses];
        args.extend(more);
        run(&args)
    }
}

const MMLU: &str = "\
What is blue?,grass,the sky,coal,snow,B
What is white?,grass,the sky,coal,snow,D
What is black?,grass,the sky,coal,snow,C
What is green?,grass,the sky,coal,snow,A
";

#[test]
fn recorded_answers_are_scored_and_each_is_told() {
    let responses = [
        json!({"id": 0, "response": "Answer: B"}),
        json!({"id": 1, "response": "Answer: A", "finish_reason": "stop"}),
        json!({"id": 2, "response": "Let me think", "finish_reason": "length"}),
        json!({"id": 3, "error": "HTTP 500"}),
    ];
    let files = Files::new(MMLU, &responses);
    let told: Value = serde_json::from_str(&files.score("mmlu", &["--json"]).ok()).unwrap();
    for (name, count) in [
        ("n", 4),
        ("answered", 2),
        ("correct", 1),
        ("wrong", 1),
        ("no_answer", 0),
        ("cut", 1),
        ("error", 1),
        ("missing", 0),
    ] {
        assert_eq!(told[name], json!(count), "{name} in {told}");
    }
    let item = &told["items"][1];
    assert_eq!((&item["id"], &item["extracted"], &item["expected"]), (&json!("1"), &json!("A"), &json!("D")));
    assert_eq!((&item["outcome"], &item["correct"]), (&json!("wrong"), &json!(false)));
    assert_eq!(told["items"][3]["detail"], "HTTP 500");
    let told = files.score("mmlu", &[]).ok();
    for line in [
        "n 4 · answered 2 · correct 1 · wrong 1 · no answer 0 · cut 1 · error 1 · missing 0",
        "not comparable:",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_bar_that_is_missed_ends_with_3() {
    let files = Files::new(
        MMLU,
        &[json!({"id": 0, "response": "Answer: B"}), json!({"id": 1, "response": "Answer: A"})],
    );
    files.score("mmlu", &["--fail-under", "0.5"]).ok();
    files.score("mmlu", &["--fail-under", "0.51"]).fails(3, &["the score, 0.5000, is below 0.51"]);
}

#[test]
fn a_specification_of_ones_own_is_scored() {
    let rows = "{\"id\": \"a\", \"word\": \"one\", \"answer\": \"1\"}\n{\"id\": \"b\", \"word\": \"two\", \"answer\": \"2\"}\n";
    let files = Files::new(
        rows,
        &[json!({"id": "b", "response": "so \\boxed{2}"}), json!({"id": "a", "response": "2"})],
    );
    let spec = "name = \"numbers\"\nkind = \"boxed\"\nprompt = \"Write {word} in digits, in a box.\"\n";
    fs::write(files.path("numbers.toml"), spec).unwrap();
    let told: Value =
        serde_json::from_str(&files.score(&files.path("numbers.toml"), &["--json"]).ok()).unwrap();
    assert_eq!(
        (&told["task"], &told["correct"], &told["no_answer"]),
        (&json!("numbers"), &json!(1), &json!(1))
    );
}

#[test]
fn what_is_wrong_is_said() {
    let files = Files::new(MMLU, &[json!({"id": 9, "response": "A"})]);
    files.score("mmmlu", &[]).fails(2, &["there is no task `mmmlu`; there are mmlu, mmlu-pro"]);
    files.score("mmlu", &["--recipe", "x"]).fails(2, &["there is no recipe `x`"]);
    files.score("mmlu", &[]).fails(1, &["row 1: `9` is neither the id nor the number of a row of the data"]);
    files.score("gsm8k", &[]).fails(1, &["row 1: its answer holds no number"]);
    files.score("mmlu", &["--data", "no-such-file"]).fails(1, &["cannot read no-such-file"]);
}
