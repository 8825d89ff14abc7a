//! Tuning jobs: a row each, what happened to them, and the models that came of them.
//!
//! What a change of a job does besides, an event, a checkpoint, a model that can be asked for, a file, is in
//! the same transaction. A step that is told twice, because the server was killed behind it, is kept once.
//! Models are rows of their own: they stay when their job has gone.

use gptoss_api::ApiError;
use gptoss_api::wire::files::FileObject;
use gptoss_api::wire::fine_tuning::{TuningCheckpoint, TuningEvent, TuningJob, TuningMetrics, TuningStatus};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{Page, file};
use super::{Change, Store, failed, json, parse, sum};
use crate::limits::{FILE_PART_BYTES, TUNING_JOBS_MAX};

/// Steps that are read at a time.
const STEPS_READ: i64 = 256;
const EVENTS: &str = "tuning_events";
const CHECKPOINTS: &str = "tuning_checkpoints";

/// A job, with what clients do not see of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JobRow {
    /// As clients see it.
    pub(crate) job: TuningJob,
    /// Examples of its training file; None before that has been looked through.
    pub(crate) num_examples: Option<u64>,
}

/// A model that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TunedModel {
    /// The name to ask for.
    pub(crate) name: String,
    /// The model that it was tuned from.
    pub(crate) base: String,
    /// The job that it came of.
    pub(crate) job: String,
    /// Its folder among the job's adapters.
    pub(crate) adapter: String,
    /// Units: seconds since 1970.
    pub(crate) created: u64,
}

/// What a change of a job does besides.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Something happened.
    Event(TuningEvent),
    /// A model on the way is there, with the event that says so; a second time it is nothing.
    Checkpoint(Box<(TuningCheckpoint, TuningEvent, TunedModel)>),
    /// A model can be asked for.
    Model(TunedModel),
    /// A file that is written is shown.
    File(FileObject),
}

/// Which jobs a list has.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFilter {
    /// Pairs that their metadata has.
    pub(crate) pairs: Vec<(String, String)>,
    /// Whether only those without metadata are meant.
    pub(crate) has_none: bool,
}

