//! MLPerf's letter rule, over the text of the final channel.
//!
//! **Source**: mlcommons/inference, `language/gpt-oss-120b/eval_accuracy.py`, by behavior.

use std::sync::LazyLock;

use fancy_regex::{Captures, Regex};

use super::Found;
use crate::pattern::{first_group, fixed, last_group};

static FINAL: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"(?s)<\|channel\|>final[^<]*<\|message\|>(.*?)(?:<\|return\|>|\z)"));
static BOLD: LazyLock<Regex> = LazyLock::new(|| fixed(r"\*\*([^*]+)\*\*"));

/// The patterns of four choices, and of ten.
struct Patterns {
    at_start: Regex,
    after_answer: Regex,
    anywhere: Regex,
    alone: Regex,
}

static FOUR: LazyLock<Patterns> = LazyLock::new(|| Patterns::up_to('D'));
static TEN: LazyLock<Patterns> = LazyLock::new(|| Patterns::up_to('J'));

impl Patterns {
    fn up_to(last: char) -> Patterns {
        Patterns {
            at_start: fixed(&format!(r"(?i)\A[^a-zA-Z]*([A-{last}])(?:[^a-zA-Z]|\z)")),
            after_answer: fixed(&format!(r"(?i)<bAnswer\s*[:.]?\s*([A-{last}])b>")),
            anywhere: fixed(&format!(
                r"(?i)<b(?:ANSWER|FINAL\s*ANSWER)b>\s*[:=]?\s*\(?\s*([A-{last}])\s*\)?(?:\s*\z|[^A-Za-z])"
            )),
            alone: fixed(&format!(r"(?i)<b([A-{last}])b>")),
        }
    }
}

/// The text of the final channel where harmony is told as it was sampled, else the text.
pub fn final_text(text: &str) -> &str {
    let text = text.trim();
    first_group(&FINAL, text, 1).map_or(text, str::trim)
}

/// The letter, in upper case.
pub fn find(text: &str, choices: usize) -> Option<Found> {
    let patterns = if choices > 4 { &*TEN } else { &*FOUR };
    let plain = BOLD.replace_all(final_text(text), |found: &Captures<'_, str>| found[1].to_owned());
    let plain = unescaped(without_list(&plain));
    let found = |letter: &str, rule| Found::new(&letter.to_uppercase(), rule);
    first_group(&patterns.at_start, plain.trim(), 1)
        .map(|letter| found(letter, "at the start"))
        .or_else(|| first_group(&patterns.after_answer, &plain, 1).map(|letter| found(letter, "answer")))
        .or_else(|| {
            last_group(&patterns.anywhere, &unescaped(text.trim()), 1).map(|letter| found(letter, "anywhere"))
        })
        .or_else(|| {
            let alone = (choices > 4).then(|| last_group(&patterns.alone, &plain, 1)).flatten();
            alone.map(|letter| found(letter, "last letter"))
        })
}

/// What stands in a Python list of one string.
fn without_list(text: &str) -> &str {
    let is_list = (text.starts_with("['") || text.starts_with("[\"")) && text.len() >= 4;
    let inner = text.strip_suffix("']").or_else(|| text.strip_suffix("\"]"));
    match inner.filter(|_| is_list) {
        Some(inner) => inner[2..].trim(),
        None => text,
    }
}

fn unescaped(text: &str) -> String {
    text.replace(r"\n", "\n").replace(r"\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, choices: usize, expected: Option<(&str, &str)>) {
        let found = find(text, choices);
        assert_eq!(found.as_ref().map(|found| (found.letter.as_str(), found.rule)), expected, "{text:?}");
    }

    #[test]
    fn the_final_channel_is_what_counts() {
        let harmony = "<|channel|>analysis<|message|>Answer: A<|end|><|start|>assistant<|channel|>final<|message|>**C**<|return|>";
        check(harmony, 4, Some(("C", "at the start")));
        check("I think so.\n\nAnswer: d", 4, Some(("D", "answer")));
        check("The final answer = (B).", 4, Some(("B", "anywhere")));
        check("So it is G, I think: G", 4, None);
        check("So it is G", 10, Some(("G", "last letter")));
        check("['B']", 4, Some(("B", "at the start")));
        check("A cat", 4, Some(("A", "at the start")));
        check("", 4, None);
    }
}
