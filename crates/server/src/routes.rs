//! The one table of routes, and the layer around all of them.
//!
//! Each handler stands in the table with what it asks of the key ([`Need`]); there is no way to name one
//! without the other.
//!
//! Around every route but the health checks lies the same layer: a request id, the key, the count for the
//! metrics, one line of log without a word of a client's. A panic in a handler is a 500 in the documented
//! form.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use gptoss_api::ApiError;
use gptoss_govern::{Entry, Event, Scope};
use tower_http::catch_panic::CatchPanicLayer;

use crate::access_log::{Line, RequestId};
use crate::bill::{Bill, REFUSED};
use crate::client_name::ClientName;
use crate::gate::{self, Gate};
use crate::keys::Caller;
use crate::path_class::path_class;
use crate::rejection::Rejection;
use crate::scope::Need;
use crate::state::{App, Shared};
use crate::trace::TraceParent;
use crate::{
    anthropic, batches, chat, completions, container_content, containers, conversations, cors, files,
    fine_tuning, gateway, ids, loads, lora, messages, moderations, ollama, openapi, organization, page,
    rate_headers, redact, rendered, responses, socket, status, tokens,
};

/// Longest request id of a client's that is given back. Units: bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Where something is said to models, and by them: what a policy may have kept.
const SAID_ON: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/v1/moderations",
    "/v1/responses",
    "/v1/responses/compact",
    "/api/chat",
    "/api/generate",
];
const METRICS: &str = "/metrics";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One path with its methods, and what each of these asks of the key.
struct Route {
    path: &'static str,
    methods: MethodRouter<Shared>,
    needs: Vec<(Method, Need)>,
}

impl Route {
    fn at(path: &'static str) -> Route {
        Route { path, methods: MethodRouter::new(), needs: Vec::new() }
    }

    fn get<T: 'static>(self, need: Need, handler: impl Handler<T, Shared>) -> Route {
        let methods = self.methods.get(handler);
        Route { methods, ..self }.asks(Method::GET, need)
    }

    fn post<T: 'static>(self, need: Need, handler: impl Handler<T, Shared>) -> Route {
        let methods = self.methods.post(handler);
        Route { methods, ..self }.asks(Method::POST, need)
    }

    fn delete<T: 'static>(self, need: Need, handler: impl Handler<T, Shared>) -> Route {
        let methods = self.methods.delete(handler);
        Route { methods, ..self }.asks(Method::DELETE, need)
    }

    fn asks(mut self, method: Method, need: Need) -> Route {
        self.needs.push((method, need));
        self
    }

    /// Whether anybody may have all of it.
    fn is_open(&self) -> bool {
        self.needs.iter().all(|(_, need)| *need == Need::Nothing)
    }
}

const INFER: Need = Need::Scope(Scope::Infer);
const TUNE: Need = Need::Scope(Scope::Tune);
const TOOLS: Need = Need::Scope(Scope::Tools);
const SEEN: Need = Need::Scope(Scope::Metrics);
const ADMIN: Need = Need::Scope(Scope::Admin);
const RAW: Need = Need::Scope(Scope::RawReasoning);

/// All routes. `/openapi.json` describes those of the API.
fn routes() -> impl Iterator<Item = Route> {
    answering().into_iter().chain(storing()).chain(tuning()).chain(telling()).chain(administering())
}

/// Where the model answers, or something else judges or changes texts.
fn answering() -> Vec<Route> {
    vec![
        Route::at("/v1/chat/completions").post(INFER, chat::create),
        Route::at("/v1/chat/completions/render").post(RAW, rendered::chat),
        Route::at("/v1/completions").post(INFER, completions::create),
        Route::at("/v1/completions/render").post(INFER, rendered::completion),
        Route::at("/v1/responses").get(INFER, socket::open).post(INFER, responses::create),
        Route::at("/v1/responses/compact").post(INFER, responses::compact),
        Route::at("/v1/responses/input_tokens").post(INFER, responses::input_tokens),
        Route::at("/v1/messages").post(INFER, messages::create),
        Route::at("/v1/messages/count_tokens").post(INFER, messages::count_tokens),
        Route::at("/v1/moderations").post(INFER, moderations::create),
        Route::at("/v1/redact").post(INFER, redact::create),
        Route::at("/v1/tokenize").post(INFER, tokens::tokenize),
        Route::at("/v1/detokenize").post(INFER, tokens::detokenize),
        Route::at("/v1/render").post(RAW, tokens::render),
        Route::at("/api/chat").post(INFER, ollama::chat),
        Route::at("/api/generate").post(INFER, ollama::generate),
    ]
}

