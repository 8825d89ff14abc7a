//! What became of one answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What became of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Of what its scorer held to the key; none where nothing was found.
    pub extracted: Option<String>,
    /// In which column it counts.
    pub outcome: Outcome,
    /// From 0 to 1, but for HealthBench, where it may be below.
    pub score: f64,
    /// The rule that found what was extracted.
    pub rule: Option<Cow<'static, str>>,
    /// What was checked one by one: instructions, rubrics.
    pub parts: Vec<Part>,
    /// Further numbers that are summed over the responses.
    pub figures: Vec<Figure>,
    /// Why, for people: an error, a failed test.
    pub detail: Option<String>,
    /// Whatever else is told in JSON; null where there is nothing.
    pub more: Value,
}

/// In which column an answer counts; each counts in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is right, however it ended.
    Correct,
    /// An answer was found and is not right.
    Wrong,
    /// No answer was found.
    NoAnswer,
    /// It is not right and ended at a limit of tokens.
    Cut,
    /// There is no response, or it could not be judged.
    Error,
}

/// One of the things that were checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What was checked.
    pub name: String,
    /// How it ended.
    pub passed: bool,
}

/// A further number: the sum of `value` over the sum of `of` is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Such as `inst_level_strict_acc`.
    pub name: Cow<'static, str>,
    /// This answer's share of what is above the line.
    pub value: f64,
    /// This answer's share of what is below it.
    pub of: f64,
}

impl Judgement {
    /// An answer that was found, right or wrong; one that is wrong and was cut is no answer of the model's.
    pub fn found(
        extracted: impl Into<String>,
        is_right: bool,
        rule: impl Into<Cow<'static, str>>,
    ) -> Judgement {
        let outcome = if is_right { Outcome::Correct } else { Outcome::Wrong };
        let score = if is_right { 1.0 } else { 0.0 };
        Judgement {
            extracted: Some(extracted.into()),
            outcome,
            score,
            rule: Some(rule.into()),
            ..Judgement::without(Outcome::NoAnswer)
        }
    }

    /// Nothing was found.
    pub fn without(outcome: Outcome) -> Judgement {
        Judgement {
            extracted: None,
            outcome,
            score: 0.0,
            rule: None,
            parts: Vec::new(),
            figures: Vec::new(),
            detail: None,
            more: Value::Null,
        }
    }

    /// It could not be judged, and why.
    pub fn error(why: impl Into<String>) -> Judgement {
        Judgement { detail: Some(why.into()), ..Judgement::without(Outcome::Error) }
    }
}
