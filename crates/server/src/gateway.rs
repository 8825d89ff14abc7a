//! Requests that go to other servers: the room `gateway` between the routes and the handlers.
//!
//! A layer around the routes of Chat Completions, Completions, Responses and Messages reads the body, has the
//! gateway decide, and either answers with what an upstream says or lets the request through to the handler,
//! which knows nothing of it. Every answer says in `x-route` which way it went. Lines of batches, WebSockets
//! and requests below `/api` do not pass here: they are answered by models of this server alone.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gptoss_api::ApiError;
use gptoss_api::ollama::lines::timestamp;
use gptoss_api::wire::message_events::AnthropicModel;
use gptoss_api::wire::models::{Model, ModelStatus};
use gptoss_gateway::{
    Cut, Dialect, Ended, Gateway, Incoming, Label, Outcome, RawObject, Reply, ReplyBody, Route, Told,
    filtered,
};
use serde_json::json;

use crate::abroad;
use crate::abroad_response::{self, Looped, Sent};
use crate::access_log::Spent;
use crate::body::bytes_of;
use crate::ids;
use crate::keys::Caller;
use crate::local_models;
use crate::rejection::Rejection;
use crate::relay_guard::RelayGuard;
use crate::roster::ModelState;
use crate::ruling;
use crate::sse::kept_alive;
use crate::state::{App, Shared, now};
use crate::trace::Work;

const ROUTE: HeaderName = HeaderName::from_static("x-route");
const REASON: HeaderName = HeaderName::from_static("x-route-reason");
/// The route of what nobody answered.
const NOBODY: &str = "none";

/// Whether requests of a route may go elsewhere.
pub(crate) fn has(path: &str) -> bool {
    Dialect::of_path(path).is_some()
}

/// The layer.
pub(crate) async fn layer(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().and_then(|path| Dialect::of_path(path.as_str()));
    let caller = request.extensions().get::<Caller>().cloned();
    match (app.gateway.clone(), path, caller) {
        (Some(gateway), Some(dialect), Some(caller)) if request.method() == Method::POST => {
            let passed = pass(&app, &gateway, (dialect, caller), request, next).await;
            passed.unwrap_or_else(|error| Rejection(error).into_response())
        }
        _ => next.run(request).await,
    }
}

/// Errors: a body that cannot be read, or names no model; a label that is none.
async fn pass(
    app: &Shared,
    gateway: &Arc<Gateway>,
    (dialect, caller): (Dialect, Caller),
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let bytes = bytes_of(Request::from_parts(parts.clone(), body), app).await?;
    let mut body = RawObject::parse(&bytes)?;
    let asked = body.value("model");
    let asked: Arc<str> = asked.as_ref().and_then(|name| name.as_str()).unwrap_or_default().into();
    let ruled = ruled(app, &caller, (dialect, &asked), &mut body)?;
    let wish = body.value("reasoning_visibility");
    let visibility = ruled.visibility.narrowed(wish.as_ref().and_then(|wish| wish.as_str()))?;
    let told = Told {
        model: String::new(),
        visibility,
        reasoning_field: app.reasoning_field,
        signer: app.thinking_key.signer(&caller.tenant),
        new_id: ids::random,
        now: now(),
    };
    let sent = Sent { dialect, model: asked, body, headers: parts.headers.clone(), ruled, told };
    let sent = match abroad_response::answer(app, gateway, &caller, sent).await? {
        Looped::Answered(response, route) => return Ok(routed(response, &route)),
        Looped::Here(model, asked, route) => {
            return here(parts, &caller, bytes, (&asked, &model), route, next).await;
        }
        Looped::No(sent) => *sent,
    };
    let asked = Arc::clone(&sent.model);
    match relayed(app, gateway, &caller, sent).await? {
        (Passed::Answered(response), route) => Ok(routed(response, &route)),
        (Passed::Here(model), route) => here(parts, &caller, bytes, (&asked, &model), route, next).await,
        (Passed::NotOurs, Route { label, .. }) => {
            keep(&mut parts, &caller, label);
            Ok(next.run(whole(parts, bytes)).await)
        }
    }
}

/// What became of a request.
enum Passed {
    Answered(Response),
    Here(String),
    NotOurs,
}

