//! Entries of the chain, asked for by what they say.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};

use super::chain::{COLUMNS, NUM_COLUMNS, record};
use super::entry::{Event, Record};
use crate::digest::to_hex;
use crate::error::JournalError;

/// Most entries of an answer.
const LIMIT_MAX: usize = 1_000;

/// Which entries. An empty list and None mean all.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntryQuery<'a> {
    /// These events.
    pub events: &'a [Event],
    /// By these keys: public parts.
    pub actors: &'a [&'a str],
    /// Of these tenants.
    pub tenants: &'a [&'a str],
    /// Written at this moment or later. Units: milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Written before this moment.
    pub until_ms: Option<i64>,
    /// With greater numbers.
    pub after: Option<i64>,
    /// With lesser numbers.
    pub before: Option<i64>,
    /// The greatest number first.
    pub newest_first: bool,
    /// How many, 1,000 at most; 0: as many as there may be.
    pub limit: usize,
}

/// A condition with its values.
type Conditions<'a> = (Vec<String>, Vec<Box<dyn ToSql + 'a>>);

pub(super) fn entries(connection: &Connection, query: &EntryQuery<'_>) -> Result<Vec<Record>, JournalError> {
    let (mut conditions, mut values): Conditions<'_> = (Vec::new(), Vec::new());
    let names: Vec<&str> = query.events.iter().map(|event| event.name()).collect();
    for (column, list) in [("event", names.as_slice()), ("actor", query.actors), ("tenant", query.tenants)] {
        if !list.is_empty() {
            conditions.push(among(column, list.len()));
            values.extend(list.iter().map(|value| Box::new(*value) as Box<dyn ToSql>));
        }
    }
    let bounds = [
        ("at_ms >= ?", query.from_ms),
        ("at_ms < ?", query.until_ms),
        ("seq > ?", query.after),
        ("seq < ?", query.before),
    ];
    for (condition, bound) in bounds {
        if let Some(bound) = bound {
            conditions.push(condition.to_owned());
            values.push(Box::new(bound));
        }
    }
    let conditions = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let limit = if query.limit == 0 { LIMIT_MAX } else { query.limit.min(LIMIT_MAX) };
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT hash FROM entries AS earlier WHERE earlier.seq = entries.seq - 1)
            FROM entries WHERE {conditions} ORDER BY seq {order} LIMIT {limit}"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let before: Option<[u8; 32]> = row.get(NUM_COLUMNS)?;
        Ok(Record { prev: to_hex(&before.unwrap_or_default()), ..record(row)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// `column` is one of so many values.
pub(super) fn among(column: &str, num: usize) -> String {
    let marks = vec!["?"; num].join(", ");
    format!("{column} IN ({marks})")
}
