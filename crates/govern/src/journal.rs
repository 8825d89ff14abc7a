//! The state: what was reserved, what was used, and what was decided, in one SQLite file.
//!
//! [`Journal::admit`] takes from rates, parallel places and budgets of a key and of its group in one
//! transaction, or from none of them. [`Journal::settle`] puts what was used in the place of what was
//! reserved, and appends to the audit in the same transaction, so a budget is the sum of the chain's entries
//! at any moment (`journal/account.rs`). A ticket ends once: by settling, by a refund, or, when the process
//! was killed, at its reservation by whoever opens the journal next.
//!
//! Moments are given by the caller in milliseconds since 1970. All functions block and belong on a thread
//! that may wait.

mod account;
pub(crate) mod audit;
pub(crate) mod break_place;
pub(crate) mod chain;
mod charge;
pub(crate) mod content;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod erase;
mod head;
mod rate;
mod schema;
mod ticket;
pub(crate) mod usage;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};

use crate::error::JournalError;
use crate::key::{Account, Key};
pub use account::Spent;
use break_place::NotVerified;
use chain::{Head, Summary, Texts};
pub use charge::Charge;
use content::Said;
use entries::EntryQuery;
use entry::{Entry, Event, Record, Used};
use head::HeadFile;
pub use rate::{Left, Remaining};
pub use ticket::{NotAdmitted, Refusal, RefusalKind, Ticket};
use usage::{Usage, UsageQuery};

/// The journal, held by one process.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<State>,
    /// What reads beside the one that writes, one reader at a time: a request waits for none of them. None:
    /// the journal is in memory, and the same connection reads.
    reader: Option<Mutex<Connection>>,
    /// Held as long as the journal: a second server on the folder is refused.
    _lock: Option<File>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// None: in memory.
    head_file: Option<HeadFile>,
    head: Head,
}

impl Journal {
    /// Opens or makes the journal in `folder`; None keeps it in memory. What was open when the process before
    /// was killed is settled at its reservation here, once, and the chain says so.
    ///
    /// Errors: the folder is in use, cannot be made, or holds what cannot be read.
    pub fn open(folder: Option<&Path>, now_ms: i64) -> Result<Journal, JournalError> {
        let (connection, lock) = schema::open(folder)?;
        let head_file = folder.map(HeadFile::open).transpose()?;
        let head = chain::head(&connection)?;
        let mut state = State { connection, head_file, head };
        state.compare_heads(now_ms)?;
        state.end_lost(now_ms)?;
        let reader = folder.map(|folder| schema::open_to_read(folder).map(|(reader, _)| Mutex::new(reader)));
        Ok(Journal { state: Mutex::new(state), reader: reader.transpose()?, _lock: lock })
    }

    /// Takes a request's place and reserves `charge` for it, in all accounts or in none.
    ///
    /// Errors: a limit of the key's or its group's is reached, or the journal failed.
    pub fn admit(&self, key: &Key, charge: Charge, now_ms: i64) -> Result<Ticket, NotAdmitted> {
        let mut state = self.lock();
        let change = state.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ticket = ticket::admit(&change, key, charge, now_ms)?;
        change.commit()?;
        Ok(ticket)
    }

    /// Reserves more for a request that is open: what a prompt turned out to have, and each further turn. Its
    /// place and its share of the requests a minute stay as they are, also when this is refused.
    ///
    /// Errors: a limit of the key's or its group's is reached; `NoTicket`, when it was settled before; the
    /// journal failed.
    pub fn extend(&self, ticket: &Ticket, key: &Key, more: Charge, now_ms: i64) -> Result<(), NotAdmitted> {
        let mut state = self.lock();
        let change = state.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        ticket::extend(&change, (ticket.id(), key), more, now_ms)?;
        change.commit()?;
        Ok(())
    }

    /// Puts what was used in the place of what was reserved. The chain gets an entry that says no more than
    /// this; see [`Journal::settle_and_record`].
    ///
    /// Errors: `NoTicket`, when it was settled before; the journal failed.
    pub fn settle(&self, ticket: Ticket, used: Used, now_ms: i64) -> Result<(), JournalError> {
        let entry = Entry { used, ..Entry::new(Event::Request) };
        self.settle_and_record(ticket, entry, now_ms)
    }

    /// Gives back what was reserved: the request never ran. Its place in the requests a minute stays taken.
    ///
    /// Errors: `NoTicket`, when it was settled before; the journal failed.
    pub fn refund(&self, ticket: Ticket, now_ms: i64) -> Result<(), JournalError> {
        let entry = Entry::new(Event::RequestRefunded);
        self.settle_and_record(ticket, entry, now_ms)
    }

    /// Puts what was used in the place of what was reserved, and appends the entry, in one transaction. The
    /// tenant, its group and the key's id are the ticket's, whatever the entry says.
    ///
    /// Errors: `NoTicket`, when it was settled before; the journal failed.
    pub fn settle_and_record(&self, ticket: Ticket, entry: Entry, now_ms: i64) -> Result<(), JournalError> {
        self.lock().append_with(entry, |change, entry| {
            let open =
                ticket::close(change, ticket.id())?.ok_or(JournalError::NoTicket { id: ticket.id() })?;
            let cost = entry.used.cost();
            let mut record = Record::new(open.entry_of(entry), now_ms);
            record.charge(open.id, open.admitted_ms, cost);
            ticket::settle(change, &open, &record)?;
            Ok(record)
        })
    }

    /// Appends an entry that charges nobody.
    ///
    /// Errors: the journal failed.
    pub fn record(&self, entry: Entry, now_ms: i64) -> Result<(), JournalError> {
        self.lock().append_with(entry, |_, entry| Ok(Record::new(entry, now_ms)))
    }

