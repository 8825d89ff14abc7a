//! Why a request is refused, or fails, with the facts a person needs.
//!
//! Entry point: [`Error`]. All variants but `Model` are the caller's fault and come before anything is computed;
//! `Model` carries what the forward pass said. A request that ends well, early or late, is not an error: its ending is
//! a `FinishReason`.
//!
//! It does not know how an error is shown.

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
    /// The forward pass failed.
    #[error(transparent)]
    Model(#[from] gptoss_model::Error),
}
