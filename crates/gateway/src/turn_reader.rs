//! A stream of the Responses API, read as one turn of a model's.
//!
//! Whoever runs tools over an upstream's model asks it in Responses, whatever the upstream speaks, and reads
//! the turn here, in the words that the machines of `api` take. What an upstream runs itself is passed over.

use gptoss_api::usage::TokenUsage;
use gptoss_harmony::{Call, Channel, Delta, TurnEnd};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::piece::Fault;
use crate::sse::Splitter;
use crate::usage;

/// More of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnPart {
    /// More of what it says.
    Delta(Delta),
    /// More of a summary of its reasoning.
    Summary(String),
}

/// Reads a turn.
#[derive(Debug, Default)]
pub struct TurnReader {
    splitter: Splitter,
    /// Whether the open message is said before a call.
    is_preamble: bool,
    /// The name of the open call, and its arguments so far.
    call: Option<(String, String)>,
    /// Whether the open item is reasoning of which nothing was told.
    is_unsaid: bool,
    /// Why it ended, when it has.
    pub end: Option<TurnEnd>,
    /// What it took, when that is said.
    pub usage: Option<TokenUsage>,
}

impl TurnReader {
    /// Takes more bytes, and gives what they say.
    ///
    /// Errors: they are malformed, or report an error; in the upstream's words.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<TurnPart>, String> {
        self.splitter.push(bytes);
        let mut parts = Vec::new();
        while let Some(event) = self.splitter.next().map_err(str::to_owned)? {
            let Some(data) = event.data.filter(|data| data != "[DONE]") else { continue };
            let event: Value = serde_json::from_str(&data).map_err(|_| "an event is not JSON".to_owned())?;
            self.event(&event, &mut parts).map_err(|fault| fault.0)?;
        }
        Ok(parts)
    }

    fn event(&mut self, event: &Value, parts: &mut Vec<TurnPart>) -> Result<(), Fault> {
        let delta = || event["delta"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "response.output_item.added" => self.open(&event["item"], parts),
            "response.reasoning_text.delta" => self.text(Channel::Analysis, delta(), parts),
            "response.reasoning_summary_text.delta" => {
                if std::mem::take(&mut self.is_unsaid) {
                    // A summary is of reasoning, which has to be there.
                    self.text(Channel::Analysis, String::new(), parts);
                }
                parts.push(TurnPart::Summary(delta()));
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                let channel = if self.is_preamble { Channel::Commentary } else { Channel::Final };
                self.text(channel, delta(), parts);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.arguments(delta(), parts);
            }
            "response.output_item.done" => self.close(&event["item"], parts),
            "response.completed" => self.ended(event, TurnEnd::Answer),
            "response.incomplete" => {
                let reason = event.pointer("/response/incomplete_details/reason").and_then(Value::as_str);
                self.ended(
                    event,
                    match reason {
                        Some("content_filter") => TurnEnd::Filtered,
                        Some("context_length_exceeded") => TurnEnd::Context,
                        _ => TurnEnd::Length,
                    },
                );
            }
            "response.failed" => {
                self.usage = read_usage(event);
                return Err(Fault::said(event.pointer("/response/error").unwrap_or(&Value::Null)));
            }
            "error" => {
                return Err(Fault::said(if event["error"].is_object() { &event["error"] } else { event }));
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, item: &Value, parts: &mut Vec<TurnPart>) {
        self.is_unsaid = item["type"] == "reasoning";
        match item["type"].as_str() {
            Some("message") => self.is_preamble = item["phase"] == "commentary",
            Some("function_call" | "custom_tool_call") => self.begin_call(item, parts),
            _ => {}
        }
    }

    fn begin_call(&mut self, item: &Value, parts: &mut Vec<TurnPart>) {
        let name = item["name"].as_str().unwrap_or_default();
        let name = match item["namespace"].as_str() {
            Some(namespace) => format!("{namespace}__{name}"),
            None => name.to_owned(),
        };
        self.call = Some((name.clone(), String::new()));
        parts.push(TurnPart::Delta(Delta::CallStarted { name }));
    }

    fn text(&mut self, channel: Channel, text: String, parts: &mut Vec<TurnPart>) {
        self.is_unsaid = false;
        parts.push(TurnPart::Delta(Delta::Text { channel, text, logprobs: Vec::new() }));
    }

    fn arguments(&mut self, more: String, parts: &mut Vec<TurnPart>) {
        if let Some((_, arguments)) = &mut self.call {
            arguments.push_str(&more);
            parts.push(TurnPart::Delta(Delta::CallArguments { text: more, logprobs: Vec::new() }));
        }
    }

    /// Some hosts tell arguments at the end alone, and a call without its beginning.
    fn close(&mut self, item: &Value, parts: &mut Vec<TurnPart>) {
        if !matches!(item["type"].as_str(), Some("function_call" | "custom_tool_call")) {
            return;
        }
        if self.call.is_none() {
            self.begin_call(item, parts);
        }
        let whole = item["arguments"].as_str().or(item["input"].as_str()).unwrap_or_default();
        if self.call.as_ref().is_some_and(|(_, arguments)| arguments.is_empty()) && !whole.is_empty() {
            self.arguments(whole.to_owned(), parts);
        }
        let Some((name, arguments)) = self.call.take() else { return };
        let recipient = format!("functions.{name}");
        let call = Call { name, recipient, channel: Some("commentary".to_owned()), arguments };
        parts.push(TurnPart::Delta(Delta::Called(call)));
    }

    fn ended(&mut self, event: &Value, end: TurnEnd) {
        self.usage = read_usage(event);
        self.end = Some(end);
    }
}

fn read_usage(event: &Value) -> Option<TokenUsage> {
    event.pointer("/response/usage").and_then(|told| usage::read(Dialect::Responses, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(events: &[Value], step: usize) -> (Vec<TurnPart>, TurnReader) {
        let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let mut reader = TurnReader::default();
        let parts = text.as_bytes().chunks(step).flat_map(|bytes| reader.push(bytes).unwrap()).collect();
        (parts, reader)
    }

    #[test]
    fn a_turn_with_thought_words_and_a_call() {
        let item = |item: Value| json!({"type": "response.output_item.added", "item": item});
        let delta = |kind: &str, text: &str| json!({"type": format!("response.{kind}.delta"), "delta": text});
        let call = json!({"type": "function_call", "name": "f", "arguments": "{\"a\":1}"});
        let events = [
            json!({"type": "response.created", "response": {}}),
            item(json!({"type": "reasoning"})),
            delta("reasoning_summary_text", "short"),
            item(json!({"type": "message", "phase": "commentary"})),
            delta("output_text", "Let me see."),
            item(json!({"type": "function_call", "name": "f"})),
            delta("function_call_arguments", "{\"a\""),
            delta("function_call_arguments", ":1}"),
            json!({"type": "response.output_item.done", "item": call}),
            // One of which only the end is told.
            json!({"type": "response.output_item.done", "item": call}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 2}}}),
        ];
        for step in [1, 7, 10_000] {
            let (parts, reader) = read(&events, step);
            let text = |channel, text: &str| {
                TurnPart::Delta(Delta::Text { channel, text: text.to_owned(), logprobs: Vec::new() })
            };
            let more = |text: &str| {
                TurnPart::Delta(Delta::CallArguments { text: text.to_owned(), logprobs: Vec::new() })
            };
            let begun = || TurnPart::Delta(Delta::CallStarted { name: "f".to_owned() });
            let whole = || {
                TurnPart::Delta(Delta::Called(Call {
                    name: "f".to_owned(),
                    recipient: "functions.f".to_owned(),
                    channel: Some("commentary".to_owned()),
                    arguments: "{\"a\":1}".to_owned(),
                }))
            };
            let expect = [
                text(Channel::Analysis, ""),
                TurnPart::Summary("short".to_owned()),
                text(Channel::Commentary, "Let me see."),
                begun(),
                more("{\"a\""),
                more(":1}"),
                whole(),
                begun(),
                more("{\"a\":1}"),
                whole(),
            ];
            assert_eq!(parts, expect);
            assert_eq!((reader.end, reader.usage.unwrap().prompt), (Some(TurnEnd::Answer), 3));
        }
    }

    #[test]
    fn an_error_and_a_limit_end_it() {
        let failed = json!({"type": "response.failed", "response": {"error": {"message": "boom"}}});
        let text = format!("data: {failed}\n\n");
        assert_eq!(TurnReader::default().push(text.as_bytes()).unwrap_err(), "boom");
        let text = "data: {\"type\":\"error\",\"message\":\"bang\"}\n\n";
        assert_eq!(TurnReader::default().push(text.as_bytes()).unwrap_err(), "bang");
        let cut = json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
        assert_eq!(read(&[cut], 9).1.end, Some(TurnEnd::Length));
    }
}
