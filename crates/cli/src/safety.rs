//! `gptoss safety`: does a model keep to what it should, and does it still after tuning?
//!
//! [`suite`] tries one model against the hierarchy's trials, [`compare`] a model before and after tuning on
//! the same prompts with the same draws. Turns are written without a grammar ([`sampler`]), so that they also
//! say whether the format holds, and judged by strings alone.

mod asked;
mod compare;
mod pair;
mod sampler;
mod suite;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{SafetyArgs, SafetyCommand};

/// Runs the command; a comparison ends with 3 where more was lost than a bound, and both end with 130 after
/// Ctrl-C.
pub fn run(args: &SafetyArgs) -> Result<ExitCode> {
    match &args.command {
        SafetyCommand::Suite(args) => suite::run(args),
        SafetyCommand::Compare(args) => compare::run(args),
    }
}
