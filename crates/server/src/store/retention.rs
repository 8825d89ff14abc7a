//! How long rows are kept and how much of them: by age, by number for each tenant, by bytes for all together.
//!
//! Age hides a row at once and deletes it only when the clock has been steady for a while ([`Clock`]): a
//! clock that jumps ahead and back takes nothing with it. What it wrote ahead is from the future then, and so
//! is all that comes behind it, until the clock has been steady again and dates it back. Number and bytes
//! delete at once, and only from whoever has too much: a tenant's own rows beyond its number, and for the sum
//! of all bytes those of the tenant with the most.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

/// How long the clock has to agree with the processor's own before rows are deleted for their age.
const STEADY: Duration = Duration::from_secs(24 * 3600);
/// Most rows deleted for their age in one transaction: whoever writes does not wait for what others kept.
/// Units: rows.
const SWEPT_MAX: i64 = 16;
/// By how much the two may differ and still agree. Units: seconds.
const DRIFT_SECONDS_MAX: u64 = 600;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) age_max_seconds: u64,
    /// Rows of one tenant.
    pub(super) rows_max: usize,
    /// Bytes of all tenants together.
    pub(super) bytes_max: u64,
}

/// Whether the system's clock can be believed.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When both clocks last began to agree: the processor's, and the system's in seconds since 1970.
    agreed: Option<(Instant, u64)>,
}

impl Clock {
    /// Whether the system's clock, which says `now`, has gone like the processor's for long enough.
    pub(super) fn is_steady(&mut self, instant: Instant, now: u64) -> bool {
        if let Some((since, at)) = self.agreed {
            let passed = instant.saturating_duration_since(since);
            if now.abs_diff(at + passed.as_secs()) <= DRIFT_SECONDS_MAX {
                return passed >= STEADY;
            }
        }
        self.agreed = Some((instant, now));
        false
    }
}

/// The time that a row written now is kept from: never before that of the newest row, so that a clock that is
/// behind makes no row that is old when the clock is right again. [`Retention::sweep`] corrects what a clock
/// that was ahead has left.
pub(super) fn kept_at(connection: &Connection, now: u64) -> rusqlite::Result<u64> {
    let newest: Option<i64> = connection.query_row("SELECT max(kept) FROM rows", [], |row| row.get(0))?;
    Ok(now.max(newest.unwrap_or(0) as u64))
}

impl Retention {
    /// Rows kept from before this time are hidden. Units: seconds since 1970.
    pub(super) fn oldest(&self, now: u64) -> i64 {
        now.saturating_sub(self.age_max_seconds) as i64
    }

    /// If the clock can be believed at `instant`, when it says `now`: dates back what is from the future,
    /// which then has all its time before it, and deletes what is too old.
    pub(super) fn sweep(
        &self,
        connection: &Connection,
        clock: &mut Clock,
        (instant, now): (Instant, u64),
    ) -> rusqlite::Result<()> {
        if clock.is_steady(instant, now) {
            // Their order, by which the oldest are found, is that of their writing then.
            let sql = "UPDATE rows SET kept = ?1 WHERE kept > ?2";
            connection.execute(sql, params![now as i64, (now + DRIFT_SECONDS_MAX) as i64])?;
            let sql = "DELETE FROM rows WHERE id IN (SELECT id FROM rows WHERE kept < ?1 LIMIT ?2)";
            connection.execute(sql, params![self.oldest(now), SWEPT_MAX])?;
            // One file is much.
            let sql = "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE expires <= ?1
                AND id NOT IN (SELECT input FROM batches WHERE is_ended = 0) AND NOT EXISTS
                    (SELECT 1 FROM tuning_jobs WHERE is_ended = 0 AND files.id IN (training, validation)) LIMIT 1)";
            connection.execute(sql, params![now as i64])?;
            let sql = "DELETE FROM batches WHERE id IN
                (SELECT id FROM batches WHERE is_ended = 1 AND created < ?1 LIMIT ?2)";
            connection.execute(sql, params![self.oldest(now), SWEPT_MAX])?;
        }
        Ok(())
    }

    /// Deletes the oldest rows of `tenant` beyond its number, and of whoever has the most while all together
    /// are too large; never the row `newest`, which was just written.
    pub(super) fn make_room(
        &self,
        connection: &Connection,
        tenant: &str,
        newest: &str,
    ) -> rusqlite::Result<()> {
        let delete_oldest = "DELETE FROM rows WHERE id IN
            (SELECT id FROM rows WHERE tenant = ?1 AND id <> ?2 ORDER BY kept, rowid LIMIT ?3)";
        let sql = "SELECT num_rows FROM tenants WHERE tenant = ?1";
        let num_rows: i64 = connection.query_row(sql, params![tenant], |row| row.get(0))?;
        let beyond = num_rows - self.rows_max as i64;
        if beyond > 0 {
            connection.execute(delete_oldest, params![tenant, newest, beyond])?;
        }
        let bytes = |connection: &Connection| -> rusqlite::Result<i64> {
            connection.query_row("SELECT coalesce(sum(bytes), 0) FROM tenants", [], |row| row.get(0))
        };
        while bytes(connection)? as u64 > self.bytes_max {
            let sql = "SELECT tenant FROM tenants ORDER BY bytes DESC, tenant LIMIT 1";
            let largest: Option<String> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
            let Some(largest) = largest else { break };
            if connection.execute(delete_oldest, params![largest, newest, 1])? == 0 {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_not_believed_for_a_day() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let mut is_steady = |hours: u64, now| clock.is_steady(start + Duration::from_secs(hours * 3600), now);
        assert!(!is_steady(0, 1_000));
        assert!(!is_steady(23, 1_000 + 23 * 3600));
        assert!(is_steady(24, 1_000 + 24 * 3600 + 599));
        let ahead = 31 * 24 * 3600;
        assert!(!is_steady(25, 1_000 + 25 * 3600 + ahead), "a jump ahead");
        assert!(!is_steady(26, 1_000 + 26 * 3600), "and back");
        assert!(is_steady(51, 1_000 + 51 * 3600));
    }
}
