//! When a caller stops waiting, by the head of its call.

use std::time::{Duration, Instant};

use hyper::HeaderMap;

use crate::error::Error;

const HEADER: &str = "grpc-timeout";
/// Most digits of a time. Source: gRPC over HTTP2, TimeoutValue.
const DIGITS_MAX: usize = 8;

/// The moment, if the caller says one.
///
/// Errors: a time that is none.
pub(crate) fn caller_deadline(head: &HeaderMap, now: Instant) -> Result<Option<Instant>, Error> {
    let Some(value) = head.get(HEADER) else { return Ok(None) };
    let wrong = || {
        let problem = format!("{value:?} is not 1 to {DIGITS_MAX} digits and one of H, M, S, m, u, n");
        Error::field(HEADER, problem)
    };
    let time = value.to_str().ok().and_then(parse).ok_or_else(wrong)?;
    // One that lies beyond the clock's end never comes.
    Ok(now.checked_add(time))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_digits_and_a_unit() {
        let check = |text: &str, expect: Option<Duration>| assert_eq!(parse(text), expect, "{text}");
        check("2H", Some(Duration::from_secs(7200)));
        check("3M", Some(Duration::from_secs(180)));
        check("4S", Some(Duration::from_secs(4)));
        check("5m", Some(Duration::from_millis(5)));
        check("6u", Some(Duration::from_micros(6)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "100000000S", "1é"] {
            check(wrong, None);
        }
    }
}