/// Where something of the tenant's is kept.
fn storing() -> Vec<Route> {
    vec![
        Route::at("/v1/responses/{id}").get(INFER, responses::retrieve).delete(INFER, responses::delete),
        Route::at("/v1/responses/{id}/cancel").post(INFER, responses::cancel),
        Route::at("/v1/responses/{id}/input_items").get(INFER, responses::input_items),
        Route::at("/v1/conversations").post(INFER, conversations::create),
        Route::at("/v1/conversations/{id}")
            .get(INFER, conversations::retrieve)
            .post(INFER, conversations::update)
            .delete(INFER, conversations::delete),
        Route::at("/v1/conversations/{id}/items")
            .get(INFER, conversations::items)
            .post(INFER, conversations::add_items),
        Route::at("/v1/conversations/{id}/items/{item_id}")
            .get(INFER, conversations::item)
            .delete(INFER, conversations::delete_item),
        // An upload has a limit of its own.
        Route::at("/v1/files")
            .get(INFER, files::list)
            .post(INFER, files::create.layer(DefaultBodyLimit::disable())),
        Route::at("/v1/files/{id}").get(INFER, files::retrieve).delete(INFER, files::delete),
        Route::at("/v1/files/{id}/content").get(INFER, files::content),
        Route::at("/v1/containers").get(TOOLS, containers::list).post(TOOLS, containers::create),
        Route::at("/v1/containers/{id}").get(TOOLS, containers::retrieve).delete(TOOLS, containers::delete),
        Route::at("/v1/containers/{id}/files")
            .get(TOOLS, container_content::list)
            .post(TOOLS, container_content::create.layer(DefaultBodyLimit::disable())),
        Route::at("/v1/containers/{id}/files/{file_id}")
            .get(TOOLS, container_content::retrieve)
            .delete(TOOLS, container_content::delete),
        Route::at("/v1/containers/{id}/files/{file_id}/content").get(TOOLS, container_content::content),
        Route::at("/v1/batches").get(INFER, batches::list).post(INFER, batches::create),
        Route::at("/v1/batches/{id}").get(INFER, batches::retrieve),
        Route::at("/v1/batches/{id}/cancel").post(INFER, batches::cancel),
    ]
}

/// Where models and adapters come and go.
fn tuning() -> Vec<Route> {
    vec![
        Route::at("/v1/fine_tuning/jobs").get(TUNE, fine_tuning::list).post(TUNE, fine_tuning::create),
        Route::at("/v1/fine_tuning/jobs/{id}").get(TUNE, fine_tuning::retrieve),
        Route::at("/v1/fine_tuning/jobs/{id}/cancel").post(TUNE, fine_tuning::cancel),
        Route::at("/v1/fine_tuning/jobs/{id}/pause").post(TUNE, fine_tuning::pause),
        Route::at("/v1/fine_tuning/jobs/{id}/resume").post(TUNE, fine_tuning::resume),
        Route::at("/v1/fine_tuning/jobs/{id}/events").get(TUNE, fine_tuning::events),
        Route::at("/v1/fine_tuning/jobs/{id}/checkpoints").get(TUNE, fine_tuning::checkpoints),
        Route::at("/v1/models/{id}").get(Need::Key, tokens::model).delete(TUNE, fine_tuning::delete_model),
        Route::at("/v1/models/{organization}/{name}")
            .get(Need::Key, tokens::model_in_organization)
            .delete(TUNE, fine_tuning::delete_model_in_organization),
        Route::at("/v1/load_lora_adapter").post(TUNE, lora::load),
        Route::at("/v1/unload_lora_adapter").post(TUNE, lora::unload),
    ]
}

