//! A server of OpenAI's Chat Completions as the one who answers.
//!
//! A request that may pass the next time (429, 5xx, a few other statuses, a lost connection, no answer in
//! time, an answer that holds no message) is sent again after a pause that doubles, or that the server names;
//! how often is bounded. Everything else that is not an answer ends the question at once. The calling thread
//! waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gptoss_eval::Response;
use serde_json::{Map, Value, json};
use ureq::{Agent, RequestBuilder, http};

use crate::proxy::proxy_to;

/// Longest pause before a request is sent again, whoever names it.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long a pause goes on before the thread looks whether the run is to end.
const GLANCE: Duration = Duration::from_millis(50);
/// Longest answer that is read. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Characters of a server's words that are told.
const DETAIL_CHARS_MAX: usize = 300;

/// A server, a model on it, and how patient one is with them.
#[derive(Debug, Clone)]
pub struct Address {
    agent: Agent,
    /// The base address as it was given.
    pub base: String,
    /// The model's name there.
    pub model: String,
    key: Option<String>,
    /// More fields of every body.
    pub extra: Map<String, Value>,
    patience: Patience,
}

/// How long a question is tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time of one request.
    pub timeout: Duration,
    /// Times that a request is sent again.
    pub retries: u32,
    /// The first pause before it is.
    pub pause: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server, or the way to it; in words.
    Failed(String),
    /// The run is to end.
    Stopped,
}

/// One request that brought no answer.
struct Miss {
    words: String,
    may_pass: bool,
    /// How long the server wants to be left alone.
    retry_after: Option<Duration>,
}

impl Address {
    /// The model `model` of the server whose API is at `base`.
    pub fn new(base: &str, model: String, key: Option<String>, patience: Patience) -> Address {
        let config = Agent::config_builder()
            .timeout_global(Some(patience.timeout))
            .http_status_as_error(false)
            .user_agent(concat!("gptoss/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy_to(base));
        let base = base.trim_end_matches('/').to_owned();
        Address { agent: config.build().into(), base, model, key, extra: Map::new(), patience }
    }

    /// Puts a question: the fields of its body but for the model's name.
    ///
    /// Errors: no answer after as many tries as there may be, or the run is to end.
    pub fn ask(&self, question: &Map<String, Value>, stop: &AtomicBool) -> Result<Response, Failure> {
        let mut body = Map::from_iter([("model".to_owned(), json!(self.model))]);
        body.extend(question.clone());
        body.extend(self.extra.clone());
        let body = Value::Object(body).to_string();
        let mut pause = self.patience.pause;
        for tries_left in (0..=self.patience.retries).rev() {
            if stop.load(Ordering::Relaxed) {
                return Err(Failure::Stopped);
            }
            let miss = match self.post(&body) {
                Ok(reply) => return Ok(reply),
                Err(miss) => miss,
            };
            if !miss.may_pass || tries_left == 0 {
                return Err(Failure::Failed(miss.words));
            }
            wait(miss.retry_after.unwrap_or(pause).min(PAUSE_MAX), stop);
            pause = pause.saturating_mul(2);
        }
        Err(Failure::Stopped)
    }

    fn post(&self, body: &str) -> Result<Response, Miss> {
        gptoss_egress::check("a model at an address").map_err(|closed| Miss {
            words: closed.to_string(),
            may_pass: false,
            retry_after: None,
        })?;
        let request =
            self.agent.post(format!("{}/chat/completions", self.base)).content_type("application/json");
        let mut response = self.with_key(request).send(body).map_err(|error| lost(&error))?;
        let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let answer = answer.map_err(|error| lost(&error))?;
        if response.status().is_success() {
            return reply(&answer).map_err(|words| Miss { words, may_pass: true, retry_after: None });
        }
        Err(refused(&response, &answer))
    }

    /// The first model that a server lists.
    ///
    /// Errors: in words, when it lists none or does not answer.
    pub fn first_model(&self) -> Result<String, String> {
        let request = self.agent.get(format!("{}/models", self.base));
        let mut response = self.with_key(request).call().map_err(|error| error.to_string())?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let list: Value = serde_json::from_slice(&body.map_err(|error| error.to_string())?)
            .map_err(|error| format!("the list of models: {error}"))?;
        list["data"][0]["id"].as_str().map(str::to_owned).ok_or_else(|| "it lists no model".to_owned())
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }
}

/// Sleeps, but not longer than the run goes on.
fn wait(pause: Duration, stop: &AtomicBool) {
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let left = pause.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(GLANCE));
    }
}

