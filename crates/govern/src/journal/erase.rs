//! Texts that are erased beside a server, which waits for no step of it longer than for a request.
//!
//! A row that is merely overwritten leaves copies: pages that were merged have old bytes in their gaps. So
//! all rows are moved out of the table that is written into the other one, but for the texts that are to go,
//! a few at a time; what is moved away is overwritten as it is freed, page by page, until its table is empty.
//! Whatever is written meanwhile goes into the new table and is not looked at. A pass that breaks off is gone
//! on with by the next.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::ToSql;
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};

use super::schema::{self, CONTENTS_TABLE, PLACES};
use crate::error::JournalError;

/// How long one step should keep a writer waiting. Units: milliseconds.
const STEP_MS: u64 = 20;
/// How long nothing is done behind a step, in times of its own length: a writer that waits looks every 25 ms
/// to 100 ms.
const PAUSES: u32 = 3;
/// The shortest such pause. Units: milliseconds.
const PAUSE_MS_MIN: u64 = 10;
/// What the first step moves; those behind it are as large as fits the time. Units: bytes.
const STEP_BYTES: usize = 256 << 10;
/// The least and the most that a step moves; a row is moved whole, however long it is. Units: bytes.
const STEP_BYTES_RANGE: (usize, usize) = (64 << 10, 8 << 20);
/// What a row takes besides its texts. Units: bytes.
const ROW_BYTES: i64 = 64;
/// Most rows of a step.
const STEP_ROWS_MAX: usize = 4_096;
/// A page of the database. Units: bytes.
const PAGE_BYTES: usize = 4_096;
/// How much is moved before the log is written into the database. Units: bytes.
const CHECKPOINT_BYTES: usize = 16 << 20;
/// How long one try to empty the log waits for readers, and writers for it. Units: milliseconds.
const EMPTY_MS: u64 = 50;
/// How long a moment is waited for in which nobody has written. Units: milliseconds.
const QUIET_MS_MAX: u64 = 1_000;
/// How long readers are waited for before the log is given up. Units: milliseconds.
const EMPTY_MS_MAX: u64 = 10_000;

/// Whose texts are erased. None: they are not asked about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Erasure<'a> {
    /// Of this tenant.
    pub tenant: Option<&'a str>,
    /// Of the key with this public part.
    pub actor: Option<&'a str>,
    /// Of the request with this id.
    pub request_id: Option<&'a str>,
    /// Written before this moment. Units: milliseconds since 1970.
    pub before_ms: Option<i64>,
}

/// Erases texts of a folder's journal, also beside a server: what was there is overwritten, in the database
/// and in its log. How many entries' texts they were.
///
/// Errors: there is no journal, it cannot be written, somebody else erases, or it is read by another at this
/// moment, so that its log still has them: then erase again.
pub fn erase_content(folder: &Path, erasure: &Erasure<'_>, now_ms: i64) -> Result<u64, JournalError> {
    let (mut connection, _lock) = schema::open_to_erase(folder)?;
    let mut pace = Pace::new();
    let mut num = 0;
    let which = Which::new(erasure, now_ms);
    let written = schema::place(&connection)?;
    let (here, there) = (PLACES[written], PLACES[1 - written]);
    let has_rows = !is_empty(&connection, here)?;
    // What a pass before left, and what was written by an older program.
    for from in [there, CONTENTS_TABLE] {
        num += drain(&mut connection, (from, here), &which, &mut pace)?;
    }
    // Also where there is nothing to erase: the time before may have been kept from the log.
    if has_rows {
        connection.execute("UPDATE texts_place SET place = ?1", [i64::from(written == 0)])?;
        num += drain(&mut connection, (here, there), &which, &mut pace)?;
    }
    shrink(&connection, &mut pace)?;
    empty_log(&connection)?;
    Ok(num)
}

/// The conditions under which a text goes, in SQL, with their values behind the moment and the last row.
struct Which<'a> {
    conditions: String,
    values: Vec<&'a dyn ToSql>,
    now_ms: i64,
}

impl<'a> Which<'a> {
    fn new(erasure: &'a Erasure<'a>, now_ms: i64) -> Which<'a> {
        let mut which = Which { conditions: String::new(), values: Vec::new(), now_ms };
        let words = [
            ("tenant =", &erasure.tenant),
            ("actor =", &erasure.actor),
            ("request_id =", &erasure.request_id),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                which.add(column, word);
            }
        }
        if let Some(before) = &erasure.before_ms {
            which.add("at_ms <", before);
        }
        which
    }

    fn add(&mut self, column: &str, value: &'a dyn ToSql) {
        self.values.push(value);
        self.conditions += &format!(" AND entries.{column} ?{}", self.values.len() + 2);
    }
}

/// How much is done at a time, and the pauses behind it.
struct Pace {
    bytes: usize,
    since_checkpoint: usize,
}

impl Pace {
    fn new() -> Pace {
        Pace { bytes: STEP_BYTES, since_checkpoint: 0 }
    }

