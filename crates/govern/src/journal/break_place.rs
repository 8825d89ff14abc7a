//! Where a chain is not as it was written, and why.

use std::fmt;

use rusqlite::ErrorCode;

use crate::error::JournalError;

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The number of the first entry that is not as it was written; None: it is not an entry that is wrong.
    pub at: Option<u64>,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "entry {at}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Why a chain was not verified.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    /// It is not as it was written.
    #[error("{0}")]
    Broken(Break),
    /// It could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl NotVerified {
    pub(super) fn at(at: u64, why: impl Into<String>) -> NotVerified {
        NotVerified::Broken(Break { at: Some(at), why: why.into() })
    }

    pub(super) fn elsewhere(why: impl Into<String>) -> NotVerified {
        NotVerified::Broken(Break { at: None, why: why.into() })
    }

    /// What SQLite says while entry `at` is read: damage is a break, anything else a failure.
    pub(super) fn while_reading(at: u64, error: rusqlite::Error) -> NotVerified {
        let is_failure = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                !matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            _ => false,
        };
        match is_failure {
            true => NotVerified::Journal(error.into()),
            false => NotVerified::at(at, format!("it cannot be read: {error}")),
        }
    }
}
