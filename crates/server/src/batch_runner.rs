//! Batches on their way, from the looking through of their lines to their files.
//!
//! Each unfinished batch has a task, which does what the status in its row says until that is a last one. The
//! row and the results of lines are all that a task knows, so a server that was killed goes on where it was
//! ([`resume`]). Lines of all batches share a few places (`batch_tasks`) in turn.
//!
//! When the server stops, no line begins any more; those that run may end in the time of the drain, and what
//! does not is answered after the next start. A result that came of the engine's being aborted is never kept.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::batch_input::{InputLine, LineReader};
use crate::batch_line;
use crate::batch_tasks::LinePlace;
use crate::blocking::run_blocking;
use crate::governance::KeyEnded;
use crate::ids;
use crate::keys::Caller;
use crate::limits::BATCH_FILE_SECONDS;
use crate::state::{App, now};
use crate::store::batches::ResultRow;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use gptoss_api::ApiError;
use gptoss_api::batches::lines::{self, BatchLine, Validator};
use gptoss_api::batches::request::Endpoint;
use gptoss_api::batches::results;
use gptoss_api::files::expires_at;
use gptoss_api::limits::BATCH_ERRORS_MAX;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::batches::{Batch, BatchError, BatchErrors, BatchStatus};
use gptoss_api::wire::files::FileObject;
use tokio::time::Instant;

/// Bytes of a line besides its body.
const LINE_HEAD_BYTES_MAX: usize = 4 << 10;
/// Results of lines that were not answered that are kept in one transaction.
const EXPIRED_AT_ONCE: usize = 256;
/// The code of a batch that stopped because its key does not hold any more.
const KEY_ENDED: &str = "key_ended";
/// Before a task that the database failed tries again.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// What stands for a time beyond the clock's end.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Goes on with all batches that have not ended.
pub(crate) async fn resume(app: &Arc<App>) {
    match run_blocking(app, |app| app.store.unfinished_batches()).await {
        Ok(batches) => batches.into_iter().for_each(|(caller, id)| start(app, caller, id)),
        Err(error) => app.log.notice(&format!("batches do not go on: {error}")),
    }
}

/// Starts the task of a batch.
pub(crate) fn start(app: &Arc<App>, caller: Caller, id: String) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let task = Task { app, caller, id, deadline: OnceLock::new() };
        while !task.app.is_stopping() {
            match task.run().await {
                Ok(()) | Err(ApiError::NotFound { .. }) => return,
                // What is damaged is no better later.
                Err(error @ ApiError::Damaged { .. }) => {
                    task.app.log.notice(&format!("{} does not go on: {error}", task.id));
                    return;
                }
                // The database may have room again later.
                Err(error) => task.app.log.notice(&format!("{}: {error}", task.id)),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = task.app.stopping() => {}
            }
        }
    });
}

/// Why the answering of lines ended.
enum Pause {
    /// The row says what comes next.
    Row,
    /// The server stops.
    Stop,
}

/// A line that has a result, or was cut off without one; or whose key does not hold any more.
type Answered = (u64, Result<Option<(results::BatchResult, TokenUsage)>, KeyEnded>);

/// The task of a batch.
struct Task {
    app: Arc<App>,
    caller: Caller,
    id: String,
    /// When its time is up, by the processor's clock: the system's may jump, and takes no line with it.
    deadline: OnceLock<Instant>,
}

