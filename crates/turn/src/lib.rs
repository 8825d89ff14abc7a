//! What does the assistant say next: a conversation in, deltas, calls and usage out.
//!
//! The room between text and tokens: it renders a conversation with `harmony`, has the `engine` continue it, and turns what comes back
//! into [`TurnEvent`]s while it happens and an [`Outcome`] when it is over. The entry point is [`run_turn`], the one loop that the
//! terminal, the HTTP APIs, batches and evaluations share.
//!
//! Harmony never fails: any output of a model becomes messages and warnings, and an outcome says when there is no answer among them.
//! The room does not know weights, files, HTTP, or how a function that is called gets its result.

mod error;
mod event;
mod listen;
mod turn;

pub use error::Error;
pub use event::{Call, Outcome, TurnEnd, TurnEvent, TurnUsage};
pub use turn::{TurnOptions, run_turn};
