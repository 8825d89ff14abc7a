//! The body of a request as a value, or an error that names what is wrong.
//!
//! [`Body`] reads JSON within the operator's limit. A body that stops coming is given up, and so is one
//! that is still coming when the server stops.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use gptoss_api::{ApiError, body};
use serde::de::DeserializeOwned;

use crate::limits::{Limits, STOP_PATIENCE};
use crate::rejection::Rejection;
use crate::state::Shared;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &Shared) -> Result<Body<T>, Rejection> {
        if !is_json(request.headers(), request.uri().path()) {
            return Err(ApiError::MediaType.into());
        }
        let reading = tokio::time::timeout(app.limits.body_time, read(request.into_body(), &app.limits));
        // A body that is half here is better read than cut: bytes that are not read reset the connection
        // before its answer.
        let stop = async {
            app.stopping().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        let bytes = tokio::select! {
            bytes = reading => bytes.unwrap_or(Err(ApiError::BodyTimeout))?,
            () = stop => return Err(ApiError::ShuttingDown.into()),
        };
        Ok(Body(body::parse(&bytes)?))
    }
}

/// Whether a body may be read as JSON. One without a type is taken for it, as Ollama's documentation sends it
/// with curl, which calls it a form; but not from a page in a browser, which may post both to any site
/// without asking first.
fn is_json(headers: &HeaderMap, path: &str) -> bool {
    let is_of_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return !is_of_page };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/json" => true,
        "application/x-www-form-urlencoded" => path.starts_with("/api/") && !is_of_page,
        kind => kind.starts_with("application/") && kind.ends_with("+json"),
    }
}

/// The bytes of a body.
async fn read(body: axum::body::Body, limits: &Limits) -> Result<Bytes, ApiError> {
    let max = limits.body_bytes_max;
    let mut frames = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::time::timeout(limits.body_patience, frames.next()).await;
        let Some(frame) = frame.map_err(|_| ApiError::BodyTimeout)? else { return Ok(bytes.into()) };
        let frame = frame.map_err(|_| ApiError::Framing)?;
        if bytes.len() + frame.len() > max {
            return Err(ApiError::BodyTooLarge { max });
        }
        bytes.extend_from_slice(&frame);
    }
}
