//! What a forward pass is asked to do: the contract between the model and whoever drives it.
//!
//! Entry point: [`Batch`]: tokens to append to one sequence's KV cache, and [`LogitRows`], which of them need logits.
//! A prompt needs none or the last row, scoring a text needs every row, and the unembedding of the published
//! vocabulary costs as much as several layers, so the caller says which.
//!
//! A batch holds one sequence today. It does not know where its tokens came from nor what will be sampled.

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
        match self.logits {
            LogitRows::None => 0,
            LogitRows::Last => self.tokens.len().min(1),
            LogitRows::All => self.tokens.len(),
        }
    }
}
