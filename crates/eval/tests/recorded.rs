//! Recorded verdicts of real answers, where a person names the folder that holds them.
//!
//! `GPTOSS_EVAL_GOLDENS` names a folder with `gsm8k_test.jsonl.gz` and `gsm8k_recorded_solutions.jsonl.gz` of
//! openai/grade-school-math; without it there is nothing to compare with. No data of others is in the tree.

#![expect(clippy::disallowed_methods, reason = "data of others is a folder that the environment names")]

use std::fs;
use std::path::Path;

use gptoss_eval::{Judges, Outcome, Recorded, Suite, SuiteOptions, Task, judge, rows};
use serde_json::json;

/// Verdicts that agree at least, of 5,276.
const AGREED_MIN: usize = 5_275;

#[test]
fn gsm8k_agrees_with_the_recorded_flags() {
    let Some(folder) = std::env::var_os("GPTOSS_EVAL_GOLDENS") else {
        eprintln!("GPTOSS_EVAL_GOLDENS is not set: nothing is compared");
        return;
    };
    let read = |name: &str| rows(&fs::read(Path::new(&folder).join(name)).unwrap()).unwrap();
    let recorded = read("gsm8k_recorded_solutions.jsonl.gz");
    for strict_number in [false, true] {
        let options = SuiteOptions { strict_number, ..SuiteOptions::default() };
        let suite = Suite::new(Task::Gsm8k, read("gsm8k_test.jsonl.gz"), &options).unwrap();
        let (mut agreed, mut all) = (0, 0);
        for model in ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"] {
            let solution = |(number, row): (usize, &gptoss_eval::Row)| {
                let row = json!({"id": number, "response": row[model]["solution"]});
                row.as_object().unwrap().clone()
            };
            let responses = Recorded::read(recorded.iter().enumerate().map(solution).collect()).unwrap();
            let (mut correct, before) = (0, agreed);
            for ((item, response), row) in
                suite.items.iter().zip(responses.matched(&suite).unwrap()).zip(&recorded)
            {
                let is_right = judge(item, &response, &Judges::default()).outcome == Outcome::Correct;
                correct += usize::from(is_right);
                agreed += usize::from(row[model]["is_correct"] == is_right);
                all += 1;
            }
            eprintln!("{model}: {correct} of {} right, {} verdicts agree", suite.num_rows, agreed - before);
        }
        assert_eq!(all, 5_276);
        assert!(agreed >= AGREED_MIN, "{agreed} of {all} verdicts agree, strict: {strict_number}");
    }
}