impl Store {
    /// Keeps a new job of the tenant's.
    ///
    /// Errors: `NotFound` for its files; `Invalid`, when one is for something else; `Busy`, when the tenant
    /// has as many unfinished ones as it may; `State`, when the database fails.
    pub(crate) fn begin_job(
        &self,
        tenant: &str,
        row: &JobRow,
        event: TuningEvent,
        now: u64,
    ) -> Result<(), ApiError> {
        self.change(now, |change| {
            let job = &row.job;
            let training = Some(("training_file", &job.training_file));
            let validation = job.validation_file.as_ref().map(|id| ("validation_file", id));
            for (param, id) in training.into_iter().chain(validation) {
                if file(&change.transaction, (tenant, id), now)?.purpose != "fine-tune" {
                    let message =
                        format!("the purpose of {param} is not fine-tune; upload it with purpose fine-tune");
                    return Err(ApiError::invalid(param, message));
                }
            }
            let sql = "SELECT count(*) FROM tuning_jobs WHERE tenant = ?1 AND is_ended = 0";
            let count: i64 = change.transaction.query_row(sql, [tenant], |row| row.get(0)).map_err(failed)?;
            if count as usize >= TUNING_JOBS_MAX {
                let what = format!("{count} tuning jobs of this key's tenant have not ended");
                return Err(ApiError::Busy { what, retry_seconds: 60 });
            }
            let sql = "INSERT INTO tuning_jobs
                (id, tenant, training, validation, status, is_ended, told_bytes, body, sum)
                VALUES (?1, ?2, ?3, ?4, '', 0, 0, '', x'')";
            let values = params![job.id, tenant, job.training_file, job.validation_file];
            change.transaction.execute(sql, values).map_err(failed)?;
            change.write_job(row)?;
            change.do_besides(tenant, &job.id, Effect::Event(event))?;
            // The oldest of those that have ended leave, as stored responses do.
            let sql = "DELETE FROM tuning_jobs WHERE id IN (SELECT id FROM tuning_jobs
                WHERE tenant = ?1 AND is_ended = 1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)";
            let kept = params![tenant, self.retention.rows_max as i64];
            change.transaction.execute(sql, kept).map(|_| ()).map_err(failed)
        })
    }

    /// A job of the tenant's.
    ///
    /// Errors: `NotFound`; `Damaged`; `State`, when the database fails.
    pub(crate) fn job(&self, tenant: &str, id: &str) -> Result<JobRow, ApiError> {
        job(&self.lock().connection, tenant, id)
    }

    /// One page of the tenant's jobs, and whether there are more.
    ///
    /// Errors: `NotFound` for the id that it begins behind; `Damaged`, when one of the page is; `State`, when
    /// the database fails.
    pub(crate) fn list_jobs(
        &self,
        tenant: &str,
        filter: &JobFilter,
        page: &Page,
    ) -> Result<(Vec<TuningJob>, bool), ApiError> {
        let database = self.lock();
        let mut sql = "SELECT id, body, sum FROM tuning_jobs WHERE tenant = ?1".to_owned();
        let mut values = vec![tenant.to_owned()];
        for (key, value) in &filter.pairs {
            let at = values.len();
            sql.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM json_each(body, '$.job.metadata')
                              WHERE key = ?{} AND value = ?{})",
                at + 1,
                at + 2
            ));
            values.extend([key.clone(), value.clone()]);
        }
        if filter.has_none {
            sql.push_str(
                " AND NOT EXISTS (SELECT 1 FROM json_each(body, '$.job.metadata') WHERE key IS NOT NULL)",
            );
        }
        let tail = page.tail(&database.connection, "tuning_jobs", "tuning job", tenant)?;
        let mut statement = database.connection.prepare(&format!("{sql} {tail}")).map_err(failed)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), written).map_err(failed)?;
        let jobs = rows.map(|row| whole::<JobRow>(row.map_err(failed)?, "tuning job").map(|row| row.job));
        Ok(page.cut(jobs.collect::<Result<_, _>>()?))
    }

    /// The jobs with a status, the oldest first, each with its tenant.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn jobs_with(&self, status: TuningStatus) -> Result<Vec<(String, String)>, ApiError> {
        let database = self.lock();
        let sql = "SELECT tenant, id FROM tuning_jobs WHERE status = ?1 ORDER BY rowid";
        let mut statement = database.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map([status.word()], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    /// Changes a job as `edit` says, with what it does besides, in one transaction.
    ///
    /// Errors: `NotFound`; those of `edit`; `FilesFull`, when a step has no room; `State`, when the database
    /// fails.
    pub(crate) fn change_job(
        &self,
        tenant: &str,
        id: &str,
        now: u64,
        edit: impl FnOnce(&mut JobRow) -> Result<Vec<Effect>, ApiError>,
    ) -> Result<JobRow, ApiError> {
        self.change(now, |change| {
            let mut found = job(&change.transaction, tenant, id)?;
            let effects = edit(&mut found)?;
            for effect in effects {
                change.do_besides(tenant, id, effect)?;
            }
            change.write_job(&found)?;
            Ok(found)
        })
    }

    /// One page of a job's events, and whether there are more.
    ///
    /// Errors: `NotFound` for the job, or for the id that it begins behind; `Damaged`; `State`.
    pub(crate) fn job_events(
        &self,
        tenant: &str,
        id: &str,
        page: &Page,
    ) -> Result<(Vec<TuningEvent>, bool), ApiError> {
        self.told_of_job((EVENTS, "event"), tenant, id, page)
    }

    /// One page of a job's checkpoints, and whether there are more.
    ///
    /// Errors: as [`Store::job_events`].
    pub(crate) fn job_checkpoints(
        &self,
        tenant: &str,
        id: &str,
        page: &Page,
    ) -> Result<(Vec<TuningCheckpoint>, bool), ApiError> {
        self.told_of_job((CHECKPOINTS, "checkpoint"), tenant, id, page)
    }

    fn told_of_job<T: DeserializeOwned>(
        &self,
        (table, what): (&str, &'static str),
        tenant: &str,
        id: &str,
        page: &Page,
    ) -> Result<(Vec<T>, bool), ApiError> {
        let database = self.lock();
        job(&database.connection, tenant, id)?;
        let tail = page.tail(&database.connection, table, what, tenant)?;
        let sql = format!("SELECT id, body, sum FROM {table} WHERE job = ?1 {tail}");
        let mut statement = database.connection.prepare(&sql).map_err(failed)?;
        let rows = statement.query_map([id], written).map_err(failed)?;
        let told = rows.map(|row| whole(row.map_err(failed)?, what));
        Ok(page.cut(told.collect::<Result<_, _>>()?))
    }

    /// Writes the numbers of a job's steps into a file that is hidden, each as `line` says, behind `head`;
    /// how long it became. Those that are damaged are left out.
    ///
    /// Errors: `FilesFull`; `State`, when the database fails.
    pub(crate) fn write_steps(
        &self,
        (tenant, id): (&str, &str),
        file: &str,
        (head, line): (&str, fn(&TuningMetrics) -> String),
        now: u64,
    ) -> Result<u64, ApiError> {
        self.change(now, |change| change.begin_file(file, tenant))?;
        let (mut last, mut number, mut bytes) = (-1, 0, 0);
        let mut part = head.to_owned();
        loop {
            let steps = self.steps_behind(id, last)?;
            let is_over = steps.is_empty();
            for (step, metrics) in steps {
                last = step;
                part.push_str(&metrics.as_ref().map(line).unwrap_or_default());
            }
            if part.len() >= FILE_PART_BYTES || is_over {
                self.add_part(file, tenant, (number, part.as_bytes()), now)?;
                bytes += part.len() as u64;
                number += 1;
                part.clear();
            }
            if is_over {
                return Ok(bytes);
            }
        }
    }

    fn steps_behind(&self, id: &str, last: i64) -> Result<Vec<(i64, Option<TuningMetrics>)>, ApiError> {
        let database = self.lock();
        let sql = "SELECT id, body, sum, step FROM tuning_events
                   WHERE job = ?1 AND step > ?2 ORDER BY step LIMIT ?3";
        let mut statement = database.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params![id, last, STEPS_READ], |row| Ok((written(row)?, row.get(3)?)));
        let steps = rows.map_err(failed)?.map(|row| {
            let (written, step) = row.map_err(failed)?;
            let event = whole::<TuningEvent>(written, "event").ok();
            Ok((step, event.and_then(|event| event.data)))
        });
        steps.collect()
    }

    /// All tuned models, each with its tenant, the oldest first. One that is damaged is not there.
    ///
    /// Errors: `State`, when the database fails.
    pub(crate) fn tuned_models(&self) -> Result<Vec<(String, TunedModel)>, ApiError> {
        let database = self.lock();
        let sql = "SELECT id, body, sum, tenant FROM tuned_models ORDER BY rowid";
        let mut statement = database.connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((written(row)?, row.get(3)?))).map_err(failed)?;
        let rows = rows.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let whole = |(row, tenant)| Some((tenant, whole(row, "model").ok()?));
        Ok(rows.into_iter().filter_map(whole).collect())
    }

    /// A tuned model of the tenant's, if there is one of the name.
    ///
    /// Errors: `Damaged`; `State`, when the database fails.
    pub(crate) fn tuned_model(&self, tenant: &str, name: &str) -> Result<Option<TunedModel>, ApiError> {
        tuned_model(&self.lock().connection, tenant, name)
    }

    /// Deletes a tuned model of the tenant's; what it was, if it was there.
    ///
    /// Errors: `Damaged`; `State`, when the database fails.
    pub(crate) fn delete_tuned_model(
        &self,
        tenant: &str,
        name: &str,
        now: u64,
    ) -> Result<Option<TunedModel>, ApiError> {
        self.change(now, |change| {
            let found = tuned_model(&change.transaction, tenant, name)?;
            let sql = "DELETE FROM tuned_models WHERE id = ?1 AND tenant = ?2";
            change.transaction.execute(sql, params![name, tenant]).map_err(failed)?;
            Ok(found)
        })
    }
}

