//! What can be wrong with the files of an evaluation.

/// What is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file that is none of those that can be read.
    #[error("{0}")]
    Unreadable(String),
    /// A row that lacks what its task needs.
    #[error("row {row}: {message}")]
    Row {
        /// From 1.
        row: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A task of this name is not there.
    #[error("there is no task `{name}`; there are {known}")]
    NoTask {
        /// As it was written.
        name: String,
        /// Those that are.
        known: String,
    },
    /// A recipe of this name is not there.
    #[error("there is no recipe `{name}`; there are gpt-oss, simple-evals and mlperf")]
    NoRecipe {
        /// As it was written.
        name: String,
    },
    /// A specification of one's own that cannot be carried out.
    #[error("{0}")]
    Spec(String),
}
