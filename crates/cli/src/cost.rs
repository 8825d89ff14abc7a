//! `gptoss cost`: what a model on machines of one's own costs beside an API.
//!
//! Everything is from one file of the user's ([`scenario`]): no price, power or speed is built in. The speed
//! is a measured one, at the latency that users are to get. The first line says whether it pays.

mod compute;
mod measured;
mod plot;
mod prices;
mod report;
mod scenario;
mod usage;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::CostArgs;
use crate::output::Target;

/// Runs the command.
pub fn run(args: &CostArgs) -> Result<ExitCode> {
    let [plot, sensitivity] =
        [&args.plot, &args.sensitivity].map(|file| file.as_deref().map(Target::at).transpose());
    let (plot, sensitivity) = (plot?, sensitivity?);
    let folder = args.scenario.parent().unwrap_or(Path::new("."));
    let text = std::fs::read_to_string(&args.scenario)
        .with_context(|| format!("cannot read {}", args.scenario.display()))?;
    let scenario = scenario::parse(&text).with_context(|| args.scenario.display().to_string())?;
    let (case, notes) = scenario::case(&scenario, folder)?;
    let compared = compute::compare(&case);
    if let Some(target) = &plot {
        plot::costs(target, &case, &compared)?;
    }
    if let Some(target) = &sensitivity {
        plot::sensitivity(target, &case, &compared)?;
    }
    let mut out = io::stdout().lock();
    match args.json {
        true => report::json(&mut out, &case, &compared, &notes)?,
        false => report::print(&mut out, &case, &compared, &notes)?,
    }
    Ok(ExitCode::SUCCESS)
}
