//! Stored responses, conversations, files, batches and tuning jobs: what clients may ask for again.
//!
//! [`Store`] keeps rows in one SQLite file (in memory without `--state-dir`), each with its tenant: another
//! tenant's row is not there. All reads and writes that belong together are one [`Change`], an immediate
//! transaction, so nothing is lost between reading a row and writing it back. What is too old is hidden, what
//! is too much is deleted, and the tenant who has the most pays for it (`store/retention.rs`). Files, batches
//! and tuning jobs have tables of their own (`store/files.rs`, `store/batches.rs`, `store/tuning.rs`). SQLite
//! is the only part of this program that a crash in the middle of writing must not harm, and its write-ahead
//! log is made for that.
//!
//! All functions block and belong on a thread that may wait. JSON in, JSON out: what a response means is
//! decided above.

pub(crate) mod batches;
pub(crate) mod files;
mod retention;
mod schema;
mod sum;
pub(crate) mod tuning;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gptoss_api::ApiError;
use gptoss_api::history::Entry;
use gptoss_gateway::Label;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;
use serde_json::error::Category;

use crate::error::Error;
use crate::limits::{
    FILES_BYTES_IN_MEMORY_MAX, FILES_BYTES_ON_DISK_MAX, Limits, STATE_BYTES_IN_MEMORY_MAX,
    STATE_BYTES_ON_DISK_MAX, STATE_DEPTH_MAX,
};
use retention::{Clock, Retention};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response.
    Response,
    /// A conversation.
    Conversation,
}

impl Kind {
    /// The word in the database and in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Response => "response",
            Kind::Conversation => "conversation",
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: String,
    /// The tenant who may see it.
    pub(crate) tenant: String,
    /// When it was made. Units: seconds since 1970.
    pub(crate) created: u64,
    /// Whether its writer had not ended when it was kept.
    pub(crate) is_unfinished: bool,
    /// The object as a client sees it.
    pub(crate) body: Value,
    /// Of a response: its input items. Of a conversation: all its items.
    pub(crate) items: Vec<Value>,
    /// Everything said so far, as messages.
    pub(crate) entries: Vec<Entry>,
    /// Of a response: its events, for a stream that is taken up again, as one JSON array. They are many, and
    /// trees of them many times as large, so they stay text until somebody reads them.
    pub(crate) events: String,
    /// Of a response that an upstream has answered: the label under which everything in it has left. What is
    /// in other rows may be of any label.
    pub(crate) label: Option<Label>,
}

/// The events of a row that has none.
pub(crate) const NO_EVENTS: &str = "[]";

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    database: Mutex<Database>,
    /// None: in memory.
    folder: Option<PathBuf>,
    retention: Retention,
    files: FileBounds,
    row_bytes_max: usize,
    /// Held as long as the store: a second server on the folder is refused.
    _lock: Option<File>,
}

/// How much one tenant may have of files.
#[derive(Debug)]
struct FileBounds {
    num_max: usize,
    /// Results of batches included.
    bytes_max: u64,
    /// Batches that have not ended.
    batches_max: usize,
}

#[derive(Debug)]
struct Database {
    connection: Connection,
    clock: Clock,
}

impl Store {
    /// Opens or makes the database in `folder`; None keeps everything in memory.
    ///
    /// Errors: `State`, when the folder is in use, or the file is damaged, not ours or cannot be made.
    pub(crate) fn open(folder: Option<&Path>, limits: &Limits) -> Result<Store, Error> {
        let (connection, lock) = schema::open(folder)?;
        let bytes_max = limits.state_bytes_max.unwrap_or(match folder {
            Some(_) => STATE_BYTES_ON_DISK_MAX,
            None => STATE_BYTES_IN_MEMORY_MAX,
        });
        Ok(Store {
            database: Mutex::new(Database { connection, clock: Clock::default() }),
            folder: folder.map(Path::to_owned),
            retention: Retention {
                age_max_seconds: limits.state_age_max.as_secs(),
                rows_max: limits.state_rows_max,
                bytes_max,
            },
            files: FileBounds {
                num_max: limits.files_max,
                batches_max: limits.batches_max,
                bytes_max: limits.files_bytes_max.unwrap_or(match folder {
                    Some(_) => FILES_BYTES_ON_DISK_MAX,
                    None => FILES_BYTES_IN_MEMORY_MAX,
                }),
            },
            row_bytes_max: limits.state_row_bytes_max,
            _lock: lock,
        })
    }

    /// Where it lies, for the operator.
    pub(crate) fn place(&self) -> String {
        match &self.folder {
            Some(folder) => format!("the state folder {}", folder.display()),
            None => "the state in memory".to_owned(),
        }
    }

