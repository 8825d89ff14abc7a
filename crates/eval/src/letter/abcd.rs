//! The letter rule of `gpt_oss.evals`: thirteen patterns, the first in their order that matches.
//!
//! **Source**: openai/gpt-oss, `gpt_oss/evals/abcd_grader.py`, by behavior. Its order is not that of its
//! numbers. Two quirks are kept: after `Answer:` at the start of a line any word that begins with a letter of
//! a choice counts (`Answer: because` is B), and so does, last, any line that begins with a capital one. When
//! nothing matches it answers with the text's first character, which is then no letter of a choice.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::Found;
use crate::pattern::{first_group, fixed};

/// The numbers of the reference, and what each looks for.
const PATTERNS: [(&str, &str); 13] = [
    // *Answer:* A, with the word in a wrapper of Markdown.
    ("abcd 0", r"(?i)(?:\*{1,2}|_{1,2})Answers?\s*[:\-–]?(?:\*{1,2}|_{1,2})\s*([ABCD])b>"),
    // A line that begins with Answer; no end of a word is asked for.
    (
        "abcd 0.1",
        r"(?im)^\s*(?:\*{1,2}|_{1,2})?Answer:?(?:\*{1,2}|_{1,2})?\s*:?\s*(?:\*{1,2}|_{1,2})?([ABCD])",
    ),
    ("abcd 1", r"(?i)<bAnswers?b>\s*[:\-–]?\s*\(\s*([ABCD])\s*\)"),
    ("abcd 2", r"(?i)<bAnswers?b>\s*[:\-–]?\s*([ABCD])b>"),
    ("abcd 3", r"(?i)<b(?:Option|Choice)b>\s*[:\-–]?\s*([ABCD])b>"),
    // The first such letter in a box, be it in a word.
    ("abcd 7", r"\\boxed\{[^}]*?([ABCD])[^}]*\}"),
    ("abcd 7.5", r"\\boxed\{[^}]*?\\textbf\{[^}]*?([ABCD])[^}]*\}[^}]*\}"),
    ("abcd 7.51", r"\\boxed\{[^}]*?\\text\{[^}]*?([ABCD])[^}]*\}[^}]*\}"),
    // (A) and [A].
    ("abcd 4", r"(?<![A-Za-z0-9])[(\[]\s*([ABCD])\s*[)\]](?![A-Za-z0-9])"),
    // **A**.
    ("abcd 5", r"(?<![A-Za-z0-9])(?:\*{1,2}|_{1,2})([ABCD])(?:\*{1,2}|_{1,2})(?![A-Za-z0-9])"),
    ("abcd 6", r"\\textbf\{[^}]*?([ABCD])[^}]*\}"),
    // **A) and why**.
    ("abcd 8", r"(?<![A-Za-z0-9])(?:\*{1,2}|_{1,2})\s*([ABCD])\)[^*_\n]+?(?:\*{1,2}|_{1,2})(?![A-Za-z0-9])"),
    // A line that begins with the letter.
    ("abcd 9", r"(?m)^\s*(?:\*{1,2}|_{1,2})?([ABCD])"),
];

static COMPILED: LazyLock<Vec<(&'static str, Regex)>> =
    LazyLock::new(|| PATTERNS.iter().map(|(name, pattern)| (*name, fixed(pattern))).collect());

/// The letter, in upper case.
pub fn find(text: &str) -> Option<Found> {
    by(text, |_| true)
}

/// The letter without the two patterns that take words for it.
pub fn find_strict(text: &str) -> Option<Found> {
    by(text, |name| !matches!(name, "abcd 0.1" | "abcd 9"))
}

fn by(text: &str, is_asked: impl Fn(&str) -> bool) -> Option<Found> {
    COMPILED.iter().filter(|(name, _)| is_asked(name)).find_map(|(name, pattern)| {
        let letter = first_group(pattern, text, 1)?;
        Some(Found::new(&letter.to_uppercase(), name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = find(text);
        let found = found.as_ref().map(|found| (found.letter.as_str(), found.rule));
        assert_eq!(found, expected, "{text:?}");
    }

    /// Letters are those that the reference gives for the same texts.
    #[test]
    fn the_first_pattern_in_the_list_wins() {
        check("so **Answer:** C it is", Some(("C", "abcd 0")));
        check("__answers__ d", Some(("D", "abcd 0")));
        check("Well.\n  Answer: b", Some(("B", "abcd 0.1")));
        check("Answer: because", Some(("B", "abcd 0.1")));
        check("My answer: (D)", Some(("D", "abcd 1")));
        check("the answers – a", Some(("A", "abcd 2")));
        check("I take option: C.", Some(("C", "abcd 3")));
        check(r"so \boxed{\text{Case D}}", Some(("C", "abcd 7")));
        check(r"then [ C ] is left", Some(("C", "abcd 4")));
        check("I say **B**.", Some(("B", "abcd 5")));
        check(r"thus \textbf{D: 4}", Some(("D", "abcd 6")));
        check("so **A) the sky** is", Some(("A", "abcd 8")));
        check("I think.\nBecause the sky", Some(("B", "abcd 9")));
        check("(A) no, but option B", Some(("B", "abcd 3")));
        check("nothing here", None);
        check("", None);
    }

    #[test]
    fn strictly_no_word_is_a_letter() {
        assert_eq!(find_strict("Because the sky"), None);
        assert_eq!(find_strict("Answer: because"), None);
        assert_eq!(find_strict("Answer: b").map(|found| found.letter).as_deref(), Some("B"));
    }
}
