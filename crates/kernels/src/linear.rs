//! Products of f32 activations with a weight matrix: bf16, bf16 stored transposed, or MXFP4 unpacked exactly.
//!
//! Entry points: [`linear_bf16`], [`linear_bf16_transposed`], [`linear_mxfp4_exact`]. All three are one product:
//! a row of weights becomes f32 (exactly, in each format) and every output is the dot product of
//! [`crate::lanes`]: eight lanes by k mod 8, ascending, fused; then the tree; then the bias is added. So the
//! three agree to the bit on equal matrices, and an output depends on its row and its token alone.
//!
//! Work is divided by panels of output rows. With many tokens a panel is unpacked once and used for all.
//!
//! This module does not know what a row means; int8 activations are in `linear_q8.rs`.

use half::bf16;

use crate::embedding::widen;
use crate::lanes::dot;
use crate::mxfp4::{BLOCK_VALUES, mxfp4_dequantize};
use crate::rows::SharedRows;
use crate::{Mxfp4, Pool};

/// The sizes of a product `out [T, N] = x [T, K] * w [N, K]^T + bias [N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearDims {
    /// Tokens: rows of `x` and `out`.
    pub t: usize,
    /// Outputs per token: rows of the matrix.
    pub n: usize,
    /// Inputs per token: columns of the matrix.
    pub k: usize,
}

/// Product with a bf16 matrix stored row by row.
///
/// Shapes: `out [T, N]`, `x [T, K]`, `w [N, K]`, `bias [N]`.
/// Panics: when a length does not fit `dims`.
pub fn linear_bf16(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: &[bf16],
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(w.len(), dims.n * dims.k, "linear_bf16: w is [N, K]");
    linear_f32(pool, out, x, Weights::Bf16(w), bias, dims);
}

/// Product with a bf16 matrix stored transposed, as bf16 experts are; bit-equal to [`linear_bf16`].
///
/// Shapes: `out [T, N]`, `x [T, K]`, `w [K, N]`, `bias [N]`.
/// Panics: when a length does not fit `dims`.
pub fn linear_bf16_transposed(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: &[bf16],
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(w.len(), dims.n * dims.k, "linear_bf16_transposed: w is [K, N]");
    linear_f32(pool, out, x, Weights::Bf16Transposed(w), bias, dims);
}

/// Product of f32 activations with an MXFP4 matrix; bit-equal to [`linear_bf16`] of the unpacked matrix.
///
/// Shapes: `out [T, N]`, `x [T, K]`, `w.blocks [N, K / 32, 16]`, `w.scales [N, K / 32]`, `bias [N]`.
/// Panics: when a length does not fit `dims`, or K is no multiple of 32.
pub fn linear_mxfp4_exact(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: Mxfp4<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    linear_f32(pool, out, x, Weights::Mxfp4(w), bias, dims);
}

/// A matrix whose rows unpack to f32 exactly.
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    /// `[N, K]`
    Bf16(&'a [bf16]),
    /// `[K, N]`
    Bf16Transposed(&'a [bf16]),
    Mxfp4(Mxfp4<'a>),
}

/// Rows of a panel.
const PANEL_ROWS: usize = 16;

fn linear_f32(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: Weights<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(out.len(), dims.t * dims.n, "linear: out is [T, N]");
    assert_eq!(x.len(), dims.t * dims.k, "linear: x is [T, K]");
    assert!(bias.is_none_or(|bias| bias.len() == dims.n), "linear: bias is [N]");
    if out.is_empty() {
        return;
    }
    let out = SharedRows::new(out, dims.n);
    pool.run(dims.n.div_ceil(PANEL_ROWS), |panel| {
        let first = panel * PANEL_ROWS;
        let rows = PANEL_ROWS.min(dims.n - first);
        let mut unpacked = vec![0.0; rows * dims.k];
        unpack(&mut unpacked, w, first, dims);
        for t in 0..dims.t {
            let x = &x[t * dims.k..][..dims.k];
            // SAFETY: this task alone writes columns `first..first + rows`, of every row.
            let out = unsafe { out.part(t, first, rows) };
            for (r, out) in out.iter_mut().enumerate() {
                *out = dot(x, &unpacked[r * dims.k..][..dims.k]) + bias.map_or(0.0, |bias| bias[first + r]);
            }
        }
    });
}

/// Unpacks as many rows from `first` on as `out [rows, K]` holds.
fn unpack(out: &mut [f32], w: Weights<'_>, first: usize, dims: LinearDims) {
    for (r, out) in out.chunks_exact_mut(dims.k.max(1)).enumerate() {
        let n = first + r;
        match w {
            Weights::Bf16(w) => {
                for (out, w) in out.iter_mut().zip(&w[n * dims.k..]) {
                    *out = widen(*w);
                }
            }
            Weights::Bf16Transposed(w) => {
                for (out, w) in out.iter_mut().zip(w[n..].iter().step_by(dims.n)) {
                    *out = widen(*w);
                }
            }
            Weights::Mxfp4(w) => {
                let (blocks, scales) = w.row(n, dims.k / BLOCK_VALUES);
                mxfp4_dequantize(out, blocks, scales);
            }
        }
    }
}
