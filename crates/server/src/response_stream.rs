//! The events of a response on their way to a reader: of one that is written, or of one that is stored.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use serde_json::{Value, json};

use crate::narrowing::narrowed_event;
use crate::opening::Opening;
use crate::response_log::{CancelOnDrop, Found, ResponseLog};
use crate::sse::kept_alive;
use crate::store::Row;

/// The events of a new response, or why there is none.
pub(crate) fn opened(opening: Opening<Arc<ResponseLog>>) -> impl Stream<Item = Bytes> + Send {
    stream::once(opening.begun()).flat_map(|begun| match begun {
        Ok(live) => first_events(live).left_stream(),
        Err(error) => stream::iter([error_event(&error, 0)]).right_stream(),
    })
}

/// The events of a new response, for whom it is written: as this key may see it.
pub(crate) fn first_events(live: Arc<ResponseLog>) -> impl Stream<Item = Bytes> + Send {
    let reader = CancelOnDrop(Arc::clone(&live));
    events_from(live, 0, Visibility::Raw, Some(reader))
}

/// The events of a response from number `from` on, as far as `visibility` lets them be seen; `reader` is
/// whoever the response is written for.
pub(crate) fn events_from(
    live: Arc<ResponseLog>,
    from: usize,
    visibility: Visibility,
    reader: Option<CancelOnDrop>,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(Some((live, reader, from)), move |state| async move {
        let (live, reader, mut index) = state?;
        loop {
            return Some(match live.event(index).await {
                Found::Event(line) => {
                    index += 1;
                    let Some(line) = line.narrowed(visibility) else { continue };
                    (line.bytes(), Some((live, reader, index)))
                }
                Found::End => (Bytes::from_static(DONE), None),
                Found::Dropped => (error_event(&ApiError::EventsDropped, index), None),
            });
        }
    })
}

/// The last word of a stream.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// The last event, in the place of number `index`, of a stream that has no other.
fn error_event(error: &ApiError, index: usize) -> Bytes {
    let facts = error.body().error;
    let error = json!({
        "type": "error", "code": facts.code.unwrap_or(facts.kind), "message": facts.message,
        "param": facts.param, "sequence_number": index,
    });
    format!("event: error\ndata: {error}\n\ndata: [DONE]\n\n").into()
}

/// A stream on its way; a comment is sent after each `silence`.
pub(crate) fn live_stream(events: impl Stream<Item = Bytes> + Send + 'static, silence: Duration) -> Response {
    event_stream(HttpBody::from_stream(kept_alive(events, silence).map(Ok::<_, Infallible>)))
}

pub(crate) fn event_stream(body: HttpBody) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

/// The stream of a stored response from event number `from` on.
pub(crate) fn replay(row: &Row, from: usize, visibility: Visibility) -> Vec<u8> {
    let events: Vec<Value> = serde_json::from_str(&row.events).unwrap_or_default();
    let is_empty = events.is_empty();
    let mut text = String::new();
    for event in events.into_iter().skip(from).filter_map(|event| narrowed_event(event, visibility)) {
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("event: {name}\ndata: {event}\n\n"));
    }
    let mut bytes = text.into_bytes();
    match is_empty {
        // They were too many to be kept.
        true => bytes.extend_from_slice(&error_event(&ApiError::EventsDropped, from)),
        false => bytes.extend_from_slice(DONE),
    }
    bytes
}
