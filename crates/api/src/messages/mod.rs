//! Anthropic's Messages: a dialect of its own, over the same generations.
//!
//! A request is parsed (`parse`), its answer comes out as events (`events`), a failure in Anthropic's words
//! (`errors`). Thinking goes to the client and comes back with a signature (`signature`).

pub mod errors;
pub mod events;
pub mod parse;
pub mod signature;
