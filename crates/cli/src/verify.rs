//! `gptoss verify`: is this the model, and does this build compute it?
//!
//! One page, a line a question, each `ok`, `warn` (nothing to compare with) or `fail` with the reason: the
//! files, the vocabulary, the kernels that are chosen on this machine, the known answers of gpt-oss-20b, the
//! turns that the model writes without a grammar, and with `--lengths` how long its answers are. Nothing asks
//! the network. The exit code is 1 when a line fails.

mod answers;
mod files;
mod kernels;
mod lengths;
mod published;
mod sums;
mod tokens;
mod turns;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::args::VerifyArgs;
use crate::finding::{Finding, Level, worst, write_lines};
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::offer;

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let opened = offer::opened(&args.model)?;
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let mut findings = files::findings(&opened)?;
    findings.push(kernels::finding(args.compute.threads)?);
    match opened.vocab() {
        Err(error) => findings.push(Finding::of_error("vocabulary", &error)),
        Ok(vocab) => {
            findings.push(tokens::finding(&opened, &vocab));
            findings.extend(answers::finding(&opened, &vocab, &args.compute)?);
            let sampled = interrupt.stoppable(|cancel| -> Result<Option<Vec<Finding>>> {
                let mut found = Vec::new();
                if args.turns > 0 {
                    let Some(one) = turns::finding(&opened, &vocab, args, cancel)? else { return Ok(None) };
                    found.push(one);
                }
                if let Some(file) = &args.lengths {
                    let Some(one) = lengths::finding(&opened, &vocab, file, &args.compute, cancel)? else {
                        return Ok(None);
                    };
                    found.push(one);
                }
                Ok(Some(found))
            })?;
            let Some(sampled) = sampled else { return Ok(ExitCode::from(EXIT_INTERRUPTED)) };
            findings.extend(sampled);
        }
    }
    let mut out = io::stdout().lock();
    let is_right = worst(&findings) != Level::Fail;
    match args.json {
        true => {
            let lines: Vec<_> = findings.iter().map(Finding::to_json).collect();
            let object = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "model": opened.source.name(),
                "is_verified": is_right,
                "findings": lines,
            });
            writeln!(out, "{object:#}")?;
        }
        false => {
            write_lines(&mut out, &findings)?;
            let verdict = if is_right { "passed" } else { "failed" };
            writeln!(out, "\n{}: {verdict}", opened.source.name())?;
        }
    }
    out.flush()?;
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
