//! Whether an answer follows one instruction.

use std::sync::LazyLock;

use regex::Regex;
use serde::de::IgnoredAny;

use crate::ifeval::capitals::num_capital_words;
use crate::ifeval::instruction::Instruction;
use crate::ifeval::language::language;
use crate::ifeval::sentences::num_sentences;

/// One of these is to be in the answer of a constrained response.
const CONSTRAINED: [&str; 3] = ["My answer is yes.", "My answer is no.", "My answer is maybe."];

/// A pattern of ours.
macro_rules! pattern {
    ($pattern:literal) => {{
        static PATTERN: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($pattern).expect("a constant that is a pattern"));
        &*PATTERN
    }};
}

impl Instruction {
    /// Whether an answer, which is not blank, follows it.
    pub fn is_followed(&self, answer: &str) -> bool {
        match self {
            Self::Keywords(words) => words.iter().all(|word| word.is_match(answer)),
            Self::KeywordFrequency(word, relation, number) => {
                relation.holds(word.find_iter(answer).count(), *number)
            }
            Self::ForbiddenWords(words) => !words.iter().any(|word| word.is_match(answer)),
            Self::LetterFrequency(letter, relation, number) => {
                relation.holds(answer.to_lowercase().matches(*letter).count(), *number)
            }
            // A text without a letter is of every language.
            Self::Language(wanted) => language(answer).is_none_or(|found| found == *wanted),
            Self::Sentences(relation, number) => relation.holds(num_sentences(answer), *number),
            Self::Paragraphs(number) => num_paragraphs(answer) == Some(*number),
            // Marks upon letters are none, as in Python's `\w`.
            Self::Words(relation, number) => {
                relation.holds(pattern!(r"[\p{L}\p{N}_]+").find_iter(answer).count(), *number)
            }
            Self::ParagraphFirstWord { num_paragraphs, nth, word } => {
                first_word(answer, *num_paragraphs, *nth).as_ref() == Some(word)
            }
            Self::Placeholders(number) => pattern!(r"\[.*?\]").find_iter(answer).count() >= *number,
            Self::Postscript(mark) => mark.is_match(&answer.to_lowercase()),
            Self::Bullets(number) => {
                let stars = pattern!(r"(?m)^\s*\*[^*].*$").find_iter(answer).count();
                stars + pattern!(r"(?m)^\s*-.*$").find_iter(answer).count() == *number
            }
            Self::ConstrainedResponse => CONSTRAINED.iter().any(|option| answer.contains(option)),
            Self::Highlights(number) => num_highlights(answer) >= *number,
            Self::Sections(mark, number) => mark.find_iter(answer).count() >= *number,
            Self::Json => is_json(answer),
            Self::Title => pattern!(r"<<[^\n]+>>")
                .find_iter(answer)
                .any(|title| !title.as_str().trim_start_matches('<').trim_end_matches('>').trim().is_empty()),
            Self::TwoResponses => are_two_responses(answer),
            Self::RepeatPrompt(prompt) => answer.trim().to_lowercase().starts_with(prompt),
            Self::End(phrase) => answer.trim().trim_matches('"').to_lowercase().ends_with(phrase),
            Self::Quotation => {
                let answer = answer.trim();
                answer.len() > 1 && answer.starts_with('"') && answer.ends_with('"')
            }
            Self::CapitalWords(relation, number) => relation.holds(num_capital_words(answer), *number),
            Self::EnglishCapital => {
                is_of_case(answer, char::is_uppercase, char::is_lowercase) && is_english(answer)
            }
            Self::EnglishLowercase => {
                is_of_case(answer, char::is_lowercase, char::is_uppercase) && is_english(answer)
            }
            Self::NoComma => !answer.contains(','),
        }
    }
}

fn is_english(answer: &str) -> bool {
    language(answer).is_none_or(|found| found == "en")
}

/// Whether there are letters of one case and none of the other.
fn is_of_case(answer: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    answer.chars().any(wanted) && !answer.chars().any(other)
}

/// Paragraphs between lines of three asterisks; nothing if one within is empty.
fn num_paragraphs(answer: &str) -> Option<usize> {
    let paragraphs: Vec<&str> = pattern!(r"\s?\*\*\*\s?").split(answer).collect();
    let is_empty = |paragraph: &&str| paragraph.trim().is_empty();
    let within = paragraphs.get(1..paragraphs.len() - 1).unwrap_or_default();
    (!within.iter().any(is_empty)).then(|| paragraphs.iter().filter(|text| !is_empty(text)).count())
}

/// The first word of a paragraph, where there are so many paragraphs. Empty ones count as places.
fn first_word(answer: &str, num_paragraphs: usize, nth: usize) -> Option<String> {
    let paragraphs: Vec<&str> = answer.split("\n\n").collect();
    let num_filled = paragraphs.iter().filter(|paragraph| !paragraph.trim().is_empty()).count();
    if num_filled != num_paragraphs || nth > num_filled {
        return None;
    }
    let word = paragraphs.get(nth - 1)?.split_whitespace().next()?;
    let word = word.trim_start_matches('\'').trim_start_matches('"');
    Some(word.split(['.', ',', '?', '!', '\'', '"']).next()?.to_lowercase())
}

/// Texts between asterisks, and those between two on each side once more.
fn num_highlights(answer: &str) -> usize {
    let single = pattern!(r"\*[^\n*]*\*").find_iter(answer);
    let double = pattern!(r"\*\*[^\n*]*\*\*").find_iter(answer);
    single.chain(double).filter(|found| !found.as_str().trim_matches('*').trim().is_empty()).count()
}

/// Whether an answer is JSON, within a fence or without. Names and numbers may be too large for us.
fn is_json(answer: &str) -> bool {
    let mut text = answer.trim();
    for fence in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(fence).unwrap_or(text);
    }
    serde_json::from_str::<IgnoredAny>(text.strip_suffix("```").unwrap_or(text).trim()).is_ok()
}

/// Whether six asterisks stand between two answers, and at the ends at most.
fn are_two_responses(answer: &str) -> bool {
    let parts: Vec<&str> = answer.split("******").map(str::trim).collect();
    let within = parts.get(1..parts.len() - 1).unwrap_or_default();
    let filled: Vec<&&str> = parts.iter().filter(|part| !part.is_empty()).collect();
    !within.contains(&"") && matches!(filled[..], [first, second] if first != second)
}

#[cfg(test)]
mod tests;
