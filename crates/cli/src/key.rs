//! `gptoss key`: keys of a file of rules drawn, listed, replaced and taken back.
//!
//! The file has hashes alone. A secret is printed on standard output by the command that draws it, and
//! nowhere else; a running server takes the file up at its next reload (SIGHUP).

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use gptoss_govern::{Key, KeyState, NewKey, Rotation, Secret, edit};
use serde_json::{Value, json};

use crate::args::{KeyArgs, KeyCommand, KeyListArgs, KeyNewArgs, KeyRevokeArgs, KeyRotateArgs, When};
use crate::{rules_file, terminal};

/// Runs the command.
pub fn run(args: &KeyArgs) -> Result<ExitCode> {
    match &args.command {
        KeyCommand::New(args) => new(args)?,
        KeyCommand::List(args) => list(args)?,
        KeyCommand::Rotate(args) => rotate(args)?,
        KeyCommand::Revoke(args) => revoke(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Units: seconds since 1970.
fn now() -> Result<u64> {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Ok(since.as_secs()),
        Err(_) => bail!("the clock is before 1970: set it right"),
    }
}

/// Units: seconds since 1970.
fn at(when: When, now: u64) -> u64 {
    match when {
        When::After(seconds) => now.saturating_add(seconds),
        When::At(seconds) => seconds,
    }
}

fn draw() -> Result<Secret> {
    Ok(Secret::draw(getrandom::fill)?)
}

fn new(args: &KeyNewArgs) -> Result<()> {
    let (now, secret) = (now()?, draw()?);
    let key = NewKey {
        name: &args.name,
        scopes: &args.scopes,
        group: args.group.as_deref(),
        policy: args.policy.as_deref(),
        models: &args.models,
        rpm_limit: args.rpm_limit,
        tpm_limit: args.tpm_limit,
        max_parallel_requests: args.max_parallel_requests,
        budget_tokens: args.budget_tokens,
        budget_usd: args.budget_usd,
        budget_duration: args.budget_duration.as_deref(),
        expires_at: args.expires.map(|when| at(when, now)),
    };
    rules_file::edit(&args.rules, true, |text| Ok((edit::add(text, &key, &secret, now)?, ())))?;
    show(&args.name, &secret, args.json)
}

fn rotate(args: &KeyRotateArgs) -> Result<()> {
    let (now, secret) = (now()?, draw()?);
    let rotation = Rotation {
        now,
        old_until: now.saturating_add(args.grace),
        new_until: args.expires.map(|when| at(when, now)),
    };
    let work = |text: &str| Ok((edit::rotate(text, &args.name, &secret, rotation)?, ()));
    rules_file::edit(&args.rules, false, work)?;
    show(&args.name, &secret, args.json)
}

/// The secret, this once: alone on standard output, so that a script takes it and nothing else.
fn show(name: &str, secret: &Secret, is_json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    match is_json {
        true => writeln!(out, "{:#}", json!({"name": name, "id": secret.id(), "key": secret.reveal()}))?,
        false => {
            writeln!(out, "{}", secret.reveal())?;
            anstream::eprintln!(
                "The key of {} is shown this once; the file has its hash.",
                terminal::safe(name)
            );
        }
    }
    Ok(out.flush()?)
}

fn revoke(args: &KeyRevokeArgs) -> Result<()> {
    let now = now()?;
    let work = |text: &str| edit::revoke(text, &args.name, now, args.remove);
    let ids = rules_file::edit(&args.rules, false, work)?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", json!({"revoked": ids}))?,
        false => writeln!(out, "revoked: {}", ids.join(", "))?,
    }
    Ok(out.flush()?)
}

fn list(args: &KeyListArgs) -> Result<()> {
    let rules = rules_file::read(&args.rules)?;
    let now = now()?;
    let mut out = io::stdout().lock();
    if args.json {
        let keys: Vec<Value> = rules.keys().iter().map(|key| to_json(key, now)).collect();
        writeln!(out, "{:#}", Value::Array(keys))?;
        return Ok(out.flush()?);
    }
    let head = ["name", "id", "state", "scopes", "group", "policy", "expires"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(head).chain(rules.keys().iter().map(|key| row(key, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", terminal::safe(cell)));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(out.flush()?)
}

fn state(key: &Key, now: u64) -> &'static str {
    match key.state(now) {
        KeyState::Revoked => "revoked",
        KeyState::Expired(_) => "expired",
        KeyState::InForce => "in force",
    }
}

fn scopes(key: &Key) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.name()).collect()
}

fn moment(seconds: Option<u64>) -> Option<String> {
    let seconds = i64::try_from(seconds?).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

fn row(key: &Key, now: u64) -> [String; 7] {
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        key.name.clone(),
        key.id.clone(),
        state(key, now).to_owned(),
        scopes(key).join(","),
        dash(key.group_name()),
        dash(key.policy.as_deref().map(|policy| policy.name.as_str())),
        dash(moment(key.expires_at).as_deref()),
    ]
}

fn to_json(key: &Key, now: u64) -> Value {
    json!({
        "name": key.name,
        "id": key.id,
        "state": state(key, now),
        "scopes": scopes(key),
        "group": key.group_name(),
        "policy": key.policy.as_deref().map(|policy| &policy.name),
        "models": key.models.as_ref().map(|models| models.as_slice()),
        "rpm_limit": key.limits.rpm,
        "tpm_limit": key.limits.tpm,
        "max_parallel_requests": key.limits.parallel,
        "budgets": key.budgets.iter().map(|budget| json!({
            "unit": budget.amount.unit(),
            "amount": budget.amount.value(),
            "period": budget.period.name(),
        })).collect::<Vec<_>>(),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
    })
}
