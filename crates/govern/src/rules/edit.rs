//! The file of rules edited: keys come, are replaced and are revoked; comments and order stay as they were.
//!
//! Pure functions from text to text. What comes out was read as rules again, so no edit makes a file that a
//! server would refuse.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::Rules;
use super::file::line_of;
use crate::error::RulesProblem;
use crate::scope::Scope;
use crate::secret::Secret;

/// A key that shall be. Names are those of the file.
#[derive(Debug, Clone, Default)]
pub struct NewKey<'a> {
    /// The tenant.
    pub name: &'a str,
    /// What it opens.
    pub scopes: &'a [Scope],
    /// Its group, which there must be.
    pub group: Option<&'a str>,
    /// Its policy, which there must be.
    pub policy: Option<&'a str>,
    /// Which models; none: all.
    pub models: &'a [String],
    /// Requests a minute.
    pub rpm_limit: Option<u64>,
    /// Tokens a minute.
    pub tpm_limit: Option<u64>,
    /// Requests at a time.
    pub max_parallel_requests: Option<u64>,
    /// Tokens by period.
    pub budget_tokens: Option<u64>,
    /// Dollars by period.
    pub budget_usd: Option<f64>,
    /// The period.
    pub budget_duration: Option<&'a str>,
    /// From when it opens nothing. Units: seconds since 1970.
    pub expires_at: Option<u64>,
}

/// Adds a key with this secret's public part and digest.
///
/// Errors: the file is not one of rules, or would not be with the key.
pub fn add(text: &str, key: &NewKey<'_>, secret: &Secret, now: u64) -> Result<String, RulesProblem> {
    let (_, mut document) = opened(text)?;
    let mut table = Table::new();
    table["name"] = value(key.name);
    identity(&mut table, secret, now);
    table["scopes"] = value(key.scopes.iter().map(|scope| scope.name()).collect::<Array>());
    let words = [("group", key.group), ("policy", key.policy)];
    for (field, word) in words.into_iter().filter_map(|(field, word)| Some((field, word?))) {
        table[field] = value(word);
    }
    if !key.models.is_empty() {
        table["models"] = value(key.models.iter().map(String::as_str).collect::<Array>());
    }
    let limits = [
        ("rpm_limit", key.rpm_limit),
        ("tpm_limit", key.tpm_limit),
        ("max_parallel_requests", key.max_parallel_requests),
    ];
    for (field, limit) in limits.into_iter().filter_map(|(field, limit)| Some((field, limit?))) {
        table[field] = value(limit.cast_signed());
    }
    let mut budget = InlineTable::new();
    if let Some(tokens) = key.budget_tokens {
        budget.insert("tokens", tokens.cast_signed().into());
    }
    if let Some(usd) = key.budget_usd {
        budget.insert("usd", usd.into());
    }
    if !budget.is_empty() {
        table["max_budget"] = value(budget);
    }
    if let Some(duration) = key.budget_duration {
        table["budget_duration"] = value(duration);
    }
    if let Some(at) = key.expires_at {
        table["expires_at"] = moment(at);
    }
    let keys = document.entry("keys").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    keys.as_array_of_tables_mut().ok_or_else(not_tables)?.push(table);
    checked(&document)
}

/// When secrets end that a rotation is about. Units: seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Now.
    pub now: u64,
    /// From when the old secrets open nothing.
    pub old_until: u64,
    /// From when the new one opens nothing; None: as long as the old one would have.
    pub new_until: Option<u64>,
}

