//! How a turn looks in a chat.
//!
//! Reasoning is dimmed, or begins with a word where there is no color; preamble and answer are plain, a call
//! stands on a line of its own with its arguments as they are written. Each voice begins on a new line. In a
//! pipe only answers and calls are results; the rest goes to standard error. On a terminal nothing of what
//! the model writes can move the cursor or change colors.

use std::io::{self, IsTerminal, Write};

use gptoss_turn::{Channel, Delta, TurnEvent};

use crate::progress::{Progress, Unit};
use crate::terminal::{self, Style};

/// Who is speaking on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Reasoning,
    Preamble,
    Answer,
    Call,
}

/// Shows one turn.
pub struct Display {
    hides_reasoning: bool,
    is_terminal: bool,
    style: Style,
    progress: Progress,
    voice: Option<Voice>,
}

impl Display {
    /// For a turn that is about to begin.
    pub fn new(hides_reasoning: bool) -> Display {
        Display {
            hides_reasoning,
            is_terminal: io::stdout().is_terminal(),
            style: Style::of(&io::stdout()),
            progress: Progress::new("reading", Unit::Tokens),
            voice: None,
        }
    }

    /// Where a voice is heard: what is not a result leaves a pipe alone.
    fn stream(&self, voice: Voice) -> Box<dyn Write> {
        match voice {
            Voice::Reasoning | Voice::Preamble if !self.is_terminal => Box::new(io::stderr().lock()),
            _ => Box::new(io::stdout().lock()),
        }
    }

    /// Ends the last line.
    pub fn finish(mut self) -> io::Result<()> {
        self.progress.clear();
        self.end_voice()
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
            Delta::Text { channel: Channel::Analysis, .. } if self.hides_reasoning => Ok(()),
            Delta::Text { channel, text, .. } => {
                let voice = match channel {
                    Channel::Analysis => Voice::Reasoning,
                    Channel::Commentary => Voice::Preamble,
                    Channel::Final => Voice::Answer,
                };
                self.speak(voice, &text)
            }
            Delta::CallStarted { name } => {
                self.end_voice()?;
                self.speak(Voice::Call, &format!("call {name} "))
            }
            Delta::CallArguments { text, .. } => self.speak(Voice::Call, &text),
            Delta::Called(_) => Ok(()),
            Delta::Warning(warning) => {
                self.end_voice()?;
                let dim = self.style.dim;
                let mut stream = self.stream(Voice::Preamble);
                writeln!(stream, "{dim}({}){dim:#}", terminal::safe(&warning))
            }
        }
    }

    fn speak(&mut self, voice: Voice, text: &str) -> io::Result<()> {
        if self.voice != Some(voice) {
            self.end_voice()?;
            self.voice = Some(voice);
            if voice == Voice::Reasoning && !self.style.has_color() {
                write!(self.stream(voice), "thinking: ")?;
            }
        }
        let style = match voice {
            Voice::Reasoning => self.style.dim,
            Voice::Call => self.style.bold,
            Voice::Preamble | Voice::Answer => anstyle::Style::new(),
        };
        let text = if self.is_terminal { terminal::safe(text) } else { text.to_owned() };
        let mut stream = self.stream(voice);
        write!(stream, "{style}{text}{style:#}")?;
        stream.flush()
    }

    fn end_voice(&mut self) -> io::Result<()> {
        match self.voice.take() {
            None => Ok(()),
            Some(voice) => writeln!(self.stream(voice)),
        }
    }
}
