//! What can stop training.

use std::path::PathBuf;

/// What can stop training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A loss, gradient or update that is not a number; what was trained before it is still good.
    #[error(
        "the {what} of step {step} is not finite: it was not taken; lower the learning rate or look for the rows of \
         this batch"
    )]
    NotFinite {
        /// What was looked at.
        what: &'static str,
        /// Counted from 1.
        step: u32,
    },
    /// The weights cannot be read, or what was made of them not be written.
    #[error(transparent)]
    Checkpoint(#[from] gptoss_checkpoint::Error),
    /// A file of a run cannot be read or written.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A saved state is not one, or of another run.
    #[error("{path}: this is not a state that training can go on from: {problem}", path = .path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A saved state belongs to other data, another base or another recipe.
    #[error(
        "{path}: the run that was saved there had another {what}: {difference}; give what it had, or another folder",
        path = .path.display()
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// `data`, `base` or `recipe`.
        what: &'static str,
        /// Both values.
        difference: String,
    },
}
