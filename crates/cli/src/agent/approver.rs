//! Who approves of a change: the flag, or a person at the terminal.

use std::io::{self, Write};

use gptoss_agent::{Action, Decision};

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
            ApproveArg::Ask => self.ask(ask),
        }
    }

    fn ask(&mut self, ask: &mut dyn FnMut(&str) -> Option<String>) -> Decision {
        loop {
            let Some(line) = ask(QUESTION) else { return Decision::Wait };
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

/// A change as it is shown before it is made.
fn shown(action: &Action) -> String {
    let text = match action {
        Action::FileChange { diff, .. } => diff.clone(),
        Action::Command { command } => format!("$ {command}"),
        Action::Code { code } => code.clone(),
        Action::Mcp { server, tool, arguments, .. } => format!("{server}: {tool} {arguments}"),
        Action::Unknown { name } => name.clone(),
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{}{end}", terminal::safe(&text))
}
