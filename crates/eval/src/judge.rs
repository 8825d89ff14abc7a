//! One answer held to its key.

use crate::{Item, Judgement, Key, Outcome, Response};
use crate::{bfcl, humaneval, ifeval};

/// What judging needs that this room does not have: neither is asked by a task that has no use for it.
#[derive(Clone, Copy, Default)]
pub struct Judges<'a> {
    /// Runs a Python program for at most so many seconds.
    pub run: Option<&'a (dyn Fn(&str, u32) -> ProgramEnd + Sync)>,
    /// Asks a grader's model one prompt.
    pub grade: Option<&'a (dyn Fn(&str) -> Result<String, String> + Sync)>,
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
    let mut judgement = by_key(&item.key, response, judges);
    if response.is_cut() && matches!(judgement.outcome, Outcome::Wrong | Outcome::NoAnswer) {
        judgement.outcome = Outcome::Cut;
    }
    judgement
}

fn by_key(key: &Key, response: &Response, judges: &Judges<'_>) -> Judgement {
    match key {
        Key::Instructions(key) => ifeval::judge(key, response),
        Key::Calls(key) => bfcl::judge(key, response),
        Key::Program(key) => humaneval::judge(key, response, judges),
        _ => Judgement::error("this kind of key has no scorer yet"),
    }
}
