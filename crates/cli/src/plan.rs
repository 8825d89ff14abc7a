//! `gptoss plan`: how many servers a load needs, by simulation.
//!
//! What steps cost was measured ([`costs`], [`measure`]); which steps there are is simulated, by the engine's
//! own scheduler and prefix cache on each server ([`fleet`]), under a router's policy ([`router`]) and with
//! failures, for requests that are drawn or come from a file ([`traffic`]), as flags or a file of scenarios
//! ([`scenario`]) say. No clock and one seed: the same plan is the same bytes.

mod costs;
mod figures;
mod fleet;
mod measure;
mod plot;
mod report;
mod router;
mod scenario;
#[cfg(test)]
mod tests;
mod traffic;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::args::PlanArgs;
use crate::failure::usage;
use crate::output::Target;
use costs::Costs;
use figures::Figures;
use report::{Fewest, Plan};
use scenario::Scenario;
use traffic::Ask;

/// Most servers that are tried, unless it is said.
const WORKERS_MAX: u32 = 1024;
/// Most slots (blocks, sequences, kept places) of all servers together: their books take some 12 bytes each.
const SLOTS_MAX: usize = 1 << 28;

/// Runs the command.
pub fn run(args: &PlanArgs) -> Result<ExitCode> {
    args.engine.check()?;
    let mut out = io::stdout().lock();
    if let Some(model) = &args.measure {
        let costs = measure::measure(args, model)?;
        serde_json::to_writer_pretty(&mut out, &costs)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let plot = args.plot.as_deref().map(Target::at).transpose()?;
    let scenarios = scenario::scenarios(args)?;
    if plot.is_some() && scenarios.len() > 1 {
        return Err(usage("--plot draws one scenario, and there are several\nsay which by --only NAME"));
    }
    let mut plans = Vec::new();
    for scenario in scenarios {
        let place = scenario.place.clone();
        let plan = plan(scenario);
        plans.push(match place {
            Some(place) => plan.context(place)?,
            None => plan?,
        });
    }
    if let (Some(target), Some(plan)) = (&plot, plans.first()) {
        plot::write_svg(target, &report::title(plan), &plan.tried)?;
    }
    match args.json {
        true => {
            let object = match args.scenario.is_empty() {
                true => plans.first().map(report::json),
                false => Some(report::all_json(&plans)),
            };
            serde_json::to_writer_pretty(&mut out, &object)?;
            writeln!(out)?;
        }
        false => report::print_all(&mut out, &plans)?,
    }
    let is_too_few = |plan: &Plan| matches!(plan.fewest, Some(Fewest::MoreThan(_)));
    Ok(if plans.iter().any(is_too_few) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Simulates a scenario.
///
/// Errors: a file cannot be read, or holds something else; what does not go together; more servers than there
/// is room for.
fn plan(scenario: Scenario) -> Result<Plan> {
    let mut costs = Costs::read(&scenario.costs)?;
    if let Some(sequences) = scenario.fleet.max_sequences {
        costs.sequences = sequences as usize;
    }
    let (servers, measured) = (scenario.fleet.per_machine.unwrap_or(1), costs.slowdowns.len());
    ensure!(
        servers as usize <= measured,
        "{}: nothing says how {servers} servers of one machine slow each other down\nmeasure it by plan --measure MODEL --per-machine {servers}, or plan one of a machine",
        scenario.costs.display()
    );
    let asks = traffic::traffic(&scenario.traffic)?;
    let (tried, fewest) = try_all(&scenario, &costs, &asks)?;
    let requests = (asks.len(), traffic::rate(&asks));
    Ok(Plan { scenario, costs, requests, tried, fewest })
}

/// Simulates the numbers of servers that are asked for, or looks for the fewest.
fn try_all(scenario: &Scenario, costs: &Costs, asks: &[Ask]) -> Result<(Vec<Figures>, Option<Fewest>)> {
    let (fleet, seed) = (&scenario.fleet, scenario.traffic.seed.unwrap_or(0));
    let simulate = |workers: usize| {
        let slots = costs.slots().saturating_mul(workers);
        ensure!(
            slots <= SLOTS_MAX,
            "{workers} servers of {} blocks, sequences and kept places are {slots}, and at most {SLOTS_MAX} are simulated: fewer servers (--workers, --workers-max), or costs with fewer `blocks`",
            costs.slots()
        );
        let day = fleet::run(costs, fleet, asks, workers, seed);
        Ok(Figures::of(&day, asks, workers, &scenario.slo))
    };
    if !fleet.workers.is_empty() || scenario.slo.is_empty() {
        let workers = if fleet.workers.is_empty() { &[1][..] } else { &fleet.workers };
        let tried: Result<_> = workers.iter().map(|&workers| simulate(workers as usize)).collect();
        return Ok((tried?, None));
    }
    let mut tried = Vec::new();
    let mut keeps = |workers: usize| {
        let figures = simulate(workers)?;
        let is_kept = figures.keeps();
        tried.push(figures);
        Ok(is_kept)
    };
    let fewest = fewest(fleet.workers_max.unwrap_or(WORKERS_MAX) as usize, &mut keeps)?;
    Ok((tried, Some(fewest)))
}

/// The fewest that keep the bounds: twice as many until they are kept, then halves between.
fn fewest(most: usize, keeps: &mut dyn FnMut(usize) -> Result<bool>) -> Result<Fewest> {
    let (mut below, mut above) = (0, 1);
    while !keeps(above)? {
        if above >= most {
            return Ok(Fewest::MoreThan(most));
        }
        (below, above) = (above, (above * 2).min(most));
    }
    while above - below > 1 {
        let middle = below.midpoint(above);
        *(if keeps(middle)? { &mut above } else { &mut below }) = middle;
    }
    Ok(Fewest::Found(above))
}
