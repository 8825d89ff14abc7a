//! The audit's chain: each entry's hash is of its own text, in which the hash of the one before stands.
//!
//! The text is the JSON of a [`Record`] in its one form; nothing of it is stored but the columns that it is
//! made of, so there is no second copy that could differ. An export has the texts, each with its hash at the
//! end, so anybody can compute them again without this program.

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::str::FromStr;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use super::account;
use super::entry::{Event, Record};
use crate::digest::{Digest, to_hex};
use crate::error::JournalError;

/// The columns of an entry in the order of [`record`].
pub(super) const COLUMNS: &str = "seq, at_ms, admitted_ms, event, actor, tenant, team, model, adapter, \
    policy_version, decision, reason, route, input, cached, output, charged_tokens, charged_micro_usd, \
    ticket, status, request_id, hash";
/// Longest line of an export: an entry's texts with every byte escaped. Units: bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What stands before an entry's hash in an export, and behind it.
const HASH_KEY: &str = ",\"hash\":\"";
const HASH_END: &str = "\"}";

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are.
    pub count: u64,
    /// The hash of the last.
    pub hash: [u8; 32],
}

impl Head {
    /// Before the first entry.
    pub(super) const START: Head = Head { count: 0, hash: [0; 32] };

    /// Reads a count and 64 hex digits.
    pub fn parse(count: &str, hash: &str) -> Option<Head> {
        let is_plain = count.bytes().all(|byte| byte.is_ascii_digit());
        let is_small = hash.bytes().all(|byte| !byte.is_ascii_uppercase());
        let hash = Digest::from_hex(hash).filter(|_| is_plain && is_small)?.to_bytes();
        Some(Head { count: count.parse().ok()?, hash })
    }

    /// The hash in 64 hex digits.
    pub fn to_hex(self) -> String {
        to_hex(&self.hash)
    }
}

/// `COUNT:HASH`.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, self.to_hex())
    }
}

/// Reads what [`Head`] is written as.
impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Head, NotAHead> {
        text.split_once(':').and_then(|(count, hash)| Head::parse(count, hash)).ok_or(NotAHead)
    }
}

/// A text that is no head of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write COUNT:HASH, as in 12:0f...: a number and 64 hex digits")]
pub struct NotAHead;

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its end.
    pub head: Head,
    /// How many entries were looked at.
    pub num_entries: u64,
    /// When the first of them was written. Units: milliseconds since 1970.
    pub first_ms: Option<i64>,
    /// When the last of them was.
    pub last_ms: Option<i64>,
    /// Entries that say that the chain once ended elsewhere than it should.
    pub num_gaps: u64,
}

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
    fn while_reading(at: u64, error: rusqlite::Error) -> NotVerified {
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

/// The end of the chain as the database has it.
pub(super) fn head(connection: &Connection) -> Result<Head, JournalError> {
    let sql = "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1";
    let found: Option<(i64, [u8; 32])> =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.map_or(Head::START, |(seq, hash)| Head { count: seq.unsigned_abs(), hash }))
}

/// The text of an entry, which is what is hashed.
pub(super) fn text(record: &Record) -> Result<String, JournalError> {
    serde_json::to_string(record).map_err(|error| JournalError::Export(error.into()))
}

/// Appends an entry behind `head` and gives the new one.
pub(super) fn append(connection: &Connection, head: &Head, mut record: Record) -> Result<Head, JournalError> {
    let count = head.count + 1;
    record.seq = count.cast_signed();
    record.prev = head.to_hex();
    let hash: [u8; 32] = Sha256::digest(text(&record)?).into();
    let sql = "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
        ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
    connection.prepare_cached(sql)?.execute(params![
        record.seq,
        record.at_ms,
        record.admitted_ms,
        record.event.name(),
        record.actor,
        record.tenant,
        record.group,
        record.model,
        record.adapter,
        record.policy_version,
        record.decision,
        record.reason,
        record.route,
        record.input,
        record.cached,
        record.output,
        record.charged_tokens,
        record.charged_micro_usd,
        record.ticket,
        record.status,
        record.request_id,
        hash
    ])?;
    Ok(Head { count, hash })
}

