//! The old Completions API: a body read, and a continuation in chunks.

pub mod chunks;
pub mod parse;
