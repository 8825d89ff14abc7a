//! What does the assistant say next: a conversation in, deltas, calls and usage out.
//!
//! The room between text and tokens: it renders a conversation with `harmony`, has the `engine` continue it, and turns what comes back
//! into [`TurnEvent`]s while it happens and an [`Outcome`] when it is over. The entry point is [`start_turn`], the one walk that the
//! terminal, the HTTP APIs, batches and evaluations share; [`run_turn`] waits for its end. The engine's side of the seam can be played by
//! a test: `gptoss_engine::channel` gives a handle and an inbox.
//!
//! Harmony never fails: any output of a model becomes messages and warnings, and an outcome says when there is no answer among them.
//! The room does not know weights, files, HTTP, or how a function that is called gets its result.

mod constraint;
mod error;
mod event;
mod listen;
mod options;
mod text;
mod tools;
mod turn;

pub use constraint::{FunctionRule, TurnConstraint, TurnForm, TurnRules};
pub use error::Error;
pub use event::{Call, Outcome, TurnEnd, TurnEvent, TurnUsage, Voice};
// What stands in this room's own signatures, for rooms that may not use the engine or `constrain`.
pub use gptoss_constrain::{
    Body, Error as ConstraintError, Fidelity, Limits as ConstraintLimits, Part as ConstraintPart, Reasoning,
    ToolChoice, Warning as ConstraintWarning,
};
pub use gptoss_engine::{
    Class, EngineHandle, EngineStats, Error as EngineError, Event as TextEvent, Failure, FinishReason,
    Priority, SamplingParams, Tenant, Token, TokenLogprob,
};
pub use options::TurnOptions;
pub use text::{Text, TextOptions, start_text};
pub use turn::{Turn, TurnCanceller, run_turn, start_turn, start_turns};
