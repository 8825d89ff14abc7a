//! Products of f32 activations with a matrix in any form.
//!
//! Entry point: [`product`]. A row of weights becomes f32 (exactly, in each form) and every output is the dot
//! product of [`crate::lanes`]: eight lanes by k mod 8, ascending, fused; then the tree; then the bias is
//! added. So all forms agree to the bit on equal matrices, and an output depends on its row and its token
//! alone.
//!
//! Work is divided by panels of output rows, and by tokens where these are many or the panels few. A task
//! unpacks its panel once and uses it for all its tokens; for few tokens a form may read its stored weights
//! instead ([`Weights::FEW_TOKENS`]), because then unpacking costs more than it saves.

use std::ops::Range;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::lanes::LANES;
use crate::lanes::dot;
use crate::pool::Pool;
use crate::rows::{RowTasks, SharedRows};
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_f32;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_f32;
#[cfg(target_arch = "x86_64")]
use crate::tier::Avx2;
use crate::tier::{Instructions, Tier};

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

/// Rows of a panel: 16 rows of 2,880 floats are 184 KB, a part of a core's second cache; and 16 bf16 columns
/// are half a cache line of a transposed matrix.
pub(crate) const PANEL_ROWS: usize = 16;
/// Rows of a task at most, where it reads them once: 128 rows of 2,880 are 737 KB of bf16.
pub(crate) const TASK_ROWS_MAX: usize = 128;
/// Most tokens of any [`Weights::FEW_TOKENS`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const FEW_TOKENS_MAX: usize = 4;
/// Tokens multiplied with a panel at a time; their sums take 6 KB of the nearest cache.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const TOKEN_BLOCK: usize = 12;
/// Tokens of a task at most: 256 of 2,880 floats are 3 MB, which all panels find in the last cache.
const TASK_TOKENS_MAX: usize = 256;
/// Tokens of a task at least, where panels are few: unpacking is then a tenth of multiplying.
const TASK_TOKENS_MIN: usize = 48;

/// A borrowed matrix `[N, K]` in one form. A new form brings the four methods without a body; the others are
/// there to be faster.
pub(crate) trait Weights: Copy + Sync {
    /// Up to so many tokens, at most 4, `multiply_few_avx2` and `multiply_few_neon` read the stored weights.
    const FEW_TOKENS: usize = 0;

    /// Panics unless this is a matrix of N rows of K values.
    fn assert_shape(self, n: usize, k: usize);

    /// Bytes that a product with the matrix reads.
    fn num_bytes(self) -> usize;

    /// Rows `first..first + rows` of a matrix of K columns.
    fn rows(self, first: usize, rows: usize, k: usize) -> Self;

    /// Row `row` as f32, exactly.
    ///
    /// Shapes: `out [K]`.
    fn unpack_row(self, out: &mut [f32], row: usize);

    /// All rows as f32.
    ///
    /// Shapes: `out [rows, K]`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_avx2(self, _: Avx2, out: &mut [f32], k: usize) {
        for (row, out) in out.chunks_exact_mut(k).enumerate() {
            self.unpack_row(out, row);
        }
    }

    /// The products of up to [`Weights::FEW_TOKENS`] tokens; false where there is no such way.
    ///
    /// Shapes: `out [T, rows]`, `x [T, K]`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn multiply_few_avx2(self, _: Avx2, _out: &mut [f32], _x: &[f32], _k: usize) -> bool {
        false
    }

    /// All rows as f32.
    ///
    /// Shapes: `out [rows, K]`.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn unpack_neon(self, out: &mut [f32], k: usize) {
        for (row, out) in out.chunks_exact_mut(k).enumerate() {
            self.unpack_row(out, row);
        }
    }

    /// The products of up to [`Weights::FEW_TOKENS`] tokens; false where there is no such way.
    ///
    /// Shapes: `out [T, rows]`, `x [T, K]`.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn multiply_few_neon(self, _out: &mut [f32], _x: &[f32], _k: usize) -> bool {
        false
    }

    /// Which of `n` outputs are whose when few tokens read the stored weights.
    fn tasks_of_few(pool: &Pool, n: usize) -> RowTasks {
        pool.tasks_of_rows(n, PANEL_ROWS, TASK_ROWS_MAX)
    }
}

/// Product of every token.
///
/// Shapes: `out [T, N]`, `x [T, K]`, `bias [N]`.
/// Panics: when a length does not fit `dims`.
pub(crate) fn product<W: Weights>(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: W,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    assert_eq!(out.len(), dims.t * dims.n, "linear: out is [T, N]");
    assert_eq!(x.len(), dims.t * dims.k, "linear: x is [T, K]");
    assert!(bias.is_none_or(|bias| bias.len() == dims.n), "linear: bias is [N]");
    if out.is_empty() {
        return;
    }
    let out = SharedRows::new(out, dims.n);
    let panels = match pool.tier() != Tier::Scalar && dims.t <= W::FEW_TOKENS {
        true => W::tasks_of_few(pool, dims.n),
        false => RowTasks::units(dims.n, PANEL_ROWS),
    };
    let tokens = pool.tasks_beside(panels.count(), dims.t, TASK_TOKENS_MIN, TASK_TOKENS_MAX);
    pool.run(panels.count() * tokens.count(), |task| {
        let rows = panels.rows(task % panels.count());
        let (first, rows) = (rows.start, rows.len());
        let tokens = tokens.rows(task / panels.count());
        let bias = bias.map(|bias| &bias[first..][..rows]);
        let w = w.rows(first, rows, dims.k);
        let x = &x[tokens.start * dims.k..tokens.end * dims.k];
        Panel { out: &out, first, rows, tokens, k: dims.k, w, bias }.multiply(pool.instructions(), x);
    });
}

