//! The one table of routes, and the layer around all of them.
//!
//! Around every route but the health checks lies the same layer: a request id, the key, the count for the
//! metrics, one line of log without a word of a client's. A panic in a handler is a 500 in the documented
//! form.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use gptoss_api::ApiError;
use tower_http::catch_panic::CatchPanicLayer;

use crate::access_log::{Line, RequestId};
use crate::gate::{self, Gate};
use crate::keys::Caller;
use crate::path_class::path_class;
use crate::rejection::Rejection;
use crate::state::{App, Shared};
use crate::trace::TraceParent;
use crate::{
    anthropic, batches, chat, completions, containers, conversations, cors, files, fine_tuning, ids, loads,
    lora, messages, moderations, ollama, openapi, page, redact, rendered, responses, socket, status, tokens,
};

/// Longest request id of a client's that is given back. Units: bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

const METRICS: &str = "/metrics";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes of the API. `/openapi.json` describes the same.
fn routes() -> [(&'static str, MethodRouter<Shared>); 54] {
    [
        ("/v1/chat/completions", post(chat::create)),
        ("/v1/chat/completions/render", post(rendered::chat)),
        ("/v1/completions", post(completions::create)),
        ("/v1/completions/render", post(rendered::completion)),
        ("/v1/responses", get(socket::open).post(responses::create)),
        ("/v1/responses/compact", post(responses::compact)),
        ("/v1/responses/input_tokens", post(responses::input_tokens)),
        ("/v1/responses/{id}", get(responses::retrieve).delete(responses::delete)),
        ("/v1/responses/{id}/cancel", post(responses::cancel)),
        ("/v1/responses/{id}/input_items", get(responses::input_items)),
        ("/v1/conversations", post(conversations::create)),
        (
            "/v1/conversations/{id}",
            get(conversations::retrieve).post(conversations::update).delete(conversations::delete),
        ),
        ("/v1/conversations/{id}/items", get(conversations::items).post(conversations::add_items)),
        (
            "/v1/conversations/{id}/items/{item_id}",
            get(conversations::item).delete(conversations::delete_item),
        ),
        // An upload has a limit of its own.
        ("/v1/files", get(files::list).post(files::create).layer(DefaultBodyLimit::disable())),
        ("/v1/files/{id}", get(files::retrieve).delete(files::delete)),
        ("/v1/files/{id}/content", get(files::content)),
        ("/v1/containers/{id}/files", get(containers::list)),
        ("/v1/containers/{id}/files/{file_id}", get(containers::retrieve).delete(containers::delete)),
        ("/v1/containers/{id}/files/{file_id}/content", get(containers::content)),
        ("/v1/batches", get(batches::list).post(batches::create)),
        ("/v1/batches/{id}", get(batches::retrieve)),
        ("/v1/batches/{id}/cancel", post(batches::cancel)),
        ("/v1/fine_tuning/jobs", get(fine_tuning::list).post(fine_tuning::create)),
        ("/v1/fine_tuning/jobs/{id}", get(fine_tuning::retrieve)),
        ("/v1/fine_tuning/jobs/{id}/cancel", post(fine_tuning::cancel)),
        ("/v1/fine_tuning/jobs/{id}/pause", post(fine_tuning::pause)),
        ("/v1/fine_tuning/jobs/{id}/resume", post(fine_tuning::resume)),
        ("/v1/fine_tuning/jobs/{id}/events", get(fine_tuning::events)),
        ("/v1/fine_tuning/jobs/{id}/checkpoints", get(fine_tuning::checkpoints)),
        ("/v1/messages", post(messages::create)),
        ("/v1/messages/count_tokens", post(messages::count_tokens)),
        ("/v1/moderations", post(moderations::create)),
        ("/v1/models", get(tokens::models)),
        ("/v1/models/{id}", get(tokens::model).delete(fine_tuning::delete_model)),
        (
            "/v1/models/{organization}/{name}",
            get(tokens::model_in_organization).delete(fine_tuning::delete_model_in_organization),
        ),
        ("/v1/load_lora_adapter", post(lora::load)),
        ("/v1/unload_lora_adapter", post(lora::unload)),
        ("/v1/loads", get(loads::loads)),
        ("/v1/tokenize", post(tokens::tokenize)),
        ("/v1/detokenize", post(tokens::detokenize)),
        ("/v1/tokenizer_info", get(tokens::tokenizer_info)),
        ("/v1/render", post(tokens::render)),
        ("/v1/redact", post(redact::create)),
        ("/api/tags", get(ollama::tags)),
        ("/api/ps", get(ollama::running)),
        ("/api/show", post(ollama::show)),
        ("/api/version", get(ollama::version)),
        ("/api/pull", post(ollama::pull)),
        ("/api/chat", post(ollama::chat)),
        ("/api/generate", post(ollama::generate)),
        ("/version", get(status::version)),
        (METRICS, get(status::metrics)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// The first parts of the paths below `/v1`.
pub(crate) fn names_below_v1() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let below = |(path, _): (&'static str, _)| path.strip_prefix("/v1/")?.split('/').next();
        routes().into_iter().filter_map(below).collect()
    });
    &NAMES
}

/// The router over the app.
pub(crate) fn router(app: Shared, gate: Gate) -> Router {
    let mut keyed = Router::new();
    for (path, methods) in routes() {
        keyed = keyed.route(path, methods.fallback(wrong_method));
    }
    let keyed = keyed
        .fallback(wrong_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), request_layer))
        .layer(CatchPanicLayer::custom(|_| {
            Rejection(ApiError::Internal { problem: "a handler broke off".to_owned() }).into_response()
        }));
    let cors = cors::layer(&app.cors_origins);
    let all = Router::new()
        .route("/health", get(status::health))
        .route("/ping", get(status::health).post(status::health))
        .route("/ready", get(status::ready))
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/docs", get(openapi::page))
        .merge(keyed)
        .layer(middleware::from_fn_with_state(Arc::new(gate), gate::admit))
        .layer(middleware::from_fn(anthropic::layer))
        .with_state(app);
    match cors {
        Some(cors) => all.layer(cors),
        None => all,
    }
}

