//! The few endpoints of Ollama's API that clients probe for, over the same turns as Chat Completions.
//!
//! A request is put into the words of Chat Completions, or of Completions where its prompt is raw, and runs
//! as one; its chunks come out as one JSON object a line. `pull` says yes to a model that is here and no to
//! any other: nothing is fetched.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use gptoss_api::ApiError;
use gptoss_api::chat::parse as chat_parse;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::ollama::lines::{AnswerEnd, Form, LineWriter, chunk_of, last, timestamp};
use gptoss_api::ollama::parse::{self, Generate, KeepAlive};
use gptoss_api::wire::chat::{ChatRequest, ChunkChoice};
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_api::wire::ollama::{
    OllamaChatRequest, OllamaError, OllamaGenerateRequest, OllamaLine, OllamaName,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::asker::Asker;
use crate::body::Body;
use crate::drive::{ChoiceEvent, Collected, collect, lines};
use crate::keys::Caller;
use crate::model::ServedModel;
use crate::model_host::{Entry, Lease};
use crate::opening::Opening;
use crate::rejection::{Rejection, reworded};
use crate::roster::{Keep, ModelState};
use crate::sse::line;
use crate::state::{Shared, now};
use crate::{chat, completions, ruling};

/// The version that clients read; what it means to them is that the endpoints above are there.
const VERSION: &str = "0.12.0";

/// When clients are told that a model is unloaded that stays until its room is needed. Units: seconds from
/// now.
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

fn details(served: &ServedModel) -> Value {
    json!({
        "parent_model": served.parent.as_deref().unwrap_or_default(), "format": "safetensors", "family": "gptoss", "families": ["gptoss"],
        "parameter_size": served.parameter_size, "quantization_level": served.quantization,
    })
}

/// `GET /api/tags`.
pub(crate) async fn tags(State(app): State<Shared>) -> Json<Value> {
    let entry = |served: &ServedModel, name: &String| {
        json!({
            "name": name, "model": name, "modified_at": timestamp(served.created),
            "size": served.weight_bytes, "digest": served.fingerprint, "details": details(served),
        })
    };
    let served = app.models.entries().iter().map(|model| &model.served);
    let models = served.flat_map(|served| served.names().map(move |name| entry(served, name)));
    Json(json!({"models": models.collect::<Vec<_>>()}))
}

/// `GET /api/ps`: the models in memory.
pub(crate) async fn running(State(app): State<Shared>) -> Json<Value> {
    let figures = app.models.figures();
    let loaded = figures.iter().filter(|model| model.state == ModelState::Loaded).map(|model| {
        let served = &model.entry.served;
        let kept = model.stays_for.map_or(KEPT_SECONDS, |time| time.as_secs().min(KEPT_SECONDS));
        json!({
            "name": served.name, "model": served.name, "size": served.weight_bytes, "size_vram": 0,
            "digest": served.fingerprint, "details": details(served),
            "expires_at": timestamp(now() + kept), "context_length": served.max_context,
        })
    });
    Json(json!({"models": loaded.collect::<Vec<_>>()}))
}

/// `POST /api/show`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OllamaName>,
) -> Result<Json<Value>, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let served = &model.served;
    Ok(Json(json!({
        "modelfile": "", "parameters": "", "template": "", "license": "",
        "details": details(served), "modified_at": timestamp(served.created),
        "model_info": {"general.architecture": "gptoss", "gptoss.context_length": served.max_context},
        "capabilities": ["completion", "tools", "thinking"],
    })))
}

/// `POST /api/pull`.
pub(crate) async fn pull(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OllamaName>,
) -> Result<Response, Rejection> {
    app.model(&caller, request.model.as_deref())?;
    Ok(Json(json!({"status": "success"})).into_response())
}

