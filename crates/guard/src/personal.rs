//! Personal data that has a pattern, by Presidio's names, as openai-guardrails' Contains PII lists them.
//!
//! Numbers with check digits are checked. Names, places and what else only a reader finds is not here: it is
//! refused by name, and never silently left out.

use std::sync::LazyLock;

use regex_lite::Regex;

/// A kind: its name, its pattern, and what a match must satisfy besides.
type Kind = (&'static str, &'static str, fn(&str) -> bool);

const KINDS: [Kind; 9] = [
    ("EMAIL_ADDRESS", r"(?i)\b[a-z0-9._%+'-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}\b", |_| true),
    ("CREDIT_CARD", r"\b[0-9](?:[ -]?[0-9]){12,18}\b", is_card),
    ("US_SSN", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", is_ssn),
    ("US_ITIN", r"\b9[0-9]{2}-(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])-[0-9]{4}\b", |_| true),
    ("IBAN_CODE", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b", is_iban),
    ("IP_ADDRESS", r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", |found| found.parse::<std::net::Ipv4Addr>().is_ok()),
    (
        "PHONE_NUMBER",
        r"(?:\+[0-9]{1,3}[ .-]?)?(?:\([0-9]{2,4}\)|\b[0-9]{2,4})[ .-][0-9]{3,4}[ .-]?[0-9]{3,4}\b|\+[0-9]{8,15}\b",
        |_| true,
    ),
    ("URL", r"(?i)\bhttps?://[^\s]+", |_| true),
    ("UK_NINO", r"(?i)\b[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]\b", |_| {
        true
    }),
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compiled = |(_, pattern, _): &Kind| Regex::new(pattern).expect("a constant that is a pattern");
    KINDS.iter().map(compiled).collect()
});

/// Kinds that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalData(Vec<usize>);

impl PersonalData {
    /// Of the kinds by name.
    ///
    /// Errors: a kind that has no pattern, or none at all.
    pub fn new(entities: &[String]) -> Result<PersonalData, String> {
        let known = || KINDS.map(|(name, ..)| name).join(", ");
        let find = |entity: &String| {
            let place = KINDS.iter().position(|(name, ..)| name == entity);
            place.ok_or_else(|| {
                format!(
                    "the entity {entity} is not found by a pattern\nleave it out; by pattern are: {}",
                    known()
                )
            })
        };
        match entities {
            [] => Err(format!("name the entities: {}", known())),
            entities => Ok(PersonalData(entities.iter().map(find).collect::<Result<_, _>>()?)),
        }
    }

    /// Whether the text has any of them.
    pub fn is_in(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|&kind| PATTERNS[kind].find_iter(text).map(|found| found.as_str()).any(KINDS[kind].2))
    }
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|letter| letter.to_digit(10)).collect()
}

/// Luhn's check.
fn is_card(found: &str) -> bool {
    let doubled = |(index, digit): (usize, &u32)| match (index % 2 == 1, digit * 2) {
        (false, _) => *digit,
        (true, twice) => twice / 10 + twice % 10,
    };
    let sum: u32 = digits(found).iter().rev().enumerate().map(doubled).sum();
    sum.is_multiple_of(10)
}

/// Numbers that were never given out are none.
fn is_ssn(found: &str) -> bool {
    !(found.starts_with("000") || found.starts_with("666") || found.starts_with('9'))
        && &found[4..6] != "00"
        && !found.ends_with("0000")
}

/// ISO 7064's check, 97 by the letters' numbers.
fn is_iban(found: &str) -> bool {
    let plain: String = found.chars().filter(|letter| !letter.is_whitespace()).collect();
    let turned = plain[4..].chars().chain(plain[..4].chars());
    let numbers = turned.filter_map(|letter| letter.to_digit(36));
    let rest = numbers.fold(0u64, |rest, number| {
        let shift = if number < 10 { 10 } else { 100 };
        (rest * shift + u64::from(number)) % 97
    });
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_and_what_looks_like_it_is_not() {
        let check = |entity: &str, text: &str, expect: bool| {
            let data = PersonalData::new(&[entity.to_owned()]).unwrap();
            assert_eq!(data.is_in(text), expect, "{entity} {text:?}");
        };
        check("EMAIL_ADDRESS", "write to jane.doe@example.co.uk.", true);
        check("EMAIL_ADDRESS", "at @jane", false);
        check("CREDIT_CARD", "4111 1111 1111 1111", true);
        check("CREDIT_CARD", "4111 1111 1111 1112", false);
        check("US_SSN", "SSN: 123-45-6789", true);
        check("US_SSN", "000-45-6789", false);
        check("IBAN_CODE", "DE89 3704 0044 0532 0130 00", true);
        check("IBAN_CODE", "DE88 3704 0044 0532 0130 00", false);
        check("IP_ADDRESS", "from 10.0.0.1", true);
        check("IP_ADDRESS", "version 999.1.1.1", false);
        check("PHONE_NUMBER", "call +1 (555) 123-4567", true);
        check("PHONE_NUMBER", "in 2024 there were 12345", false);
        check("URL", "https://example.com", true);
        check("UK_NINO", "AB 12 34 56 C", true);
        check("US_ITIN", "912-70-1234", true);
        for entity in ["PERSON", "LOCATION"] {
            let error = PersonalData::new(&[entity.to_owned()]).unwrap_err();
            assert!(error.contains(entity) && error.contains("US_SSN"), "{error}");
        }
        assert!(PersonalData::new(&[]).is_err());
    }
}
