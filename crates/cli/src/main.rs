//! The `gptoss` binary: from the command line to a room and back to the terminal.
//!
//! The only reader of argv and of the environment, and the place where the rooms are put together. One file
//! per command; `args.rs` is what the user wrote, and each command turns it into what the rooms take.
//! `model_source.rs` is the one place where a `--model` value becomes a checkpoint and a vocabulary. Results
//! go to standard output, everything else to standard error; exit codes are 0, 1 for errors and 2 for a
//! command line that cannot be carried out (see `failure.rs`).

#![expect(clippy::disallowed_methods, reason = "this crate is the only reader of arguments and environment")]

mod adapter;
mod agent;
mod air_gap;
mod args;
mod audit;
mod audit_forward;
mod batch;
mod bench;
mod browser;
mod card_kv;
mod cells;
mod chart;
mod chat;
mod checks;
mod config;
mod config_check;
mod cost;
mod crash;
mod dataset;
mod demo;
mod device;
mod doctor;
mod engine_start;
mod eval;
mod failure;
mod finding;
mod functions;
mod generation;
mod generation_config;
mod gguf_files;
mod hub;
mod input;
mod inspect;
mod interrupt;
mod key;
mod kv_events;
mod last_used;
mod launch;
mod list;
mod load;
mod machine;
mod mcp;
mod memory_budget;
mod model_source;
mod named_model;
mod offer;
mod ollama;
mod opened_adapter;
mod otlp;
mod output;
mod packaging;
mod parse;
mod plan;
mod policy;
mod printer;
mod probe;
mod progress;
mod prompt_folder;
mod proof;
mod proxy;
mod pull;
mod pulled;
mod redact;
mod reload;
mod remove;
mod render;
mod route;
mod router_folder;
mod rules_file;
mod run;
mod safety;
mod sampled_turns;
mod score;
mod serve;
mod serve_log;
mod served_filter;
mod served_gateway;
mod served_guard;
mod served_models;
mod served_rules;
mod served_tls;
mod served_tools;
mod served_worker;
mod show;
mod state_folder;
mod supervisor;
mod synth;
mod terminal;
mod today;
mod tokenize;
mod train;
mod verify;

use std::process::ExitCode;

use crate::args::Command;

fn main() -> ExitCode {
    // The launcher of a cell has one thread, and nothing of the program's.
    if let Some(code) = gptoss_tools::cell::launch(std::env::args_os().skip(1)) {
        return code;
    }
    #[cfg(feature = "wasm")]
    if let Some(code) = gptoss_tools::run_wasm_python(std::env::args_os().skip(1)) {
        return code;
    }
    gptoss_checkpoint::install_bus_error_handler();
    let cli = match config::parse() {
        Ok(cli) => cli,
        Err(error) => return failure::report(&error),
    };
    if let Err(error) = air_gap::begin(&cli) {
        return failure::report(&error);
    }
    let ended = match &cli.command {
        Command::Chat(args) => chat::run(args),
        Command::Run(args) => run::run(args),
        Command::Agent(args) => agent::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Score(args) => score::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Batch(args) => batch::run(args),
        Command::Pull(args) => pull::run(args),
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Rm(args) => remove::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Dataset(args) => dataset::run(args),
        Command::Train(args) => train::run(args),
        Command::Adapter(args) => adapter::run(args),
        Command::Safety(args) => safety::run(args),
        Command::Redact(args) => redact::run(args),
        Command::Render(args) => render::run(args),
        Command::Parse(args) => parse::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Load(args) => load::run(args),
        Command::Cost(args) => cost::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Key(args) => key::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Route(args) => route::run(args),
        Command::Launch(args) => launch::run(args),
        Command::Mcp(args) => mcp::run(args),
        Command::Config(args) => config_check::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Completions(args) => packaging::completions(args),
        Command::Manual(args) => packaging::manual(args),
        Command::Probe(args) => probe::run(args),
    };
    ended.unwrap_or_else(|error| failure::report(&error))
}
