//! What is left of a key's rates, in the headers that clients know.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use gptoss_govern::{Left, Remaining};
use jiff::Timestamp;

/// Puts what is left among the headers of an answer, in OpenAI's names and in Anthropic's where these are
/// spoken.
pub(crate) fn insert(headers: &mut HeaderMap, remaining: &Remaining, is_anthropic: bool) {
    for (unit, left) in [("requests", &remaining.requests), ("tokens", &remaining.tokens)] {
        let Some(left) = left else { continue };
        put(headers, format!("x-ratelimit-limit-{unit}"), left.limit.to_string());
        put(headers, format!("x-ratelimit-remaining-{unit}"), left.left.to_string());
        put(headers, format!("x-ratelimit-reset-{unit}"), span(left.reset_ms));
        if is_anthropic {
            put(headers, format!("anthropic-ratelimit-{unit}-limit"), left.limit.to_string());
            put(headers, format!("anthropic-ratelimit-{unit}-remaining"), left.left.to_string());
            put(headers, format!("anthropic-ratelimit-{unit}-reset"), moment(left));
        }
    }
}

fn put(headers: &mut HeaderMap, name: String, value: String) {
    // Both are made of letters and digits.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// A time as OpenAI writes it: `120ms`, `1s`, `6m0s`.
fn span(millis: u64) -> String {
    let seconds = millis.div_ceil(1000);
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// When it is whole again, in RFC 3339.
fn moment(left: &Left) -> String {
    let at = Timestamp::now().checked_add(Duration::from_millis(left.reset_ms));
    format!("{:.0}", at.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_clients_read_it() {
        let check = |millis: u64, expect: &str| assert_eq!(span(millis), expect, "{millis}");
        check(0, "0ms");
        check(120, "120ms");
        check(1000, "1s");
        check(59_001, "60s");
        check(360_000, "6m0s");
        check(3_661_000, "1h1m1s");
    }
}
