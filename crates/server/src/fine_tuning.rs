//! `/v1/fine_tuning/jobs`: create, list, retrieve, cancel, pause, resume, events, checkpoints; and the models
//! that come of them.
//!
//! Handlers write what a client wants into the row of the job; `tuner` takes it from there. A server on which
//! nobody trains has none of it.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::fine_tuning::request::{self, NewJob};
use gptoss_api::fine_tuning::words::TUNED;
use gptoss_api::limits::TUNING_SEED_MAX;
use gptoss_api::wire::fine_tuning::{
    TuningCheckpointList, TuningEventList, TuningJob, TuningJobList, TuningLevel, TuningRequest, TuningStatus,
};
use gptoss_api::wire::responses::Deleted;
use serde::Deserialize;

use crate::blocking::run_blocking;
use crate::body::Body;
use crate::files::page;
use crate::ids;
use crate::keys::Caller;
use crate::limits::PAGE_ITEMS_MAX;
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{App, Shared, now};
use crate::store::tuning::{Effect, JobFilter, JobRow};
use crate::tuner::{clear, close, event};

/// Jobs and events of a page, unless a request says otherwise.
const PAGE_JOBS: usize = 20;
/// Checkpoints of a page, unless a request says otherwise.
const PAGE_CHECKPOINTS: usize = 10;
/// What the paths begin with.
const PREFIX: &str = "/v1/fine_tuning/";

/// Why there is nothing at a path of fine-tuning that other servers have; None for other paths.
pub(crate) fn not_here(path: &str) -> Option<ApiError> {
    let rest = path.strip_prefix(PREFIX)?;
    let why = if rest.starts_with("alpha/graders") {
        "graders belong to reinforcement fine-tuning, and this server learns from examples"
    } else if rest.starts_with("checkpoints/") {
        "checkpoints belong to the key that made them, and there are no keys of an administrator to share them"
    } else {
        return None;
    };
    Some(ApiError::NotOffered { path: path.to_owned(), why })
}

/// That somebody trains here: what else stands in a request is not looked at before.
pub(crate) struct Trains;

