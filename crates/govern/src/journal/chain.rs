//! The audit's chain: each entry's hash is of its own text, in which the hash of the one before stands.
//!
//! The text is the JSON of a [`Record`] in its one form; nothing of it is stored but the columns that it is
//! made of, so there is no second copy that could differ. An export has the texts, each with its hash at the
//! end, so anybody can compute them again without this program.

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use super::account;
use super::break_place::NotVerified;
use super::content::{self, Content};
use super::entry::{Event, Record};
use crate::content::CONTENT_BYTES_MAX;
use crate::digest::{Digest, to_hex};
use crate::error::JournalError;

/// The columns of an entry in the order of [`record`].
pub(super) const COLUMNS: &str = "seq, at_ms, admitted_ms, event, actor, tenant, team, model, adapter, \
    policy_version, decision, reason, route, input, cached, output, charged_tokens, charged_micro_usd, \
    ticket, status, request_id, hash, judged_input, judged_output, content";
/// How many they are.
pub(super) const NUM_COLUMNS: usize = 25;
/// Longest line of an export: an entry's texts with every byte escaped. Units: bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Longest line of what was said: two texts with every byte escaped to six. Units: bytes.
const SAID_BYTES_MAX: u64 = 12 * CONTENT_BYTES_MAX + LINE_BYTES_MAX;
/// What a line of what was said begins with, and ends in.
const SAID_KEY: &str = "{\"said\":";
const SAID_END: &str = "}";
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
    /// Entries whose texts were compared with their hashes.
    pub num_said: u64,
    /// Entries whose texts are not there any more: they were erased, or the export was made without them.
    pub num_unsaid: u64,
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
    serde_json::to_string(record).map_err(garbled)
}

fn garbled(error: serde_json::Error) -> JournalError {
    JournalError::Export(error.into())
}

/// Appends an entry behind `head` and gives the new one.
pub(super) fn append(connection: &Connection, head: &Head, mut record: Record) -> Result<Head, JournalError> {
    let count = head.count + 1;
    record.seq = count.cast_signed();
    record.prev = head.to_hex();
    let hash: [u8; 32] = Sha256::digest(text(&record)?).into();
    let marks = (1..=NUM_COLUMNS).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO entries ({COLUMNS}) VALUES ({marks})");
    let content = record.content.as_ref().map(serde_json::to_string).transpose().map_err(garbled)?;
    connection.prepare_cached(&sql)?.execute(params![
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
        hash,
        record.judged_input,
        record.judged_output,
        content
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
        judged_input: row.get(22)?,
        judged_output: row.get(23)?,
        content: content_of(row)?,
        prev: String::new(),
        hash: row.get(21)?,
    })
}

/// What an entry has of texts; in its one form, so that a byte more is not the same.
fn content_of(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let Some(text) = row.get::<_, Option<String>>(24)? else { return Ok(None) };
    let content = serde_json::from_str(&text).ok();
    let content = content.filter(|content| serde_json::to_string(content).is_ok_and(|same| same == text));
    let odd = || {
        let why = "the hashes of its texts are not in the form in which they were written";
        rusqlite::Error::FromSqlConversionFailure(24, rusqlite::types::Type::Text, why.into())
    };
    content.map(Some).ok_or_else(odd)
}

/// Entries on the way along a chain.
struct Walk {
    head: Head,
    summary: Summary,
    /// The entry that was taken last, whose texts may follow it in an export.
    last: Option<Record>,
}

