//! Tests of a repository, with a patch, in a cell.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use gptoss_eval::swe_bench::{TestLog, files_of, test_files};
use gptoss_eval::{PatchKey, TestsEnd};
use gptoss_tools::cell::{Bind, Cell, Launcher};
use gptoss_tools::{Command, Outcome, Shell, ShellOutput};

use super::repositories::Repositories;
use crate::args::RepositoryArgs;

/// Memory of all processes of the tests of one patch. Units: bytes.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// What is kept of each of their two streams. Units: bytes.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Repositories whose tests can be run.
pub struct RepositoryTests {
    repositories: Repositories,
    cell: Cell,
    log: TestLog,
    command: String,
    time: Duration,
}

impl RepositoryTests {
    /// With walls around the tests.
    ///
    /// Errors: no repositories, no git, no walls.
    pub fn open(args: &RepositoryArgs) -> Result<RepositoryTests> {
        let mut cell = cell(args)?;
        cell.limits.time = args.test_time;
        cell.limits.memory_bytes = MEMORY_BYTES_MAX;
        cell.limits.output_bytes = LOG_BYTES_MAX;
        Ok(RepositoryTests {
            repositories: Repositories::open(args.repositories.as_deref())?,
            cell,
            log: args.tests.log(),
            command: args.test_command.clone().unwrap_or_else(|| args.tests.command().to_owned()),
            time: args.test_time,
        })
    }

    /// Applies a patch and the tests' own, and runs the tests.
    pub fn run(&self, key: &PatchKey, patch: &str) -> TestsEnd {
        self.try_run(key, patch).unwrap_or_else(|error| TestsEnd::NotRun(format!("{error:#}")))
    }

    fn try_run(&self, key: &PatchKey, patch: &str) -> Result<TestsEnd> {
        let checkout = self.repositories.check_out(&key.repository, &key.base_commit)?;
        if let Err(why) = checkout.apply(patch) {
            return Ok(TestsEnd::NoPatch(why));
        }
        // What a patch does to these files does not count.
        checkout.restore(&files_of(&key.test_patch))?;
        checkout
            .apply(&key.test_patch)
            .map_err(|why| anyhow!(why))
            .context("the patch of the tests does not apply")?;
        let files = test_files(&key.test_patch);
        let line = [self.command.clone()].into_iter().chain(files.iter().map(|file| quoted(file)));
        let command = Command::Text(line.collect::<Vec<_>>().join(" "));
        let shell = Shell::new(self.cell.clone(), checkout.files())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ShellOutput { stdout, stderr, outcome } =
            runtime.block_on(shell.run(&command, Some(self.time)))?;
        let log = format!("{stdout}\n{stderr}");
        let code = match outcome {
            Outcome::Exit(code) => Some(code),
            Outcome::Timeout => None,
        };
        Ok(TestsEnd::Ran { statuses: self.log.read(&log), code, log })
    }
}

/// Walls, with what may be read within them.
///
/// Errors: none stand here; a folder that is not there.
pub fn cell(args: &RepositoryArgs) -> Result<Cell> {
    let mut cell =
        Cell::stand(Launcher::own()).context("programs of a repository are run in a cell alone")?;
    for folder in &args.show {
        let folder =
            folder.canonicalize().with_context(|| format!("--show {}: cannot be read", folder.display()))?;
        cell.binds.push(Bind::read_only(folder));
    }
    Ok(cell)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
