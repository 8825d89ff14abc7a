//! Products of f32 activations with a weight matrix: bf16, bf16 stored transposed, or MXFP4 unpacked exactly.
//!
//! Entry points: [`linear_bf16`], [`linear_bf16_transposed`], [`linear_mxfp4_exact`]. All three are one product:
//! a row of weights becomes f32 (exactly, in each format) and every output is the dot product of
//! [`crate::lanes`]: eight lanes by k mod 8, ascending, fused; then the tree; then the bias is added. So the
//! three agree to the bit on equal matrices, and an output depends on its row and its token alone.
//!
//! Work is divided by panels of output rows. A panel is unpacked once and used for all tokens; few tokens
//! read the stored weights instead, because then unpacking costs more than it saves.
//!
//! This module does not know what a row means; int8 activations are in `linear_q8.rs`.

#[cfg(target_arch = "x86_64")]
use gptoss_formats::MXFP4_CODE_BYTES;
use gptoss_formats::{BLOCK_VALUES, mxfp4_dequantize};
use half::bf16;

use crate::dense::Dense;
use crate::embedding::widen;
#[cfg(target_arch = "x86_64")]
use crate::lanes::LANES;
use crate::lanes::dot;
use crate::rows::{RowTasks, SharedRows};
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_f32, avx2_gemv};
use crate::{Mxfp4, Pool, Tier};

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

/// Product with a dense matrix of another format than bf16, whose rows unpack to f32 exactly.
pub(crate) fn linear_unpacked(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: Dense<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    linear_f32(pool, out, x, Weights::Dense(w), bias, dims);
}

/// A matrix whose rows unpack to f32 exactly.
#[derive(Clone, Copy)]
enum Weights<'a> {
    /// `[N, K]`
    Bf16(&'a [bf16]),
    /// `[K, N]`
    Bf16Transposed(&'a [bf16]),
    Mxfp4(Mxfp4<'a>),
    /// `[N, K]`
    Dense(Dense<'a>),
}

/// Rows of a panel: 16 rows of 2,880 floats are 184 KB, a part of a core's second cache; and 16 bf16 columns are
/// half a cache line of a transposed matrix.
const PANEL_ROWS: usize = 16;
/// Rows of a task at most, where it reads them once: 128 rows of 2,880 are 737 KB of bf16.
const TASK_ROWS_MAX: usize = 128;
/// Columns of a panel of a transposed matrix that is read once: four cache lines a row.
const PANEL_COLUMNS: usize = TASK_ROWS_MAX;
/// Up to so many tokens the stored weights are read directly.
const FEW_TOKENS: usize = 4;
/// Tokens multiplied with a panel at a time; their sums take 6 KB of the nearest cache.
#[cfg(target_arch = "x86_64")]
const TOKEN_BLOCK: usize = 12;

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
    let tasks = w.tasks(pool, dims);
    pool.run(tasks.count(), |task| {
        let rows = tasks.rows(task);
        let (first, rows) = (rows.start, rows.len());
        let panel = Panel { out: &out, first, rows, dims, w, bias: bias.map(|bias| &bias[first..][..rows]) };
        match pool.tier() {
            Tier::Scalar => panel.scalar(x),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a pool carries only tiers that this processor supports.
            Tier::Avx2 | Tier::Avx512Vnni => unsafe { panel.avx2(x) },
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512Vnni => unreachable!("not supported here"),
        }
    });
}

impl Weights<'_> {
    /// Which outputs are whose.
    fn tasks(&self, pool: &Pool, dims: LinearDims) -> RowTasks {
        match self {
            _ if pool.tier() == Tier::Scalar || dims.t > FEW_TOKENS => RowTasks::units(dims.n, PANEL_ROWS),
            Weights::Bf16Transposed(_) => RowTasks::units(dims.n, PANEL_COLUMNS),
            Weights::Bf16(_) => pool.tasks_of_rows(dims.n, PANEL_ROWS, TASK_ROWS_MAX),
            Weights::Mxfp4(_) if dims.t == 1 => pool.tasks_of_rows(dims.n, PANEL_ROWS, TASK_ROWS_MAX),
            Weights::Mxfp4(_) | Weights::Dense(_) => RowTasks::units(dims.n, PANEL_ROWS),
        }
    }
}

/// Some consecutive rows of the matrix, for all tokens.
struct Panel<'a> {
    out: &'a SharedRows<'a, f32>,
    first: usize,
    rows: usize,
    dims: LinearDims,
    w: Weights<'a>,
    /// The rows of this panel alone.
    bias: Option<&'a [f32]>,
}

