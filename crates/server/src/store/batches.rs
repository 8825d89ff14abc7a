//! Batches: a row each, and the results of their lines until they are files.
//!
//! A line's result and the count of it are one transaction, by the line's number, and so are the files of a
//! batch that has ended, its last status and the deletion of its results. So a batch whose server was killed
//! goes on at the lines without a result, and no line stands in a file twice.

use std::collections::HashSet;

use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::batches::Batch;
use gptoss_api::wire::files::FileObject;
use gptoss_govern::Scope;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::files::{Page, file};
use super::{Change, Store, failed, json, parse, sum};
use crate::keys::Caller;
use crate::limits::FILE_PART_BYTES;
use crate::scope::Scopes;

/// The result of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultRow {
    /// The line's number in the input, from 1.
    pub(crate) number: u64,
    /// Whether it goes into the output and not among the errors.
    pub(crate) is_answer: bool,
    /// The line, without its end.
    pub(crate) line: String,
    /// What it took.
    pub(crate) tokens: TokenUsage,
}

/// What of a batch's row its checksum covers besides the object: what its key may ask and see.
const RIGHTS: &str = "visibility || ' ' || coalesce(reasoning_max, '') || ' ' || may_use_tokens";

/// Results that are read at a time.
const RESULTS_READ: i64 = 256;

