//! The body of a request as a value, or an error that names what is wrong.
//!
//! [`Body`] reads JSON within the operator's limit and says which field was wrong, as `messages[2].role`,
//! because a client's author has nothing else to go by. A body that stops coming is given up, and so is one
//! that is still coming when the server stops.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::limits::{Limits, STOP_PATIENCE};
use crate::state::Shared;
use crate::wire::errors::ApiError;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Body<T>, ApiError> {
        if !is_json(request.headers(), request.uri().path()) {
            return Err(ApiError::MediaType);
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
            () = stop => return Err(ApiError::ShuttingDown),
        };
        parse(&bytes).map(Body)
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

/// Reads a value.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| wrong(&error))?;
    reader.end().map_err(|error| ApiError::NotJson { problem: error.to_string() })?;
    Ok(value)
}

fn wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        return ApiError::NotJson { problem: inner.to_string() };
    }
    let mut path = error.path().to_string();
    let message = inner.to_string();
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let is_inside = path != "." && !path.is_empty();
        path = if is_inside { format!("{path}.{field}") } else { field.to_owned() };
    }
    // What serde quotes of a wrong value may be the user's text: the place and the kind are told, not the
    // value.
    let expected = message.split(", expected ").nth(1).and_then(|rest| rest.split(" at line").next());
    let message = match expected {
        Some(expected) => format!("{path}: expected {expected}"),
        None if message.starts_with("missing field") => format!("{path} is missing"),
        None if message.starts_with("a string or") || message.starts_with("a list") => {
            format!("{path}: expected {}", message.split(" at line").next().unwrap_or_default())
        }
        None => format!("{path} has a wrong value"),
    };
    ApiError::Invalid { param: Some(path), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::ChatRequest;

    fn check(body: &str, expect: &str) {
        let error = parse::<ChatRequest>(&Bytes::copy_from_slice(body.as_bytes())).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(r#"{"model": "demo"}"#, "messages is missing");
        check(r#"{"messages": [{"role": "user"}, {"content": ""}]}"#, "messages[1].role is missing");
        check(r#"{"messages": [], "temperature": "hot secret"}"#, "temperature: expected f64");
        let content = r#"{"messages": [{"role": "user", "content": 3}]}"#;
        check(content, "messages[0].content: expected a string or a list of content parts");
    }

    #[test]
    fn what_is_no_json_is_said() {
        let error = parse::<ChatRequest>(&Bytes::from_static(b"{\"messages\": [")).unwrap_err();
        assert!(matches!(error, ApiError::NotJson { .. }), "{error}");
        let deep = "[".repeat(100_000);
        assert!(parse::<serde_json::Value>(&Bytes::from(deep)).is_err());
    }
}
