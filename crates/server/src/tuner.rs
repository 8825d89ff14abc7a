//! Tuning jobs on their way, from the looking through of their files to the tuned model.
//!
//! Two tasks take the jobs whose rows say that it is their turn, the oldest first: one looks through files,
//! one has the runner train, a job at a time. The rows are all that they know, so a server that was killed
//! goes on where it was; the runner's own state lies in the job's folder. Training gives way to requests: it
//! does nothing while a turn runs. Whoever pauses or cancels a job changes its row and has the runner stop.

use std::collections::HashSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gptoss_api::ApiError;
use gptoss_api::fine_tuning::{hyperparameters, results, words};
use gptoss_api::wire::files::FileObject;
use gptoss_api::wire::fine_tuning::{
    TuningError, TuningEvent, TuningJob, TuningLevel, TuningMethod, TuningStatus,
};

use crate::blocking::run_blocking;
use crate::ids;
use crate::limits::TUNING_PROBLEMS_TOLD_MAX;
use crate::state::{App, now};
use crate::store::tuning::{Effect, JobRow, TunedModel};
use crate::training::{
    DataFile, DataReport, TrainingData, TrainingEnd, TrainingMethod, TrainingOrder, TrainingReport,
    TrainingSeat, TrainingTurn,
};
use crate::tuning::{Current, Tuning, make_folder};

/// Before a task that the database failed tries again.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Goes on with all jobs that have not ended, and takes those that come, if anybody trains.
pub(crate) async fn start(app: &Arc<App>) {
    if app.tuning.is_some() {
        match run_blocking(app, |app| app.store.tuned_models()).await {
            Ok(models) => models.iter().for_each(|(tenant, model)| know(app, tenant, model)),
            Err(error) => app.log.notice(&format!("tuned models are not served: {error}")),
        }
        for stage in [Stage::Files, Stage::Training] {
            tokio::spawn(take_jobs(Arc::clone(app), stage));
        }
    }
}

/// Has requests of its tenant find a model.
fn know(app: &App, tenant: &str, model: &TunedModel) {
    let Some(tuning) = &app.tuning else { return };
    let folder = tuning.adapters(&model.job).join(&model.adapter);
    if !app.models.add_tuned(tenant, (&model.name, &model.base), folder, model.created) {
        app.log.notice(&format!("{} is not served: its base {} is not", model.name, model.base));
    }
}

/// Has requests find the models that a change makes, before anybody is told of them.
fn know_new(app: &App, tenant: &str, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Checkpoint(made) => know(app, tenant, &made.2),
            Effect::Model(model) => know(app, tenant, model),
            Effect::Event(_) | Effect::File(_) => {}
        }
    }
}

/// Has requests not find a model that the change did not make: told again, and deleted meanwhile.
fn forget_unmade(app: &App, tenant: &str, name: &str) -> Result<(), ApiError> {
    if app.store.tuned_model(tenant, name)?.is_none() {
        app.models.remove_tuned(tenant, name);
    }
    Ok(())
}

/// An event without numbers, of now.
pub(crate) fn event(level: TuningLevel, message: impl Into<String>) -> TuningEvent {
    words::told(ids::random_dashed("ftevent"), now(), level, message)
}

/// Deletes what a training needed that has ended.
pub(crate) fn clear(app: &App, id: &str) {
    let Some(tuning) = &app.tuning else { return };
    match std::fs::remove_dir_all(tuning.work(id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            app.log.notice(&format!("{id}: its folder cannot be deleted: {error}"));
        }
        _ => {}
    }
}

/// What a task does.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Files,
    Training,
}

impl Stage {
    /// Jobs whose turn it is, the most urgent first: a job that was trained goes on.
    fn statuses(self) -> &'static [TuningStatus] {
        match self {
            Stage::Files => &[TuningStatus::ValidatingFiles],
            Stage::Training => &[TuningStatus::Running, TuningStatus::Queued],
        }
    }
}

