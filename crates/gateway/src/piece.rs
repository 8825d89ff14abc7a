//! What an upstream's stream says, in the words that the machines of `api` take.
//!
//! [`ChatReader`] and [`MessagesReader`] read the events of the two APIs that an answer is translated from.
//! Whatever is malformed, or an error in the middle, ends the answer.

use gptoss_api::usage::TokenUsage;
use gptoss_harmony::{Channel, Delta, TurnEnd};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::usage;

/// Why an upstream's answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

impl Fault {
    /// With words that are our own.
    pub fn new(words: impl Into<String>) -> Fault {
        Fault(words.into())
    }

    /// What an error event or body says.
    pub fn said(error: &Value) -> Fault {
        let words = error["message"].as_str().or(error.as_str()).unwrap_or("it reports an error");
        Fault(words.chars().take(crate::limits::DETAIL_CHARS_MAX).collect())
    }
}

/// An answer while it is read.
#[derive(Debug, Default)]
pub struct Answer {
    /// What it took, when that is said.
    pub usage: Option<TokenUsage>,
    /// Why it ended, when it has.
    pub end: Option<TurnEnd>,
    /// The stop string that ended it.
    pub stop: Option<String>,
    /// Whether nothing more comes.
    pub is_over: bool,
}

/// Reads an API's events.
#[derive(Debug)]
pub enum Reader {
    /// Chat Completions.
    Chat(ChatReader),
    /// Messages.
    Messages(MessagesReader),
}

impl Reader {
    /// Of an API; None where answers are not translated from it.
    pub fn of(dialect: Dialect) -> Option<Reader> {
        match dialect {
            Dialect::Chat => Some(Reader::Chat(ChatReader::default())),
            Dialect::Messages => Some(Reader::Messages(MessagesReader::default())),
            Dialect::Completions | Dialect::Responses => None,
        }
    }

    /// The deltas of an event.
    ///
    /// Errors: it is malformed, or reports one.
    pub fn push(&mut self, data: &str) -> Result<Vec<Delta>, Fault> {
        match self {
            Reader::Chat(reader) => reader.push(data),
            Reader::Messages(reader) => reader.push(data),
        }
    }

    /// What is known of the answer besides.
    pub fn answer(&self) -> &Answer {
        match self {
            Reader::Chat(reader) => &reader.answer,
            Reader::Messages(reader) => &reader.answer,
        }
    }
}

fn json(data: &str) -> Result<Value, Fault> {
    let value: Value = serde_json::from_str(data).map_err(|_| Fault::new("an event is not JSON"))?;
    match value.get("error") {
        Some(error) if !error.is_null() => Err(Fault::said(error)),
        _ => Ok(value),
    }
}

fn text(channel: Channel, text: &str) -> Delta {
    Delta::Text { channel, text: text.to_owned(), logprobs: Vec::new() }
}

/// Reads Chat Completions.
#[derive(Debug, Default)]
pub struct ChatReader {
    answer: Answer,
    /// The index of the call that was begun last.
    call: Option<u64>,
}

