//! Which request goes where, and what happens to all of them?
//!
//! [`App`] is what the handlers share; [`router`] is the one table of routes. Around every route but the health checks lies the same
//! layer: a request id, the key, the count for the metrics, one line of log with method, route, status and time and nothing a client
//! wrote. A panic in a handler is a 500 in the documented form.
//!
//! It does not know connections: `run` listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use gptoss_turn::EngineHandle;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::Error;
use crate::keys::{Caller, Keys};
use crate::limits::Limits;
use crate::live::LiveResponses;
use crate::memory::CallMemory;
use crate::metrics::Metrics;
use crate::model::ServedModel;
use crate::store::Store;
use crate::wire::errors::ApiError;
use crate::{chat, completions, conversations, ids, ollama, openapi, responses, status, tokens};

/// Takes one line of log.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What all handlers share.
pub struct App {
    pub(crate) model: ServedModel,
    pub(crate) engine: EngineHandle,
    pub(crate) limits: Limits,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) memory: CallMemory,
    pub(crate) live: LiveResponses,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    /// Whether new requests are refused because the server goes away.
    pub(crate) is_draining: AtomicBool,
}

/// The app, as handlers get it.
pub(crate) type Shared = Arc<App>;

/// Longest request id of a client's that is given back. Units: bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl App {
    /// Everything but the network.
    ///
    /// Errors: `State`, when the state folder cannot be used.
    pub fn new(
        model: ServedModel,
        engine: EngineHandle,
        limits: Limits,
        keys: Keys,
        state_folder: Option<&std::path::Path>,
        log: Log,
    ) -> Result<App, Error> {
        Ok(App {
            store: Store::open(state_folder, &limits)?,
            memory: CallMemory::new(limits.call_memory),
            live: LiveResponses::default(),
            metrics: Metrics::default(),
            is_draining: AtomicBool::new(false),
            model,
            engine,
            limits,
            keys,
            log,
        })
    }
}

impl App {
    /// Whether a key is asked for.
    pub fn asks_for_keys(&self) -> bool {
        self.keys.are_asked_for()
    }
}

/// The time. Units: seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// All routes of the API. `/openapi.json` describes the same.
fn routes() -> [(&'static str, MethodRouter<Shared>); 24] {
    [
        ("/v1/chat/completions", post(chat::create)),
        ("/v1/completions", post(completions::create)),
        ("/v1/responses", post(responses::create)),
        ("/v1/responses/compact", post(responses::compact)),
        ("/v1/responses/{id}", get(responses::retrieve).delete(responses::delete)),
        ("/v1/responses/{id}/cancel", post(responses::cancel)),
        ("/v1/responses/{id}/input_items", get(responses::input_items)),
        ("/v1/conversations", post(conversations::create)),
        (
            "/v1/conversations/{id}",
            get(conversations::retrieve).post(conversations::update).delete(conversations::delete),
        ),
        ("/v1/conversations/{id}/items", get(conversations::items).post(conversations::add_items)),
        ("/v1/models", get(tokens::models)),
        ("/v1/models/{id}", get(tokens::model)),
        ("/v1/models/{organisation}/{name}", get(tokens::model_in_organisation)),
        ("/v1/tokenize", post(tokens::tokenize)),
        ("/v1/detokenize", post(tokens::detokenize)),
        ("/v1/render", post(tokens::render)),
        ("/api/tags", get(ollama::tags)),
        ("/api/show", post(ollama::show)),
        ("/api/version", get(ollama::version)),
        ("/api/pull", post(ollama::pull)),
        ("/api/chat", post(ollama::chat)),
        ("/api/generate", post(ollama::generate)),
        ("/metrics", get(status::metrics)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// The router over the app.
pub(crate) fn router(app: Shared) -> Router {
    let mut keyed = Router::new();
    for (path, methods) in routes() {
        keyed = keyed.route(path, methods.fallback(wrong_method));
    }
    let keyed = keyed
        .fallback(wrong_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), around))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::Internal { problem: "a handler broke off".to_owned() }.into_response()
        }));
    Router::new()
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/", get(openapi::page))
        .route("/docs", get(openapi::page))
        .merge(keyed)
        .with_state(app)
}

async fn wrong_path(request: Request) -> ApiError {
    ApiError::Path { path: request.uri().path().to_owned() }
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::Method { path: request.uri().path().to_owned(), method: request.method().to_string() }
}

/// What happens to every request.
async fn around(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let id = request_id(&request);
    let mut response = match caller(&app, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    let processing = HeaderValue::from(millis as u64);
    response.headers_mut().insert(HeaderName::from_static("openai-processing-ms"), processing);
    let status = response.status().as_u16();
    app.metrics.responded(&route, status);
    (app.log)(&format!("{method} {route} {status} {millis:.1} ms {id}"));
    response
}

fn caller(app: &App, request: &Request) -> Result<Caller, ApiError> {
    let caller = app.keys.caller(request.headers())?;
    match app.is_draining.load(Ordering::Relaxed) {
        true => Err(ApiError::ShuttingDown),
        false => Ok(caller),
    }
}

/// The client's own id, if it can stand in a log, or a new one.
fn request_id(request: &Request) -> String {
    let theirs = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(plain)
    };
    theirs.filter(is_plain).map_or_else(|| ids::random("req"), str::to_owned)
}
