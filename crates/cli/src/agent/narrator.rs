//! A run as people read it.

use std::io::{self, Write};

use gptoss_agent::{Action, AgentEvent, CallStatus};
use gptoss_tools::browser;
use gptoss_tools::{EditKind, ToolReply};

use super::made_files::{MadeFiles, lines_of};
use crate::printer::{Printer, Shown};
use crate::terminal;

/// Tells a run while it happens.
pub struct Narrator {
    shown: Shown,
    /// Of the turn that is being taken.
    printer: Option<Printer>,
    files: MadeFiles,
}

impl Narrator {
    /// For a run that is about to begin.
    pub fn new(shows_reasoning: bool) -> Narrator {
        let shown = Shown { reasoning: shows_reasoning, said: true, calls: false };
        Narrator { shown, printer: None, files: MadeFiles::default() }
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
                writeln!(io::stderr(), "{}", how_it_went(&action, status, &reply))?;
                let files = lines_of(&self.files.keep(&reply.files));
                files.iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))
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

/// What of the browser's pages an answer cites, in lines.
pub fn cited(answer: &str, pages: &[(usize, String)]) -> Vec<String> {
    let is_cited = |cursor: &usize| answer.contains(&format!("【{cursor}†"));
    let cited = pages.iter().filter(|(cursor, _)| is_cited(cursor));
    cited.map(|(cursor, url)| terminal::safe(&format!("【{cursor}】 {url}"))).collect()
}

/// What is done in the browser.
pub fn browsed(action: &browser::Action) -> String {
    let page = |url: &Option<String>| url.as_deref().unwrap_or("results").to_owned();
    match action {
        browser::Action::Search { query, .. } => format!("search {query}"),
        browser::Action::OpenPage { url } => format!("open {}", page(url)),
        browser::Action::FindInPage { pattern, url } => format!("find {pattern} in {}", page(url)),
    }
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
        Action::Browse(action) => browsed(action),
        Action::Mcp { server, tool, .. } => format!("{server}: {tool}"),
        Action::Unknown { name } => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_with_the_pages_that_it_cites() {
        let pages = [(1, "https://a.example/".to_owned()), (11, "https://b.example/\u{1b}".to_owned())];
        assert_eq!(cited("So 【11†L1-L2】, and 【3†L1】.", &pages), ["【11】 https://b.example/\u{fffd}"]);
        assert!(cited("None.", &pages).is_empty());
    }
}
