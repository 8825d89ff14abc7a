//! The journal's file: where it is, who may read it, and its tables.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::JournalError;

/// The file inside the state folder.
const FILE: &str = "govern.sqlite3";
/// The file whose lock says that a server uses it.
const LOCK: &str = "govern.lock";
/// The file whose lock says that texts are being erased.
const ERASE_LOCK: &str = "govern.erase.lock";
/// `user_version` of the tables below.
const VERSION: i64 = 3;
/// How much is written before it is moved from the log into the database, which waits for the disk: seldom
/// enough that fewer than one request in a hundred meets it. Units: pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 8_192;
/// How long a reader waits for a writer. Units: milliseconds.
const BUSY_MS: u64 = 5_000;
/// Statements that stay prepared.
const STATEMENTS: usize = 64;

/// `entries` is the chain: nothing but `seq` orders it, nothing of it is ever changed, and a ticket ends in
/// one entry. The other tables are what can be told from the chain and the open tickets, kept for speed;
/// `rates` alone is of a minute.
const TABLES: &str = "
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, admitted_ms INTEGER NOT NULL, event TEXT NOT NULL,
        actor TEXT NOT NULL, tenant TEXT NOT NULL, team TEXT NOT NULL, model TEXT NOT NULL,
        adapter TEXT NOT NULL, policy_version TEXT NOT NULL, decision TEXT NOT NULL, reason TEXT NOT NULL,
        route TEXT NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL,
        charged_tokens INTEGER NOT NULL, charged_micro_usd INTEGER NOT NULL, ticket INTEGER,
        status INTEGER NOT NULL, request_id TEXT NOT NULL, hash BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX entries_ticket ON entries (ticket) WHERE ticket IS NOT NULL;
    CREATE INDEX entries_admitted ON entries (admitted_ms);
    CREATE INDEX entries_actor ON entries (actor, seq);
    CREATE INDEX entries_tenant ON entries (tenant, admitted_ms);
    CREATE INDEX entries_team ON entries (team, admitted_ms) WHERE team != '';
    CREATE TABLE tickets (
        id INTEGER PRIMARY KEY AUTOINCREMENT, admitted_ms INTEGER NOT NULL, actor TEXT NOT NULL,
        tenant TEXT NOT NULL, team TEXT NOT NULL, tokens INTEGER NOT NULL, micro_usd INTEGER NOT NULL,
        tpm INTEGER, team_tpm INTEGER
    ) STRICT;
    CREATE INDEX tickets_tenant ON tickets (tenant);
    CREATE INDEX tickets_team ON tickets (team);
    CREATE TABLE windows (
        account TEXT NOT NULL, unit TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
        spent INTEGER NOT NULL, PRIMARY KEY (account, unit, start_ms, end_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE rates (
        account TEXT NOT NULL, unit TEXT NOT NULL, until_ns INTEGER NOT NULL, PRIMARY KEY (account, unit)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Since version 2: what judges took, and texts beside the chain. Entries of before have none, and keep their
/// hashes.
const CONTENTS: &str = "
    ALTER TABLE entries ADD COLUMN judged_input INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN judged_output INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN content TEXT;
    CREATE INDEX entries_content ON entries (seq) WHERE content IS NOT NULL;
    CREATE TABLE contents (
        seq INTEGER PRIMARY KEY, salt BLOB, prompt TEXT, answer TEXT, erased_ms INTEGER
    ) STRICT;
    PRAGMA user_version = 2;
";

/// The tables of texts: one is written, and out of the other they are moved when some are erased. Their rows
/// are numbered as they come, so a row that is moved is appended like one that is new.
pub(super) const PLACES: [&str; 2] = ["texts_1", "texts_2"];
/// The texts of version 2, which the first erasure moves.
pub(super) const CONTENTS_TABLE: &str = "contents";

/// Since version 3: texts in one of two tables, so that erasing them needs no file that is written anew.
const PLACES_OF_TEXTS: &str = "
    CREATE TABLE texts_1 (
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, salt BLOB, prompt TEXT, answer TEXT,
        erased_ms INTEGER
    ) STRICT;
    CREATE TABLE texts_2 (
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, salt BLOB, prompt TEXT, answer TEXT,
        erased_ms INTEGER
    ) STRICT;
    CREATE TABLE texts_place (place INTEGER NOT NULL) STRICT;
    INSERT INTO texts_place VALUES (0);
    CREATE VIEW said AS
        SELECT seq, salt, prompt, answer FROM texts_1
        UNION ALL SELECT seq, salt, prompt, answer FROM texts_2
        UNION ALL SELECT seq, salt, prompt, answer FROM contents;
    PRAGMA user_version = 3;
";

/// Version 1 as a reader has it, who changes nothing: it may be a copy that is kept as evidence.
const READ_AS_VERSION_2: &str = "
    CREATE TEMP VIEW entries AS
        SELECT *, 0 AS judged_input, 0 AS judged_output, NULL AS content FROM main.entries;
    CREATE TEMP TABLE contents (
        seq INTEGER PRIMARY KEY, salt BLOB, prompt TEXT, answer TEXT, erased_ms INTEGER
    ) STRICT;
";

/// Version 2 as a reader has it.
const READ_AS_VERSION_3: &str = "CREATE TEMP VIEW said AS SELECT seq, salt, prompt, answer FROM contents";

/// The database of `folder`, and the lock that keeps it ours; in memory without a folder.
pub(super) fn open(folder: Option<&Path>) -> Result<(Connection, Option<File>), JournalError> {
    let path = folder.map_or_else(|| PathBuf::from(":memory:"), |folder| folder.join(FILE));
    let lock = folder.map(take_folder).transpose()?;
    let mut connection = Connection::open(&path)?;
    // Only a new file takes it: what is erased gives its room back in small steps.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The root of a table of texts that grows leaves no copy behind.
    connection.query_row("PRAGMA secure_delete = FAST", [], |_| Ok(()))?;
    // A kill of the process loses nothing; a loss of power may lose the last moments, whole transactions from
    // the end, and the file beside says so.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&change)?;
    if found < 1 {
        change.execute_batch(TABLES)?;
    }
    if found < 2 {
        change.execute_batch(CONTENTS)?;
    }
    if found < 3 {
        change.execute_batch(PLACES_OF_TEXTS)?;
    }
    change.commit()?;
    #[cfg(unix)]
    if folder.is_some() {
        restrict(&path)?;
    }
    Ok((connection, lock))
}

/// The database of `folder` as a reader beside the server has it. True: a server has it open.
pub(super) fn open_to_read(folder: &Path) -> Result<(Connection, bool), JournalError> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Err(JournalError::Missing { path });
    }
    let is_in_use = match OpenOptions::new().write(true).open(folder.join(LOCK)) {
        Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // A folder that cannot be written, such as a copy kept as evidence, is read as it lies.
    let connection = Connection::open_with_flags(&path, flags)
        .or_else(|_| Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    match version(&connection)? {
        // A file without tables is what a start left that was cut short.
        0 => return Err(JournalError::Missing { path }),
        1 => connection.execute_batch(READ_AS_VERSION_2)?,
        _ => {}
    }
    if version(&connection)? < 3 {
        connection.execute_batch(READ_AS_VERSION_3)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    Ok((connection, is_in_use))
}

/// The database of `folder` for whoever erases texts, also beside a server, and the lock that keeps others
/// from erasing meanwhile.
pub(super) fn open_to_erase(folder: &Path) -> Result<(Connection, File), JournalError> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Err(JournalError::Missing { path });
    }
    let lock = take(&folder.join(ERASE_LOCK)).map_err(|error| match error {
        JournalError::InUse { path } => JournalError::Erasing { path },
        error => error,
    })?;
    let mut connection = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    // What is freed is overwritten, and what a statement may have to take back is kept in memory.
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&change)? {
        0 => return Err(JournalError::Missing { path }),
        1 => change.execute_batch(CONTENTS)?,
        _ => {}
    }
    if version(&change)? < 3 {
        change.execute_batch(PLACES_OF_TEXTS)?;
    }
    change.commit()?;
    Ok((connection, lock))
}

/// Which of [`PLACES`] is written.
pub(super) fn place(connection: &Connection) -> Result<usize, JournalError> {
    let mut statement = connection.prepare_cached("SELECT place FROM texts_place")?;
    let place: i64 = statement.query_row([], |row| row.get(0))?;
    // Whoever changed it by hand has texts in the first.
    Ok(usize::from(place == 1))
}

/// Which tables there are; 0: none.
fn version(connection: &Connection) -> Result<i64, JournalError> {
    match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        known @ 0..=VERSION => Ok(known),
        found => Err(JournalError::Version { found, known: VERSION }),
    }
}

/// Makes the folder for this user alone, and takes the lock.
fn take_folder(folder: &Path) -> Result<File, JournalError> {
    let failed = |path: PathBuf| move |source| JournalError::File { path, source };
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.recursive(true).create(folder).map_err(failed(folder.to_owned()))?;
    take(&folder.join(LOCK))
}

/// Takes the lock of a file for as long as it is held.
fn take(path: &Path) -> Result<File, JournalError> {
    let failed = |source| JournalError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.read(true).write(true).create(true).truncate(false);
    let lock = options.open(path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Other users may not read the file and its companions, whoever made them.
#[cfg(unix)]
fn restrict(path: &Path) -> Result<(), JournalError> {
    use std::os::unix::fs::PermissionsExt;
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(JournalError::File { path: name.into(), source });
            }
            _ => {}
        }
    }
    Ok(())
}
