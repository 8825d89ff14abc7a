//! A client's message on a connection, read, and an event as such a connection has it.

use serde_json::Value;

use crate::body;
use crate::errors::ApiError;
use crate::limits::LANE_BYTES_MAX;
use crate::wire::response_socket::{ClientHead, SocketError};
use crate::wire::responses::ResponsesRequest;

/// A response that a client asks for.
#[derive(Debug, Clone)]
pub struct Create {
    /// What it asks.
    pub request: ResponsesRequest,
    /// The client's own mark, which each event carries.
    pub lane: Option<String>,
    /// Whether there is to be any output.
    pub generates: bool,
}

/// A message that was not understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Why.
    pub error: ApiError,
    /// The mark, if it was understood so far.
    pub lane: Option<String>,
}

/// What a message asks for.
///
/// Errors: what is not JSON, another type than `response.create`, a field by its place, and what only a
/// request of HTTP may ask.
pub fn read(message: &[u8]) -> Result<Create, Refused> {
    let head: ClientHead = body::parse(message).map_err(|error| Refused { error, lane: None })?;
    let lane = head.stream_id.clone();
    let error = match request(message, &head) {
        Ok(request) => return Ok(Create { request, lane, generates: head.generate.unwrap_or(true) }),
        Err(error) => error,
    };
    let lane = lane.filter(|lane| lane.len() <= LANE_BYTES_MAX);
    Err(Refused { error, lane })
}

fn request(message: &[u8], head: &ClientHead) -> Result<ResponsesRequest, ApiError> {
    match head.kind.as_str() {
        "response.create" => {}
        "response.steer" => {
            let why = "A response cannot be steered here: close the connection, and ask again.";
            return Err(ApiError::unsupported("type", why));
        }
        _ => return Err(ApiError::invalid("type", "type must be response.create")),
    }
    if head.stream_id.as_ref().is_some_and(|lane| lane.len() > LANE_BYTES_MAX) {
        let message = format!("stream_id is longer than {LANE_BYTES_MAX} bytes");
        return Err(ApiError::invalid("stream_id", message));
    }
    let request: ResponsesRequest = body::parse(message)?;
    if request.background == Some(true) {
        let why = "A response of a connection is written to the connection; send it to POST /v1/responses.";
        return Err(ApiError::unsupported("background", why));
    }
    Ok(request)
}

/// An event, which is an object of JSON, with the client's mark in it.
pub fn in_lane(event: &str, lane: Option<&str>) -> String {
    match (lane, event.strip_prefix('{')) {
        (Some(lane), Some(rest)) => format!("{{\"stream_id\":{},{rest}", Value::from(lane)),
        _ => event.to_owned(),
    }
}

/// The event that says why something came to nothing.
pub fn refusal(error: &ApiError, lane: Option<String>) -> SocketError {
    let (row, mut facts) = (error.row(), error.body().error);
    facts.code.get_or_insert_with(|| row.kind.to_owned());
    SocketError { kind: "error", status: row.status, error: facts, stream_id: lane }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::responses::Input;

    #[test]
    fn a_message_is_a_request_with_a_head() {
        let message = json!({"type": "response.create", "input": "hi", "stream_id": "a", "generate": false,
            "stream": true, "store": false});
        let create = read(message.to_string().as_bytes()).unwrap();
        assert!(matches!(create.request.input, Some(Input::Text(text)) if text == "hi"));
        assert_eq!((create.lane.as_deref(), create.generates), (Some("a"), false));
        assert_eq!(create.request.store, Some(false));
        assert!(read(br#"{"type": "response.create"}"#).unwrap().generates);
    }

    #[test]
    fn what_is_wrong_is_named_with_the_lane() {
        let check = |message: Value, param: Option<&str>, lane: Option<&str>| {
            let Refused { error, lane: found } = read(message.to_string().as_bytes()).unwrap_err();
            let refusal = refusal(&error, found);
            assert_eq!(refusal.error.param.as_deref(), param, "{message}");
            assert_eq!((refusal.status, refusal.stream_id.as_deref()), (400, lane), "{message}");
            assert!(refusal.error.code.is_some());
        };
        check(json!({"input": "hi"}), Some("type"), None);
        check(json!({"type": "session.update", "stream_id": "a"}), Some("type"), Some("a"));
        check(json!({"type": "response.steer", "input": "hi"}), Some("type"), None);
        check(json!({"type": "response.create", "background": true}), Some("background"), None);
        check(
            json!({"type": "response.create", "temperature": "hot", "stream_id": "a"}),
            Some("temperature"),
            Some("a"),
        );
        let long = "x".repeat(LANE_BYTES_MAX + 1);
        check(json!({"type": "response.create", "stream_id": long}), Some("stream_id"), None);
        check(json!([]), Some("."), None);
        assert!(matches!(read(b"{").unwrap_err().error, ApiError::NotJson { .. }));
    }

    #[test]
    fn an_event_carries_the_mark() {
        let event = r#"{"type":"response.created","sequence_number":0}"#;
        assert_eq!(in_lane(event, None), event);
        let marked: Value = serde_json::from_str(&in_lane(event, Some("a\"b"))).unwrap();
        assert_eq!(marked, json!({"type": "response.created", "sequence_number": 0, "stream_id": "a\"b"}));
    }
}
