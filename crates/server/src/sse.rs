//! Lines of JSON as streams of server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
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

/// A stream as it goes to its reader, and a comment after each `interval` of silence.
pub(crate) fn kept_alive(
    events: impl Stream<Item = Bytes> + Send + 'static,
    interval: Duration,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(events.boxed(), move |mut events| async move {
        match tokio::time::timeout(interval, events.next()).await {
            Ok(event) => Some((event?, events)),
            Err(_) => Some((Bytes::from_static(b": keep-alive\n\n"), events)),
        }
    })
}

/// An event with a name as bytes of a stream, and where its JSON begins in them; an empty line ends it.
pub(crate) fn framed(name: &str, event: &impl Serialize) -> (Vec<u8>, usize) {
    let mut bytes = format!("event: {name}\ndata: ").into_bytes();
    let json_at = bytes.len();
    // Plain data with text keys: writing it to memory cannot fail.
    let _ = serde_json::to_writer(&mut bytes, event);
    bytes.extend_from_slice(b"\n\n");
    (bytes, json_at)
}

/// Lines as server-sent events with names; the event `ping` is sent after each `interval` of silence.
pub(crate) fn named_stream(
    lines: impl Stream<Item = (&'static str, String)> + Send + 'static,
    interval: Duration,
) -> Response {
    let event = |(name, line): (&str, String)| Ok::<_, Infallible>(Event::default().event(name).data(line));
    let ping = Event::default().event("ping").data(r#"{"type":"ping"}"#);
    Sse::new(lines.map(event)).keep_alive(KeepAlive::new().interval(interval).event(ping)).into_response()
}

/// Lines as server-sent events without names; a comment is sent after each `interval` of silence.
pub(crate) fn data_stream(
    lines: impl Stream<Item = String> + Send + 'static,
    interval: Duration,
) -> Response {
    let events = lines.map(|line| Ok::<_, Infallible>(Event::default().data(line)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(interval).text("keep-alive")).into_response()
}
