//! The kernels in CUDA C++ on the host, bit for bit against the CPU's order in fused arithmetic.
//!
//! A C++ compiler builds them with `shim`, which runs the threads of a block as fibers in two orders and at
//! several block sizes. `GPTOSS_CUDA_TEST_COMPILER` names the compiler, which then must be there; without
//! it, it is `g++`, and where there is none a line says so.

#[path = "../numbers/mod.rs"]
mod numbers;
#[path = "../reference/mod.rs"]
mod reference;

mod attention;
mod choices;
mod mutants;
mod products;
mod program;
mod rows;
