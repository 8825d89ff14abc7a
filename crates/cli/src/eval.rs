//! `gptoss eval`: how good is a model, and how sure are we?
//!
//! The questions, keys and scorers are the room `eval`'s. Here are the files (`score.rs`, `questions.rs`),
//! how a question is put (`manner.rs`), who answers (`answerer.rs`, `address.rs`, `repairer.rs` in
//! `repositories.rs`), whose tests judge (`repository_tests.rs`), the walk over the questions (`walk.rs`),
//! what is kept of it (`journal.rs`, `run_record.rs`), and what is made of that: `report.rs`, `html.rs`,
//! `inspect_log.rs`, `harness.rs`, `compare.rs`.

mod address;
mod answerer;
mod compare;
mod digest;
mod folder;
mod harness;
mod html;
mod inspect_log;
mod journal;
mod leg;
mod manner;
mod plot;
mod questions;
mod repairer;
mod report;
mod repositories;
mod repository_tests;
mod run;
mod run_record;
mod sample;
mod score;
mod table;
mod walk;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{EvalArgs, EvalCommand};

/// Runs the command.
pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    match &args.command {
        Some(EvalCommand::Score(args)) => score::run(args),
        Some(EvalCommand::Compare(args)) => compare::run(args),
        None => run::run(&args.run),
    }
}