/// Gives the tenant another secret with all the rights of its newest key. The older ones open until the grace
/// ends.
///
/// Errors: there is no such key that is not revoked; the file is not one of rules.
pub fn rotate(text: &str, name: &str, secret: &Secret, rotation: Rotation) -> Result<String, RulesProblem> {
    let Rotation { now, old_until: until, new_until } = rotation;
    let (rules, mut document) = opened(text)?;
    let place =
        rules.keys().iter().rposition(|key| is_named(key.name.as_str(), &key.id, name) && is_live(key, now));
    let place = place.ok_or_else(|| no_key(name))?;
    let tenant = &rules.keys()[place].name;
    let keys = tables(&mut document)?;
    let mut table = keys.get(place).cloned().ok_or_else(|| no_key(name))?;
    for (index, old) in keys.iter_mut().enumerate() {
        let key = &rules.keys()[index];
        // None of the tenant's older secrets outlives the grace.
        if key.name == *tenant && is_live(key, now) && key.expires_at.is_none_or(|at| at > until) {
            old["expires_at"] = moment(until);
        }
    }
    identity(&mut table, secret, now);
    if let Some(until) = new_until {
        table["expires_at"] = moment(until);
    }
    table.set_position(None);
    // The comment above the old key is about the old key.
    table.decor_mut().set_prefix("\n");
    keys.push(table);
    checked(&document)
}

/// Takes back the keys of a name, or the one with this public part. With `remove` they leave the file;
/// without it, they stay and say since when they open nothing.
///
/// Gives the file and the public parts.
///
/// Errors: there is no such key that is not revoked; the file is not one of rules.
pub fn revoke(text: &str, name: &str, now: u64, remove: bool) -> Result<(String, Vec<String>), RulesProblem> {
    let (rules, mut document) = opened(text)?;
    let is_meant =
        |key: &crate::key::Key| is_named(&key.name, &key.id, name) && (remove || key.revoked_at.is_none());
    let places: Vec<usize> =
        (0..rules.keys().len()).filter(|place| is_meant(&rules.keys()[*place])).collect();
    if places.is_empty() {
        return Err(no_key(name));
    }
    let keys = tables(&mut document)?;
    for place in places.iter().rev() {
        match remove {
            true => drop(keys.remove(*place)),
            false => {
                if let Some(table) = keys.get_mut(*place) {
                    table["revoked_at"] = moment(now);
                }
            }
        }
    }
    let ids = places.iter().map(|place| rules.keys()[*place].id.clone()).collect();
    Ok((checked(&document)?, ids))
}

fn is_named(tenant: &str, id: &str, name: &str) -> bool {
    tenant == name || id == name
}

fn is_live(key: &crate::key::Key, now: u64) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now)
}

fn no_key(name: &str) -> RulesProblem {
    RulesProblem { line: 1, problem: format!("there is no key {name:?} that is in force") }
}

fn not_tables() -> RulesProblem {
    RulesProblem {
        line: 1,
        problem: "keys are not written as [[keys]]: write each so to edit them here".to_owned(),
    }
}

/// The file as rules, and as what is edited.
fn opened(text: &str) -> Result<(Rules, DocumentMut), RulesProblem> {
    let rules = Rules::parse(text)?;
    let document = text.parse().map_err(|error: toml_edit::TomlError| RulesProblem {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        problem: error.message().replace('\n', " "),
    })?;
    Ok((rules, document))
}

fn tables(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, RulesProblem> {
    document.get_mut("keys").and_then(Item::as_array_of_tables_mut).ok_or_else(not_tables)
}

fn identity(table: &mut Table, secret: &Secret, now: u64) {
    table["id"] = value(secret.id());
    table["hash"] = value(format!("sha256:{}", secret.digest().to_hex()));
    table["created_at"] = moment(now);
    table.remove("revoked_at");
}

/// Seconds since 1970 as TOML has moments.
fn moment(seconds: u64) -> Item {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let text = timestamp.to_string();
    match text.parse::<toml_edit::Datetime>() {
        Ok(datetime) => value(datetime),
        // Refused when the file is read again, with its line.
        Err(_) => value(Value::from(text)),
    }
}

/// The text, when it is rules.
fn checked(document: &DocumentMut) -> Result<String, RulesProblem> {
    let text = document.to_string();
    Rules::parse(&text)?;
    Ok(text)
}

#[cfg(test)]
#[path = "edit/tests.rs"]
mod tests;
