//! Every op on every device that is to be tested, bit for bit against the CPU's order.
//!
//! `GPTOSS_GPU_TEST_DEVICES` names the devices, as parts of their names with commas between; each must be
//! there. Without it, every software device that the loader finds is tested, and where there is none a line
//! says so. The loader itself is told by `VK_DRIVER_FILES` where drivers are.

#[path = "../numbers/mod.rs"]
mod numbers;
#[path = "../reference/mod.rs"]
mod reference;

mod attention;
mod best_tokens;
mod cache;
mod device;
mod experts;
mod floats;
mod int8_rows;
mod mutants;
mod products;
mod rope;
mod support;
