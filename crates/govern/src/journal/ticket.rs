//! A request that was admitted and has not ended: its place and what is reserved for it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::account;
use super::charge::{Charge, count};
use super::entry::{Entry, Record};
use super::rate::{self, Rate, TooMany};
use crate::clip::{NAME_BYTES_MAX, clip};
use crate::error::JournalError;
use crate::key::{Account, Amount, Budget, Key, Limits};

/// The right to run one request. It ends by being given to `settle` or `refund`; one that is dropped keeps
/// its place until the journal is opened again.
#[derive(Debug)]
#[must_use = "settle or refund it: its place stays taken otherwise"]
pub struct Ticket {
    id: i64,
}

/// Why a request was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// A limit is reached.
    #[error("{}", .0.what)]
    Refused(Refusal),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<rusqlite::Error> for NotAdmitted {
    fn from(error: rusqlite::Error) -> NotAdmitted {
        NotAdmitted::Journal(error.into())
    }
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which, whose and how much of it there is, in a sentence for the client.
    pub what: String,
    /// Of what kind.
    pub kind: RefusalKind,
    /// After how long the same request might pass; None: nobody knows, or it never will. Units: milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Requests at a time.
    Parallel,
    /// A budget: OpenAI's `insufficient_quota`.
    Budget,
}

impl Ticket {
    /// Its number, which one entry of the chain will have.
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// A ticket as the journal has it.
#[derive(Debug)]
pub(super) struct OpenTicket {
    pub(super) id: i64,
    pub(super) admitted_ms: i64,
    pub(super) charge: Charge,
    actor: String,
    tenant: String,
    team: String,
    /// Tokens a minute that held when it was admitted: of the key, of the group.
    tpm: Option<u64>,
    team_tpm: Option<u64>,
}

impl OpenTicket {
    /// The entry, with the ticket's key.
    pub(super) fn entry_of(&self, entry: Entry) -> Entry {
        Entry { actor: self.actor.clone(), tenant: self.tenant.clone(), group: self.team.clone(), ..entry }
    }

