//! What can stop training.

/// What can stop training.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A step was not taken, so that the parameters are still good.
    #[error(
        "the gradient of step {step} is not finite: no step was taken; lower the learning rate or look for \
         the rows of this batch"
    )]
    NotFinite {
        /// Counted from 1.
        step: u32,
    },
}
