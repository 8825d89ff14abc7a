//! A request for a batch, read.

use crate::errors::ApiError;
use crate::files::expires_at;
use crate::generation::metadata::metadata;
use crate::limits::BATCH_WINDOW_SECONDS;
use crate::wire::batches::{Batch, BatchRequest, BatchStatus, RequestCounts};
use crate::wire::responses::ResponseUsage;

/// A path that lines of a batch may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/responses`.
    Responses,
    /// `/v1/completions`.
    Completions,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 3] = [Endpoint::Chat, Endpoint::Responses, Endpoint::Completions];

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::Chat => "/v1/chat/completions",
            Endpoint::Responses => "/v1/responses",
            Endpoint::Completions => "/v1/completions",
        }
    }

    /// The one with the path.
    pub fn of(path: &str) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }
}

/// The batch that a request makes, before its lines are looked at.
///
/// Errors: by the name of the parameter.
pub fn batch(request: BatchRequest, id: String, model: String, now: u64) -> Result<Batch, ApiError> {
    metadata(request.metadata.as_ref())?;
    let input_file_id = request.input_file_id.ok_or(ApiError::Missing { param: "input_file_id" })?;
    let endpoint = request.endpoint.ok_or(ApiError::Missing { param: "endpoint" })?;
    if Endpoint::of(&endpoint).is_none() {
        let paths = Endpoint::ALL.map(Endpoint::path).join(", ");
        return Err(ApiError::invalid("endpoint", format!("endpoint must be one of {paths}")));
    }
    let completion_window =
        request.completion_window.ok_or(ApiError::Missing { param: "completion_window" })?;
    let seconds = window(&completion_window)?;
    expires_at(request.output_expires_after.as_ref(), "output_expires_after", now, None)?;
    Ok(Batch {
        id,
        object: "batch".to_owned(),
        endpoint,
        model,
        errors: None,
        input_file_id,
        completion_window,
        status: BatchStatus::Validating,
        output_file_id: None,
        error_file_id: None,
        created_at: now,
        in_progress_at: None,
        expires_at: now.saturating_add(seconds),
        finalizing_at: None,
        completed_at: None,
        failed_at: None,
        expired_at: None,
        cancelling_at: None,
        cancelled_at: None,
        request_counts: RequestCounts::default(),
        usage: ResponseUsage::default(),
        metadata: request.metadata,
        output_expires_after: request.output_expires_after,
    })
}

/// The seconds of a window such as `24h`.
fn window(text: &str) -> Result<u64, ApiError> {
    let wrong = || {
        let message = "completion_window must be a number of minutes, hours or days from 1m to 30d, as 24h";
        ApiError::invalid("completion_window", message)
    };
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(unit).filter(|seconds| BATCH_WINDOW_SECONDS.contains(seconds));
    seconds.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_minutes_hours_or_days() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(window(text).ok(), expect, "{text}");
        check("24h", Some(86_400));
        check("1m", Some(60));
        check("30d", Some(30 * 86_400));
        for wrong in ["", "h", "0h", "31d", "24", "-1h", "1s", "24é", "99999999999999999999h"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let whole = || BatchRequest {
            input_file_id: Some("file_1".into()),
            endpoint: Some("/v1/responses".into()),
            completion_window: Some("24h".into()),
            ..BatchRequest::default()
        };
        let param = |request| batch(request, "batch_1".into(), "m".into(), 5).unwrap_err().body().error.param;
        assert_eq!(batch(whole(), "batch_1".into(), "m".into(), 5).unwrap().expires_at, 86_405);
        assert_eq!(param(BatchRequest { input_file_id: None, ..whole() }).unwrap(), "input_file_id");
        assert_eq!(param(BatchRequest { endpoint: Some("/v1/x".into()), ..whole() }).unwrap(), "endpoint");
        let soon = BatchRequest { completion_window: Some("soon".into()), ..whole() };
        assert_eq!(param(soon).unwrap(), "completion_window");
    }
}
