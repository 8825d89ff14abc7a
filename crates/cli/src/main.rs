//! The `gptoss` binary: from the command line to a room and back to the terminal.
//!
//! The only reader of argv and of the environment, and the place where the rooms are put together. One file per command; `args.rs` is
//! what the user wrote, and each command turns it into what the rooms take. `model_source.rs` is the one place where a `--model` value
//! becomes a checkpoint and a vocabulary. Results go to standard output, everything else to standard error; exit codes are 0, 1 for
//! errors and 2 for a command line that cannot be carried out (see `failure.rs`).

mod args;
mod failure;
mod input;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    failure::report(&failure::usage(format!("not built yet: {:?}", cli.command)))
}
