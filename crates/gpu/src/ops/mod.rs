//! The ops, one file each: what it binds, how many workgroups it takes, and its one sentence.
//!
//! An op is a struct of its slices and sizes; `record` puts its dispatches into a
//! [`Recording`](crate::Recording). Slices may be longer than what an op needs of them, and never shorter,
//! a last word of bytes or halves counted whole.
//! Rows are counted by one dimension of workgroups, of which every device has 65,535.

mod attention;
mod best_tokens;
mod expert_linear;
mod expert_order;
mod expert_tiles;
mod int8_rows;
mod kv_rows;
mod linear;
mod probe;
mod rmsnorm;
mod rope;
mod router;
mod swiglu;

pub use attention::{ATTENTION_SPAN, Attention, AttentionSpans, HEAD_DIM_MAX};
pub use best_tokens::{BEST_TOKENS_MAX, BestTokens};
pub use expert_linear::{EXPERT_ELSEWHERE, ExpertLinear, ExpertRows};
pub use expert_order::{CollectExperts, SortExperts};
pub use expert_tiles::ExpertTiles;
pub use int8_rows::{Int8Rows, MiddleRows, Quantize, QuantizeMiddles};
pub use kv_rows::{KvPlace, KvRows, KvSlots};
pub use linear::{DenseMatrix, DenseRows, Linear};
pub use probe::FloatProbe;
pub use rmsnorm::{NormInputs, RmsNorm, RmsNormInt8, RmsNormMiddles};
pub use rope::Rope;
pub use router::{ACTIVE_MAX, EXPERTS_MAX, RouterTopK};
pub use swiglu::{SwiGlu, SwiGluMiddles};

use crate::device::Slice;

/// Bytes of an `f32` or `u32`.
const WORD_BYTES: u64 = 4;
/// Values that share a scale.
const BLOCK_VALUES: u32 = 32;
/// Bytes of the codes of a block of MXFP4.
const CODE_BYTES: u64 = 16;
/// Outputs that a workgroup of a product computes.
const ROWS_PER_GROUP: u32 = 8;
/// Rows that a product takes in one workgroup of a few outputs; more go by tiles where both sides are int8.
pub const FEW_ROWS_MAX: u32 = 8;
/// Rows of a tile.
pub const TILE_ROWS: u32 = 32;
/// Outputs of a tile.
const TILE_OUTPUTS: u32 = 64;
/// Blocks that a workgroup quantizes.
const BLOCKS_PER_GROUP: u32 = 8;

/// Panics unless the slice has room for so many bytes, in whole words as kernels read and write.
fn assert_bytes(op: &str, what: &str, slice: &Slice, bytes: u64) {
    let bytes = bytes.next_multiple_of(WORD_BYTES);
    assert!(slice.len() >= bytes, "{op}: {what} is {slice:?}, shorter than {bytes} bytes");
}

/// Panics unless codes, scales and biases of MXFP4 matrices are all there; sizes are E, N and blocks of a
/// row.
fn assert_experts(op: &str, [codes, code_scales, bias]: [&Slice; 3], [num_experts, n, blocks]: [u32; 3]) {
    assert_bytes(op, "codes", codes, product([num_experts, n, blocks]) * CODE_BYTES);
    assert_bytes(op, "code_scales", code_scales, product([num_experts, n, blocks]));
    assert_bytes(op, "bias", bias, product([num_experts, n]) * WORD_BYTES);
}

/// The product of sizes.
fn product<const N: usize>(sizes: [u32; N]) -> u64 {
    sizes.into_iter().map(u64::from).product()
}

/// Blocks of `k` values.
///
/// Panics: when they are not whole.
fn num_blocks(op: &str, k: u32) -> u32 {
    assert!(k.is_multiple_of(BLOCK_VALUES), "{op}: K = {k} is not a multiple of 32");
    k / BLOCK_VALUES
}
