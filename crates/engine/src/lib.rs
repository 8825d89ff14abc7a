//! Which tokens a model emits: requests in, events out.
//!
//! Entry points: [`Engine::generate`] runs a [`Request`] and tells of it by [`Event`]s; [`Sampler`] chooses tokens
//! under [`SamplingParams`]. The beat is schedule, forward, sample, commit. This is the engine of one conversation: one
//! sequence at a time, whose KV cache is kept for the next request.
//!
//! The contract: the same request gives the same tokens and log-probabilities, to the bit, whatever ran before and
//! whatever was still in the cache, for a fixed build and precision.
//!
//! What it does not know: text, channels, messages, files. Tokens are `u32`.

mod engine;
mod error;
pub mod limits;
mod random;
mod request;
mod sampler;

pub use engine::Engine;
pub use error::Error;
pub use limits::Sampling;
pub use request::{Completion, Event, FinishReason, Request, SamplingParams, Timings, Usage};
pub use sampler::{Sampled, Sampler};
