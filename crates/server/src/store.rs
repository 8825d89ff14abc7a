//! What has been said that a client may ask for again?
//!
//! [`Store`] keeps finished responses and conversations in one SQLite file (in memory without `--state-dir`), each row with its tenant: a
//! row of another tenant's is not there. Rows leave when they are too old or too many; a row that is too large is not taken. SQLite is
//! the only thing in this program that a crash in the middle of writing must not harm, and its write-ahead log is made for that.
//!
//! All functions block and belong on a thread that may wait. It does not know what a response means: JSON in, JSON out.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::error::Error;
use crate::history::Entry;
use crate::limits::Limits;
use crate::wire::errors::ApiError;

/// The file inside the state folder.
const FILE: &str = "gptoss.sqlite3";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS rows (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
        body TEXT NOT NULL, items TEXT NOT NULL, entries TEXT NOT NULL, events TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS rows_created ON rows (created);
    CREATE TABLE IF NOT EXISTS items (
        id TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (tenant, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS items_owner ON items (owner);
";

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
    /// Whose it is.
    pub(crate) tenant: String,
    /// When it was made. Units: seconds since 1970.
    pub(crate) created: u64,
    /// The object as a client sees it.
    pub(crate) body: Value,
    /// Of a response: its input items. Of a conversation: all its items.
    pub(crate) items: Vec<Value>,
    /// Everything said so far, as messages.
    pub(crate) entries: Vec<Entry>,
    /// Of a response: its events, for a stream that is taken up again, as one JSON array. They are many, and
    /// trees of them many times as large, so they stay text until somebody reads them.
    pub(crate) events: String,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    database: Mutex<Connection>,
    age_max_seconds: u64,
    rows_max: usize,
    row_bytes_max: usize,
}

impl Store {
    /// Opens or makes the database in `folder`; None keeps everything in memory.
    ///
    /// Errors: `State`, when the file cannot be made or is no database of ours.
    pub(crate) fn open(folder: Option<&Path>, limits: &Limits) -> Result<Store, Error> {
        let path = folder.map_or_else(|| PathBuf::from(":memory:"), |folder| folder.join(FILE));
        let failed = |problem: String| Error::State { path: path.clone(), problem };
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        }
        let database = Connection::open(&path).map_err(|error| failed(error.to_string()))?;
        let prepare = || -> rusqlite::Result<()> {
            database.pragma_update(None, "journal_mode", "WAL")?;
            database.pragma_update(None, "synchronous", "NORMAL")?;
            database.busy_timeout(std::time::Duration::from_secs(5))?;
            database.execute_batch(SCHEMA)
        };
        prepare().map_err(|error| failed(error.to_string()))?;
        Ok(Store {
            database: Mutex::new(database),
            age_max_seconds: limits.state_age_max.as_secs(),
            rows_max: limits.state_rows_max,
            row_bytes_max: limits.state_row_bytes_max,
        })
    }

    /// Keeps a row, in the place of one with the same id. False: it is too large and was not kept.
    ///
    /// Errors: `Internal`, when the database fails.
    pub(crate) fn put(&self, kind: Kind, row: &Row, now: u64) -> Result<bool, ApiError> {
        let (body, items) = (row.body.to_string(), json(&row.items)?);
        let (entries, events) = (json(&row.entries)?, &row.events);
        if body.len() + items.len() + entries.len() + events.len() > self.row_bytes_max {
            return Ok(false);
        }
        let mut database = self.lock();
        let write = |database: &mut Connection| -> rusqlite::Result<()> {
            let change = database.transaction()?;
            change.execute(
                "INSERT OR REPLACE INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![row.id, row.tenant, kind.word(), row.created as i64, body, items, entries, events],
            )?;
            change.execute("DELETE FROM items WHERE owner = ?1", params![row.id])?;
            let output = row.body.get("output").and_then(Value::as_array);
            for item in row.items.iter().chain(output.into_iter().flatten()) {
                let Some(id) = item.get("id").and_then(Value::as_str) else { continue };
                change.execute(
                    "INSERT OR REPLACE INTO items VALUES (?1, ?2, ?3, ?4)",
                    params![id, row.tenant, row.id, item.to_string()],
                )?;
            }
            let oldest = now.saturating_sub(self.age_max_seconds) as i64;
            change.execute("DELETE FROM rows WHERE created < ?1", params![oldest])?;
            change.execute(
                "DELETE FROM rows WHERE id IN (SELECT id FROM rows ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?1)",
                params![self.rows_max as i64],
            )?;
            change.execute("DELETE FROM items WHERE owner NOT IN (SELECT id FROM rows)", [])?;
            change.commit()
        };
        write(&mut database).map_err(failed)?;
        Ok(true)
    }

    /// A row of the tenant's.
    ///
    /// Errors: `Internal`, when the database fails.
    pub(crate) fn find(&self, kind: Kind, tenant: &str, id: &str, now: u64) -> Result<Option<Row>, ApiError> {
        let oldest = now.saturating_sub(self.age_max_seconds) as i64;
        let found = self
            .lock()
            .query_row(
                "SELECT created, body, items, entries, events FROM rows
                 WHERE id = ?1 AND tenant = ?2 AND kind = ?3 AND created >= ?4",
                params![id, tenant, kind.word(), oldest],
                |row| {
                    let text = |index| row.get::<_, String>(index);
                    Ok((row.get::<_, i64>(0)?, text(1)?, text(2)?, text(3)?, text(4)?))
                },
            )
            .optional()
            .map_err(failed)?;
        let Some((created, body, items, entries, events)) = found else { return Ok(None) };
        Ok(Some(Row {
            id: id.to_owned(),
            tenant: tenant.to_owned(),
            created: created as u64,
            body: parse(&body)?,
            items: parse(&items)?,
            entries: parse(&entries)?,
            events,
        }))
    }

    /// An item of any of the tenant's rows.
    ///
    /// Errors: `Internal`, when the database fails.
    pub(crate) fn item(&self, tenant: &str, id: &str) -> Result<Option<Value>, ApiError> {
        let sql = "SELECT item FROM items WHERE tenant = ?1 AND id = ?2";
        let found = self.lock().query_row(sql, params![tenant, id], |row| row.get::<_, String>(0));
        found.optional().map_err(failed)?.map(|text| parse(&text)).transpose()
    }

    /// Deletes a row of the tenant's. False: there was none.
    ///
    /// Errors: `Internal`, when the database fails.
    pub(crate) fn delete(&self, kind: Kind, tenant: &str, id: &str) -> Result<bool, ApiError> {
        let database = self.lock();
        let sql = "DELETE FROM rows WHERE id = ?1 AND tenant = ?2 AND kind = ?3";
        let count = database.execute(sql, params![id, tenant, kind.word()]).map_err(failed)?;
        database
            .execute("DELETE FROM items WHERE owner = ?1 AND tenant = ?2", params![id, tenant])
            .map_err(failed)?;
        Ok(count > 0)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: rusqlite::Error) -> ApiError {
    ApiError::Internal { problem: format!("the state database: {error}") }
}

fn json(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::Internal { problem: error.to_string() })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text)
        .map_err(|error| ApiError::Internal { problem: format!("the state database: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptoss_harmony::Message;
    use serde_json::json;

    fn row(id: &str, created: u64) -> Row {
        Row {
            id: id.into(),
            tenant: "a".into(),
            created,
            body: json!({"id": id, "output": [{"id": format!("{id}-out")}]}),
            items: vec![json!({"id": format!("{id}-in")})],
            entries: vec![Entry {
                message: Message::function_call("f", "{}"),
                call_id: Some("call_1".into()),
            }],
            events: "[{\"sequence_number\":0}]".into(),
        }
    }

    fn store(limits: Limits) -> Store {
        Store::open(None, &limits).unwrap()
    }

    #[test]
    fn what_is_kept_comes_back_to_its_tenant() {
        let store = store(Limits::default());
        assert!(store.put(Kind::Response, &row("r", 5), 5).unwrap());
        assert_eq!(store.find(Kind::Response, "a", "r", 5).unwrap(), Some(row("r", 5)));
        assert_eq!(store.item("a", "r-out").unwrap(), Some(json!({"id": "r-out"})));
        assert_eq!(store.find(Kind::Response, "b", "r", 5).unwrap(), None);
        assert_eq!(store.item("b", "r-out").unwrap(), None);
        assert_eq!(store.find(Kind::Conversation, "a", "r", 5).unwrap(), None);
        assert!(!store.delete(Kind::Response, "b", "r").unwrap());
        assert!(store.delete(Kind::Response, "a", "r").unwrap());
        assert_eq!(store.item("a", "r-in").unwrap(), None);
    }

    #[test]
    fn rows_leave_by_age_number_and_size() {
        let limits = Limits {
            state_rows_max: 2,
            state_age_max: std::time::Duration::from_secs(100),
            ..Limits::default()
        };
        let store = store(limits);
        for (id, created) in [("1", 1), ("2", 2), ("3", 3)] {
            store.put(Kind::Response, &row(id, created), created).unwrap();
        }
        let is_there = |id: &str, now| store.find(Kind::Response, "a", id, now).unwrap().is_some();
        assert!(!is_there("1", 3) && is_there("2", 3) && is_there("3", 3));
        assert!(
            !is_there("2", 103) && is_there("3", 103),
            "an expired row is not there, though nobody has swept"
        );
        store.put(Kind::Response, &row("4", 200), 200).unwrap();
        assert!(!is_there("3", 3));
        let store = Store::open(None, &Limits { state_row_bytes_max: 10, ..Limits::default() }).unwrap();
        assert!(!store.put(Kind::Response, &row("1", 1), 1).unwrap());
    }

    #[test]
    fn a_file_keeps_what_was_in_it() {
        let folder = std::env::temp_dir().join(crate::ids::random("gptoss-store"));
        let open = || Store::open(Some(&folder), &Limits::default()).unwrap();
        open().put(Kind::Conversation, &row("c", 7), 7).unwrap();
        assert_eq!(open().find(Kind::Conversation, "a", "c", 7).unwrap(), Some(row("c", 7)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
