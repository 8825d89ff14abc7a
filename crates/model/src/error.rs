//! Everything that can go wrong in this room, with the facts a person needs.
//!
//! Entry point: [`Error`]. `Checkpoint`, `NanScale` and `OutOfMemory` come from loading, or from a forward
//! pass whose experts are on disk; `BudgetTooSmall`, `CardTooSmall`, `NotOnDisk` and `NoThread` come before
//! it; `AdapterPart` comes from loading an adapter; the others from a forward
//! pass or its cache. `ForeignCache`, `Rollback` and `NonFiniteLogits` are not
//! the fault of a caller's data: the first two are mistakes in the calling code, the last is what damaged
//! weights look like when nothing else gives them away.

use gptoss_checkpoint as checkpoint;
use gptoss_gpu as gpu;

use crate::adapter::AdapterId;

/// Everything that loading or running a model can answer instead of numbers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config or a tensor could not be read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// An MXFP4 scale is the format's NaN (byte 255).
    #[error(
        "tensor {tensor}: expert {expert}, row {row}, block {block} has the scale NaN (byte 255); \
         the file is damaged, fetch or write it again"
    )]
    NanScale {
        /// The tensor's name in the checkpoint.
        tensor: String,
        /// Expert, 0 in a dense layer.
        expert: usize,
        /// Row of the expert's matrix.
        row: usize,
        /// Block of 32 numbers in the row.
        block: usize,
    },
    /// The budget does not hold what must be in memory.
    #[error(
        "{budget} bytes of memory are too few for this model: {smallest} are the least, {:.2} GB (everything but the \
         experts, and one expert); give it more, or a shorter context", *.smallest as f64 / 1e9 + 0.005
    )]
    BudgetTooSmall {
        /// Bytes offered.
        budget: u64,
        /// Bytes needed.
        smallest: u64,
    },
    /// The card's memory does not hold what must be there.
    #[error(
        "{budget} bytes of the card's memory are too few for this model: {smallest} are the least, {:.2} GB (everything \
         but the experts, and one of each layer), and {whole} hold it whole; give it more (--gpu-memory), a shorter \
         context, --kv q8, or another card", *.smallest as f64 / 1e9 + 0.005
    )]
    CardTooSmall {
        /// Bytes offered.
        budget: u64,
        /// Bytes needed.
        smallest: u64,
        /// Bytes with all experts.
        whole: u64,
    },
    /// A model that does not fit the budget is in no file that its experts could be read from.
    #[error(
        "the model needs {needed} bytes, more than it may take, and its experts cannot be read from disk, because it is in \
         no file; write it to one (gptoss synth), or give it more memory"
    )]
    NotOnDisk {
        /// Bytes that the whole model needs.
        needed: u64,
    },
    /// The system refused memory for an expert's weights.
    #[error(
        "the system has no {needed} bytes of memory to give: {source}; use less with --memory, or close other programs"
    )]
    OutOfMemory {
        /// Bytes asked for.
        needed: u64,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The system refused a thread that reads experts.
    #[error("the system refused a thread for reading: {0}; close other programs")]
    NoThread(std::io::Error),
    /// Exact precision was asked for with rounded weights.
    #[error(
        "exact precision uses dense matrices as the checkpoint has them; \
         ask for fast precision, or for dense matrices as stored"
    )]
    RoundedExact,
    /// What a card or its driver answered, with what was being done.
    #[error(transparent)]
    Card(#[from] gpu::Error),
    /// A model or a mode that the kernels for cards do not have.
    #[error("on a card there are no kernels for {what}; {instead}")]
    NotOnCard {
        /// What the model or the options ask for.
        what: String,
        /// What to do about it.
        instead: &'static str,
    },
    /// An adapter replaces a part that is not replaced for single rows.
    #[error(
        "the adapter replaces {0:?}, and beside the base only routers, the embedding and the head can be; \
         merge it into the model (gptoss adapter merge)"
    )]
    AdapterPart(checkpoint::Part),
    /// A sequence is to run with an adapter that is not loaded.
    #[error("the adapter {0} is not loaded; load it first")]
    UnknownAdapter(AdapterId),
    /// Copies of keys and values did not take place on a card, so that rows of the store are missing.
    #[error("keys and values are lost: {0}")]
    LostRows(gpu::Error),
    /// A token id has no row in the embedding.
    #[error("token {index} has the id {token}, but the vocabulary has {vocab_size} ids (0 to {})", vocab_size - 1)]
    TokenOutsideVocabulary {
        /// Index in the batch.
        index: usize,
        /// The id.
        token: u32,
        /// `V`.
        vocab_size: usize,
    },
    /// The tokens do not fit the cache.
    #[error(
        "{needed} tokens do not fit the context of {max_context}; shorten the text or ask for a longer context"
    )]
    ContextExceeded {
        /// Tokens that would have to be held.
        needed: usize,
        /// Tokens that can be.
        max_context: usize,
    },
    /// The KV cache was asked to go back to where its windows no longer reach.
    #[error(
        "the KV cache holds {len} tokens and its windows start at {held_from}; it cannot go back to {wanted}"
    )]
    Rollback {
        /// Positions filled.
        len: usize,
        /// Positions wanted.
        wanted: usize,
        /// Lowest position all rings hold.
        held_from: usize,
    },
    /// A step has too much or nothing of one sequence.
    #[error("sequence {index} of the step has {num_tokens} tokens, but must have from 1 to {chunk_tokens}")]
    SegmentLength {
        /// Index in the step.
        index: usize,
        /// Its tokens.
        num_tokens: usize,
        /// The longest chunk.
        chunk_tokens: usize,
    },
    /// A sequence has no place for its tokens in the store.
    #[error(
        "sequence {index} of the step has {blocks} blocks and needs {needed}, all of them and its ring in the store"
    )]
    SegmentPlace {
        /// Index in the step.
        index: usize,
        /// Blocks it has.
        blocks: usize,
        /// Blocks it needs.
        needed: usize,
    },
    /// A cache or workspace of another model, precision or chunk size was passed.
    #[error(
        "the KV cache or the workspace was made for another model; \
         make them with this model's new_cache, new_store and new_workspace"
    )]
    ForeignCache,
    /// The logits of a position hold an infinity or a NaN.
    #[error(
        "the logits at position {position} are not finite (token {token}: {value}); \
         the weights are damaged or overflow"
    )]
    NonFiniteLogits {
        /// Position in the sequence.
        position: usize,
        /// The first token whose logit is not finite.
        token: usize,
        /// The logit.
        value: f32,
    },
}

impl Error {
    /// Whether the card is of no use any more: it was lost or hangs, and no step of its model can succeed.
    pub fn ends_device(&self) -> bool {
        matches!(self, Error::Card(error) | Error::LostRows(error) if error.ends_device())
    }
}