impl Panel<'_> {
    /// Adds the bias to the products of token `t` for rows from `row` on.
    #[inline(always)]
    fn write(&self, t: usize, row: usize, products: &[f32]) {
        // SAFETY: this panel alone writes its columns, one call at a time.
        let out = unsafe { self.out.part(t, self.first + row, products.len()) };
        for (i, (out, product)) in out.iter_mut().zip(products).enumerate() {
            *out = product + self.bias.map_or(0.0, |bias| bias[row + i]);
        }
    }

    fn scalar(&self, x: &[f32]) {
        let k = self.dims.k;
        with_scratch(k, |row: &mut [f32]| {
            for r in 0..self.rows {
                self.unpack_row(row, r);
                for t in 0..self.dims.t {
                    self.write(t, r, &[dot(&x[t * k..][..k], row)]);
                }
            }
        });
    }

    fn unpack_row(&self, out: &mut [f32], r: usize) {
        let LinearDims { n, k, .. } = self.dims;
        let row = self.first + r;
        match self.w {
            Weights::Bf16(w) => {
                for (out, w) in out.iter_mut().zip(&w[row * k..]) {
                    *out = widen(*w);
                }
            }
            Weights::Bf16Transposed(w) => {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = widen(w[i * n + row]);
                }
            }
            Weights::Mxfp4(w) => {
                let (blocks, scales) = w.row(row, k / BLOCK_VALUES);
                mxfp4_dequantize(out, blocks, scales);
            }
            Weights::Dense(w) => w.row(out, row),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, x: &[f32]) {
        let LinearDims { t, k, .. } = self.dims;
        if k == 0 {
            return (0..t).for_each(|t| self.write(t, 0, &[0.0; PANEL_COLUMNS][..self.rows]));
        }
        if t <= FEW_TOKENS && self.few_avx2(x) {
            return;
        }
        let num_sums = TOKEN_BLOCK * self.rows;
        with_scratch(self.rows * k + num_sums * (LANES + 1), |scratch: &mut [f32]| {
            let (unpacked, scratch) = scratch.split_at_mut(self.rows * k);
            let (products, sums) = scratch.split_at_mut(num_sums);
            let sums = sums.as_chunks_mut::<LANES>().0;
            self.unpack_avx2(unpacked);
            for (i, x) in x.chunks(TOKEN_BLOCK * k).enumerate() {
                let tokens = x.len() / k;
                let products = &mut products[..tokens * self.rows];
                avx2_f32::products(products, &mut sums[..tokens * self.rows], unpacked, x, k);
                for (t, products) in products.chunks_exact(self.rows).enumerate() {
                    self.write(i * TOKEN_BLOCK + t, 0, products);
                }
            }
        });
    }

    /// Products for few tokens straight from the stored form; false where there is no such way.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn few_avx2(&self, x: &[f32]) -> bool {
        let LinearDims { t, n, k } = self.dims;
        let (first, rows) = (self.first, self.rows);
        let mut products = [0.0; TASK_ROWS_MAX * FEW_TOKENS];
        let products = &mut products[..t * rows];
        match self.w {
            Weights::Bf16(w) => avx2_gemv::products_bf16(products, &w[first * k..][..rows * k], x, k),
            Weights::Bf16Transposed(w) if rows.is_multiple_of(LANES) => {
                with_scratch(LANES * products.len(), |lanes: &mut [f32]| {
                    avx2_gemv::products_transposed(products, lanes, w, x, first..first + rows, n);
                });
            }
            Weights::Mxfp4(w) if t == 1 => {
                let range = first * k / BLOCK_VALUES..(first + rows) * k / BLOCK_VALUES;
                let blocks = &w.blocks[range.start * MXFP4_CODE_BYTES..range.end * MXFP4_CODE_BYTES];
                avx2_gemv::products_mxfp4(products, blocks, &w.scales[range], x);
            }
            _ => return false,
        }
        for (t, products) in products.chunks_exact(rows).enumerate() {
            self.write(t, 0, products);
        }
        true
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn unpack_avx2(&self, out: &mut [f32]) {
        let LinearDims { n, k, .. } = self.dims;
        match self.w {
            Weights::Bf16(w) => avx2_f32::unpack_bf16(out, &w[self.first * k..][..self.rows * k]),
            Weights::Bf16Transposed(w) => avx2_f32::unpack_bf16_transposed(out, w, self.first, n, k),
            Weights::Mxfp4(w) => {
                for (r, out) in out.chunks_exact_mut(k).enumerate() {
                    let (blocks, scales) = w.row(self.first + r, k / BLOCK_VALUES);
                    avx2_f32::unpack_mxfp4(out, blocks, scales);
                }
            }
            Weights::Dense(w) => {
                for (r, out) in out.chunks_exact_mut(k).enumerate() {
                    w.row(out, self.first + r);
                }
            }
        }
    }
}
