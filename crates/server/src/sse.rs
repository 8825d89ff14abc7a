//! What the streams of Chat Completions and Completions have in common.

use std::time::Duration;

use axum::response::sse::KeepAlive;

use crate::wire::errors::ApiError;

/// An error in the middle of a stream.
pub(crate) fn error_line(error: &ApiError) -> String {
    serde_json::to_string(&error.body()).unwrap_or_default()
}

/// How often a silent stream says that it is alive.
pub(crate) fn keep_alive(interval: Duration) -> KeepAlive {
    KeepAlive::new().interval(interval).text("keep-alive")
}