impl Task {
    /// Takes the batch to its end, or to where the server stops.
    ///
    /// Errors: the database's.
    async fn run(&self) -> Result<(), ApiError> {
        loop {
            let batch = self.row().await?;
            let status = batch.status;
            let step = match status {
                BatchStatus::Validating => self.validate(batch).await.map(|()| Pause::Row),
                BatchStatus::InProgress => self.answer(&batch).await,
                BatchStatus::Finalizing | BatchStatus::Cancelling => {
                    self.finish(batch).await.map(|()| Pause::Row)
                }
                BatchStatus::Failed
                | BatchStatus::Completed
                | BatchStatus::Expired
                | BatchStatus::Cancelled => return Ok(()),
            };
            match step {
                Ok(Pause::Row) => {}
                Ok(Pause::Stop) => return Ok(()),
                // Its input will be no better when it is read again.
                Err(error @ ApiError::Damaged { .. }) if status != BatchStatus::Finalizing => {
                    self.give_up(status, told(&error)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn row(&self) -> Result<Batch, ApiError> {
        let (tenant, id) = self.names();
        run_blocking(&self.app, move |app| app.store.batch(&tenant, &id)).await
    }

    /// Changes the row, unless it says something else than `from` by now.
    async fn change(
        &self,
        from: BatchStatus,
        edit: impl FnOnce(&mut Batch) + Send + 'static,
    ) -> Result<(), ApiError> {
        let (tenant, id) = self.names();
        run_blocking(&self.app, move |app| {
            let changed = app.store.change_batch(&tenant, &id, now(), |batch| {
                if batch.status == from {
                    edit(batch);
                }
                Ok(())
            });
            changed.map(|_| ())
        })
        .await
    }

    fn names(&self) -> (String, String) {
        (self.caller.tenant.clone(), self.id.clone())
    }

    fn reader(&self, batch: &Batch) -> LineReader {
        let max = self.app.limits.body_bytes_max + LINE_HEAD_BYTES_MAX;
        LineReader::new(&batch.input_file_id, max)
    }

    /// Looks through all lines.
    async fn validate(&self, batch: Batch) -> Result<(), ApiError> {
        let mut reader = self.reader(&batch);
        let endpoint = Endpoint::of(&batch.endpoint);
        let caller = self.caller.clone();
        let checked = run_blocking(&self.app, move |app| check(app, &caller, &mut reader, endpoint)).await?;
        self.change(BatchStatus::Validating, move |batch| match checked {
            Ok(num_lines) => {
                batch.request_counts.total = num_lines;
                batch.status = BatchStatus::InProgress;
                batch.in_progress_at = Some(now());
            }
            Err(data) => {
                batch.errors = Some(BatchErrors { object: "list".to_owned(), data });
                batch.status = BatchStatus::Failed;
                batch.failed_at = Some(now());
            }
        })
        .await
    }

    /// Answers the lines that have no result.
    async fn answer(&self, batch: &Batch) -> Result<Pause, ApiError> {
        let (app, tasks) = (&self.app, &self.app.batches);
        let id = self.id.clone();
        let done = run_blocking(app, move |app| app.store.result_numbers(&id)).await?;
        let mut unanswered = Unanswered { reader: self.reader(batch), done };
        let mut changed = tasks.watch_changes();
        let mut running: FuturesUnordered<BoxFuture<'_, Answered>> = FuturesUnordered::new();
        // A place is waited for across turns of the loop, so that it comes in turn.
        let mut place = self.place();
        let mut is_over = app.is_stopping();
        let left = Duration::from_secs(batch.expires_at.saturating_sub(now()));
        let deadline = *self.deadline.get_or_init(|| deadline(Instant::now(), left));
        // A cancel may have come before it was listened for.
        if self.row().await?.status != BatchStatus::InProgress {
            return Ok(Pause::Row);
        }
        while !(is_over && running.is_empty()) {
            if is_over {
                // Whoever stands in the line for a place and does not take it keeps the others from theirs.
                place = std::future::pending().boxed();
            }
            tokio::select! {
                biased;
                () = tasks.abandoned() => return Ok(Pause::Stop),
                _ = changed.changed() => {
                    if self.row().await?.status != BatchStatus::InProgress {
                        return Ok(Pause::Row);
                    }
                }
                Some(ended) = running.next(), if !running.is_empty() => {
                    if let Some(pause) = self.keep(ended).await? {
                        return Ok(pause);
                    }
                }
                () = time_is_up(deadline) => {
                    drop(running);
                    self.expire(batch).await?;
                    return Ok(Pause::Row);
                }
                () = app.stopping(), if !is_over => is_over = true,
                free = &mut place, if !is_over => {
                    let line;
                    (unanswered, line) = self.next(unanswered).await?;
                    match line {
                        Some((number, line)) => running.push(self.line(number, line, free).boxed()),
                        None => is_over = true,
                    }
                    place = self.place();
                }
            }
        }
        if app.is_stopping() {
            return Ok(Pause::Stop);
        }
        self.change(BatchStatus::InProgress, |batch| {
            batch.status = BatchStatus::Finalizing;
            batch.finalizing_at = Some(now());
        })
        .await?;
        Ok(Pause::Row)
    }

    /// A place for a line, when nobody waits for the engine.
    fn place(&self) -> BoxFuture<'_, LinePlace> {
        async move {
            let place = self.app.batches.place().await;
            batch_line::room(&self.app).await;
            place
        }
        .boxed()
    }

    async fn next(
        &self,
        mut unanswered: Unanswered,
    ) -> Result<(Unanswered, Option<(u64, BatchLine)>), ApiError> {
        run_blocking(&self.app, move |app| {
            let line = unanswered.next(app)?;
            Ok((unanswered, line))
        })
        .await
    }

    async fn line(&self, number: u64, line: BatchLine, place: LinePlace) -> Answered {
        let _running = place.run();
        (number, batch_line::answer(&self.app, &self.caller, &line).await)
    }

    /// Keeps the result of a line. What comes next, if it is not the next line.
    async fn keep(&self, (number, result): Answered) -> Result<Option<Pause>, ApiError> {
        // What the engine is made to end is no answer: the flag is raised before it is.
        if self.app.batches.is_abandoned() {
            return Ok(Some(Pause::Stop));
        }
        let (result, tokens) = match result {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Some(Pause::Stop)),
            Err(ended) => {
                self.give_up(BatchStatus::InProgress, self.key_ended(ended)).await?;
                return Ok(Some(Pause::Row));
            }
        };
        let row = ResultRow { number, is_answer: result.is_answer(), line: result.line, tokens };
        let (tenant, id) = self.names();
        let kept = run_blocking(&self.app, move |app| app.store.put_results(&tenant, &id, &[row], now()));
        match kept.await {
            Ok(()) => Ok(None),
            Err(error @ ApiError::FilesFull { .. }) => {
                self.give_up(BatchStatus::InProgress, told(&error)).await?;
                Ok(Some(Pause::Row))
            }
            Err(error) => Err(error),
        }
    }

    /// What a batch is told whose key does not hold any more.
    fn key_ended(&self, ended: KeyEnded) -> BatchError {
        let key = match &self.caller.key_id {
            Some(id) => format!("the key {id}, which made this batch,"),
            None => format!("every key of {}, which made this batch,", self.caller.tenant),
        };
        let message = format!("{key} {ended}: the lines that were answered before are in the output file");
        BatchError { code: KEY_ENDED.to_owned(), line: None, message, param: None }
    }

    /// The batch's input cannot be read, its results cannot be kept, or its key does not hold any more: what
    /// there is becomes its files.
    async fn give_up(&self, from: BatchStatus, error: BatchError) -> Result<(), ApiError> {
        self.change(from, move |batch| {
            batch.errors = Some(BatchErrors { object: "list".to_owned(), data: vec![error] });
            batch.status = BatchStatus::Finalizing;
            batch.finalizing_at = Some(now());
        })
        .await
    }

    /// The time is up: lines without a result get one that says so.
    async fn expire(&self, batch: &Batch) -> Result<(), ApiError> {
        let (tenant, id) = self.names();
        let reader = self.reader(batch);
        let kept = run_blocking(&self.app, move |app| {
            let mut unanswered = Unanswered { reader, done: app.store.result_numbers(&id)? };
            let mut rows = Vec::new();
            loop {
                let next = unanswered.next(app)?;
                let is_over = next.is_none();
                rows.extend(next.map(|(number, line)| ResultRow {
                    number,
                    is_answer: false,
                    line: results::expired(&ids::random("batch_req"), &line.custom_id),
                    tokens: TokenUsage::default(),
                }));
                if rows.len() >= EXPIRED_AT_ONCE || is_over {
                    app.store.put_results(&tenant, &id, &rows, now())?;
                    rows.clear();
                }
                if is_over {
                    return Ok(());
                }
            }
        });
        match kept.await {
            // That the time is up stands in the row all the same.
            Ok(()) | Err(ApiError::FilesFull { .. }) => {}
            Err(error) => return Err(error),
        }
        self.change(BatchStatus::InProgress, |batch| {
            batch.status = BatchStatus::Finalizing;
            (batch.finalizing_at, batch.expired_at) = (Some(now()), Some(now()));
        })
        .await
    }

    /// Writes the files and says how it ended.
    async fn finish(&self, batch: Batch) -> Result<(), ApiError> {
        let tenant = self.caller.tenant.clone();
        let ended = run_blocking(&self.app, move |app| finish(app, &tenant, batch)).await?;
        let counts = ended.request_counts;
        self.app.log.notice(&format!(
            "{}: {:?}, {} of {} lines answered, {} failed",
            self.id, ended.status, counts.completed, counts.total, counts.failed
        ));
        Ok(())
    }
}

/// What fails a batch, in its own words.
fn told(error: &ApiError) -> BatchError {
    let code = error.row().code.unwrap_or_default().to_owned();
    BatchError { code, line: None, message: error.to_string(), param: None }
}

/// When the time is up: a row may say more than the clock has.
fn deadline(now: Instant, left: Duration) -> Instant {
    now.checked_add(left).unwrap_or(now + FOREVER)
}

/// Waits as long as there is time, and not at all when there is none: a sleep of nothing ends later than it
/// is asked, and a line would begin meanwhile.
async fn time_is_up(deadline: Instant) {
    if Instant::now() < deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

/// The lines of a batch that have no result, one after another.
struct Unanswered {
    reader: LineReader,
    done: HashSet<u64>,
}

impl Unanswered {
    fn next(&mut self, app: &App) -> Result<Option<(u64, BatchLine)>, ApiError> {
        while let Some(InputLine::Whole(number, line)) = self.reader.next(&app.store)? {
            if lines::is_blank(&line) || self.done.contains(&number) {
                continue;
            }
            // It was looked through, and a file does not change.
            if let Ok(line) = lines::parse(&line, None) {
                return Ok(Some((number, line)));
            }
        }
        Ok(None)
    }
}

/// Looks through the lines of a batch: how many they are, or the first of what is wrong with them.
///
/// Errors: the database's.
fn check(
    app: &App,
    caller: &Caller,
    reader: &mut LineReader,
    endpoint: Option<Endpoint>,
) -> Result<Result<u64, Vec<BatchError>>, ApiError> {
    let (mut validator, mut wrong) = (Validator::default(), Vec::new());
    let of_file = |code: &str, line: Option<u64>, message: String| BatchError {
        code: code.to_owned(),
        line,
        message,
        param: None,
    };
    while let Some(line) = reader.next(&app.store)? {
        let checked = match &line {
            InputLine::Whole(number, line) => {
                let knows = |name: Option<&str>| app.model(caller, name).is_ok();
                validator.check(line, *number, endpoint, &knows).map(|_| ())
            }
            InputLine::TooLong(number) => {
                let max = app.limits.body_bytes_max;
                let message = format!("the line is longer than {max} bytes, the most of a body (--max-body)");
                Err(of_file("line_too_long", Some(*number), message))
            }
        };
        let is_last = matches!(&checked, Err(error) if error.code == "too_many_lines");
        wrong.extend(checked.err());
        if is_last || wrong.len() >= BATCH_ERRORS_MAX {
            break;
        }
    }
    if wrong.is_empty() && validator.num_lines == 0 {
        wrong.push(of_file("empty_file", None, "there is no request in the input file".to_owned()));
    }
    Ok(if wrong.is_empty() { Ok(validator.num_lines) } else { Err(wrong) })
}

/// Writes the files of a batch whose lines are through, and ends it.
fn finish(app: &App, tenant: &str, batch: Batch) -> Result<Batch, ApiError> {
    let mut made = Vec::new();
    let ended = end(app, tenant, batch, &mut made);
    if ended.is_err() {
        // It is tried again under new ids. What cannot be deleted now is at the next start.
        made.iter().for_each(|id| drop(app.store.drop_file(id, now())));
    }
    ended
}

/// As `finish`; `made` are the files that were begun.
fn end(app: &App, tenant: &str, mut batch: Batch, made: &mut Vec<String>) -> Result<Batch, ApiError> {
    let (mut files, mut damaged) = (Vec::new(), Vec::new());
    let mut write = |is_answer: bool| -> Result<Option<String>, ApiError> {
        let id = ids::random("file");
        made.push(id.clone());
        let of = (tenant, batch.id.as_str());
        let written = app.store.write_results(of, (&id, is_answer), now(), &mut damaged)?;
        let Some(bytes) = written else { return Ok(None) };
        let said = batch.output_expires_after.as_ref();
        let end = if is_answer { "output" } else { "error" };
        files.push(FileObject {
            id: id.clone(),
            object: "file".to_owned(),
            bytes,
            created_at: now(),
            expires_at: expires_at(said, "output_expires_after", now(), Some(BATCH_FILE_SECONDS))?,
            filename: format!("{}_{end}.jsonl", batch.id),
            purpose: "batch_output".to_owned(),
            status: "processed".to_owned(),
            status_details: None,
        });
        Ok(Some(id))
    };
    let (output, error) = (write(true)?, write(false)?);
    let time = Some(now());
    (batch.output_file_id, batch.error_file_id) = (output, error);
    if !damaged.is_empty() && batch.errors.is_none() {
        let data = damaged.into_iter().take(BATCH_ERRORS_MAX).map(|number| BatchError {
            code: "stored_data_damaged".to_owned(),
            line: Some(number),
            message: "the line's result is damaged in the server's database: its checksum is another"
                .to_owned(),
            param: None,
        });
        batch.errors = Some(BatchErrors { object: "list".to_owned(), data: data.collect() });
    }
    match (batch.status, &batch.errors, batch.expired_at) {
        (BatchStatus::Cancelling, ..) => {
            (batch.status, batch.cancelled_at) = (BatchStatus::Cancelled, time);
        }
        (_, Some(_), _) => (batch.status, batch.failed_at) = (BatchStatus::Failed, time),
        (_, None, Some(_)) => (batch.status, batch.expired_at) = (BatchStatus::Expired, time),
        (_, None, None) => (batch.status, batch.completed_at) = (BatchStatus::Completed, time),
    }
    app.store.end_batch(tenant, &batch, &files, now())?;
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row that a disk had changed took the task with it.
    #[test]
    fn a_time_beyond_the_clock_is_far_away() {
        let now = Instant::now();
        assert_eq!(deadline(now, Duration::from_secs(5)), now + Duration::from_secs(5));
        assert_eq!(deadline(now, Duration::from_secs(u64::MAX)), now + FOREVER);
    }
}
