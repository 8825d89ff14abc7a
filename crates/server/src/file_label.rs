//! Under which label is a file uploaded?
//!
//! The highest that the request's header and the policies of its key name. What its content says is looked at
//! when it is used ([`of_content`]), by the detectors that there are then.

use axum::body::Bytes;
use axum::http::HeaderMap;
use gptoss_api::ApiError;
use gptoss_gateway::{Label, header_label};
use gptoss_govern::{Ask, Sensitivity};

use crate::keys::Caller;
use crate::state::App;

/// The label of an upload.
///
/// Errors: the header names none.
pub(crate) fn of_upload(caller: &Caller, headers: &HeaderMap) -> Result<Label, ApiError> {
    let label = header_label(headers)?;
    let Some(pass) = &caller.pass else { return Ok(label) };
    // A policy's sensitivity holds whatever the model.
    let decision = pass.rules.decide(&pass.key, &Ask::default());
    Ok(if decision.sensitivity == Sensitivity::LocalOnly { Label::LocalOnly } else { label })
}

/// The highest of a file's label and what the gateway's detectors find in it; the label where there is no
/// gateway.
///
/// Errors: a detector broke off.
pub(crate) async fn of_content(app: &App, bytes: &Bytes, label: Label) -> Result<Label, ApiError> {
    match &app.gateway {
        Some(gateway) => gateway.label_of(String::from_utf8_lossy(bytes).into_owned(), label).await,
        None => Ok(label),
    }
}
