//! What the three streaming APIs say, as far as a measurement listens.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::args::EndpointArg;

/// What the server counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(alias = "input_tokens", default)]
    pub prompt_tokens: u32,
    /// Tokens of the answer, reasoning included.
    #[serde(alias = "output_tokens", default)]
    pub completion_tokens: u32,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

impl Usage {
    /// Tokens of the prompt that the server had computed before.
    pub fn cached_tokens(&self) -> u32 {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0)
    }
}

/// What one event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// It brings reasoning.
    pub has_reasoning: bool,
    /// It brings text of the answer, or of a call.
    pub has_answer: bool,
    /// It ends the answer.
    pub is_end: bool,
    /// What was counted.
    pub usage: Option<Usage>,
    /// The server says that it failed.
    pub error: Option<String>,
}

/// Reads the data of an event.
///
/// Errors: it is no JSON of that API; in words.
pub fn hear(endpoint: EndpointArg, data: &[u8]) -> Result<Heard, String> {
    if data == b"[DONE]" {
        return Ok(Heard { is_end: true, ..Heard::default() });
    }
    match endpoint {
        EndpointArg::Chat | EndpointArg::Completions => parse::<Chunk>(data).map(Chunk::heard),
        EndpointArg::Responses => parse::<ResponseEvent>(data).map(ResponseEvent::heard),
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(data).map_err(|error| format!("an event is not what it should be: {error}"))
}

/// An event of Chat Completions or of Completions.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning: Option<String>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

impl Chunk {
    fn heard(self) -> Heard {
        let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let mut heard =
            Heard { usage: self.usage, error: self.error.as_ref().map(message), ..Heard::default() };
        for choice in self.choices.unwrap_or_default() {
            heard.has_answer |= is_said(&choice.text);
            heard.is_end |= choice.finish_reason.is_some();
            if let Some(delta) = choice.delta {
                heard.has_answer |=
                    is_said(&delta.content) || delta.tool_calls.is_some_and(|calls| !calls.is_empty());
                heard.has_reasoning |= is_said(&delta.reasoning) || is_said(&delta.reasoning_content);
            }
        }
        heard
    }
}

/// An event of Responses.
#[derive(Deserialize)]
struct ResponseEvent {
    r#type: String,
    delta: Option<serde_json::Value>,
    response: Option<ResponseObject>,
    message: Option<String>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ResponseObject {
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

impl ResponseEvent {
    fn heard(self) -> Heard {
        let is_said = self.delta.as_ref().and_then(|text| text.as_str()).is_some_and(|text| !text.is_empty());
        let is_failure = matches!(self.r#type.as_str(), "error" | "response.failed");
        let of_response = self.response.as_ref().and_then(|response| response.error.as_ref());
        let reason = self.error.as_ref().or(of_response).map(message).or(self.message);
        Heard {
            has_reasoning: is_said
                && matches!(
                    self.r#type.as_str(),
                    "response.reasoning_text.delta" | "response.reasoning_summary_text.delta"
                ),
            has_answer: is_said
                && matches!(
                    self.r#type.as_str(),
                    "response.output_text.delta"
                        | "response.function_call_arguments.delta"
                        | "response.refusal.delta"
                ),
            is_end: matches!(self.r#type.as_str(), "response.completed" | "response.incomplete"),
            usage: self.response.and_then(|response| response.usage),
            error: is_failure.then(|| reason.unwrap_or_else(|| "no reason is given".to_owned())),
        }
    }
}

/// An error object's message, or the object itself.
pub fn message(error: &serde_json::Value) -> String {
    error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Heard =
        Heard { has_reasoning: false, has_answer: false, is_end: false, usage: None, error: None };

    fn usage(prompt: u32, completion: u32, cached: Option<u32>) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            prompt_tokens_details: cached.map(|tokens| PromptDetails { cached_tokens: Some(tokens) }),
        })
    }

    #[test]
    fn events_of_all_three_apis() {
        use EndpointArg::{Chat, Completions, Responses};
        let check = |endpoint, data: &str, expect: Heard| {
            assert_eq!(hear(endpoint, data.as_bytes()), Ok(expect), "{data}");
        };
        let answer = || Heard { has_answer: true, ..NOTHING };
        let reasoning = || Heard { has_reasoning: true, ..NOTHING };
        let end = || Heard { is_end: true, ..NOTHING };
        check(Chat, r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, NOTHING);
        check(Chat, r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#, answer());
        check(Chat, r#"{"choices":[{"delta":{"reasoning_content":"a","content":null}}]}"#, reasoning());
        check(Chat, r#"{"choices":[{"delta":{"reasoning":"a"}}]}"#, reasoning());
        check(Chat, r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, answer());
        check(Chat, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, end());
        check(Chat, "[DONE]", end());
        let counted = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}"#;
        check(Chat, counted, Heard { usage: usage(7, 3, Some(2)), ..NOTHING });
        check(Chat, r#"{"error":{"message":"full"}}"#, Heard { error: Some("full".to_owned()), ..NOTHING });
        check(Completions, r#"{"choices":[{"text":"a"}],"usage":null}"#, answer());
        check(Responses, r#"{"type":"response.created","response":{"usage":null,"error":null}}"#, NOTHING);
        check(Responses, r#"{"type":"response.reasoning_text.delta","delta":"a"}"#, reasoning());
        check(Responses, r#"{"type":"response.output_text.delta","delta":"a"}"#, answer());
        let done =
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":3}}}"#;
        check(Responses, done, Heard { usage: usage(7, 3, None), ..end() });
        let failed = r#"{"type":"response.failed","response":{"error":{"message":"full"}}}"#;
        check(Responses, failed, Heard { error: Some("full".to_owned()), ..NOTHING });
        for bad in ["", "{", "[1]", "null", r#"{"choices":3}"#, "\u{fffd}"] {
            assert!(hear(Chat, bad.as_bytes()).is_err(), "{bad}");
            assert!(hear(Responses, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
