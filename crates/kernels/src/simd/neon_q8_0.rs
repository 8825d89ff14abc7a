//! NEON forms of the int8 by Q8_0 product: rows for few tokens, and the panel for many.
//!
//! Entry points: [`gemv`], and [`unpack`] with the tile of `neon_q8.rs`. Weights are signed as they are.

use std::arch::aarch64::*;

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_scale};

use crate::lanes::LANES;
use crate::q8::{GROUP_BLOCKS, Q8Group, Q8Row, lane_major};
use crate::simd::neon::{Eight, add_product, dot, fold, fold_eight, load, splat, transpose};
use crate::simd::neon_q8::{TILE_ROWS, add_first};
use crate::simd::panel::Q8Panel;

/// The product of one row of weights with one row of activations.
///
/// Shapes: `row [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn gemv(x: Q8Row<'_>, row: &[Q8_0Block]) -> f32 {
    let mut lanes = splat(0.0);
    for (blocks, x) in row.chunks(GROUP_BLOCKS).zip(x.groups()) {
        let added = [sums(&x, blocks), scales(&x, blocks)];
        lanes = match blocks.len() {
            GROUP_BLOCKS => add_product(lanes, added[0], added[1]),
            some => add_first(lanes, added, some),
        };
    }
    fold(lanes)
}

/// The integer sums of up to eight blocks, in order, as floats.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sums(x: &Q8Group<'_>, blocks: &[Q8_0Block]) -> Eight {
    let mut parts = [vdupq_n_s32(0); GROUP_BLOCKS];
    let values = x.values.as_chunks::<BLOCK_VALUES>().0;
    for ((part, block), values) in parts.iter_mut().zip(blocks).zip(values) {
        let [_, _, weights @ ..] = block;
        for half in [0, 16] {
            // SAFETY: 32 weights and 32 activations.
            let (w, x) =
                unsafe { (vld1q_s8(weights.as_ptr().add(half).cast()), vld1q_s8(values.as_ptr().add(half))) };
            *part = dot(*part, w, x);
        }
    }
    fold_eight(parts).map(|sums| vcvtq_f32_s32(sums))
}

/// Activation scale times weight scale of up to eight blocks; zero after the last.
#[inline]
#[target_feature(enable = "neon")]
fn scales(x: &Q8Group<'_>, blocks: &[Q8_0Block]) -> Eight {
    let mut scales = [0.0; LANES];
    for (scale, block) in scales.iter_mut().zip(blocks) {
        *scale = q8_0_scale(block).to_f32();
    }
    let (x, scales) = (load(x.scales), load(&scales));
    [vmulq_f32(x[0], scales[0]), vmulq_f32(x[1], scales[1])]
}

/// Lays up to eight rows out for a tile; those that are missing repeat the last one.
///
/// Shapes: `weights [K / 32, 8, 8, 4]`, `scales [K / 32, 8]`, both in the order of [`lane_major`], `blocks
/// [rows, K / 32]`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn unpack(weights: &mut [u8], scales: &mut [[f32; TILE_ROWS]], blocks: &[Q8_0Block]) {
    let num_blocks = scales.len();
    let last = blocks.len() / num_blocks - 1;
    let places = weights.as_chunks_mut::<{ Q8Panel::<TILE_ROWS>::BLOCK }>().0.iter_mut().zip(scales);
    for ((weights, scales), b) in places.zip(lane_major(num_blocks)) {
        let rows: [&Q8_0Block; TILE_ROWS] = std::array::from_fn(|r| &blocks[r.min(last) * num_blocks + b]);
        *scales = rows.map(|block| q8_0_scale(block).to_f32());
        let halves = weights.as_chunks_mut::<16>().0;
        for (first_row, first_word) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            let words = std::array::from_fn(|r| {
                let [_, _, values @ ..] = rows[first_row + r];
                // SAFETY: 32 weights, of which sixteen from the first or the fifth word on.
                unsafe { vreinterpretq_u32_u8(vld1q_u8(values.as_ptr().add(first_word * 4))) }
            });
            for (word, bytes) in transpose(words).into_iter().enumerate() {
                let out = &mut halves[2 * (first_word + word) + first_row / 4];
                // SAFETY: sixteen bytes.
                unsafe { vst1q_u8(out.as_mut_ptr(), bytes) };
            }
        }
    }
}
