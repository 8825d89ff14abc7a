//! Numbers in, numbers out: every op that gpt-oss needs, as free functions on slices, outputs first.
//!
//! Entry points: [`Pool`] (threads and instruction [`Tier`]), [`Matrix`] with [`linear`], [`attention()`],
//! and the ops on rows. Each op has a scalar reference in plain Rust; wider tiers follow the same order of
//! summation and give the same bits, as do other numbers of threads and of tokens.
//!
//! The gradient of an op stands beside it (`*_backward.rs`). Its outputs are added to, element by element in
//! one order over tokens, unless its head says that they are written; so a batch in parts gives the bits of
//! the whole.
//!
//! Shape letters of this room: `T` tokens · `H` query heads · `K` kv heads or inputs of a product · `N`
//! outputs of a product · `D` head_dim · `C` hidden_size · `F` intermediate_size · `E` experts · `A` active
//! experts.
//!
//! No constants of gpt-oss and no files are in this room. Slices whose lengths do not fit together are a
//! broken invariant of the caller and panic; numbers never do, NaN and infinities included.

#![expect(unsafe_code, reason = "SIMD, rows of a slice handed to threads, settings of the C library")]

mod adamw;
mod attention;
mod embedding_backward;
pub mod exp;
mod freed_memory;
mod gather;
mod head;
pub mod lanes;
mod linear_backward;
mod low_rank;
mod matrix;
mod memory;
mod pool;
mod prefetch;
mod products;
mod q8;
mod quantize;
mod rmsnorm;
mod rmsnorm_backward;
mod rope;
mod rope_backward;
mod row_dots;
mod rows;
mod scratch;
mod simd;
mod stored;
mod swiglu;
mod swiglu_backward;
mod tier;
mod top_k;
mod top_k_backward;

pub use adamw::{AdamW, Moments, adamw, sum_of_squares};
pub use attention::{
    AttentionGradients, AttentionJob, AttentionParams, AttentionRows, Document, KvRun, KvSlice, attention,
    attention_backward, attention_saving, kv_bf16, quantize_kv,
};
pub use embedding_backward::embedding_backward;
pub use freed_memory::keep_freed_memory;
pub use gather::{gather_rows, scatter_rows};
pub use head::{Head, HeadGradients, HeadRows, Targets, TokenLoss, head_backward, head_nll};
pub use linear_backward::{linear_backward_bias, linear_backward_input, linear_backward_weight};
pub use low_rank::{
    LowRank, LowRankGradients, low_rank, low_rank_backward_factors, low_rank_backward_input, low_rank_expand,
    low_rank_row, low_rank_shrink,
};
pub use matrix::{Matrix, Rows, linear};
pub use memory::HugePages;
pub use pool::Pool;
pub use products::float::LinearDims;
pub use products::parts::Q8_PARTS_BYTES_MAX;
pub use q8::{Q8Order, Q8Rows, gather_q8, quantize_q8, quantize_q8_parts};
pub use quantize::quantize_q8_0;
pub use rmsnorm::{rmsnorm, rmsnorm_on};
pub use rmsnorm_backward::rmsnorm_backward;
pub use rope::{Rope, RopeAngles, YarnParams};
pub use row_dots::row_dots;
pub use stored::floats::Bf16Transposed;
pub use stored::mxfp4::Mxfp4;
pub use stored::mxfp4_blocks::Mxfp4Blocks;
pub use stored::q8_panels::{Q8_PANEL_ROWS, Q8Panels, pack_q8_panels};
pub use swiglu::{swiglu, swiglu_on, swiglu_q8};
pub use swiglu_backward::swiglu_backward;
pub use tier::Tier;
pub use top_k::top_k_softmax;
pub use top_k_backward::top_k_softmax_backward;