    fn accounts(&self) -> impl Iterator<Item = (Account<'_>, Option<u64>)> {
        let group = (!self.team.is_empty()).then(|| (Account::Group(&self.team), self.team_tpm));
        std::iter::once((Account::Tenant(&self.tenant), self.tpm)).chain(group)
    }
}

/// Takes from all accounts of the key, or from none: whoever calls rolls back on an error.
pub(super) fn admit(
    connection: &Connection,
    key: &Key,
    charge: Charge,
    now_ms: i64,
) -> Result<Ticket, NotAdmitted> {
    let charge = charge.bounded();
    for (account, limits, budgets) in key.accounts() {
        places(connection, account, limits)?;
        rates(connection, (account, limits), charge, now_ms)?;
        for budget in budgets {
            within(connection, account, *budget, charge, now_ms)?;
        }
    }
    let tpm = |limits: Limits| limits.tpm.map(u64::cast_signed);
    let team = key.group_name().unwrap_or_default();
    let team_tpm = key.group.as_deref().and_then(|group| tpm(group.limits));
    let sql = "INSERT INTO tickets (admitted_ms, actor, tenant, team, tokens, micro_usd, tpm, team_tpm)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let actor = clip(&key.id, NAME_BYTES_MAX);
    let (tokens, micro_usd) = (count(charge.tokens), count(charge.micro_usd));
    connection.prepare_cached(sql)?.execute(params![
        now_ms,
        actor,
        key.name,
        team,
        tokens,
        micro_usd,
        tpm(key.limits),
        team_tpm
    ])?;
    let id = connection.last_insert_rowid();
    Ok(Ticket { id })
}

/// Takes more from all accounts of the key for an open ticket, or from none: whoever calls rolls back on an
/// error.
pub(super) fn extend(
    connection: &Connection,
    (id, key): (i64, &Key),
    more: Charge,
    now_ms: i64,
) -> Result<(), NotAdmitted> {
    let more = more.bounded();
    let sql = "SELECT admitted_ms FROM tickets WHERE id = ?1";
    let admitted_ms: Option<i64> =
        connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    let admitted_ms = admitted_ms.ok_or(JournalError::NoTicket { id })?;
    for (account, limits, budgets) in key.accounts() {
        rates(connection, (account, Limits { rpm: None, ..limits }), more, now_ms)?;
        // It is charged in the period that it was admitted in, whenever it asks.
        for budget in budgets {
            within(connection, account, *budget, more, admitted_ms)?;
        }
    }
    let sql = "UPDATE tickets SET tokens = tokens + ?2, micro_usd = micro_usd + ?3 WHERE id = ?1";
    let values = params![id, count(more.tokens), count(more.micro_usd)];
    match connection.prepare_cached(sql)?.execute(values)? {
        0 => Err(JournalError::NoTicket { id }.into()),
        _ => Ok(()),
    }
}

fn places(connection: &Connection, account: Account<'_>, limits: Limits) -> Result<(), NotAdmitted> {
    let Some(limit) = limits.parallel else { return Ok(()) };
    let num = account::num_open(connection, account)?;
    if num < limit {
        return Ok(());
    }
    let what = format!("{account} has {num} requests open, and may have {limit} at a time");
    Err(NotAdmitted::Refused(Refusal { what, kind: RefusalKind::Parallel, retry_after_ms: None }))
}

fn rates(
    connection: &Connection,
    (account, limits): (Account<'_>, Limits),
    charge: Charge,
    now_ms: i64,
) -> Result<(), NotAdmitted> {
    let both = [
        (Rate::Requests, RefusalKind::Requests, limits.rpm, 1),
        (Rate::Tokens, RefusalKind::Tokens, limits.tpm, charge.tokens),
    ];
    for (rate, kind, limit, amount) in both {
        let Some(limit) = limit else { continue };
        if let Err(TooMany { wait_ms }) = rate::take(connection, (account, rate, limit), amount, now_ms)? {
            let name = rate.name();
            let what = match wait_ms {
                Some(wait_ms) => format!(
                    "{account} may have {limit} {name} a minute; this needs {amount}: try again in {:.1} s",
                    wait_ms as f64 / 1e3
                ),
                None => {
                    format!("{account} may have {limit} {name} a minute, and this request needs {amount}")
                }
            };
            return Err(NotAdmitted::Refused(Refusal { what, kind, retry_after_ms: wait_ms }));
        }
    }
    Ok(())
}

/// Whether what is spent, what is reserved and this request are within the budget.
fn within(
    connection: &Connection,
    account: Account<'_>,
    budget: Budget,
    charge: Charge,
    now_ms: i64,
) -> Result<(), NotAdmitted> {
    let found = account::spent(connection, account, budget, now_ms)?;
    let (limit, needed) = match budget.amount {
        Amount::Tokens(limit) => (limit, charge.tokens),
        Amount::MicroUsd(limit) => (limit, charge.micro_usd),
    };
    let gone = found.spent.saturating_add(found.reserved);
    if gone.saturating_add(needed) <= limit && gone < limit {
        return Ok(());
    }
    let say = |amount: u64| match budget.amount {
        Amount::Tokens(_) => format!("{amount} tokens"),
        Amount::MicroUsd(_) => format!("{}.{:06} USD", amount / 1_000_000, amount % 1_000_000),
    };
    let what = format!(
        "{account} has a budget of {} ({}): {} are used and {} reserved, and this request needs up to {}",
        say(limit),
        budget.period.name(),
        say(found.spent),
        say(found.reserved),
        say(needed)
    );
    let ends = found.end_ms != i64::MAX;
    let retry_after_ms = ends.then(|| found.end_ms.saturating_sub(now_ms).max(0).unsigned_abs());
    Err(NotAdmitted::Refused(Refusal { what, kind: RefusalKind::Budget, retry_after_ms }))
}

/// Takes the ticket out, so that nobody can again. None: it is not open.
pub(super) fn close(connection: &Connection, id: i64) -> Result<Option<OpenTicket>, JournalError> {
    let sql = "DELETE FROM tickets WHERE id = ?1
        RETURNING id, admitted_ms, actor, tenant, team, tokens, micro_usd, tpm, team_tpm";
    Ok(connection.prepare_cached(sql)?.query_row([id], ticket).optional()?)
}

/// Those that are open, oldest first.
pub(super) fn open_ids(connection: &Connection) -> Result<Vec<i64>, JournalError> {
    let mut statement = connection.prepare("SELECT id FROM tickets ORDER BY id")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn ticket(row: &Row<'_>) -> rusqlite::Result<OpenTicket> {
    let number = |place: usize| row.get::<_, i64>(place).map(i64::unsigned_abs);
    let limit = |place: usize| row.get::<_, Option<i64>>(place).map(|limit| limit.map(i64::unsigned_abs));
    Ok(OpenTicket {
        id: row.get(0)?,
        admitted_ms: row.get(1)?,
        actor: row.get(2)?,
        tenant: row.get(3)?,
        team: row.get(4)?,
        charge: Charge { tokens: number(5)?, micro_usd: number(6)? },
        tpm: limit(7)?,
        team_tpm: limit(8)?,
    })
}

/// Puts what the record charges in the place of what was reserved.
pub(super) fn settle(
    connection: &Connection,
    ticket: &OpenTicket,
    record: &Record,
) -> Result<(), JournalError> {
    let tokens = record.charged_tokens.unsigned_abs();
    let micro_usd = record.charged_micro_usd.unsigned_abs();
    for (account, tpm) in ticket.accounts() {
        account::charge(connection, account, Amount::Tokens(tokens), ticket.admitted_ms)?;
        account::charge(connection, account, Amount::MicroUsd(micro_usd), ticket.admitted_ms)?;
        if let Some(limit) = tpm {
            rate::correct(connection, (account, Rate::Tokens, limit), ticket.charge.tokens, tokens)?;
        }
    }
    Ok(())
}
