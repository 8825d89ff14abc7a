//! `/v1/containers`: create, list, retrieve, delete.
//!
//! A container that a request names and nobody has made is made then, so that any word is a name; those that
//! this server has named are its own to make.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use gptoss_api::wire::containers::{ContainerObject, ContainerRequest};
use gptoss_api::wire::responses::{Deleted, ItemList};
use gptoss_api::{ApiError, containers};
use serde_json::json;

use crate::body::Body;
use crate::container_inputs::{give, load, sweep};
use crate::container_registry::{NewContainer, Whose};
use crate::ids;
use crate::keys::Caller;
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{Shared, now};

/// `POST /v1/containers`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ContainerRequest>,
) -> Result<Json<ContainerObject>, Rejection> {
    sweep(&app);
    if !app.tools.as_ref().is_some_and(|host| host.has_python()) {
        let why = "code_interpreter is off on this server (serve --tools python)";
        return Err(ApiError::unsupported("name", why).into());
    }
    let minutes = containers::check(&request)?;
    let param = "file_ids";
    let files = load(&app, &caller, request.file_ids.as_deref().unwrap_or_default(), param).await?;
    let whose = Whose { tenant: caller.tenant, id: ids::random("cntr") };
    let (name, memory_limit) = (request.name.unwrap_or_default(), request.memory_limit);
    let new = NewContainer { name, minutes: Some(minutes), memory_limit };
    let object = app.containers.ensure(&whose, new, now());
    give(&app, &whose, files, param)?;
    Ok(Json(object))
}

/// `GET /v1/containers`.
pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, Rejection> {
    sweep(&app);
    let containers = app.containers.list(&caller.tenant);
    Ok(Json(page(containers.iter().map(|container| json!(container)).collect(), &query)?))
}

/// `GET /v1/containers/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<ContainerObject>, Rejection> {
    sweep(&app);
    let whose = Whose { tenant: caller.tenant, id };
    let found = app.containers.find(&whose);
    Ok(Json(found.ok_or(ApiError::NotFound { what: "container", id: whose.id })?))
}

/// `DELETE /v1/containers/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Rejection> {
    sweep(&app);
    let whose = Whose { tenant: caller.tenant, id };
    if !app.containers.delete(&whose) {
        return Err(ApiError::NotFound { what: "container", id: whose.id }.into());
    }
    sweep(&app);
    app.container_files.end(&whose.tenant, &whose.id, true);
    Ok(Json(Deleted { id: whose.id, object: "container.deleted", deleted: true }))
}
