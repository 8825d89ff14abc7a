//! The body of a request as a value, or an error that names what is wrong.
//!
//! [`Body`] reads JSON within the operator's limit, which a compressed body has to keep on its way and when
//! it is unpacked. A body that stops coming is given up, and so is one that is still coming when the server
//! stops.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use gptoss_api::{ApiError, body};
use serde::de::DeserializeOwned;

use crate::blocking::run_blocking;
use crate::content_coding::ContentCoding;
use crate::keys::Caller;
use crate::limits::{Limits, STOP_PATIENCE};
use crate::rejection::Rejection;
use crate::state::{App, Shared};

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &Shared) -> Result<Body<T>, Rejection> {
        Ok(Body(body::parse(&bytes_of(request, app).await?)?))
    }
}

/// The bytes of a JSON body, unpacked.
///
/// Errors: what is no JSON by its type, too long, too slow or damaged.
pub(crate) async fn bytes_of(request: Request, app: &Shared) -> Result<Bytes, ApiError> {
    if !is_json(request.headers(), request.uri().path()) {
        return Err(ApiError::MediaType);
    }
    let coding = ContentCoding::of(request.headers())?;
    let bill = request.extensions().get::<Caller>().and_then(|caller| caller.bill.clone());
    let reading = tokio::time::timeout(app.limits.body_time, read(request.into_body(), &app.limits));
    // A body that is half here is better read than cut: bytes that are not read reset the connection
    // before its answer.
    let stop = async {
        app.stopping().await;
        tokio::time::sleep(STOP_PATIENCE).await;
    };
    let bytes = tokio::select! {
        bytes = reading => bytes.unwrap_or(Err(ApiError::BodyTimeout))?,
        () = stop => return Err(ApiError::ShuttingDown),
    };
    let bytes = match coding {
        None => bytes,
        Some(coding) => {
            let unpack = move |app: &App| coding.decoded(&bytes, app.limits.body_bytes_max);
            run_blocking(app, unpack).await?.into()
        }
    };
    if let Some(said) = bill.as_ref().and_then(|bill| bill.said()) {
        said.heard(&bytes);
    }
    Ok(bytes)
}

/// Whether a body may be read as JSON. Programs call it what they like (curl by itself calls it a form) and
/// Ollama's API asks nobody for a type. But a page in a browser may post what has no type, or another than
/// JSON's, to any site without asking first; the gate lets pages of this machine's names through, and those
/// are not all the operator's.
fn is_json(headers: &HeaderMap, path: &str) -> bool {
    let is_of_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if !is_of_page || path.starts_with("/api/") {
        return true;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
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
