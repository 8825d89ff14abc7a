//! A command of the model's, in a cell that shows one folder of the user's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ToolReply;
use crate::cell::{Bind, Cell, CellError, End, Program};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A line for `sh`.
    Text(String),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code; 128 and its number for a signal, as a shell has it.
    Exit(i32),
    /// Its time was over.
    Timeout,
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellOutput {
    /// What it wrote, with a line in place of what was left out.
    pub stdout: String,
    /// The same of its errors.
    pub stderr: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl From<ShellOutput> for ToolReply {
    fn from(output: ShellOutput) -> Self {
        let ShellOutput { stdout, stderr, outcome } = output;
        let end = match outcome {
            Outcome::Exit(0) => String::new(),
            Outcome::Exit(code) => format!("[exit code {code}]\n"),
            Outcome::Timeout => "[the command ran longer than it may and was killed]\n".to_owned(),
        };
        let mut text = String::new();
        for part in [stdout, stderr, end] {
            if !text.is_empty() && !text.ends_with('\n') && !part.is_empty() {
                text.push('\n');
            }
            text += &part;
        }
        if text.is_empty() {
            text = "[no output]".to_owned();
        }
        Self { text, is_error: outcome != Outcome::Exit(0), ..Self::default() }
    }
}

/// Runs commands, each in a cell of its own, in a folder that they all share.
///
/// What lies in the folder is theirs, sockets that somebody listens at included.
#[derive(Debug, Clone)]
pub struct Shell {
    cell: Cell,
    workspace: PathBuf,
}

impl Shell {
    /// A shell in a folder, which commands see at its own path and may write to.
    pub fn new(mut cell: Cell, workspace: &Path) -> Result<Self, CellError> {
        let workspace = workspace
            .canonicalize()
            .map_err(|error| CellError::Bind { path: workspace.into(), why: error.to_string() })?;
        cell.binds.push(Bind::writable(&workspace));
        // Told now and not at the first command.
        cell.check()?;
        Ok(Self { cell, workspace })
    }

    /// Runs a command, within `time` if that is less than the cell allows.
    pub async fn run(&self, command: &Command, time: Option<Duration>) -> Result<ShellOutput, CellError> {
        let argv = match command {
            Command::Argv(argv) => argv.clone(),
            Command::Text(text) => vec!["sh".to_owned(), "-c".to_owned(), text.clone()],
        };
        let mut cell = self.cell.clone();
        cell.limits.time = time.map_or(cell.limits.time, |time| time.min(cell.limits.time));
        let program = Program { argv, folder: Some(self.workspace.clone()), env: Vec::new() };
        let ran = match cell.run(&program, b"").await {
            Ok(ran) => ran,
            // As a shell answers, so that the model reads it.
            Err(CellError::Program { program, why }) => {
                let (stdout, stderr) = (String::new(), format!("{program}: {why}\n"));
                return Ok(ShellOutput { stdout, stderr, outcome: Outcome::Exit(127) });
            }
            Err(error) => return Err(error),
        };
        let (outcome, note) = match ran.end {
            End::Exited(code) => (Outcome::Exit(code), String::new()),
            End::Signaled(signal) => (Outcome::Exit(128 + signal), String::new()),
            End::OutOfTime => (Outcome::Timeout, String::new()),
            End::OutOfMemory | End::TooManyProcesses => (Outcome::Exit(137), cell.limits.exceeded(ran.end)),
        };
        Ok(ShellOutput { stdout: ran.stdout.text(), stderr: ran.stderr.text() + &note, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_holds_both_streams_and_how_it_ended() {
        let reply = |stdout: &str, stderr: &str, outcome| {
            ToolReply::from(ShellOutput { stdout: stdout.into(), stderr: stderr.into(), outcome })
        };
        assert_eq!(reply("a\n", "", Outcome::Exit(0)), ToolReply::text("a\n"));
        assert_eq!(reply("a", "b", Outcome::Exit(3)), ToolReply::error("a\nb\n[exit code 3]\n"));
        assert_eq!(reply("", "", Outcome::Exit(0)), ToolReply::text("[no output]"));
        assert!(reply("", "", Outcome::Timeout).text.contains("longer than it may"));
    }
}