/// An entry of a row of [`COLUMNS`]; without the hash of the one before.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let name: String = row.get(3)?;
    let unknown = || {
        let why = format!("{name:?} is not an event");
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, why.into())
    };
    Ok(Record {
        seq: row.get(0)?,
        at_ms: row.get(1)?,
        admitted_ms: row.get(2)?,
        event: Event::from_name(&name).ok_or_else(unknown)?,
        actor: row.get(4)?,
        tenant: row.get(5)?,
        group: row.get(6)?,
        model: row.get(7)?,
        adapter: row.get(8)?,
        policy_version: row.get(9)?,
        decision: row.get(10)?,
        reason: row.get(11)?,
        route: row.get(12)?,
        input: row.get(13)?,
        cached: row.get(14)?,
        output: row.get(15)?,
        charged_tokens: row.get(16)?,
        charged_micro_usd: row.get(17)?,
        ticket: row.get(18)?,
        status: row.get(19)?,
        request_id: row.get(20)?,
        prev: String::new(),
        hash: row.get(21)?,
    })
}

/// Entries on the way along a chain.
struct Walk {
    head: Head,
    summary: Summary,
}

impl Walk {
    fn from(head: Head) -> Walk {
        let summary = Summary { head, num_entries: 0, first_ms: None, last_ms: None, num_gaps: 0 };
        Walk { head, summary }
    }

    /// Takes the next entry, whose text is `text`.
    fn step(&mut self, record: &Record, text: &str) -> Result<(), NotVerified> {
        let at = self.head.count + 1;
        if record.seq != at.cast_signed() {
            let why = format!("it is missing: entry {} follows entry {}", record.seq, self.head.count);
            return Err(NotVerified::at(at, why));
        }
        if record.prev != self.head.to_hex() {
            return Err(NotVerified::at(at, "it does not follow the entry before it"));
        }
        let hash: [u8; 32] = Sha256::digest(text).into();
        if hash != record.hash {
            return Err(NotVerified::at(at, "it was changed: its hash is another one"));
        }
        self.head = Head { count: at, hash };
        self.summary.num_entries += 1;
        self.summary.first_ms.get_or_insert(record.at_ms);
        self.summary.last_ms = Some(record.at_ms);
        self.summary.num_gaps += u64::from(record.event == Event::ChainGap);
        Ok(())
    }

    fn end(self) -> Summary {
        Summary { head: self.head, ..self.summary }
    }
}

/// Walks the chain from its first entry. `anchors` are ends that it had before, and must still go through.
///
/// Errors: the first entry that is not as it was written; the database failed.
pub(super) fn walk(connection: &Connection, anchors: &[Head]) -> Result<Summary, NotVerified> {
    let sql = format!("SELECT {COLUMNS} FROM entries ORDER BY seq");
    let mut statement = connection.prepare(&sql).map_err(|error| NotVerified::while_reading(1, error))?;
    let mut rows = statement.query([]).map_err(|error| NotVerified::while_reading(1, error))?;
    let mut walk = Walk::from(Head::START);
    loop {
        let at = walk.head.count + 1;
        let damaged = |error| NotVerified::while_reading(at, error);
        let Some(row) = rows.next().map_err(damaged)? else { break };
        let record = Record { prev: walk.head.to_hex(), ..record(row).map_err(damaged)? };
        walk.step(&record, &text(&record)?)?;
        if anchors.iter().any(|anchor| anchor.count == at && anchor.hash != walk.head.hash) {
            return Err(NotVerified::at(at, "it is not the entry that was the last once"));
        }
    }
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.count > walk.head.count) {
        let at = walk.head.count + 1;
        return Err(NotVerified::at(
            at,
            format!("the tail is cut: there were {} entries once", anchor.count),
        ));
    }
    Ok(walk.end())
}

/// Walks the chain, which must end in `end`, and compares the budgets and the database's own structure with
/// it.
///
/// Errors: where it is not as it was written; the database failed.
pub(super) fn verify(connection: &Connection, end: Head) -> Result<Summary, NotVerified> {
    let summary = walk(connection, &[end])?;
    if end.count < summary.head.count {
        return Err(NotVerified::at(end.count + 1, "it was added past the end"));
    }
    consistent(connection)?;
    Ok(summary)
}

/// Compares the budgets and the database's own structure with the chain.
pub(super) fn consistent(connection: &Connection) -> Result<(), NotVerified> {
    if let Some(why) = account::difference(connection)? {
        return Err(NotVerified::elsewhere(why));
    }
    let failed = |error| NotVerified::while_reading(0, error);
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    match found.as_str() {
        "ok" => Ok(()),
        found => Err(NotVerified::elsewhere(format!("the database is damaged: {found}"))),
    }
}