/// Some consecutive rows of the matrix, for some tokens.
struct Panel<'a, W> {
    out: &'a SharedRows<'a, f32>,
    first: usize,
    rows: usize,
    tokens: Range<usize>,
    k: usize,
    /// The rows of this panel alone, as the bias.
    w: W,
    bias: Option<&'a [f32]>,
}

impl<W: Weights> Panel<'_, W> {
    fn multiply(&self, instructions: Instructions, x: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = instructions.avx2() {
            // SAFETY: the processor has the features, of which the token is the proof.
            return unsafe { self.avx2(avx2, x) };
        }
        #[cfg(target_arch = "aarch64")]
        if instructions.neon().is_some() {
            return self.neon(x);
        }
        let _ = instructions;
        self.scalar(x);
    }

    /// Adds the bias to the products of token `t` of the task for rows from `row` on.
    #[inline(always)]
    fn write(&self, t: usize, row: usize, products: &[f32]) {
        // SAFETY: this task alone writes these columns of its tokens, one call at a time.
        let out = unsafe { self.out.part(self.tokens.start + t, self.first + row, products.len()) };
        let sums = out.iter_mut().zip(products);
        match self.bias {
            Some(bias) => sums.zip(&bias[row..]).for_each(|((out, product), bias)| *out = product + bias),
            None => sums.for_each(|(out, product)| *out = product + 0.0),
        }
    }

    fn scalar(&self, x: &[f32]) {
        let k = self.k;
        with_scratch(k, |row: &mut [f32]| {
            for r in 0..self.rows {
                self.w.unpack_row(row, r);
                for t in 0..self.tokens.len() {
                    self.write(t, r, &[dot(&x[t * k..][..k], row)]);
                }
            }
        });
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, token: Avx2, x: &[f32]) {
        let (t, k) = (self.tokens.len(), self.k);
        if k == 0 {
            return (0..t).for_each(|t| self.write(t, 0, &[0.0; TASK_ROWS_MAX][..self.rows]));
        }
        let is_few = t <= W::FEW_TOKENS;
        if is_few && self.few(|products| self.w.multiply_few_avx2(token, products, x, k)) {
            return;
        }
        self.unpacked(
            x,
            |unpacked| self.w.unpack_avx2(token, unpacked, k),
            |products, sums, w, x| avx2_f32::products(products, sums, w, x, k),
        );
    }

    #[cfg(target_arch = "aarch64")]
    fn neon(&self, x: &[f32]) {
        let (t, k) = (self.tokens.len(), self.k);
        if k == 0 {
            return (0..t).for_each(|t| self.write(t, 0, &[0.0; TASK_ROWS_MAX][..self.rows]));
        }
        let is_few = t <= W::FEW_TOKENS;
        if is_few && self.few(|products| self.w.multiply_few_neon(products, x, k)) {
            return;
        }
        self.unpacked(
            x,
            |unpacked| self.w.unpack_neon(unpacked, k),
            // SAFETY: NEON is part of the architecture.
            |products, sums, w, x| unsafe { neon_f32::products(products, sums, w, x, k) },
        );
    }

    /// Products for few tokens straight from the stored form; false where there is no such way.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    fn few(&self, multiply: impl FnOnce(&mut [f32]) -> bool) -> bool {
        const { assert!(W::FEW_TOKENS <= FEW_TOKENS_MAX) };
        let mut products = [0.0; TASK_ROWS_MAX * FEW_TOKENS_MAX];
        let products = &mut products[..self.tokens.len() * self.rows];
        if !multiply(products) {
            return false;
        }
        for (t, products) in products.chunks_exact(self.rows).enumerate() {
            self.write(t, 0, products);
        }
        true
    }

    /// Products with rows that `unpack` writes once, some tokens at a time by the tiles of `multiply`.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    fn unpacked(
        &self,
        x: &[f32],
        unpack: impl FnOnce(&mut [f32]),
        multiply: impl Fn(&mut [f32], &mut [[f32; LANES]], &[f32], &[f32]),
    ) {
        let (k, num_sums) = (self.k, TOKEN_BLOCK * self.rows);
        with_scratch(self.rows * k + num_sums * (LANES + 1), |scratch: &mut [f32]| {
            let (unpacked, scratch) = scratch.split_at_mut(self.rows * k);
            let (products, sums) = scratch.split_at_mut(num_sums);
            let sums = sums.as_chunks_mut::<LANES>().0;
            unpack(unpacked);
            for (i, x) in x.chunks(TOKEN_BLOCK * k).enumerate() {
                let tokens = x.len() / k;
                let products = &mut products[..tokens * self.rows];
                multiply(products, &mut sums[..tokens * self.rows], unpacked, x);
                for (t, products) in products.chunks_exact(self.rows).enumerate() {
                    self.write(i * TOKEN_BLOCK + t, 0, products);
                }
            }
        });
    }
}
