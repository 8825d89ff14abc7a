//! A loaded filter, and what it finds in a text.
//!
//! Entry points: [`Filter::open`], [`Filter::spans`]. The text's tokens are those of its own words: what
//! looks like a control token is text here, where the reference would take it as one. The classes of the
//! whole text are decoded at once, from the log-probabilities of all windows.

use std::path::Path;
use std::sync::Arc;

use gptoss_checkpoint::read_at_most;
use gptoss_harmony::Vocab;
use gptoss_harmony::limits::TOKENIZER_JSON_BYTES_MAX;
use gptoss_kernels::Pool;

use crate::calibration::{Biases, read_biases};
use crate::config::{FilterConfig, read_config};
use crate::error::Error;
use crate::forward::logits;
use crate::labels::LabelSpace;
use crate::spans::{Span, spans_of};
use crate::viterbi::decode;
use crate::weights::Weights;

/// Tokens that are computed at a time, what a window sees on both sides included: 1,024 on each with the
/// published model. Its buffers take about 200 MB then. Units: tokens.
pub const WINDOW_TOKENS: usize = 8192;

/// How a filter works.
#[derive(Clone, Copy, Debug)]
pub struct FilterOptions {
    /// Threads to compute with; zero counts as one. No number depends on it.
    pub threads: usize,
    /// Tokens that are computed at a time, what a window sees on both sides included; a window labels half of
    /// them at least. No number depends on it.
    pub window_tokens: usize,
}

/// The model, ready to read texts.
pub struct Filter {
    config: FilterConfig,
    labels: LabelSpace,
    biases: Biases,
    weights: Weights,
    vocab: Arc<Vocab>,
    pool: Pool,
    window_tokens: usize,
}

impl Filter {
    /// Opens a folder as published: `config.json`, `model.safetensors` or shards with their index,
    /// `tokenizer.json` (without it, o200k), `viterbi_calibration.json` (without it, zeros); or `original/`.
    /// Weights are mapped, and read as they are needed.
    ///
    /// Errors: all of [`Error`] but `UnknownToken`, `NotFinite` and `Stopped`.
    pub fn open(folder: &Path, options: FilterOptions) -> Result<Filter, Error> {
        let parsed = read_config(&folder.join("config.json"))?;
        let (config, labels) = (parsed.config, parsed.labels);
        let weights = Weights::open(folder, &config, labels.classes.len(), parsed.layout)?;
        Ok(Filter {
            biases: read_biases(folder)?,
            vocab: vocab(folder)?,
            pool: Pool::new(options.threads),
            window_tokens: options.window_tokens,
            config,
            labels,
            weights,
        })
    }

    /// The labels that spans may have.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels.kinds
    }

    /// The text's tokens.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.vocab.encode_ids(text)
    }

    /// The logits of all tokens: `[T, N]`. `goes_on` is asked before each window, with how many tokens are
    /// done.
    ///
    /// Errors: `UnknownToken`, `NotFinite`, `Stopped`.
    pub fn logits(&self, tokens: &[u32], goes_on: &mut dyn FnMut(usize) -> bool) -> Result<Vec<f32>, Error> {
        let (vocab_size, n) = (self.config.vocab_size, self.labels.classes.len());
        if let Some(index) = tokens.iter().position(|&id| id as usize >= vocab_size) {
            return Err(Error::UnknownToken { index, id: tokens[index], vocab_size });
        }
        let sides = (self.config.left_context + self.config.right_context) * self.config.num_layers;
        let step = self.window_tokens.saturating_sub(sides).max(self.window_tokens / 2).max(1);
        let mut all = Vec::with_capacity(tokens.len() * n);
        for first in (0..tokens.len()).step_by(step) {
            if !goes_on(first) {
                return Err(Error::Stopped { done: first, total: tokens.len() });
            }
            let window = first..(first + step).min(tokens.len());
            all.extend(logits(&self.pool, &self.config, &self.weights, tokens, window));
        }
        match all.iter().position(|logit| !logit.is_finite()) {
            Some(place) => Err(Error::NotFinite { index: place / n }),
            None => Ok(all),
        }
    }

    /// The spans of a text, in order; `goes_on` as of [`Filter::logits`].
    ///
    /// Errors: `UnknownToken`, `NotFinite`, `Stopped`.
    pub fn spans(&self, text: &str, goes_on: &mut dyn FnMut(usize) -> bool) -> Result<Vec<Span>, Error> {
        let tokens = self.tokens(text);
        let (rows, classes) = self.decoded(&tokens, goes_on)?;
        let n = self.labels.classes.len();
        let scores: Vec<f32> =
            rows.chunks_exact(n).zip(&classes).map(|(row, &class)| row[class].exp()).collect();
        Ok(spans_of(text, &self.labels, &classes, &scores, &self.token_ends(&tokens)))
    }

    /// The most probable classes that make whole spans, by their index in the head.
    ///
    /// Errors: `UnknownToken`, `NotFinite`.
    pub fn classes(&self, tokens: &[u32]) -> Result<Vec<usize>, Error> {
        Ok(self.decoded(tokens, &mut |_| true)?.1)
    }

    /// The log-probabilities `[T, N]`, and the classes that are decoded of them.
    fn decoded(
        &self,
        tokens: &[u32],
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(Vec<f32>, Vec<usize>), Error> {
        let mut rows = self.logits(tokens, goes_on)?;
        rows.chunks_exact_mut(self.labels.classes.len()).for_each(log_softmax);
        let classes = decode(&rows, &self.labels, &self.biases);
        Ok((rows, classes))
    }

    /// Where the bytes of each token end in the text.
    fn token_ends(&self, tokens: &[u32]) -> Vec<usize> {
        let mut end = 0;
        let ends = tokens.iter().map(|&id| {
            // Tokens of a text are text.
            end += self.vocab.decode(&[id]).map_or(0, |bytes| bytes.len());
            end
        });
        ends.collect()
    }
}

/// The vocabulary of a folder.
fn vocab(folder: &Path) -> Result<Arc<Vocab>, Error> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        return Ok(Vocab::o200k_harmony());
    }
    let bytes = read_at_most(&path, TOKENIZER_JSON_BYTES_MAX as u64)?;
    match Vocab::from_tokenizer_json(&bytes) {
        Ok(vocab) => Ok(Arc::new(vocab)),
        Err(source) => Err(Error::Tokenizer { path, source }),
    }
}

/// Log-probabilities of logits, in place.
fn log_softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    row.iter_mut().for_each(|logit| *logit = (f64::from(*logit - largest) - sum.ln()) as f32);
}
