//! Products of int8 activations with an MXFP4 matrix: the fast mode of the experts.
//!
//! Entry point: [`linear_mxfp4_q8`]. One order of summation for one token and many, and for every tier:
//! inside a block of 32 the sum of (twice the E2M1 value) times (int8 activation) is an integer, exact in any
//! order; block `b` goes to lane `b % 8`, a lane adds `sum * (activation scale * 2^(s - 127))` in ascending order
//! with fused multiply-add; the eight lanes are folded by the tree of [`crate::lanes`]; the result is halved
//! (for the doubled weights) and the bias added in one fused step.
//!
//! Why lanes by block: a decode kernel reads eight consecutive blocks of a row and gets their sums in one
//! register, so scaling costs once per 256 weights; a tile kernel walks the blocks of one lane after the other
//! and keeps a single accumulator per output. Neither pays for sharing the other's order.
//!
//! This module does not know experts or routing.

use crate::lanes::{LANES, tree};
use crate::mxfp4::{BLOCK_BYTES, BLOCK_VALUES, E2M1_DOUBLED, scale_value};
use crate::q8::{Q8Row, stored_at};
use crate::rows::SharedRows;
#[cfg(target_arch = "x86_64")]
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_q8::{self, Q8Panel};
use crate::{LinearDims, Mxfp4, Pool, Q8Rows, Tier};

/// Rows of a task: 49 KB of weights at K = 2,880, 2 us of memory bandwidth.
const PANEL_ROWS: usize = 32;
/// From this many tokens on, unpacking rows for a tile is cheaper than reading them again for each token.
#[cfg(target_arch = "x86_64")]
const TILE_FROM_TOKENS: usize = 3;

/// Product of quantised activations with an MXFP4 matrix.
///
/// Shapes: `out [T, N]`, `x` T rows of K, `w.blocks [N, K / 32, 16]`, `w.scales [N, K / 32]`, `bias [N]`.
/// Panics: when a length does not fit `dims`.
pub fn linear_mxfp4_q8(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: Mxfp4<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    assert_eq!(out.len(), dims.t * dims.n, "linear_mxfp4_q8: out is [T, N]");
    assert_eq!((x.t(), x.k()), (dims.t, dims.k), "linear_mxfp4_q8: x is T rows of K");
    assert!(bias.is_none_or(|bias| bias.len() == dims.n), "linear_mxfp4_q8: bias is [N]");
    if out.is_empty() {
        return;
    }
    let out = SharedRows::new(out, dims.n);
    pool.run(dims.n.div_ceil(PANEL_ROWS), |panel| {
        let first = panel * PANEL_ROWS;
        let panel = Panel { first, rows: PANEL_ROWS.min(dims.n - first), dims };
        let write = |t: usize, row: usize, doubled: &[f32]| {
            // SAFETY: this task alone writes the columns of its panel, one call at a time.
            let out = unsafe { out.part(t, first + row, doubled.len()) };
            for (i, (out, doubled)) in out.iter_mut().zip(doubled).enumerate() {
                *out = doubled.mul_add(0.5, bias.map_or(0.0, |bias| bias[first + row + i]));
            }
        };
        match pool.tier() {
            Tier::Scalar => panel.by_row(x, w, dot_q8, write),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a pool carries only tiers that this processor supports.
            Tier::Avx2 => unsafe { panel.avx2(x, w, write) },
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 => unreachable!("not supported here"),
        }
    });
}

/// Some consecutive rows of the matrix, for all tokens. Results, doubled, go to `write(token, row in panel, values)`.
struct Panel {
    first: usize,
    rows: usize,
    dims: LinearDims,
}

impl Panel {
    /// One row after the other, each for all tokens while it is in the nearest cache.
    #[inline(always)]
    fn by_row(
        &self,
        x: &Q8Rows,
        w: Mxfp4<'_>,
        dot: impl Fn(Q8Row<'_>, &[u8], &[u8]) -> f32,
        write: impl Fn(usize, usize, &[f32]),
    ) {
        for r in 0..self.rows {
            let (blocks, scales) = w.row(self.first + r, self.dims.k / BLOCK_VALUES);
            for t in 0..self.dims.t {
                write(t, r, &[dot(x.row(t), blocks, scales)]);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, x: &Q8Rows, w: Mxfp4<'_>, write: impl Fn(usize, usize, &[f32])) {
        let LinearDims { t, k, .. } = self.dims;
        if t < TILE_FROM_TOKENS || k == 0 {
            return self.by_row(x, w, |x, blocks, scales| avx2_q8::gemv(x, blocks, scales), write);
        }
        let num_blocks = k / BLOCK_VALUES;
        with_scratch(Q8Panel::weight_bytes(k), |weights: &mut [u8]| {
            with_scratch(Q8Panel::num_scales(k), |scales: &mut [f32]| {
                for row in (0..self.rows).step_by(avx2_q8::TILE_ROWS) {
                    let rows = avx2_q8::TILE_ROWS.min(self.rows - row);
                    let first = (self.first + row) * num_blocks;
                    let blocks = &w.blocks[first * BLOCK_BYTES..][..rows * num_blocks * BLOCK_BYTES];
                    let block_scales = &w.scales[first..][..rows * num_blocks];
                    let panel = Q8Panel::unpack(weights, scales, blocks, block_scales, num_blocks);
                    for t in (0..self.dims.t).step_by(avx2_q8::TILE_TOKENS) {
                        let tokens = avx2_q8::TILE_TOKENS.min(self.dims.t - t);
                        // Rows past the last token repeat it and are left out by the slice.
                        let x: [Q8Row<'_>; avx2_q8::TILE_TOKENS] =
                            std::array::from_fn(|i| x.row(t + i.min(tokens - 1)));
                        let products = panel.products(&x[..tokens]);
                        for (i, products) in products[..tokens].iter().enumerate() {
                            write(t + i, row, &products[..rows]);
                        }
                    }
                }
            });
        });
    }
}

/// Twice the product of one row of activations and one of weights.
fn dot_q8(x: Q8Row<'_>, blocks: &[u8], weight_scales: &[u8]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (b, (block, weight_scale)) in
        blocks.as_chunks::<BLOCK_BYTES>().0.iter().zip(weight_scales).enumerate()
    {
        let scale = x.scales[b] * scale_value(*weight_scale);
        lanes[b % LANES] = (block_sum(x, b, block) as f32).mul_add(scale, lanes[b % LANES]);
    }
    tree(&lanes)
}

fn block_sum(x: Q8Row<'_>, b: usize, block: &[u8; BLOCK_BYTES]) -> i32 {
    let first = stored_at(b * BLOCK_VALUES);
    let (even, odd) = (&x.values[first..][..16], &x.values[first + 32..][..16]);
    let mut sum = 0;
    for ((byte, even), odd) in block.iter().zip(even).zip(odd) {
        sum += i32::from(*even) * i32::from(E2M1_DOUBLED[usize::from(byte & 15)]);
        sum += i32::from(*odd) * i32::from(E2M1_DOUBLED[usize::from(byte >> 4)]);
    }
    sum
}
