//! The few endpoints of Ollama's API that clients probe for, over the same turns as Chat Completions.
//!
//! A request is put into the words of Chat Completions and runs as one; its chunks come out as one JSON
//! object a line. Calls are told whole, because there the arguments are an object. `pull` says yes to a model
//! that is here and no to any other: nothing is fetched.
//!
//! It does not know more of Ollama than this.

use std::convert::Infallible;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::body::Body;
use crate::chat::{self, Out};
use crate::chat_stream::fold;
use crate::keys::Caller;
use crate::state::{Shared, now};
use crate::visibility::Visibility;
use crate::wire::chat::{
    ChatContent, ChatMessage, ChatRequest, Choice, FunctionIn, Stops, ToolCallIn, ToolCallOut,
};
use crate::wire::errors::ApiError;
use crate::wire::ollama::{
    OllamaCall, OllamaChatRequest, OllamaError, OllamaFunction, OllamaGenerateRequest, OllamaLine,
    OllamaMessage, OllamaName, OllamaOptions,
};

/// The version that clients read; what it means to them is that the endpoints above are there.
const VERSION: &str = "0.12.0";

/// An error in Ollama's form.
pub(crate) struct Refused(ApiError);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Refused {
        Refused(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0.row().status, Json(OllamaError { error: self.0.to_string() })).into_response()
    }
}

/// `GET /api/version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}

fn details() -> Value {
    json!({
        "format": "safetensors", "family": "gptoss", "families": ["gptoss"],
        "parameter_size": "", "quantization_level": "MXFP4",
    })
}

/// `GET /api/tags`.
pub(crate) async fn tags(State(app): State<Shared>) -> Json<Value> {
    let entry = |name: &String| {
        json!({
            "name": name, "model": name, "modified_at": timestamp(app.model.created),
            "size": app.model.weight_bytes, "digest": app.model.fingerprint, "details": details(),
        })
    };
    let models: Vec<Value> = std::iter::once(&app.model.name).chain(&app.model.aliases).map(entry).collect();
    Json(json!({"models": models}))
}

/// `POST /api/show`.
pub(crate) async fn show(
    State(app): State<Shared>,
    body: Result<Body<OllamaName>, ApiError>,
) -> Result<Json<Value>, Refused> {
    let Body(request) = body?;
    app.model.check(request.model.as_deref())?;
    Ok(Json(json!({
        "modelfile": "", "parameters": "", "template": "", "license": "",
        "details": details(), "modified_at": timestamp(app.model.created),
        "model_info": {"general.architecture": "gptoss", "gptoss.context_length": app.model.max_context},
        "capabilities": ["completion", "tools", "thinking"],
    })))
}

/// `POST /api/pull`.
pub(crate) async fn pull(
    State(app): State<Shared>,
    body: Result<Body<OllamaName>, ApiError>,
) -> Result<Response, Refused> {
    let Body(request) = body?;
    app.model.check(request.model.as_deref())?;
    Ok(Json(json!({"status": "success"})).into_response())
}

/// `POST /api/chat`.
pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Result<Body<OllamaChatRequest>, ApiError>,
) -> Result<Response, Refused> {
    let Body(request) = body?;
    let OllamaChatRequest { model, messages, tools, format, options, stream, think, .. } = request;
    let messages =
        messages.into_iter().enumerate().map(|(index, message)| chat_message(index, message)).collect();
    let wish = ChatRequest { model, messages, tools, ..ChatRequest::default() };
    Ok(answer(&app, &caller, with(wish, format, options, think), stream, Form::Chat).await?)
}

/// `POST /api/generate`.
pub(crate) async fn generate(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Result<Body<OllamaGenerateRequest>, ApiError>,
) -> Result<Response, Refused> {
    let Body(request) = body?;
    app.model.check(request.model.as_deref())?;
    let Some(prompt) = request.prompt.filter(|prompt| !prompt.is_empty()) else {
        // Clients load a model by asking nothing of it; it is always loaded.
        let line = Line { model: app.model.name.clone() }.last("load", None);
        return Ok(Json(line).into_response());
    };
    let message = |role: &str, text: String| ChatMessage {
        role: role.to_owned(),
        content: Some(ChatContent::Text(text)),
        ..ChatMessage::default()
    };
    let system = request.system.map(|system| message("system", system));
    let messages = system.into_iter().chain([message("user", prompt)]).collect();
    let wish = ChatRequest { model: request.model, messages, ..ChatRequest::default() };
    let wish = with(wish, request.format, request.options, request.think);
    Ok(answer(&app, &caller, wish, request.stream, Form::Generate).await?)
}

