//! What runs in a cell, what it sees of the machine, and how it ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program and what it is started with. Nothing of our own environment is handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name or path within the cell, and its arguments.
    pub argv: Vec<String>,
    /// Variables beside `PATH`, `HOME`, `TMPDIR`, `LANG` and `USER`, which every cell has.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/mnt/data` if nothing is said.
    pub folder: Option<PathBuf>,
}

/// A folder or a file of the machine that a cell shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it lies on the machine.
    pub outside: PathBuf,
    /// Where the cell shows it.
    pub inside: PathBuf,
    /// Whether programs may write to it.
    pub writable: bool,
}

impl Bind {
    /// Shown at its own path, to be read.
    pub fn read_only(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { outside: path.clone(), inside: path, writable: false }
    }

    /// Shown at its own path, to be read and written.
    pub fn writable(path: impl Into<PathBuf>) -> Self {
        Self { writable: true, ..Self::read_only(path) }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It ended by itself, with this exit code.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// It ran longer than its time.
    OutOfTime,
    /// Its processes together held more memory than they may.
    OutOfMemory,
    /// There were more processes than may be.
    TooManyProcesses,
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// What it wrote to its standard output.
    pub stdout: Output,
    /// What it wrote to its standard error.
    pub stderr: Output,
}

/// What was kept of a stream: all of it, or its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The beginning.
    pub head: Vec<u8>,
    /// The end, where something was left out before it.
    pub tail: Vec<u8>,
    /// Bytes that were left out between the two.
    pub num_left_out: u64,
}

impl Output {
    /// As text, with a line in place of what was left out.
    pub fn text(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        if self.num_left_out == 0 {
            return head.into_owned();
        }
        let tail = String::from_utf8_lossy(&self.tail);
        format!("{head}\n[... {} bytes left out ...]\n{tail}", self.num_left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said_in_its_place() {
        let whole = Output { head: b"all".into(), ..Output::default() };
        assert_eq!(whole.text(), "all");
        let cut = Output { head: b"a".into(), tail: b"z\xff".into(), num_left_out: 7 };
        assert_eq!(cut.text(), "a\n[... 7 bytes left out ...]\nz\u{fffd}");
    }
}
