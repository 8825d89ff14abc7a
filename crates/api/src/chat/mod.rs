//! Chat Completions: a body read, and an answer in chunks.

pub mod chunks;
pub mod parse;
