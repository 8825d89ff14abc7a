//! What the streams of Chat Completions and Completions have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt};
use gptoss_api::ApiError;
use serde::Serialize;

/// The last line of a stream.
pub(crate) const DONE: &str = "[DONE]";

/// A body as one line.
pub(crate) fn line(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// An error in the middle of a stream.
pub(crate) fn error_line(error: &ApiError) -> String {
    line(&error.body())
}

/// Lines as server-sent events without names; a comment is sent after each `interval` of silence.
pub(crate) fn data_stream(
    lines: impl Stream<Item = String> + Send + 'static,
    interval: Duration,
) -> Response {
    let events = lines.map(|line| Ok::<_, Infallible>(Event::default().data(line)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(interval).text("keep-alive")).into_response()
}
