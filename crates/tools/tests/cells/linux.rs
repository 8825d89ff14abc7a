//! The main of the tests, which is the launcher of their cells too, and what they share.

use std::process::ExitCode;

use gptoss_tools::cell::{Cell, Launcher, Wall, launch_without};
use gptoss_tools::{Interpreter, Places};
use libtest_mimic::{Arguments, Trial};

use crate::{escapes, runs, tools};

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    // A launcher's second argument names the wall that it leaves out. The product has no such argument.
    let without: Option<Wall> =
        args.get(1).and_then(|name| serde_json::from_value(name.to_str()?.into()).ok());
    if let Some(code) = launch_without(args, without) {
        return code;
    }
    let trials = [runs::trials(), tools::trials(), escapes::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A cell of this program's.
pub fn cell() -> Cell {
    Cell::stand_by(Launcher::own(), None).unwrap_or_else(|error| panic!("{error}"))
}

/// The Python of this machine.
#[expect(clippy::disallowed_methods, reason = "a program of its own reads its environment")]
pub fn interpreter() -> Interpreter {
    let path = std::env::var_os("PATH").expect("a path of programs");
    let folders = std::env::split_paths(&path).collect();
    Interpreter::find(&Places { folders, ..Places::default() }).unwrap_or_else(|error| panic!("{error}"))
}

/// A test that waits.
pub fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}
