//! Gradients of the ops.
//!
//! Each is compared with a float64 twin within a derived tolerance, the twin with central differences of the
//! op itself in float64, and the bits between tiers and numbers of threads; batches in parts give the bits of
//! the whole. `differences.rs` is what the files share.

mod attention;
mod differences;
mod head;
mod products;
mod rows;
