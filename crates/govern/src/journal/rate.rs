//! Requests and tokens a minute: a bucket that holds a minute's worth and fills evenly.
//!
//! One number says how full it is: the moment until which what was taken would last at the allowed rate.
//! Taking moves it on, and may move it a minute past now at most. So after a quiet minute the whole of the
//! limit may be taken at once, and from then on as much as has flowed in; over any time `t` at most `limit *
//! (1 + t / 60 s)`. Nothing is aligned to the clock's minutes, so there is no rush at their beginning.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::JournalError;
use crate::key::{Account, Key};

/// Units: nanoseconds.
const MINUTE_NS: i128 = 60_000_000_000;
/// Nanoseconds of a millisecond.
const MS_NS: i128 = 1_000_000;

/// What is limited by the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    Requests,
    Tokens,
}

impl Rate {
    pub(super) fn name(self) -> &'static str {
        match self {
            Rate::Requests => "requests",
            Rate::Tokens => "tokens",
        }
    }
}

/// What is left of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// All there is in a minute.
    pub limit: u64,
    /// What could be taken now.
    pub left: u64,
    /// Until all of it could be. Units: milliseconds.
    pub reset_ms: u64,
}

/// What is left of both; None: it is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Requests.
    pub requests: Option<Left>,
    /// Tokens.
    pub tokens: Option<Left>,
}

/// Why something cannot be taken now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// Until it could be; None: it is more than a minute's worth. Units: milliseconds.
    pub(super) wait_ms: Option<u64>,
}

/// Takes `amount`.
pub(super) fn take(
    connection: &Connection,
    (account, rate, limit): (Account<'_>, Rate, u64),
    amount: u64,
    now_ms: i64,
) -> Result<Result<(), TooMany>, JournalError> {
    let now = i128::from(now_ms) * MS_NS;
    let until = until(connection, account, rate)?.map_or(now, |until| held(until, now)) + span(amount, limit);
    if amount > limit {
        return Ok(Err(TooMany { wait_ms: None }));
    }
    let over = until - now - MINUTE_NS;
    if over > 0 {
        return Ok(Err(TooMany { wait_ms: Some(ms(over)) }));
    }
    write(connection, account, rate, until)?;
    Ok(Ok(()))
}

/// Gives back what was taken and not used, or takes what was used beyond it.
pub(super) fn correct(
    connection: &Connection,
    (account, rate, limit): (Account<'_>, Rate, u64),
    taken: u64,
    used: u64,
) -> Result<(), JournalError> {
    if taken == used || limit == 0 {
        return Ok(());
    }
    let Some(until) = until(connection, account, rate)? else { return Ok(()) };
    write(connection, account, rate, until - span(taken, limit) + span(used, limit))
}

/// What is left of the key's and its group's rates: the lesser of each.
pub(super) fn remaining(connection: &Connection, key: &Key, now_ms: i64) -> Result<Remaining, JournalError> {
    let mut remaining = Remaining::default();
    for (account, limits, _) in key.accounts() {
        let lesser = |rate, limit: Option<u64>, kept: &mut Option<Left>| {
            let Some(limit) = limit else { return Ok(()) };
            let found = left(connection, (account, rate, limit), now_ms)?;
            if kept.is_none_or(|kept| found.left < kept.left) {
                *kept = Some(found);
            }
            Ok::<_, JournalError>(())
        };
        lesser(Rate::Requests, limits.rpm, &mut remaining.requests)?;
        lesser(Rate::Tokens, limits.tpm, &mut remaining.tokens)?;
    }
    Ok(remaining)
}

fn left(
    connection: &Connection,
    (account, rate, limit): (Account<'_>, Rate, u64),
    now_ms: i64,
) -> Result<Left, JournalError> {
    let now = i128::from(now_ms) * MS_NS;
    let taken = until(connection, account, rate)?.map_or(now, |until| held(until, now)) - now;
    let left = (MINUTE_NS - taken) * i128::from(limit) / MINUTE_NS;
    Ok(Left { limit, left: u64::try_from(left).unwrap_or(0), reset_ms: ms(taken) })
}

/// Within the minute from now: older is full, and later, after a clock was put back or a request used more
/// than was reserved, is empty and no more.
fn held(until: i128, now: i128) -> i128 {
    until.clamp(now, now + MINUTE_NS)
}

/// How long it takes for as much to flow in.
fn span(amount: u64, limit: u64) -> i128 {
    match limit {
        0 => MINUTE_NS,
        limit => i128::from(amount) * MINUTE_NS / i128::from(limit),
    }
}

fn ms(ns: i128) -> u64 {
    u64::try_from((ns + MS_NS - 1) / MS_NS).unwrap_or(0)
}

fn until(connection: &Connection, account: Account<'_>, rate: Rate) -> Result<Option<i128>, JournalError> {
    let sql = "SELECT until_ns FROM rates WHERE account = ?1 AND unit = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<i64> =
        statement.query_row(params![account.name(), rate.name()], |row| row.get(0)).optional()?;
    Ok(found.map(i128::from))
}

fn write(connection: &Connection, account: Account<'_>, rate: Rate, until: i128) -> Result<(), JournalError> {
    let sql = "INSERT INTO rates VALUES (?1, ?2, ?3)
        ON CONFLICT (account, unit) DO UPDATE SET until_ns = excluded.until_ns";
    let until = i64::try_from(until).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![account.name(), rate.name(), until])?;
    Ok(())
}
