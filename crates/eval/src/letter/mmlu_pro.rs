//! MMLU-Pro's letter rule.
//!
//! **Source**: TIGER-AI-Lab/MMLU-Pro, `evaluate_from_api.py` (three patterns) and the local runs (the first
//! alone), by behavior. Where it finds nothing the reference scores a random letter; here that is no answer.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::Found;
use crate::pattern::{first_group, fixed, is_word};

static ANSWER_IS: LazyLock<Regex> = LazyLock::new(|| fixed(r"answer is \(?([A-J])\)?"));
static ANSWER: LazyLock<Regex> = LazyLock::new(|| fixed(r".*[aA]nswer:\s*([A-J])"));

/// The letter by the three patterns.
pub fn find(text: &str) -> Option<Found> {
    find_first(text)
        .or_else(|| first_group(&ANSWER, text, 1).map(|letter| Found::new(letter, "answer:")))
        .or_else(|| last_alone(text))
}

/// The letter by the first pattern alone.
pub fn find_first(text: &str) -> Option<Found> {
    first_group(&ANSWER_IS, text, 1).map(|letter| Found::new(letter, "answer is"))
}

/// The last letter of a choice that is a word.
fn last_alone(text: &str) -> Option<Found> {
    let is_edge = |c: Option<char>| !c.is_some_and(is_word);
    let mut after = None;
    for (at, c) in text.char_indices().rev() {
        if ('A'..='J').contains(&c) && is_edge(after) && is_edge(text[..at].chars().next_back()) {
            return Some(Found::new(&text[at..=at], "last letter"));
        }
        after = Some(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = find(text);
        assert_eq!(found.as_ref().map(|found| (found.letter.as_str(), found.rule)), expected, "{text:?}");
    }

    #[test]
    fn three_patterns_are_asked_in_turn() {
        check("The answer is (C). No, the answer is D.", Some(("C", "answer is")));
        check("The answer is $B$. Answer: E then Answer:\n\nF", Some(("F", "answer:")));
        check("answer: A, Answer: B", Some(("B", "answer:")));
        check("so I take B, or C² and J_1", Some(("B", "last letter")));
        check("I² times A", Some(("A", "last letter")));
        check("K", None);
        assert_eq!(find_first("Answer: E"), None);
    }
}