impl FromRequestParts<Shared> for Trains {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Trains, Rejection> {
        match &app.tuning {
            Some(_) => Ok(Trains),
            None => {
                let why = "this server was started without fine-tuning";
                Err(ApiError::NotOffered { path: parts.uri.path().to_owned(), why }.into())
            }
        }
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TuningQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// `POST /v1/fine_tuning/jobs`.
pub(crate) async fn create(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<TuningRequest>,
) -> Result<Json<TuningJob>, Rejection> {
    let named = request.model.as_deref().filter(|name| !name.is_empty());
    let named = named.ok_or(ApiError::Missing { param: "model" })?;
    if named.starts_with(TUNED) {
        let why = "A tuned model is not tuned further: name the model that it was tuned from.";
        return Err(ApiError::unsupported("model", why).into());
    }
    let new = NewJob {
        id: ids::random_dashed("ftjob"),
        model: app.model(&caller, Some(named))?.served.name.clone(),
        organization: caller.tenant.clone(),
        seed: (ids::seed() % (u64::from(TUNING_SEED_MAX) + 1)) as u32,
        now: now(),
    };
    let row = JobRow { job: request::job(request, new)?, num_examples: None };
    let job = row.job.clone();
    run_blocking(&app, move |app| {
        let made = event(TuningLevel::Info, format!("Created fine-tuning job: {}", row.job.id));
        app.store.begin_job(&caller.tenant, &row, made, now())
    })
    .await?;
    wake(&app, &job.id);
    Ok(Json(job))
}

/// `GET /v1/fine_tuning/jobs`.
pub(crate) async fn list(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<TuningJobList>, Rejection> {
    let (query, filter) = jobs_query(pairs)?;
    let page = page(query.after, None, query.limit, (PAGE_JOBS, PAGE_ITEMS_MAX))?;
    let listed = run_blocking(&app, move |app| app.store.list_jobs(&caller.tenant, &filter, &page));
    let (data, has_more) = listed.await?;
    Ok(Json(TuningJobList { object: "list", data, has_more }))
}

/// Which page of which jobs: `metadata[KEY]=VALUE` for those with the pair, `metadata=null` for those with
/// none.
///
/// Errors: a limit that is not a number.
fn jobs_query(pairs: Vec<(String, String)>) -> Result<(TuningQuery, JobFilter), ApiError> {
    let (mut query, mut filter) = (TuningQuery::default(), JobFilter::default());
    for (name, value) in pairs {
        match name.as_str() {
            "after" => query.after = Some(value),
            "limit" => {
                let wrong = |_| ApiError::invalid("limit", "limit must be a whole number");
                query.limit = Some(value.parse().map_err(wrong)?);
            }
            "metadata" => filter.has_none = value == "null",
            name => {
                let key = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
                filter.pairs.extend(key.map(|key| (key.to_owned(), value)));
            }
        }
    }
    Ok((query, filter))
}

/// `GET /v1/fine_tuning/jobs/{id}`.
pub(crate) async fn retrieve(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TuningJob>, Rejection> {
    Ok(Json(run_blocking(&app, move |app| app.store.job(&caller.tenant, &id)).await?.job))
}

/// `GET /v1/fine_tuning/jobs/{id}/events`.
pub(crate) async fn events(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<TuningQuery>,
) -> Result<Json<TuningEventList>, Rejection> {
    let page = page(query.after, None, query.limit, (PAGE_JOBS, PAGE_ITEMS_MAX))?;
    let told = run_blocking(&app, move |app| app.store.job_events(&caller.tenant, &id, &page));
    let (data, has_more) = told.await?;
    Ok(Json(TuningEventList { object: "list", data, has_more }))
}

/// `GET /v1/fine_tuning/jobs/{id}/checkpoints`.
pub(crate) async fn checkpoints(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<TuningQuery>,
) -> Result<Json<TuningCheckpointList>, Rejection> {
    let page = page(query.after, None, query.limit, (PAGE_CHECKPOINTS, PAGE_ITEMS_MAX))?;
    let made = run_blocking(&app, move |app| app.store.job_checkpoints(&caller.tenant, &id, &page));
    let (data, has_more) = made.await?;
    let (first_id, last_id) = (data.first().map(|one| one.id.clone()), data.last().map(|one| one.id.clone()));
    Ok(Json(TuningCheckpointList { object: "list", data, first_id, last_id, has_more }))
}

/// `POST /v1/fine_tuning/jobs/{id}/cancel`. Checkpoints that there are stay.
pub(crate) async fn cancel(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TuningJob>, Rejection> {
    let job = steer(&app, caller, id, |job| match job.status {
        TuningStatus::Cancelled => Ok(None),
        status if status.has_ended() => Err(has_ended(job)),
        _ => {
            close(job, TuningStatus::Cancelled);
            Ok(Some("The job was cancelled"))
        }
    })
    .await?;
    let id = job.id.clone();
    run_blocking(&app, move |app| {
        // The task of one that is trained does it when the runner has stopped.
        if !app.tuning.as_ref().is_some_and(|tuning| tuning.is_current(&id)) {
            clear(app, &id);
        }
        Ok(())
    })
    .await?;
    Ok(Json(job))
}

/// `POST /v1/fine_tuning/jobs/{id}/pause`.
pub(crate) async fn pause(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TuningJob>, Rejection> {
    let paused = steer(&app, caller, id, |job| match job.status {
        TuningStatus::Paused => Ok(None),
        status if status.has_ended() => Err(has_ended(job)),
        _ => {
            (job.status, job.estimated_finish) = (TuningStatus::Paused, None);
            Ok(Some("The job was paused"))
        }
    });
    Ok(Json(paused.await?))
}

/// `POST /v1/fine_tuning/jobs/{id}/resume`: it waits for its turn again, and goes on where it was.
pub(crate) async fn resume(
    _: Trains,
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TuningJob>, Rejection> {
    let resumed = steer_row(&app, caller, id, |row| match row.job.status {
        status if status.has_ended() => Err(has_ended(&row.job)),
        TuningStatus::Paused => {
            row.job.status = match row.num_examples {
                Some(_) => TuningStatus::Queued,
                None => TuningStatus::ValidatingFiles,
            };
            Ok(Some("The job was resumed"))
        }
        _ => Ok(None),
    });
    Ok(Json(resumed.await?))
}

fn has_ended(job: &TuningJob) -> ApiError {
    ApiError::Conflict { message: format!("the tuning job {:?} has ended: {}", job.id, job.status.word()) }
}

/// As [`steer_row`], for who looks at the job alone.
async fn steer(
    app: &Shared,
    caller: Caller,
    id: String,
    edit: impl FnOnce(&mut TuningJob) -> Result<Option<&'static str>, ApiError> + Send + 'static,
) -> Result<TuningJob, ApiError> {
    steer_row(app, caller, id, |row| edit(&mut row.job)).await
}

/// Changes a job as its client wants it, and has the tasks know; the words that `edit` gives are an event.
async fn steer_row(
    app: &Shared,
    caller: Caller,
    id: String,
    edit: impl FnOnce(&mut JobRow) -> Result<Option<&'static str>, ApiError> + Send + 'static,
) -> Result<TuningJob, ApiError> {
    let changed = run_blocking(app, move |app| {
        app.store.change_job(&caller.tenant, &id, now(), |row| {
            let words = edit(row)?;
            Ok(words.map(|words| Effect::Event(event(TuningLevel::Info, words))).into_iter().collect())
        })
    });
    let job = changed.await?.job;
    wake(app, &job.id);
    Ok(job)
}

fn wake(app: &App, id: &str) {
    if let Some(tuning) = &app.tuning {
        tuning.has_changed(id);
    }
}

/// `DELETE /v1/models/{id}`: a tuned model and its adapter.
pub(crate) async fn delete_model(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Rejection> {
    let deleted = Deleted { id: id.clone(), object: "model", deleted: true };
    run_blocking(&app, move |app| {
        let Some(model) = app.store.delete_tuned_model(&caller.tenant, &id, now())? else {
            app.model(&caller, Some(&id))?;
            return Err(ApiError::invalid("model", "only tuned models can be deleted"));
        };
        app.models.remove_tuned(&caller.tenant, &id);
        if let Some(tuning) = &app.tuning
            && let Err(error) = std::fs::remove_dir_all(tuning.adapters(&model.job).join(&model.adapter))
        {
            app.log.notice(&format!("{}: its adapter cannot be deleted: {error}", model.name));
        }
        Ok(())
    })
    .await?;
    Ok(Json(deleted))
}

/// `DELETE /v1/models/{organization}/{name}`: of a model whose name has a slash.
pub(crate) async fn delete_model_in_organization(
    app: State<Shared>,
    caller: Extension<Caller>,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Json<Deleted>, Rejection> {
    delete_model(app, caller, Path(format!("{organization}/{name}"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_pairs_of_metadata() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            jobs_query(pairs.collect())
        };
        let (query, filter) = read(&[
            ("after", "ftjob-1"),
            ("limit", "3"),
            ("metadata[a b]", "c"),
            ("metadata[d]", ""),
            ("x", "y"),
        ])
        .unwrap();
        assert_eq!((query.after.as_deref(), query.limit), (Some("ftjob-1"), Some(3)));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!((filter.pairs, filter.has_none), (vec![pair("a b", "c"), pair("d", "")], false));
        assert!(read(&[("metadata", "null")]).unwrap().1.has_none);
        assert!(read(&[("limit", "many")]).is_err());
    }
}
