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
use crate::mxfp4::{BLOCK_VALUES, E2M1_DOUBLED, scale_value};
use crate::rows::SharedRows;
use crate::{LinearDims, Mxfp4, Pool, Q8Rows};

/// Rows of a task.
const PANEL_ROWS: usize = 32;

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
        let rows = PANEL_ROWS.min(dims.n - first);
        for t in 0..dims.t {
            // SAFETY: this task alone writes columns `first..first + rows`, of every row.
            let out = unsafe { out.part(t, first, rows) };
            for (r, out) in out.iter_mut().enumerate() {
                let (blocks, scales) = w.row(first + r, dims.k / BLOCK_VALUES);
                let doubled = dot_q8(x.values(t), x.scales(t), blocks, scales);
                *out = doubled.mul_add(0.5, bias.map_or(0.0, |bias| bias[first + r]));
            }
        }
    });
}

/// Twice the product of one row of activations and one of weights.
fn dot_q8(values: &[i8], scales: &[f32], blocks: &[u8], weight_scales: &[u8]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let blocks = blocks.as_chunks::<16>().0;
    let values = values.as_chunks::<BLOCK_VALUES>().0;
    for (b, (block, values)) in blocks.iter().zip(values).enumerate() {
        let scale = scales[b] * scale_value(weight_scales[b]);
        lanes[b % LANES] = (block_sum(values, block) as f32).mul_add(scale, lanes[b % LANES]);
    }
    tree(&lanes)
}

fn block_sum(values: &[i8; BLOCK_VALUES], block: &[u8; 16]) -> i32 {
    let pairs = values.as_chunks::<2>().0;
    pairs
        .iter()
        .zip(block)
        .map(|(pair, byte)| {
            i32::from(pair[0]) * i32::from(E2M1_DOUBLED[usize::from(byte & 15)])
                + i32::from(pair[1]) * i32::from(E2M1_DOUBLED[usize::from(byte >> 4)])
        })
        .sum()
}