/// Has the gateway answer a request, or say who else is to.
async fn relayed(
    app: &Shared,
    gateway: &Gateway,
    caller: &Caller,
    sent: Sent,
) -> Result<(Passed, Route), ApiError> {
    let Sent { dialect, model, mut body, headers, ruled, told } = sent;
    let spent = Spent::default();
    let of_end = spent.clone();
    let (bill, prompt_bytes) = (ruled.bill(), body.prompt_bytes());
    let local = local_models::states(app, &caller.tenant);
    let guard = RelayGuard::of(app, caller, (dialect, &mut body))?;
    let told_of = |told: &Told| Told { model: model.to_string(), ..told.clone() };
    let of_guard = guard.clone();
    let refused = guard.as_ref().map(|_| filtered(dialect, &body, told_of(&told))).transpose()?;
    let incoming = Incoming {
        dialect,
        body,
        headers: &headers,
        label: ruled.label,
        admit: &|upstream| {
            // Judges are charged too, so they work for nobody who is over a budget.
            let admitted = ruled.admit(upstream, prompt_bytes);
            match &guard {
                Some(guard) => guard.admit(admitted),
                None => admitted,
            }
        },
        local: &local,
        told,
        on_end: Arc::new(move |ended: Ended| {
            if let Some(bill) = &bill {
                let tokens = ended.usage;
                bill.computed(tokens.prompt as usize, tokens.cached as usize, tokens.completion as usize);
                match ended.cut {
                    Some(Cut::Broken) => bill.broke(),
                    // A guard that refuses an answer does not read it to its end.
                    Some(Cut::Unread) if !of_guard.as_ref().is_some_and(RelayGuard::is_refused) => {
                        bill.left()
                    }
                    Some(Cut::Unread) | None => {}
                }
            }
            of_end.set(Work { model: Arc::clone(&model), tokens: ended.usage, choices: Vec::new() });
        }),
        stay: None,
    };
    Ok(match gateway.answer(incoming).await? {
        Outcome::Answered(reply, route) => {
            let reply = match (&guard, refused) {
                (Some(guard), Some(refused)) => guard.answer(reply, refused).await,
                _ => reply,
            };
            (Passed::Answered(spent.of(response(app, reply))), route)
        }
        Outcome::Refused(error, route) => {
            let refused = match (guard.filter(RelayGuard::is_refused), refused) {
                (Some(guard), Some(refused)) => response(app, guard.refusal(refused).await),
                _ => Rejection(error).into_response(),
            };
            (Passed::Answered(refused), route)
        }
        Outcome::Here(model, route) => (Passed::Here(model), route),
        Outcome::NotOurs(label) => (Passed::NotOurs, Route { label, ..Route::default() }),
    })
}

/// Has a model here answer, by the gateway's name of it.
///
/// Errors: the body cannot be read again.
async fn here(
    mut parts: Parts,
    caller: &Caller,
    bytes: Bytes,
    (asked, model): (&str, &str),
    route: Route,
    next: Next,
) -> Result<Response, ApiError> {
    // As it came: its handler narrows it by itself.
    let bytes = match *asked == *model || model.is_empty() {
        true => bytes,
        false => {
            let mut body = RawObject::parse(&bytes)?;
            body.set("model", &json!(model));
            body.bytes().into()
        }
    };
    keep(&mut parts, caller, route.label);
    Ok(routed(next.run(whole(parts, bytes)).await, &route))
}

/// A label holds for what a handler here does with the request too.
fn keep(parts: &mut Parts, caller: &Caller, label: Label) {
    if label == Label::LocalOnly {
        parts.extensions.insert(Caller { stays: true, ..caller.clone() });
    }
}

/// What the rules say to it, by the name of the model here that it means, or by its own.
fn ruled(
    app: &App,
    caller: &Caller,
    (dialect, name): (Dialect, &str),
    body: &mut RawObject,
) -> Result<abroad::Ruled, ApiError> {
    match local_models::find(app, &caller.tenant, name) {
        Some(entry) => abroad::rule(caller, dialect, ruling::named(&entry), body),
        None => abroad::rule(caller, dialect, (name, None), body),
    }
}

/// The request again, with a body that is read and unpacked.
fn whole(mut parts: Parts, bytes: Bytes) -> Request {
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Request::from_parts(parts, Body::from(bytes))
}

fn response(app: &App, reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    match reply.body {
        ReplyBody::Whole(bytes) => {
            (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
        }
        ReplyBody::Stream(stream) => {
            let lines = kept_alive(stream, app.limits.keep_alive);
            let body =
                Body::from_stream(futures_util::StreamExt::map(lines, Ok::<_, std::convert::Infallible>));
            let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
            (status, headers, body).into_response()
        }
    }
}

/// The response with the way it went.
fn routed(mut response: Response, route: &Route) -> Response {
    let name = if route.name.is_empty() { NOBODY } else { route.name.as_str() };
    let headers = response.headers_mut();
    for (header, value) in [(ROUTE, name), (REASON, route.reason.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(header, value);
        }
    }
    response
}

/// Models that only other servers have, in the list of models.
pub(crate) fn models(app: &App, caller: &Caller) -> Vec<Model> {
    let Some(gateway) = &app.gateway else { return Vec::new() };
    let plan = gateway.plan();
    let context = |owner: &str| {
        let upstream = plan.upstreams.iter().find(|upstream| upstream.name == owner);
        upstream.and_then(|upstream| upstream.context_window).unwrap_or(0) as usize
    };
    let elsewhere =
        plan.models().into_iter().filter(|(name, _)| local_models::find(app, &caller.tenant, name).is_none());
    elsewhere
        .map(|(id, owner)| Model {
            object: "model",
            created: app.models.first().served.created,
            context_length: context(&owner),
            max_model_len: context(&owner),
            owned_by: owner.into(),
            demo: false,
            status: ModelStatus { value: ModelState::Loaded.word() },
            root: id.clone(),
            parent: None,
            id,
        })
        .collect()
}

/// The same in Anthropic's list.
pub(crate) fn anthropic_entry(model: &Model) -> AnthropicModel {
    AnthropicModel {
        kind: "model",
        id: model.id.clone(),
        display_name: model.id.clone(),
        created_at: timestamp(model.created),
        lifecycle: "active",
        max_input_tokens: model.max_model_len,
        max_tokens: model.max_model_len,
    }
}
