//! The label of what does not pass the gateway, since it is answered here: as far as its header and the
//! operator's file say one. What may not leave may not ask others either.

use axum::http::HeaderMap;
use gptoss_api::ApiError;
use gptoss_gateway::{LABEL_HEADER, Label};

use crate::keys::Caller;
use crate::state::App;

/// The caller, whose request stays on this machine if its label says so.
///
/// Errors: the header names no label.
pub(crate) fn labelled(app: &App, caller: Caller, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let Some(gateway) = &app.gateway else { return Ok(caller) };
    let mut label = gateway.plan().default_label;
    for value in headers.get_all(LABEL_HEADER) {
        let named = value.to_str().ok().and_then(|text| Label::from_name(text.trim()));
        let unknown = || {
            let message = format!("{LABEL_HEADER} is any, internal, confidential or local_only");
            ApiError::invalid(LABEL_HEADER, message)
        };
        label = label.max(named.ok_or_else(unknown)?);
    }
    Ok(Caller { stays: caller.stays || label == Label::LocalOnly, ..caller })
}