impl Store {
    /// Keeps a new batch of the caller's.
    ///
    /// Errors: `NotFound` for its input; `Invalid`, when that is for something else; `Busy`, when the tenant
    /// has as many unfinished ones as it may; `State`, when the database fails.
    pub(crate) fn begin_batch(&self, caller: &Caller, batch: &Batch, now: u64) -> Result<(), ApiError> {
        self.change(now, |change| {
            let input = file(&change.transaction, (&caller.tenant, &batch.input_file_id), now)?;
            if input.purpose != "batch" {
                let message = "the input file's purpose is not batch; upload it with purpose batch";
                return Err(ApiError::invalid("input_file_id", message));
            }
            let sql = "SELECT count(*) FROM batches WHERE tenant = ?1 AND is_ended = 0";
            let count: i64 =
                change.transaction.query_row(sql, [&caller.tenant], |row| row.get(0)).map_err(failed)?;
            if count as usize >= self.files.batches_max {
                let what = format!("{count} batches of this key's tenant have not ended");
                return Err(ApiError::Busy { what, retry_seconds: 60 });
            }
            let values = params![
                batch.id,
                caller.tenant,
                caller.visibility.name(),
                caller.reasoning_max,
                caller.may_use_tokens,
                batch.created_at as i64,
                batch.input_file_id,
                json(batch)?,
                caller.key_id
            ];
            let sql = "INSERT INTO batches
                (id, tenant, visibility, reasoning_max, may_use_tokens, created, input, is_ended, result_bytes, body, key_id)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, ?9)";
            change.transaction.execute(sql, values).map_err(failed)?;
            change.write_batch(batch)?;
            // The oldest of those that have ended leave, as stored responses do.
            let sql = "DELETE FROM batches WHERE id IN (SELECT id FROM batches
                WHERE tenant = ?1 AND is_ended = 1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)";
            let kept = params![caller.tenant, self.retention.rows_max as i64];
            change.transaction.execute(sql, kept).map(|_| ()).map_err(failed)
        })
    }

    /// A batch of the tenant's.
    ///
    /// Errors: `NotFound`; `Damaged`; `State`, when the database fails.
    pub(crate) fn batch(&self, tenant: &str, id: &str) -> Result<Batch, ApiError> {
        batch(&self.lock().connection, tenant, id)
    }

    /// One page of the tenant's batches, and whether there are more.
    ///
    /// Errors: `NotFound` for the id that it begins behind; `Damaged`, when one of the page is; `State`, when
    /// the database fails.
    pub(crate) fn list_batches(&self, tenant: &str, page: &Page) -> Result<(Vec<Batch>, bool), ApiError> {
        let database = self.lock();
        let tail = page.tail(&database.connection, "batches", "batch", tenant)?;
        let sql = format!("SELECT id, body, {RIGHTS}, sum FROM batches WHERE tenant = ?1 {tail}");
        let mut statement = database.connection.prepare(&sql).map_err(failed)?;
        let rows = statement.query_map([tenant], written).map_err(failed)?;
        let batches = rows.map(|row| whole(row.map_err(failed)?)).collect::<Result<_, _>>()?;
        Ok(page.cut(batches))
    }

    /// What the keys of a file's reader must be allowed to see of the reasoning, if it holds results: all of
    /// it, when the batch is not known any more.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn results_visibility(&self, tenant: &str, file: &str) -> Result<Visibility, ApiError> {
        let sql = "SELECT visibility FROM batches WHERE tenant = ?1 AND
            (json_extract(body, '$.output_file_id') = ?2 OR json_extract(body, '$.error_file_id') = ?2)";
        let database = self.lock();
        let found = database.connection.query_row(sql, [tenant, file], |row| row.get::<_, String>(0));
        let word = found.optional().map_err(failed)?;
        Ok(word.and_then(|word| Visibility::from_name(&word)).unwrap_or(Visibility::Raw))
    }

    /// All batches that have not ended, the oldest first, with whoever made them.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn unfinished_batches(&self) -> Result<Vec<(Caller, String)>, ApiError> {
        let database = self.lock();
        let sql = "SELECT tenant, visibility, reasoning_max, may_use_tokens, id, key_id
            FROM batches WHERE is_ended = 0 ORDER BY rowid";
        let mut statement = database.connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([], |row| {
            let may_use_tokens: bool = row.get(3)?;
            let scopes = Scopes::all();
            let caller = Caller {
                tenant: row.get(0)?,
                visibility: Visibility::from_name(&row.get::<_, String>(1)?).unwrap_or(Visibility::Hidden),
                reasoning_max: row.get(2)?,
                may_use_tokens,
                scopes: if may_use_tokens { scopes } else { scopes.without(Scope::RawReasoning) },
                is_background: true,
                stays: false,
                key_id: row.get(5)?,
                pass: None,
                bill: None,
            };
            Ok((caller, row.get(4)?))
        });
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    /// Changes a batch as `edit` says, in one transaction.
    ///
    /// Errors: `NotFound`; those of `edit`; `State`, when the database fails.
    pub(crate) fn change_batch(
        &self,
        tenant: &str,
        id: &str,
        now: u64,
        edit: impl FnOnce(&mut Batch) -> Result<(), ApiError>,
    ) -> Result<Batch, ApiError> {
        self.change(now, |change| {
            let mut found = batch(&change.transaction, tenant, id)?;
            edit(&mut found)?;
            change.write_batch(&found)?;
            Ok(found)
        })
    }

    /// Keeps results of lines and counts them; of a line that has one already, nothing.
    ///
    /// Errors: `FilesFull`, when the tenant's bytes are used up; `NotFound`; `State`, when the database
    /// fails.
    pub(crate) fn put_results(
        &self,
        tenant: &str,
        id: &str,
        results: &[ResultRow],
        now: u64,
    ) -> Result<(), ApiError> {
        let asked = results.iter().map(|result| result.line.len() + 1).sum();
        self.change(now, |change| {
            let mut found = batch(&change.transaction, tenant, id)?;
            change.check_room(tenant, asked)?;
            let mut bytes = 0;
            for result in results {
                let sql = "INSERT OR IGNORE INTO batch_results (batch, number, is_answer, line, sum)
                           VALUES (?1, ?2, ?3, ?4, ?5)";
                let number = result.number as i64;
                let sum = result_sum(number, result.is_answer, &result.line);
                let values = params![id, number, result.is_answer, result.line, sum];
                if change.transaction.execute(sql, values).map_err(failed)? == 0 {
                    continue;
                }
                bytes += result.line.len() + 1;
                let counts = &mut found.request_counts;
                *(if result.is_answer { &mut counts.completed } else { &mut counts.failed }) += 1;
                let more = result.tokens.response_usage();
                let usage = &mut found.usage;
                usage.input_tokens += more.input_tokens;
                usage.input_tokens_details.cached_tokens += more.input_tokens_details.cached_tokens;
                usage.output_tokens += more.output_tokens;
                usage.output_tokens_details.reasoning_tokens += more.output_tokens_details.reasoning_tokens;
                usage.total_tokens += more.total_tokens;
            }
            let sql = "UPDATE batches SET result_bytes = result_bytes + ?2 WHERE id = ?1";
            change.transaction.execute(sql, params![id, bytes as i64]).map_err(failed)?;
            change.write_batch(&found)
        })
    }

    /// The numbers of the lines that have a result.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn result_numbers(&self, id: &str) -> Result<HashSet<u64>, ApiError> {
        let database = self.lock();
        let sql = "SELECT number FROM batch_results WHERE batch = ?1";
        let mut statement = database.connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([id], |row| row.get::<_, i64>(0)).map_err(failed)?;
        rows.map(|number| Ok(number.map_err(failed)? as u64)).collect()
    }

    /// Writes the results of a batch into a file that is hidden, in the order of the lines; None, when there
    /// are none. Lines whose results are not as they were written are left out and named in `damaged`.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn write_results(
        &self,
        (tenant, id): (&str, &str),
        (file, is_answer): (&str, bool),
        now: u64,
        damaged: &mut Vec<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let (mut last, mut number, mut bytes) = (0, 0, 0);
        let mut part: Vec<u8> = Vec::new();
        loop {
            let lines = self.results_behind(id, is_answer, last)?;
            let is_over = lines.is_empty();
            for (number, line) in lines {
                last = number;
                match line {
                    Some(line) => {
                        part.extend_from_slice(line.as_bytes());
                        part.push(b'\n');
                    }
                    None => damaged.push(number as u64),
                }
            }
            if part.len() >= FILE_PART_BYTES || (is_over && !part.is_empty()) {
                // The results have been counted among the tenant's bytes.
                self.change(now, |change| {
                    if number == 0 {
                        change.begin_file(file, tenant)?;
                        change.is_of_results(file)?;
                    }
                    change.add_part(file, number, &part)
                })?;
                bytes += part.len() as u64;
                number += 1;
                part.clear();
            }
            if is_over {
                return Ok((number > 0).then_some(bytes));
            }
        }
    }

    /// The results behind the line `last`; None is one that is not as it was written.
    fn results_behind(
        &self,
        id: &str,
        is_answer: bool,
        last: i64,
    ) -> Result<Vec<(i64, Option<String>)>, ApiError> {
        let database = self.lock();
        let sql = "SELECT number, line, sum FROM batch_results
                   WHERE batch = ?1 AND is_answer = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
        let mut statement = database.connection.prepare_cached(sql).map_err(failed)?;
        let of = params![id, is_answer, last, RESULTS_READ];
        let rows = statement.query_map(of, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for row in rows.map_err(failed)? {
            let (number, line, stored): (i64, String, Option<Vec<u8>>) = row.map_err(failed)?;
            let is_whole = stored.is_none_or(|stored| stored == result_sum(number, is_answer, &line));
            bytes += line.len();
            lines.push((number, is_whole.then_some(line)));
            if bytes >= FILE_PART_BYTES {
                break;
            }
        }
        Ok(lines)
    }

    /// Ends a batch: shows its files and deletes its results, in one transaction.
    ///
    /// Errors: `NotFound`; `State`, when the database fails.
    pub(crate) fn end_batch(
        &self,
        tenant: &str,
        ended: &Batch,
        files: &[FileObject],
        now: u64,
    ) -> Result<(), ApiError> {
        self.change(now, |change| {
            batch(&change.transaction, tenant, &ended.id)?;
            for file in files {
                change.finish_file(file)?;
            }
            let delete = "DELETE FROM batch_results WHERE batch = ?1";
            change.transaction.execute(delete, [&ended.id]).map_err(failed)?;
            change
                .transaction
                .execute("UPDATE batches SET result_bytes = 0 WHERE id = ?1", [&ended.id])
                .map_err(failed)?;
            change.write_batch(ended)
        })
    }
}

