//! Reasons why a turn could not be taken at all.
//!
//! Only what comes before the first token is an error here: a conversation that has no harmony form, a prompt
//! longer than the context, illegal sampling parameters; or the forward pass itself failed. Nothing that the
//! model writes is one: malformed output is repaired and reported as warnings in the
//! [`Outcome`](crate::Outcome).

/// What [`Assistant::start_turn`](crate::Assistant::start_turn) answers instead of a turn, and
/// [`Assistant::run_turn`](crate::Assistant::run_turn) instead of an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The conversation cannot be rendered.
    #[error(transparent)]
    Harmony(#[from] gptoss_harmony::Error),
    /// The engine refused the request or failed.
    #[error(transparent)]
    Engine(#[from] gptoss_engine::Error),
    /// The rules that the turn is to be held to cannot be compiled.
    #[error(transparent)]
    Constrain(#[from] gptoss_constrain::Error),
    /// The vocabulary knows tokens that the model does not have.
    #[error(
        "the vocabulary has {vocabulary} ids, but the model only {model}; give the tokenizer.json that belongs to the model"
    )]
    ForeignVocabulary {
        /// Ids of the vocabulary.
        vocabulary: usize,
        /// Rows of the model's embedding.
        model: usize,
    },
}
