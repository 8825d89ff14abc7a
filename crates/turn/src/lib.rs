//! What does the assistant say next: a conversation in, deltas, calls and usage out.
//!
//! The room between text and tokens: it renders a conversation with `harmony`, has the `engine` continue it,
//! and turns what comes back into [`TurnEvent`]s while it happens and an [`Outcome`] when it is over. Enter
//! at [`Assistant`]: it is the one walk that the terminal, the HTTP APIs, batches and evaluations share. The
//! engine's side of the seam can be played by a test: `gptoss_engine::channel` gives a handle and an inbox.
//!
//! Harmony never fails: any output of a model becomes messages and warnings, and an outcome says when there
//! is no answer among them. The room does not know weights, files, HTTP, or how a function that is called
//! gets its result.

mod assistant;
mod constraint;
mod decode;
mod error;
mod event;
mod options;
mod stop;
mod text;
mod tools;
mod turn;

pub use assistant::Assistant;
pub use constraint::{FunctionRule, OutputRules, TurnConstraint, TurnRules};
pub use error::Error;
pub use event::{Outcome, TurnEvent, TurnUsage, logprob_of};
// What stands in this room's own signatures, for rooms that may not use the engine or `constrain`.
pub use gptoss_constrain::{
    Body, Cut, Error as ConstraintError, Fidelity, Limits as ConstraintLimits, Part as ConstraintPart,
    Reasoning, TokenTable, ToolChoice, Warning as ConstraintWarning,
};
pub use gptoss_engine::{
    AdapterId, Class, EngineHandle, EngineStats, Error as EngineError, Event as TextEvent, Failure,
    FinishReason, Priority, SamplingParams, Tenant, Token, TokenLogprob, Usage as EngineUsage,
};
// What a turn gives is said in harmony's words.
pub use gptoss_harmony::{Call, Channel, Delta, Logprob, TopLogprob, TurnEnd};
pub use options::TurnOptions;
pub use stop::{Filtered, StopFilter};
pub use text::{Text, TextOptions};
pub use tools::is_offered;
pub use turn::{Turn, TurnCanceller};