/// What the server tells of itself.
fn telling() -> Vec<Route> {
    const OPEN: Need = Need::Nothing;
    vec![
        Route::at("/v1/models").get(Need::Key, tokens::models),
        Route::at("/v1/loads").get(SEEN, loads::loads),
        Route::at("/v1/tokenizer_info").get(Need::Key, tokens::tokenizer_info),
        Route::at("/api/tags").get(Need::Key, ollama::tags),
        Route::at("/api/ps").get(Need::Key, ollama::running),
        Route::at("/api/show").post(Need::Key, ollama::show),
        Route::at("/api/version").get(Need::Key, ollama::version),
        Route::at("/api/pull").post(Need::Key, ollama::pull),
        Route::at("/version").get(Need::Key, status::version),
        Route::at(METRICS).get(SEEN, status::metrics),
        Route::at("/openapi.json").get(Need::Key, openapi::document),
        Route::at("/health").get(OPEN, status::health),
        Route::at("/ping").get(OPEN, status::health).post(OPEN, status::health),
        Route::at("/ready").get(OPEN, status::ready),
        Route::at("/").get(OPEN, page::index),
        Route::at("/page/{file}").get(OPEN, page::file),
        Route::at("/docs").get(OPEN, openapi::page),
    ]
}

/// OpenAI's organization API.
fn administering() -> Vec<Route> {
    vec![
        Route::at("/v1/organization/usage/completions").get(ADMIN, organization::usage),
        Route::at("/v1/organization/costs").get(ADMIN, organization::costs),
        Route::at("/v1/organization/audit_logs").get(ADMIN, organization::audit_logs),
        Route::at("/v1/organization/admin_api_keys")
            .get(ADMIN, organization::keys)
            .post(ADMIN, organization::create_key),
        Route::at("/v1/organization/admin_api_keys/{id}")
            .get(ADMIN, organization::key)
            .delete(ADMIN, organization::delete_key),
        Route::at("/v1/organization/projects/{id}/rate_limits").get(ADMIN, organization::rate_limits),
    ]
}

/// A method of a route, and what it asks of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRoute {
    /// The path, with names in braces.
    pub path: &'static str,
    /// The method.
    pub method: Method,
    /// `nothing`, `key`, or the scope.
    pub need: &'static str,
}

/// Every method of every route, from the table that the router is made of.
pub fn declared_routes() -> Vec<DeclaredRoute> {
    let declared = |route: Route| {
        let path = route.path;
        route.needs.into_iter().map(move |(method, need)| DeclaredRoute { path, method, need: need.name() })
    };
    routes().flat_map(declared).collect()
}

/// What each method of a path asks of the key.
type Needs = HashMap<&'static str, Vec<(Method, Need)>>;

/// What a request to a route asks of the key; None where no handler is behind it.
fn need_of(path: &str, method: &Method) -> Option<Need> {
    static NEEDS: LazyLock<Needs> =
        LazyLock::new(|| routes().map(|route| (route.path, route.needs)).collect());
    // The router answers HEAD as GET.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    NEEDS.get(path)?.iter().find(|(other, _)| other == method).map(|(_, need)| *need)
}

/// The first parts of the paths below `/v1`.
pub(crate) fn names_below_v1() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let below = |route: Route| route.path.strip_prefix("/v1/")?.split('/').next();
        routes().filter_map(below).collect()
    });
    &NAMES
}

