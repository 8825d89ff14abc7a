//! How long a budget lasts, in windows that are the same for everybody: aligned to UTC.
//!
//! `30s`, `15m`, `6h`, `7d`, `2w` are windows of that length counted from 1970-01-01 00:00 UTC, those of
//! whole weeks from Monday 1969-12-29; so `1d` begins at midnight and `1w` on Monday. `1mo` is a calendar
//! month. Without a period a budget is for the key's whole life.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Units: milliseconds.
const DAY_MS: i64 = 86_400_000;
/// Units: milliseconds.
const WEEK_MS: i64 = 7 * DAY_MS;
/// How long before 1970 the week began that 1970-01-01, a Thursday, is in.
const MONDAY_MS: i64 = 3 * DAY_MS;
/// The longest that can be said: ten years. Units: milliseconds.
const PERIOD_MS_MAX: i64 = 3_660 * DAY_MS;

/// How long a budget lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// For good.
    Forever,
    /// Windows of one length. Units: milliseconds.
    Fixed(i64),
    /// Calendar months.
    Month,
}

impl Period {
    /// Reads `30s`, `15m`, `6h`, `7d`, `2w` or `1mo`.
    pub fn from_name(name: &str) -> Option<Period> {
        if name == "1mo" {
            return Some(Period::Month);
        }
        let unit = name.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = name.split_at(unit);
        let unit = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            "w" => WEEK_MS,
            _ => return None,
        };
        let length = number.parse::<i64>().ok()?.checked_mul(unit)?;
        (1..=PERIOD_MS_MAX).contains(&length).then_some(Period::Fixed(length))
    }

    /// Its name, as the journal has it.
    pub fn name(self) -> String {
        match self {
            Period::Forever => "forever".to_owned(),
            Period::Month => "1mo".to_owned(),
            Period::Fixed(length) => {
                let units = [(WEEK_MS, "w"), (DAY_MS, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
                let whole = units.into_iter().find(|(unit, _)| length % unit == 0);
                whole.map_or_else(|| format!("{length}ms"), |(unit, name)| format!("{}{name}", length / unit))
            }
        }
    }

    /// The window that `now` is in: its first moment and that of the next. Units: milliseconds since 1970.
    pub fn window(self, now_ms: i64) -> (i64, i64) {
        match self {
            Period::Forever => (i64::MIN, i64::MAX),
            Period::Fixed(length) => {
                let shift = if length % WEEK_MS == 0 { MONDAY_MS } else { 0 };
                let start = (now_ms + shift).div_euclid(length) * length - shift;
                (start, start + length)
            }
            Period::Month => month(now_ms).unwrap_or((i64::MIN, i64::MAX)),
        }
    }
}

/// None: a moment that no calendar has.
fn month(now_ms: i64) -> Option<(i64, i64)> {
    let date = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(TimeZone::UTC).date();
    let first = date.first_of_month();
    let next = first.last_of_month().tomorrow().ok()?;
    let moment =
        |date: jiff::civil::Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    Some((moment(first)?, moment(next)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_utc() {
        let check = |name: &str, now: &str, start: &str, end: &str| {
            let moment = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
            let window = Period::from_name(name).unwrap().window(moment(now));
            assert_eq!(window, (moment(start), moment(end)), "{name} {now}");
        };
        check("1d", "2026-11-30T19:30:00.5Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z");
        check("1d", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z");
        check("6h", "2026-11-30T19:30:00Z", "2026-11-30T18:00:00Z", "2026-12-01T00:00:00Z");
        // 2026-11-30 is a Monday.
        check("7d", "2026-12-06T23:59:59Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z");
        check("1w", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z");
        check("1mo", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
        check("1mo", "2026-12-31T23:59:59.999Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        check("1h", "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for name in
            ["", "d", "0d", "-1d", "1", "1y", "1.5d", "9999999d", "99999999999999999999d", "2mo", " 1d"]
        {
            assert_eq!(Period::from_name(name), None, "{name}");
        }
        for name in ["30s", "15m", "6h", "30d", "2w", "1mo"] {
            assert_eq!(Period::from_name(name).unwrap().name(), name);
        }
    }
}
