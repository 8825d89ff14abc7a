//! Chat Completions: a body read, and an answer in chunks.

pub mod chunks;
mod functions;
pub mod parse;
