//! The few endpoints of Ollama's API that clients probe for, in the words of Chat Completions.
//!
//! A request is put into a [`ChatRequest`](crate::wire::chat::ChatRequest) and runs as one; the chunks of its
//! answer come out as one JSON object a line.

pub mod lines;
pub mod parse;
