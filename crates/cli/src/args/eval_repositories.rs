//! Flags for repositories, what may be done in them, and their tests.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gptoss_eval::swe_bench::TestLog;

use super::load::time;

/// Flags for repositories and their tests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repositories (swe-bench)")]
pub struct RepositoryArgs {
    /// Folder with a clone of each repository: OWNER/NAME, OWNER__NAME or NAME in it, also with `.git`
    #[arg(long, value_name = "DIR")]
    pub repositories: Option<PathBuf>,
    /// Who runs the tests
    #[arg(long, value_enum, default_value_t = TestRunner::Pytest, value_name = "RUNNER")]
    pub tests: TestRunner,
    /// The command that does, in the repository's folder and behind walls; the files of tests are put behind
    /// it [default: `python3 -m pytest -rA`, `python3 -m unittest -v`]
    #[arg(long, value_name = "COMMAND")]
    pub test_command: Option<String>,
    /// How long the tests of one patch may run
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub test_time: Duration,
    /// A folder that tests and the model's commands may read besides the system's, such as a virtual
    /// environment; several times for several
    #[arg(long, value_name = "DIR")]
    pub show: Vec<PathBuf>,
}

/// Flags for how long a model works on a repository.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repositories (swe-bench)")]
pub struct WorkArgs {
    /// Most turns of the model for an issue
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_steps: u32,
    /// Most time for an issue, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub max_time: Option<Duration>,
}

/// Who runs the tests of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestRunner {
    /// pytest, whose names of tests are `FILE::TEST`
    Pytest,
    /// unittest, or Django's runner, whose names are `TEST (MODULE.CLASS)`
    Unittest,
}

impl TestRunner {
    /// Whose words its log is in.
    pub fn log(self) -> TestLog {
        match self {
            TestRunner::Pytest => TestLog::Pytest,
            TestRunner::Unittest => TestLog::Unittest,
        }
    }

    /// The command where none is given.
    pub fn command(self) -> &'static str {
        match self {
            TestRunner::Pytest => "python3 -m pytest -rA",
            TestRunner::Unittest => "python3 -m unittest -v",
        }
    }
}
