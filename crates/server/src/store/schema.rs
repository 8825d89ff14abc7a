//! The database file: where it is, who may read it, whether it is whole, and its tables.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::access_log::timestamp;
use crate::error::{Error, remedied};

/// The file inside the state folder.
const FILE: &str = "gptoss.sqlite3";
/// The file whose lock says that a server uses the folder, and whose text that its tables have been made.
const LOCK: &str = "gptoss.lock";
/// What the lock file says when there are tables: an empty database is a loss from then on, and before it is
/// what a crash at the first start left.
const MADE: &[u8] = b"The database has been made.\n";
/// The file that says who has the lock.
const HOLDER: &str = "gptoss.holder";
/// `user_version` of the tables below.
const VERSION: i64 = 9;

/// Counts by tenant are kept by triggers, so that making room reads one row and not all.
const TABLES: &str = "
    CREATE TABLE rows (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
        kept INTEGER NOT NULL, bytes INTEGER NOT NULL, is_unfinished INTEGER NOT NULL,
        body TEXT NOT NULL, items TEXT NOT NULL, entries TEXT NOT NULL, events TEXT NOT NULL
    ) STRICT;
    CREATE INDEX rows_kept ON rows (kept);
    CREATE INDEX rows_tenant_kept ON rows (tenant, kept);
    CREATE TABLE items (
        tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL REFERENCES rows (id) ON DELETE CASCADE,
        item TEXT NOT NULL, PRIMARY KEY (tenant, id, owner)
    ) STRICT;
    CREATE INDEX items_owner ON items (owner);
    CREATE TABLE tenants (tenant TEXT PRIMARY KEY, num_rows INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    CREATE TRIGGER rows_inserted AFTER INSERT ON rows BEGIN
        INSERT INTO tenants VALUES (NEW.tenant, 1, NEW.bytes)
            ON CONFLICT (tenant) DO UPDATE SET num_rows = num_rows + 1, bytes = bytes + NEW.bytes;
    END;
    CREATE TRIGGER rows_updated AFTER UPDATE OF bytes ON rows BEGIN
        UPDATE tenants SET bytes = bytes + NEW.bytes - OLD.bytes WHERE tenant = NEW.tenant;
    END;
    CREATE TRIGGER rows_deleted AFTER DELETE ON rows BEGIN
        UPDATE tenants SET num_rows = num_rows - 1, bytes = bytes - OLD.bytes WHERE tenant = OLD.tenant;
    END;
    PRAGMA user_version = 2;
";

/// Since version 3: files with their content in parts, batches with the results of their lines.
const FILE_TABLES: &str = "
    CREATE TABLE files (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL,
        expires INTEGER, name TEXT NOT NULL, purpose TEXT NOT NULL, is_whole INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX files_tenant ON files (tenant);
    CREATE INDEX files_expires ON files (expires) WHERE expires IS NOT NULL;
    CREATE TABLE file_parts (
        file TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        content BLOB NOT NULL, PRIMARY KEY (file, number)
    ) STRICT;
    CREATE TABLE batches (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, visibility TEXT NOT NULL, reasoning_max INTEGER,
        may_use_tokens INTEGER NOT NULL, created INTEGER NOT NULL, input TEXT NOT NULL, is_ended INTEGER NOT NULL,
        result_bytes INTEGER NOT NULL, body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX batches_tenant ON batches (tenant, is_ended);
    CREATE INDEX batches_ended ON batches (is_ended, created);
    CREATE TABLE batch_results (
        batch TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        is_answer INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (batch, number)
    ) STRICT;
    PRAGMA user_version = 3;
";

/// Since version 4: checksums of what is large and kept for long. What was there before has none.
const SUMS: &str = "
    ALTER TABLE rows ADD COLUMN sum BLOB;
    ALTER TABLE items ADD COLUMN sum BLOB;
    ALTER TABLE file_parts ADD COLUMN sum BLOB;
    PRAGMA user_version = 4;
";

/// Since version 5: of batches too.
const BATCH_SUMS: &str = "
    ALTER TABLE batches ADD COLUMN sum BLOB;
    PRAGMA user_version = 5;
";

/// Since version 6: of the results of batches too; tuning jobs, what is told of them, and their models.
const TUNING_TABLES: &str = "
    ALTER TABLE batch_results ADD COLUMN sum BLOB;
    CREATE TABLE tuning_jobs (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, training TEXT NOT NULL, validation TEXT,
        status TEXT NOT NULL, is_ended INTEGER NOT NULL, told_bytes INTEGER NOT NULL, body TEXT NOT NULL,
        sum BLOB NOT NULL
    ) STRICT;
    CREATE INDEX tuning_jobs_tenant ON tuning_jobs (tenant, is_ended);
    CREATE INDEX tuning_jobs_status ON tuning_jobs (status);
    CREATE TABLE tuning_events (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, job TEXT NOT NULL REFERENCES tuning_jobs (id) ON DELETE CASCADE,
        step INTEGER, body TEXT NOT NULL, sum BLOB NOT NULL, UNIQUE (job, step)
    ) STRICT;
    CREATE TABLE tuning_checkpoints (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, job TEXT NOT NULL REFERENCES tuning_jobs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL, UNIQUE (job, step)
    ) STRICT;
    CREATE TABLE tuned_models (
        id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL
    ) STRICT;
    CREATE INDEX tuned_models_tenant ON tuned_models (tenant);
    PRAGMA user_version = 6;
";

/// Since version 7: the public part of the key that made a batch. Those of before have none.
const BATCH_KEYS: &str = "
    ALTER TABLE batches ADD COLUMN key_id TEXT;
    PRAGMA user_version = 7;
";

/// Since version 8: what an upstream was let have of a row. Of those of before it is not known.
const ROW_LABELS: &str = "
    ALTER TABLE rows ADD COLUMN label TEXT;
    PRAGMA user_version = 8;
";

/// Since version 9: the label under which a file was uploaded. Of those of before, and of results, there is
/// none.
const FILE_LABELS: &str = "
    ALTER TABLE files ADD COLUMN label TEXT;
    PRAGMA user_version = 9;
";

/// Version 0 had no `user_version`, no counts, and stored references to items as items; those lead nowhere.
const FROM_VERSION_0: &str = "
    INSERT INTO rows SELECT id, tenant, kind, created, created,
        octet_length(body) + 2 * octet_length(items) + octet_length(entries) + octet_length(events), 0, body, items, entries, events FROM rows_0;
    INSERT OR IGNORE INTO items SELECT tenant, id, owner, item FROM items_0
        WHERE owner IN (SELECT id FROM rows) AND json_extract(item, '$.type') IS NOT 'item_reference';
    DROP TABLE rows_0;
    DROP TABLE items_0;
";

/// The database of `folder`, and the lock that keeps it ours; in memory without a folder.
///
/// Errors: `State`.
pub(super) fn open(folder: Option<&Path>) -> Result<(Connection, Option<File>), Error> {
    let path = folder.map_or_else(|| PathBuf::from(":memory:"), |folder| folder.join(FILE));
    let failed = |problem: String| Error::State { path: path.clone(), problem };
    let lock = folder.map(|folder| take_folder(folder, &path)).transpose().map_err(failed)?;
    let mut connection = Connection::open(&path).map_err(|error| failed(words(&error)))?;
    prepare(&mut connection).map_err(|error| failed(error.0))?;
    if let Some(lock) = &lock {
        note_as_made(&connection, lock).map_err(|error| failed(error.0))?;
    }
    #[cfg(unix)]
    if folder.is_some() {
        restrict(&path).map_err(|error| failed(remedied(&error)))?;
    }
    Ok((connection, lock))
}

/// What keeps the database from being opened, with what to do about it.
struct Problem(String);

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Problem {
        Problem(words(&error))
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        Problem(remedied(&error))
    }
}

/// What the database said, with what to do about it.
fn words(error: &rusqlite::Error) -> String {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => return damaged(&error.to_string()),
        Some(ErrorCode::DiskFull) => "make room on its disk",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "give this user the right to read and write there"
        }
        _ => "put it right",
    };
    format!("{error}: {remedy}")
}