impl Walk {
    fn from(head: Head) -> Walk {
        let summary = Summary {
            head,
            num_entries: 0,
            first_ms: None,
            last_ms: None,
            num_gaps: 0,
            num_said: 0,
            num_unsaid: 0,
        };
        Walk { head, summary, last: None }
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

    /// Takes the texts of the entry before, whose line goes on with `rest`.
    fn said(&mut self, rest: &str) -> Result<(), NotVerified> {
        let at = |why: &str| NotVerified::at(self.head.count, why);
        let line: Option<content::Line> =
            rest.strip_suffix(SAID_END).and_then(|json| serde_json::from_str(json).ok());
        let line = line.ok_or_else(|| at("the line of its texts cannot be read"))?;
        let last = self.last.take().ok_or_else(|| at("texts follow it that are not its own"))?;
        if !last.content.is_some_and(|content| line.is_of(last.seq, &content)) {
            return Err(at("its texts were changed: their hashes are others"));
        }
        self.summary.num_said += 1;
        self.summary.num_unsaid -= 1;
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
    consistent(connection, summary)
}

/// Compares the texts, the budgets and the database's own structure with the chain.
pub(super) fn consistent(connection: &Connection, summary: Summary) -> Result<Summary, NotVerified> {
    let (num_said, num_unsaid) = content::verify(connection)?;
    if let Some(why) = account::difference(connection)? {
        return Err(NotVerified::elsewhere(why));
    }
    let failed = |error| NotVerified::while_reading(0, error);
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    match found.as_str() {
        "ok" => Ok(Summary { num_said, num_unsaid, ..summary }),
        found => Err(NotVerified::elsewhere(format!("the database is damaged: {found}"))),
    }
}

/// Whether an export has what was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Texts {
    /// It has entries alone.
    #[default]
    Without,
    /// Behind an entry that has hashes of texts stand these, if they were not erased.
    With,
}

/// Writes the entries after `after`, a line each, and the head.
pub(super) fn export(
    connection: &Connection,
    out: &mut dyn Write,
    after: u64,
    texts: Texts,
) -> Result<Head, JournalError> {
    let head = export_entries(connection, out, after, texts)?;
    out.write_all(head_line(&head).as_bytes())?;
    Ok(head)
}

/// Writes the entries after `after`, a line each; the last one's place. What is written is of one moment.
pub(super) fn export_entries(
    connection: &Connection,
    out: &mut dyn Write,
    after: u64,
    texts: Texts,
) -> Result<Head, JournalError> {
    let connection = &connection.unchecked_transaction()?;
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
        if texts == Texts::With
            && record.content.is_some()
            && let Some(said) = content::line(connection, record.seq)?
        {
            out.write_all(said_line(&said)?.as_bytes())?;
        }
        head = Head { count: record.seq.unsigned_abs(), hash: record.hash };
    }
    Ok(head)
}

/// What was said, as a line.
fn said_line(said: &content::Line) -> Result<String, JournalError> {
    Ok(format!("{SAID_KEY}{}{SAID_END}\n", serde_json::to_string(said).map_err(garbled)?))
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
        let num = read_line(&mut lines, &mut bytes).map_err(|error| NotVerified::Journal(error.into()))?;
        if num == 0 {
            return Err(NotVerified::at(at, "the tail is cut: the last line should be the head"));
        }
        let garbled = |what: &str| NotVerified::at(at, format!("its line {what}"));
        let line = std::str::from_utf8(&bytes).map_err(|_| garbled("is not UTF-8"))?;
        if line.starts_with("{\"head\":") {
            return end(lines, line, walk);
        }
        let line = line.strip_suffix('\n').ok_or_else(|| garbled("is cut or too long"))?;
        if let Some(rest) = line.strip_prefix(SAID_KEY) {
            walk.said(rest)?;
            continue;
        }
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
        walk.summary.num_unsaid += u64::from(record.content.is_some());
        walk.last = Some(record);
    }
}

/// Reads a line, as much as there may be of one of its kind.
fn read_line(lines: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let num = lines.by_ref().take(SAID_KEY.len() as u64).read_until(b'\n', bytes)?;
    if num == 0 || bytes.ends_with(b"\n") {
        return Ok(num);
    }
    let max = if bytes == SAID_KEY.as_bytes() { SAID_BYTES_MAX } else { LINE_BYTES_MAX };
    Ok(num + lines.by_ref().take(max).read_until(b'\n', bytes)?)
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
