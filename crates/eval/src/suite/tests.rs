//! Items of invented rows.

use serde_json::{Value, json};

use super::*;
use crate::Key;

fn suite(task: Task, rows: &[Value], options: &SuiteOptions) -> Suite {
    let rows = rows.iter().map(|row| row.as_object().expect("an object").clone()).collect();
    Suite::new(task, rows, options).expect("rows of the task")
}

fn answers(suite: &Suite) -> String {
    let letter = |item: &Item| match &item.key {
        Key::Letter(key) => key.answer,
        other => panic!("no letter: {other:?}"),
    };
    suite.items.iter().map(letter).collect()
}

fn gpqa_row(number: usize) -> Value {
    json!({"Question": format!("Q{number}?"), "Correct Answer": "right", "Incorrect Answer 1": "one",
        "Incorrect Answer 2": "two", "Incorrect Answer 3": "three"})
}

#[test]
fn gpqa_permutes_each_repeat_anew() {
    let rows: Vec<Value> = (0..3).map(gpqa_row).collect();
    let options = SuiteOptions { repeats: 2, ..SuiteOptions::default() };
    let suite = suite(Task::Gpqa, &rows, &options);
    // The places of 0 in Python's first six permutations.
    assert_eq!(answers(&suite), "CDCBCC");
    let places: Vec<(&str, u32)> = suite.items.iter().map(|item| (item.id.as_str(), item.repeat)).collect();
    assert_eq!(places, [("0", 0), ("1", 0), ("2", 0), ("0", 1), ("1", 1), ("2", 1)]);
    let prompt = &suite.items[0].ask.messages[0].text;
    let expected = "Q0?\n\n(A) three\n(B) one\n(C) right\n(D) two\n\nExpress your final answer as the corresponding option 'A', 'B', 'C', or 'D'.";
    assert_eq!(prompt, expected);
}

#[test]
fn a_limit_draws_rows_as_python_does() {
    let rows: Vec<Value> = (0..198).map(gpqa_row).collect();
    let options = SuiteOptions { limit: Some(5), ..SuiteOptions::default() };
    let drawn = suite(Task::Gpqa, &rows, &options);
    let ids: Vec<&str> = drawn.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["98", "194", "107", "10", "66"]);
    let options = SuiteOptions { recipe: Recipe::Mlperf, ..options };
    assert_eq!(suite(Task::Gpqa, &rows, &options).items[4].id, "4");
}

#[test]
fn mmlu_is_read_in_its_three_forms() {
    let rows = [
        json!({"Question": "Q?", "A": "a", "B": "b", "C": "c", "D": "d", "Answer": "C", "Subject": "s"}),
        json!({"question": "Q?", "choices": ["a", "b", "c", "d"], "answer": 2, "subject": "s"}),
        json!({"question": "Q?", "options": "['a' 'b' 'c' 'd']", "answer": "c"}),
    ];
    let suite = suite(Task::Mmlu, &rows, &SuiteOptions::default());
    assert_eq!(answers(&suite), "CCC");
    let expected = "Answer the following multiple choice question. The last line of your response should be of the \
        following format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before \
        answering.\n\nQ?\n\nA) a\nB) b\nC) c\nD) d";
    assert!(suite.items.iter().all(|item| item.ask.messages[0].text == expected));
}

#[test]
fn mmlu_pro_has_worked_answers_of_its_category() {
    let shot = |category: &str, question: &str| {
        json!({"category": category, "question": question,
        "options": ["x", "y"], "cot_content": "A: Let's think step by step. The answer is (A)."})
    };
    let shots = [shot("law", "L?"), shot("math", "M?")];
    let shots = shots.iter().map(|shot| shot.as_object().expect("an object").clone()).collect();
    let rows = [json!({"question_id": 70, "question": "Q?", "options": ["x", "N/A", "z"], "answer": "B",
        "answer_index": 1, "category": "math"})];
    let suite = suite(Task::MmluPro, &rows, &SuiteOptions { shots, ..SuiteOptions::default() });
    assert_eq!((suite.items[0].id.as_str(), answers(&suite).as_str()), ("70", "B"));
    let expected = "The following are multiple choice questions (with answers) about math. Think step by step and \
        then finish your answer with \"the answer is (X)\" where X is the correct letter choice.\n\n\
        Question:\nM?\nOptions:\nA. x\nB. y\nAnswer: Let's think step by step. The answer is (A).\n\n\
        Question:\nQ?\nOptions:\nA. x\nB. z\nAnswer: Let's think step by step.";
    assert_eq!(suite.items[0].ask.messages[0].text, expected);
}

#[test]
fn mathematics_has_its_template() {
    let suite =
        suite(Task::Aime, &[json!({"problem": "1 + {x}?", "answer": "025"})], &SuiteOptions::default());
    let item = &suite.items[0];
    let expected = "\n1 + {x}?\nPlease reason step by step, and put your final answer within \\boxed{}.\n";
    assert_eq!(item.ask.messages[0].text, expected);
    assert!(matches!(&item.key, Key::Integer(key) if key.answer == "25"));
}

#[test]
fn ids_that_are_not_all_different_are_numbers() {
    let row = json!({"id": "7", "question": "Q?", "answer": "#### 3"});
    let suite = suite(Task::Gsm8k, &[row.clone(), row], &SuiteOptions::default());
    assert_eq!((suite.items[1].id.as_str(), suite.notes.len()), ("1", 1));
}

#[test]
fn a_row_without_its_columns_is_named() {
    let check = |task: Task, row: Value, expected: &str| {
        let rows = vec![row.as_object().expect("an object").clone()];
        let error = Suite::new(task, rows, &SuiteOptions::default()).expect_err("it lacks something");
        assert_eq!(error.to_string(), expected);
    };
    check(Task::Gsm8k, json!({"a": 1}), "row 1: it has no column `question` or `problem`; it has a");
    let row = json!({"question": "Q?", "choices": ["a", "b"], "answer": "c"});
    check(Task::Mmlu, row, "row 1: its answer is none of its 2 choices: c");
    check(
        Task::XsTest,
        json!({"prompt": "Q?"}),
        "row 1: it has neither a `label`, safe or unsafe, nor a `type`",
    );
    check(Task::HealthBench, json!({"prompt": []}), "row 1: it has no `rubrics`");
}
