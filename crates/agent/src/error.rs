//! Reasons why a run broke off. Nothing that the model writes, and nothing that a tool answers, is one.

/// Why there is no ending.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A turn could not be taken.
    #[error(transparent)]
    Turn(#[from] gptoss_turn::Error),
}

impl From<gptoss_turn::ConstraintError> for Error {
    fn from(error: gptoss_turn::ConstraintError) -> Error {
        Error::Turn(gptoss_turn::Error::Constrain(error))
    }
}