/// `POST /api/chat`.
pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OllamaChatRequest>,
) -> Result<Response, Rejection> {
    let begun = Instant::now();
    let model = app.model(&caller, request.model.as_deref())?;
    let asked = Asked {
        begun,
        stream: request.stream,
        form: Form::Chat,
        warnings: parse::unkept(request.options.as_ref(), model.served.max_context),
        keep: keep(request.keep_alive.as_ref())?,
        model,
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
    let model = app.model(&caller, request.model.as_deref())?;
    let asked = Asked {
        begun,
        stream: request.stream,
        form: Form::Generate,
        warnings: parse::unkept(request.options.as_ref(), model.served.max_context),
        keep: keep(request.keep_alive.as_ref())?,
        model,
    };
    match parse::generate(request)? {
        // Clients load a model, and unload it, by asking nothing of it.
        Generate::Load => Ok(load(&app, &caller, &asked).await?),
        Generate::Answer(request) => Ok(answer(&app, &caller, *request, asked).await?),
        Generate::Text(request) => Ok(raw(&app, &caller, *request, asked).await?),
    }
}

/// How long the model stays after a request.
///
/// Errors: `keep_alive` says nothing that is a time.
fn keep(value: Option<&Value>) -> Result<Keep, ApiError> {
    Ok(match parse::keep_alive(value)? {
        None => Keep::Usual,
        Some(KeepAlive::For(time)) => Keep::For(time),
        Some(KeepAlive::Always) => Keep::Always,
    })
}

/// A request that asks nothing: the model comes to memory, or leaves it when it is to be kept for no time.
async fn load(app: &Shared, caller: &Caller, asked: &Asked) -> Result<Response, ApiError> {
    let reason = match asked.keep {
        Keep::For(Duration::ZERO) => {
            ruling::may_use(caller, &asked.model)?;
            app.models.keep(&asked.model, asked.keep);
            "unload"
        }
        _ => {
            lease(app, caller, asked).await?;
            "load"
        }
    };
    Ok(Json(last(&asked.model.served.name, reason, None, now())).into_response())
}

/// The model in memory, and how long that took.
///
/// Errors: as [`crate::model_host::ModelHost::lease`].
async fn lease(app: &Shared, caller: &Caller, asked: &Asked) -> Result<(Arc<Lease>, Duration), ApiError> {
    ruling::may_use(caller, &asked.model)?;
    let begun = Instant::now();
    let model = app.models.lease(&asked.model, Asker::of(caller, asked.keep)).await?;
    Ok((model, begun.elapsed()))
}

/// What a request asks besides what the model is asked.
struct Asked {
    model: Arc<Entry>,
    /// How long the model stays afterwards.
    keep: Keep,
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
    let served = &asked.model.served;
    let mut generation = app.read(caller, served, |scope| chat_parse::parse(&request, scope))?;
    ruling::decide(caller, &asked.model, &mut generation)?;
    let shows_thinking = generation.visibility > Visibility::Hidden;
    let writer = LineWriter::new(served.named(request.model.as_deref()), asked.form, shows_thinking);
    let ((model, loading), spent) = (lease(app, caller, &asked).await?, Spent::default());
    let events = chat::start(app, model, generation, 1, spent.clone()).await?;
    Ok(spent.of(told(events, (writer, loading), asked, |chunk| chunk).await?))
}

/// The text that follows a prompt as it is.
async fn raw(
    app: &Shared,
    caller: &Caller,
    request: CompletionRequest,
    asked: Asked,
) -> Result<Response, ApiError> {
    let named = asked.model.served.named(request.model.as_deref());
    let writer = LineWriter::new(named, asked.form, false);
    let ((model, loading), spent) = (lease(app, caller, &asked).await?, Spent::default());
    let mut parsed = completions::read(app, &model, request).await?;
    ruling::decide_text(caller, &model.entry, &mut parsed)?;
    let events = completions::start(app, &model, caller, &parsed, spent.clone()).await?;
    Ok(spent.of(told(events, (writer, loading), asked, chunk_of).await?))
}

/// Tells what comes, line by line or as one; the model took `loading` to come to memory.
async fn told<C: Send + 'static>(
    events: mpsc::Receiver<ChoiceEvent<C>>,
    (mut writer, loading): (LineWriter, Duration),
    asked: Asked,
    chunk_of: fn(C) -> ChunkChoice,
) -> Result<Response, ApiError> {
    let Asked { begun, stream, mut warnings, .. } = asked;
    let mut end = move |usage, more: Vec<String>| {
        warnings.extend(more);
        AnswerEnd { usage, total: begun.elapsed(), loading, warnings: std::mem::take(&mut warnings) }
    };
    if stream == Some(false) {
        let push = |chunk| drop(writer.push(chunk_of(chunk), now()));
        let Collected { tokens, warnings: more, .. } = collect(events, push).await?;
        return Ok(Json(writer.whole(end(tokens, more), now())).into_response());
    }
    let lines = lines(Opening::Begun(events), move |event| {
        let lines: Vec<OllamaLine> = match event {
            ChoiceEvent::Chunk(chunk) => writer.push(chunk_of(*chunk), now()).into_iter().collect(),
            ChoiceEvent::End { tokens, warnings, .. } => writer.finish(end(tokens, warnings), now()),
            ChoiceEvent::Failed(error) => return vec![format!("{}\n", json!({"error": error.to_string()}))],
        };
        lines.iter().map(|written| format!("{}\n", line(written))).collect()
    });
    let body = HttpBody::from_stream(lines.map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
