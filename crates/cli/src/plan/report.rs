//! What a plan came to, as a table and as one JSON object. Neither has a date: the same plan is the same
//! bytes.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::costs::Costs;
use super::figures::Figures;
use crate::load::figures::Spread;
use crate::terminal;

/// Version of the JSON object: raised when a field changes its meaning or goes.
const FORMAT_VERSION: u32 = 1;

/// What was tried, and which number of servers was looked for.
pub struct Plan<'a> {
    /// What steps cost.
    pub costs: &'a Costs,
    /// How many requests there are, and a second.
    pub requests: (usize, f64),
    /// In the order in which they were tried.
    pub tried: &'a [Figures],
    /// The fewest that keep the bounds; None where none was looked for.
    pub fewest: Option<Fewest>,
    /// The seed.
    pub seed: u64,
}

/// The outcome of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fewest {
    /// So many keep the bounds.
    Found(usize),
    /// So many do not.
    MoreThan(usize),
}

/// The plan as one object.
pub fn json(plan: &Plan<'_>) -> Value {
    let tried: Vec<Value> = plan.tried.iter().map(Figures::json).collect();
    json!({
        "format": FORMAT_VERSION,
        "tool": "gptoss plan",
        "version": env!("CARGO_PKG_VERSION"),
        "model": plan.costs.model,
        "requests": plan.requests.0,
        "request_rate": plan.requests.1,
        "seed": plan.seed,
        "workers_needed": match plan.fewest { Some(Fewest::Found(workers)) => Some(workers), _ => None },
        "tried": tried,
    })
}

/// Prints for people.
///
/// Errors: the output cannot be written to.
pub fn print(out: &mut dyn Write, plan: &Plan<'_>) -> Result<()> {
    let (requests, rate) = plan.requests;
    let model = terminal::safe(&plan.costs.model);
    writeln!(out, "{model}: {requests} requests, {rate:.2} a second, seed {}\n", plan.seed)?;
    writeln!(
        out,
        "{:>8}{:>10}{:>8}{:>9}{:>8}{:>8}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "servers",
        "answered",
        "failed",
        "tokens/s",
        "busy",
        "cached",
        "TTFT p50",
        "TTFT p99",
        "TPOT p99",
        "ITL p99",
        "E2EL p99"
    )?;
    let mut sorted: Vec<&Figures> = plan.tried.iter().collect();
    sorted.sort_by_key(|figures| figures.workers);
    for figures in sorted {
        let failed: usize = figures.failures.iter().sum();
        write!(
            out,
            "{:>8}{:>10}{:>8}{:>9.1}{:>7.0}%{:>7.0}%",
            figures.workers,
            figures.completed,
            failed,
            figures.output_throughput(),
            100.0 * figures.busy_share,
            100.0 * figures.cached_share
        )?;
        let p99 = |spread: &Option<Spread>| spread.map(|spread| spread.p99);
        let times = [
            figures.ttft.map(|spread| spread.p50),
            p99(&figures.ttft),
            p99(&figures.tpot),
            p99(&figures.itl),
            p99(&figures.e2e),
        ];
        for time in times {
            match time {
                Some(time) => write!(out, "{:>8.1} ms", time)?,
                None => write!(out, "{:>11}", "-")?,
            }
        }
        writeln!(out)?;
    }
    match plan.fewest {
        Some(Fewest::Found(workers)) => {
            writeln!(out, "\n{workers} servers keep the bounds for 99 of 100 requests; fewer do not.")?
        }
        Some(Fewest::MoreThan(workers)) => writeln!(out, "\n{workers} servers do not keep the bounds.")?,
        None => {}
    }
    Ok(())
}
