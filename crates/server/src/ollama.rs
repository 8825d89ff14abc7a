//! The few endpoints of Ollama's API that clients probe for, over the same turns as Chat Completions.
//!
//! A request is put into the words of Chat Completions, or of Completions where its prompt is raw, and runs
//! as one; its chunks come out as one JSON object a line. `pull` says yes to a model that is here and no to
//! any other: nothing is fetched.

use std::convert::Infallible;
use std::time::Instant;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use gptoss_api::ApiError;
use gptoss_api::chat::parse as chat_parse;
use gptoss_api::completions::parse as completion_parse;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::ollama::lines::{AnswerEnd, Form, LineWriter, chunk_of, last, timestamp};
use gptoss_api::ollama::parse::{self, Generate};
use gptoss_api::wire::chat::{ChatRequest, ChunkChoice};
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_api::wire::ollama::{
    OllamaChatRequest, OllamaError, OllamaGenerateRequest, OllamaLine, OllamaName,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::blocking::run_blocking;
use crate::body::Body;
use crate::drive::{ChoiceEvent, collect, lines};
use crate::keys::Caller;
use crate::rejection::{Rejection, reworded};
use crate::sse::line;
use crate::state::{App, Shared, now};
use crate::{chat, completions};

/// The version that clients read; what it means to them is that the endpoints above are there.
const VERSION: &str = "0.12.0";

/// When clients are told that the model is unloaded, which it never is. Units: seconds from now.
const KEPT_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;

/// The response in Ollama's words.
pub(crate) fn worded(mut response: Response) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let status = response.status();
    reworded(response, status, OllamaError { error: error.to_string() })
}

/// `GET /api/version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}

/// Whether a path is of Ollama's API.
pub(crate) fn is_spoken(path: &str) -> bool {
    path.starts_with("/api/")
}

/// What is said of a path that is not here.
pub(crate) fn not_here(path: &str) -> ApiError {
    let message = match path.strip_prefix("/api/").and_then(|rest| rest.split('/').next()) {
        Some("embed" | "embeddings") => "this model writes text and makes no embeddings",
        Some("create" | "copy" | "delete" | "push" | "blobs") => {
            "models are not changed over this API: see gptoss pull, list and rm"
        }
        _ => return ApiError::Path { path: path.to_owned() },
    };
    ApiError::Invalid { param: None, message: message.to_owned() }
}

fn details(app: &App) -> Value {
    json!({
        "parent_model": "", "format": "safetensors", "family": "gptoss", "families": ["gptoss"],
        "parameter_size": app.model.parameter_size, "quantization_level": app.model.quantization,
    })
}

/// `GET /api/tags`.
pub(crate) async fn tags(State(app): State<Shared>) -> Json<Value> {
    let entry = |name: &String| {
        json!({
            "name": name, "model": name, "modified_at": timestamp(app.model.created),
            "size": app.model.weight_bytes, "digest": app.model.fingerprint, "details": details(&app),
        })
    };
    let models: Vec<Value> = app.model.names().map(entry).collect();
    Json(json!({"models": models}))
}

/// `GET /api/ps`: the model that is served is always loaded.
pub(crate) async fn running(State(app): State<Shared>) -> Json<Value> {
    let model = json!({
        "name": app.model.name, "model": app.model.name, "size": app.model.weight_bytes, "size_vram": 0,
        "digest": app.model.fingerprint, "details": details(&app),
        "expires_at": timestamp(now() + KEPT_SECONDS), "context_length": app.model.max_context,
    });
    Json(json!({"models": [model]}))
}

/// `POST /api/show`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Body(request): Body<OllamaName>,
) -> Result<Json<Value>, Rejection> {
    app.model.check(request.model.as_deref())?;
    Ok(Json(json!({
        "modelfile": "", "parameters": "", "template": "", "license": "",
        "details": details(&app), "modified_at": timestamp(app.model.created),
        "model_info": {"general.architecture": "gptoss", "gptoss.context_length": app.model.max_context},
        "capabilities": ["completion", "tools", "thinking"],
    })))
}

/// `POST /api/pull`.
pub(crate) async fn pull(
    State(app): State<Shared>,
    Body(request): Body<OllamaName>,
) -> Result<Response, Rejection> {
    app.model.check(request.model.as_deref())?;
    Ok(Json(json!({"status": "success"})).into_response())
}