    /// Does `work` in one transaction at the time `now`: all of it, or, when it fails, nothing.
    ///
    /// Errors: those of `work`, and `State`, when the database fails.
    pub(crate) fn change<T>(
        &self,
        now: u64,
        work: impl FnOnce(&Change<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut database = self.lock();
        let Database { connection, clock } = &mut *database;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let change = Change { transaction, store: self, now };
        let result = work(&change)?;
        self.retention.sweep(&change.transaction, clock, (Instant::now(), now)).map_err(failed)?;
        change.transaction.commit().map_err(failed)?;
        Ok(result)
    }

    /// A row of the tenant's.
    ///
    /// Errors: `NotFound`, and `State`, when the database fails.
    pub(crate) fn find(&self, kind: Kind, tenant: &str, id: &str, now: u64) -> Result<Row, ApiError> {
        find(&self.lock().connection, &self.retention, kind, (tenant, id), now)
    }

    /// An item of any of the tenant's rows; of several with one id the newest.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn item(&self, tenant: &str, id: &str, now: u64) -> Result<Option<Value>, ApiError> {
        item(&self.lock().connection, &self.retention, (tenant, id), now)
    }

    /// Keeps a row, in the place of one with the same id.
    ///
    /// Errors: see [`Change::put`].
    pub(crate) fn put(&self, kind: Kind, row: &Row, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| change.put(kind, row))
    }

    /// Deletes a row of the tenant's. False: there was none.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn delete(&self, kind: Kind, tenant: &str, id: &str, now: u64) -> Result<bool, ApiError> {
        self.change(now, |change| {
            let sql = "DELETE FROM rows WHERE id = ?1 AND tenant = ?2 AND kind = ?3";
            let count = change.transaction.execute(sql, params![id, tenant, kind.word()]).map_err(failed)?;
            Ok(count > 0)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction: nobody else writes while it is open.
pub(crate) struct Change<'a> {
    transaction: Transaction<'a>,
    store: &'a Store,
    now: u64,
}

impl Change<'_> {
    /// A row of the tenant's.
    ///
    /// Errors: `NotFound`, and `State`, when the database fails.
    pub(crate) fn find(&self, kind: Kind, tenant: &str, id: &str) -> Result<Row, ApiError> {
        find(&self.transaction, &self.store.retention, kind, (tenant, id), self.now)
    }

    /// An item of any of the tenant's rows; of several with one id the newest.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn item(&self, tenant: &str, id: &str) -> Result<Option<Value>, ApiError> {
        item(&self.transaction, &self.store.retention, (tenant, id), self.now)
    }

    /// Keeps a row, in the place of one with the same id; without its events, when it is too large or nested
    /// too deep with them.
    ///
    /// Errors: `Invalid`, when it is larger or nested deeper than what can be kept all the same; `State`,
    /// when the database fails.
    pub(crate) fn put(&self, kind: Kind, row: &Row) -> Result<(), ApiError> {
        let mut texts = [row.body.to_string(), json(&row.items)?, json(&row.entries)?, row.events.clone()];
        let items = items_by_id(row);
        let size = |texts: &[String; 4]| {
            let items = items.iter().map(|(_, text)| text.len());
            texts.iter().map(String::len).chain(items).sum::<usize>()
        };
        let max = self.store.row_bytes_max;
        if size(&texts) > max || depth(&texts[3]) > STATE_DEPTH_MAX {
            // A response without its stream is worth more than none.
            NO_EVENTS.clone_into(&mut texts[3]);
        }
        let bytes = size(&texts);
        if bytes > max {
            let message = format!("the {} has {bytes} bytes, but at most {max} are stored", kind.word());
            return Err(ApiError::invalid("items", message));
        }
        if let Some(depth) = texts.iter().map(|text| depth(text)).find(|&depth| depth > STATE_DEPTH_MAX) {
            let word = kind.word();
            let message =
                format!("the {word} is nested {depth} levels deep, but at most {STATE_DEPTH_MAX} are stored");
            return Err(ApiError::invalid("items", message));
        }
        self.write(kind, row, &texts, &items, bytes).map_err(failed)
    }

    fn write(
        &self,
        kind: Kind,
        row: &Row,
        texts: &[String; 4],
        items: &[(&str, String)],
        bytes: usize,
    ) -> rusqlite::Result<()> {
        let kept = retention::kept_at(&self.transaction, self.now)?;
        let sum = sum::sum(&texts.each_ref().map(|text| text.as_bytes()));
        self.transaction.execute(
            "INSERT INTO rows
                 (id, tenant, kind, created, kept, bytes, is_unfinished, body, items, entries, events, sum, label)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (id) DO UPDATE SET kept = excluded.kept, bytes = excluded.bytes,
                 is_unfinished = excluded.is_unfinished, body = excluded.body, items = excluded.items,
                 entries = excluded.entries, events = excluded.events, sum = excluded.sum,
                 label = excluded.label",
            params![
                row.id,
                row.tenant,
                kind.word(),
                row.created as i64,
                kept as i64,
                bytes as i64,
                row.is_unfinished,
                texts[0],
                texts[1],
                texts[2],
                texts[3],
                sum,
                row.label.map(Label::name)
            ],
        )?;
        self.write_items(row, items)?;
        self.store.retention.make_room(&self.transaction, &row.tenant, &row.id)
    }

    /// Writes what is new or has changed and keeps the rest in its place: the order of the items' rowids is
    /// that of their coming, by which the newest is found.
    fn write_items(&self, row: &Row, items: &[(&str, String)]) -> rusqlite::Result<()> {
        let ids = Value::from(items.iter().map(|(id, _)| *id).collect::<Vec<_>>()).to_string();
        let gone = "DELETE FROM items WHERE owner = ?1 AND id NOT IN (SELECT value FROM json_each(?2))";
        self.transaction.execute(gone, params![row.id, ids])?;
        let sql = "INSERT OR REPLACE INTO items SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS
            (SELECT 1 FROM items WHERE tenant = ?1 AND id = ?2 AND owner = ?3 AND item = ?4)";
        let mut insert = self.transaction.prepare_cached(sql)?;
        for (id, text) in items {
            insert.execute(params![row.tenant, id, row.id, text, sum::sum(&[text.as_bytes()])])?;
        }
        Ok(())
    }
}

