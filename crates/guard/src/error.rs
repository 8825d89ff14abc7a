//! Reasons why a guard cannot be made of a file, or a policy gave no verdict.

use gptoss_turn::{ConstraintError, EngineError};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file says something that cannot be meant.
    #[error("{place}: {problem}")]
    Config {
        /// Which file, and where in it.
        place: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// A guardrail that is not known.
    #[error("the guardrail {name:?} is not known; known: {known}")]
    UnknownGuardrail {
        /// Its name.
        name: String,
        /// Those that are.
        known: String,
    },
    /// The turn of the judge could not be taken.
    #[error("the policy {policy:?} was not judged: {source}")]
    Turn {
        /// The policy.
        policy: String,
        /// Why.
        source: gptoss_turn::Error,
    },
    /// The judge gave no verdict.
    #[error("the policy {policy:?} was not judged: {problem}")]
    NoVerdict {
        /// The policy.
        policy: String,
        /// Why: nothing of the text, nor of what the model said of it.
        problem: String,
    },
}

impl Error {
    /// Whether it may be otherwise in a moment: the engine's queue, or the place for grammars, was full.
    pub fn is_for_now(&self) -> bool {
        use gptoss_turn::Error as Turn;
        let Error::Turn { source, .. } = self else { return false };
        matches!(
            source,
            Turn::Engine(EngineError::QueueFull { .. }) | Turn::Constrain(ConstraintError::Busy { .. })
        )
    }

    pub(crate) fn config(place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Config { place: place.into(), problem: problem.into() }
    }
}
