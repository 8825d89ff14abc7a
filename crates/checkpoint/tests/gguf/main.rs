//! Tests of GGUF files.
//!
//! `dialects` compares every part of a file with the checkpoint it was made from, in each of the layouts that
//! files of this family have; `quantized` is about matrices that become int8,
//! `refused` about what bad files are answered with; `written` writes GGUF files,
//! good and bad.

mod dialects;
mod quantized;
mod refused;
mod split;
mod written;
