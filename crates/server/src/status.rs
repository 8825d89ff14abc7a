//! Is the server alive, is it ready, what has it done?
//!
//! `/health` answers as long as the process does; `/ready` says 503 while the server goes away, an engine
//! makes no progress or has lost its card, or a model in memory computes nothing but failures; `/metrics` is
//! Prometheus' page. The first two need no key, since they tell nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use gptoss_turn::Assistant;
use serde_json::{Value, json};

use crate::engine_health::EngineHealth;
use crate::metrics::{ModelRows, write_traces, write_upstreams};
use crate::roster::ModelState;
use crate::state::{App, Shared};

/// How long the engine may work on one step before it counts as stuck.
const STALL_MAX: Duration = Duration::from_secs(60);

/// `GET /health` and `/ping`.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /version`, as vLLM has it.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /ready`.
pub(crate) async fn ready(State(app): State<Shared>) -> Response {
    let state = if app.is_stopping() {
        "draining"
    } else if app.models.any_loaded(|assistant, _| is_stalled(assistant)) {
        "stalled"
    } else if app.models.any_loaded(is_failing) {
        "failing"
    } else {
        "ready"
    };
    let status = if state == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": state}))).into_response()
}

/// Whether the engines can be expected to answer.
pub(crate) fn is_well(app: &App) -> bool {
    !app.is_stopping()
        && !app.models.any_loaded(|assistant, health| is_stalled(assistant) || is_failing(assistant, health))
}

fn is_failing(assistant: &Assistant, health: &EngineHealth) -> bool {
    health.is_failing() || assistant.engine().stats().has_no_device
}

fn is_stalled(assistant: &Assistant) -> bool {
    assistant.engine().stalled_for().is_some_and(|stalled| stalled > STALL_MAX)
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Shared>) -> Response {
    let figures = app.models.figures();
    let rows = figures.iter().map(|model| ModelRows {
        name: &model.entry.name,
        turns: &model.entry.turns,
        engine: model.engine,
        is_loaded: model.state == ModelState::Loaded,
        loads: model.loads,
        num_waiting: model.num_waiting,
    });
    let mut page = app.metrics.page(&rows.collect::<Vec<_>>());
    if let Some(gateway) = &app.gateway {
        write_upstreams(&mut page, &gateway.figures());
    }
    if let Some(traces) = &app.log.traces {
        write_traces(&mut page, traces.num_dropped());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}