impl Change<'_> {
    fn write_batch(&self, batch: &Batch) -> Result<(), ApiError> {
        let sql = format!("SELECT {RIGHTS} FROM batches WHERE id = ?1");
        let rights = self.transaction.query_row(&sql, [&batch.id], |row| row.get::<_, String>(0));
        let (rights, body) = (rights.map_err(failed)?, json(batch)?);
        let sum = sum::sum(&[body.as_bytes(), rights.as_bytes()]);
        let sql = "UPDATE batches SET is_ended = ?2, body = ?3, sum = ?4 WHERE id = ?1";
        let values = params![batch.id, batch.status.has_ended(), body, sum];
        self.transaction.execute(sql, values).map(|_| ()).map_err(failed)
    }
}

fn batch(connection: &Connection, tenant: &str, id: &str) -> Result<Batch, ApiError> {
    let sql = format!("SELECT id, body, {RIGHTS}, sum FROM batches WHERE id = ?1 AND tenant = ?2");
    let found = connection.query_row(&sql, [id, tenant], written).optional().map_err(failed)?;
    whole(found.ok_or_else(|| ApiError::NotFound { what: "batch", id: id.to_owned() })?)
}

/// The checksum of a line's result, with what it is the result of.
fn result_sum(number: i64, is_answer: bool, line: &str) -> [u8; 32] {
    sum::sum(&[&number.to_le_bytes(), &[u8::from(is_answer)], line.as_bytes()])
}

