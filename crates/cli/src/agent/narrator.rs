//! A run as people read it.

use std::io::{self, Write};

use gptoss_agent::{Action, AgentEvent, CallStatus};
use gptoss_tools::{EditKind, ToolReply};

use crate::printer::{Printer, Shown};
use crate::terminal;

/// Tells a run while it happens.
pub struct Narrator {
    shown: Shown,
    /// Of the turn that is being taken.
    printer: Option<Printer>,
}

impl Narrator {
    /// For a run that is about to begin.
    pub fn new(shows_reasoning: bool) -> Narrator {
        Narrator { shown: Shown { reasoning: shows_reasoning, said: true, calls: false }, printer: None }
    }

    /// Tells an event.
    pub fn tell(&mut self, event: AgentEvent) -> io::Result<()> {
        match event {
            AgentEvent::TurnStarted => {
                self.printer = Some(Printer::new(self.shown));
                Ok(())
            }
            AgentEvent::Turn(event) => match &mut self.printer {
                Some(printer) => printer.show(event),
                None => Ok(()),
            },
            AgentEvent::TurnEnded(_) => self.end_turn(),
            AgentEvent::CallStarted { .. } => Ok(()),
            AgentEvent::CallEnded { action, status, reply, .. } => {
                writeln!(io::stderr(), "{}", how_it_went(&action, status, &reply))
            }
        }
    }

    /// Ends the last line.
    pub fn finish(mut self) -> io::Result<()> {
        self.end_turn()
    }

    fn end_turn(&mut self) -> io::Result<()> {
        self.printer.take().map_or(Ok(()), Printer::finish)
    }
}

/// A call in a line.
pub fn how_it_went(action: &Action, status: CallStatus, reply: &ToolReply) -> String {
    let how = match status {
        CallStatus::Completed => "done".to_owned(),
        CallStatus::Failed => format!("failed: {}", reply.text.trim_end()),
        CallStatus::Declined => "not done".to_owned(),
    };
    terminal::safe(&format!("{}: {how}", name_of(action)))
}

fn name_of(action: &Action) -> String {
    match action {
        Action::FileChange { changes, .. } if changes.is_empty() => "patch".to_owned(),
        Action::FileChange { changes, .. } => {
            let sign = |kind: &EditKind| match kind {
                EditKind::Add => "+",
                EditKind::Delete => "-",
                EditKind::Update => "",
            };
            let names: Vec<String> =
                changes.iter().map(|(path, kind)| format!("{}{path}", sign(kind))).collect();
            format!("patch of {}", names.join(", "))
        }
        Action::Command { command } => format!("$ {}", command.lines().next().unwrap_or_default()),
        Action::Code { .. } => "python".to_owned(),
        Action::Mcp { server, tool, .. } => format!("{server}: {tool}"),
        Action::Unknown { name } => name.clone(),
    }
}
