//! What reference scorers extract from invented answers.
//!
//! `testdata/answers.jsonl` is `reference/make_answers.py`'s; `GPTOSS_ANSWERS` names another file of
//! its making.

#![expect(clippy::disallowed_methods, reason = "more cases are a file that the environment names")]

use std::fs;

use gptoss_eval::{Ask, IntegerKey, IntegerRule, Item, Judges, Key, LetterKey, LetterRule, Response, judge};
use serde_json::Value;

/// Differences that are shown.
const SHOWN_MAX: usize = 20;

#[test]
fn the_same_is_extracted_as_by_the_references() {
    let file = std::env::var("GPTOSS_ANSWERS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/answers.jsonl").to_owned());
    let letter = |rule| {
        Key::Letter(LetterKey { answer: 'A', options: (0..10).map(|n| n.to_string()).collect(), rule })
    };
    // In a box an integer is read as it stands.
    let integer = Key::Integer(IntegerKey { answer: "0".to_owned(), rule: IntegerRule::GptOss });
    let cases = [
        ("abcd", "text", letter(LetterRule::Abcd)),
        ("mmlu_pro", "text", letter(LetterRule::MmluPro)),
        ("mmlu_pro_first", "text", letter(LetterRule::MmluProFirst)),
        ("integer", "number", integer),
    ];
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in fs::read_to_string(file).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        for (name, column, key) in &cases {
            let text = row[column].as_str().unwrap();
            // An empty box is passed over for what stands outside.
            if *name == "integer" && text.is_empty() {
                continue;
            }
            let told = if *name == "integer" { format!("boxed{{{text}}}") } else { text.to_owned() };
            let item = Item {
                id: String::new(),
                repeat: 0,
                group: None,
                question: String::new(),
                ask: Ask::default(),
                key: key.clone(),
            };
            let response = Response { response: told, ..Response::default() };
            let found = judge(&item, &response, &Judges::default()).extracted;
            compared += 1;
            if found.as_deref() != row[name].as_str() {
                wrong.push(format!("{name}: {text:?}: {found:?}, and not {}", row[name]));
            }
        }
    }
    eprintln!("{compared} extractions compared");
    assert!(
        compared > 0 && wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(SHOWN_MAX)].join("\n")
    );
}
