//! Anthropic's words on what any route answers its clients: errors and the request's id.
//!
//! Its clients are known by the path or by the header `anthropic-version`, which is asked of nobody: other
//! routes (`/v1/models`, and paths that are not there) have one address for both dialects. What fails
//! anywhere passes here, so that a refusal of the gate, of the keys or of a handler all have one form.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use gptoss_api::ApiError;
use gptoss_api::messages::errors;

use crate::rejection::reworded;

const PATH: &str = "/v1/messages";
const VERSION: &str = "anthropic-version";
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Whether a request is in Anthropic's dialect.
pub(crate) fn is_spoken(uri: &Uri, headers: &HeaderMap) -> bool {
    uri.path().starts_with(PATH) || is_versioned(headers)
}

/// Whether the client of a route that both dialects have is Anthropic's.
pub(crate) fn is_versioned(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

/// The response in Anthropic's words.
pub(crate) fn worded(mut response: Response, id: Option<&str>) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let status = StatusCode::from_u16(errors::status(&error)).unwrap_or(response.status());
        response = reworded(response, status, errors::body(&error, id));
    }
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The layer around all others, for what never reaches a route.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let is_spoken = is_spoken(request.uri(), request.headers());
    let response = next.run(request).await;
    match is_spoken && response.extensions().get::<ApiError>().is_some() {
        true => worded(response, None),
        false => response,
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::response::IntoResponse;

    use super::*;
    use crate::rejection::Rejection;

    #[test]
    fn a_failure_keeps_its_headers_and_gets_its_words() {
        let response = worded(Rejection(ApiError::ShuttingDown).into_response(), Some("req_1"));
        assert_eq!(response.status().as_u16(), errors::OVERLOADED);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.headers()["request-id"], "req_1");
        assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
        let answer = worded(Json(1).into_response(), Some("req_1"));
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["request-id"]),
            (200, &HeaderValue::from_static("req_1"))
        );
    }

    #[test]
    fn its_clients_are_known_by_path_or_header() {
        let check = |path: &'static str, header: Option<&'static str>, expect: bool| {
            let headers =
                header.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("2023-06-01")));
            let headers = HeaderMap::from_iter(headers);
            assert_eq!(is_spoken(&Uri::from_static(path), &headers), expect, "{path} {header:?}");
        };
        check("/v1/messages?beta=true", None, true);
        check("/v1/messages/count_tokens", None, true);
        check("/v1/models", None, false);
        check("/v1/models", Some(VERSION), true);
    }
}
