//! `/v1/containers/{id}/files`: list, retrieve, delete, content.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gptoss_api::wire::containers::ContainerFile;
use gptoss_api::wire::responses::{Deleted, ItemList};
use serde_json::json;

use crate::keys::Caller;
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{Shared, now};

/// `GET /v1/containers/{id}/files`.
pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, Rejection> {
    let files = app.container_files.list(&caller.tenant, &id, now());
    Ok(Json(page(files.iter().map(|file| json!(file)).collect(), &query)?))
}

/// `GET /v1/containers/{id}/files/{file_id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((container, id)): Path<(String, String)>,
) -> Result<Json<ContainerFile>, Rejection> {
    Ok(Json(app.container_files.find(&caller.tenant, (container.as_str(), id.as_str()), now())?.0))
}

/// `DELETE /v1/containers/{id}/files/{file_id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((container, id)): Path<(String, String)>,
) -> Result<Json<Deleted>, Rejection> {
    app.container_files.delete(&caller.tenant, (container.as_str(), id.as_str()), now())?;
    Ok(Json(Deleted { id, object: "container.file.deleted", deleted: true }))
}

/// `GET /v1/containers/{id}/files/{file_id}/content`. Code may have written anything: no browser is to take
/// it for a page.
pub(crate) async fn content(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((container, id)): Path<(String, String)>,
) -> Result<Response, Rejection> {
    let (_, bytes) = app.container_files.find(&caller.tenant, (container.as_str(), id.as_str()), now())?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    Ok(response)
}
