//! Integers of AIME and numbers of GSM8K, found in a text by the rules of the references.

use std::sync::LazyLock;

use fancy_regex::Regex;

use crate::key::{IntegerKey, IntegerRule, NumberKey};
use crate::pattern::{first_group, fixed, last_group};
use crate::{Figure, Judgement, Outcome, boxed};

/// The official rule of GSM8K: after `####`, as its data has it, or `A:`, as its models were taught.
static MARKED: LazyLock<Regex> = LazyLock::new(|| fixed(r"(?:####|A:) (-?[0-9.,]+)"));
static STRICT: LazyLock<Regex> = LazyLock::new(|| fixed(r"#### (-?[0-9.,]+)"));
/// The flexible rule of lm-eval: the last of these.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| fixed(r"-?[$0-9.,]{2,}|-?[0-9]+"));
/// `gpt_oss.evals`: a box up to its first closing brace, so that nested ones are cut.
static BOX: LazyLock<Regex> = LazyLock::new(|| fixed(r"(?s)boxed\{(.*?)\}|framebox\{(.*?)\}"));
static DIGITS: LazyLock<Regex> = LazyLock::new(|| fixed(r"\d+"));
static BOXED_DIGITS: LazyLock<Regex> = LazyLock::new(|| fixed(r"\\boxed\{\s*(\d+)\s*\}"));
static ANSWER_DIGITS: LazyLock<Regex> = LazyLock::new(|| fixed(r"(?i)Answer:\s*(\d+)(?!\.)b>"));

/// MLPerf takes no larger integer.
const AIME_MAX: u32 = 999;

/// Holds a text to its integer.
pub fn judge_integer(key: &IntegerKey, text: &str) -> Judgement {
    let found = match key.rule {
        IntegerRule::GptOss => gpt_oss(text),
        IntegerRule::Mlperf => mlperf(text),
    };
    let Some((found, rule)) = found else { return Judgement::without(Outcome::NoAnswer) };
    match integer(&found) {
        Some(integer_found) => {
            let is_right = integer(&key.answer).as_ref() == Some(&integer_found);
            Judgement::found(integer_found, is_right, rule)
        }
        None => Judgement {
            detail: Some(format!("`{}` is not an integer", found.chars().take(80).collect::<String>())),
            rule: Some(rule.into()),
            ..Judgement::without(Outcome::NoAnswer)
        },
    }
}

/// The last box that is not empty, after its last comma, else the last digits.
fn gpt_oss(text: &str) -> Option<(String, &'static str)> {
    let groups = |found: fancy_regex::Captures<'_, str>| -> String {
        let of = |index| found.get(index).map_or("", |group| group.as_str());
        if of(1).is_empty() { of(2).to_owned() } else { of(1).to_owned() }
    };
    let boxes = BOX.captures_iter(text).map_while(Result::ok).map(groups);
    if let Some(content) = boxes.filter(|content| !content.is_empty()).last() {
        let last = content.rsplit(',').next().unwrap_or_default().trim().to_owned();
        return Some((last, "boxed"));
    }
    last_group(&DIGITS, text, 0).map(|digits| (digits.to_owned(), "last digits"))
}

fn mlperf(text: &str) -> Option<(String, &'static str)> {
    let boxed = last_group(&BOXED_DIGITS, text, 1).map(|digits| (digits, "boxed"));
    let (digits, rule) =
        boxed.or_else(|| last_group(&ANSWER_DIGITS, text, 1).map(|digits| (digits, "answer")))?;
    let is_small = digits.parse::<u32>().is_ok_and(|number| number <= AIME_MAX);
    is_small.then(|| (digits.to_owned(), rule))
}

/// An integer as Python's `int` reads it, written without zeros in front.
pub fn integer(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    // An underscore stands between two digits.
    let is_well_formed =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if !is_well_formed {
        return None;
    }
    let digits = digits.replace('_', "");
    let short = digits.trim_start_matches('0');
    Some(if short.is_empty() { "0".to_owned() } else { format!("{sign}{short}") })
}

/// Holds a text to the number of a word problem: by the official mark, else a box, else the last number.
pub fn judge_number(key: &NumberKey, text: &str) -> Judgement {
    let marked = MARKED.captures(text).ok().flatten();
    let marked =
        marked.map(|found| (plain(&found[1]), if found[0].starts_with('#') { "####" } else { "A:" }));
    let last = || last_group(&NUMBER, text, 0).map(|number| (plain(number), "last number"));
    let boxed =
        || boxed::last(text).and_then(|inside| last_group(&NUMBER, inside, 0)).map(|n| (plain(n), "boxed"));
    let found = match key.strict {
        true => marked,
        false => marked.or_else(boxed).or_else(last),
    };
    let mut judgement = match found {
        Some((number, rule)) => {
            let is_right = number == key.answer;
            Judgement::found(number, is_right, rule)
        }
        None => Judgement::without(Outcome::NoAnswer),
    };
    let share = |name: &'static str, number: Option<String>| Figure {
        name: name.into(),
        value: f64::from(u8::from(number.as_deref() == Some(key.answer.as_str()))),
        of: 1.0,
    };
    let strict = first_group(&STRICT, text, 1).map(plain);
    judgement.figures =
        vec![share("strict-match", strict), share("flexible-extract", last().map(|(n, _)| n))];
    judgement
}

