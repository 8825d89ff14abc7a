//! Verdicts of calls, invented; each is what BFCL's own checker says (`tests/evals/bfcl.py --invented`).

use serde::Deserialize;
use serde_json::Value as Json;

use crate::bfcl::{Category, calls_of, verdict};

/// A function on offer, what is wanted, and answers with their verdicts.
#[derive(Deserialize)]
struct Case {
    category: String,
    functions: Vec<Json>,
    wanted: Vec<Json>,
    answers: Vec<(String, bool)>,
}

#[test]
fn verdicts_are_those_of_the_checker() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../testdata/bfcl.json")).expect("the file's shape");
    for case in cases {
        let category = Category::of(&case.category).expect("a category");
        for (answer, is_right) in case.answers {
            let calls = calls_of(category.language, &answer).unwrap_or_default();
            let judged = verdict(category, &case.functions, &case.wanted, &calls);
            assert_eq!(judged.is_ok(), is_right, "{}: {answer}: {judged:?}", case.category);
        }
    }
}