/// The router over the app.
pub(crate) fn router(app: Shared, gate: Gate) -> Router {
    let (mut keyed, mut open) = (Router::new(), Router::new());
    for route in routes() {
        if route.is_open() {
            open = open.route(route.path, route.methods);
            continue;
        }
        let methods = route.methods.fallback(wrong_method);
        let methods = match app.gateway.is_some() && gateway::has(route.path) {
            true => methods.layer(middleware::from_fn_with_state(Arc::clone(&app), gateway::layer)),
            false => methods,
        };
        keyed = keyed.route(route.path, methods);
    }
    let keyed = keyed
        .fallback(wrong_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), request_layer))
        .layer(CatchPanicLayer::custom(|_| {
            Rejection(ApiError::Internal { problem: "a handler broke off".to_owned() }).into_response()
        }));
    let cors = cors::layer(&app.cors_origins);
    let all = open
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
    line.client = request.extensions().get::<ClientName>().cloned();
    // A page that is looked at every few seconds is nothing to trace.
    if app.log.traces.is_some() && route != METRICS {
        line.trace = Some(TraceParent::of(request.headers()));
    }
    let bill = match named(drawn).and_then(|()| caller(&app, &request)) {
        Ok(caller) => {
            line.tenant = Some(caller.tenant.clone());
            let bill = caller.pass.clone().map(|pass| Bill::new(pass, line_route(&request), id.clone()));
            request.extensions_mut().insert(Caller { bill: bill.clone(), ..caller });
            request.extensions_mut().insert(RequestId(id.clone()));
            Ok(bill)
        }
        Err(error) => {
            turned_away(&app, &route, &id, &error);
            Err(error)
        }
    };
    let (mut response, bill) = match bill {
        Ok(bill) => (answered(request, bill.as_ref(), next).await, bill),
        Err(error) => (Rejection(error).into_response(), None),
    };
    let said = bill.as_ref().and_then(|bill| bill.said().cloned());
    if let Some(bill) = bill {
        told(&mut response, bill, is_anthropic).await;
    }
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
    if let Some(said) = said {
        response = said.heard_by(response);
    }
    line.at_the_end_of(response)
}

/// The answer to a request whose key is known, if the key may ask and there is something left for it.
async fn answered(request: Request, bill: Option<&Arc<Bill>>, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.cloned();
    let need = matched.and_then(|path| need_of(path.as_str(), request.method()));
    let scopes = request.extensions().get::<Caller>().map(|caller| &caller.scopes);
    // Where no handler is behind a path or a method there is nothing to be allowed.
    if let (Some(need), Some(scopes)) = (need, scopes)
        && let Err(error) = scopes.meet(need)
    {
        return Rejection(error).into_response();
    }
    let is_counted = matches!(need, Some(Need::Scope(_))) && request.method() == Method::POST;
    if let Some(bill) = bill.filter(|_| is_counted) {
        let is_said = path.is_some_and(|path| SAID_ON.contains(&path.as_str()));
        let admitted = async {
            bill.admit().await?;
            if is_said { bill.keep_said().await } else { Ok(()) }
        };
        if let Err(error) = admitted.await {
            return Rejection(error).into_response();
        }
    }
    documented(next.run(request).await)
}

/// Takes down how the answer begins, says what is left, and ends the bill if nothing runs for it any more.
async fn told(response: &mut Response, bill: Arc<Bill>, is_anthropic: bool) {
    bill.begins(response.status().as_u16());
    if let Some(error) = response.extensions().get::<ApiError>() {
        bill.blame(error);
    }
    let pass = bill.pass.clone();
    bill.end().await;
    if let Some(remaining) = pass.remaining().await {
        rate_headers::insert(response.headers_mut(), &remaining, is_anthropic);
    }
}

/// The route of a request, for its entry in the audit.
fn line_route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    format!("{} {}", method_name(request.method()), matched.unwrap_or("none"))
}

/// A method's name; one of a client's own making is the client's text.
fn method_name(method: &Method) -> &'static str {
    let known = ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"];
    known.into_iter().find(|name| method == *name).unwrap_or("OTHER")
}

/// An entry for a request without a key that holds.
fn turned_away(app: &App, route: &str, id: &str, error: &ApiError) {
    let Some(governance) = app.keys.governance() else { return };
    if error.row().status != 401 || !governance.takes_stranger() {
        return;
    }
    governance.later(Entry {
        policy_version: governance.rules().version().to_owned(),
        decision: REFUSED.to_owned(),
        reason: error.row().code.unwrap_or_default().to_owned(),
        route: route.to_owned(),
        status: 401,
        request_id: id.to_owned(),
        ..Entry::new(Event::LoginFailed)
    });
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
