//! What is learned and what is tested with.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Result, anyhow};
use gptoss_dataset::{Dataset, Example, Options, Sample, TooLong};
use gptoss_harmony::Vocab;
use gptoss_train::{Text, order};
use serde_json::{Value, json};

use crate::args::{TrainArgs, ValidArg};
use crate::model_source::Opened;
use crate::{dataset, generation};

/// Share of the rows that are tested with unless the user says otherwise.
const VALID_SHARE: f64 = 0.05;

/// What is learned and what is tested with.
pub struct Rows {
    train: Vec<Example>,
    /// How many texts or pairs of each row of the data are learned.
    conversations: Vec<usize>,
    valid: Vec<Example>,
    /// Whether each two of them are the chosen and the rejected answer of a pair.
    are_pairs: bool,
    told: Dataset,
    told_valid: Option<Dataset>,
}

impl Rows {
    /// Reads them; rows of one conversation are learned or tested with, never both.
    ///
    /// Errors: a file cannot be read, nothing is left of it, or it holds pairs of answers and other rows.
    pub fn read(args: &TrainArgs, opened: &Opened, vocab: &Vocab) -> Result<Rows> {
        let options = options(args, opened);
        let told = dataset::read(&args.file, vocab, &options, None)?;
        Rows::of(args, told, |told| match &args.data.valid {
            Some(ValidArg::File(file)) => Ok(Some(dataset::read(file, vocab, &options, Some(told))?)),
            Some(ValidArg::Share(_)) | None => Ok(None),
        })
    }

    /// Those of files that are read; what is tested with is asked for when something can be learned.
    ///
    /// Errors: as [`Rows::read`].
    pub fn of(
        args: &TrainArgs,
        told: Dataset,
        read_valid: impl FnOnce(&Dataset) -> Result<Option<Dataset>>,
    ) -> Result<Rows> {
        let are_pairs = matches!(told.samples.first(), Some((_, Sample::Pair { .. })));
        let examples = examples(&told, &args.file, are_pairs)?;
        let (valid_file, share) = match &args.data.valid {
            Some(ValidArg::File(file)) => (Some(file.as_path()), 0.0),
            Some(ValidArg::Share(share)) => (None, *share),
            None => (None, VALID_SHARE),
        };
        let [train, held_out] = hold_out(examples, share, args.steps.seed);
        let answers = if are_pairs { 2 } else { 1 };
        let of_a_line = train.chunk_by(|(line, _): &(usize, Example), (next, _)| line == next);
        let conversations = of_a_line.map(|texts| texts.len() / answers).collect();
        let (train, held_out) = (examples_alone(train), examples_alone(held_out));
        let told_valid = read_valid(&told)?;
        let valid = match (&told_valid, valid_file) {
            (Some(told), Some(file)) => examples_alone(examples_of(told, file, are_pairs)?),
            _ => held_out,
        };
        Ok(Rows { train, conversations, valid, are_pairs, told, told_valid })
    }

    /// Says what was seen: masks if they were asked for, and the counts.
    pub fn tell(&self, args: &TrainArgs, vocab: &Vocab) -> Result<()> {
        let mut out: Box<dyn Write> =
            if args.lint_only { Box::new(anstream::stdout()) } else { Box::new(anstream::stderr()) };
        if args.json {
            if args.lint_only {
                writeln!(out, "{}", self.to_json())?;
            }
            return Ok(());
        }
        dataset::show_masks(&mut *out, &self.told, vocab, args.show_mask)?;
        dataset::write_report(&mut *out, &args.file, &self.told, false)?;
        if let (Some(told), Some(ValidArg::File(file))) = (&self.told_valid, &args.data.valid) {
            dataset::write_report(&mut *out, file, told, false)?;
        }
        let (what, train, valid) = (self.what(), self.num_train(), self.num_valid());
        writeln!(out, "{train} {what} to learn from, {valid} to test with")?;
        Ok(out.flush()?)
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let mut told = json!({
            "train": dataset::to_json(&self.told),
            "train_texts": self.num_train(),
            "valid_texts": self.num_valid(),
        });
        if let Some(valid) = &self.told_valid {
            told["valid"] = dataset::to_json(valid);
        }
        told
    }

    /// Whether pairs of answers are learned.
    pub fn are_pairs(&self) -> bool {
        self.are_pairs
    }

    /// Texts or pairs to learn from.
    pub fn num_train(&self) -> usize {
        self.train.len() / self.num_answers()
    }

    /// How many texts or pairs to learn from each conversation has.
    pub fn conversations(&self) -> &[usize] {
        &self.conversations
    }

    /// Texts or pairs to test with.
    pub fn num_valid(&self) -> usize {
        self.valid.len() / self.num_answers()
    }

