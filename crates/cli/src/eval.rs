//! `gptoss eval`: how good is a model, and how sure are we?

mod score;
mod table;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{EvalArgs, EvalCommand};

/// Runs the command.
pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    match &args.command {
        EvalCommand::Score(args) => score::run(args),
    }
}
