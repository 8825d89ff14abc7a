//! `POST /v1/redact`: texts without personal data.
//!
//! The filter computes one request at a time, on the threads for what takes long; others wait their turn, up
//! to [`REDACTIONS_MAX`] with the one that runs. A client that goes away, or the time of a request, stops it
//! at its next window. What is said never reaches the log, and a text that could not be read whole is never
//! given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use gptoss_api::ApiError;
use gptoss_api::wire::redact::{RedactInput, RedactRequest, RedactResponse};

use crate::blocking::run_blocking;
use crate::body::Body;
use crate::limits::{REDACT_TEXTS_MAX, REDACTIONS_MAX};
use crate::redactor::{RedactDesk, RedactOptions, RedactProblem};
use crate::rejection::Rejection;
use crate::state::Shared;

impl FromRequestParts<Shared> for RedactDesk {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<RedactDesk, Rejection> {
        let why = "this server was started without --redact";
        let missing = || ApiError::NotOffered { path: parts.uri.path().to_owned(), why };
        Ok(app.redaction.clone().ok_or_else(missing)?)
    }
}

/// Says that nobody waits any more, when it is dropped.
struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    desk: RedactDesk,
    Body(request): Body<RedactRequest>,
) -> Result<Json<RedactResponse>, Rejection> {
    let deadline = Instant::now() + app.limits.request_time;
    let model = desk.redactor.name().to_owned();
    if let Some(other) = request.model.filter(|asked| asked.rsplit('/').next() != Some(&model)) {
        return Err(ApiError::Model { model: other, known: model }.into());
    }
    let texts = match request.input {
        RedactInput::Text(text) => vec![text],
        RedactInput::Texts(texts) => texts,
    };
    if texts.len() > REDACT_TEXTS_MAX {
        return Err(ApiError::invalid("input", format!("at most {REDACT_TEXTS_MAX} texts at a time")).into());
    }
    let full = |_| ApiError::Busy {
        what: format!("{REDACTIONS_MAX} requests wait for the filter"),
        retry_seconds: 10,
    };
    let place = Arc::clone(&desk.admitted).try_acquire_owned().map_err(full)?;
    let late = || {
        let seconds = app.limits.request_time.as_secs();
        ApiError::invalid("input", format!("not done in {seconds} s (--request-timeout): send shorter texts"))
    };
    let turn = tokio::time::timeout_at(deadline.into(), Arc::clone(&desk.turn).acquire_owned()).await;
    let turn = turn.map_err(|_| late())?;
    let is_waited_for = Arc::new(AtomicBool::new(true));
    let waits = Waits(Arc::clone(&is_waited_for));
    let options = RedactOptions { labels: request.labels, replace: request.replace };
    let results = run_blocking(&app, move |_| {
        // Both are given back when the work has ended, not when the client has gone.
        let _held = (place, turn);
        let goes_on = || is_waited_for.load(Ordering::Relaxed) && Instant::now() < deadline;
        let redact = |text: &String| desk.redactor.redact(text, &options, &goes_on).map_err(refused);
        texts.iter().map(redact).collect::<Result<Vec<_>, _>>()
    });
    let results = results.await;
    drop(waits);
    match results {
        // Whoever reads this has not gone, so that it was the time.
        Err(ApiError::Cancelled) => Err(late().into()),
        results => Ok(Json(RedactResponse { object: "redaction", model, results: results? })),
    }
}

fn refused(problem: RedactProblem) -> ApiError {
    match problem {
        RedactProblem::Labels(message) => ApiError::invalid("labels", message),
        RedactProblem::Replace(message) => ApiError::invalid("replace", message),
        RedactProblem::Stopped => ApiError::Cancelled,
        RedactProblem::Failed(problem) => ApiError::Internal { problem },
    }
}
