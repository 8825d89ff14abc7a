//! The inputs of dense products: f32 rows, and beside them the same rows as int8 where a matrix is multiplied
//! that way.
//!
//! Entry points: [`Activations::new`], then [`linear`] and [`product`]. Whether a matrix takes int8 is a
//! question of precision and of its own format, not of who asked for that format: Q8_0 made at load and Q8_0
//! from a file are the same product. Rows are quantized once for all the matrices that take them in the
//! same parts.

use gptoss_kernels::{LinearDims, Matrix, Pool, Q8Order, Q8Rows, Rows, quantize_q8, quantize_q8_parts};

use crate::config::Precision;
use crate::cpu::weights::{DenseMatrix, Linear};

/// Rows that dense matrices are multiplied with: `[T, K]`.
pub(crate) struct Activations<'a> {
    x: &'a [f32],
    /// The rows, or their 2T parts.
    q8: Option<&'a Q8Rows>,
    parts: Parts,
}

/// In how many int8 numbers a value is multiplied with int8 weights; decision 0009 says where two are worth
/// it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    One,
    Two,
}

impl<'a> Activations<'a> {
    /// Rows of `k` numbers for products with `weights`. If any of them takes int8, `q8` is filled.
    pub(crate) fn new(
        pool: &Pool,
        precision: Precision,
        (x, k): (&'a [f32], usize),
        parts: Parts,
        q8: &'a mut Q8Rows,
        weights: &[&DenseMatrix],
    ) -> Activations<'a> {
        if !weights.iter().any(|weight| int8_order(precision, weight.view()).is_some()) {
            return Activations::exact(x);
        }
        match parts {
            Parts::One => quantize_q8(pool, q8, x, x.len() / k, k),
            Parts::Two => quantize_q8_parts(pool, q8, x, x.len() / k, k),
        }
        Activations { x, q8: Some(q8), parts }
    }

    /// Rows that have been quantized before, in `parts`, for whichever matrices take int8.
    pub(crate) fn quantized(
        precision: Precision,
        x: &'a [f32],
        q8: &'a Q8Rows,
        parts: Parts,
    ) -> Activations<'a> {
        Activations { x, q8: (precision == Precision::Fast).then_some(q8), parts }
    }

    /// Rows that every matrix is multiplied with in f32.
    pub(crate) fn exact(x: &'a [f32]) -> Activations<'a> {
        Activations { x, q8: None, parts: Parts::One }
    }

    /// The rows that a product with `weight` takes.
    fn rows_for(&self, weight: Matrix<'_>) -> Rows<'a> {
        match (self.q8.filter(|_| weight.activation_order().is_some()), self.parts) {
            (Some(q8), Parts::One) => Rows::Q8(q8),
            (Some(q8), Parts::Two) => Rows::Q8Parts(q8),
            (None, _) => Rows::F32(self.x),
        }
    }
}

/// The order of the int8 rows that a product with `weight` takes, if it takes any in this precision.
pub(crate) fn int8_order(precision: Precision, weight: Matrix<'_>) -> Option<Q8Order> {
    match precision {
        Precision::Fast => weight.activation_order(),
        Precision::Exact => None,
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
    weight: &DenseMatrix,
    bias: Option<&[f32]>,
    n: usize,
) {
    let t = out.len() / n;
    let dims = LinearDims { t, n, k: x.x.len() / t.max(1) };
    let weight = weight.view();
    gptoss_kernels::linear(pool, out, x.rows_for(weight), weight, bias, dims);
}