/// Writes the entries after `after`, a line each, and the head.
pub(super) fn export(connection: &Connection, out: &mut dyn Write, after: u64) -> Result<Head, JournalError> {
    let head = export_entries(connection, out, after)?;
    out.write_all(head_line(&head).as_bytes())?;
    Ok(head)
}

/// Writes the entries after `after`, a line each; the last one's place.
pub(super) fn export_entries(
    connection: &Connection,
    out: &mut dyn Write,
    after: u64,
) -> Result<Head, JournalError> {
    let end = head(connection)?;
    let after = after.min(end.count);
    // Before the first there is none, and zeros stand for it.
    let sql = "SELECT hash FROM entries WHERE seq = ?1";
    let hash = connection.query_row(sql, [after.cast_signed()], |row| row.get(0)).optional()?;
    let mut head = Head { count: after, hash: hash.unwrap_or_default() };
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE seq > ?1 ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([after.cast_signed()])?;
    while let Some(row) = rows.next()? {
        let record = Record { prev: head.to_hex(), ..record(row)? };
        out.write_all(line(&record)?.as_bytes())?;
        head = Head { count: record.seq.unsigned_abs(), hash: record.hash };
    }
    Ok(head)
}

/// An entry's text with its hash.
fn line(record: &Record) -> Result<String, JournalError> {
    let mut line = text(record)?;
    line.pop();
    Ok(line + HASH_KEY + &to_hex(&record.hash) + HASH_END + "\n")
}

fn head_line(head: &Head) -> String {
    format!("{{\"head\":{{\"count\":{},\"hash\":\"{}\"}}}}\n", head.count, head.to_hex())
}

/// Walks an export that begins after the entry `after`.
///
/// Errors: the first line that is not as it was written, its head among them; it cannot be read.
pub fn verify_export(mut lines: impl BufRead, after: u64) -> Result<Summary, NotVerified> {
    let mut walk = Walk::from(Head { count: after, ..Head::START });
    let mut bytes = Vec::new();
    loop {
        let at = walk.head.count + 1;
        bytes.clear();
        let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        let num = read.map_err(|error| NotVerified::Journal(error.into()))?;
        if num == 0 {
            return Err(NotVerified::at(at, "the tail is cut: the last line should be the head"));
        }
        let garbled = |what: &str| NotVerified::at(at, format!("its line {what}"));
        let line = std::str::from_utf8(&bytes).map_err(|_| garbled("is not UTF-8"))?;
        if line.starts_with("{\"head\":") {
            return end(lines, line, walk);
        }
        let line = line.strip_suffix('\n').ok_or_else(|| garbled("is cut or too long"))?;
        let parts = line.strip_suffix(HASH_END).and_then(|rest| rest.rsplit_once(HASH_KEY));
        let (body, hex) = parts.ok_or_else(|| garbled("does not end in a hash"))?;
        let body = format!("{body}}}");
        let hash = Head::parse("0", hex).ok_or_else(|| garbled("does not end in a hash"))?.hash;
        let record: Record = serde_json::from_str(&body).map_err(|error| garbled(&error.to_string()))?;
        let record = Record { hash, ..record };
        if text(&record)? != body {
            return Err(garbled("is not in the form in which it was written"));
        }
        if walk.summary.num_entries == 0 && after > 0 {
            // What came before is elsewhere: its hash is taken as it is told.
            walk.head.hash =
                Head::parse("0", &record.prev).ok_or_else(|| garbled("has no hash before it"))?.hash;
        }
        walk.step(&record, &body)?;
    }
}

/// The last line: the head, and nothing behind it.
fn end(mut rest: impl BufRead, line: &str, walk: Walk) -> Result<Summary, NotVerified> {
    let at = walk.head.count + 1;
    let is_empty_part = walk.summary.num_entries == 0 && walk.head.count > 0;
    if !is_empty_part && line != head_line(&walk.head) {
        return Err(NotVerified::at(
            at,
            "the head is another one: the tail is cut, or the last line was changed",
        ));
    }
    let more = rest.fill_buf().map_err(|error| NotVerified::Journal(error.into()))?;
    match more.is_empty() {
        true => Ok(walk.end()),
        false => Err(NotVerified::at(at, "there is something behind the head")),
    }
}