    /// Appends an entry that charges nobody, and keeps what was said beside it.
    ///
    /// Errors: the journal failed.
    pub fn record_said(&self, entry: Entry, said: &Said, now_ms: i64) -> Result<(), JournalError> {
        let mut state = self.lock();
        // Nobody else appends while the lock is held.
        let seq = state.head.count.cast_signed() + 1;
        state.append_with(entry, |change, entry| {
            content::keep(change, seq, said)?;
            Ok(Record { content: Some(said.content()), ..Record::new(entry, now_ms) })
        })
    }

    /// What is left of the minute: of the key's and its group's the lesser.
    ///
    /// Errors: the journal failed.
    pub fn remaining(&self, key: &Key, now_ms: i64) -> Result<Remaining, JournalError> {
        rate::remaining(&self.lock().connection, key, now_ms)
    }

    /// What of each budget of the key's and its group's is spent and reserved.
    ///
    /// Errors: the journal failed.
    pub fn spent(&self, key: &Key, now_ms: i64) -> Result<Vec<Spent>, JournalError> {
        let mut state = self.lock();
        let change = state.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut all = Vec::new();
        for (account, _, budgets) in key.accounts() {
            for budget in budgets {
                all.push(account::spent(&change, account, *budget, now_ms)?);
            }
        }
        change.commit()?;
        Ok(all)
    }

    /// How many requests of an account's are open.
    ///
    /// Errors: the journal failed.
    pub fn num_open(&self, account: Account<'_>) -> Result<u64, JournalError> {
        account::num_open(&self.lock().connection, account)
    }

    /// What was used, in buckets.
    ///
    /// Errors: the journal failed.
    pub fn usage(&self, query: &UsageQuery<'_>) -> Result<Usage, JournalError> {
        self.reading(|connection| usage::usage(connection, query))
    }

    /// Entries of the chain.
    ///
    /// Errors: the journal failed.
    pub fn entries(&self, query: &EntryQuery<'_>) -> Result<Vec<Record>, JournalError> {
        self.reading(|connection| entries::entries(connection, query))
    }

    /// The chain's last entry: its number and hash, to be kept elsewhere.
    pub fn head(&self) -> Head {
        self.lock().head
    }

    /// Walks the whole chain.
    ///
    /// Errors: it is broken, with the place; the journal failed.
    pub fn verify(&self) -> Result<Summary, NotVerified> {
        let state = self.lock();
        chain::verify(&state.connection, state.head)
    }

    /// Writes the chain after the entry `after` as JSON lines, and its head as the last.
    ///
    /// Errors: the writer failed; the journal failed.
    pub fn export(&self, out: &mut dyn Write, after: u64, texts: Texts) -> Result<Head, JournalError> {
        self.reading(|connection| chain::export(connection, out, after, texts))
    }

    /// The same without the head's line.
    ///
    /// Errors: as [`Journal::export`].
    pub fn export_entries(
        &self,
        out: &mut dyn Write,
        after: u64,
        texts: Texts,
    ) -> Result<Head, JournalError> {
        self.reading(|connection| chain::export_entries(connection, out, after, texts))
    }

    /// Reads what has been committed, without keeping anybody from writing where that can be.
    fn reading<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        match &self.reader {
            Some(reader) => read(&reader.lock().unwrap_or_else(PoisonError::into_inner)),
            None => read(&self.lock().connection),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Appends what `work` makes of the entry, in one transaction with whatever else it writes.
    fn append_with(
        &mut self,
        entry: Entry,
        work: impl FnOnce(&Connection, Entry) -> Result<Record, JournalError>,
    ) -> Result<(), JournalError> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let record = work(&change, entry)?;
        let next = chain::append(&change, &self.head, record)?;
        // The file beside names both ends while the transaction is under way, so a kill leaves no doubt.
        if let Some(file) = &mut self.head_file {
            file.write(&self.head, Some(&next))?;
        }
        change.commit()?;
        self.head = next;
        if let Some(file) = &mut self.head_file {
            // What failed here is told by the next write: the file still names both ends, and this is one.
            let _ = file.write(&next, None);
        }
        Ok(())
    }

    /// What the process before left open, settled at its reservation: in one transaction, so that it is once.
    fn end_lost(&mut self, now_ms: i64) -> Result<(), JournalError> {
        for id in ticket::open_ids(&self.connection)? {
            self.append_with(Entry::new(Event::RequestLost), |change, entry| {
                let open = ticket::close(change, id)?.ok_or(JournalError::NoTicket { id })?;
                let reason = "the server ended before the request was settled: its reservation is charged";
                let entry = Entry { reason: reason.to_owned(), ..open.entry_of(entry) };
                let mut record = Record::new(entry, now_ms);
                record.charge(open.id, open.admitted_ms, open.charge);
                ticket::settle(change, &open, &record)?;
                Ok(record)
            })?;
        }
        Ok(())
    }

    /// Compares the chain with the file beside it. A difference is written into the chain and does not keep a
    /// server from starting: what a loss of power took must not lock everybody out, and is not hidden either.
    fn compare_heads(&mut self, now_ms: i64) -> Result<(), JournalError> {
        let Some(file) = &mut self.head_file else { return Ok(()) };
        let difference = file.read()?.difference(&self.head);
        match difference {
            Some(reason) => {
                let entry = Entry { reason, ..Entry::new(Event::ChainGap) };
                self.append_with(entry, |_, entry| Ok(Record::new(entry, now_ms)))
            }
            None => file.write(&self.head, None),
        }
    }
}
