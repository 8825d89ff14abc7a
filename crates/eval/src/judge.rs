//! One answer held to its key.

use crate::{Item, Judgement, Judges, Key, Outcome, Response};
use crate::{bfcl, graded, humaneval, ifeval, letter, number, refusal, swe_bench, text};

/// Holds an answer to its item's key.
pub fn judge(item: &Item, response: &Response, judges: &Judges<'_>) -> Judgement {
    if let Some(error) = &response.error {
        return Judgement::error(error.clone());
    }
    let mut judgement = by_key(item, response, judges);
    if response.is_cut() && matches!(judgement.outcome, Outcome::Wrong | Outcome::NoAnswer) {
        judgement.outcome = Outcome::Cut;
    }
    judgement
}

fn by_key(item: &Item, response: &Response, judges: &Judges<'_>) -> Judgement {
    let text = &response.response;
    match &item.key {
        Key::Letter(key) => letter::judge(key, text),
        Key::Integer(key) => number::judge_integer(key, text),
        Key::Number(key) => number::judge_number(key, text),
        Key::Text(key) => text::judge(key, text),
        Key::Pattern(key) => text::judge_pattern(key, text),
        Key::Graded(key) => graded::judge(key, item, response, judges),
        Key::Rubric(key) => graded::judge_rubrics(key, item, response, judges),
        Key::Refusal(key) => refusal::judge(key, text),
        Key::Program(key) => humaneval::judge(key, response, judges),
        Key::Patch(key) => swe_bench::judge(key, response, judges),
        Key::Instructions(key) => ifeval::judge(key, response),
        Key::Calls(key) => bfcl::judge(key, response),
    }
}
