//! The references in fused arithmetic have the bits of `gptoss_kernels`, over edge shapes and awkward
//! numbers.
//!
//! `products.rs` holds matrices and quantization, `attention.rs` the cache and attention, `rows.rs` the ops
//! on single rows. NaN equals NaN, whatever its payload.

#[path = "../numbers/mod.rs"]
mod numbers;
#[path = "../reference/mod.rs"]
mod reference;

mod attention;
mod products;
mod rows;
