//! `--memory`: how much may a model take, what is planned for it, and what did the disk have to do?
//!
//! [`MemorySize`] is the flag's value. [`plan`] asks the model room how the model fits and prints the terms, so that nobody
//! has to guess what the number went into; [`traffic_line`] and [`traffic_json`] say afterwards what was read from disk
//! while the model ran. Without the flag nothing is planned: files are mapped, and the page cache does what it does.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::str::FromStr;

use anyhow::Result;
use gptoss_checkpoint::Checkpoint;
use gptoss_engine::KvPlan;
use gptoss_model::{
    DenseMode, Error, ExpertTraffic, MemoryPlan, ModelConfig, Precision, Term, memory, plan_memory,
};
use serde_json::{Value, json};

const GIGABYTE: f64 = 1e9;
/// Every unit with its bytes.
const UNITS: [(&str, u64); 6] = [
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A number of bytes, written with a unit: `8GiB`, `500 MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySize {
    /// Bytes.
    pub bytes: u64,
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<MemorySize, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..split], text[split..].trim());
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let number: Option<f64> = number.parse().ok();
        match (number, unit) {
            (Some(number), Some((_, size))) if number > 0.0 => {
                Ok(MemorySize { bytes: (number * *size as f64) as u64 })
            }
            _ => Err("write a number and a unit, for example 8GiB or 500MB".to_owned()),
        }
    }
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// Tokens of a whole conversation.
    pub context: usize,
    /// The numeric mode.
    pub precision: Precision,
    /// The format of dense matrices.
    pub dense: DenseMode,
    /// The keys and values of an engine, in the place of those of one conversation.
    pub kv: Option<&'a KvPlan>,
}

/// The plan without a budget: everything in memory.
///
/// Errors: a shape that is no gpt-oss.
pub fn whole(checkpoint: &Checkpoint, needs: &Needs<'_>) -> Result<Vec<Term>> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let terms = memory(&config, &checkpoint.part_bytes(), needs.context, needs.precision, needs.dense);
    Ok(with_engine(terms, needs.kv))
}

/// Plans a model into a budget and prints the plan to standard error.
///
/// Errors: the budget is too small, with the smallest that is not.
pub fn plan(checkpoint: &Checkpoint, needs: &Needs<'_>, size: MemorySize) -> Result<MemoryPlan> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    // The model room plans for one conversation; what the engine's plan has beyond that is taken from the budget first.
    let one = memory(&config, &[], needs.context, needs.precision, needs.dense);
    let one: u64 = one.iter().filter(|term| is_kv(term)).map(|term| term.bytes).sum();
    let all: u64 = needs.kv.map_or(one, |plan| plan.terms.iter().map(|term| term.bytes).sum());
    let budget = (size.bytes + one).saturating_sub(all);
    let plan = plan_memory(checkpoint, needs.context, needs.precision, needs.dense, budget);
    let plan = plan.map_err(|error| match error {
        Error::BudgetTooSmall { smallest, .. } => {
            Error::BudgetTooSmall { budget: size.bytes, smallest: (smallest + all).saturating_sub(one) }
        }
        Error::NotOnDisk { needed } => Error::NotOnDisk { needed: (needed + all).saturating_sub(one) },
        other => other,
    })?;
    let plan = MemoryPlan { terms: with_engine(plan.terms, needs.kv), ..plan };
    io::stderr().write_all(describe(&plan, needs.context, size).as_bytes())?;
    Ok(plan)
}

fn is_kv(term: &Term) -> bool {
    term.name.starts_with("KV cache")
}

/// The cache of one conversation makes way for that of the engine.
fn with_engine(mut terms: Vec<Term>, kv: Option<&KvPlan>) -> Vec<Term> {
    if let Some(plan) = kv {
        terms.retain(|term| !is_kv(term));
        terms.extend(plan.terms.iter().cloned());
    }
    terms
}

fn describe(plan: &MemoryPlan, context: usize, size: MemorySize) -> String {
    let gigabytes = |bytes: u64| bytes as f64 / GIGABYTE;
    let mut text = format!(
        "memory: {:.2} GB planned of {:.2} GB, with room for {context} tokens\n",
        gigabytes(plan.bytes()),
        gigabytes(size.bytes)
    );
    for term in &plan.terms {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:>7.3} GB  {}", gigabytes(term.bytes), term.name);
    }
    text
}

/// One line about what was read, for people.
pub fn traffic_line(traffic: &ExpertTraffic) -> String {
    format!(
        "experts on disk: {} of {} in memory, {:.1} % of {} uses found there; {:.2} GB read at {:.2} GB/s, {:.1} s waited",
        traffic.slots,
        traffic.experts,
        100.0 * traffic.hit_rate(),
        traffic.hits + traffic.misses,
        traffic.bytes_read as f64 / GIGABYTE,
        traffic.read_bytes_per_second() / GIGABYTE,
        traffic.wait_time.as_secs_f64(),
    )
}

/// The same for programs; null when nothing is on disk.
pub fn traffic_json(traffic: Option<&ExpertTraffic>) -> Value {
    let Some(traffic) = traffic else { return Value::Null };
    json!({
        "expert_slots": traffic.slots,
        "experts": traffic.experts,
        "hits": traffic.hits,
        "misses": traffic.misses,
        "hit_rate": traffic.hit_rate(),
        "bytes_read": traffic.bytes_read,
        "read_seconds": traffic.read_time.as_secs_f64(),
        "read_bytes_per_second": traffic.read_bytes_per_second(),
        "wait_seconds": traffic.wait_time.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(text.parse::<MemorySize>().ok().map(|size| size.bytes), expect, "{text}");
        };
        check("8GiB", Some(8 << 30));
        check("500 MB", Some(500_000_000));
        check("1.5gib", Some(3 << 29));
        for bad in ["", "8", "GiB", "0GB", "-1GB", "8 GiB!", "1e3MB", "8 lightyears", "."] {
            check(bad, None);
        }
    }
}
