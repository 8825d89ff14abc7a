//! A run at one effort: its questions, and the answers that there are.

use std::collections::BTreeMap;

use gptoss_eval::{Conditions, Item, Judgement, Outcome, Scores, Suite, Tally};
use serde_json::Value;

use super::sample::{Sample, Tokens};

/// A run at one effort.
#[derive(Debug)]
pub struct Leg<'a> {
    /// The questions.
    pub suite: &'a Suite,
    /// How the model is called.
    pub model: String,
    /// The effort, or `default`.
    pub effort: String,
    /// How the answers came about.
    pub conditions: Conditions,
    /// Answers by the place of their question.
    pub samples: BTreeMap<usize, Sample>,
}

impl Leg<'_> {
    /// Questions with their answers, in the order of the questions, whenever they were answered.
    pub fn answered(&self) -> impl Iterator<Item = (&Item, &Sample)> {
        self.samples.iter().map(|(place, sample)| (&self.suite.items[*place], sample))
    }

    /// Questions without an answer yet.
    pub fn num_left(&self) -> usize {
        self.suite.items.len() - self.samples.len()
    }

    /// All answers counted.
    pub fn scores(&self) -> Scores {
        let judged: Vec<(&Item, Judgement)> =
            self.answered().map(|(item, sample)| (item, sample.judgement.clone())).collect();
        Scores::of(self.suite, &judged)
    }

    /// The first item without an answer, and why it has none.
    pub fn first_error(&self) -> Option<(&str, &str)> {
        self.samples.values().find_map(|sample| {
            let is_error = sample.judgement.outcome == Outcome::Error;
            Some((sample.response.id.as_str(), sample.judgement.detail.as_deref()?)).filter(|_| is_error)
        })
    }

    /// What all answers cost.
    pub fn tokens(&self) -> Tokens {
        self.samples.values().map(Sample::tokens).sum()
    }

    /// Tokens of an answer on average: all that were written, and those of reasoning among them.
    pub fn mean_tokens(&self) -> (f64, f64) {
        let (tokens, answers) = (self.tokens(), self.samples.len().max(1) as f64);
        (tokens.completion as f64 / answers, tokens.reasoning as f64 / answers)
    }
}

/// The score of what was counted, and its interval's ends; 0 where nothing was.
pub fn score(tally: &Tally) -> (f64, f64, f64) {
    tally.score.map_or((0.0, 0.0, 0.0), |score| (score.value, score.low, score.high))
}

/// Its standard error; 0 where nothing can be said.
pub fn standard_error(tally: &Tally) -> f64 {
    tally.score.and_then(|score| score.stderr).unwrap_or(0.0)
}

/// An outcome as files have it.
pub fn outcome_name(outcome: Outcome) -> String {
    let name = serde_json::to_value(outcome).unwrap_or(Value::Null);
    name.as_str().unwrap_or_default().to_owned()
}

/// The right answer of an item for people; empty where it takes more than words.
pub fn expected(item: &Item) -> String {
    item.key.expected().unwrap_or_default()
}
