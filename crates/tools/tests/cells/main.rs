//! Cells as a host sees them: what a program gets, what it cannot reach, and what each wall holds.
//!
//! The target has a main of its own, because it is the launcher of its cells too.

mod runs;

use std::process::ExitCode;

use gptoss_tools::cell::{Cell, Launcher, launch};
use libtest_mimic::{Arguments, Trial};

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]
fn main() -> ExitCode {
    if let Some(code) = launch(std::env::args_os().skip(1)) {
        return code;
    }
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(runs::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A cell of this program's.
fn cell() -> Cell {
    Cell::stand(Launcher::own()).unwrap_or_else(|error| panic!("{error}"))
}

/// A test that waits.
fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}