/// Calls here have no ids: a result belongs to the call of the same tool that came last before it.
fn chat_message(index: usize, message: OllamaMessage) -> ChatMessage {
    let calls = message.tool_calls.map(|calls| {
        let call = |(number, call): (usize, OllamaCall)| ToolCallIn {
            id: call.id.or_else(|| Some(format!("ollama_{index}_{number}"))),
            function: Some(FunctionIn { name: call.function.name, arguments: Some(call.function.arguments) }),
            custom: None,
        };
        calls.into_iter().enumerate().map(call).collect()
    });
    ChatMessage {
        role: message.role,
        content: Some(ChatContent::Text(message.content)),
        name: message.tool_name,
        tool_calls: calls,
        tool_call_id: message.tool_call_id,
        reasoning_content: message.thinking,
        ..ChatMessage::default()
    }
}

fn with(
    mut wish: ChatRequest,
    format: Option<Value>,
    options: Option<OllamaOptions>,
    think: Option<Value>,
) -> ChatRequest {
    wish.response_format = match format {
        Some(Value::String(word)) if word == "json" => Some(json!({"type": "json_object"})),
        Some(schema @ Value::Object(_)) => {
            Some(json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}))
        }
        _ => None,
    };
    match think {
        Some(Value::Bool(false)) => wish.include_reasoning = Some(false),
        Some(Value::String(effort)) => wish.reasoning_effort = Some(effort),
        _ => {}
    }
    let options = options.unwrap_or_default();
    wish.temperature = options.temperature;
    wish.top_p = options.top_p;
    wish.top_k = options.top_k;
    wish.min_p = options.min_p;
    wish.seed = options.seed;
    wish.presence_penalty = options.presence_penalty;
    wish.frequency_penalty = options.frequency_penalty;
    wish.repetition_penalty = options.repeat_penalty;
    // -1 and -2 are Ollama's words for "as many as there is room for".
    wish.max_tokens = options.num_predict.filter(|&count| count > 0);
    wish.stop = options.stop.map(Stops::Several);
    wish
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Chat,
    Generate,
}

