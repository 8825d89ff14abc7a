//! `/v1/batches`: create, list, retrieve, cancel.
//!
//! Handlers write what a client wants into the row of the batch; `batch_runner` takes it from there.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::batches::request;
use gptoss_api::wire::batches::{Batch, BatchList, BatchRequest, BatchStatus};
use serde::Deserialize;

use crate::batch_runner;
use crate::blocking::run_blocking;
use crate::body::Body;
use crate::files::page;
use crate::ids;
use crate::keys::Caller;
use crate::limits::PAGE_ITEMS_MAX;
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{Shared, now};

/// Batches of a page, unless a request says otherwise.
const PAGE_BATCHES: usize = 20;

/// Which page of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct BatchesQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// `POST /v1/batches`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<BatchRequest>,
) -> Result<Json<Batch>, Rejection> {
    let batch = request::batch(request, ids::random("batch"), app.models.first().served.name.clone(), now())?;
    let (made, owner) = (batch.clone(), caller.clone());
    run_blocking(&app, move |app| app.store.begin_batch(&owner, &made, now())).await?;
    batch_runner::start(&app, Caller { is_background: true, bill: None, ..caller }, batch.id.clone());
    Ok(Json(batch))
}

/// `GET /v1/batches`.
pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<BatchesQuery>,
) -> Result<Json<BatchList>, Rejection> {
    let page = page(query.after, None, query.limit, (PAGE_BATCHES, PAGE_ITEMS_MAX))?;
    let (data, has_more) =
        run_blocking(&app, move |app| app.store.list_batches(&caller.tenant, &page)).await?;
    let id = |batch: Option<&Batch>| batch.map(|batch| batch.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(BatchList { object: "list", data, first_id, last_id, has_more }))
}

/// `GET /v1/batches/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Batch>, Rejection> {
    Ok(Json(run_blocking(&app, move |app| app.store.batch(&caller.tenant, &id)).await?))
}

/// `POST /v1/batches/{id}/cancel`. Lines that have a result keep it.
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Batch>, Rejection> {
    let changed = run_blocking(&app, move |app| {
        app.store.change_batch(&caller.tenant, &id, now(), |batch| match batch.status {
            BatchStatus::Validating | BatchStatus::InProgress => {
                batch.status = BatchStatus::Cancelling;
                batch.cancelling_at = Some(now());
                Ok(())
            }
            BatchStatus::Cancelling => Ok(()),
            BatchStatus::Finalizing
            | BatchStatus::Failed
            | BatchStatus::Completed
            | BatchStatus::Expired
            | BatchStatus::Cancelled => {
                let message = format!("the batch {:?} has ended, or is about to", batch.id);
                Err(ApiError::Conflict { message })
            }
        })
    });
    let batch = changed.await?;
    app.batches.have_changed();
    Ok(Json(batch))
}
