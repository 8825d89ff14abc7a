//! The inputs of dense products: f32 rows, and beside them the same rows as int8 where a matrix is multiplied that way.
//!
//! Entry points: [`Activations::new`], then [`linear`] and [`product`]. Whether a matrix takes int8 is a question of
//! precision and of its own format, not of who asked for that format: Q8_0 made at load and Q8_0 from a file are the same
//! product. Rows are quantised once for all the matrices they meet, since query, key and value share theirs.
//!
//! It does not know which matrices those are.

use gptoss_kernels::{
    Dense, LinearDims, Pool, Q8Rows, linear_dense, linear_q8_0, linear_q8_panels, quantize_q8,
};

use crate::config::Precision;
use crate::cpu::weights::{Linear, Matrix};

/// Rows that dense matrices are multiplied with: `[T, K]`.
pub(crate) struct Activations<'a> {
    x: &'a [f32],
    q8: Option<&'a Q8Rows>,
}

impl<'a> Activations<'a> {
    /// Rows of `k` numbers for products with `weights`. If any of them takes int8, `q8` is filled.
    pub(crate) fn new(
        pool: &Pool,
        precision: Precision,
        x: &'a [f32],
        k: usize,
        q8: &'a mut Q8Rows,
        weights: &[&Matrix],
    ) -> Activations<'a> {
        let takes_int8 = |weight: &&Matrix| matches!(weight.dense(), Dense::Q8_0(_) | Dense::Q8Panels(_));
        if precision == Precision::Exact || !weights.iter().any(takes_int8) {
            return Activations::exact(x);
        }
        quantize_q8(pool, q8, x, x.len() / k, k);
        Activations::quantised(precision, x, q8)
    }

    /// Rows that have been quantised before, for whichever matrices take int8.
    pub(crate) fn quantised(precision: Precision, x: &'a [f32], q8: &'a Q8Rows) -> Activations<'a> {
        Activations { x, q8: (precision == Precision::Fast).then_some(q8) }
    }

    /// Rows that every matrix is multiplied with in f32.
    pub(crate) fn exact(x: &'a [f32]) -> Activations<'a> {
        Activations { x, q8: None }
    }
}

/// Product with bias of every row: `out [T, N]`.
pub(crate) fn linear(pool: &Pool, out: &mut [f32], x: &Activations<'_>, linear: &Linear) {
    let n = linear.bias.len();
    product(pool, out, x, &linear.weight, Some(&linear.bias), n);
}

/// Product of every row with a matrix `[N, K]`: `out [T, N]`.
pub(crate) fn product(
    pool: &Pool,
    out: &mut [f32],
    x: &Activations<'_>,
    weight: &Matrix,
    bias: Option<&[f32]>,
    n: usize,
) {
    let weight = weight.dense();
    let dims = LinearDims { t: out.len() / n, n, k: weight.len() / n };
    match (weight, x.q8) {
        (Dense::Q8_0(blocks), Some(q8)) => linear_q8_0(pool, out, q8, blocks, bias, dims),
        (Dense::Q8Panels(panels), Some(q8)) => linear_q8_panels(pool, out, q8, panels, bias, dims),
        _ => linear_dense(pool, out, x.x, weight, bias, dims),
    }
}