/// Takes jobs until the server stops.
async fn take_jobs(app: Arc<App>, stage: Stage) {
    let Some(tuning) = &app.tuning else { return };
    let mut changed = tuning.watch_changes();
    let mut lost = HashSet::new();
    while !app.is_stopping() {
        changed.mark_unchanged();
        let error = match next(&app, stage, &lost).await {
            Ok(None) => {
                tokio::select! {
                    _ = changed.changed() => {}
                    () = app.stopping() => {}
                }
                continue;
            }
            Ok(Some(job)) => match job.run(stage).await {
                Ok(()) | Err(ApiError::NotFound { .. }) => continue,
                // What is damaged is no better later.
                Err(error @ ApiError::Damaged { .. }) => {
                    app.log.notice(&format!("{} does not go on: {error}", job.id));
                    lost.insert(job.id);
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        // The database may have room again later.
        app.log.notice(&format!("tuning: {error}"));
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            () = app.stopping() => {}
        }
    }
}

/// The job whose turn it is.
async fn next(app: &Arc<App>, stage: Stage, lost: &HashSet<String>) -> Result<Option<Job>, ApiError> {
    for &status in stage.statuses() {
        let found = run_blocking(app, move |app| app.store.jobs_with(status)).await?;
        if let Some((tenant, id)) = found.into_iter().find(|(_, id)| !lost.contains(id)) {
            return Ok(Some(Job { app: Arc::clone(app), tenant, id }));
        }
    }
    Ok(None)
}

/// A job in a task's hands.
struct Job {
    app: Arc<App>,
    tenant: String,
    id: String,
}

impl Job {
    async fn run(&self, stage: Stage) -> Result<(), ApiError> {
        let Some(tuning) = &self.app.tuning else { return Ok(()) };
        match stage {
            Stage::Files => {
                self.check().await?;
                tuning.have_changed();
                Ok(())
            }
            Stage::Training => {
                let current = tuning.begin(&self.id);
                let trained = self.train(current).await;
                tuning.end();
                trained
            }
        }
    }

    /// Changes the row, unless it says something else than `from` by now.
    async fn change(
        &self,
        from: TuningStatus,
        edit: impl FnOnce(&mut JobRow) -> Vec<Effect> + Send + 'static,
    ) -> Result<JobRow, ApiError> {
        let (tenant, id) = (self.tenant.clone(), self.id.clone());
        run_blocking(&self.app, move |app| {
            app.store.change_job(&tenant, &id, now(), |row| {
                Ok(if row.job.status == from { edit(row) } else { Vec::new() })
            })
        })
        .await
    }

    /// Looks through the files.
    async fn check(&self) -> Result<(), ApiError> {
        let begun = self.change(TuningStatus::ValidatingFiles, |row| {
            let TuningJob { training_file, validation_file, .. } = &row.job;
            let validation = validation_file.as_ref().map(|id| format!(" and validation file: {id}"));
            let message =
                format!("Validating training file: {training_file}{}", validation.unwrap_or_default());
            vec![Effect::Event(event(TuningLevel::Info, message))]
        });
        let job = begun.await?.job;
        let checked = run_blocking(&self.app, move |app| Ok(check(app, &job))).await?;
        let row = self.change(TuningStatus::ValidatingFiles, move |row| judge(row, checked)).await?;
        self.clear_if_ended(&row).await
    }

    /// Has the runner train, to the end or until it is stopped.
    async fn train(&self, current: Current) -> Result<(), ApiError> {
        let begun = self.change(TuningStatus::Queued, |row| {
            row.job.status = TuningStatus::Running;
            vec![Effect::Event(event(TuningLevel::Info, "Fine-tuning job started"))]
        });
        let row = begun.await?;
        if row.job.status != TuningStatus::Running {
            return self.clear_if_ended(&row).await;
        }
        let problem = Arc::new(Mutex::new(None));
        let seat = self.seat(current, &problem);
        let (tenant, job) = (self.tenant.clone(), row.job);
        let num_examples = row.num_examples.unwrap_or_default();
        let end =
            run_blocking(&self.app, move |app| Ok(train(app, &tenant, &job, num_examples, &seat))).await?;
        let problem = problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        let end = match problem {
            None => end,
            // Nothing more of it can be kept.
            Some(error @ ApiError::FilesFull { .. }) => TrainingEnd::Failed { message: error.to_string() },
            Some(error) => return Err(error),
        };
        let row = self.settle(end).await?;
        self.clear_if_ended(&row).await
    }

    async fn clear_if_ended(&self, row: &JobRow) -> Result<(), ApiError> {
        if !row.job.status.has_ended() {
            return Ok(());
        }
        let id = self.id.clone();
        run_blocking(&self.app, move |app| {
            clear(app, &id);
            Ok(())
        })
        .await
    }

    /// Where the runner sits. What cannot be kept stops it, and is left in `problem`.
    fn seat(&self, current: Current, problem: &Arc<Mutex<Option<ApiError>>>) -> TrainingSeat {
        let app = Arc::clone(&self.app);
        let stop = current.clone();
        let turn = move || {
            if stop.is_stopped() || app.is_stopping() {
                TrainingTurn::Stop
            } else if app.metrics.running.load(Ordering::Relaxed) > 0 {
                TrainingTurn::GiveWay
            } else {
                TrainingTurn::Go
            }
        };
        let (app, tenant, id) = (Arc::clone(&self.app), self.tenant.clone(), self.id.clone());
        let (problem, pace) = (Arc::clone(problem), Mutex::new(None));
        let tell = move |report: TrainingReport| {
            let mut made = None;
            let kept = app.store.change_job(&tenant, &id, now(), |row| {
                // What comes of a job that was cancelled meanwhile is not told any more.
                if row.job.status.has_ended() {
                    return Ok(Vec::new());
                }
                let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                let effects = told(row, report, &mut pace);
                made = effects.iter().find_map(|effect| match effect {
                    Effect::Checkpoint(made) => Some(made.2.name.clone()),
                    Effect::Event(_) | Effect::Model(_) | Effect::File(_) => None,
                });
                know_new(&app, &tenant, &effects);
                Ok(effects)
            });
            // Of a change that failed too: the model was known before anything was written.
            let undone = made.map_or(Ok(()), |name| forget_unmade(&app, &tenant, &name));
            if let Err(error) = kept.and(undone) {
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                current.stop();
            }
        };
        TrainingSeat::new(turn, tell)
    }

    /// Writes down how the training ended.
    async fn settle(&self, end: TrainingEnd) -> Result<JobRow, ApiError> {
        let end = match end {
            TrainingEnd::Stopped => {
                let (tenant, id) = (self.tenant.clone(), self.id.clone());
                let row = run_blocking(&self.app, move |app| app.store.job(&tenant, &id)).await?;
                if row.job.status != TuningStatus::Running || self.app.is_stopping() {
                    return Ok(row);
                }
                TrainingEnd::Failed { message: "the training broke off without a reason".to_owned() }
            }
            end => end,
        };
        let (tenant, id) = (self.tenant.clone(), self.id.clone());
        let file = run_blocking(&self.app, move |app| steps_file(app, &tenant, &id)).await?;
        let written = file.as_ref().map(|file| file.id.clone());
        let (app, tenant) = (Arc::clone(&self.app), self.tenant.clone());
        let row = self.change(TuningStatus::Running, move |row| {
            let effects = ended(row, end, file);
            know_new(&app, &tenant, &effects);
            effects
        });
        let row = row.await?;
        // Hidden still, if somebody has paused or cancelled the job meanwhile: then it is nobody's.
        if let Some(id) = written {
            run_blocking(&self.app, move |app| app.store.drop_file(&id, now())).await?;
        }
        let TuningJob { status, error, .. } = &row.job;
        let why = error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
        self.app.log.notice(&format!("{}: {}{why}", self.id, status.word()));
        Ok(row)
    }
}

/// What a report changes in a job's row, and what it does besides; `pace` is when the first step of this
/// sitting was told, and which it was.
fn told(row: &mut JobRow, report: TrainingReport, pace: &mut Option<(Instant, u64)>) -> Vec<Effect> {
    match report {
        TrainingReport::Step { metrics, num_steps } => {
            let (since, first) = *pace.get_or_insert((Instant::now(), metrics.step));
            let taken = metrics.step.saturating_sub(first);
            if taken > 0 && row.job.status == TuningStatus::Running {
                let left = num_steps.saturating_sub(metrics.step) as f64;
                let seconds = since.elapsed().as_secs_f64() / taken as f64 * left;
                row.job.estimated_finish = Some(now().saturating_add(seconds as u64));
            }
            let id = ids::random_dashed("ftevent");
            vec![Effect::Event(words::stepped(id, now(), metrics, num_steps))]
        }
        TrainingReport::Checkpoint { metrics, adapter } => {
            let made = words::checkpoint(ids::random("ftckpt"), now(), &row.job, metrics);
            let model = model(&row.job, made.fine_tuned_model_checkpoint.clone(), adapter);
            let message = format!("Checkpoint created at step {}", metrics.step);
            vec![Effect::Checkpoint(Box::new((made, event(TuningLevel::Info, message), model)))]
        }
        TrainingReport::Note { is_warning, message } => {
            let level = if is_warning { TuningLevel::Warn } else { TuningLevel::Info };
            vec![Effect::Event(event(level, message))]
        }
    }
}

fn model(job: &TuningJob, name: String, adapter: String) -> TunedModel {
    TunedModel { name, base: job.model.clone(), job: job.id.clone(), adapter, created: now() }
}

/// The row of a job whose training has ended, and what it does besides.
fn ended(row: &mut JobRow, end: TrainingEnd, file: Option<FileObject>) -> Vec<Effect> {
    let job = &mut row.job;
    job.result_files = file.iter().map(|file| file.id.clone()).collect();
    let effects = match end {
        TrainingEnd::Finished { adapter, trained_tokens } => {
            let name = words::tuned_name(job);
            job.trained_tokens = Some(trained_tokens);
            job.fine_tuned_model = Some(name.clone());
            close(job, TuningStatus::Succeeded);
            vec![
                Effect::Model(model(job, name.clone(), adapter)),
                Effect::Event(event(TuningLevel::Info, format!("New fine-tuned model created: {name}"))),
                Effect::Event(event(TuningLevel::Info, "The job has successfully completed")),
            ]
        }
        TrainingEnd::Failed { message } => fail(job, "training_failed", None, message),
        // Whoever settles has made a failure of it.
        TrainingEnd::Stopped => Vec::new(),
    };
    file.map(Effect::File).into_iter().chain(effects).collect()
}

/// A job that changes no more.
pub(crate) fn close(job: &mut TuningJob, status: TuningStatus) {
    (job.status, job.finished_at, job.estimated_finish) = (status, Some(now()), None);
}

fn fail(job: &mut TuningJob, code: &str, param: Option<&str>, message: String) -> Vec<Effect> {
    let told = event(TuningLevel::Error, format!("The job failed: {message}"));
    job.error = Some(TuningError { code: code.to_owned(), message, param: param.map(str::to_owned) });
    close(job, TuningStatus::Failed);
    vec![Effect::Event(told)]
}

impl DataFile {
    fn param(self) -> &'static str {
        match self {
            DataFile::Training => "training_file",
            DataFile::Validation => "validation_file",
        }
    }
}

/// What comes of a job whose files were looked through: a place in the queue, or its end.
fn judge(row: &mut JobRow, checked: Result<DataReport, String>) -> Vec<Effect> {
    let job = &mut row.job;
    let report = match checked {
        Ok(report) => report,
        Err(message) => return fail(job, "validation_failed", None, message),
    };
    let DataReport { num_examples, num_validation_examples, problems } = report;
    let place = |file: DataFile, line: usize| format!("{}, line {line}", file.param());
    let mut effects: Vec<Effect> = Vec::new();
    for problem in problems.iter().take(TUNING_PROBLEMS_TOLD_MAX) {
        let level = if problem.is_wrong { TuningLevel::Error } else { TuningLevel::Warn };
        let message = format!("{}: {}", place(problem.file, problem.line), problem.why);
        effects.push(Effect::Event(event(level, message)));
    }
    let untold = problems.len().saturating_sub(TUNING_PROBLEMS_TOLD_MAX);
    if untold > 0 {
        effects.push(Effect::Event(event(TuningLevel::Warn, format!("{untold} more rows are left out"))));
    }
    let is_empty = |file: DataFile| match file {
        DataFile::Training => num_examples == 0,
        DataFile::Validation => job.validation_file.is_some() && num_validation_examples == 0,
    };
    let wrong = [DataFile::Training, DataFile::Validation].into_iter().find_map(|file| {
        let mut wrong = problems.iter().filter(|problem| problem.file == file && problem.is_wrong);
        let first = wrong.next().map(|problem| {
            let more = wrong.count();
            let more = if more > 0 {
                format!(" ({more} more lines are wrong: see the events)")
            } else {
                String::new()
            };
            format!("line {}: {}{more}", problem.line, problem.why)
        });
        let nothing = || is_empty(file).then(|| "nothing can be learned of it: no row is left".to_owned());
        first.or_else(nothing).map(|message| (file, message))
    });
    if let Some((file, message)) = wrong {
        effects.extend(fail(job, &format!("invalid_{}", file.param()), Some(file.param()), message));
        return effects;
    }
    // They were checked when the job was made.
    let numbers = match hyperparameters::resolved(&job.hyperparameters, num_examples) {
        Ok(numbers) => numbers.written(),
        Err(error) => return fail(job, "invalid_hyperparameters", None, error.to_string()),
    };
    job.method = TuningMethod::of(numbers.clone());
    job.hyperparameters = numbers;
    job.status = TuningStatus::Queued;
    row.num_examples = Some(num_examples);
    effects.push(Effect::Event(event(TuningLevel::Info, "Files validated, moving job to queued state")));
    effects
}

/// Has the runner look through a job's files.
fn check(app: &App, job: &TuningJob) -> Result<DataReport, String> {
    let Some(tuning) = &app.tuning else { return Ok(DataReport::default()) };
    let data = data(app, tuning, job)?;
    let checked = catch_unwind(AssertUnwindSafe(|| tuning.runner.check(&data)));
    checked.unwrap_or_else(|_| Err("the looking through of the files broke off".to_owned()))
}

/// Has the runner train a job.
fn train(app: &App, tenant: &str, job: &TuningJob, num_examples: u64, seat: &TrainingSeat) -> TrainingEnd {
    let Some(tuning) = &app.tuning else { return TrainingEnd::Stopped };
    let order = || {
        let numbers = hyperparameters::resolved(&job.hyperparameters, num_examples);
        let adapters = tuning.adapters(&job.id);
        make_folder(&adapters).map_err(|error| format!("no folder for adapters: {error}"))?;
        Ok(TrainingOrder {
            data: data(app, tuning, job)?,
            numbers: numbers.map_err(|error| error.to_string())?,
            seed: job.seed,
            work: tuning.work(&job.id),
            adapters,
        })
    };
    let order: TrainingOrder = match order() {
        Ok(order) => order,
        Err(message) => return TrainingEnd::Failed { message },
    };
    app.log.notice(&format!("{} of {tenant}: training of {}", job.id, job.model));
    let end = catch_unwind(AssertUnwindSafe(|| tuning.runner.train(&order, seat)));
    end.unwrap_or_else(|_| TrainingEnd::Failed { message: "the training broke off".to_owned() })
}

/// The files of a job, where a runner can read them.
///
/// Errors: why they cannot be had, for the client.
fn data(app: &App, tuning: &Tuning, job: &TuningJob) -> Result<TrainingData, String> {
    let work = tuning.work(&job.id);
    make_folder(&work).map_err(|error| format!("no folder for the training: {error}"))?;
    let file = |id: &str, name: &str| {
        let path = work.join(name);
        if !path.exists() {
            copy(app, id, &path)?;
        }
        Ok::<_, String>(path)
    };
    Ok(TrainingData {
        base: job.model.clone(),
        training: file(&job.training_file, "training.jsonl")?,
        validation: job.validation_file.as_deref().map(|id| file(id, "validation.jsonl")).transpose()?,
        method: if job.hyperparameters.beta.is_some() {
            TrainingMethod::Dpo
        } else {
            TrainingMethod::Supervised
        },
        options: job.gptoss.clone(),
    })
}

/// Writes a file of the store to the disk, whole or not at all.
fn copy(app: &App, id: &str, path: &Path) -> Result<(), String> {
    let part_path = path.with_extension("part");
    let written = || {
        let mut file = std::fs::File::create(&part_path).map_err(|error| error.to_string())?;
        let mut number = 0;
        while let Some(part) = app.store.part(id, number).map_err(|error| error.to_string())? {
            file.write_all(&part).map_err(|error| error.to_string())?;
            number += 1;
        }
        file.sync_all().map_err(|error| error.to_string())?;
        std::fs::rename(&part_path, path).map_err(|error| error.to_string())
    };
    written().map_err(|problem: String| format!("the file '{id}' cannot be read: {problem}"))
}

/// The file with the numbers of a job's steps, hidden still; None, when the tenant has no room for it.
fn steps_file(app: &App, tenant: &str, id: &str) -> Result<Option<FileObject>, ApiError> {
    let file = ids::random("file");
    let bytes = match app.store.write_steps((tenant, id), &file, (results::HEAD, results::line), now()) {
        Ok(bytes) => bytes,
        Err(error) => {
            // What cannot be deleted now is at the next start.
            let _ = app.store.drop_file(&file, now());
            return if matches!(error, ApiError::FilesFull { .. }) { Ok(None) } else { Err(error) };
        }
    };
    Ok(Some(FileObject {
        id: file,
        object: "file".to_owned(),
        bytes,
        created_at: now(),
        expires_at: None,
        filename: format!("{id}_step_metrics.csv"),
        purpose: "fine-tune-results".to_owned(),
        status: "processed".to_owned(),
        status_details: None,
    }))
}
