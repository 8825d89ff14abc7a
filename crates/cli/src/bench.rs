//! `gptoss bench`: the speed of a model on this machine, beside what the machine allows.
//!
//! A case is a prompt's length, a depth (positions filled with random keys and values before the prompt) and
//! a number of sequences. Each is measured `--repeat` times, all cases in turn, and before and after every
//! run the machine itself: what its threads read from memory and how many multiply-adds its tiles do. So
//! every figure stands beside its ceiling of the same minutes, and the share of it is what to quote: absolute
//! figures move with the machine and its neighbours. Medians are printed, with the slowest and the fastest
//! run.
//!
//! `ceiling.rs` measures the machine, `measure.rs` the model, `report.rs` prints; what a token costs is the
//! model room's. Prompts are random tokens, because routing then spreads over the experts; decoded tokens are
//! random too, so that no run takes a shorter path.

mod ceiling;
mod measure;
mod report;
mod system;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::BenchArgs;
use crate::failure::usage;
use crate::model_source::Opened;
use crate::offer;

use ceiling::Ceiling;
use measure::{Case, Starts};
use report::{Conditions, Measured};

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let opened = offer::opened(&args.model)?;
    let cases = cases(args, &opened)?;
    let load_average = system::load_average();
    let mut ceiling = Ceiling::new();
    let context = cases.iter().map(Case::context).max().unwrap_or(1);
    let (model, starts) = Starts::measure(args, &opened, context)?;
    measure::warm_up(&model)?;
    let mut measured: Vec<Measured> = cases.iter().map(|case| Measured::new(*case)).collect();
    for repeat in 0..args.repeat {
        for measured in &mut measured {
            let before = ceiling.measure(&model);
            let speeds = measure::run_case(&model, &measured.case, u64::from(repeat))?;
            say(&format!("{}, run {} of {}: {speeds}", measured.case, repeat + 1, args.repeat));
            measured.add([before, ceiling.measure(&model)], speeds);
            measured.peak_resident_bytes =
                system::peak_resident_bytes().map(|bytes| bytes - ceiling.num_bytes());
        }
    }
    let conditions = Conditions::new(args, &opened, &model, starts, load_average);
    report::print(args, &conditions, &measured)?;
    Ok(ExitCode::SUCCESS)
}

/// Progress, a line a step, on standard error.
fn say(line: &str) {
    eprintln!("bench: {}", crate::terminal::safe(line));
}

/// Every prompt's length with every depth and every number of sequences.
///
/// Errors: usage, when one does not fit the model's context or measures nothing.
fn cases(args: &BenchArgs, opened: &Opened) -> Result<Vec<Case>> {
    let context_max = opened.checkpoint.config().max_position_embeddings;
    let mut cases = Vec::new();
    for &prefill in &args.prefill {
        for &depth in &args.depth {
            for &batch in &args.batch {
                let [prefill, depth, batch] = [prefill, depth, batch].map(|n| n as usize);
                let case = Case { prefill, depth, batch, decode: args.decode as usize };
                if case.context() > context_max {
                    let name = opened.source.name();
                    return Err(usage(format!(
                        "{case} need {} positions, but {name} holds {context_max}\ntake a smaller --depth, --prefill or --decode",
                        case.context()
                    )));
                }
                if case.prefill + case.decode == 0 {
                    return Err(usage("--prefill 0 --decode 0 measures nothing"));
                }
                cases.push(case);
            }
        }
    }
    Ok(cases)
}
