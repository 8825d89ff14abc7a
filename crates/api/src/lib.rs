//! What do the bodies and events of the APIs look like: wire types, and pure functions to and from them.
//!
//! Each API is a folder with the same three parts. Its wire types say what bodies look like (`wire`), `parse`
//! makes a [`GenerationRequest`](generation::request::GenerationRequest) of a body, and a pure [`Machine`]
//! makes chunks or events of the deltas that a model writes. A body without a stream is what the streamed
//! events add up to.
//!
//! Nothing here waits, reads a clock, draws a random number or sees a connection: time and ids are passed in,
//! so that the same input gives the same bytes, and a fuzzer can hold the room to it. The engine's parameters
//! are not known here either: a request says what it says, and the server puts it over the model's defaults.

pub mod batches;
pub mod body;
pub mod chat;
pub mod completions;
pub mod containers;
pub mod errors;
pub mod files;
pub mod fine_tuning;
pub mod generation;
pub mod history;
mod ids;
pub mod limits;
mod machine;
pub mod messages;
pub mod moderations;
pub mod ollama;
pub mod responses;
mod scope;
pub mod usage;
pub mod wire;

pub use errors::ApiError;
pub use ids::NewId;
pub use machine::{ChoiceEnd, EventOptions, Machine};
pub use scope::RequestScope;
