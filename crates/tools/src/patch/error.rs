//! Reasons why a patch is refused. The model reads them, and should be able to write a better patch.

use std::io;

use super::relative_path::RelativePath;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The text is not a patch.
    #[error("line {line} of the patch: {what}")]
    Grammar {
        /// Counted from one.
        line: usize,
        /// What is wrong there, and what to write.
        what: String,
    },
    /// A call that holds no patch.
    #[error("the call holds no patch: {0}")]
    Call(String),
    /// A hunk whose lines are nowhere in the file.
    #[error(
        "{path}: the lines of the hunk at line {line} of the patch are not in the file after its line {after}; read the file again and copy \
         them exactly:\n{lines}"
    )]
    NoPlace {
        /// The file.
        path: RelativePath,
        /// Where the hunk begins in the patch, counted from one.
        line: usize,
        /// Lines of the file that earlier hunks and headers took.
        after: usize,
        /// What was looked for.
        lines: String,
    },
    /// Hunks that take too long to be looked for.
    #[error("{path}: its hunks fit nearly everywhere; give each more lines that are the file's own")]
    TooVague {
        /// The file.
        path: RelativePath,
    },
    /// A file that cannot be what the patch takes it for.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: RelativePath,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file, or the folder beneath which all are.
        path: String,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// A file is neither as a patch left it nor as it was before.
    #[error(
        "{path}: it was changed after the patch that is to be taken back; nothing was taken back. Put the change aside, or remove \
         .gptoss/edits to keep all files as they are"
    )]
    ChangedSince {
        /// The file.
        path: RelativePath,
    },
}
