//! Files: a row each, and their content in parts of one table.
//!
//! The content lies in the database and not beside it, so that a file and what says that it is there are one
//! transaction, a crash leaves neither without the other, and it works without a state folder too. It lies
//! there in parts, so that no write holds the others up and no file has to be in memory as a whole. A file is
//! hidden until all its parts are there ([`Store::finish_file`]); what a crash left of one is deleted when
//! the database is opened.

use gptoss_api::ApiError;
use gptoss_api::wire::files::FileObject;
use gptoss_gateway::Label;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Change, Store, failed, sum};

/// Which page of a list.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The id behind which it begins.
    pub(crate) after: Option<String>,
    /// Most of it.
    pub(crate) limit: usize,
    /// Whether the oldest come first.
    pub(crate) is_ascending: bool,
}

/// What reads a file.
const COLUMNS: &str = "id, bytes, created, expires, name, purpose";

impl Store {
    /// Begins a file of the tenant's, without content and hidden.
    ///
    /// Errors: `FilesFull`, when the tenant has as many as it may; `State`, when the database fails.
    pub(crate) fn begin_file(&self, id: &str, tenant: &str, now: u64) -> Result<(), ApiError> {
        let max = self.files.num_max;
        self.change(now, |change| {
            let sql = "SELECT count(*) FROM files WHERE tenant = ?1";
            let count: i64 = change.transaction.query_row(sql, [tenant], |row| row.get(0)).map_err(failed)?;
            if count as usize >= max {
                return Err(ApiError::FilesFull { what: format!("{count} files, the most it may have") });
            }
            change.begin_file(id, tenant)
        })
    }

