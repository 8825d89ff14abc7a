//! What a forward pass is asked to do: the contract between the model and whoever drives it.
//!
//! Entry points: [`Batch`], tokens to append to one sequence's cache; [`Segment`], tokens of one of many sequences that
//! go through the layers together, each in its own place of a store. [`LogitRows`] says which tokens need logits: a
//! prompt needs none or the last row, scoring a text needs every row, and the unembedding of the published vocabulary
//! costs as much as several layers, so the caller says which.
//!
//! It does not know where its tokens came from nor what will be sampled.

use crate::cpu::kv_store::KvPlace;

/// Which of a batch's tokens get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: the batch only fills the KV cache.
    None,
    /// The last token alone.
    Last,
    /// Every token.
    All,
}

impl LogitRows {
    /// The tokens of `num_tokens` whose logits are wanted.
    pub(crate) fn of(self, num_tokens: usize) -> std::ops::Range<usize> {
        match self {
            LogitRows::None => num_tokens..num_tokens,
            LogitRows::Last => num_tokens.saturating_sub(1)..num_tokens,
            LogitRows::All => 0..num_tokens,
        }
    }
}

/// Tokens to append to a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Token ids `[T]`; the first stands at position `cache.len()`.
    pub tokens: &'a [u32],
    /// The tokens whose logits are wanted.
    pub logits: LogitRows,
}

impl Batch<'_> {
    /// The number of rows of logits that the batch gives.
    pub fn num_logit_rows(&self) -> usize {
        self.logits.of(self.tokens.len()).len()
    }
}

/// Consecutive tokens of one sequence among many.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Token ids: at least one, at most `Model::chunk_tokens`.
    pub tokens: &'a [u32],
    /// Position of the first; all before it are computed. Units: tokens.
    pub first_position: usize,
    /// Where the sequence's keys and values are. There are blocks for every position up to the last token's.
    pub place: KvPlace<'a>,
    /// The tokens whose logits are wanted.
    pub logits: LogitRows,
}
