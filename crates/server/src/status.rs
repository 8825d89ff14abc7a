//! Is the server alive, is it ready, what has it done?
//!
//! `/health` answers as long as the process does; `/ready` says 503 while the server goes away, the engine
//! makes no progress or the model computes nothing but failures; `/metrics` is Prometheus' page. The first
//! two need no key, since they tell nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::metrics::write_traces;
use crate::state::Shared;

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
    } else if app.assistant.engine().stalled_for().is_some_and(|stalled| stalled > STALL_MAX) {
        "stalled"
    } else if app.health.is_failing() {
        "failing"
    } else {
        "ready"
    };
    let status = if state == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": state}))).into_response()
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Shared>) -> Response {
    let mut page = app.metrics.page(&app.assistant.engine().stats(), &app.model.name);
    if let Some(traces) = &app.log.traces {
        write_traces(&mut page, traces.num_dropped());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}
