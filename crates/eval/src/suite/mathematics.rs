//! Items whose answer is a number: AIME, GSM8K.

use super::{ItemPart, Maker, needed};
use crate::key::{IntegerKey, IntegerRule, NumberKey};
use crate::number::{integer, reference_number};
use crate::random::PythonRandom;
use crate::row::{Row, text};
use crate::{Ask, Key, Recipe};

/// A row of AIME.
pub fn aime(maker: &Maker<'_>, row: &Row, random: &mut PythonRandom) -> Result<ItemPart, String> {
    // The reference draws a permutation here too, and has no use for it.
    random.sample(4, 4);
    let question = needed(row, &["question", "problem"])?;
    let answer = needed(row, &["answer", "ground_truth", "expected_answer"])?;
    let digits: String = answer.trim().chars().take_while(char::is_ascii_digit).collect();
    let answer = integer(&digits).ok_or_else(|| format!("its answer is no integer: {answer}"))?;
    let rule = match maker.options.recipe {
        Recipe::Mlperf => IntegerRule::Mlperf,
        _ => IntegerRule::GptOss,
    };
    let prompt =
        format!("\n{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}.\n");
    let group = text(row, &["year", "part"]);
    Ok(ItemPart { group, question, ask: Ask::user(prompt), key: Key::Integer(IntegerKey { answer, rule }) })
}

/// A row of GSM8K, also one of its recorded solutions.
pub fn gsm8k(maker: &Maker<'_>, row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["question", "problem"])?;
    let answer = needed(row, &["answer", "ground_truth", "target"])?;
    let answer = reference_number(&answer).ok_or("its answer holds no number")?;
    // No reference asks a chat model for it; these words are ours.
    let prompt = format!(
        "{question}\n\nThink step by step. End your answer with a line `#### N`, where N is the number alone."
    );
    let key = NumberKey { answer, strict: maker.options.strict_number };
    Ok(ItemPart { group: None, question, ask: Ask::user(prompt), key: Key::Number(key) })
}