/// `POST /api/chat`.
pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OllamaChatRequest>,
) -> Result<Response, Rejection> {
    let begun = Instant::now();
    let asked = Asked {
        begun,
        stream: request.stream,
        form: Form::Chat,
        warnings: parse::unkept(request.options.as_ref(), app.model.max_context),
    };
    Ok(answer(&app, &caller, parse::chat(request)?, asked).await?)
}

/// `POST /api/generate`.
pub(crate) async fn generate(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OllamaGenerateRequest>,
) -> Result<Response, Rejection> {
    let begun = Instant::now();
    app.model.check(request.model.as_deref())?;
    let asked = Asked {
        begun,
        stream: request.stream,
        form: Form::Generate,
        warnings: parse::unkept(request.options.as_ref(), app.model.max_context),
    };
    match parse::generate(request)? {
        // Clients load a model by asking nothing of it; it is always loaded.
        Generate::Load => Ok(Json(last(&app.model.name, "load", None, now())).into_response()),
        Generate::Answer(request) => Ok(answer(&app, &caller, *request, asked).await?),
        Generate::Text(request) => Ok(raw(&app, &caller, *request, asked).await?),
    }
}

/// What a request asks besides what the model is asked.
struct Asked {
    begun: Instant,
    stream: Option<bool>,
    form: Form,
    /// What is not kept of it.
    warnings: Vec<String>,
}

/// An answer, as a turn of a conversation.
async fn answer(
    app: &Shared,
    caller: &Caller,
    request: ChatRequest,
    asked: Asked,
) -> Result<Response, ApiError> {
    app.model.check(request.model.as_deref())?;
    let generation = app.read(caller, |scope| chat_parse::parse(&request, scope))?;
    let shows_thinking = generation.visibility > Visibility::Hidden;
    let writer = LineWriter::new(app.model.named(request.model.as_deref()), asked.form, shows_thinking);
    let (events, spent) = chat::start(app, generation, 1).await?;
    told(events, &spent, writer, asked, |chunk| chunk).await
}

/// The text that follows a prompt as it is.
async fn raw(
    app: &Shared,
    caller: &Caller,
    request: CompletionRequest,
    asked: Asked,
) -> Result<Response, ApiError> {
    let writer = LineWriter::new(app.model.named(request.model.as_deref()), asked.form, false);
    let parse =
        move |app: &App| completion_parse::parse(&request, app.assistant.vocab(), &app.limits.request);
    let parsed = run_blocking(app, parse).await?;
    let (events, spent) = completions::start(app, caller, &parsed)?;
    told(events, &spent, writer, asked, chunk_of).await
}

/// Tells what comes, line by line or as one.
async fn told<C: Send + 'static>(
    events: mpsc::Receiver<ChoiceEvent<C>>,
    spent: &Spent,
    mut writer: LineWriter,
    asked: Asked,
    chunk_of: fn(C) -> ChunkChoice,
) -> Result<Response, ApiError> {
    let Asked { begun, stream, mut warnings, .. } = asked;
    let mut end = move |usage, more: Vec<String>| {
        warnings.extend(more);
        AnswerEnd { usage, total: begun.elapsed(), warnings: std::mem::take(&mut warnings) }
    };
    if stream == Some(false) {
        let push = |chunk| drop(writer.push(chunk_of(chunk), now()));
        let (tokens, more) = collect(events, push).await?;
        return Ok(spent.of(Json(writer.whole(end(tokens, more), now())).into_response()));
    }
    let lines = lines(events, move |event| {
        let lines: Vec<OllamaLine> = match event {
            ChoiceEvent::Chunk(chunk) => writer.push(chunk_of(*chunk), now()).into_iter().collect(),
            ChoiceEvent::End { tokens, warnings } => writer.finish(end(tokens, warnings), now()),
            ChoiceEvent::Failed(error) => return vec![format!("{}\n", json!({"error": error.to_string()}))],
        };
        lines.iter().map(|written| format!("{}\n", line(written))).collect()
    });
    let body = HttpBody::from_stream(lines.map(Ok::<_, Infallible>));
    Ok(spent.of(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()))
}
