//! One answer held to its key.

use crate::{Item, Judgement, Key, Outcome, Response};
use crate::{bfcl, graded, humaneval, ifeval, letter, number, refusal, text};

/// Runs a Python program for at most so many seconds.
pub type RunProgram<'a> = dyn Fn(&str, u32) -> ProgramEnd + Sync + 'a;
/// Asks a grader's model one prompt.
pub type AskGrader<'a> = dyn Fn(&str) -> Result<String, String> + Sync + 'a;

/// What judging needs that this room does not have: neither is asked by a task that has no use for it.
#[derive(Clone, Copy, Default)]
pub struct Judges<'a> {
    /// Runs programs, in a cell.
    pub run: Option<&'a RunProgram<'a>>,
    /// Asks a grader.
    pub grade: Option<&'a AskGrader<'a>>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With 0.
    Passed,
    /// In another way; the last of what it said.
    Failed(String),
    /// After its time.
    TimedOut,
    /// It could not be run.
    NotRun(String),
}

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
        Key::Instructions(key) => ifeval::judge(key, response),
        Key::Calls(key) => bfcl::judge(key, response),
    }
}