    /// Puts a file under a label.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn label_file(&self, id: &str, label: Label, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| {
            let sql = "UPDATE files SET label = ?2 WHERE id = ?1";
            change.transaction.execute(sql, params![id, label.name()]).map(|_| ()).map_err(failed)
        })
    }

    /// The label under which a file of the tenant's was uploaded; None where nobody named one.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn file_label(&self, tenant: &str, id: &str) -> Result<Option<Label>, ApiError> {
        let sql = "SELECT label FROM files WHERE tenant = ?1 AND id = ?2";
        let found =
            self.lock().connection.query_row(sql, [tenant, id], |row| row.get::<_, Option<String>>(0));
        let name = found.optional().map_err(failed)?.flatten();
        Ok(name.as_deref().and_then(Label::from_name))
    }

    /// Adds part number `number` to a file that is not whole.
    ///
    /// Errors: `FilesFull`, when the tenant's bytes are used up; `State`, when the database fails.
    pub(crate) fn add_part(
        &self,
        id: &str,
        tenant: &str,
        (number, content): (u64, &[u8]),
        now: u64,
    ) -> Result<(), ApiError> {
        self.change(now, |change| {
            change.check_room(tenant, content.len())?;
            change.add_part(id, number, content)
        })
    }

    /// Shows a file that has all its parts.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn finish_file(&self, file: &FileObject, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| change.finish_file(file))
    }

    /// Deletes a file that is not whole.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn drop_file(&self, id: &str, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| {
            let sql = "DELETE FROM files WHERE id = ?1 AND is_whole = 0";
            change.transaction.execute(sql, [id]).map(|_| ()).map_err(failed)
        })
    }

    /// A file of the tenant's.
    ///
    /// Errors: `NotFound`; `State`, when the database fails.
    pub(crate) fn file(&self, tenant: &str, id: &str, now: u64) -> Result<FileObject, ApiError> {
        file(&self.lock().connection, (tenant, id), now)
    }

    /// One part of a file; None behind the last.
    ///
    /// Errors: `Damaged`; `State`, when the database fails.
    pub(crate) fn part(&self, id: &str, number: u64) -> Result<Option<Vec<u8>>, ApiError> {
        let sql = "SELECT content, sum FROM file_parts WHERE file = ?1 AND number = ?2";
        let of = params![id, number as i64];
        let found = self
            .lock()
            .connection
            .query_row(sql, of, |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)));
        let Some((content, stored)) = found.optional().map_err(failed)? else { return Ok(None) };
        sum::check(stored.as_deref(), &[&content], ("file", id))?;
        Ok(Some(content))
    }

    /// Reads a file through, so that what is wrong with it is known before any of it is told.
    ///
    /// Errors: `NotFound`, when it is deleted or expires meanwhile; `Damaged`; `State`, when the database
    /// fails.
    pub(crate) fn check_file(&self, tenant: &str, found: &FileObject, now: u64) -> Result<(), ApiError> {
        let (mut bytes, mut number) = (0, 0);
        while let Some(part) = self.part(&found.id, number)? {
            bytes += part.len() as u64;
            number += 1;
        }
        if bytes == found.bytes {
            return Ok(());
        }
        // Parts that are gone with their file are no damage.
        self.file(tenant, &found.id, now)?;
        Err(ApiError::Damaged { what: "file", id: found.id.clone() })
    }

    /// One page of the tenant's files, and whether there are more.
    ///
    /// Errors: `NotFound` for the id that it begins behind; `State`, when the database fails.
    pub(crate) fn list_files(
        &self,
        tenant: &str,
        purpose: Option<&str>,
        page: &Page,
        now: u64,
    ) -> Result<(Vec<FileObject>, bool), ApiError> {
        let database = self.lock();
        let sql = format!(
            "SELECT {COLUMNS} FROM files WHERE tenant = ?1 AND is_whole = 1 AND (expires IS NULL OR expires > ?2)
             AND (?3 IS NULL OR purpose = ?3) {}",
            page.tail(&database.connection, "files", "file", tenant)?
        );
        let mut statement = database.connection.prepare(&sql).map_err(failed)?;
        let rows = statement.query_map(params![tenant, now as i64, purpose], read).map_err(failed)?;
        Ok(page.cut(rows.collect::<Result<_, _>>().map_err(failed)?))
    }

    /// Deletes a file of the tenant's.
    ///
    /// Errors: `NotFound`; `Conflict`, when a batch or a tuning job reads it; `State`, when the database
    /// fails.
    pub(crate) fn delete_file(&self, tenant: &str, id: &str, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| {
            file(&change.transaction, (tenant, id), now)?;
            let sql = "SELECT count(*) FROM batches WHERE input = ?1 AND is_ended = 0";
            let readers: i64 = change.transaction.query_row(sql, [id], |row| row.get(0)).map_err(failed)?;
            if readers > 0 {
                let message = format!("a batch that has not ended reads the file {id:?}; cancel it first");
                return Err(ApiError::Conflict { message });
            }
            let sql =
                "SELECT count(*) FROM tuning_jobs WHERE (training = ?1 OR validation = ?1) AND is_ended = 0";
            let readers: i64 = change.transaction.query_row(sql, [id], |row| row.get(0)).map_err(failed)?;
            if readers > 0 {
                let message =
                    format!("a tuning job that has not ended reads the file {id:?}; cancel it first");
                return Err(ApiError::Conflict { message });
            }
            change.transaction.execute("DELETE FROM files WHERE id = ?1", [id]).map(|_| ()).map_err(failed)
        })
    }
}

