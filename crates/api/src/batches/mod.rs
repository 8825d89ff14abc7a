//! Batches: a file with a request a line, and files with a result a line.
//!
//! [`request`] reads what a batch asks, [`lines`] what its lines ask, [`results`] writes what comes of them.

pub mod lines;
pub mod request;
pub mod results;
