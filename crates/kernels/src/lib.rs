//! Numbers in, numbers out: every op that gpt-oss needs, as free functions on slices, outputs first.
//!
//! What it answers: what one op makes of its inputs, to the bit. Entry points: [`Pool`] (threads and instruction
//! [`Tier`]), then the ops below. Each op has a scalar reference in plain Rust; wider tiers follow the same order
//! of summation and give the same bits, as do other numbers of threads and of tokens.
//!
//! Shape letters of this room: `T` tokens · `H` query heads · `K` kv heads or inputs of a product · `N` outputs
//! of a product · `D` head_dim · `C` hidden_size · `F` intermediate_size · `E` experts · `A` active experts.
//!
//! What it does not know: the model, its layers and constants, files, tokens. Slices whose lengths do not fit
//! together are a broken invariant of the caller and panic; numbers never do, NaN and infinities included.

mod attention;
mod dense;
mod embedding;
pub mod exp;
pub mod lanes;
mod linear;
mod linear_q8;
mod mxfp4;
mod mxfp4_blocks;
mod pool;
mod q8;
mod q8_0;
mod q8_panels;
mod rmsnorm;
mod rope;
mod rows;
mod scratch;
mod simd;
mod swiglu;
mod tier;
mod top_k;

pub use attention::{AttentionJob, AttentionParams, KvRun, KvSlice, attention, kv_bf16, quantize_kv};
pub use dense::{Dense, linear_dense};
pub use embedding::embedding_row;
pub use linear::{LinearDims, linear_bf16, linear_bf16_transposed, linear_mxfp4_exact};
pub use linear_q8::{linear_mxfp4_blocks_q8, linear_mxfp4_q8, linear_q8_0, linear_q8_panels};
pub use mxfp4::Mxfp4;
pub use mxfp4_blocks::Mxfp4Blocks;
pub use pool::Pool;
pub use q8::{Q8Order, Q8Rows, gather_q8, quantize_q8};
pub use q8_0::quantize_q8_0;
pub use q8_panels::{Q8_PANEL_ROWS, Q8Panels, pack_q8_panels};
pub use rmsnorm::{rmsnorm, rmsnorm_on};
pub use rope::{Rope, RopeAngles, YarnParams};
pub use swiglu::{swiglu, swiglu_on, swiglu_q8};
pub use tier::Tier;
pub use top_k::top_k_softmax;
