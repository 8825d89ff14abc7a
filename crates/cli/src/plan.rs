//! `gptoss plan`: how many servers a load needs, by simulation.
//!
//! What steps cost was measured ([`costs`], [`measure`]); which steps there are is simulated, by the engine's
//! own scheduler and prefix cache on each server ([`fleet`]), under a router's policy ([`router`]) and with
//! failures, for requests that are drawn or come from a file ([`traffic`]). No clock and one seed: the same
//! plan is the same bytes.

mod costs;
mod figures;
mod fleet;
mod measure;
mod plot;
mod report;
mod router;
mod traffic;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::args::PlanArgs;
use crate::failure::usage;
use crate::output::Target;
use costs::Costs;
use figures::Figures;
use report::{Fewest, Plan};
use traffic::{Ask, NANOS};

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
    let Some(file) = &args.costs else {
        return Err(usage("plan needs --costs FILE.json, or --measure MODEL"));
    };
    let plot = args.plot.as_deref().map(Target::at).transpose()?;
    let mut costs = Costs::read(file)?;
    if let Some(sequences) = args.engine.max_sequences {
        costs.sequences = usize::from(sequences);
    }
    let asks = traffic::traffic(&args.traffic)?;
    let (tried, fewest) = try_all(args, &costs, &asks);
    let last = asks.last().map_or(0, |ask| ask.at) as f64 / NANOS;
    let requests = (asks.len(), asks.len() as f64 / last.max(f64::MIN_POSITIVE));
    let plan = Plan { costs: &costs, requests, tried: &tried, fewest, seed: args.traffic.seed };
    if let Some(target) = &plot {
        let title = format!("{}: {} requests, {:.2} a second", costs.model, requests.0, requests.1);
        plot::write_svg(target, &title, &tried)?;
    }
    match args.json {
        true => {
            serde_json::to_writer_pretty(&mut out, &report::json(&plan))?;
            writeln!(out)?;
        }
        false => report::print(&mut out, &plan)?,
    }
    Ok(match fewest {
        Some(Fewest::MoreThan(_)) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Simulates the numbers of servers that are asked for, or looks for the fewest.
fn try_all(args: &PlanArgs, costs: &Costs, asks: &[Ask]) -> (Vec<Figures>, Option<Fewest>) {
    let simulate = |workers: usize| {
        let day = fleet::run(costs, &args.fleet, asks, workers, args.traffic.seed);
        Figures::of(&day, asks, workers)
    };
    if !args.workers.is_empty() || args.slo.is_empty() {
        let workers = if args.workers.is_empty() { &[1][..] } else { &args.workers };
        return (workers.iter().map(|&workers| simulate(workers as usize)).collect(), None);
    }
    let mut tried = Vec::new();
    let mut keeps = |workers: usize| {
        tried.push(simulate(workers));
        tried.last().is_some_and(|figures| figures.keeps(&args.slo))
    };
    let fewest = fewest(args.workers_max as usize, &mut keeps);
    (tried, Some(fewest))
}

/// The fewest that keep the bounds: twice as many until they are kept, then halves between.
fn fewest(most: usize, keeps: &mut dyn FnMut(usize) -> bool) -> Fewest {
    let (mut below, mut above) = (0, 1);
    while !keeps(above) {
        if above >= most {
            return Fewest::MoreThan(most);
        }
        (below, above) = (above, (above * 2).min(most));
    }
    while above - below > 1 {
        let middle = below.midpoint(above);
        *(if keeps(middle) { &mut above } else { &mut below }) = middle;
    }
    Fewest::Found(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_are_found_between_powers_of_two() {
        let check = |needed: usize, most: usize, expect: Fewest| {
            let mut tries = 0;
            let found = fewest(most, &mut |workers| {
                tries += 1;
                workers >= needed
            });
            assert_eq!(found, expect);
            assert!(tries <= 21, "{needed}: {tries}");
        };
        check(1, 1024, Fewest::Found(1));
        check(2, 1024, Fewest::Found(2));
        check(13, 1024, Fewest::Found(13));
        check(1000, 1000, Fewest::Found(1000));
        check(1001, 1000, Fewest::MoreThan(1000));
    }
}