impl ChatReader {
    fn push(&mut self, data: &str) -> Result<Vec<Delta>, Fault> {
        if data == "[DONE]" {
            self.answer.is_over = true;
            return Ok(Vec::new());
        }
        let chunk = json(data)?;
        if let Some(told) = chunk.get("usage").and_then(|told| usage::read(Dialect::Chat, told)) {
            self.answer.usage = Some(told);
        }
        let choices = chunk["choices"].as_array().ok_or_else(|| Fault::new("a chunk has no choices"))?;
        let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else {
            return Ok(Vec::new());
        };
        let delta = &choice["delta"];
        let mut deltas = Vec::new();
        let thought = delta["reasoning_content"].as_str().or_else(|| delta["reasoning"].as_str());
        if let Some(thought) = thought.filter(|thought| !thought.is_empty()) {
            deltas.push(text(Channel::Analysis, thought));
        }
        for name in ["content", "refusal"] {
            if let Some(said) = delta[name].as_str().filter(|said| !said.is_empty()) {
                deltas.push(text(Channel::Final, said));
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            self.call(call, &mut deltas);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.answer.end = Some(match reason {
                "tool_calls" | "function_call" => TurnEnd::Call,
                "length" => TurnEnd::Length,
                "content_filter" => TurnEnd::Filtered,
                // Some hosts say `stop` behind a call.
                _ if self.call.is_some() => TurnEnd::Call,
                _ => TurnEnd::Answer,
            });
        }
        Ok(deltas)
    }

    fn call(&mut self, call: &Value, deltas: &mut Vec<Delta>) {
        let function = &call["function"];
        let name = function["name"].as_str().filter(|name| !name.is_empty());
        let index = call["index"].as_u64();
        let is_new = self.call.is_none() || index.is_some_and(|index| Some(index) != self.call);
        let names_another = index.is_none() && call["id"].is_string();
        if let Some(name) = name.filter(|_| is_new || names_another) {
            self.call = Some(index.unwrap_or_else(|| self.call.map_or(0, |before| before + 1)));
            deltas.push(Delta::CallStarted { name: name.to_owned() });
        }
        if let Some(more) = function["arguments"].as_str().filter(|more| !more.is_empty()) {
            deltas.push(Delta::CallArguments { text: more.to_owned(), logprobs: Vec::new() });
        }
    }
}

/// Reads Messages.
#[derive(Debug, Default)]
pub struct MessagesReader {
    answer: Answer,
    /// Whether the open block is a call that has no arguments yet.
    is_bare_call: bool,
}

impl MessagesReader {
    fn push(&mut self, data: &str) -> Result<Vec<Delta>, Fault> {
        let event = json(data)?;
        let answer = &mut self.answer;
        answer.usage = usage::of_message(answer.usage, &event);
        Ok(match event["type"].as_str().ok_or_else(|| Fault::new("an event has no type"))? {
            "content_block_start" => {
                let block = &event["content_block"];
                self.is_bare_call = block["type"] == "tool_use";
                match block["type"].as_str() {
                    Some("tool_use") => {
                        let name = block["name"].as_str().unwrap_or_default().to_owned();
                        vec![Delta::CallStarted { name }]
                    }
                    Some("text") => said(Channel::Final, &block["text"]),
                    Some("thinking") => said(Channel::Analysis, &block["thinking"]),
                    _ => Vec::new(),
                }
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                match delta["type"].as_str() {
                    Some("text_delta") => said(Channel::Final, &delta["text"]),
                    Some("thinking_delta") => said(Channel::Analysis, &delta["thinking"]),
                    Some("input_json_delta") => match delta["partial_json"].as_str() {
                        Some(more) if !more.is_empty() => {
                            self.is_bare_call = false;
                            vec![Delta::CallArguments { text: more.to_owned(), logprobs: Vec::new() }]
                        }
                        _ => Vec::new(),
                    },
                    _ => Vec::new(),
                }
            }
            // A call without arguments says nothing there, and an object elsewhere.
            "content_block_stop" if std::mem::take(&mut self.is_bare_call) => {
                vec![Delta::CallArguments { text: "{}".to_owned(), logprobs: Vec::new() }]
            }
            "message_delta" => {
                let delta = &event["delta"];
                answer.stop = delta["stop_sequence"].as_str().map(str::to_owned);
                answer.end = delta["stop_reason"].as_str().map(|reason| match reason {
                    "tool_use" => TurnEnd::Call,
                    "max_tokens" => TurnEnd::Length,
                    "refusal" => TurnEnd::Filtered,
                    "model_context_window_exceeded" => TurnEnd::Context,
                    _ => TurnEnd::Answer,
                });
                Vec::new()
            }
            "message_stop" => {
                answer.is_over = true;
                Vec::new()
            }
            _ => Vec::new(),
        })
    }
}

fn said(channel: Channel, words: &Value) -> Vec<Delta> {
    let words = words.as_str().filter(|words| !words.is_empty());
    words.map(|words| text(channel, words)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, events: &[&str]) -> (Vec<Delta>, Reader) {
        let mut reader = Reader::of(dialect).unwrap();
        let deltas = events.iter().flat_map(|event| reader.push(event).unwrap()).collect();
        (deltas, reader)
    }

    fn arguments(text: &str) -> Delta {
        Delta::CallArguments { text: text.to_owned(), logprobs: Vec::new() }
    }

    #[test]
    fn a_chat_with_two_calls() {
        let (deltas, reader) = read(
            Dialect::Chat,
            &[
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"so","content":""}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"hi"}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
                "[DONE]",
            ],
        );
        let call = || Delta::CallStarted { name: "f".into() };
        let expect = [
            text(Channel::Analysis, "so"),
            text(Channel::Final, "hi"),
            call(),
            arguments("{}"),
            call(),
            arguments("{}"),
        ];
        assert_eq!(deltas, expect);
        let Answer { usage, end, is_over, .. } = reader.answer();
        assert_eq!((usage.unwrap().prompt, *end, *is_over), (3, Some(TurnEnd::Call), true));
    }

    #[test]
    fn a_message_with_thinking_and_a_call_without_arguments() {
        let (deltas, reader) = read(
            Dialect::Messages,
            &[
                r#"{"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":1}}}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                r#"{"type":"content_block_stop","index":1}"#,
                r#"{"type":"ping"}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
                r#"{"type":"message_stop"}"#,
            ],
        );
        let expect =
            [text(Channel::Analysis, "so"), Delta::CallStarted { name: "f".into() }, arguments("{}")];
        assert_eq!(deltas, expect);
        let usage = reader.answer().usage.unwrap();
        assert_eq!((usage.prompt, usage.cached, usage.completion), (7, 2, 9));
        assert!(reader.answer().is_over);
    }

    #[test]
    fn what_is_malformed_or_an_error_ends_it() {
        let check = |dialect, data: &str, expect: &str| {
            let fault = Reader::of(dialect).unwrap().push(data).unwrap_err();
            assert!(fault.0.contains(expect), "{fault:?}");
        };
        check(Dialect::Chat, "{", "not JSON");
        check(Dialect::Chat, "{}", "no choices");
        check(Dialect::Chat, r#"{"error":{"message":"boom"}}"#, "boom");
        check(
            Dialect::Messages,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"full"}}"#,
            "full",
        );
    }
}
