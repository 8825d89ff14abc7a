//! IFEval: instructions that a program can check, each of an answer followed or not.
//!
//! The 25 kinds and their rules are those of Google's checker. Where that one draws at random (an argument is
//! missing, a letter is not one), an item is refused, or read as its prompt says it.

mod capitals;
mod follow;
mod instruction;
mod language;
mod sentences;

use serde_json::json;

use crate::{Figure, InstructionsKey, Judgement, Outcome, Part, Response};

pub use instruction::{Instruction, InstructionError, Relation};

/// Judges an answer: right is one that follows all instructions strictly. The four official scores are among
/// the figures, the parts are the strict verdicts.
pub fn judge(key: &InstructionsKey, response: &Response) -> Judgement {
    let read =
        |instruction: &crate::Instruction| Instruction::read(&instruction.kind, &instruction.arguments);
    let instructions: Vec<Instruction> = match key.instructions.iter().map(read).collect() {
        Ok(instructions) => instructions,
        Err(error) => return Judgement::error(error.to_string()),
    };
    let (strict, loose) =
        (strict(&instructions, &response.response), loose(&instructions, &response.response));
    let of_prompts = |name: &'static str, followed: &[bool]| Figure {
        name: name.into(),
        value: f64::from(followed.iter().all(|is| *is)),
        of: 1.0,
    };
    let of_instructions = |name: &'static str, followed: &[bool]| {
        let num_followed = followed.iter().filter(|is| **is).count();
        Figure { name: name.into(), value: num_followed as f64, of: followed.len() as f64 }
    };
    let figures = vec![
        of_prompts("prompt_level_strict_acc", &strict),
        of_instructions("inst_level_strict_acc", &strict),
        of_prompts("prompt_level_loose_acc", &loose),
        of_instructions("inst_level_loose_acc", &loose),
    ];
    let names = key.instructions.iter().map(|instruction| instruction.kind.clone());
    let parts = names.zip(&strict).map(|(name, passed)| Part { name, passed: *passed }).collect();
    let outcome = match strict.iter().all(|is| *is) {
        _ if response.response.trim().is_empty() => Outcome::NoAnswer,
        true => Outcome::Correct,
        false => Outcome::Wrong,
    };
    let score = if outcome == Outcome::Correct { 1.0 } else { 0.0 };
    Judgement { score, parts, figures, more: json!({"loose": loose}), ..Judgement::without(outcome) }
}

/// Which instructions an answer follows as it is, in their order.
pub fn strict(instructions: &[Instruction], answer: &str) -> Vec<bool> {
    let is_blank = answer.trim().is_empty();
    instructions.iter().map(|instruction| !is_blank && instruction.is_followed(answer)).collect()
}

/// Which instructions one of the eight readings of an answer follows: with and without its first line, its
/// last line and its asterisks.
pub fn loose(instructions: &[Instruction], answer: &str) -> Vec<bool> {
    let readings = readings(answer);
    instructions
        .iter()
        .map(|instruction| readings.iter().any(|reading| instruction.is_followed(reading)))
        .collect()
}

/// The readings that are not blank, each once.
fn readings(answer: &str) -> Vec<String> {
    let lines: Vec<&str> = answer.split('\n').collect();
    let inner = |from: usize, to: usize| lines.get(from..to).unwrap_or_default().join("\n").trim().to_owned();
    let num_lines = lines.len();
    let plain = [answer.to_owned(), inner(1, num_lines), inner(0, num_lines - 1), inner(1, num_lines - 1)];
    let mut readings = Vec::new();
    for reading in plain.iter().cloned().chain(plain.iter().map(|reading| reading.replace('*', ""))) {
        if !reading.trim().is_empty() && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_eight_readings_of_which_blank_and_equal_ones_fall_away() {
        assert_eq!(readings("a\n*b*\nc").len(), 8);
        assert_eq!(readings("one"), ["one"]);
        assert_eq!(readings("first\n\nlast"), ["first\n\nlast", "last", "first"]);
        assert!(readings(" \n ").is_empty());
    }

    #[test]
    fn the_four_scores_are_figures() {
        let instruction =
            |kind: &str| crate::Instruction { kind: kind.into(), arguments: serde_json::Map::new() };
        let key = InstructionsKey {
            instructions: vec![instruction("startend:quotation"), instruction("punctuation:no_comma")],
        };
        let judged = |text: &str| judge(&key, &Response { response: text.into(), ..Response::default() });
        let judgement = judged("So:\n\"One.\"");
        assert_eq!(judgement.outcome, Outcome::Wrong);
        let figures: Vec<_> = judgement.figures.iter().map(|figure| (figure.value, figure.of)).collect();
        assert_eq!(figures, [(0.0, 1.0), (1.0, 2.0), (1.0, 1.0), (2.0, 2.0)]);
        assert_eq!(judged("\"One.\"").outcome, Outcome::Correct);
        assert_eq!(judged(" ").outcome, Outcome::NoAnswer);
        let unknown = InstructionsKey { instructions: vec![instruction("a:b")] };
        assert_eq!(judge(&unknown, &Response::default()).outcome, Outcome::Error);
    }

    #[test]
    fn a_frame_around_an_answer_costs_the_strict_verdict_alone() {
        let quoted = [Instruction::Quotation];
        let framed = "Here it is:\n\"Word.\"";
        assert_eq!((strict(&quoted, framed), loose(&quoted, framed)), (vec![false], vec![true]));
        assert_eq!((strict(&quoted, " \n"), loose(&quoted, " \n")), (vec![false], vec![false]));
    }
}
