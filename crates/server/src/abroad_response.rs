//! A response whose tools run here, and whose model is elsewhere.
//!
//! A Responses request that asks for tools of this server and would go to an upstream is not passed on: this
//! server answers it as one of its own (`responses`), and the upstream's model writes the turns
//! (`abroad_source`). An upstream with `hosted_tools = "allow"` runs them itself, as its operator wants.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use gptoss_api::ApiError;
use gptoss_api::generation::tools::is_foreign;
use gptoss_gateway::{Dialect, Gateway, HostedTools, Incoming, RawObject, Route, Told};
use serde_json::Value;

use crate::abroad::Ruled;
use crate::abroad_source::{AbroadSource, Asked};
use crate::keys::Caller;
use crate::local_models;
use crate::rejection::Rejection;
use crate::relay_guard;
use crate::responses;
use crate::state::App;
use crate::tool_host;

/// A request that came, by the rules.
pub(crate) struct Sent {
    /// The API it came in.
    pub(crate) dialect: Dialect,
    /// The model it names.
    pub(crate) model: Arc<str>,
    /// Its body, narrowed.
    pub(crate) body: RawObject,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// What the rules say.
    pub(crate) ruled: Ruled,
    /// What answers in other words are made with.
    pub(crate) told: Told,
}

/// What became of it.
pub(crate) enum Looped {
    /// It is no such response.
    No(Box<Sent>),
    /// It is answered, and which way its first turn went.
    Answered(Response, Route),
    /// No upstream answers, and a model here is to, by its name; with the name that was asked for.
    Here(String, Arc<str>, Route),
}

/// Answers a request with tools that run here and a model that is elsewhere.
///
/// Errors: it cannot be read.
pub(crate) async fn answer(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    caller: &Caller,
    sent: Sent,
) -> Result<Looped, ApiError> {
    let Some(foreign) = foreign(app, &sent) else { return Ok(Looped::No(Box::new(sent))) };
    let local = local_models::states(app, &caller.tenant);
    let Some(upstream) = foreseen(gateway, &sent, &local).await? else {
        return Ok(Looped::No(Box::new(sent)));
    };
    let request = gptoss_api::body::parse(&sent.body.bytes())?;
    let judge = relay_guard::judge(app, caller, &sent.body).await?;
    let Sent { model, body, headers, ruled, told, .. } = sent;
    let local = Box::new(local);
    let asked = Asked { body, headers, foreign, ruled, local, told, upstream };
    let source = AbroadSource::new(Arc::clone(gateway), Arc::clone(&model), asked, judge);
    let source = Arc::new(source);
    let created = responses::create_abroad(app, caller, &request, &source).await;
    let (route, here) = source.route();
    let route = route.unwrap_or_default();
    Ok(match (created, here) {
        (Ok(response), _) => Looped::Answered(response, route),
        (Err(_), Some(here)) => Looped::Here(here, model, route),
        (Err(error), None) => Looped::Answered(Rejection(error).into_response(), route),
    })
}

/// The tools that neither this server nor the client runs, of a request that has one which runs here.
fn foreign(app: &App, sent: &Sent) -> Option<Vec<Value>> {
    let host = app.tools.as_ref().filter(|_| sent.dialect == Dialect::Responses)?;
    let Some(Value::Array(mut tools)) = sent.body.value("tools") else { return None };
    let has = tool_host::offered(host);
    tools.iter().any(|tool| has.has(tool)).then(|| {
        tools.retain(|tool| is_foreign(tool, &has));
        tools
    })
}

/// The upstream that it would go to first, if that leaves tools to this server.
async fn foreseen(
    gateway: &Gateway,
    sent: &Sent,
    local: &(dyn Fn(&str) -> gptoss_gateway::LocalState + Send + Sync),
) -> Result<Option<Arc<str>>, ApiError> {
    let incoming = Incoming {
        dialect: sent.dialect,
        body: sent.body.clone(),
        headers: &sent.headers,
        label: sent.ruled.label,
        admit: &|_| Box::pin(async { Ok(()) }),
        local,
        told: sent.told.clone(),
        on_end: Arc::new(|_| {}),
        stay: None,
    };
    let name = gateway.foresee(&incoming).await?;
    let plan = gateway.plan();
    let runs_them = |name: &str| {
        let upstream = plan.upstreams.iter().find(|upstream| upstream.name == name);
        upstream.is_some_and(|upstream| upstream.hosted_tools == HostedTools::Allow)
    };
    Ok(name.filter(|name| !runs_them(name)))
}
