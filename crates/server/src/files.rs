//! `/v1/files`: upload, list, retrieve, delete, content.
//!
//! An upload is written as it comes, a part at a time, and is there when its last part is: whatever ends it
//! before leaves nothing. What a file is for and when it goes may stand before it or behind it in the form.

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use gptoss_api::wire::files::{ExpiresAfter, FileList, FileObject};
use gptoss_api::wire::responses::Deleted;
use gptoss_api::{ApiError, files};
use serde::Deserialize;
use tokio::time::timeout;

use crate::blocking::run_blocking;
use crate::file_label;
use crate::ids;
use crate::keys::Caller;
use crate::limits::{
    BATCH_FILE_SECONDS, FILE_PART_BYTES, FILES_PAGE_MAX, FORM_FIELD_BYTES_MAX, UPLOAD_TIME_MAX,
};
use crate::paging::bounds;
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{App, Shared, now};
use crate::store::files::Page;

/// Which page of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct FilesQuery {
    after: Option<String>,
    limit: Option<usize>,
    order: Option<String>,
    purpose: Option<String>,
}

/// A page of a list of files or batches.
///
/// Errors: a limit or an order that there is not.
pub(crate) fn page(
    after: Option<String>,
    order: Option<&str>,
    limit: Option<usize>,
    sizes: (usize, usize),
) -> Result<Page, ApiError> {
    let (limit, is_ascending) = bounds(limit, order, sizes)?;
    Ok(Page { after, limit, is_ascending })
}

/// `POST /v1/files`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Result<Json<FileObject>, Rejection> {
    // The form around a file is small, and a file that is too long is refused by name before this is reached.
    let most = usize::try_from(app.limits.file_bytes_max).unwrap_or(usize::MAX);
    DefaultBodyLimit::max(most.saturating_add(FILE_PART_BYTES)).apply(&mut request);
    let label = file_label::of_upload(&caller, request.headers())?;
    let form = Multipart::from_request(request, &()).await.map_err(|_| {
        let message = "the body has to be sent as multipart/form-data, with a part 'file' and one 'purpose'";
        ApiError::Invalid { param: None, message: message.to_owned() }
    })?;
    let (id, created) = (ids::random("file"), now());
    let begin = (id.clone(), caller.tenant.clone());
    // A client that goes away ends this future here; what it leaves is deleted at the next start, or now.
    let dropped = Unfinished { app: &app, id: &id };
    let begin = move |app: &App| {
        app.store.begin_file(&begin.0, &begin.1, now())?;
        app.store.label_file(&begin.0, label, now())
    };
    run_blocking(&app, begin).await?;
    let mut upload = Upload { app: &app, tenant: &caller.tenant, id: &id, created, bytes: 0, number: 0 };
    let read = async {
        tokio::select! {
            read = timeout(UPLOAD_TIME_MAX, upload.read(form)) => read.unwrap_or(Err(ApiError::BodyTimeout)),
            () = app.stopping() => Err(ApiError::ShuttingDown),
        }
    };
    let file = read.await?;
    let made = file.clone();
    run_blocking(&app, move |app| app.store.finish_file(&made, now())).await?;
    drop(dropped);
    Ok(Json(file))
}

/// A file that may not become whole: deleted, unless it has.
struct Unfinished<'a> {
    app: &'a Shared,
    id: &'a str,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let (app, id) = (std::sync::Arc::clone(self.app), self.id.to_owned());
        // Nobody waits: a whole file stays as it is, and what cannot be deleted now is at the next start.
        drop(tokio::task::spawn_blocking(move || app.store.drop_file(&id, now())));
    }
}

/// A form on its way into the store.
struct Upload<'a> {
    app: &'a Shared,
    tenant: &'a str,
    id: &'a str,
    created: u64,
    bytes: u64,
    number: u64,
}

