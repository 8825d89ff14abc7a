//! `eval swe-bench`: issues of a repository made here, worked on by a model that says what a test wants, and
//! patches that are tried.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::{Ran, run};
use crate::scripted::scripted_with_middle;

/// A patch with one new file, as the model writes it.
const PATCH: [&str; 2] = [
    "<|channel|>commentary to=functions.apply_patch<|message|> *** Begin| Pat|ch|\n|***| Add File: piano",
    "\n|+|print|(1|)\n|***| End Patch<|call|>",
];
const DONE: &str = "<|channel|>final<|message|>It makes 85.<|return|>";

/// The tests of the issue: one that a file makes pass, and one that passes before.
const TESTS: &str = "import os, unittest\n\n\nclass Piano(unittest.TestCase):\n    def test_is_there(self):\n        \
                     self.assertTrue(os.path.exists('piano'))\n\n    def test_keeps(self):\n        \
                     self.assertEqual(os.stat('kept').st_size, 5)\n";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A repository of two commits, of which the issue is about the first.
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        let repository = bench.path("repositories/owner__piano");
        fs::create_dir_all(&repository).unwrap();
        let git = |args: &[&str]| {
            let out = Command::new("git")
                .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"])
                .args(args)
                .current_dir(&repository)
                .output()
                .unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet"]);
        fs::write(repository.join("kept"), "kept\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "first"]);
        let base = git(&["rev-parse", "HEAD"]);
        fs::write(repository.join("piano"), "print(1)\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "the answer, which nobody is to see"]);
        let lines: String = TESTS.lines().map(|line| format!("+{line}\n")).collect();
        let test_patch = format!(
            "diff --git a/test_piano.py b/test_piano.py\nnew file mode 100644\n--- /dev/null\n+++ b/test_piano.py\n\
             @@ -0,0 +1,{} @@\n{lines}",
            TESTS.lines().count()
        );
        let row = json!({
            "instance_id": "owner__piano-1", "repo": "owner/piano", "base_commit": base,
            "problem_statement": "An instrument is missing.", "test_patch": test_patch,
            "FAIL_TO_PASS": "[\"test_is_there (test_piano.Piano.test_is_there)\"]",
            "PASS_TO_PASS": ["test_keeps (test_piano.Piano.test_keeps)"],
        });
        fs::write(bench.path("data.jsonl"), row.to_string()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn eval(&self, args: &[&str]) -> Ran {
        let (data, repositories) = (self.path("data.jsonl"), self.path("repositories"));
        let fixed = ["--data", text(&data), "--repositories", text(&repositories), "--tests", "unittest"];
        run(&[&["eval"], args, &fixed[..], &["--json"]].concat())
    }

    fn score(&self, patch: &str) -> Value {
        let row = json!({"instance_id": "owner__piano-1", "model_name_or_path": "m", "model_patch": patch});
        let file = self.path("predictions.jsonl");
        fs::write(&file, row.to_string()).unwrap();
        let ran = self.eval(&["score", "swe-bench", "--responses", text(&file)]);
        serde_json::from_str(&ran.ok()).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn new_file(name: &str, line: &str) -> String {
    format!(
        "diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{line}\n"
    )
}

/// The patch, the verdict and the reports of a run.
#[test]
fn an_issue_is_worked_on_and_its_tests_decide() {
    let bench = Bench::new();
    let model = bench.path("model");
    fs::create_dir(&model).unwrap();
    scripted_with_middle(&model, PATCH[0], PATCH[1], DONE);
    let out = bench.path("out");
    let args = ["swe-bench", "--model", text(&model), "--out", text(&out), "--temperature", "0"];
    let ran = bench.eval(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let samples = fs::read_to_string(out.join("samples-default.jsonl")).unwrap();
    let sample: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    let patch = sample["response"].as_str().unwrap();
    let lines: Vec<&str> = patch.lines().filter(|line| !line.starts_with("index ")).collect();
    assert_eq!(lines, new_file("piano", "print(1)").lines().collect::<Vec<_>>(), "{sample}");
    assert_eq!(sample["judgement"]["rule"], "resolved", "{sample}");
    let again = bench.eval(&args);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(
        fs::read_to_string(out.join("samples-default.jsonl")).unwrap(),
        samples,
        "nothing is asked twice"
    );
    bench.eval(&["swe-bench", "--base-url", "http://127.0.0.1:1/v1"]).fails(2, &["agent of this program"]);
}

#[test]
fn patches_of_others_are_scored() {
    let bench = Bench::new();
    let verdict = |patch: &str| {
        let item = bench.score(patch)["items"][0].clone();
        (item["outcome"].as_str().unwrap().to_owned(), item["rule"].as_str().map(str::to_owned))
    };
    let of = |outcome: &str, rule: &str| (outcome.to_owned(), Some(rule.to_owned()));
    let right = new_file("piano", "print(1)");
    assert_eq!(verdict(&right), of("correct", "resolved"));
    assert_eq!(verdict(&new_file("violin", "print(1)")), of("wrong", "not resolved"));
    let breaks = "diff --git a/kept b/kept\n--- a/kept\n+++ b/kept\n@@ -1 +1 @@\n-kept\n+was lost\n";
    assert_eq!(verdict(&format!("{right}{breaks}")), of("wrong", "breaks tests"));
    assert_eq!(verdict("no patch"), of("wrong", "does not apply"));
    assert_eq!(verdict(" "), ("no_answer".to_owned(), None));
    // Tests that a patch brings do not count, and no file is written beside the repository.
    let own = new_file("test_piano.py", "import sys; sys.exit(0)");
    assert_eq!(verdict(&format!("{right}{own}")), of("correct", "resolved"));
    assert_eq!(verdict(&own), of("wrong", "not resolved"));
    assert_eq!(verdict(&new_file("../piano", "print(1)")), of("wrong", "does not apply"));
    let git = new_file(".git/config", "[core]");
    assert_eq!(verdict(&format!("{git}{right}")), of("wrong", "does not apply"));
}

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::new();
    let file = bench.path("predictions.jsonl");
    fs::write(&file, json!({"instance_id": "owner__piano-1", "model_patch": "x"}).to_string()).unwrap();
    let (data, file) = (bench.path("data.jsonl"), text(&file).to_owned());
    let score = ["eval", "score", "swe-bench", "--data", text(&data), "--responses", &file];
    run(&score).fails(2, &["--repositories DIR"]);
    let empty = tempfile::tempdir().unwrap();
    let ran = run(&[&score[..], &["--repositories", text(empty.path()), "--json"]].concat());
    let item: Value = serde_json::from_str(&ran.ok()).unwrap();
    let detail = item["items"][0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("has no owner/piano") && detail.contains("owner__piano"), "{item}");
}
