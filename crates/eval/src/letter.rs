//! Letters of choices, found in a text by the rules of the references.

mod abcd;
mod mlperf;
mod mmlu_pro;
mod simple_evals;

use crate::key::{LetterKey, LetterRule};
use crate::{Judgement, Outcome};

/// A letter and the pattern that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As the reference has it, which may be in lower case.
    pub letter: String,
    /// The name of the pattern.
    pub rule: &'static str,
}

impl Found {
    fn new(letter: &str, rule: &'static str) -> Found {
        Found { letter: letter.to_owned(), rule }
    }
}

/// The letter that a rule finds; `choices` is how many there are.
pub fn find(rule: LetterRule, choices: usize, text: &str) -> Option<Found> {
    match rule {
        LetterRule::Abcd => abcd::find(text),
        LetterRule::AbcdStrict => abcd::find_strict(text),
        LetterRule::SimpleEvals => simple_evals::find(text),
        LetterRule::SimpleEvalsGpqa => simple_evals::find_in_english(text),
        LetterRule::MmluPro => mmlu_pro::find(text),
        LetterRule::MmluProFirst => mmlu_pro::find_first(text),
        LetterRule::Mlperf => mlperf::find(text, choices),
    }
}

/// Holds a text to its letter, letter for letter as the references do: `b` is not `B`.
pub fn judge(key: &LetterKey, text: &str) -> Judgement {
    match find(key.rule, key.options.len(), text) {
        Some(Found { letter, rule }) => {
            let is_right = letter.chars().eq([key.answer]);
            Judgement::found(letter, is_right, rule)
        }
        None => Judgement::without(Outcome::NoAnswer),
    }
}
