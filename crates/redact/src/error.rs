//! What can stop a filter.

use std::path::PathBuf;

/// What can stop a filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files cannot be read, or are damaged.
    #[error(transparent)]
    Checkpoint(#[from] gptoss_checkpoint::Error),
    /// The tokenizer is damaged, or of another kind.
    #[error("{path}: {source}", path = .path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: gptoss_harmony::Error,
    },
    /// The model is of another kind.
    #[error(
        "{path}: model_type is {found}, but this is for \"openai_privacy_filter\", or \"privacy_filter\" as in \
         original/; give the folder of openai/privacy-filter or of a fine-tune of it",
        path = .path.display()
    )]
    ModelType {
        /// The config file.
        path: PathBuf,
        /// The value found, or `missing`.
        found: String,
    },
    /// A value of a JSON file is missing, absurd or not what this program computes.
    #[error("{path}: {field} is {found}, but must be {expected}; correct the file or download it again", path = .path.display())]
    BadField {
        /// The file.
        path: PathBuf,
        /// The key.
        field: String,
        /// The value found, or `missing`.
        found: String,
        /// The rule.
        expected: String,
    },
    /// A token that the model has no row for.
    #[error(
        "token {index} of the text is {id}, but the model knows {vocab_size}: its tokenizer belongs to another model"
    )]
    UnknownToken {
        /// Index in the text.
        index: usize,
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// Numbers that are none, so that nothing can be said of the text.
    #[error(
        "the logits of token {index} are not finite, so nothing can be said of the text: the weights are damaged"
    )]
    NotFinite {
        /// Index in the text.
        index: usize,
    },
    /// Whoever asked wants no answer any more.
    #[error("stopped after {done} of {total} tokens")]
    Stopped {
        /// Tokens that were labeled.
        done: usize,
        /// Tokens of the text.
        total: usize,
    },
}
