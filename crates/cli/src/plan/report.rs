//! What plans came to, as tables and as JSON. Neither has a date: the same plan is the same bytes.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::costs::Costs;
use super::figures::{Figures, Kept, told};
use super::scenario::Scenario;
use crate::load::figures::Spread;
use crate::terminal;

/// Version of the JSON object: raised when a field changes its meaning or goes.
const FORMAT_VERSION: u32 = 1;

/// What was tried, and which number of servers was looked for.
pub struct Plan {
    /// What was simulated.
    pub scenario: Scenario,
    /// What steps cost.
    pub costs: Costs,
    /// How many requests there are, and a second; None where all come at once.
    pub requests: (usize, Option<f64>),
    /// In the order in which they were tried.
    pub tried: Vec<Figures>,
    /// The fewest that keep the bounds; None where none was looked for.
    pub fewest: Option<Fewest>,
}

/// The outcome of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fewest {
    /// So many keep the bounds.
    Found(usize),
    /// So many do not.
    MoreThan(usize),
}

impl Plan {
    fn seed(&self) -> u64 {
        self.scenario.traffic.seed.unwrap_or(0)
    }

    /// Machines of so many servers.
    fn machines(&self, workers: usize) -> usize {
        workers.div_ceil(self.scenario.fleet.per_machine.unwrap_or(1) as usize)
    }

    /// What came of a number of servers.
    fn of(&self, workers: usize) -> Option<&Figures> {
        self.tried.iter().find(|figures| figures.workers == workers)
    }
}

/// What a plan is about, in a line.
pub fn title(plan: &Plan) -> String {
    let (requests, rate) = plan.requests;
    let name = plan.scenario.name.as_ref().map_or(String::new(), |name| format!("{name}: "));
    let turns = plan.scenario.traffic.turns.unwrap_or(1);
    let what = match (rate, turns) {
        (None, _) => "all at once".to_owned(),
        (Some(rate), 1) => format!("{rate:.2} a second"),
        (Some(rate), turns) => format!("{rate:.2} conversations of {turns} turns a second"),
    };
    format!("{name}{}, {requests} requests, {what}", plan.costs.model)
}

/// A plan as one object.
pub fn json(plan: &Plan) -> Value {
    let tried: Vec<Value> = plan.tried.iter().map(Figures::json).collect();
    let needed = match plan.fewest {
        Some(Fewest::Found(workers)) => Some(workers),
        _ => None,
    };
    json!({
        "format": FORMAT_VERSION,
        "tool": "gptoss plan",
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": plan.scenario.name,
        "model": plan.costs.model,
        "requests": plan.requests.0,
        "request_rate": plan.requests.1,
        "seed": plan.seed(),
        "workers_needed": needed,
        "machines_needed": needed.map(|workers| plan.machines(workers)),
        "tried": tried,
    })
}

/// All scenarios of files as one object.
pub fn all_json(plans: &[Plan]) -> Value {
    json!({
        "format": FORMAT_VERSION,
        "tool": "gptoss plan",
        "version": env!("CARGO_PKG_VERSION"),
        "scenarios": plans.iter().map(json).collect::<Vec<Value>>(),
    })
}

/// Prints for people, one plan after the other.
///
/// Errors: the output cannot be written to.
pub fn print_all(out: &mut dyn Write, plans: &[Plan]) -> Result<()> {
    for (number, plan) in plans.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        print(out, plan)?;
    }
    Ok(())
}

fn print(out: &mut dyn Write, plan: &Plan) -> Result<()> {
    writeln!(out, "{}, seed {}\n", terminal::safe(&title(plan)), plan.seed())?;
    write!(
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
    let bounds = plan.tried.first().map_or(&[][..], |figures| &figures.kept);
    for bound in bounds {
        write!(out, "{:>11}", format!("{} late", bound.name().to_uppercase()))?;
    }
    writeln!(out)?;
    let mut sorted: Vec<&Figures> = plan.tried.iter().collect();
    sorted.sort_by_key(|figures| figures.workers);
    for figures in sorted {
        row(out, figures)?;
    }
    writeln!(out)?;
    if let Some(fewest) = plan.fewest {
        conclude(out, plan, fewest)?;
    }
    Ok(())
}

/// What a number of servers came to.
fn row(out: &mut dyn Write, figures: &Figures) -> Result<()> {
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
    for kept in &figures.kept {
        let mark = if kept.is_kept() { "" } else { "!" };
        write!(out, "{:>11}", format!("{mark}{}", kept.late))?;
    }
    writeln!(out)?;
    Ok(())
}

/// How many are needed, or why none are enough.
fn conclude(out: &mut dyn Write, plan: &Plan, fewest: Fewest) -> Result<()> {
    let (Fewest::Found(workers) | Fewest::MoreThan(workers)) = fewest;
    let Some(figures) = plan.of(workers) else { return Ok(()) };
    let bound = |kept: &Kept| format!("{} {}", kept.name().to_uppercase(), told(kept.objective.most));
    let bounds: Vec<String> = figures.kept.iter().map(bound).collect();
    let servers = |count: usize| if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    let machines = match plan.scenario.fleet.per_machine {
        Some(per_machine) if per_machine > 1 => {
            format!(" on {} machines", plan.machines(workers))
        }
        _ => String::new(),
    };
    let keep = if workers == 1 { "keeps" } else { "keep" };
    match fewest {
        Fewest::Found(_) => {
            let fewer = if workers == 1 { "" } else { "; one fewer does not" };
            writeln!(
                out,
                "{}{machines} {keep} {} for 99 of 100 requests{fewer}.",
                servers(workers),
                bounds.join(" and ")
            )?;
        }
        Fewest::MoreThan(_) => {
            writeln!(out, "{}{machines} are not enough to keep {}:", servers(workers), bounds.join(" and "))?;
            let [refused, cut, too_long] = figures.failures;
            for kept in figures.kept.iter().filter(|kept| !kept.is_kept()) {
                writeln!(
                    out,
                    "  {} of {} are later than {}; {refused} refused, {cut} cut and {too_long} too long count as late",
                    kept.late,
                    kept.of,
                    bound(kept)
                )?;
            }
        }
    }
    Ok(())
}
