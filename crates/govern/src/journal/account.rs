//! Budgets: what each account spent in each window.
//!
//! `spent` is the sum of the chain's charges that were admitted in the window, and is made from the chain
//! when a window is first asked for, so that a budget that is added in the middle of a month knows the month.
//! What is reserved is the sum of the open tickets; there is no second number for it that could differ.

use rusqlite::{Connection, OptionalExtension, params};

use super::charge::count;
use crate::error::JournalError;
use crate::key::{Account, Amount, Budget};

/// How long a window that is over is kept, for requests that end late. Units: milliseconds.
const OVER_KEPT_MS: i64 = 86_400_000;

/// What of a budget is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Whose: `key:NAME` or `group:NAME`.
    pub account: String,
    /// The budget.
    pub budget: Budget,
    /// Settled. Units: the budget's.
    pub spent: u64,
    /// Of open requests. Units: the budget's.
    pub reserved: u64,
    /// From when. Units: milliseconds since 1970.
    pub start_ms: i64,
    /// Until when. Units: milliseconds since 1970.
    pub end_ms: i64,
}

/// The columns of entries and tickets that a unit is summed from.
fn columns(amount: Amount) -> (&'static str, &'static str) {
    match amount {
        Amount::Tokens(_) => ("charged_tokens", "tokens"),
        Amount::MicroUsd(_) => ("charged_micro_usd", "micro_usd"),
    }
}

/// The column of both that says whose they are, and its value.
fn owner<'a>(account: Account<'a>) -> (&'static str, &'a str) {
    match account {
        Account::Tenant(name) => ("tenant", name),
        Account::Group(name) => ("team", name),
    }
}

/// Requests that have not ended.
pub(super) fn num_open(connection: &Connection, account: Account<'_>) -> Result<u64, JournalError> {
    let (column, name) = owner(account);
    let sql = format!("SELECT count(*) FROM tickets WHERE {column} = ?1");
    let num: i64 = connection.prepare_cached(&sql)?.query_row([name], |row| row.get(0))?;
    Ok(num.unsigned_abs())
}

/// What of the budget is gone at `now`. Makes the window's row, when it is not there.
pub(super) fn spent(
    connection: &Connection,
    account: Account<'_>,
    budget: Budget,
    now_ms: i64,
) -> Result<Spent, JournalError> {
    let window @ (start_ms, end_ms) = budget.period.window(now_ms);
    let sql = "SELECT spent FROM windows WHERE account = ?1 AND unit = ?2 AND start_ms = ?3 AND end_ms = ?4";
    let key = params![account.name(), budget.amount.unit(), start_ms, end_ms];
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<i64> = statement.query_row(key, |row| row.get(0)).optional()?;
    let spent = match found {
        Some(spent) => spent,
        None => {
            let spent = from_chain(connection, account, budget.amount, window)?;
            let sql = "DELETE FROM windows WHERE account = ?1 AND end_ms < ?2";
            connection.execute(sql, params![account.name(), now_ms.saturating_sub(OVER_KEPT_MS)])?;
            let sql = "INSERT INTO windows VALUES (?1, ?2, ?3, ?4, ?5)";
            connection
                .execute(sql, params![account.name(), budget.amount.unit(), start_ms, end_ms, spent])?;
            spent
        }
    };
    let (column, name) = owner(account);
    let (_, amount) = columns(budget.amount);
    let sql = format!(
        "SELECT coalesce(sum({amount}), 0) FROM tickets
            WHERE {column} = ?1 AND admitted_ms >= ?2 AND admitted_ms < ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let reserved: i64 = statement.query_row(params![name, start_ms, end_ms], |row| row.get(0))?;
    let (spent, reserved) = (spent.unsigned_abs(), reserved.unsigned_abs());
    Ok(Spent { account: account.name(), budget, spent, reserved, start_ms, end_ms })
}

/// The sum of the chain's charges of the window.
fn from_chain(
    connection: &Connection,
    account: Account<'_>,
    amount: Amount,
    (start_ms, end_ms): (i64, i64),
) -> Result<i64, JournalError> {
    let (column, name) = owner(account);
    let (charged, _) = columns(amount);
    let sql = format!(
        "SELECT coalesce(sum({charged}), 0) FROM entries
            WHERE {column} = ?1 AND {column} != '' AND admitted_ms >= ?2 AND admitted_ms < ?3"
    );
    Ok(connection.query_row(&sql, params![name, start_ms, end_ms], |row| row.get(0))?)
}

/// Adds a charge to every window of the account's that it was admitted in.
pub(super) fn charge(
    connection: &Connection,
    account: Account<'_>,
    amount: Amount,
    admitted_ms: i64,
) -> Result<(), JournalError> {
    if amount.value() == 0 {
        return Ok(());
    }
    let sql = "UPDATE windows SET spent = spent + ?3
        WHERE account = ?1 AND unit = ?2 AND start_ms <= ?4 AND end_ms > ?4";
    let charged = count(amount.value());
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![account.name(), amount.unit(), charged, admitted_ms])?;
    Ok(())
}

/// The first window that is not the sum of its charges, in words.
pub(super) fn difference(connection: &Connection) -> Result<Option<String>, JournalError> {
    let mut statement = connection.prepare("SELECT account, unit, start_ms, end_ms, spent FROM windows")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (account, unit): (String, String) = (row.get(0)?, row.get(1)?);
        let (start, end, spent): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let owner = match account.split_once(':') {
            Some(("key", name)) => Account::Tenant(name),
            Some(("group", name)) => Account::Group(name),
            _ => return Ok(Some(format!("there is a budget of {account:?}, which is no account"))),
        };
        let amount = if unit == "usd" { Amount::MicroUsd(0) } else { Amount::Tokens(0) };
        let sum = from_chain(connection, owner, amount, (start, end))?;
        if sum != spent {
            return Ok(Some(format!(
                "the budget of {account} says {spent} {unit}, but the chain says {sum}"
            )));
        }
    }
    Ok(None)
}
