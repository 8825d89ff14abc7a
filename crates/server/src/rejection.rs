//! A failed request as a response of HTTP.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gptoss_api::ApiError;
use serde::Serialize;

use crate::content_coding::CODINGS;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error in the form of OpenAI's APIs. Handlers return it; what they call returns [`ApiError`].
#[derive(Debug)]
pub(crate) struct Rejection(pub(crate) ApiError);

impl From<ApiError> for Rejection {
    fn from(error: ApiError) -> Rejection {
        Rejection(error)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let row = self.0.row();
        let mut response = (status_of(&self.0), Json(self.0.body())).into_response();
        if let Some(seconds) = row.retry_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(millis) = self.0.retry_millis() {
            response.headers_mut().insert(RETRY_AFTER_MS, HeaderValue::from(millis));
        }
        if self.0.is_final() {
            // Read by the SDKs of OpenAI and Anthropic, which try any 429 again without it.
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if row.status == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.0 == ApiError::Coding {
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
        }
        // For the dialects that have words of their own.
        response.extensions_mut().insert(self.0);
        response
    }
}

/// A refusal with the body of another dialect; its headers stay.
pub(crate) fn reworded(mut response: Response, status: StatusCode, body: impl Serialize) -> Response {
    let mut headers = std::mem::take(response.headers_mut());
    // The body is another one.
    headers.remove(header::CONTENT_LENGTH);
    (status, headers, Json(body)).into_response()
}

/// The status of an error.
fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
