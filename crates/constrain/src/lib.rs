//! Constraints: the tokens that may come next.
//!
//! Entry points: [`TokenTable`] once per vocabulary, [`compile()`] once per request and off the engine's
//! thread, [`Constraint::new`] or [`Constraint::within`] once per sequence, then [`Constraint::allowed`] and
//! [`Constraint::commit`] once per token. The harmony grammar of headers always holds, so that no malformed
//! turn can be sampled; bodies are free, or JSON of a schema, or match a regular expression or a Lark grammar
//! (by llguidance). Masks are a function of the spec and the tokens so far: neither time nor neighbors change
//! them.
//!
//! The room is pure but for the threads that compile. It never sees logits or the prompt.

mod bitmask;
mod bounds;
mod clock;
mod closing;
mod compile;
mod constraint;
mod error;
mod grammar;
mod header;
mod lark;
pub mod limits;
mod references;
mod repetition;
mod schema;
mod slots;
mod spec;
mod subschemas;
mod table;
mod utf8;

pub use bitmask::is_allowed;
pub use bounds::{Bounds, Cut};
pub use compile::{Compiled, compile};
pub use constraint::Constraint;
pub use error::Error;
pub use limits::Limits;
pub use spec::{Body, Builtin, Fidelity, Function, Part, Reasoning, Spec, ToolChoice, Warning};
pub use table::TokenTable;
