//! The journal as a reader beside the server has it: verified, exported, asked, never changed.

use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::break_place::NotVerified;
use super::chain::{self, Head, Summary, Texts};
use super::entries::{self, EntryQuery};
use super::entry::Record;
use super::head::{self, Said};
use super::schema;
use super::usage::{self, Usage, UsageQuery};
use crate::error::JournalError;

/// A journal that is read.
#[derive(Debug)]
pub struct Audit {
    connection: Connection,
    folder: PathBuf,
    is_in_use: bool,
}

impl Audit {
    /// Opens the journal of a folder, also while a server writes it.
    ///
    /// Errors: there is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Audit, JournalError> {
        let (connection, is_in_use) = schema::open_to_read(folder)?;
        Ok(Audit { connection, folder: folder.to_owned(), is_in_use })
    }

    /// Whether a server has it open.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// Walks the chain, and compares its end with the file beside it and with an end that was kept elsewhere,
    /// and the budgets with its sums.
    ///
    /// Errors: it is broken, with the place; it cannot be read.
    pub fn verify(&self, kept: Option<Head>) -> Result<Summary, NotVerified> {
        let said = head::read(&self.folder)?;
        // All that follows is of one moment.
        let view = self.connection.unchecked_transaction().map_err(JournalError::from)?;
        let mut anchors = kept.as_slice().to_vec();
        if let Said::Heads(last, _) = &said {
            anchors.push(*last);
        }
        let summary = chain::walk(&view, &anchors)?;
        // A server may have gone on since the file was read, but not further than the file says now.
        let difference = match (self.is_in_use, head::read(&self.folder)?) {
            (false, _) => said.difference(&summary.head),
            (true, Said::Heads(last, next)) => {
                let far = next.unwrap_or(last);
                (summary.head.count > far.count)
                    .then(|| Said::Heads(far, None).difference(&summary.head))
                    .flatten()
            }
            (true, other) => other.difference(&summary.head),
        };
        if let Some(why) = difference {
            let at = match &said {
                Said::Heads(last, next) => next.unwrap_or(*last).count + 1,
                _ => summary.head.count,
            };
            return Err(NotVerified::at(at, why));
        }
        chain::consistent(&view, summary)
    }

    /// Writes the chain after the entry `after` as JSON lines, and its head as the last.
    ///
    /// Errors: the writer failed; the journal cannot be read.
    pub fn export(&self, out: &mut dyn Write, after: u64, texts: Texts) -> Result<Head, JournalError> {
        chain::export(&self.connection, out, after, texts)
    }

    /// The same without the head's line.
    ///
    /// Errors: as [`Audit::export`].
    pub fn export_entries(
        &self,
        out: &mut dyn Write,
        after: u64,
        texts: Texts,
    ) -> Result<Head, JournalError> {
        chain::export_entries(&self.connection, out, after, texts)
    }

    /// Entries of the chain.
    ///
    /// Errors: the journal cannot be read.
    pub fn entries(&self, query: &EntryQuery<'_>) -> Result<Vec<Record>, JournalError> {
        entries::entries(&self.connection, query)
    }

    /// What was used, in buckets.
    ///
    /// Errors: the journal cannot be read.
    pub fn usage(&self, query: &UsageQuery<'_>) -> Result<Usage, JournalError> {
        usage::usage(&self.connection, query)
    }
}
