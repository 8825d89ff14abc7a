//! The status, type and words of each failure for Anthropic's clients.
//!
//! The failures are those of every dialect; here is Anthropic's column of the table. Its clients look at the
//! status and the type, wait for `retry-after`, and shorten the conversation when they read `prompt is too
//! long`.

use crate::errors::ApiError;
use crate::wire::message_events::{MessagesErrorBody, MessagesErrorFacts};

/// The status that no other dialect has.
pub const OVERLOADED: u16 = 529;

/// The status of a failure.
pub fn status(error: &ApiError) -> u16 {
    match error {
        // What goes away or cannot be reached is overloaded, in these words.
        ApiError::ShuttingDown | ApiError::Overloaded { .. } => OVERLOADED,
        other => other.row().status,
    }
}

/// The type that goes with a status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        OVERLOADED => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The body of a failure.
pub fn body(error: &ApiError, request_id: Option<&str>) -> MessagesErrorBody {
    let message = match error {
        ApiError::ContextLength { prompt_tokens, max_context } => {
            format!("prompt is too long: {prompt_tokens} tokens > {max_context} maximum")
        }
        ApiError::Key => {
            "There is no valid API key: send 'x-api-key: KEY' or 'authorization: Bearer KEY'.".to_owned()
        }
        other => other.to_string(),
    };
    MessagesErrorBody {
        kind: "error",
        error: MessagesErrorFacts { kind: kind(status(error)), message },
        request_id: request_id.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_the_word_its_clients_know() {
        let check = |error: ApiError, expect_status: u16, expect_kind: &str| {
            assert_eq!(
                (status(&error), body(&error, None).error.kind),
                (expect_status, expect_kind),
                "{error}"
            );
        };
        check(ApiError::invalid("messages", "wrong"), 400, "invalid_request_error");
        check(ApiError::Missing { param: "max_tokens" }, 400, "invalid_request_error");
        check(ApiError::unsupported("messages[0]", "no"), 400, "invalid_request_error");
        check(ApiError::ContextLength { prompt_tokens: 2, max_context: 1 }, 400, "invalid_request_error");
        check(ApiError::Key, 401, "authentication_error");
        check(ApiError::Origin, 403, "permission_error");
        check(ApiError::Model { model: "m".into(), known: "n".into() }, 404, "not_found_error");
        check(ApiError::BodyTooLarge { max: 1 }, 413, "request_too_large");
        check(ApiError::MediaType, 415, "invalid_request_error");
        check(ApiError::Busy { what: "it".into(), retry_seconds: 2 }, 429, "rate_limit_error");
        check(ApiError::Cancelled, 499, "invalid_request_error");
        check(ApiError::Engine { problem: "it".into() }, 500, "api_error");
        check(ApiError::ShuttingDown, 529, "overloaded_error");
    }

    #[test]
    fn a_long_prompt_is_told_in_the_words_that_make_clients_shorten_it() {
        let body = body(&ApiError::ContextLength { prompt_tokens: 9, max_context: 8 }, Some("req_1"));
        assert_eq!(body.error.message, "prompt is too long: 9 tokens > 8 maximum");
        let text = serde_json::to_string(&body).unwrap();
        assert!(text.starts_with(r#"{"type":"error","error":{"type":"invalid_request_error""#), "{text}");
        assert!(text.ends_with(r#""request_id":"req_1"}"#), "{text}");
    }
}