    /// Waits behind a step that was begun then, and writes the log into the database now and then, for which
    /// no writer waits.
    fn step_ended(&mut self, connection: &Connection, begun: Instant) -> Result<(), JournalError> {
        let took = begun.elapsed();
        self.since_checkpoint = self.since_checkpoint.saturating_add(self.bytes);
        let (min, max) = STEP_BYTES_RANGE;
        let fits = Duration::from_millis(STEP_MS).as_secs_f64() / took.as_secs_f64().max(1e-6);
        self.bytes = ((self.bytes as f64 * fits.clamp(0.5, 2.0)) as usize).clamp(min, max);
        if self.since_checkpoint >= CHECKPOINT_BYTES {
            checkpoint(connection, "PASSIVE")?;
            self.since_checkpoint = 0;
        }
        thread::sleep((took * PAUSES).max(Duration::from_millis(PAUSE_MS_MIN)));
        Ok(())
    }
}

/// Moves all rows of a table into another, without the texts that are to go; how many those were.
fn drain(
    connection: &mut Connection,
    (from, to): (&str, &str),
    which: &Which<'_>,
    pace: &mut Pace,
) -> Result<u64, JournalError> {
    let mut num = 0;
    while !is_empty(connection, from)? {
        let begun = Instant::now();
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        num += move_rows(&change, (from, to), which, pace.bytes)?;
        if is_empty(&change, from)? {
            // Without a condition the root is overwritten too.
            change.execute(&format!("DELETE FROM {from}"), [])?;
        }
        change.commit()?;
        pace.step_ended(connection, begun)?;
    }
    Ok(num)
}

/// Moves the first rows of a table, of so many bytes.
fn move_rows(
    change: &Transaction<'_>,
    (from, to): (&str, &str),
    which: &Which<'_>,
    bytes: usize,
) -> Result<u64, JournalError> {
    let Some(last) = last_of(change, from, bytes)? else { return Ok(0) };
    let mut values: Vec<&dyn ToSql> = vec![&which.now_ms, &last];
    values.extend(&which.values);
    let goes = format!(
        "(t.salt IS NOT NULL AND EXISTS
            (SELECT 1 FROM entries WHERE entries.seq = t.seq AND ?1 IS NOT NULL{}))",
        which.conditions
    );
    let erase = format!(
        "INSERT INTO {to} (seq, erased_ms) SELECT seq, ?1 FROM {from} AS t WHERE t.rowid <= ?2 AND {goes}
            ORDER BY t.rowid"
    );
    let num = change.prepare_cached(&erase)?.execute(params_from_iter(&values))?;
    let keep = format!(
        "INSERT INTO {to} (seq, salt, prompt, answer, erased_ms)
            SELECT seq, salt, prompt, answer, erased_ms FROM {from} AS t WHERE t.rowid <= ?2 AND NOT {goes}
            ORDER BY t.rowid"
    );
    change.prepare_cached(&keep)?.execute(params_from_iter(&values))?;
    change.prepare_cached(&format!("DELETE FROM {from} WHERE rowid <= ?1"))?.execute([last])?;
    Ok(num as u64)
}

/// The last row of the first of a table that are together as long; None where there are none.
fn last_of(connection: &Connection, table: &str, bytes: usize) -> Result<Option<i64>, JournalError> {
    let sql = format!(
        "SELECT rowid, ifnull(octet_length(prompt), 0) + ifnull(octet_length(answer), 0) FROM {table}
            ORDER BY rowid LIMIT {STEP_ROWS_MAX}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let (mut last, mut left) = (None, i64::try_from(bytes).unwrap_or(i64::MAX));
    while let Some(row) = rows.next()? {
        left -= row.get::<_, i64>(1)? + ROW_BYTES;
        if left < 0 && last.is_some() {
            break;
        }
        last = Some(row.get(0)?);
    }
    Ok(last)
}

fn is_empty(connection: &Connection, table: &str) -> Result<bool, JournalError> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {table})");
    Ok(connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
}

/// Gives free pages back to the file system. A file of before version 3 keeps them for what comes.
fn shrink(connection: &Connection, pace: &mut Pace) -> Result<(), JournalError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut num_free = number("PRAGMA freelist_count")?;
    while num_free > 0 {
        let begun = Instant::now();
        let num = (pace.bytes / PAGE_BYTES).max(1);
        {
            let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({num})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        pace.step_ended(connection, begun)?;
        let left = number("PRAGMA freelist_count")?;
        if left >= num_free {
            break;
        }
        num_free = left;
    }
    Ok(())
}

/// Writes the whole log into the database and cuts it off. Writers wait while it waits for readers, and while
/// it writes what came since a moment ago, so it does that shortly, as far as it can when nothing came, and
/// again.
///
/// Errors: `NotErased`, when readers were in its way for too long.
fn empty_log(connection: &Connection) -> Result<(), JournalError> {
    let begun = Instant::now();
    connection.busy_timeout(Duration::from_millis(EMPTY_MS))?;
    loop {
        // Nobody waits for this one.
        let is_written = checkpoint(connection, "PASSIVE")?.is_whole;
        let is_late = begun.elapsed() > Duration::from_millis(QUIET_MS_MAX);
        if (is_written || is_late) && !checkpoint(connection, "TRUNCATE")?.is_busy {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_millis(EMPTY_MS_MAX) {
            return Err(JournalError::NotErased);
        }
        thread::sleep(Duration::from_millis(PAUSE_MS_MIN));
    }
}

/// What a checkpoint came to.
struct Checkpoint {
    /// Whether somebody was in its way.
    is_busy: bool,
    /// Whether nothing is left of the log that is not in the database.
    is_whole: bool,
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<Checkpoint, JournalError> {
    let found = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (num, written): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(Checkpoint { is_busy: row.get(0)?, is_whole: num == written })
    })?;
    Ok(found)
}