/// A row's answer: what stands after the mark, or the number alone.
pub fn reference_number(answer: &str) -> Option<String> {
    match last_group(&MARKED, answer, 1) {
        Some(number) => Some(plain(number)),
        None => {
            let number = plain(answer.trim());
            number.bytes().any(|b| b.is_ascii_digit()).then_some(number)
        }
    }
}

/// Without commas, signs of money and a full stop at its end.
fn plain(number: &str) -> String {
    let number = number.replace([',', '$'], "");
    number.strip_suffix('.').map_or_else(|| number.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_integer(text: &str, answer: &str, rule: IntegerRule, expected: (Outcome, Option<&str>)) {
        let judgement = judge_integer(&IntegerKey { answer: answer.to_owned(), rule }, text);
        assert_eq!((judgement.outcome, judgement.extracted.as_deref()), expected, "{text:?}");
    }

    #[test]
    fn aime_reads_the_last_box_and_then_the_last_digits() {
        let check = |text, answer, expected| check_integer(text, answer, IntegerRule::GptOss, expected);
        check(r"so \boxed{025}", "25", (Outcome::Correct, Some("25")));
        check(r"\boxed{3} or \boxed{}", "3", (Outcome::Correct, Some("3")));
        check(r"\boxed{x=1, 7 }", "7", (Outcome::Correct, Some("7")));
        check(r"\boxed{\frac{1}{2}}", "12", (Outcome::NoAnswer, None));
        check(r"\boxed{1_0}", "010", (Outcome::Correct, Some("10")));
        check("it is 12, then 34.", "34", (Outcome::Correct, Some("34")));
        check("\\framebox{8\n}", "8", (Outcome::Correct, Some("8")));
        check("none", "8", (Outcome::NoAnswer, None));
    }

    #[test]
    fn mlperf_reads_boxes_of_digits_and_then_an_answer() {
        let check = |text, answer, expected| check_integer(text, answer, IntegerRule::Mlperf, expected);
        check(r"\boxed{ 25 } then \boxed{x}", "025", (Outcome::Correct, Some("25")));
        check("Answer: 12\nanswer: 13", "13", (Outcome::Correct, Some("13")));
        check("Answer: 12.5", "12", (Outcome::NoAnswer, None));
        check(r"\boxed{1000}", "1000", (Outcome::NoAnswer, None));
    }

    #[test]
    fn integers_are_pythons() {
        for (text, expected) in [
            ("025", Some("25")),
            (" 7 ", Some("7")),
            ("1_0", Some("10")),
            ("-0", Some("0")),
            ("-07", Some("-7")),
            ("+3", Some("3")),
            ("_1", None),
            ("1__0", None),
            ("1.0", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(integer(text).as_deref(), expected, "{text:?}");
        }
    }

    fn check_number(text: &str, strict: bool, expected: (Outcome, Option<&str>, Option<&str>)) {
        let judgement = judge_number(&NumberKey { answer: "1200".to_owned(), strict }, text);
        let told = (judgement.outcome, judgement.extracted.as_deref(), judgement.rule.as_deref());
        assert_eq!(told, expected, "{text:?}");
    }

    #[test]
    fn the_rule_that_found_a_number_is_told() {
        check_number("so\n#### 1,200", false, (Outcome::Correct, Some("1200"), Some("####")));
        check_number("so\nA: 1200", false, (Outcome::Correct, Some("1200"), Some("A:")));
        check_number("#### 7 and then 1200", false, (Outcome::Wrong, Some("7"), Some("####")));
        check_number(r"so \boxed{\$1{,}200} of 3", false, (Outcome::Wrong, Some("200"), Some("boxed")));
        check_number(r"so \boxed{\$1,200} of 3", false, (Outcome::Correct, Some("1200"), Some("boxed")));
        check_number("She pays $1,200.", false, (Outcome::Correct, Some("1200"), Some("last number")));
        check_number("She pays $1,200.", true, (Outcome::NoAnswer, None, None));
        check_number("none", false, (Outcome::NoAnswer, None, None));
    }

    #[test]
    fn a_rows_answer_is_after_its_mark_or_all_of_it() {
        assert_eq!(reference_number("16 - 3 = 13\n#### 1,013").as_deref(), Some("1013"));
        assert_eq!(reference_number("so\nA: 18").as_deref(), Some("18"));
        assert_eq!(reference_number(" 18 ").as_deref(), Some("18"));
        assert_eq!(reference_number("eighteen"), None);
    }
}
