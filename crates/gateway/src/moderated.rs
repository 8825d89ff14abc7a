//! What was found in an answer, told in the answer itself: in its last event, or in the whole.

use hyper::body::Bytes;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::raw_object::RawObject;
use crate::sse::{Event, Splitter, event};

/// Most of the end of a stream that waits. Units: bytes.
const TAIL_BYTES_MAX: usize = 1 << 20;
/// The name of the member that tells it.
const MODERATION: &str = "moderation";

/// Whether answers of the API have a place for it.
pub fn tells(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Chat | Dialect::Responses)
}

/// The answer with what was found; None where there is no place for that.
pub fn moderated(dialect: Dialect, bytes: &[u8], is_stream: bool, found: &Value) -> Option<Bytes> {
    if !tells(dialect) {
        return None;
    }
    if !is_stream {
        let mut body = RawObject::parse(bytes).ok()?;
        body.set(MODERATION, found);
        return Some(body.bytes().into());
    }
    let events = events(bytes);
    let (at, told) =
        events.iter().enumerate().rev().find_map(|(at, event)| Some((at, with(dialect, event, found)?)))?;
    let raw = |events: &[Event]| events.iter().flat_map(|event| event.raw.to_vec()).collect::<Vec<u8>>();
    Some([raw(&events[..at]), told, raw(&events[at + 1..])].concat().into())
}

/// An event that tells it; None where it is not the place.
fn with(dialect: Dialect, told: &Event, found: &Value) -> Option<Vec<u8>> {
    let mut body = RawObject::parse(told.data.as_ref()?.as_bytes()).ok()?;
    match dialect {
        Dialect::Responses => {
            body.value("type").filter(is_last)?;
            let mut response = RawObject::parse(body.raw("response")?.get().as_bytes()).ok()?;
            response.set(MODERATION, found);
            body.set("response", &response);
        }
        _ => {
            body.raw("choices")?;
            body.set(MODERATION, found);
        }
    }
    let mut bytes = Vec::new();
    event(&mut bytes, told.name.as_deref(), &body);
    Some(bytes)
}

fn is_last(kind: &Value) -> bool {
    matches!(kind.as_str(), Some("response.completed" | "response.incomplete" | "response.failed"))
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    std::iter::from_fn(|| splitter.next().ok().flatten()).collect()
}

/// The end of a stream, which waits until it is known what was found before it.
pub struct Tail {
    dialect: Dialect,
    splitter: Splitter,
    held: Vec<u8>,
}

impl Tail {
    /// Of a stream of that API.
    pub fn new(dialect: Dialect) -> Tail {
        Tail { dialect, splitter: Splitter::default(), held: Vec::new() }
    }

    /// Takes more of the stream, and gives what goes on at once.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.splitter.push(bytes);
        let mut passes = Vec::new();
        while let Ok(Some(event)) = self.splitter.next() {
            if event.data.is_none() {
                passes.extend_from_slice(&event.raw);
            } else if is_end(self.dialect, &event) && self.held.len() < TAIL_BYTES_MAX {
                self.held.extend_from_slice(&event.raw);
            } else {
                // It was not the end.
                passes.append(&mut self.held);
                passes.extend_from_slice(&event.raw);
            }
        }
        passes
    }

    /// What waits.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }
}

/// Whether an event may be among the last.
fn is_end(dialect: Dialect, event: &Event) -> bool {
    let Some(data) = event.data.as_deref().filter(|data| *data != "[DONE]") else { return true };
    let Ok(value) = serde_json::from_str::<Value>(data) else { return false };
    match dialect {
        Dialect::Chat | Dialect::Completions => value["choices"].as_array().is_some_and(|choices| {
            choices.is_empty() || choices.iter().any(|choice| choice["finish_reason"].is_string())
        }),
        Dialect::Responses => is_last(&value["type"]),
        Dialect::Messages => value["type"] == "message_stop" || value["delta"]["stop_reason"].is_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(dialect: Dialect, text: &str, is_stream: bool) -> String {
        let bytes = moderated(dialect, text.as_bytes(), is_stream, &json!({"f": 1}));
        bytes.map_or_else(|| text.to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn it_stands_in_the_last_event_or_in_the_whole() {
        let chat = r#"{"choices":[],"x":1.50}"#;
        let with = r#"{"choices":[],"x":1.50,"moderation":{"f":1}}"#;
        assert_eq!(told(Dialect::Chat, chat, false), with);
        let stream = format!("data: {chat}\n\ndata: {chat}\n\n: note\n\ndata: [DONE]\n\n");
        let expect = format!("data: {chat}\n\ndata: {with}\n\n: note\n\ndata: [DONE]\n\n");
        assert_eq!(told(Dialect::Chat, &stream, true), expect);
        let end = r#"{"type":"response.completed","response":{"id":"r","x":1.50}}"#;
        let stream =
            format!("event: a\ndata: {{\"type\":\"a\"}}\n\nevent: response.completed\ndata: {end}\n\n");
        let expect = stream.replace("1.50}", r#"1.50,"moderation":{"f":1}}"#);
        assert_eq!(told(Dialect::Responses, &stream, true), expect);
        for (dialect, is_stream) in
            [(Dialect::Messages, false), (Dialect::Completions, true), (Dialect::Chat, true)]
        {
            assert_eq!(told(dialect, chat, is_stream), chat);
        }
    }

    #[test]
    fn the_end_of_a_stream_waits_and_nothing_else_does() {
        let check = |dialect, events: &[Value], num_passing: usize, last: &str| {
            let lines: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            let all = lines.concat() + last;
            for step in [1, 5, all.len()] {
                let mut tail = Tail::new(dialect);
                let passed: Vec<u8> =
                    all.as_bytes().chunks(step).flat_map(|bytes| tail.push(bytes)).collect();
                assert_eq!(String::from_utf8(passed).unwrap(), lines[..num_passing].concat());
                let held = String::from_utf8(tail.finish()).unwrap();
                assert_eq!(held, lines[num_passing..].concat() + last);
            }
        };
        let say = |end: Value| json!({"choices": [{"delta": {}, "finish_reason": end}]});
        // The other choice goes on.
        let chat =
            [say(json!("stop")), say(Value::Null), say(json!("stop")), json!({"choices": [], "usage": {}})];
        check(Dialect::Chat, &chat, 2, "data: [DONE]\n\n");
        let events = ["response.created", "response.output_text.delta", "response.completed"];
        check(Dialect::Responses, &events.map(|kind| json!({"type": kind})), 2, "");
        let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
        check(Dialect::Messages, &[json!({"type": "ping"}), delta, json!({"type": "message_stop"})], 1, "");
    }
}