impl Change<'_> {
    fn write_job(&self, row: &JobRow) -> Result<(), ApiError> {
        let body = json(row)?;
        let sum = sum::sum(&[body.as_bytes()]);
        let sql = "UPDATE tuning_jobs SET status = ?2, is_ended = ?3, body = ?4, sum = ?5 WHERE id = ?1";
        let status = row.job.status;
        let values = params![row.job.id, status.word(), status.has_ended(), body, sum];
        self.transaction.execute(sql, values).map(|_| ()).map_err(failed)
    }

    fn do_besides(&self, tenant: &str, id: &str, effect: Effect) -> Result<(), ApiError> {
        match effect {
            Effect::Event(event) => {
                let step = event.data.map(|metrics| metrics.step);
                self.tell(EVENTS, (tenant, id), (&event.id, step, &json(&event)?)).map(|_| ())
            }
            Effect::Checkpoint(made) => {
                let (checkpoint, event, model) = *made;
                let step = Some(checkpoint.step_number);
                if self.tell(CHECKPOINTS, (tenant, id), (&checkpoint.id, step, &json(&checkpoint)?))? {
                    self.do_besides(tenant, id, Effect::Event(event))?;
                    self.do_besides(tenant, id, Effect::Model(model))?;
                }
                Ok(())
            }
            Effect::Model(model) => {
                let body = json(&model)?;
                let sum = sum::sum(&[body.as_bytes()]);
                let sql =
                    "INSERT OR IGNORE INTO tuned_models (id, tenant, body, sum) VALUES (?1, ?2, ?3, ?4)";
                let values = params![model.name, tenant, body, sum];
                self.transaction.execute(sql, values).map(|_| ()).map_err(failed)
            }
            Effect::File(file) => self.finish_file(&file),
        }
    }

    /// Keeps an event or a checkpoint, once for a step; whether it is new. What comes of steps is bounded by
    /// the tenant's bytes.
    fn tell(
        &self,
        table: &str,
        (tenant, job): (&str, &str),
        (id, step, body): (&str, Option<u64>, &str),
    ) -> Result<bool, ApiError> {
        if step.is_some() {
            self.check_room(tenant, body.len())?;
        }
        let sql = format!(
            "INSERT OR IGNORE INTO {table} (id, tenant, job, step, body, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        );
        let sum = sum::sum(&[body.as_bytes()]);
        let values = params![id, tenant, job, step.map(|step| step as i64), body, sum];
        let is_new = self.transaction.execute(&sql, values).map_err(failed)? > 0;
        if is_new {
            let sql = "UPDATE tuning_jobs SET told_bytes = told_bytes + ?2 WHERE id = ?1";
            self.transaction.execute(sql, params![job, body.len() as i64]).map_err(failed)?;
        }
        Ok(is_new)
    }
}

