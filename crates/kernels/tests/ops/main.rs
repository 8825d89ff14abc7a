//! The ops of this room, one table of cases each, on every tier that the processor at hand has.
//!
//! `products.rs` holds the matrix products, `dense.rs` those with dense matrices of any format,
//! `attention.rs` attention, `rows.rs` the ops on single rows; `support.rs` what they share. The pool has its
//! own file beside this folder.

mod attention;
mod backward;
mod dense;
mod products;
mod rows;
mod support;
