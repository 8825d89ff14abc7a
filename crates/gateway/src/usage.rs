//! What an upstream says that a request took, in the words of any of the APIs.

use gptoss_api::usage::TokenUsage;
use serde_json::Value;

use crate::dialect::Dialect;

/// Reads a `usage` in the words of an API; None when it is none.
pub fn read(dialect: Dialect, usage: &Value) -> Option<TokenUsage> {
    let number = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    match dialect {
        Dialect::Chat | Dialect::Completions => Some(TokenUsage {
            prompt: number("/prompt_tokens")?,
            cached: number("/prompt_tokens_details/cached_tokens").unwrap_or(0),
            completion: number("/completion_tokens").unwrap_or(0),
            reasoning: number("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
            ..TokenUsage::default()
        }),
        Dialect::Responses => Some(TokenUsage {
            prompt: number("/input_tokens")?,
            cached: number("/input_tokens_details/cached_tokens").unwrap_or(0),
            completion: number("/output_tokens").unwrap_or(0),
            reasoning: number("/output_tokens_details/reasoning_tokens").unwrap_or(0),
            ..TokenUsage::default()
        }),
        Dialect::Messages => {
            let cached = number("/cache_read_input_tokens").unwrap_or(0);
            let written = number("/cache_creation_input_tokens").unwrap_or(0);
            // Those that were cached are not among `input_tokens` there.
            let known = number("/input_tokens").is_some() || number("/output_tokens").is_some();
            known.then(|| TokenUsage {
                prompt: number("/input_tokens").unwrap_or(0) + cached + written,
                cached,
                completion: number("/output_tokens").unwrap_or(0),
                reasoning: number("/output_tokens_details/thinking_tokens").unwrap_or(0),
                ..TokenUsage::default()
            })
        }
    }
}

/// What is known of a message after one more of its events; None while none has said anything.
pub fn of_message(before: Option<TokenUsage>, event: &Value) -> Option<TokenUsage> {
    let told = event.get("usage").or_else(|| event.pointer("/message/usage"));
    match told.and_then(|told| read(Dialect::Messages, told)) {
        Some(told) => Some(later(before, told)),
        None => before,
    }
}

/// Later figures take the place of earlier ones, and zeros of what a later event does not say again do not.
fn later(before: Option<TokenUsage>, after: TokenUsage) -> TokenUsage {
    let Some(before) = before else { return after };
    TokenUsage {
        prompt: before.prompt.max(after.prompt),
        cached: before.cached.max(after.cached),
        completion: after.completion.max(before.completion),
        reasoning: after.reasoning.max(before.reasoning),
        times: after.times,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn three_apis_count_in_their_words() {
        let check = |dialect, usage: Value, expect: Option<(u64, u64, u64, u64)>| {
            let read = read(dialect, &usage);
            assert_eq!(read.map(|u| (u.prompt, u.cached, u.completion, u.reasoning)), expect, "{usage}");
        };
        check(
            Dialect::Chat,
            json!({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2},
                   "completion_tokens_details": null}),
            Some((9, 2, 4, 0)),
        );
        check(
            Dialect::Responses,
            json!({"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}}),
            Some((9, 0, 4, 3)),
        );
        check(
            Dialect::Messages,
            json!({"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1,
                   "output_tokens": 4}),
            Some((9, 3, 4, 0)),
        );
        check(Dialect::Chat, Value::Null, None);
        check(Dialect::Messages, json!({}), None);
    }
}
