//! What time is it?

use std::time::{SystemTime, UNIX_EPOCH};

/// The time. Units: seconds since 1970.
pub(crate) fn now() -> u64 {
    (now_ms() / 1000).unsigned_abs()
}

/// The time. Units: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
