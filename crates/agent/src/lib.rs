//! What happens until the task is done: turn, calls, results, turn, within budgets?
//!
//! [`run()`] is the loop of the terminal's `agent` and `chat`; the server has one of its own (decision 0016).
//! It offers the tools of a [`Toolbox`] to the model, takes a turn, answers the call that the turn ended
//! with, and goes on, until there is an answer, a budget is spent, somebody cancels, or the call is for a
//! function of the caller's, which is given back. What happens is told as [`AgentEvent`]s, and who may is
//! asked as data ([`Action`], [`Decision`]); how either looks is the caller's.

mod action;
mod budget;
mod ending;
mod error;
mod event;
mod prepared;
mod run;
mod toolbox;

pub use action::{Action, Decision};
pub use budget::Budget;
pub use ending::{AgentEnd, AgentUsage, Ending};
pub use error::Error;
pub use event::{AgentEvent, CallStatus};
pub use run::{Host, Task, run};
pub use toolbox::{Tool, Toolbox};
