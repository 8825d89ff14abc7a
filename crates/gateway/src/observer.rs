//! What passes of an answer in the client's own API, and what is learned of it on the way.
//!
//! Events pass as they came. What is changed is what was changed in the request (a usage that only this
//! server asked for), and reasoning that the client may not see.

use gptoss_api::generation::visibility::Visibility;
use gptoss_api::usage::TokenUsage;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::piece::Fault;
use crate::sse::{Event, framed};
use crate::usage;

/// What is known of an answer that passes.
#[derive(Debug)]
pub struct Observer {
    /// The API it is in.
    pub dialect: Dialect,
    /// Whether the client gets the usage of a chat's stream.
    wants_usage: bool,
    visibility: Visibility,
    /// What it took, when that is said.
    pub usage: Option<TokenUsage>,
    /// Whether nothing more comes.
    pub is_over: bool,
    /// Whether all there is to say has been said, though the last word is missing.
    pub has_ended: bool,
    /// The number of the next event of a response.
    pub next_number: u64,
    /// Events with words in them: a guess at the tokens where nobody counts them.
    pub num_words: u64,
}

impl Observer {
    /// Before the first event.
    pub fn new(dialect: Dialect, wants_usage: bool, visibility: Visibility) -> Observer {
        Observer {
            dialect,
            wants_usage,
            visibility,
            usage: None,
            is_over: false,
            has_ended: false,
            next_number: 0,
            num_words: 0,
        }
    }

    /// What passes of an event; None when nothing does.
    ///
    /// Errors: it is malformed, or reports an error.
    pub fn see(&mut self, event: &Event) -> Result<Option<Bytes>, Fault> {
        let Some(data) = &event.data else { return Ok(Some(event.raw.clone())) };
        if data == "[DONE]" {
            self.is_over = true;
            return Ok(Some(event.raw.clone()));
        }
        let mut value: Value = serde_json::from_str(data).map_err(|_| Fault::new("an event is not JSON"))?;
        if event.name.as_deref() == Some("error") || value["type"] == "error" {
            let error = if value["error"].is_object() { &value["error"] } else { &value };
            return Err(Fault::said(error));
        }
        let passes = match self.dialect {
            Dialect::Chat | Dialect::Completions => self.see_chunk(&value)?,
            Dialect::Responses => self.see_response(&value),
            Dialect::Messages => self.see_message(&value)?,
        };
        if !passes {
            return Ok(None);
        }
        if self.visibility == Visibility::Raw {
            return Ok(Some(event.raw.clone()));
        }
        Ok(match narrow(self.dialect, &mut value) {
            Narrowed::Same => Some(event.raw.clone()),
            Narrowed::Changed => Some(framed(event.name.as_deref(), &value).into()),
            Narrowed::Gone => None,
        })
    }

    fn see_chunk(&mut self, chunk: &Value) -> Result<bool, Fault> {
        if !chunk["error"].is_null() {
            return Err(Fault::said(&chunk["error"]));
        }
        let choices = chunk["choices"].as_array().ok_or_else(|| Fault::new("a chunk has no choices"))?;
        self.num_words += u64::from(!choices.is_empty());
        self.has_ended |= choices.iter().any(|choice| choice["finish_reason"].is_string());
        let told = chunk.get("usage").and_then(|told| usage::read(self.dialect, told));
        let is_usage_alone = told.is_some() && choices.is_empty();
        self.usage = told.or(self.usage);
        Ok(self.wants_usage || !is_usage_alone)
    }

    fn see_response(&mut self, event: &Value) -> bool {
        if let Some(number) = event["sequence_number"].as_u64() {
            self.next_number = number + 1;
        }
        let kind = event["type"].as_str().unwrap_or_default();
        self.num_words += u64::from(kind.ends_with(".delta"));
        if matches!(kind, "response.completed" | "response.incomplete" | "response.failed") {
            self.is_over = true;
        }
        let told = event.pointer("/response/usage").and_then(|told| usage::read(self.dialect, told));
        self.usage = told.or(self.usage);
        true
    }

    fn see_message(&mut self, event: &Value) -> Result<bool, Fault> {
        let kind = event["type"].as_str().ok_or_else(|| Fault::new("an event has no type"))?;
        self.num_words += u64::from(kind == "content_block_delta");
        self.is_over |= kind == "message_stop";
        self.usage = usage::of_message(self.usage, event);
        Ok(true)
    }
}

