//! The letter rules of simple-evals.
//!
//! **Source**: openai/simple-evals, `common.py`, by behavior: MMLU takes marks of LaTeX and Markdown away and
//! then looks for `Answer:` in one language after the other; GPQA looks in English alone. A letter is not
//! raised to upper case, so `Answer: because` gives `b`, which is never right.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::Found;
use crate::pattern::{first_group, fixed};

/// What is taken away, in this order.
const MARKS: [&str; 13] = [
    "**",
    r"$\boxed{",
    "}$",
    r"\$",
    r"$\text{",
    "$",
    r"\mathrm{",
    r"\{",
    r"\text",
    r"\(",
    r"\mathbf{",
    "{",
    r"\boxed",
];

/// The word for an answer and what stands for its colon, in the order in which they are looked for.
const WORDS: [(&str, &str); 41] = [
    ("Answer", r"\s*:"),
    ("Answer", r"\s*:\u{200b}+"),
    ("উত্তর", r"\s*:"),
    ("उत्तर", r"\s*:"),
    ("উত্তরঃ", ""),
    ("Antwort", r"\s*:"),
    ("답변", r"\s*:"),
    ("정답", r"\s*:"),
    ("답", r"\s*:"),
    ("答案", r"\s*："),
    ("答案", r"\s*:"),
    ("答", r"\s*："),
    ("答", r"\s*:"),
    ("答复", r"\s*："),
    ("答曰", r"\s*："),
    ("الإجابة", ":"),
    ("الجواب", ":"),
    ("إجابة", ":"),
    ("الإجابة النهائية", ":"),
    ("الإجابة الصحيحة", ":"),
    ("الإجابة الصحيحة هي", ":"),
    ("الإجابة هي", ":"),
    ("الجواب النهائي", ":"),
    ("Respuesta", r"\s*:"),
    ("Risposta", r"\s*:"),
    ("答え", r"\s*:"),
    ("答え", r"\s*："),
    ("回答", r"\s*:"),
    ("回答", r"\s*："),
    ("解答", r"\s*:"),
    ("Jawaban", r"\s*:"),
    ("Réponse", r"\s*:"),
    ("Resposta", r"\s*:"),
    ("Jibu", r"\s*:"),
    ("Idahun", r"\s*:"),
    ("Ìdáhùn", r"\s*:"),
    ("Idáhùn", r"\s*:"),
    ("Àmọ̀nà", r"\s*:"),
    ("Àdáhùn", r"\s*:"),
    ("Ànúgọ", r"\s*:"),
    ("Àṣàyàn", r"\s*:"),
];

/// Letters of other scripts that stand for those of the choices.
const LETTERS: [(char, &str); 12] = [
    ('أ', "A"),
    ('ب', "B"),
    ('ج', "C"),
    ('د', "D"),
    ('অ', "A"),
    ('ব', "B"),
    ('ড', "C"),
    ('ঢ', "D"),
    ('Ａ', "A"),
    ('Ｂ', "B"),
    ('Ｃ', "C"),
    ('Ｄ', "D"),
];

static IN_LANGUAGES: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let to_regex = |(word, colon): &(&'static str, &str)| {
        (*word, fixed(&format!(r"(?i){word}{colon}[ \t]*([A-D]|[أ-د]|[অবডঢＡＢＣＤ])")))
    };
    WORDS.iter().map(to_regex).collect()
});
static IN_ENGLISH: LazyLock<Regex> = LazyLock::new(|| fixed(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?"));

/// MMLU's rule.
pub fn find(text: &str) -> Option<Found> {
    let bare = MARKS.iter().fold(text.to_owned(), |text, mark| text.replace(mark, ""));
    IN_LANGUAGES.iter().find_map(|(word, pattern)| {
        let letter = first_group(pattern, &bare, 1)?;
        let mut letters = LETTERS.iter();
        let meant = letters.find(|(other, _)| letter.chars().eq([*other])).map_or(letter, |(_, meant)| meant);
        Some(Found::new(meant, word))
    })
}

/// GPQA's rule.
pub fn find_in_english(text: &str) -> Option<Found> {
    first_group(&IN_ENGLISH, text, 1).map(|letter| Found::new(letter, "Answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(find(text).map(|found| found.letter).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn an_answer_is_found_in_many_languages() {
        check("**Answer: B**", Some("B"));
        check(r"Answer: $\boxed{\text{C}}$", Some("C"));
        check("Respuesta : D", Some("D"));
        check("答案：Ｂ", Some("B"));
        check("الإجابة الصحيحة هي: ج", Some("C"));
        check("উত্তরঃ ঢ", Some("D"));
        check("Answer:\u{200b}\u{200b}A", Some("A"));
        check("Answer: because", Some("b"));
        check("the answer is B", None);
        check("Antwort: B, but Answer: C", Some("C"));
        assert_eq!(find_in_english("Answer: $C$").map(|found| found.letter).as_deref(), Some("C"));
        assert_eq!(find_in_english("**Answer:** C"), None);
    }
}
