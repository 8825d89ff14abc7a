//! How a turn is printed: the answer on standard output, all else on standard error.

use std::io::{self, IsTerminal, Write};

use gptoss_turn::{Channel, Delta, TurnEvent};

use crate::progress::{Progress, Unit};
use crate::terminal::{self, Style};

/// What of a turn is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The reasoning.
    pub reasoning: bool,
    /// Answer, preamble and warnings.
    pub said: bool,
    /// Calls, as a result of their own.
    pub calls: bool,
}

/// Shows a turn while it runs.
pub struct Printer {
    shown: Shown,
    progress: Progress,
    style: Style,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// Whether reasoning has been shown: without color it begins with a word.
    is_thinking: bool,
    /// Whether the last byte on this stream left a line open.
    open_line: Option<Stream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Printer {
    /// For what is about to be said.
    pub fn new(shown: Shown) -> Printer {
        let stderr_is_terminal = io::stderr().is_terminal();
        Printer {
            shown,
            progress: Progress::new("reading the prompt", Unit::Tokens),
            style: Style::of(&io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal,
            is_thinking: false,
            open_line: None,
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: TurnEvent) -> io::Result<()> {
        let delta = match event {
            TurnEvent::Prefill { done, total } => {
                self.progress.set(done as u64, total as u64);
                return Ok(());
            }
            TurnEvent::Delta(delta) => delta,
            // Whoever takes the turn has the end.
            TurnEvent::Finished(_) | TurnEvent::Failed(_) => return Ok(()),
        };
        self.progress.clear();
        match delta {
            Delta::Text { channel: Channel::Analysis, text, .. } if self.shown.reasoning => {
                let dim = self.style.dim;
                let label = if self.is_thinking || self.style.has_color() { "" } else { "thinking: " };
                self.is_thinking = true;
                let text = format!("{dim}{label}{}{dim:#}", self.for_stderr(&text));
                self.write(Stream::Err, &text)
            }
            Delta::Text { channel: Channel::Commentary, text, .. } if self.shown.said => {
                let text = self.for_stderr(&text);
                self.write(Stream::Err, &text)
            }
            Delta::Text { channel: Channel::Final, text, .. } if self.shown.said => {
                let text = if self.stdout_is_terminal { terminal::safe(&text) } else { text };
                self.write(Stream::Out, &text)
            }
            Delta::Called(call) if self.shown.calls => {
                self.end_line()?;
                let line = format!("call {} {}\n", call.name, call.arguments);
                let line = if self.stdout_is_terminal { terminal::safe(&line) } else { line };
                self.write(Stream::Out, &line)
            }
            Delta::Warning(warning) if self.shown.said => {
                self.end_line()?;
                let line = format!("warning: {}\n", terminal::safe(&warning));
                self.write(Stream::Err, &line)
            }
            _ => Ok(()),
        }
    }

    fn for_stderr(&self, text: &str) -> String {
        if self.stderr_is_terminal { terminal::safe(text) } else { text.to_owned() }
    }

    fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
        if self.open_line.is_some_and(|open| open != stream) {
            self.end_line()?;
        }
        match stream {
            Stream::Out => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()?;
            }
            Stream::Err => io::stderr().write_all(text.as_bytes())?,
        }
        self.open_line = (!text.ends_with('\n')).then_some(stream);
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        match self.open_line.take() {
            None => Ok(()),
            Some(Stream::Out) => writeln!(io::stdout()),
            Some(Stream::Err) => writeln!(io::stderr()),
        }
    }

    /// Ends the last line.
    pub fn finish(mut self) -> io::Result<()> {
        self.progress.clear();
        self.end_line()
    }
}