/// The row of a batch as it is found: its id, its object, its rights and their checksum.
type Written = (String, String, String, Option<Vec<u8>>);

fn written(row: &Row<'_>) -> rusqlite::Result<Written> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// The batch, if it is as it was written.
fn whole((id, body, rights, stored): Written) -> Result<Batch, ApiError> {
    sum::check(stored.as_deref(), &[body.as_bytes(), rights.as_bytes()], ("batch", &id))?;
    parse(&body)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gptoss_api::batches::request;
    use gptoss_api::wire::batches::{BatchRequest, BatchStatus};

    use super::*;
    use crate::limits::Limits;

    fn open(folder: &Path) -> Store {
        Store::open(Some(folder), &Limits::default()).unwrap()
    }

    fn file(id: &str, bytes: u64) -> FileObject {
        FileObject {
            id: id.into(),
            object: "file".into(),
            bytes,
            created_at: 1,
            expires_at: None,
            filename: "f".into(),
            purpose: "batch".into(),
            status: "processed".into(),
            status_details: None,
        }
    }

    fn batch(store: &Store) -> Batch {
        store.begin_file("in", "local", 1).unwrap();
        store.add_part("in", "local", (0, b"1\n2\n3\n"), 1).unwrap();
        store.finish_file(&file("in", 6), 1).unwrap();
        let request = BatchRequest {
            input_file_id: Some("in".into()),
            endpoint: Some("/v1/responses".into()),
            completion_window: Some("24h".into()),
            ..BatchRequest::default()
        };
        let batch = request::batch(request, "b".into(), "m".into(), 1).unwrap();
        store.begin_batch(&Caller::local(), &batch, 1).unwrap();
        batch
    }

    fn result(number: u64, line: &str) -> ResultRow {
        let tokens = TokenUsage { prompt: 1, completion: 2, ..TokenUsage::default() };
        ResultRow { number, is_answer: number != 2, line: line.into(), tokens }
    }

    fn text(store: &Store, file: &str) -> String {
        let parts = (0..).map_while(|number| store.part(file, number).unwrap());
        String::from_utf8(parts.flatten().collect()).unwrap()
    }

    /// What the files of a database are at some moment is what a kill at that moment leaves.
    fn killed(folder: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    #[test]
    fn a_kill_at_any_moment_leaves_every_result_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut made = batch(&store);
        let numbers = |store: &Store| {
            let mut numbers: Vec<u64> = store.result_numbers("b").unwrap().into_iter().collect();
            numbers.sort_unstable();
            numbers
        };
        // Between lines.
        store.put_results("local", "b", &[result(3, "three")], 1).unwrap();
        let copy = killed(folder.path());
        let after = open(copy.path());
        assert_eq!(
            after.unfinished_batches().unwrap(),
            [(Caller { is_background: true, ..Caller::local() }, "b".to_owned())]
        );
        assert_eq!(numbers(&after), [3]);
        after.put_results("local", "b", &[result(3, "again"), result(1, "one")], 1).unwrap();
        let counts = after.batch("local", "b").unwrap().request_counts;
        assert_eq!((counts.completed, counts.failed), (2, 0), "a line counts once");
        assert_eq!(after.batch("local", "b").unwrap().usage.total_tokens, 6);
        assert_eq!(after.write_results(("local", "b"), ("out", true), 1, &mut vec![]).unwrap(), Some(10));
        assert_eq!(text(&after, "out"), "one\nthree\n");
        // While its files are written.
        store.put_results("local", "b", &[result(1, "one"), result(2, "two")], 1).unwrap();
        store.write_results(("local", "b"), ("out", true), 1, &mut vec![]).unwrap();
        let copy = killed(folder.path());
        let after = open(copy.path());
        assert_eq!((numbers(&after).len(), text(&after, "out").as_str()), (3, ""), "half a file is none");
        assert_eq!(after.write_results(("local", "b"), ("out", true), 1, &mut vec![]).unwrap(), Some(10));
        // When it has ended.
        store.write_results(("local", "b"), ("errors", false), 1, &mut vec![]).unwrap();
        (made.status, made.output_file_id) = (BatchStatus::Completed, Some("out".into()));
        store.end_batch("local", &made, &[file("out", 10), file("errors", 4)], 1).unwrap();
        let copy = killed(folder.path());
        let after = open(copy.path());
        assert_eq!(
            (text(&after, "out").as_str(), text(&after, "errors").as_str()),
            ("one\nthree\n", "two\n")
        );
        assert!(after.unfinished_batches().unwrap().is_empty() && numbers(&after).is_empty());
        assert_eq!(after.batch("local", "b").unwrap().status, BatchStatus::Completed);
    }

    /// The tables of version 2 had neither files nor batches.
    #[test]
    fn a_database_of_version_2_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        let old = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
        old.execute_batch(
            "DROP TABLE file_parts; DROP TABLE files; DROP TABLE batch_results; DROP TABLE batches;
             DROP TABLE tuning_events; DROP TABLE tuning_checkpoints; DROP TABLE tuning_jobs; DROP TABLE tuned_models;
             ALTER TABLE rows DROP COLUMN sum; ALTER TABLE items DROP COLUMN sum; ALTER TABLE rows DROP COLUMN label; PRAGMA user_version = 2;",
        )
        .unwrap();
        drop(old);
        batch(&open(folder.path()));
        assert_eq!(open(folder.path()).unfinished_batches().unwrap().len(), 1);
    }

    /// A disk that changed a batch changed what its client was told of it.
    #[test]
    fn a_batch_that_is_not_as_it_was_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let change = |sql: &str| {
            let other = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
            other.execute_batch(sql).unwrap();
        };
        let check = |damage: &str, repair: &str| {
            change(damage);
            let store = open(folder.path());
            let damaged = ApiError::Damaged { what: "batch", id: "b".to_owned() };
            assert_eq!(store.batch("local", "b").unwrap_err(), damaged, "{damage}");
            let page = Page { after: None, limit: 9, is_ascending: false };
            assert_eq!(store.list_batches("local", &page).unwrap_err(), damaged);
            assert_eq!(store.put_results("local", "b", &[result(1, "one")], 1).unwrap_err(), damaged);
            drop(store);
            change(repair);
            assert!(open(folder.path()).batch("local", "b").is_ok(), "{repair}");
        };
        let store = open(folder.path());
        batch(&store);
        let edit = |batch: &mut Batch| {
            batch.status = BatchStatus::InProgress;
            Ok(())
        };
        store.change_batch("local", "b", 1, edit).unwrap();
        drop(store);
        let swap =
            |old: &str, new: &str| format!("UPDATE batches SET body = replace(body, '{old}', '{new}')");
        check(&swap("in_progress", "in_pro9ress"), &swap("in_pro9ress", "in_progress"));
        check(&swap("\"total\":0", "\"total\":1"), &swap("\"total\":1", "\"total\":0"));
        let rights = |value: u8| format!("UPDATE batches SET reasoning_max = {value}");
        check(&rights(7), "UPDATE batches SET reasoning_max = NULL");
        // Batches of before version 5 have none, until they are written again.
        change(&rights(7));
        change(
            "ALTER TABLE batches DROP COLUMN sum; ALTER TABLE batch_results DROP COLUMN sum;
             DROP TABLE tuning_events; DROP TABLE tuning_checkpoints; DROP TABLE tuning_jobs; DROP TABLE tuned_models;
             ALTER TABLE batches DROP COLUMN key_id; ALTER TABLE rows DROP COLUMN label; ALTER TABLE files DROP COLUMN label;
             PRAGMA user_version = 4;",
        );
        let store = open(folder.path());
        assert_eq!(store.batch("local", "b").unwrap().status, BatchStatus::InProgress);
        store.put_results("local", "b", &[result(1, "one")], 1).unwrap();
        drop(store);
        check(&rights(8), &rights(7));
    }

    /// A disk that changed a result changed an answer without anybody's knowing.
    #[test]
    fn a_result_that_is_not_as_it_was_written_is_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let change = |sql: &str| {
            let other = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
            other.execute_batch(sql).unwrap();
        };
        let store = open(folder.path());
        batch(&store);
        store
            .put_results("local", "b", &[result(1, "one"), result(2, "two"), result(3, "three")], 1)
            .unwrap();
        drop(store);
        let written = || {
            let (store, mut damaged) = (open(folder.path()), Vec::new());
            for (file, is_answer) in [("out", true), ("errors", false)] {
                store.write_results(("local", "b"), (file, is_answer), 1, &mut damaged).unwrap();
            }
            (text(&store, "out"), text(&store, "errors"), damaged)
        };
        let expect =
            |out: &str, errors: &str, damaged: &[u64]| (out.to_owned(), errors.to_owned(), damaged.to_vec());
        assert_eq!(written(), expect("one\nthree\n", "two\n", &[]));
        change("UPDATE batch_results SET line = 'tree' WHERE number = 3");
        assert_eq!(written(), expect("one\n", "two\n", &[3]));
        change("UPDATE batch_results SET is_answer = 1 WHERE number = 2");
        assert_eq!(written(), expect("one\n", "", &[2, 3]));
        // Those of before version 6 have none.
        change("UPDATE batch_results SET sum = NULL");
        assert_eq!(written(), expect("one\ntwo\ntree\n", "", &[]));
    }

    #[test]
    fn bytes_of_results_count_until_they_are_files() {
        let limits = Limits { files_bytes_max: Some(16), ..Limits::default() };
        let store = Store::open(None, &limits).unwrap();
        batch(&store);
        store.put_results("local", "b", &[result(1, "123456789")], 1).unwrap();
        let full = store.put_results("local", "b", &[result(3, "")], 1).unwrap_err();
        assert!(matches!(full, ApiError::FilesFull { .. }), "{full}");
        assert_eq!(store.result_numbers("b").unwrap().len(), 1);
    }
}
