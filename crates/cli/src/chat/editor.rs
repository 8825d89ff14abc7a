//! Lines that the user types.
//!
//! On a terminal a line editor with history: arrows and the usual keys, search with Ctrl-R, a pasted text of
//! several lines is one line to it. The history lives in the user's state folder (`XDG_STATE_HOME`, else
//! `~/.local/state`); if it cannot be read or written, the chat goes on without. Anywhere else lines are read
//! as they come, and bytes that are not UTF-8 are an error with their place.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use crate::{input, state_folder};

/// Lines that are remembered.
const HISTORY_LINES_MAX: usize = 1_000;

/// What came from the user.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line, or several pasted at once.
    Line(String),
    /// Ctrl-C: the line was thrown away.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Where lines come from.
pub enum Editor {
    /// A terminal, with the history's file.
    Terminal(Box<rustyline::Editor<(), FileHistory>>, Option<PathBuf>),
    /// A pipe or a file, with the number of the last line.
    Pipe(io::BufReader<io::Stdin>, u64),
}

impl Editor {
    /// Looks at what standard input is.
    pub fn open(keeps_history: bool) -> Result<Editor> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(Editor::Pipe(io::BufReader::new(io::stdin()), 0));
        }
        let config =
            rustyline::Config::builder().max_history_size(HISTORY_LINES_MAX)?.auto_add_history(false).build();
        let mut editor = rustyline::Editor::with_config(config).context("the terminal cannot be used")?;
        let file = if keeps_history { history_file() } else { None };
        if let Some(file) = &file {
            // There is none yet, or it cannot be read: the chat begins with an empty one.
            let _ = editor.load_history(file);
        }
        Ok(Editor::Terminal(Box::new(editor), file))
    }

    /// Sets the next prompt off from what was said; a pipe has no prompt.
    pub fn leave_a_line(&self) -> io::Result<()> {
        match self {
            Editor::Terminal(..) => writeln!(io::stdout()),
            Editor::Pipe(..) => Ok(()),
        }
    }

    /// Reads a line; the prompt is shown on a terminal only.
    pub fn read(&mut self, prompt: &str) -> Result<Typed> {
        match self {
            Editor::Terminal(editor, history) => loop {
                match editor.readline(prompt) {
                    Ok(line) => {
                        remember(editor, history, &line);
                        return Ok(Typed::Line(line));
                    }
                    Err(ReadlineError::Interrupted) => return Ok(Typed::Interrupted),
                    Err(ReadlineError::Eof) => return Ok(Typed::End),
                    // The window has changed its size.
                    Err(ReadlineError::Signal(_)) => {}
                    Err(error) => return Err(error).context("cannot read from the terminal"),
                }
            },
            Editor::Pipe(reader, number) => {
                *number += 1;
                if io::stdin().is_terminal() {
                    // Only the output is a pipe: the person at the keyboard still needs to know whose turn it
                    // is.
                    write!(io::stderr(), "{prompt}")?;
                }
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
                    return Ok(Typed::End);
                }
                let line = input::into_text(line, &format!("line {number} of standard input"))?;
                Ok(Typed::Line(line.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }
}

/// Adds a line to the history; a history that cannot be kept is no reason to stop.
fn remember(editor: &mut rustyline::Editor<(), FileHistory>, history: &mut Option<PathBuf>, line: &str) {
    if line.trim().is_empty() || !editor.add_history_entry(line).unwrap_or(false) {
        return;
    }
    let kept = history.as_ref().is_none_or(|file| editor.append_history(file).is_ok());
    if !kept {
        *history = None;
    }
}

/// The file of the history.
fn history_file() -> Option<PathBuf> {
    Some(state_folder::made()?.join("chat_history"))
}