async fn answer(
    app: &Shared,
    caller: &Caller,
    wish: ChatRequest,
    stream: Option<bool>,
    form: Form,
) -> Result<Response, ApiError> {
    app.model.check(wish.model.as_deref())?;
    let ask = chat::read(app, caller, &wish)?;
    let is_seen = ask.visibility > Visibility::Hidden;
    let model = wish.model.unwrap_or_else(|| app.model.name.clone());
    let (out, spent) = chat::start(app, ask, 1).await?;
    let writer = Writer { model, form, is_seen, call: None };
    if stream == Some(false) {
        return writer.whole(out).await.map(|line| spent.of(Json(line).into_response()));
    }
    let lines = stream::unfold(Some((writer, out)), |state| async move {
        let (mut writer, mut out) = state?;
        loop {
            match writer.lines(out.recv().await) {
                (lines, true) => return Some((Ok::<_, Infallible>(lines), None)),
                (lines, false) if lines.is_empty() => {}
                (lines, false) => return Some((Ok(lines), Some((writer, out)))),
            }
        }
    });
    let body = HttpBody::from_stream(lines);
    Ok(spent.of((StatusCode::OK, [(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()))
}

/// Makes lines.
struct Line {
    model: String,
}

impl Line {
    fn of(
        &self,
        form: Form,
        content: String,
        thinking: Option<String>,
        calls: Option<Vec<OllamaCall>>,
    ) -> OllamaLine {
        let mut line = self.last("", None);
        line.done = false;
        line.done_reason = None;
        match form {
            Form::Chat => {
                let role = "assistant".to_owned();
                let message =
                    OllamaMessage { role, content, thinking, tool_calls: calls, ..OllamaMessage::default() };
                line.message = Some(message);
            }
            Form::Generate => {
                line.response = Some(content);
                line.thinking = thinking;
            }
        }
        line
    }

    fn last(&self, reason: &'static str, tokens: Option<crate::usage::TokenUsage>) -> OllamaLine {
        OllamaLine {
            model: self.model.clone(),
            created_at: timestamp(now()),
            message: None,
            response: None,
            thinking: None,
            done: true,
            done_reason: Some(reason),
            prompt_eval_count: tokens.map(|tokens| tokens.prompt),
            eval_count: tokens.map(|tokens| tokens.completion),
            total_duration: None,
        }
    }
}

/// Writes an answer.
struct Writer {
    model: String,
    form: Form,
    is_seen: bool,
    /// A call whose arguments are not whole, and why the answer ended.
    call: Option<Choice>,
}

impl Writer {
    fn line(&self) -> Line {
        Line { model: self.model.clone() }
    }

    /// Lines of one event, and whether they are the last.
    fn lines(&mut self, out: Option<Out>) -> (String, bool) {
        let written = |line: &OllamaLine| format!("{}\n", serde_json::to_string(line).unwrap_or_default());
        match out {
            Some(Out::Chunk(chunk)) => {
                let (content, thinking) = (chunk.delta.content.clone(), chunk.delta.reasoning.clone());
                fold(self.call.get_or_insert_default(), *chunk);
                if content.is_none() && thinking.is_none() {
                    return (String::new(), false);
                }
                let thinking = thinking.filter(|_| self.is_seen);
                (written(&self.line().of(self.form, content.unwrap_or_default(), thinking, None)), false)
            }
            Some(Out::End { tokens, .. }) => {
                let choice = self.call.take().unwrap_or_default();
                let mut text = String::new();
                if let Some(calls) = calls(&choice) {
                    text = written(&self.line().of(self.form, String::new(), None, Some(calls)));
                }
                let reason = if choice.finish_reason == Some("length") { "length" } else { "stop" };
                let mut last = self.line().last(reason, Some(tokens));
                match self.form {
                    Form::Chat => {
                        let role = "assistant".to_owned();
                        last.message = Some(OllamaMessage { role, ..OllamaMessage::default() });
                    }
                    Form::Generate => last.response = Some(String::new()),
                }
                text.push_str(&written(&last));
                (text, true)
            }
            Some(Out::Failed(error)) => (format!("{}\n", json!({"error": error.to_string()})), true),
            None => (format!("{}\n", json!({"error": "the answer broke off"})), true),
        }
    }

    async fn whole(self, mut out: mpsc::Receiver<Out>) -> Result<OllamaLine, ApiError> {
        let mut choice = Choice::default();
        while let Some(event) = out.recv().await {
            match event {
                Out::Chunk(chunk) => fold(&mut choice, *chunk),
                Out::Failed(error) => return Err(error),
                Out::End { tokens, .. } => {
                    let thinking = choice.message.reasoning.clone().filter(|_| self.is_seen);
                    let content = choice.message.content.clone().unwrap_or_default();
                    let said = self.line().of(self.form, content, thinking, calls(&choice));
                    let reason = if choice.finish_reason == Some("length") { "length" } else { "stop" };
                    let last = self.line().last(reason, Some(tokens));
                    return Ok(OllamaLine {
                        message: said.message,
                        response: said.response,
                        thinking: said.thinking,
                        ..last
                    });
                }
            }
        }
        Err(ApiError::Internal { problem: "the answer broke off".to_owned() })
    }
}

fn calls(choice: &Choice) -> Option<Vec<OllamaCall>> {
    let call = |call: &ToolCallOut| {
        let function = call.function.as_ref()?;
        // Arguments that are no JSON are handed on as the text they are.
        let arguments = serde_json::from_str(&function.arguments)
            .unwrap_or_else(|_| Value::String(function.arguments.clone()));
        let function = OllamaFunction { name: function.name.clone().unwrap_or_default(), arguments };
        Some(OllamaCall { id: call.id.clone(), function })
    };
    Some(choice.message.tool_calls.as_ref()?.iter().filter_map(call).collect())
}

/// Seconds since 1970 as Ollama writes times.
fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        let check = |seconds, expect: &str| assert_eq!(timestamp(seconds), expect);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_795_392_000 + 3661, "2026-11-23T01:01:01Z");
    }

    #[test]
    fn options_have_their_other_names() {
        let options =
            OllamaOptions { num_predict: Some(-1), repeat_penalty: Some(1.1), ..OllamaOptions::default() };
        let wish = with(ChatRequest::default(), Some(json!("json")), Some(options), Some(json!(false)));
        assert_eq!((wish.max_tokens, wish.repetition_penalty), (None, Some(1.1)));
        assert_eq!(wish.include_reasoning, Some(false));
        assert_eq!(wish.response_format, Some(json!({"type": "json_object"})));
    }
}
