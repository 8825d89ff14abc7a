//! What a call is about to do, as whoever may forbid it needs to see it.

use gptoss_tools::EditKind;
use gptoss_tools::browser;

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Files of the workspace change.
    FileChange {
        /// Path and what happens to it; empty where the patch is not one.
        changes: Vec<(String, EditKind)>,
        /// The change as people read it.
        diff: String,
    },
    /// A command runs in the workspace.
    Command {
        /// As people would write it.
        command: String,
    },
    /// Code runs where nothing of the user's is.
    Code {
        /// All of it.
        code: String,
    },
    /// Something is searched, opened or looked for in the browser.
    Browse(browser::Action),
    /// A tool of a server's is called.
    Mcp {
        /// Its label.
        server: String,
        /// As the server calls it.
        tool: String,
        /// JSON, as the model wrote it.
        arguments: String,
        /// Whether the server's entry asks for it.
        needs_approval: bool,
    },
    /// A call that no tool understands, by the name that the model wrote.
    Unknown {
        /// As written.
        name: String,
    },
}

impl Action {
    /// Whether it changes anything that is not the tool's own.
    pub fn needs_approval(&self) -> bool {
        match self {
            Action::FileChange { .. } | Action::Command { .. } => true,
            Action::Code { .. } | Action::Browse(_) | Action::Unknown { .. } => false,
            Action::Mcp { needs_approval, .. } => *needs_approval,
        }
    }
}

/// What was decided about an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Approve,
    /// It is not done, and the model is told why.
    Decline {
        /// For the model to read.
        reason: String,
    },
    /// It is not done now: the run ends at the call, and may go on from there.
    Wait,
}
