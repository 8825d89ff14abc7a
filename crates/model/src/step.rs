//! What a step of the model is asked to do: the contract with its caller.
//!
//! Entry points: [`Batch`], tokens to append to one sequence's cache; [`Segment`], tokens of one of many
//! sequences that go through the layers together, each in its own slots of a store; [`KvMove`], what happens
//! to those slots before or after a step. [`LogitRows`] says which tokens need logits: a prompt needs none or
//! the last row, scoring a text needs every row, and the unembedding of the published vocabulary costs as
//! much as several layers, so the caller says which.

use crate::adapter::AdapterId;

/// Most tokens that go through the layers together. Units: tokens. More make the experts' products more
/// efficient and cost workspace, which the memory plan names.
pub const CHUNK_TOKENS_MAX: usize = 512;
/// Most rows of logits made at once. Units: rows of `V` f32 (0.8 MB for the published vocabulary). As many
/// sequences decode while the unembedding is read once.
pub const LOGIT_ROWS_MAX: usize = 32;

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
    /// Token ids `[T]`; the first is at position `cache.len()`.
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

/// Where one sequence's keys and values are.
#[derive(Debug, Clone, Copy)]
pub struct SequenceKv<'a> {
    /// The blocks of positions `0..32`, `32..64` and so on.
    pub blocks: &'a [u32],
    /// The ring.
    pub ring: u32,
}

/// Consecutive tokens of one sequence among many.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Token ids: at least one, at most `Model::chunk_tokens`.
    pub tokens: &'a [u32],
    /// Position of the first; all before it are computed. Units: tokens.
    pub first_position: usize,
    /// Where the sequence's keys and values are. There are blocks for every position up to the last token's.
    pub kv: SequenceKv<'a>,
    /// The tokens whose logits are wanted.
    pub logits: LogitRows,
    /// The adapter that changes its rows; none is the model as it is. Neighbors of one adapter share the
    /// reading of it.
    pub adapter: Option<AdapterId>,
}

/// A copy between slots of a store, as data: a device carries many of them out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvMove {
    /// The first `rows` positions of a block go into another.
    CopyBlock {
        /// The block that has them.
        from: u32,
        /// The block that gets them.
        to: u32,
        /// At most `BLOCK_TOKENS`.
        rows: usize,
    },
    /// A snapshot gets what a windowed layer's token at `position` sees of the tokens before it. `position`
    /// is at most the ring's number of tokens, and not so far back that its window is lost.
    SaveWindow {
        /// The ring that has it.
        ring: u32,
        /// Units: tokens.
        position: usize,
        /// The snapshot that gets it.
        snapshot: u32,
    },
    /// A ring gets what was saved for `position`, so that the sequence goes on from there.
    RestoreWindow {
        /// The snapshot that has it.
        snapshot: u32,
        /// Units: tokens.
        position: usize,
        /// The ring that gets it.
        ring: u32,
    },
}