/// The items that can be referred to, each with its text; of several with one id the last.
fn items_by_id(row: &Row) -> Vec<(&str, String)> {
    let output = row.body.get("output").and_then(Value::as_array);
    let items = row.items.iter().chain(output.into_iter().flatten());
    let with_id: Vec<(&str, &Value)> =
        items.filter_map(|item| Some((item.get("id")?.as_str()?, item))).collect();
    let last: HashMap<&str, usize> = with_id.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    let is_last = |at: usize, id: &str| last.get(id) == Some(&at);
    let kept = with_id.into_iter().enumerate().filter(|(at, (id, _))| is_last(*at, id));
    kept.map(|(_, (id, item))| (id, item.to_string())).collect()
}

/// How deep the arrays and objects of a JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn find(
    connection: &Connection,
    retention: &Retention,
    kind: Kind,
    (tenant, id): (&str, &str),
    now: u64,
) -> Result<Row, ApiError> {
    let sql = "SELECT created, is_unfinished, body, items, entries, events, sum, label FROM rows
               WHERE id = ?1 AND tenant = ?2 AND kind = ?3 AND kept >= ?4";
    let found = connection
        .query_row(sql, params![id, tenant, kind.word(), retention.oldest(now)], |row| {
            let text = |index| row.get::<_, String>(index);
            let texts = [text(2)?, text(3)?, text(4)?, text(5)?];
            let label = row.get::<_, Option<String>>(7)?;
            Ok((row.get::<_, i64>(0)?, row.get(1)?, texts, row.get::<_, Option<Vec<u8>>>(6)?, label))
        })
        .optional()
        .map_err(failed)?;
    let Some((created, is_unfinished, texts, stored, label)) = found else {
        return Err(ApiError::NotFound { what: kind.word(), id: id.to_owned() });
    };
    sum::check(stored.as_deref(), &texts.each_ref().map(|text| text.as_bytes()), (kind.word(), id))?;
    let [body, items, entries, events] = texts;
    Ok(Row {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        created: created as u64,
        is_unfinished,
        body: parse(&body)?,
        items: parse(&items)?,
        entries: parse(&entries)?,
        events,
        label: label.and_then(|name| Label::from_name(&name)),
    })
}

fn item(
    connection: &Connection,
    retention: &Retention,
    (tenant, id): (&str, &str),
    now: u64,
) -> Result<Option<Value>, ApiError> {
    // Clients choose ids, so several items may have one.
    let sql = "SELECT item, items.sum FROM items JOIN rows ON rows.id = owner
               WHERE items.tenant = ?1 AND items.id = ?2 AND kept >= ?3 ORDER BY items.rowid DESC LIMIT 1";
    let of = params![tenant, id, retention.oldest(now)];
    let found = connection
        .query_row(sql, of, |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)));
    let Some((text, stored)) = found.optional().map_err(failed)? else { return Ok(None) };
    sum::check(stored.as_deref(), &[text.as_bytes()], ("item", id))?;
    parse(&text).map(Some)
}

fn failed(error: rusqlite::Error) -> ApiError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ApiError::DiskFull,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ApiError::State {
            problem: format!("damaged ({error}); the operator has to stop the server and to restore it"),
        },
        // SQLite's own words name tables and columns; those of a value that is of another kind may quote it.
        Some(_) => ApiError::State { problem: error.to_string() },
        None => ApiError::State { problem: "a row is not what was written".to_owned() },
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(unreadable)
}

/// What was stored, or is to be, is not JSON of its kind. Where that is, and not what stands there: the words
/// of serde_json quote values, and what was said belongs into no log.
pub(crate) fn unreadable(error: serde_json::Error) -> ApiError {
    let class = match error.classify() {
        Category::Io => "cannot be read or written",
        Category::Syntax => "is not JSON",
        Category::Data => "has a value of another kind than its place",
        Category::Eof => "ends too early",
    };
    let (line, column) = (error.line(), error.column());
    ApiError::State { problem: format!("a value {class}, at line {line}, column {column}") }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(unreadable)
}

#[cfg(test)]
mod tests;
