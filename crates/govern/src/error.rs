//! Why rules are refused, a secret is not known, or the journal cannot go on.

use std::io;
use std::path::PathBuf;

/// What is wrong with a file of rules, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RulesProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub problem: String,
}

/// Why a secret opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// It is none of the keys.
    #[error("the key is not known")]
    NoSuchKey,
    /// It is right, and too old.
    #[error("the key {id} of {name} expired")]
    Expired {
        /// Whose it was.
        name: String,
        /// Its public part.
        id: String,
        /// Since when. Units: seconds since 1970.
        at: u64,
    },
    /// It is right, and was taken back.
    #[error("the key {id} of {name} was revoked")]
    Revoked {
        /// Whose it was.
        name: String,
        /// Its public part.
        id: String,
    },
}

/// Why the journal cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it.
    #[error("{}: another server uses this journal: stop it", path.display())]
    InUse {
        /// The file whose lock is held.
        path: PathBuf,
    },
    /// There is none.
    #[error("{}: there is no journal here", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("the journal has version {found}, but this program knows {known}: use a newer gptoss")]
    Version {
        /// What it says.
        found: i64,
        /// What this program can read.
        known: i64,
    },
    /// Somebody else erases texts.
    #[error("{}: texts are being erased by another command: wait for its end", path.display())]
    Erasing {
        /// The file whose lock is held.
        path: PathBuf,
    },
    /// Texts that are gone from the tables may still stand in the log beside the database.
    #[error("the journal is being read at this moment, so what was erased may stand in its log: erase again")]
    NotErased,
    /// A ticket that is not open: it was settled already, or its journal is another one.
    #[error("the ticket {id} is not open")]
    NoTicket {
        /// Its number.
        id: i64,
    },
    /// The database failed.
    #[error("the journal failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// A file failed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The writer of an export failed.
    #[error("the export cannot be written: {0}")]
    Export(#[from] io::Error),
}