fn job(connection: &Connection, tenant: &str, id: &str) -> Result<JobRow, ApiError> {
    let sql = "SELECT id, body, sum FROM tuning_jobs WHERE id = ?1 AND tenant = ?2";
    let found = connection.query_row(sql, [id, tenant], written).optional().map_err(failed)?;
    whole(found.ok_or_else(|| ApiError::NotFound { what: "tuning job", id: id.to_owned() })?, "tuning job")
}

fn tuned_model(connection: &Connection, tenant: &str, name: &str) -> Result<Option<TunedModel>, ApiError> {
    let sql = "SELECT id, body, sum FROM tuned_models WHERE id = ?1 AND tenant = ?2";
    let found = connection.query_row(sql, [name, tenant], written).optional().map_err(failed)?;
    found.map(|found| whole(found, "model")).transpose()
}

/// A row as it is found: its id, its value and the checksum of that.
type Written = (String, String, Vec<u8>);

fn written(row: &Row<'_>) -> rusqlite::Result<Written> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// The value, if it is as it was written.
fn whole<T: DeserializeOwned>((id, body, stored): Written, what: &'static str) -> Result<T, ApiError> {
    sum::check(Some(&stored), &[body.as_bytes()], (what, &id))?;
    parse(&body)
}

#[cfg(test)]
mod tests {
    use gptoss_api::fine_tuning::request::{NewJob, job as new_job};
    use gptoss_api::fine_tuning::results;
    use gptoss_api::fine_tuning::words::{stepped, told};
    use gptoss_api::wire::fine_tuning::{TuningLevel, TuningRequest};

    use super::*;
    use crate::limits::Limits;

    const STEP: TuningMetrics = TuningMetrics {
        step: 1,
        train_loss: Some(0.5),
        train_mean_token_accuracy: None,
        valid_loss: None,
        valid_mean_token_accuracy: None,
        full_valid_loss: None,
        full_valid_mean_token_accuracy: None,
    };

    fn event(id: &str) -> TuningEvent {
        told(id.to_owned(), 1, TuningLevel::Info, "said")
    }

    fn begun(store: &Store) -> JobRow {
        store.begin_file("in", "a", 1).unwrap();
        let file = FileObject {
            id: "in".into(),
            object: "file".into(),
            bytes: 0,
            created_at: 1,
            expires_at: Some(5),
            filename: "f".into(),
            purpose: "fine-tune".into(),
            status: "processed".into(),
            status_details: None,
        };
        store.finish_file(&file, 1).unwrap();
        let request = TuningRequest { training_file: Some("in".into()), ..TuningRequest::default() };
        let new = NewJob { id: "job".into(), model: "m".into(), organization: "a".into(), seed: 1, now: 1 };
        let row = JobRow { job: new_job(request, new).unwrap(), num_examples: None };
        store.begin_job("a", &row, event("begun"), 1).unwrap();
        row
    }

    #[test]
    fn what_is_not_as_it_was_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(Some(folder.path()), &Limits::default()).unwrap();
        let change = |sql: &str| {
            let other = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
            other.execute_batch(sql).unwrap();
        };
        let store = open();
        begun(&store);
        let model = TunedModel {
            name: "ft:m".into(),
            base: "m".into(),
            job: "job".into(),
            adapter: "x".into(),
            created: 1,
        };
        let effects = vec![Effect::Event(stepped("s".into(), 1, STEP, 2)), Effect::Model(model.clone())];
        store.change_job("a", "job", 1, |_| Ok(effects)).unwrap();
        drop(store);
        let page = Page { after: None, limit: 9, is_ascending: false };
        let is_damaged = |found: Result<(), ApiError>| matches!(found, Err(ApiError::Damaged { .. }));
        change("UPDATE tuning_jobs SET body = replace(body, '\"seed\":1', '\"seed\":2')");
        assert!(is_damaged(open().job("a", "job").map(|_| ())));
        assert!(is_damaged(open().list_jobs("a", &JobFilter::default(), &page).map(|_| ())));
        change("UPDATE tuning_jobs SET body = replace(body, '\"seed\":2', '\"seed\":1')");
        assert!(open().job("a", "job").is_ok());
        change("UPDATE tuning_events SET body = replace(body, '0.5', '0.4')");
        assert!(is_damaged(open().job_events("a", "job", &page).map(|_| ())));
        let written = || {
            let store = open();
            store.write_steps(("a", "job"), "out", (results::HEAD, results::line), 1).unwrap();
            String::from_utf8(store.part("out", 0).unwrap().unwrap()).unwrap()
        };
        assert_eq!(written(), results::HEAD, "a damaged step is left out");
        change("UPDATE tuning_events SET body = replace(body, '0.4', '0.5')");
        assert_eq!(written(), format!("{}1,0.5,,,\n", results::HEAD));
        assert_eq!(open().tuned_model("a", "ft:m").unwrap(), Some(model));
        change("UPDATE tuned_models SET body = replace(body, '\"x\"', '\"y\"')");
        assert!(is_damaged(open().tuned_model("a", "ft:m").map(|_| ())));
        assert_eq!(open().tuned_models().unwrap(), []);
    }

    /// A step that was told before a kill is told again behind it.
    #[test]
    fn a_step_is_kept_once_and_a_deleted_checkpoint_does_not_come_back() {
        let store = Store::open(None, &Limits::default()).unwrap();
        let row = begun(&store);
        let made = gptoss_api::fine_tuning::words::checkpoint("c".into(), 1, &row.job, STEP);
        let name = made.fine_tuned_model_checkpoint.clone();
        let model = TunedModel {
            name: name.clone(),
            base: "m".into(),
            job: "job".into(),
            adapter: "x".into(),
            created: 1,
        };
        let tell = |id: &str| {
            let made = TuningCheckpoint { id: format!("c-{id}"), ..made.clone() };
            let effects = vec![
                Effect::Event(stepped(id.to_owned(), 1, STEP, 2)),
                Effect::Checkpoint(Box::new((made, event(&format!("e-{id}")), model.clone()))),
            ];
            store.change_job("a", "job", 1, |_| Ok(effects)).unwrap();
        };
        tell("one");
        assert!(store.delete_tuned_model("a", &name, 1).unwrap().is_some());
        tell("two");
        let page = Page { after: None, limit: 9, is_ascending: true };
        let (events, _) = store.job_events("a", "job", &page).unwrap();
        let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, ["begun", "one", "e-one"]);
        assert_eq!(store.tuned_model("a", &name).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_read_stays() {
        let store = Store::open(None, &Limits::default()).unwrap();
        begun(&store);
        let deleted = store.delete_file("a", "in", 1).unwrap_err();
        assert!(matches!(deleted, ApiError::Conflict { .. }), "{deleted}");
        store
            .change_job("a", "job", 1, |row| {
                row.job.status = TuningStatus::Cancelled;
                Ok(Vec::new())
            })
            .unwrap();
        store.delete_file("a", "in", 1).unwrap();
    }

    /// Version 5 knew nothing of tuning.
    #[test]
    fn a_database_of_version_5_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(Some(folder.path()), &Limits::default()).unwrap();
        drop(open());
        let old = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
        old.execute_batch(
            "DROP TABLE tuning_events; DROP TABLE tuning_checkpoints; DROP TABLE tuning_jobs; DROP TABLE tuned_models;
             ALTER TABLE batch_results DROP COLUMN sum; ALTER TABLE batches DROP COLUMN key_id;
             ALTER TABLE rows DROP COLUMN label; ALTER TABLE files DROP COLUMN label;
             PRAGMA user_version = 5;",
        )
        .unwrap();
        drop(old);
        begun(&open());
        assert_eq!(
            open().jobs_with(TuningStatus::ValidatingFiles).unwrap(),
            [("a".to_owned(), "job".to_owned())]
        );
    }
}
