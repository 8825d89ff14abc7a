//! What happens in a run, while it happens.

use gptoss_tools::ToolReply;
use gptoss_turn::{Outcome, TurnEvent};

use crate::action::Action;

/// Something that happened, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// A turn of the model begins.
    TurnStarted,
    /// Something in it; never its end.
    Turn(TurnEvent),
    /// It is over.
    TurnEnded(Box<Outcome>),
    /// A call was approved of, or needs no approval, and is being answered.
    CallStarted {
        /// Counted from 0 in a run.
        number: usize,
        /// What it does.
        action: Action,
    },
    /// A call has its answer; each that was started does, once, unless the run breaks off with an error. One
    /// that was declined, or could not be understood, was never started.
    CallEnded {
        /// As it was started.
        number: usize,
        /// What it did, or would have done.
        action: Action,
        /// How it went.
        status: CallStatus,
        /// What the model reads.
        reply: ToolReply,
        /// Of a command that ended by itself.
        exit_code: Option<i32>,
    },
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    /// It did what it was asked.
    Completed,
    /// It could not.
    Failed,
    /// Somebody did not approve.
    Declined,
}
