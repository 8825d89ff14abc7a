//! Python programs of a model's, each run alone in a cell.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use gptoss_tools::Interpreter;
use gptoss_tools::cell::{Cell, CellError, End, Program, Ran};

use crate::ProgramEnd;

/// Memory that a program may hold. Units: bytes.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Processes and threads of a program.
pub const PROCESSES_MAX: u64 = 32;
/// What is told of a program that failed. Units: characters.
const DETAIL_CHARS_MAX: usize = 400;

/// Runs the program that it reads, as a module without a name, and says so when that has come to its end.
const DRIVER: &str = "import sys\nmark, code = sys.stdin.read().split('\\n', 1)\n\
                      exec(compile(code, 'program', 'exec'), {})\n\
                      sys.stdout.flush()\nprint('\\n' + mark, flush=True)\n";

/// Walls and a Python within them, for programs one after another or at once.
#[derive(Debug, Clone)]
pub struct Programs {
    cell: Cell,
    interpreter: Interpreter,
}

impl Programs {
    /// With the limits of this module in the place of the cell's.
    pub fn new(mut cell: Cell, interpreter: Interpreter) -> Self {
        cell.binds.extend(interpreter.binds());
        cell.limits.memory_bytes = MEMORY_BYTES_MAX;
        cell.limits.processes = PROCESSES_MAX;
        Self { cell, interpreter }
    }

    /// Runs a program for at most so many seconds. It passes when it comes to its end, not when it exits.
    pub fn run(&self, program: &str, seconds: u32) -> ProgramEnd {
        let random = || RandomState::new().build_hasher().finish();
        let mark = format!("{:016x}{:016x}", random(), random());
        match self.run_marked(program, seconds, &mark) {
            Err(error) => ProgramEnd::NotRun(error.to_string()),
            Ok(Ran { end: End::OutOfTime, .. }) => ProgramEnd::TimedOut,
            Ok(Ran { end: End::Exited(0), stdout, .. }) if stdout.text().trim_end().ends_with(&mark) => {
                ProgramEnd::Passed
            }
            Ok(Ran { end, stderr, .. }) => ProgramEnd::Failed(self.why(end, &stderr.text())),
        }
    }

    fn run_marked(&self, program: &str, seconds: u32, mark: &str) -> Result<Ran, CellError> {
        let mut cell = self.cell.clone();
        cell.limits.time = Duration::from_secs(seconds.into());
        let argv = [self.interpreter.path.display().to_string(), "-I".into(), "-c".into(), DRIVER.into()];
        let order = Program { argv: argv.into(), ..Program::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map_err(|_| CellError::Lost)?
            .block_on(cell.run(&order, format!("{mark}\n{program}").as_bytes()))
    }

    /// The last of what it said, and the limit that ended it.
    fn why(&self, end: End, stderr: &str) -> String {
        let limit = self.cell.limits.exceeded(end);
        let said = stderr.trim_end();
        let from = said.char_indices().rev().nth(DETAIL_CHARS_MAX - 1).map_or(0, |(at, _)| at);
        match (limit.trim_end(), &said[from..]) {
            ("", "") => format!("it ended before its tests did: {end:?}"),
            ("", said) => said.to_owned(),
            (limit, _) => limit.to_owned(),
        }
    }
}
