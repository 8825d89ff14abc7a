//! The few endpoints of Ollama's API that clients probe for, over the same turns as Chat Completions.
//!
//! A request is put into the words of Chat Completions and runs as one; its chunks come out as one JSON
//! object a line. `pull` says yes to a model that is here and no to any other: nothing is fetched.

use std::convert::Infallible;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use gptoss_api::ApiError;
use gptoss_api::chat::parse as chat_parse;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::ollama::lines::{Form, LineWriter, last, timestamp};
use gptoss_api::ollama::parse;
use gptoss_api::wire::chat::{ChatRequest, ChunkChoice};
use gptoss_api::wire::ollama::{
    OllamaChatRequest, OllamaError, OllamaGenerateRequest, OllamaLine, OllamaName,
};
use serde_json::{Value, json};

use crate::body::Body;
use crate::chat;
use crate::drive::{ChoiceEvent, collect, lines};
use crate::keys::Caller;
use crate::rejection::{Rejection, status_of};
use crate::sse::line;
use crate::state::{Shared, now};

/// The version that clients read; what it means to them is that the endpoints above are there.
const VERSION: &str = "0.12.0";

/// An error in Ollama's form.
pub(crate) struct OllamaRejection(ApiError);

impl From<ApiError> for OllamaRejection {
    fn from(error: ApiError) -> OllamaRejection {
        OllamaRejection(error)
    }
}

impl From<Rejection> for OllamaRejection {
    fn from(rejection: Rejection) -> OllamaRejection {
        OllamaRejection(rejection.0)
    }
}

impl IntoResponse for OllamaRejection {
    fn into_response(self) -> Response {
        (status_of(&self.0), Json(OllamaError { error: self.0.to_string() })).into_response()
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
    body: Result<Body<OllamaName>, Rejection>,
) -> Result<Json<Value>, OllamaRejection> {
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
    body: Result<Body<OllamaName>, Rejection>,
) -> Result<Response, OllamaRejection> {
    let Body(request) = body?;
    app.model.check(request.model.as_deref())?;
    Ok(Json(json!({"status": "success"})).into_response())
}

/// `POST /api/chat`.
pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Result<Body<OllamaChatRequest>, Rejection>,
) -> Result<Response, OllamaRejection> {
    let Body(request) = body?;
    let stream = request.stream;
    Ok(answer(&app, &caller, parse::chat(request), stream, Form::Chat).await?)
}

/// `POST /api/generate`.
pub(crate) async fn generate(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Result<Body<OllamaGenerateRequest>, Rejection>,
) -> Result<Response, OllamaRejection> {
    let Body(request) = body?;
    app.model.check(request.model.as_deref())?;
    let stream = request.stream;
    match parse::generate(request) {
        Some(request) => Ok(answer(&app, &caller, request, stream, Form::Generate).await?),
        // Clients load a model by asking nothing of it; it is always loaded.
        None => Ok(Json(last(&app.model.name, "load", None, now())).into_response()),
    }
}

async fn answer(
    app: &Shared,
    caller: &Caller,
    request: ChatRequest,
    stream: Option<bool>,
    form: Form,
) -> Result<Response, ApiError> {
    app.model.check(request.model.as_deref())?;
    let generation = app.read(caller, |scope| chat_parse::parse(&request, scope))?;
    let shows_thinking = generation.visibility > Visibility::Hidden;
    let model = request.model.unwrap_or_else(|| app.model.name.clone());
    let (events, spent) = chat::start(app, generation, 1).await?;
    let mut writer = LineWriter::new(model, form, shows_thinking);
    if stream == Some(false) {
        let push = |chunk| drop(writer.push(chunk, now()));
        let (tokens, _) = collect(events, push).await?;
        return Ok(spent.of(Json(writer.whole(tokens, now())).into_response()));
    }
    let lines = lines(events, move |event| written(&mut writer, event));
    let body = HttpBody::from_stream(lines.map(Ok::<_, Infallible>));
    Ok(spent.of(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()))
}

/// The lines that an event makes, each with its end.
fn written(writer: &mut LineWriter, event: ChoiceEvent<ChunkChoice>) -> Vec<String> {
    let lines: Vec<OllamaLine> = match event {
        ChoiceEvent::Chunk(chunk) => writer.push(*chunk, now()).into_iter().collect(),
        ChoiceEvent::End { tokens, .. } => writer.finish(tokens, now()),
        ChoiceEvent::Failed(error) => return vec![format!("{}\n", json!({"error": error.to_string()}))],
    };
    lines.iter().map(|written| format!("{}\n", line(written))).collect()
}
