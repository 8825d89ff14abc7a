//! What a call is about to do, as whoever may forbid it needs to see it.

use gptoss_tools::EditKind;

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
            Action::FileChange { .. } => true,
            Action::Unknown { .. } => false,
        }
    }
}

/// Who approves of actions that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// A person is asked each time.
    Ask,
    /// Nobody: they are refused.
    Never,
    /// Nobody: they are done.
    Auto,
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
