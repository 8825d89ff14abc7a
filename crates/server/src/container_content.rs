//! `/v1/containers/{id}/files`: create, list, retrieve, delete, content.
//!
//! What is sent in a form is kept in memory, as all files of containers are; a file of the caller's is
//! copied.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gptoss_api::wire::containers::{ContainerFile, ContainerFileRequest};
use gptoss_api::wire::responses::{Deleted, ItemList};
use gptoss_api::{ApiError, files};
use serde_json::json;
use tokio::time::timeout;

use crate::body::Body;
use crate::container_files::GivenFile;
use crate::container_inputs::{Labelled, give, load, sweep};
use crate::container_registry::Whose;
use crate::file_label::{of_content, of_upload};
use crate::keys::Caller;
use crate::limits::{CONTAINER_INPUT_BYTES_MAX, FILE_PART_BYTES, FORM_FIELD_BYTES_MAX, UPLOAD_TIME_MAX};
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{Shared, now};

/// `POST /v1/containers/{id}/files`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    mut request: Request,
) -> Result<Json<ContainerFile>, Rejection> {
    sweep(&app);
    let whose = Whose { tenant: caller.tenant.clone(), id };
    let there = || match app.containers.find(&whose) {
        Some(_) => Ok(()),
        None => Err(ApiError::NotFound { what: "container", id: whose.id.clone() }),
    };
    there()?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let file = if kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        // A file that is too long is refused by name before this is reached.
        DefaultBodyLimit::max(CONTAINER_INPUT_BYTES_MAX + FILE_PART_BYTES).apply(&mut request);
        sent(&app, &caller, request).await?
    } else {
        let Body(asked) = Body::<ContainerFileRequest>::from_request(request, &app).await?;
        copied(&app, &caller, asked.file_id).await?
    };
    there()?;
    let mut named = give(&app, &whose, vec![file], "file")?;
    let file = named.pop().ok_or_else(|| ApiError::Internal { problem: "no file was given".to_owned() })?;
    app.containers.touch(&whose, now());
    Ok(Json(file))
}

async fn copied(app: &Shared, caller: &Caller, file_id: Option<String>) -> Result<Labelled, ApiError> {
    let id = file_id.ok_or(ApiError::Missing { param: "file_id" })?;
    let mut files = load(app, caller, &[id], "file_id").await?;
    files.pop().ok_or(ApiError::Missing { param: "file_id" })
}

/// The file of a form: one that is sent as `file`, or one of the caller's by `file_id`.
async fn sent(app: &Shared, caller: &Caller, request: Request) -> Result<Labelled, ApiError> {
    let label = of_upload(caller, request.headers())?;
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| broken())?;
    let patience = app.limits.body_patience;
    let read = async {
        while let Some(mut field) = in_time(patience, form.next_field()).await? {
            match field.name().unwrap_or_default() {
                "file" => {
                    let filename = files::filename(field.file_name())?;
                    let bytes: Bytes =
                        content_of(patience, &mut field, CONTAINER_INPUT_BYTES_MAX).await?.into();
                    let label = of_content(app, &bytes, label).await?;
                    return Ok((GivenFile { file_id: None, filename, bytes }, Some(label)));
                }
                "file_id" => {
                    let id = content_of(patience, &mut field, FORM_FIELD_BYTES_MAX).await?;
                    return copied(app, caller, Some(String::from_utf8_lossy(&id).into_owned())).await;
                }
                // Unknown parts are passed over, as unknown fields are.
                _ => {}
            }
        }
        Err(ApiError::Missing { param: "file" })
    };
    timeout(UPLOAD_TIME_MAX, read).await.unwrap_or(Err(ApiError::BodyTimeout))
}

async fn content_of(patience: Duration, field: &mut Field<'_>, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = in_time(patience, field.chunk()).await? {
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::FileTooLarge { max: max as u64 });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What comes next of a body that may not pause too long.
async fn in_time<T>(
    patience: Duration,
    next: impl Future<Output = Result<T, MultipartError>>,
) -> Result<T, ApiError> {
    let next = timeout(patience, next).await.map_err(|_| ApiError::BodyTimeout)?;
    next.map_err(|_| broken())
}

fn broken() -> ApiError {
    let message = "the form broke off, or its parts are not those of multipart/form-data".to_owned();
    ApiError::Invalid { param: None, message }
}

/// `GET /v1/containers/{id}/files`.
pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, Rejection> {
    sweep(&app);
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
    let path = app.container_files.delete(&caller.tenant, (container.as_str(), id.as_str()), now())?;
    app.containers.remove_file(&Whose { tenant: caller.tenant, id: container }, path);
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