fn lost(error: &ureq::Error) -> Miss {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
    let may_pass = matches!(error, Timeout(_) | Io(_) | ConnectionFailed | HostNotFound | Protocol(_));
    Miss { words: error.to_string(), may_pass, retry_after: None }
}

fn refused<T>(response: &http::Response<T>, answer: &[u8]) -> Miss {
    let status = response.status().as_u16();
    let said = match serde_json::from_slice::<Value>(answer) {
        Ok(json) => json["error"]["message"].as_str().map_or_else(|| json.to_string(), str::to_owned),
        Err(_) => String::from_utf8_lossy(answer).into_owned(),
    };
    let said: String = said.trim().chars().take(DETAIL_CHARS_MAX).collect();
    // Seconds; a date is as good as no header, since the pause doubles anyway.
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Miss {
        words: format!("status {status}: {said}"),
        may_pass: matches!(status, 408 | 409 | 425 | 429 | 500..=599),
        retry_after: seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok()),
    }
}

/// Reads a completion.
///
/// Errors: it is none; in words.
fn reply(answer: &[u8]) -> Result<Response, String> {
    let completion: Value =
        serde_json::from_slice(answer).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let choice = &completion["choices"][0];
    if !choice["message"].is_object() {
        return Err("the answer holds no message".to_owned());
    }
    let message = &choice["message"];
    let told = |name: &str| Some(text(&message[name])).filter(|text| !text.is_empty());
    let calls = message["tool_calls"].as_array().filter(|calls| !calls.is_empty());
    Ok(Response {
        response: text(&message["content"]),
        reasoning: told("reasoning_content").or_else(|| told("reasoning")),
        calls: calls.map(|calls| calls.iter().map(called).collect()),
        finish_reason: choice["finish_reason"].as_str().map(str::to_owned),
        usage: completion.get("usage").filter(|usage| usage.is_object()).cloned(),
        ..Response::default()
    })
}

/// A call as an object of one member.
fn called(call: &Value) -> Value {
    let function = &call["function"];
    one_call(
        function["name"].as_str().unwrap_or_default(),
        function["arguments"].as_str().unwrap_or_default(),
    )
}

/// A call as an object of one member: the function's name, with its arguments; those that are no JSON object
/// stay the text that they are.
pub fn one_call(name: &str, arguments: &str) -> Value {
    let arguments = match serde_json::from_str::<Map<String, Value>>(arguments) {
        Ok(object) => Value::Object(object),
        Err(_) => json!(arguments),
    };
    Value::Object(Map::from_iter([(name.to_owned(), arguments)]))
}

/// Text, or the texts of parts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_of_several_servers() {
        let check =
            |answer: Value, expect: Response| assert_eq!(reply(answer.to_string().as_bytes()), Ok(expect));
        let usage = json!({"prompt_tokens": 7, "completion_tokens": 5});
        check(
            json!({
                "choices": [{"message": {"content": "4", "reasoning_content": "2+2"}, "finish_reason": "stop"}],
                "usage": usage,
            }),
            Response {
                response: "4".to_owned(),
                reasoning: Some("2+2".to_owned()),
                finish_reason: Some("stop".to_owned()),
                usage: Some(usage),
                ..Response::default()
            },
        );
        let call = |arguments: &str| json!({"function": {"name": "add", "arguments": arguments}});
        let message =
            json!({"content": null, "reasoning": "so", "tool_calls": [call(r#"{"a":1}"#), call("{")]});
        check(
            json!({"choices": [{"message": message, "finish_reason": "length"}]}),
            Response {
                reasoning: Some("so".to_owned()),
                calls: Some(vec![json!({"add": {"a": 1}}), json!({"add": "{"})]),
                finish_reason: Some("length".to_owned()),
                ..Response::default()
            },
        );
        let parts =
            json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]});
        check(parts, Response { response: "ab".to_owned(), ..Response::default() });
        for bad in ["", "<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"message":3}]}"#, "[]", "null"] {
            assert!(reply(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