/// What passes of an answer without a stream, with what it took.
///
/// Errors: it is no answer of that API.
pub fn whole(
    dialect: Dialect,
    bytes: Bytes,
    visibility: Visibility,
) -> Result<(Bytes, Option<TokenUsage>), Fault> {
    let mut value: Value =
        serde_json::from_slice(&bytes).map_err(|_| Fault::new("the answer is not JSON"))?;
    let content = match dialect {
        Dialect::Chat | Dialect::Completions => "choices",
        Dialect::Responses => "output",
        Dialect::Messages => "content",
    };
    if !value[content].is_array() {
        return Err(match value.get("error") {
            Some(error) if !error.is_null() => Fault::said(error),
            _ => Fault::new(format!("the answer has no {content}")),
        });
    }
    let told = value.get("usage").and_then(|told| usage::read(dialect, told));
    if visibility == Visibility::Raw {
        return Ok((bytes, told));
    }
    narrow(dialect, &mut value);
    Ok((value.to_string().into(), told))
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrowed {
    Same,
    Changed,
    /// All of it is reasoning.
    Gone,
}

/// Takes the reasoning out of an event or a body.
fn narrow(dialect: Dialect, value: &mut Value) -> Narrowed {
    let mut is_changed = false;
    match dialect {
        Dialect::Chat | Dialect::Completions => {
            let choices = value.get_mut("choices").and_then(Value::as_array_mut);
            for choice in choices.into_iter().flatten() {
                for place in ["delta", "message"] {
                    let Some(said) = choice.get_mut(place).and_then(Value::as_object_mut) else { continue };
                    for name in ["reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"] {
                        is_changed |= said.remove(name).is_some();
                    }
                }
            }
        }
        Dialect::Responses => {
            let kind = value["type"].as_str().unwrap_or_default();
            if kind.starts_with("response.reasoning") || value["part"]["type"] == "reasoning_text" {
                return Narrowed::Gone;
            }
            let mut empty = |item: &mut Value| {
                if item["type"] == "reasoning" {
                    item["content"] = json!([]);
                    item["summary"] = json!([]);
                    is_changed = true;
                }
            };
            value.get_mut("item").into_iter().for_each(&mut empty);
            for place in ["/output", "/response/output"] {
                value
                    .pointer_mut(place)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                    .for_each(&mut empty);
            }
        }
        Dialect::Messages => {
            let mut empty = |block: &mut Value| {
                if block["thinking"].as_str().is_some_and(|text| !text.is_empty()) {
                    block["thinking"] = json!("");
                    is_changed = true;
                }
            };
            for place in ["delta", "content_block"] {
                value.get_mut(place).into_iter().for_each(&mut empty);
            }
            value.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut empty);
        }
    }
    if is_changed { Narrowed::Changed } else { Narrowed::Same }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Splitter;

    fn passed(dialect: Dialect, wants_usage: bool, visibility: Visibility, text: &str) -> (String, Observer) {
        let mut observer = Observer::new(dialect, wants_usage, visibility);
        let mut splitter = Splitter::default();
        splitter.push(text.as_bytes());
        let mut out = Vec::new();
        while let Some(event) = splitter.next().unwrap() {
            out.extend(observer.see(&event).unwrap().unwrap_or_default());
        }
        (String::from_utf8(out).unwrap(), observer)
    }

    const CHAT: &str = concat!(
        ": hello\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"so\",\"content\":\"hi\"}}],\"x\": 1.50}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n"
    );

    #[test]
    fn a_chat_passes_to_the_letter() {
        let (out, observer) = passed(Dialect::Chat, true, Visibility::Raw, CHAT);
        assert_eq!(out, CHAT);
        assert!(observer.is_over && observer.has_ended);
        assert_eq!(observer.usage.unwrap().prompt, 3);
        let (out, observer) = passed(Dialect::Chat, false, Visibility::Raw, CHAT);
        assert!(!out.contains("usage") && out.contains("1.50"), "{out}");
        assert_eq!(observer.usage.unwrap().completion, 2);
    }

    #[test]
    fn reasoning_that_may_not_be_seen_does_not_pass() {
        let (out, _) = passed(Dialect::Chat, true, Visibility::Hidden, CHAT);
        assert!(!out.contains("\"so\"") && out.contains("hi"), "{out}");
        let text = concat!(
            "event: response.reasoning_text.delta\ndata: {\"type\":\"response.reasoning_text.delta\",\"delta\":\"so\",\"sequence_number\":4}\n\n",
            "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\",\"content\":[{\"text\":\"so\"}]}}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":5,\"response\":{\"output\":[{\"type\":\"reasoning\",\"summary\":[{\"text\":\"so\"}]}],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        );
        let (out, observer) = passed(Dialect::Responses, false, Visibility::Summary, text);
        assert!(!out.contains("so\""), "{out}");
        assert_eq!((observer.next_number, observer.is_over), (6, true));
        let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"so\"}}\n\n";
        assert!(!passed(Dialect::Messages, false, Visibility::Hidden, text).0.contains("\"so\""));
        let body =
            Bytes::from_static(br#"{"choices":[{"message":{"reasoning_content":"so","content":"hi"}}]}"#);
        let (out, _) = whole(Dialect::Chat, body, Visibility::Hidden).unwrap();
        assert!(!String::from_utf8_lossy(&out).contains("\"so\""));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["", "<html>", "{}", "[]", r#"{"choices":3}"#, r#"{"error":{"message":"boom"}}"#] {
            assert!(whole(Dialect::Chat, Bytes::from(text), Visibility::Raw).is_err(), "{text}");
        }
        let mut observer = Observer::new(Dialect::Messages, false, Visibility::Raw);
        let event = |name: Option<&str>, data: &str| Event {
            raw: Bytes::new(),
            name: name.map(str::to_owned),
            data: Some(data.to_owned()),
        };
        assert!(observer.see(&event(Some("error"), r#"{"type":"error","error":{"message":"m"}}"#)).is_err());
        assert!(observer.see(&event(None, "{")).is_err());
    }
}
