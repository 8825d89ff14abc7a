//! What a model with and without an adapter makes of held-out rows, in exact arithmetic.

use std::path::Path;

use anyhow::{Result, anyhow};
use gptoss_checkpoint::{Adapter, Checkpoint};
use gptoss_dataset::{Example, Options, Sample, TooLong};
use gptoss_kernels::Pool;
use gptoss_train::{Divergence, Text, Tuned, Weights};

use crate::dataset;
use crate::model_source::Opened;

/// Rows that are computed together.
const ROWS_MAX: usize = 2048;
/// Most tokens of an example.
const TOKENS_MAX: usize = 4096;

/// Rows to compare models on.
pub struct HeldOut<'p> {
    examples: Vec<Example>,
    pool: &'p Pool,
}

impl<'p> HeldOut<'p> {
    /// Reads a file of training data.
    ///
    /// Errors: it cannot be read, or nothing in it has targets.
    pub fn read(file: &Path, opened: &Opened, pool: &'p Pool) -> Result<HeldOut<'p>> {
        let positions = opened.checkpoint.config().max_position_embeddings;
        let options = Options {
            tokens_max: TOKENS_MAX.min(positions),
            too_long: TooLong::LeaveOut,
            effort: None,
            date: None,
            mask_reasoning: false,
        };
        let read = dataset::read(file, &*opened.vocab()?, &options, None)?;
        // Of a pair the answer that is to become likelier.
        let texts = read.samples.into_iter().map(|(_, sample)| match sample {
            Sample::Text(example) | Sample::Pair { chosen: example, .. } => example,
        });
        let vocabulary = opened.checkpoint.config().vocab_size;
        let fits = |text: &Example| {
            text.num_targets() > 0
                && text.tokens.len() > 1
                && text.tokens.iter().all(|token| (*token as usize) < vocabulary)
        };
        let examples: Vec<Example> = texts.filter(fits).collect();
        if examples.is_empty() {
            return Err(anyhow!("{}: no row of it can be compared on", file.display()));
        }
        Ok(HeldOut { examples, pool })
    }

    /// How many texts there are, and how many of their tokens are asked for.
    pub fn counts(&self) -> (usize, usize) {
        (self.examples.len(), self.examples.iter().map(Example::num_targets).sum())
    }

    /// The mean loss with an adapter, or of the model as it is.
    ///
    /// Errors: the weights cannot be read.
    pub fn loss(&self, model: &Checkpoint, adapter: Option<&Adapter>) -> Result<f64> {
        let weights = Weights::open(model, None)?;
        Ok(weights.tuned(adapter).loss(self.pool, &self.texts(), ROWS_MAX).sum)
    }

    /// How far the merged model is from the unmerged one.
    ///
    /// Errors: the weights cannot be read.
    pub fn divergence(
        &self,
        base: &Checkpoint,
        adapter: &Adapter,
        merged: &Checkpoint,
    ) -> Result<Divergence> {
        let (base, merged) = (Weights::open(base, None)?, Weights::open(merged, None)?);
        let (unmerged, merged): (Tuned<'_>, Tuned<'_>) = (base.tuned(Some(adapter)), merged.tuned(None));
        Ok(unmerged.divergence(self.pool, &merged, &self.texts(), ROWS_MAX))
    }

    fn texts(&self) -> Vec<Text<'_>> {
        self.examples
            .iter()
            .map(|example| Text { tokens: &example.tokens, weights: &example.weights })
            .collect()
    }
}
