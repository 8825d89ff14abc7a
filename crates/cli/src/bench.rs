//! `gptoss bench`: the speed of a model on this machine, beside what the machine allows.
//!
//! A case is a prompt's length, a depth (positions filled with random keys and values before the prompt) and
//! a number of sequences. Each is measured `--repeat` times, all cases in turn, and before and after every
//! run the machine itself: what its threads read from memory and how many multiply-adds its tiles do. So
//! every figure stands beside its ceiling of the same minutes, and the share of it is what to quote: absolute
//! figures move with the machine and its neighbours. Medians are printed, with the slowest and the fastest
//! run. A case that fails, for want of memory on a card for one, is told, and the others go on.
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
use gptoss_model::{AdapterId, Model};

use crate::args::BenchArgs;
use crate::failure::usage;
use crate::machine;
use crate::model_source::Opened;
use crate::offer;

use ceiling::Ceiling;
use measure::{Case, Starts};
use report::{Conditions, Measured};

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let opened = offer::opened(&args.model)?.with_adapter(args.adapter.as_deref())?;
    let cases = cases(args, &opened)?;
    let load_average = system::load_average();
    let mut ceiling = Ceiling::new();
    let context = cases.iter().map(Case::context).max().unwrap_or(1);
    let (model, starts) = Starts::measure(args, &opened, context)?;
    measure::warm_up(&model, opened.adapter())?;
    let conditions = Conditions::new(args, &opened, &model, starts, load_average)?;
    let mut measured: Vec<Measured> = cases.iter().map(|case| Measured::new(*case)).collect();
    let mut is_whole = true;
    for repeat in 0..args.repeat {
        for measured in &mut measured {
            match run_once((&model, opened.adapter()), &mut ceiling, measured, repeat) {
                Ok(()) => say(&format!("{measured}, run {} of {}", repeat + 1, args.repeat)),
                Err(error) => {
                    // The others may fit the machine.
                    say(&format!(
                        "{}, run {} of {}: failed: {error:#}",
                        measured.case,
                        repeat + 1,
                        args.repeat
                    ));
                    is_whole = false;
                }
            }
            let is_over = repeat + 1 == args.repeat && measured.has_runs();
            if let Some(rows) = args.rows.as_deref().filter(|_| is_over) {
                report::append(rows, &conditions, measured)?;
            }
        }
    }
    measured.retain(Measured::has_runs);
    report::print(args, &conditions, &measured)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One run of a case, with the machine's rates before and after it.
fn run_once(
    (model, adapter): (&Model, Option<AdapterId>),
    ceiling: &mut Ceiling,
    measured: &mut Measured,
    repeat: u32,
) -> Result<()> {
    let before = ceiling.measure(model)?;
    let speeds = measure::run_case((model, adapter), &measured.case, u64::from(repeat))?;
    measured.add([before, ceiling.measure(model)?], speeds);
    measured.peak_resident_bytes =
        machine::peak_bytes().map(|bytes| bytes.saturating_sub(ceiling.num_bytes()));
    Ok(())
}

/// Progress, a line a step, on standard error.
fn say(line: &str) {
    eprintln!("bench: {}", crate::terminal::safe(line));
}

/// Those that are named, or every prompt's length with every depth and every number of sequences.
///
/// Errors: usage, when one does not fit the model's context or measures nothing.
fn cases(args: &BenchArgs, opened: &Opened) -> Result<Vec<Case>> {
    let context_max = opened.checkpoint.config().max_position_embeddings;
    let mut sizes = args.cases.clone();
    if sizes.is_empty() {
        for &prefill in &args.prefill {
            for &depth in &args.depth {
                sizes.extend(args.batch.iter().map(|&batch| [prefill, depth, batch]));
            }
        }
    }
    let case = |sizes: [u32; 3]| {
        let [prefill, depth, batch] = sizes.map(|n| n as usize);
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
        Ok(case)
    };
    sizes.into_iter().map(case).collect()
}
