//! Tests of GGUF files.
//!
//! `dialects` compares every part of a file with the checkpoint it was made from, in each of the layouts that
//! files of this family have; `refused` is what bad files are answered with; `written` writes GGUF files,
//! good and bad.

mod dialects;
mod refused;
mod split;
mod written;
