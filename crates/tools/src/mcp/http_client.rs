//! Requests to a server over streamable HTTP, on the hyper that the rest of the program has.
//!
//! Nothing is followed elsewhere: a redirect is an error, since headers hold secrets that are one server's.
//! No proxy of the environment is used.
//!
//! Source of what a status means: rmcp 3.11.0 `src/transport/common/unix_socket.rs`, its client on hyper.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};

use super::limits::{MCP_CONNECT_TIME_MAX, MCP_ERROR_BYTES_MAX, MCP_MESSAGE_BYTES_MAX};
use super::stranger_text::one_line;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

type Result<T> = std::result::Result<T, StreamableHttpError<HttpError>>;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The request could not be made.
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    /// It could not be sent, or nothing came back.
    #[error("{}", chain(.0))]
    Send(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off or was too long.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// An error and what it came from, which hyper leaves to whoever prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// The client of one server.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    pub(super) fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(MCP_CONNECT_TIME_MAX));
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Self { client: Client::builder(TokioExecutor::new()).build(https) }
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| StreamableHttpError::Client(error.into()))?;
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| StreamableHttpError::Client(error.into()))
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _authorization: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse> {
        let has_session = session_id.is_some();
        let mut headers = request_headers(session_id, custom_headers)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let response = self.send(Method::POST, &uri, headers, serde_json::to_vec(&message)?).await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && has_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let session_id =
            response.headers().get(&SESSION_ID).and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
        if !status.is_success() {
            return refusal(response, session_id).await;
        }
        let wants_answer = matches!(message, JsonRpcMessage::Request(_));
        match content_type(&response) {
            _ if !wants_answer => Ok(StreamableHttpPostResponse::Accepted),
            Some(EVENTS) => Ok(StreamableHttpPostResponse::Sse(events(response), session_id)),
            Some(JSON) => {
                let body = body(response).await?;
                Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session_id))
            }
            other => Err(StreamableHttpError::UnexpectedContentType(other.map(ToOwned::to_owned))),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _authorization: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<()> {
        let headers = request_headers(Some(session_id), custom_headers)?;
        let status = self.send(Method::DELETE, &uri, headers, Vec::new()).await?.status();
        if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(());
        }
        Err(StreamableHttpError::UnexpectedServerResponse(Cow::Owned(format!("HTTP {status}"))))
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _authorization: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, std::result::Result<Sse, SseError>>> {
        let mut headers = request_headers(session_id, custom_headers)?;
        headers.insert(ACCEPT, HeaderValue::from_static(EVENTS));
        if let Some(id) = last_event_id {
            headers.insert(LAST_EVENT_ID, header_value(&id)?);
        }
        let response = self.send(Method::GET, &uri, headers, Vec::new()).await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => {
                Err(StreamableHttpError::UnexpectedServerResponse(Cow::Owned(format!("HTTP {status}"))))
            }
            _ if content_type(&response) != Some(EVENTS) => Err(StreamableHttpError::ServerDoesNotSupportSse),
            _ => Ok(events(response)),
        }
    }
}

fn request_headers(
    session_id: Option<Arc<str>>,
    custom_headers: HashMap<HeaderName, HeaderValue>,
) -> Result<HeaderMap> {
    let mut headers: HeaderMap = custom_headers.into_iter().collect();
    if let Some(id) = session_id {
        headers.insert(SESSION_ID, header_value(&id)?);
    }
    Ok(headers)
}

/// A server's own words, said back to it.
fn header_value(text: &str) -> Result<HeaderValue> {
    text.parse()
        .map_err(|_| StreamableHttpError::UnexpectedServerResponse("an id that no header can hold".into()))
}

fn content_type(response: &Response<Incoming>) -> Option<&'static str> {
    let given = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let given = given.split(';').next().unwrap_or_default().trim();
    [JSON, EVENTS].into_iter().find(|known| given.eq_ignore_ascii_case(known))
}

async fn body(response: Response<Incoming>) -> Result<Bytes> {
    let body = Limited::new(response.into_body(), MCP_MESSAGE_BYTES_MAX).collect().await;
    Ok(body.map_err(|error| StreamableHttpError::Client(HttpError::Body(error)))?.to_bytes())
}

/// An error of the protocol, where the server gave one, or its status and the start of its words.
async fn refusal(
    response: Response<Incoming>,
    session_id: Option<String>,
) -> Result<StreamableHttpPostResponse> {
    let status = response.status();
    let location = response
        .headers()
        .get(hyper::header::LOCATION)
        .and_then(|to| to.to_str().ok())
        .map(ToOwned::to_owned);
    let allow = response.headers().get(ALLOW).is_some();
    let body = body(response).await.unwrap_or_default();
    if let Ok(error @ JsonRpcMessage::Error(_)) = serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
        return Ok(StreamableHttpPostResponse::Json(error, session_id));
    }
    let words = one_line(&String::from_utf8_lossy(&body), MCP_ERROR_BYTES_MAX);
    let told = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("HTTP {status}: {words}; give what it wants in `headers` of its entry")
        }
        _ if status.is_redirection() => {
            format!(
                "HTTP {status} to {}; write that as `url`",
                one_line(&location.unwrap_or_default(), MCP_ERROR_BYTES_MAX)
            )
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            format!("HTTP {status}{}: {words}; see the path of `url`", if allow { " for POST" } else { "" })
        }
        _ => format!("HTTP {status}: {words}"),
    };
    Err(StreamableHttpError::UnexpectedServerResponse(Cow::Owned(told)))
}

/// The events of an answer; one that is too long ends it.
fn events(response: Response<Incoming>) -> BoxStream<'static, std::result::Result<Sse, SseError>> {
    let mut event = EventBytes::default();
    let chunks = response.into_body().into_data_stream().map(move |chunk| {
        let chunk = chunk.map_err(std::io::Error::other)?;
        if event.add(&chunk) > MCP_MESSAGE_BYTES_MAX {
            let told = format!("an event has more than {MCP_MESSAGE_BYTES_MAX} bytes");
            return Err(std::io::Error::other(told));
        }
        Ok(chunk)
    });
    SseStream::from_bytes_stream(chunks).boxed()
}

/// How many bytes an event has so far; an empty line ends one.
#[derive(Default)]
struct EventBytes {
    bytes: usize,
    line_is_empty: bool,
}

impl EventBytes {
    /// The most bytes that an event had while these were read.
    fn add(&mut self, chunk: &[u8]) -> usize {
        let mut most = self.bytes;
        for byte in chunk {
            self.bytes += 1;
            most = most.max(self.bytes);
            match byte {
                b'\n' if self.line_is_empty => self.bytes = 0,
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_event() {
        let check = |chunks: &[&str], expected| {
            let mut event = EventBytes::default();
            let most = chunks.iter().map(|chunk| event.add(chunk.as_bytes())).max();
            assert_eq!(most, Some(expected), "{chunks:?}");
        };
        check(&["data: 1\n\ndata: 12345\n\n"], 13);
        check(&["data: 1\r\n\r\n", "data: 12345\r\n", "\r\n"], 15);
        check(&["data: 1\ndata: 2\n", "data: 3"], 23);
        check(&["data: 1\n", "\n", ":\n\n"], 9);
    }
}