    /// What is counted.
    pub fn what(&self) -> &'static str {
        if self.are_pairs { "pairs of answers" } else { "texts" }
    }

    /// Some of its texts as they are counted: each alone, or both answers of a pair.
    pub fn answers<'t, 'e>(&self, texts: &'t [Text<'e>]) -> Vec<&'t [Text<'e>]> {
        texts.chunks(self.num_answers()).collect()
    }

    fn num_answers(&self) -> usize {
        if self.are_pairs { 2 } else { 1 }
    }

    /// What is learned; of pairs, both answers.
    pub fn train_texts(&self) -> Vec<Text<'_>> {
        self.train.iter().map(text).collect()
    }

    /// What is tested with; of pairs, both answers.
    pub fn valid_texts(&self) -> Vec<Text<'_>> {
        self.valid.iter().map(text).collect()
    }
}

/// How rows become texts.
pub fn options(args: &TrainArgs, opened: &Opened) -> Options {
    let positions = opened.checkpoint.config().max_position_embeddings;
    Options {
        tokens_max: (args.steps.tokens as usize).min(positions),
        too_long: if args.data.cut_history { TooLong::CutHistory } else { TooLong::LeaveOut },
        effort: args.data.effort.map(generation::effort),
        date: None,
        mask_reasoning: args.data.mask_reasoning,
    }
}

fn text(example: &Example) -> Text<'_> {
    Text { tokens: &example.tokens, weights: &example.weights }
}

/// The texts of a file with their lines.
fn examples(told: &Dataset, file: &Path, are_pairs: bool) -> Result<Vec<(usize, Example)>> {
    let examples = examples_of(told, file, are_pairs)?;
    if examples.is_empty() {
        dataset::write_report(&mut io::stderr(), file, told, false)?;
        return Err(anyhow!("nothing can be learned of {}: no row is left", file.display()));
    }
    Ok(examples)
}

/// Texts, or both answers of each pair.
fn examples_of(told: &Dataset, file: &Path, are_pairs: bool) -> Result<Vec<(usize, Example)>> {
    let mut examples = Vec::with_capacity(told.samples.len());
    for (line, sample) in &told.samples {
        if matches!(sample, Sample::Pair { .. }) != are_pairs {
            let (is, other) = match are_pairs {
                true => ("is not a pair of answers to choose from", "are"),
                false => ("is a pair of answers to choose from", "are not"),
            };
            return Err(anyhow!(
                "{}: line {line} {is}, and the rows before it {other}\na run learns either of pairs or of texts: \
                 give a file of each",
                file.display()
            ));
        }
        if sample.examples().all(is_learnable) {
            examples.extend(sample.examples().map(|example| (*line, example.clone())));
        }
    }
    Ok(examples)
}

/// Whether anything can be learned of a text.
pub fn is_learnable(text: &Example) -> bool {
    text.num_targets() > 0 && text.tokens.len() > 1
}

fn examples_alone(examples: Vec<(usize, Example)>) -> Vec<Example> {
    examples.into_iter().map(|(_, example)| example).collect()
}

/// Takes whole rows out to test with: a share of them, the same for the same seed.
fn hold_out(examples: Vec<(usize, Example)>, share: f64, seed: u64) -> [Vec<(usize, Example)>; 2] {
    let lines: BTreeSet<usize> = examples.iter().map(|(line, _)| *line).collect();
    let lines: Vec<usize> = lines.into_iter().collect();
    let count = (lines.len() as f64 * share) as usize;
    // No epoch has this order.
    let chosen = order(lines.len(), u64::MAX, seed).into_iter().take(count).map(|place| lines[place]);
    let chosen: BTreeSet<usize> = chosen.collect();
    let (valid, train) = examples.into_iter().partition(|(line, _)| chosen.contains(line));
    [train, valid]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_held_out_whole() {
        let example = |line: usize| (line, Example { tokens: vec![line as u32, 1], weights: vec![0.0, 1.0] });
        let examples: Vec<_> = (0..40).flat_map(|line| [example(line), example(line)]).collect();
        let [train, valid] = hold_out(examples.clone(), 0.1, 3);
        assert_eq!((train.len(), valid.len()), (72, 8));
        let lines = |of: &[(usize, Example)]| of.iter().map(|(line, _)| *line).collect::<BTreeSet<_>>();
        assert!(lines(&train).is_disjoint(&lines(&valid)));
        assert_eq!(hold_out(examples.clone(), 0.1, 3)[1], valid);
        assert!(hold_out(examples.clone(), 0.1, 4)[1] != valid);
        assert_eq!(hold_out(examples, 0.01, 3)[1], []);
    }
}