fn damaged(found: &str) -> String {
    format!("the file is damaged ({found}): restore it from a copy, or move it away to begin anew")
}

/// Makes the folder and the file for this user alone, and takes the lock.
fn take_folder(folder: &Path, path: &Path) -> Result<File, String> {
    let words = |error: std::io::Error| remedied(&error);
    let mut builder = DirBuilder::new();
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.recursive(true).create(folder).map_err(words)?;
    options.read(true).write(true).create(true).truncate(false);
    let lock = options.open(folder.join(LOCK)).map_err(words)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(folder.join(HOLDER)).unwrap_or_default();
            return Err(format!("another server uses this folder ({}): stop it", holder.trim()));
        }
        Err(TryLockError::Error(error)) => return Err(words(error)),
    }
    let is_empty = path.metadata().is_ok_and(|metadata| metadata.len() == 0);
    if is_empty && was_made(&lock).map_err(words)? {
        return Err(
            "the file is empty, so what it held is lost: restore it from a copy, or delete it to begin anew"
                .to_owned(),
        );
    }
    // A word for whoever finds the folder in use; the lock holds without it.
    let holder = format!("process {} since {}\n", std::process::id(), timestamp());
    let written = options.truncate(true).open(folder.join(HOLDER));
    let _ = written.and_then(|mut file| file.write_all(holder.as_bytes()));
    Ok(lock)
}