impl Change<'_> {
    /// Begins a file, without content and hidden.
    pub(super) fn begin_file(&self, id: &str, tenant: &str) -> Result<(), ApiError> {
        let sql = "INSERT INTO files (id, tenant, bytes, created, name, purpose, is_whole)
                   VALUES (?1, ?2, 0, ?3, '', '', 0)";
        self.transaction.execute(sql, params![id, tenant, self.now as i64]).map(|_| ()).map_err(failed)
    }

    /// Adds a part to a file that is not whole.
    pub(super) fn add_part(&self, id: &str, number: u64, content: &[u8]) -> Result<(), ApiError> {
        let sql = "INSERT INTO file_parts (file, number, content, sum) VALUES (?1, ?2, ?3, ?4)";
        let values = params![id, number as i64, content, sum::sum(&[content])];
        self.transaction.execute(sql, values).map_err(failed)?;
        let sql = "UPDATE files SET bytes = bytes + ?2 WHERE id = ?1";
        self.transaction.execute(sql, params![id, content.len() as i64]).map(|_| ()).map_err(failed)
    }

    /// Says that a file that is written is of results, which are counted with their batch until it is whole.
    pub(super) fn is_of_results(&self, id: &str) -> Result<(), ApiError> {
        let sql = "UPDATE files SET purpose = 'batch_output' WHERE id = ?1";
        self.transaction.execute(sql, [id]).map(|_| ()).map_err(failed)
    }

    /// Shows a file that has all its parts.
    pub(super) fn finish_file(&self, file: &FileObject) -> Result<(), ApiError> {
        let sql = "UPDATE files SET name = ?2, purpose = ?3, expires = ?4, is_whole = 1 WHERE id = ?1";
        let expires = file.expires_at.map(|at| at as i64);
        let values = params![file.id, file.filename, file.purpose, expires];
        self.transaction.execute(sql, values).map(|_| ()).map_err(failed)
    }

    /// Looks whether the tenant's files, results and what is told of its tuning may have so many more bytes.
    pub(super) fn check_room(&self, tenant: &str, bytes: usize) -> Result<(), ApiError> {
        let sql = "SELECT (SELECT coalesce(sum(bytes), 0) FROM files WHERE tenant = ?1
                               AND NOT (is_whole = 0 AND purpose = 'batch_output'))
                        + (SELECT coalesce(sum(result_bytes), 0) FROM batches WHERE tenant = ?1)
                        + (SELECT coalesce(sum(told_bytes), 0) FROM tuning_jobs WHERE tenant = ?1)";
        let used: i64 = self.transaction.query_row(sql, [tenant], |row| row.get(0)).map_err(failed)?;
        let max = self.store.files.bytes_max;
        match used as u64 + bytes as u64 > max {
            true => Err(ApiError::FilesFull { what: format!("{used} of the {max} bytes it may have") }),
            false => Ok(()),
        }
    }
}

impl Page {
    /// The end of a query that reads one row more than the page has.
    ///
    /// Errors: `NotFound` for the id that it begins behind.
    pub(super) fn tail(
        &self,
        connection: &Connection,
        table: &str,
        what: &'static str,
        tenant: &str,
    ) -> Result<String, ApiError> {
        let (than, order) = if self.is_ascending { (">", "ASC") } else { ("<", "DESC") };
        let limit = self.limit + 1;
        let behind = match &self.after {
            None => "1".to_owned(),
            Some(id) => {
                let sql = format!("SELECT rowid FROM {table} WHERE id = ?1 AND tenant = ?2");
                let place: Option<i64> =
                    connection.query_row(&sql, [id, tenant], |row| row.get(0)).optional().map_err(failed)?;
                let place = place.ok_or_else(|| ApiError::NotFound { what, id: id.clone() })?;
                format!("rowid {than} {place}")
            }
        };
        Ok(format!("AND {behind} ORDER BY rowid {order} LIMIT {limit}"))
    }

    /// The page without the row more, and whether there was one.
    pub(super) fn cut<T>(&self, mut rows: Vec<T>) -> (Vec<T>, bool) {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        (rows, has_more)
    }
}

pub(super) fn file(
    connection: &Connection,
    (tenant, id): (&str, &str),
    now: u64,
) -> Result<FileObject, ApiError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM files
         WHERE tenant = ?1 AND id = ?2 AND is_whole = 1 AND (expires IS NULL OR expires > ?3)"
    );
    let found =
        connection.query_row(&sql, params![tenant, id, now as i64], read).optional().map_err(failed)?;
    found.ok_or_else(|| ApiError::NotFound { what: "file", id: id.to_owned() })
}

fn read(row: &Row<'_>) -> rusqlite::Result<FileObject> {
    Ok(FileObject {
        id: row.get(0)?,
        object: "file".to_owned(),
        bytes: row.get::<_, i64>(1)? as u64,
        created_at: row.get::<_, i64>(2)? as u64,
        expires_at: row.get::<_, Option<i64>>(3)?.map(|at| at as u64),
        filename: row.get(4)?,
        purpose: row.get(5)?,
        status: "processed".to_owned(),
        status_details: None,
    })
}
