//! Who approves of a change: the flag, or a person at the terminal.

use std::io::{self, Write};

use gptoss_agent::{Action, Decision};
use gptoss_tools::mcp::is_hidden;

use super::narrator;
use crate::args::ApproveArg;
use crate::terminal;

/// What the model reads of a change that is refused.
const REFUSED: &str = "The user does not allow changes in this session.";
const DECLINED: &str = "The user declined this change. Do it another way, or end and say what is missing.";

const QUESTION: &str = "Do it? [y]es, [n]o, [a]ll from here on, [q]uit: ";

/// Shows each change and decides.
pub struct Approver {
    approve: ApproveArg,
    shows: bool,
}

impl Approver {
    /// By the flag; `shows` says whether changes that nobody is asked about are shown too.
    pub fn new(approve: ApproveArg, shows: bool) -> Approver {
        Approver { approve, shows }
    }

    /// Decides about one change.
    /// `ask` gives a line of the person's; None when there is nobody.
    pub fn decide(&mut self, action: &Action, ask: &mut dyn FnMut(&str) -> Option<String>) -> Decision {
        if self.shows || self.approve == ApproveArg::Ask {
            // What cannot be shown cannot be approved of by a person either; the flag needs nobody to see it.
            let _ = io::stderr().write_all(shown(action).as_bytes());
        }
        match self.approve {
            ApproveArg::Auto => Decision::Approve,
            ApproveArg::Never => Decision::Decline { reason: REFUSED.to_owned() },
            ApproveArg::Ask => self.ask(&question(action), ask),
        }
    }

    fn ask(&mut self, question: &str, ask: &mut dyn FnMut(&str) -> Option<String>) -> Decision {
        loop {
            let Some(line) = ask(question) else { return Decision::Wait };
            match line.trim() {
                "y" | "yes" => return Decision::Approve,
                "n" | "no" => return Decision::Decline { reason: DECLINED.to_owned() },
                "a" | "all" => {
                    self.approve = ApproveArg::Auto;
                    return Decision::Approve;
                }
                "q" | "quit" => return Decision::Wait,
                _ => {}
            }
        }
    }
}

/// What is asked. A long command may have scrolled away.
fn question(action: &Action) -> String {
    match action {
        Action::Command { command } if command.trim_end().lines().nth(1).is_some() => {
            format!("(a command of {} lines)\n{QUESTION}", command.trim_end().lines().count())
        }
        _ => QUESTION.to_owned(),
    }
}

/// The text with characters spelled out that nobody sees, and that change how others are read.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) || matches!(c, '\u{200c}' | '\u{200d}') {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// A change as it is shown before it is made.
fn shown(action: &Action) -> String {
    let text = match action {
        Action::FileChange { diff, .. } => diff.clone(),
        Action::Command { command } => format!("$ {command}"),
        Action::Code { code } => code.clone(),
        Action::Browse(action) => narrator::browsed(action),
        Action::Mcp { server, tool, arguments, .. } => format!("{server}: {tool} {arguments}"),
        Action::Unknown { name } => name.clone(),
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{}{end}", terminal::safe(&visible(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_approved_of_is_seen() {
        let check = |command: &str, expected: &str, num_lines: Option<usize>| {
            let action = Action::Command { command: command.to_owned() };
            assert_eq!(shown(&action), expected);
            let lines = num_lines.map_or(String::new(), |num| format!("(a command of {num} lines)\n"));
            assert_eq!(question(&action), lines + QUESTION);
        };
        check("ls\n", "$ ls\n", None);
        check("a\n\nb", "$ a\n\nb\n", Some(3));
        check("a\u{202e}b\u{200b}\u{feff}\u{1b}", "$ a\\u{202e}b\\u{200b}\\u{feff}\u{fffd}\n", None);
    }
}
