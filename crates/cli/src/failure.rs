//! Errors as the user sees them, and the exit code.
//!
//! Every command returns `anyhow::Result<ExitCode>`; [`report`] turns an error into the one form all of them
//! share, on standard error: the outermost sentence after `error:`, then each cause on a line of its own,
//! indented. Two kinds of error are special. [`Usage`] marks what the caller wrote wrongly on the command
//! line and ends with 2, as clap does for unknown flags; everything else ends with 1. A broken pipe (`gptoss
//! tokenize ... | head`) is the reader's decision and no error at all.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::terminal;

/// Exit code for a command line that cannot be carried out as written; clap uses the same.
const USAGE: u8 = 2;

/// What was wrong with the command line, in a sentence that also says what would be right. Ends the program
/// with 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A [`Usage`] error in the shape commands return.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Prints the error and gives the exit code that belongs to it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // Standard error may be closed as well; then there is nobody left to tell.
    let _ = io::stderr().write_all(describe(error).as_bytes());
    match error.chain().any(|cause| cause.is::<Usage>()) {
        true => ExitCode::from(USAGE),
        false => ExitCode::FAILURE,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    };
    error.chain().any(io_error)
}

/// The error as printed: causes that the sentence above already quotes are not said twice, and names from
/// files and servers cannot command the terminal.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut above = String::new();
    for cause in error.chain() {
        let sentence = cause.to_string();
        if !above.is_empty() && above.contains(&sentence) {
            continue;
        }
        let lines = sentence.lines().enumerate().map(|(index, line)| match (above.is_empty(), index) {
            (true, 0) => format!("error: {line}\n"),
            _ => format!("  {line}\n"),
        });
        text.extend(lines);
        above = sentence;
    }
    terminal::safe(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn check(error: anyhow::Error, expect: &str) {
        assert_eq!(describe(&error), expect);
    }

    #[test]
    fn causes_follow_indented_and_are_not_repeated() {
        check(usage("no such preset"), "error: no such preset\n");
        check(anyhow::anyhow!("a\nb"), "error: a\n  b\n");
        let nested = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x");
        check(nested.unwrap_err(), "error: cannot write x\n  disk full\n");
        let quoted = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x: disk full");
        check(quoted.unwrap_err(), "error: cannot write x: disk full\n");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        check(anyhow::anyhow!("no tensor a\x1b[2Jb\r"), "error: no tensor a\u{fffd}[2Jb\u{fffd}\n");
    }

    #[test]
    fn a_broken_pipe_is_found_below_context() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(pipe).context("writing")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