async fn wrong_path(request: Request) -> Rejection {
    let path = request.uri().path();
    Rejection(fine_tuning::not_here(path).unwrap_or_else(|| ollama::not_here(path)))
}

async fn wrong_method(request: Request) -> Rejection {
    let path = request.uri().path().to_owned();
    Rejection(ApiError::Method { path, method: request.method().to_string() })
}

/// What happens to every request.
async fn request_layer(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = matched.clone().unwrap_or_else(|| path_class(request.uri().path()));
    // What is not there is one route to the metrics.
    let route = matched.unwrap_or_else(|| "none".to_owned());
    let is_ollama = ollama::is_spoken(request.uri().path());
    let is_anthropic = anthropic::is_spoken(request.uri(), request.headers());
    let drawn = ids::try_random("req");
    let id = own_id(&request).or_else(|| drawn.clone().ok()).unwrap_or_default();
    let mut line = Line::new(&app.log, request.method().clone(), path, id.clone(), begun);
    // A page that is looked at every few seconds is nothing to trace.
    if app.log.traces.is_some() && route != METRICS {
        line.trace = Some(TraceParent::of(request.headers()));
    }
    let mut response = match named(drawn).and_then(|()| caller(&app, &request)) {
        Ok(caller) => {
            line.tenant = Some(caller.tenant.clone());
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(RequestId(id.clone()));
            documented(next.run(request).await)
        }
        Err(error) => Rejection(error).into_response(),
    };
    // Before Anthropic's, whose header changes nothing here.
    if is_ollama {
        response = ollama::worded(response);
    }
    if is_anthropic {
        response = anthropic::worded(response, Some(&id));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if app.is_stopping() {
        // Whoever asks again is to find another server.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let processing = HeaderValue::from(begun.elapsed().as_millis() as u64);
    response.headers_mut().insert(HeaderName::from_static("openai-processing-ms"), processing);
    let status = response.status().as_u16();
    app.metrics.responded(&route, status);
    line.at_the_end_of(response)
}

/// A request whose name cannot be drawn is refused, whether it brings one or not: the names and seeds that
/// are drawn for it further on could be guessed.
fn named(drawn: Result<String, getrandom::Error>) -> Result<(), ApiError> {
    let refused = |error| ApiError::Internal { problem: format!("no random bytes: {error}") };
    drawn.map(|_| ()).map_err(refused)
}

/// The response, in the documented form if it is a refusal of the framework's: an id or a query that is not
/// text.
fn documented(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_ours = kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/plain"));
    if is_ours || !response.status().is_client_error() {
        return response;
    }
    let message = "the path or the query of the request cannot be read".to_owned();
    let status = response.status();
    let mut response = Rejection(ApiError::Invalid { param: None, message }).into_response();
    *response.status_mut() = status;
    response
}

fn caller(app: &App, request: &Request) -> Result<Caller, ApiError> {
    let caller = app.keys.caller(request.headers())?;
    // What the server does while it stops is still to be seen.
    match app.is_stopping() && request.uri().path() != METRICS {
        true => Err(ApiError::ShuttingDown),
        false => Ok(caller),
    }
}

/// The client's own id, if it can stand in a log.
fn own_id(request: &Request) -> Option<String> {
    let theirs = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(plain)
    };
    theirs.filter(is_plain).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_randomness_is_refused() {
        assert_eq!(named(Ok("req_1".into())), Ok(()));
        let error = named(Err(getrandom::Error::UNSUPPORTED)).unwrap_err();
        assert_eq!(error.row().status, 500);
        assert!(error.to_string().contains("no random bytes"), "{error}");
    }
}