impl Upload<'_> {
    /// Reads all parts of the form and writes the file.
    ///
    /// Errors: a part that is missing, wrong, twice there, too long; a body that breaks off or pauses.
    async fn read(&mut self, mut form: Multipart) -> Result<FileObject, ApiError> {
        let (mut name, mut purpose, mut anchor, mut seconds) = (None, None, None, None);
        while let Some(field) = self.in_time(form.next_field()).await? {
            match field.name().unwrap_or_default() {
                "file" if name.is_some() => {
                    return Err(ApiError::invalid("file", "there are two parts 'file'; send one"));
                }
                "file" => {
                    name = Some(files::filename(field.file_name())?);
                    self.write(field).await?;
                }
                "purpose" => purpose = Some(self.text(field, "purpose").await?),
                "expires_after[anchor]" => anchor = Some(self.text(field, "expires_after.anchor").await?),
                "expires_after[seconds]" => {
                    let text = self.text(field, "expires_after.seconds").await?;
                    let wrong = |_| ApiError::invalid("expires_after.seconds", "it must be a whole number");
                    seconds = Some(text.trim().parse::<u64>().map_err(wrong)?);
                }
                // Unknown parts are passed over, as unknown fields are.
                _ => {}
            }
        }
        let filename = name.ok_or(ApiError::Missing { param: "file" })?;
        let purpose = files::purpose(purpose.as_deref())?;
        let said = match (anchor, seconds) {
            (None, None) => None,
            (anchor, Some(seconds)) => {
                Some(ExpiresAfter { anchor: anchor.unwrap_or_else(|| "created_at".to_owned()), seconds })
            }
            (Some(_), None) => return Err(ApiError::Missing { param: "expires_after[seconds]" }),
        };
        let otherwise = (purpose == "batch").then_some(BATCH_FILE_SECONDS);
        Ok(FileObject {
            id: self.id.to_owned(),
            object: "file".to_owned(),
            bytes: self.bytes,
            created_at: self.created,
            expires_at: files::expires_at(said.as_ref(), "expires_after", self.created, otherwise)?,
            filename,
            purpose,
            status: "processed".to_owned(),
            status_details: None,
        })
    }

    async fn write(&mut self, mut field: Field<'_>) -> Result<(), ApiError> {
        let max = self.app.limits.file_bytes_max;
        let mut part = Vec::new();
        while let Some(chunk) = self.in_time(field.chunk()).await? {
            self.bytes += chunk.len() as u64;
            if self.bytes > max {
                return Err(ApiError::FileTooLarge { max });
            }
            part.extend_from_slice(&chunk);
            if part.len() >= FILE_PART_BYTES {
                self.put(std::mem::take(&mut part)).await?;
            }
        }
        match part.is_empty() {
            true => Ok(()),
            false => self.put(part).await,
        }
    }

    async fn put(&mut self, part: Vec<u8>) -> Result<(), ApiError> {
        let (id, tenant, number) = (self.id.to_owned(), self.tenant.to_owned(), self.number);
        self.number += 1;
        run_blocking(self.app, move |app| app.store.add_part(&id, &tenant, (number, &part), now())).await
    }

    /// A short field of the form.
    async fn text(&self, mut field: Field<'_>, param: &'static str) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.in_time(field.chunk()).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > FORM_FIELD_BYTES_MAX {
                let message = format!("{param} has more than {FORM_FIELD_BYTES_MAX} bytes");
                return Err(ApiError::invalid(param, message));
            }
        }
        String::from_utf8(bytes).map_err(|_| ApiError::invalid(param, format!("{param} is not UTF-8")))
    }

    /// What comes next of a body that may not pause too long.
    async fn in_time<T>(&self, next: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
        let next = timeout(self.app.limits.body_patience, next).await.map_err(|_| ApiError::BodyTimeout)?;
        next.map_err(|_| ApiError::Invalid {
            param: None,
            message: "the form broke off, or its parts are not those of multipart/form-data".to_owned(),
        })
    }
}

/// `GET /v1/files`.
pub(crate) async fn list(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<FilesQuery>,
) -> Result<Json<FileList>, Rejection> {
    let page = page(query.after, query.order.as_deref(), query.limit, (FILES_PAGE_MAX, FILES_PAGE_MAX))?;
    let (data, has_more) = run_blocking(&app, move |app| {
        app.store.list_files(&caller.tenant, query.purpose.as_deref(), &page, now())
    })
    .await?;
    let id = |file: Option<&FileObject>| file.map(|file| file.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(FileList { object: "list", data, first_id, last_id, has_more }))
}

/// `GET /v1/files/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<FileObject>, Rejection> {
    Ok(Json(run_blocking(&app, move |app| app.store.file(&caller.tenant, &id, now())).await?))
}

/// `DELETE /v1/files/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Rejection> {
    let deleted = Deleted { id: id.clone(), object: "file", deleted: true };
    run_blocking(&app, move |app| app.store.delete_file(&caller.tenant, &id, now())).await?;
    Ok(Json(deleted))
}

/// A file that its reader may see all of, and that is whole.
///
/// Errors: `NotFound`; `Scope`, for results with more of the reasoning than the key may see; `Damaged`;
/// `State`, when the database fails.
pub(crate) fn readable(app: &App, caller: &Caller, id: &str) -> Result<FileObject, ApiError> {
    let file = app.store.file(&caller.tenant, id, now())?;
    if file.purpose == "batch_output"
        && caller.visibility < app.store.results_visibility(&caller.tenant, id)?
    {
        let what = "read results that show more of the reasoning than it may see";
        return Err(ApiError::Scope { what });
    }
    app.store.check_file(&caller.tenant, &file, now())?;
    Ok(file)
}

/// `GET /v1/files/{id}/content`. A file that is damaged is refused; one that is deleted meanwhile breaks off,
/// short of its length.
pub(crate) async fn content(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    let of = id.clone();
    let file = run_blocking(&app, move |app| readable(app, &caller, &of)).await?;
    let parts = stream::unfold((app, id, 0_u64), |(app, id, number)| async move {
        let of = id.clone();
        match run_blocking(&app, move |app| app.store.part(&of, number)).await {
            Ok(part) => Some((Ok(part?), (app, id, number + 1))),
            Err(error) => Some((Err(std::io::Error::other(error)), (app, id, number))),
        }
    });
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}
