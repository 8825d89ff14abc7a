//! Every op on every device that is to be tested, bit for bit against the CPU's order.
//!
//! `devices` says which they are.

#[path = "../devices/mod.rs"]
mod devices;
#[path = "../fake_cuda/mod.rs"]
mod fake_cuda;
#[path = "../faults/mod.rs"]
mod faults;
#[path = "../numbers/mod.rs"]
mod numbers;
#[path = "../reference/mod.rs"]
mod reference;

mod attention;
mod best_tokens;
mod cache;
mod device;
mod experts;
mod failing;
mod floats;
mod int8_rows;
mod mutants;
mod products;
mod rope;
mod support;
mod tiles;
