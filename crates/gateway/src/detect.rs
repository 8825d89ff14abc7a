//! What in a request's own words makes it sensitive: patterns, and whoever else looks.
//!
//! Every text of the body is looked at, wherever it stands, also one that a duplicate key would hide from a
//! reader of JSON. Numbers with check digits are checked. What is not written as one text (split over two
//! messages, encoded) is not found: a detector raises a label, it does not prove one.

use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::{Regex, RegexBuilder};

use crate::label::Label;
use crate::limits::PATTERN_PROGRAM_BYTES_MAX;

/// Whether a text has personal data in it, by a filter of the caller's.
pub type FindsPersonalData = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A detector.
#[derive(Debug, Clone)]
pub struct Detector {
    /// What reasons call it.
    pub name: String,
    /// The label of what it finds.
    pub label: Label,
    /// What it looks for.
    pub finds: Finds,
}

/// What a detector looks for.
#[derive(Debug, Clone)]
pub enum Finds {
    /// An address of e-mail.
    Email,
    /// The number of a card, by Luhn's check.
    Card,
    /// The number of an account, by its check digits.
    Iban,
    /// A pattern of the operator's.
    Pattern(Box<Regex>),
    /// Personal data, by a filter that stands elsewhere.
    Personal(PersonalFilter),
}

/// A filter that stands elsewhere.
#[derive(Clone)]
pub struct PersonalFilter(pub FindsPersonalData);

impl fmt::Debug for PersonalFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalFilter")
    }
}

static EMAIL: LazyLock<Regex> = LazyLock::new(|| constant(r"(?i)[a-z0-9._%+'-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}"));
static CARD: LazyLock<Regex> = LazyLock::new(|| constant(r"[0-9]+(?:[ -][0-9]+)*"));
static IBAN: LazyLock<Regex> =
    LazyLock::new(|| constant(r"(?i)\b[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]){11,30}\b"));

/// Digits of the shortest number of a card.
const CARD_DIGITS_MIN: usize = 13;
/// Digits of the longest.
const CARD_DIGITS_MAX: usize = 19;

fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant that is a pattern")
}

/// A pattern of the operator's.
///
/// Errors: it is none, or would take too much memory; in words.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PATTERN_PROGRAM_BYTES_MAX).build();
    let found = built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())?;
    match found.is_match("") {
        true => Err("it matches the empty text, and so everything".to_owned()),
        false => Ok(found),
    }
}

impl Detector {
    /// Whether it finds something.
    pub fn finds(&self, text: &str) -> bool {
        match &self.finds {
            Finds::Email => EMAIL.is_match(text),
            Finds::Card => has_card(text),
            Finds::Iban => IBAN.find_iter(text).any(|found| is_iban(found.as_str())),
            Finds::Pattern(pattern) => pattern.is_match(text),
            Finds::Personal(filter) => (filter.0)(text),
        }
    }
}

/// The highest label of what detectors find, and the first detector that gives it; `from` where none is
/// higher.
pub fn detect<'d>(detectors: &'d [Detector], texts: &[String], from: Label) -> (Label, Option<&'d str>) {
    let mut highest = (from, None);
    for detector in detectors {
        if detector.label > highest.0 && texts.iter().any(|text| detector.finds(text)) {
            highest = (detector.label, Some(detector.name.as_str()));
        }
    }
    highest
}

/// Whether 13 to 19 digits in it pass Luhn's check: groups with a space or a dash between them, each group
/// whole. Within a longer number something would nearly always pass.
fn has_card(text: &str) -> bool {
    let is_any = |run: &str| {
        let groups: Vec<&str> = run.split([' ', '-']).collect();
        (0..groups.len()).any(|from| {
            let mut digits: Vec<u32> = Vec::new();
            for group in &groups[from..] {
                digits.extend(group.chars().take(CARD_DIGITS_MAX + 1).filter_map(|digit| digit.to_digit(10)));
                if digits.len() > CARD_DIGITS_MAX {
                    break;
                }
                if digits.len() >= CARD_DIGITS_MIN && is_card(&digits) {
                    return true;
                }
            }
            false
        })
    };
    CARD.find_iter(text).any(|run| is_any(run.as_str()))
}

/// Luhn's check; a number of zeros alone is none.
fn is_card(digits: &[u32]) -> bool {
    let doubled = |(index, digit): (usize, &u32)| match (index % 2 == 1, digit * 2) {
        (false, _) => *digit,
        (true, twice) => twice / 10 + twice % 10,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    sum > 0 && sum.is_multiple_of(10)
}

/// ISO 7064's check, 97 by the letters' numbers.
fn is_iban(found: &str) -> bool {
    let plain: Vec<char> = found.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_right = |plain: &[char]| {
        let turned = plain[4..].iter().chain(&plain[..4]);
        let rest = turned.filter_map(|letter| letter.to_digit(36)).fold(0u64, |rest, number| {
            let shift = if number < 10 { 10 } else { 100 };
            (rest * shift + u64::from(number)) % 97
        });
        rest == 1
    };
    // Words behind the number look like more of it.
    (15..=plain.len().min(34)).any(|length| is_right(&plain[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(finds: Finds, text: &str, expect: bool) {
        let detector = Detector { name: "it".into(), label: Label::LocalOnly, finds };
        assert_eq!(detector.finds(text), expect, "{text:?}");
    }

    #[test]
    fn each_kind_is_found_and_what_looks_like_it_is_not() {
        check(Finds::Email, "write to jane.doe@example.co.uk.", true);
        check(Finds::Email, "at @jane", false);
        check(Finds::Card, "pay with 4111 1111 1111 1111, please", true);
        check(Finds::Card, "0000000000000", false);
        check(Finds::Card, "orders 12 4111111111111111 7", true);
        check(Finds::Card, "14111111111111111", false);
        // What grows with the square would take minutes.
        check(Finds::Card, &"1 ".repeat(1 << 17), false);
        check(Finds::Card, "4111111111111112", false);
        check(Finds::Iban, "to DE89 3704 0044 0532 0130 00 today", true);
        check(Finds::Iban, "to de89370400440532013000", true);
        check(Finds::Iban, "DE88 3704 0044 0532 0130 00", false);
        check(Finds::Pattern(Box::new(pattern("(?i)project orchid").unwrap())), "Project Orchid", true);
        check(Finds::Personal(PersonalFilter(Arc::new(|text| text.contains("Jane")))), "Jane", true);
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for text in ["(", "", "a*", "\\", "(?:a{1000}){1000}{1000}"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_highest_label_holds() {
        let of = |name: &str, label, finds| Detector { name: name.into(), label, finds };
        let detectors =
            [of("mail", Label::Internal, Finds::Email), of("card", Label::LocalOnly, Finds::Card)];
        let texts = ["a@b.de".to_owned(), "4111111111111111".to_owned()];
        assert_eq!(detect(&detectors, &texts, Label::Any), (Label::LocalOnly, Some("card")));
        assert_eq!(detect(&detectors, &texts[..1], Label::Any), (Label::Internal, Some("mail")));
        assert_eq!(detect(&detectors, &[], Label::Any), (Label::Any, None));
    }
}
