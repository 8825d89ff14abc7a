//! Texts and patterns of specifications of one's own.

use crate::key::{PatternKey, TextKey, TextRule};
use crate::pattern::{compile, last_group};
use crate::{Judgement, Outcome, boxed};

/// Holds a text to the texts that are right; white space in a row is one space.
pub fn judge(key: &TextKey, text: &str) -> Judgement {
    let (found, rule) = match &key.rule {
        TextRule::Whole => (Some(text).filter(|text| !text.trim().is_empty()), "whole"),
        TextRule::Boxed => (boxed::last(text), "boxed"),
        TextRule::Captured(pattern) => match compile(pattern) {
            Ok(pattern) => {
                let group = pattern.captures_len().min(2) - 1;
                (last_group(&pattern, text, group), "pattern")
            }
            Err(error) => return Judgement::error(format!("the pattern is malformed: {error}")),
        },
    };
    let Some(found) = found else { return Judgement::without(Outcome::NoAnswer) };
    let plain = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if key.ignore_case { text.to_lowercase() } else { text }
    };
    let is_right = key.answers.iter().any(|answer| plain(answer) == plain(found));
    Judgement::found(found.trim(), is_right, rule)
}

/// Looks for a pattern in a text.
pub fn judge_pattern(key: &PatternKey, text: &str) -> Judgement {
    if text.trim().is_empty() {
        return Judgement::without(Outcome::NoAnswer);
    }
    match compile(&key.pattern) {
        Ok(pattern) => match pattern.find(text) {
            Ok(Some(found)) => Judgement::found(found.as_str(), true, "pattern"),
            Ok(None) => Judgement { extracted: None, ..Judgement::found("", false, "pattern") },
            Err(error) => Judgement::error(format!("the pattern was given up: {error}")),
        },
        Err(error) => Judgement::error(format!("the pattern is malformed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: TextRule, text: &str, expected: (Outcome, Option<&str>)) {
        let key = TextKey { answers: vec!["New York".to_owned(), "NYC".to_owned()], rule, ignore_case: true };
        let judgement = judge(&key, text);
        assert_eq!((judgement.outcome, judgement.extracted.as_deref()), expected, "{text:?}");
    }

    #[test]
    fn a_text_is_found_by_its_rule() {
        check(TextRule::Whole, " new  york\n", (Outcome::Correct, Some("new  york")));
        check(TextRule::Whole, "It is NYC", (Outcome::Wrong, Some("It is NYC")));
        check(TextRule::Whole, " ", (Outcome::NoAnswer, None));
        check(TextRule::Boxed, r"\boxed{NYC}", (Outcome::Correct, Some("NYC")));
        let city = || TextRule::Captured("City: (.*)".to_owned());
        check(city(), "City: Rome\nCity: nyc", (Outcome::Correct, Some("nyc")));
        check(TextRule::Captured("NYC|Rome".to_owned()), "Rome, NYC", (Outcome::Correct, Some("NYC")));
        check(city(), "Rome", (Outcome::NoAnswer, None));
        assert_eq!(
            judge_pattern(&PatternKey { pattern: "(?i)^no".to_owned() }, "No.").outcome,
            Outcome::Correct
        );
        assert_eq!(judge_pattern(&PatternKey { pattern: "(".to_owned() }, "No.").outcome, Outcome::Error);
    }
}
