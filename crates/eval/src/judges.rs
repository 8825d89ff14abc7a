//! What judging needs that this room does not have.

/// Runs a Python program for at most so many seconds.
pub type RunProgram<'a> = dyn Fn(&str, u32) -> ProgramEnd + Sync + 'a;
/// Asks a grader's model one prompt.
pub type AskGrader<'a> = dyn Fn(&str) -> Result<String, String> + Sync + 'a;

/// What judging needs that this room does not have: neither is asked by a task that has no use for it.
#[derive(Clone, Copy, Default)]
pub struct Judges<'a> {
    /// Runs programs, in a cell.
    pub run: Option<&'a RunProgram<'a>>,
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
