//! What was used, in buckets of time: what OpenAI's organization API tells of usage and of costs.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params_from_iter};

use super::entries::among;
use crate::error::JournalError;

/// Most buckets of an answer: a day of minutes.
const BUCKETS_MAX: usize = 1_440;

/// How wide a bucket is. Buckets are aligned to UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `1m`.
    Minute,
    /// `1h`.
    Hour,
    /// `1d`.
    Day,
}

impl Width {
    /// The width of that name.
    pub fn from_name(name: &str) -> Option<Width> {
        match name {
            "1m" => Some(Width::Minute),
            "1h" => Some(Width::Hour),
            "1d" => Some(Width::Day),
            _ => None,
        }
    }

    /// Units: milliseconds.
    pub fn ms(self) -> i64 {
        match self {
            Width::Minute => 60_000,
            Width::Hour => 3_600_000,
            Width::Day => 86_400_000,
        }
    }
}

/// What results are apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// The public part of the key: `api_key_id`.
    Key,
    /// The model.
    Model,
    /// The tenant, which is OpenAI's project: `project_id`.
    Project,
    /// The key's group.
    Group,
    /// Where it went.
    Route,
}

impl Grouping {
    const ALL: [Grouping; 5] =
        [Grouping::Key, Grouping::Model, Grouping::Project, Grouping::Group, Grouping::Route];

    fn column(self) -> &'static str {
        match self {
            Grouping::Key => "actor",
            Grouping::Model => "model",
            Grouping::Project => "tenant",
            Grouping::Group => "team",
            Grouping::Route => "route",
        }
    }
}

/// What is asked. An empty list means all.
#[derive(Debug, Clone, Copy)]
pub struct UsageQuery<'a> {
    /// From the bucket that this moment is in. Units: milliseconds since 1970.
    pub start_ms: i64,
    /// Until before this moment.
    pub end_ms: i64,
    /// How wide the buckets are.
    pub width: Width,
    /// What results are apart by.
    pub group_by: &'a [Grouping],
    /// Of these keys: public parts.
    pub keys: &'a [&'a str],
    /// Of these models.
    pub models: &'a [&'a str],
    /// Of these tenants.
    pub projects: &'a [&'a str],
    /// Most buckets, 1,440 at most.
    pub limit: usize,
}

/// Buckets without a gap between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// In order.
    pub buckets: Vec<Bucket>,
    /// Where the next page starts; None: there is none.
    pub next_ms: Option<i64>,
}

/// What was used in a span of time, by the moment at which requests were admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Units: milliseconds since 1970.
    pub start_ms: i64,
    /// Units: milliseconds since 1970.
    pub end_ms: i64,
    /// One for each combination that there was.
    pub results: Vec<UsageRow>,
}

/// What one combination used. A name that was not asked for is None.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// The public part of the key.
    pub key: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The tenant.
    pub project: Option<String>,
    /// The key's group.
    pub group: Option<String>,
    /// Where it went.
    pub route: Option<String>,
    /// Requests to a model that ran.
    pub requests: u64,
    /// Tokens of prompts.
    pub input: u64,
    /// Tokens of prompts that were kept.
    pub cached: u64,
    /// Tokens that models said.
    pub output: u64,
    /// Tokens that budgets were charged: also those of requests that a kill ended.
    pub charged_tokens: u64,
    /// Units: micro-dollars.
    pub micro_usd: u64,
}

pub(super) fn usage(connection: &Connection, query: &UsageQuery<'_>) -> Result<Usage, JournalError> {
    let width = query.width.ms();
    let start = query.start_ms.div_euclid(width) * width;
    let num_wanted = (query.end_ms.saturating_sub(start).max(0) as u64).div_ceil(width.unsigned_abs());
    let num = usize::try_from(num_wanted).unwrap_or(usize::MAX).min(query.limit.clamp(1, BUCKETS_MAX));
    let end_of_page = start + width * num as i64;
    let end = end_of_page.min(query.end_ms.max(start));
    let bucket = |index: usize| {
        let start_ms = start + width * index as i64;
        Bucket { start_ms, end_ms: start_ms + width, results: Vec::new() }
    };
    let mut buckets: Vec<Bucket> = (0..num).map(bucket).collect();
    let columns: Vec<&str> = Grouping::ALL
        .iter()
        .map(|grouping| if query.group_by.contains(grouping) { grouping.column() } else { "NULL" })
        .collect();
    let mut values: Vec<Box<dyn ToSql + '_>> =
        vec![Box::new(start), Box::new(width), Box::new(start), Box::new(end)];
    let mut conditions = String::new();
    for (column, list) in [("actor", query.keys), ("model", query.models), ("tenant", query.projects)] {
        if !list.is_empty() {
            conditions += &format!(" AND {}", among(column, list.len()));
            values.extend(list.iter().map(|value| Box::new(*value) as Box<dyn ToSql>));
        }
    }
    let sql = format!(
        "SELECT (admitted_ms - ?) / ?, {}, count(*), sum(input), sum(cached), sum(output), sum(charged_tokens),
            sum(charged_micro_usd)
        FROM entries
        WHERE event IN ('request', 'request.lost') AND model <> '' AND admitted_ms >= ? AND admitted_ms < ?{conditions}
        GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6",
        columns.join(", ")
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(found) = rows.next()? {
        let index: i64 = found.get(0)?;
        let place = usize::try_from(index).ok().and_then(|index| buckets.get_mut(index));
        if let Some(bucket) = place {
            bucket.results.push(row(found)?);
        }
    }
    Ok(Usage { buckets, next_ms: (num_wanted > num as u64).then_some(end_of_page) })
}

fn row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    let number = |place: usize| row.get::<_, i64>(place).map(i64::unsigned_abs);
    Ok(UsageRow {
        key: row.get(1)?,
        model: row.get(2)?,
        project: row.get(3)?,
        group: row.get(4)?,
        route: row.get(5)?,
        requests: number(6)?,
        input: number(7)?,
        cached: number(8)?,
        output: number(9)?,
        charged_tokens: number(10)?,
        micro_usd: number(11)?,
    })
}

#[cfg(test)]
#[path = "usage/tests.rs"]
mod tests;
