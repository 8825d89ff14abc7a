//! A row's choices, and the letter of the right one.

use crate::key::{LetterKey, LetterRule};
use crate::row::{Row, column, scalar, text, texts};

/// The letters of choices.
pub const LETTERS: &[u8; 16] = b"ABCDEFGHIJKLMNOP";

/// A row's choices: a list, or a column for each letter.
pub fn options(row: &Row) -> Result<Vec<String>, String> {
    let names = ["options", "choices"];
    let options = match column(row, &names) {
        Some(_) => texts(row, &names).ok_or("its choices are no list of texts")?,
        None => ["a", "b", "c", "d", "e"].iter().map_while(|letter| text(row, &[letter])).collect(),
    };
    match options.len() {
        2..=16 => Ok(options),
        found => Err(format!("it has {found} choices; there must be 2 to 16")),
    }
}

/// Choices with their letters.
pub fn lettered(options: &[String]) -> impl Iterator<Item = (char, &String)> {
    LETTERS.iter().map(|letter| char::from(*letter)).zip(options)
}

/// The right letter: a letter, an index from 0, or the text of the choice.
pub fn letter_key(row: &Row, options: Vec<String>, rule: LetterRule) -> Result<LetterKey, String> {
    let told = column(
        row,
        &["answer", "answer_key", "answerkey", "label", "target", "ground_truth", "correct_answer"],
    );
    let is_number = told.is_some_and(serde_json::Value::is_number);
    let told = told.and_then(scalar);
    let letter = |text: &str| {
        let text = text.trim().trim_matches(['(', ')', '.']);
        let mut letters = text.chars();
        let only = letters.next().filter(|_| letters.next().is_none())?.to_ascii_uppercase();
        LETTERS[..options.len()].contains(&u8::try_from(only).ok()?).then_some(only)
    };
    let at = |index: usize| (index < options.len()).then(|| char::from(LETTERS[index]));
    let index = |text: &str| text.trim().parse().ok().and_then(at);
    let same = |text: &str| options.iter().position(|option| option.trim() == text.trim()).and_then(at);
    let by_text = told.as_deref().and_then(|told| match is_number {
        true => index(told),
        false => letter(told).or_else(|| same(told)).or_else(|| index(told)),
    });
    let by_index = || text(row, &["answer_index", "answer_idx"]).and_then(|told| index(&told));
    match by_text.or_else(by_index) {
        Some(answer) => Ok(LetterKey { answer, options, rule }),
        None => Err(format!(
            "its answer is none of its {} choices: {}",
            options.len(),
            told.unwrap_or_else(|| "there is none".to_owned())
        )),
    }
}
