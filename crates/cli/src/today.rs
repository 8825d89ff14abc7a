//! The day on which the program runs, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Today as `YYYY-MM-DD`.
pub fn today() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).date().to_string()
}
