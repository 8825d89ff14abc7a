//! The reasons for which a request is refused or fails, with the facts a person needs.
//!
//! Entry points: [`Error`] is a refusal: it comes from `submit`, before anything is computed, and costs
//! nothing. [`Failure`] is the last event of a request that was accepted and could not be carried out. A
//! request that ends well, early or late, is neither: its ending is a `FinishReason`.
//!
//! Three classes, told by [`Error::class`]: the caller's fault (asking again gives the same), capacity
//! (asking again later may do), and our fault.

/// Whose fault a refusal or failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request is wrong; asking again gives the same answer.
    Caller,
    /// There is no room now; asking again later may succeed.
    Capacity,
    /// Something here went wrong.
    Ours,
}

/// Everything that a request can meet instead of tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sampling parameter is out of its range.
    #[error("{parameter} is {found}, but must be {expected}")]
    Parameter {
        /// The parameter's name, as in `SamplingParams`.
        parameter: &'static str,
        /// What was asked for.
        found: String,
        /// The range.
        expected: String,
    },
    /// The prompt holds no token.
    #[error("the prompt is empty; there is nothing to continue")]
    EmptyPrompt,
    /// The prompt does not fit the context.
    #[error(
        "the prompt has {prompt_tokens} tokens, but the context holds {max_context}; \
         shorten the prompt or ask for a longer context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the context.
        max_context: usize,
    },
    /// A token of the prompt has no row in the vocabulary.
    #[error("prompt token {index} has the id {token}, but the vocabulary has {vocab_size} ids")]
    TokenOutsideVocabulary {
        /// Index in the prompt.
        index: usize,
        /// The id.
        token: u32,
        /// Ids of the vocabulary.
        vocab_size: usize,
    },
    /// As many requests wait as may.
    #[error("{queued} requests are waiting, as many as may; try again later")]
    QueueFull {
        /// Requests that wait.
        queued: usize,
    },
    /// The engine takes no new requests because it is about to stop.
    #[error("the engine is shutting down and takes no new requests")]
    ShuttingDown,
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
    /// The plan of the KV cache does not hold one sequence.
    #[error(
        "the KV cache would hold {blocks} blocks of {block_tokens} tokens, less than one sequence needs; \
         give it more memory or ask for a shorter context"
    )]
    KvMemory {
        /// Blocks that fit.
        blocks: usize,
        /// Tokens of a block.
        block_tokens: usize,
    },
    /// An accepted request failed; only from calls that wait for the end.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Error {
    /// Whose fault it is.
    pub fn class(&self) -> Class {
        match self {
            Error::Parameter { .. }
            | Error::EmptyPrompt
            | Error::PromptTooLong { .. }
            | Error::TokenOutsideVocabulary { .. } => Class::Caller,
            Error::QueueFull { .. } | Error::ShuttingDown | Error::KvMemory { .. } => Class::Capacity,
            Error::Stopped => Class::Ours,
            Error::Failed(failure) => failure.class(),
        }
    }
}

/// Why an accepted request could not be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The model's numbers are not finite.
    #[error("the logits at position {position} are not finite; the weights are damaged or overflow")]
    NotFinite {
        /// Position in the sequence. Units: tokens.
        position: usize,
    },
    /// A step that this request was part of, alone, panicked.
    #[error("the computation of this request broke off: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The forward pass refused the request.
    #[error("the forward pass failed: {message}")]
    Forward {
        /// What the model room said.
        message: String,
    },
    /// The card that the model is on was lost or hangs: nothing can be computed before it is opened again.
    #[error("the device failed: {message}")]
    Device {
        /// What the model room said.
        message: String,
    },
    /// The constraint met a limit of its work, or forbade every token: what was asked for cannot be written
    /// on.
    #[error("the output cannot be held to what was asked for any further: {message}")]
    Constraint {
        /// What it said.
        message: String,
    },
    /// Nobody read the events for so long that no more are kept.
    #[error("the reader fell {events} events behind, as many as are kept")]
    SlowReader {
        /// Events that waited to be read.
        events: usize,
    },
    /// The engine is shutting down and could not wait for the end.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The engine's thread ended, or nobody took the request.
    #[error("the engine has stopped")]
    Stopped,
    /// No step came to an end for too long.
    #[error("the engine made no progress for {seconds} seconds")]
    Stalled {
        /// Units: seconds.
        seconds: u64,
    },
}

impl Failure {
    /// Whose fault it is.
    pub fn class(&self) -> Class {
        match self {
            Failure::SlowReader { .. } | Failure::Constraint { .. } => Class::Caller,
            Failure::ShuttingDown => Class::Capacity,
            Failure::NotFinite { .. }
            | Failure::Panicked { .. }
            | Failure::Forward { .. }
            | Failure::Device { .. }
            | Failure::Stopped
            | Failure::Stalled { .. } => Class::Ours,
        }
    }
}

impl From<gptoss_model::Error> for Failure {
    fn from(error: gptoss_model::Error) -> Failure {
        Failure::from(&error)
    }
}

impl From<&gptoss_model::Error> for Failure {
    fn from(error: &gptoss_model::Error) -> Failure {
        match error {
            gptoss_model::Error::NonFiniteLogits { position, .. } => {
                Failure::NotFinite { position: *position }
            }
            gone if gone.ends_device() => Failure::Device { message: gone.to_string() },
            other => Failure::Forward { message: other.to_string() },
        }
    }
}
