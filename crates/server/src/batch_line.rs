//! One line of a batch, answered.
//!
//! A line takes the way of a request of HTTP, from the reading of its body to the bytes of its answer: the
//! handlers are called as the router calls them. What is different is how urgent it is: the engine gives it
//! the lowest priority and no deadline, and it is not begun while anything waits for the engine.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::to_bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use gptoss_api::batches::lines::BatchLine;
use gptoss_api::batches::request::Endpoint;
use gptoss_api::batches::results::{BatchResult, answered};
use gptoss_api::usage::TokenUsage;
use gptoss_api::{ApiError, body};

use crate::access_log::Spent;
use crate::body::Body;
use crate::declared_label::labelled;
use crate::governance::KeyEnded;
use crate::keys::Caller;
use crate::rejection::Rejection;
use crate::state::App;
use crate::{chat, completions, ids, responses};

/// Between two looks at an engine that others wait for.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause before a line whose key has no rate left is tried again.
const RATE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Before a line that was refused because the queue, or the compiler of grammars, was full is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Waits until nobody waits for the engine.
pub(crate) async fn room(app: &App) {
    while app.models.any_loaded(|assistant, _| assistant.engine().stats().queued > 0) {
        tokio::time::sleep(ROOM_PAUSE).await;
    }
}

/// Answers a line; None, when the server goes away and has not.
///
/// Errors: its key does not hold any more.
pub(crate) async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    line: &BatchLine,
) -> Result<Option<(BatchResult, TokenUsage)>, KeyEnded> {
    let request_id = ids::random("req");
    loop {
        room(app).await;
        let broken = || Rejection(ApiError::Internal { problem: "a handler broke off".to_owned() });
        // By the rules that hold at this try.
        let caller = app.renewed(caller)?;
        let called = AssertUnwindSafe(call(app, caller, line, &request_id)).catch_unwind().await;
        let response = match called.unwrap_or_else(|_| Err(broken())) {
            // The batch has been taken, so what is full for the moment does not refuse its lines.
            Err(Rejection(ApiError::Busy { .. } | ApiError::Overloaded { .. })) => {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            Err(Rejection(ApiError::Rate { retry_ms: Some(millis), .. })) => {
                tokio::time::sleep(BUSY_PAUSE.max(Duration::from_millis(millis)).min(RATE_PAUSE_MAX)).await;
                continue;
            }
            Err(Rejection(ApiError::ShuttingDown)) => return Ok(None),
            Err(rejection) => rejection.into_response(),
            Ok(response) => response,
        };
        let tokens = response.extensions().get::<Spent>().and_then(Spent::tokens).unwrap_or_default();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let id = ids::random("batch_req");
        return Ok(Some((answered(&id, &line.custom_id, (status, &request_id), &text), tokens)));
    }
}

/// Hands the line's body to the handler of its path.
async fn call(
    app: &Arc<App>,
    caller: Caller,
    line: &BatchLine,
    request_id: &str,
) -> Result<Response, Rejection> {
    let caller = labelled(app, caller, &HeaderMap::new())?;
    let caller = caller.admitted(&format!("BATCH {}", line.endpoint.path()), request_id).await?;
    let bill = caller.bill.clone();
    let said = bill.as_ref().and_then(|bill| bill.said().cloned());
    if let Some(said) = &said {
        said.heard(line.body.as_bytes());
    }
    let (state, caller) = (State(Arc::clone(app)), Extension(caller));
    let bytes = line.body.as_bytes();
    let answer = async move {
        match line.endpoint {
            Endpoint::Chat => chat::create(state, caller, Body(body::parse(bytes)?)).await,
            Endpoint::Responses => responses::create(state, caller, Body(body::parse(bytes)?)).await,
            Endpoint::Completions => completions::create(state, caller, Body(body::parse(bytes)?)).await,
        }
    };
    let answer = answer.await;
    if let Some(bill) = bill {
        match &answer {
            Ok(response) => bill.begins(response.status().as_u16()),
            Err(Rejection(error)) => bill.failed(error),
        }
        bill.end().await;
    }
    match (said, answer) {
        (Some(said), Ok(response)) => Ok(said.heard_by(response)),
        (Some(said), Err(Rejection(error))) => {
            said.begins(error.row().status);
            if is_tried_again(&error) {
                said.forget();
            }
            Err(Rejection(error))
        }
        (None, answer) => answer,
    }
}

/// Whether a line that is refused so is tried again.
fn is_tried_again(error: &ApiError) -> bool {
    use ApiError::{Busy, Overloaded, Rate, ShuttingDown};
    matches!(error, Busy { .. } | Overloaded { .. } | Rate { retry_ms: Some(_), .. } | ShuttingDown)
}