fn was_made(lock: &File) -> std::io::Result<bool> {
    Ok(lock.metadata()?.len() > 0)
}

/// Writes down that there are tables, when they are safe on the disk.
fn note_as_made(connection: &Connection, mut lock: &File) -> Result<(), Problem> {
    if was_made(lock)? {
        return Ok(());
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    lock.write_all(MADE)?;
    lock.sync_all()?;
    Ok(())
}

/// Other users may not read the file and its companions, whoever made them.
#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn prepare(connection: &mut Connection) -> Result<(), Problem> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Problem(damaged(&found)));
    }
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('rows', 'items')";
    let num_tables: i64 = change.query_row(sql, [], |row| row.get(0))?;
    match (version, num_tables) {
        (2..=VERSION, _) => {}
        (0, 0) => change.execute_batch(TABLES)?,
        (0, _) => {
            change
                .execute_batch("ALTER TABLE rows RENAME TO rows_0; ALTER TABLE items RENAME TO items_0;")?;
            change.execute_batch("DROP INDEX IF EXISTS rows_created; DROP INDEX IF EXISTS items_owner;")?;
            change.execute_batch(TABLES)?;
            change.execute_batch(FROM_VERSION_0)?;
        }
        (newer, _) => {
            let problem = format!("the file has version {newer}, but this program knows {VERSION}");
            return Err(Problem(format!("{problem}: use a newer gptoss")));
        }
    }
    // Each makes the version that it is of from the one before.
    if version < 3 {
        change.execute_batch(FILE_TABLES)?;
    }
    if version < 4 {
        change.execute_batch(SUMS)?;
    }
    if version < 5 {
        change.execute_batch(BATCH_SUMS)?;
    }
    if version < 6 {
        change.execute_batch(TUNING_TABLES)?;
    }
    if version < 7 {
        change.execute_batch(BATCH_KEYS)?;
    }
    if version < 8 {
        change.execute_batch(ROW_LABELS)?;
    }
    if version < 9 {
        change.execute_batch(FILE_LABELS)?;
    }
    // What a crash left of files that were being written.
    change.execute("DELETE FROM files WHERE is_whole = 0", [])?;
    change.commit()?;
    Ok(())
}
