//! What judging needs that this room does not have.

use std::collections::BTreeMap;

use crate::PatchKey;

/// Runs a Python program for at most so many seconds.
pub type RunProgram<'a> = dyn Fn(&str, u32) -> ProgramEnd + Sync + 'a;
/// Asks a grader's model one prompt.
pub type AskGrader<'a> = dyn Fn(&str) -> Result<String, String> + Sync + 'a;

/// Applies a patch to its repository and runs the tests.
pub type RunTests<'a> = dyn Fn(&PatchKey, &str) -> TestsEnd + Sync + 'a;

/// What judging needs that this room does not have: none is asked by a task that has no use for it.
#[derive(Clone, Copy, Default)]
pub struct Judges<'a> {
    /// Runs programs, in a cell.
    pub run: Option<&'a RunProgram<'a>>,
    /// Runs the tests of repositories, in a cell.
    pub test: Option<&'a RunTests<'a>>,
    /// Asks a grader.
    pub grade: Option<&'a AskGrader<'a>>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With 0.
    Passed,
    /// In another way; the last of what it said.
    Failed(String),
    /// After its time.
    TimedOut,
    /// It could not be run.
    NotRun(String),
}

/// What came of a patch and its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestsEnd {
    /// They ran.
    Ran {
        /// What became of each test that the log names.
        statuses: BTreeMap<String, TestStatus>,
        /// How the command ended; None at the end of its time.
        code: Option<i32>,
        /// What the tests said.
        log: String,
    },
    /// The patch does not apply to the repository, and why.
    NoPatch(String),
    /// They could not be run.
    NotRun(String),
}

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestStatus {
    /// It passed, or failed as it was to.
    Passed,
    /// It failed, or broke.
    Failed,
    /// It was not run.
    Skipped,
}
