//! `gptoss dataset`: masks, counts and reasons.

use serde_json::{Value, json};

use crate::program::{run, run_with};

const ROWS: &str = r#"{"prompt": "1+1?", "completion": "2"}
{"prompt": "1+1?", "completion": "2"}
{"messages": [{"role": "user", "content": "2+2?"}]}
no JSON
"#;

#[test]
fn a_file_is_read_counted_and_shown() {
    let told = run_with(&["dataset", "-", "--show-mask", "1"], ROWS.as_bytes()).ok();
    assert!(told.contains("<|start|>assistant⟦<|channel|>final<|message|>2<|return|>⟧"), "{told}");
    assert!(told.contains("4 rows, 1 samples"), "{told}");
    for line in ["line 2: it is the same as line 1", "line 3: there is no message", "line 4: it is not JSON"]
    {
        assert!(told.contains(line), "{told}");
    }
    let told: Value =
        serde_json::from_str(&run_with(&["dataset", "-", "--json"], ROWS.as_bytes()).ok()).unwrap();
    assert_eq!((&told["train"]["rows"], &told["train"]["samples"]), (&json!(4), &json!(1)));
    assert_eq!(told["train"]["left_out"][1]["group"], "nothing to learn");
}

#[test]
fn a_file_that_teaches_nothing_fails() {
    let text: &[u8] = b"{}\n";
    run_with(&["dataset", "-"], text).fails(1, &["nothing can be learned of -"]);
    run(&["dataset", "no-such-file.jsonl"]).fails(1, &["cannot open no-such-file.jsonl"]);
}
