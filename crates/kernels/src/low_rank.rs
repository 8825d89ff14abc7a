//! A low-rank addition to a linear layer (LoRA): `y += s (x A^T) B^T`, and its gradients.
//!
//! Entry points: [`low_rank`], or its halves [`low_rank_shrink`] and [`low_rank_expand`] for factors that are
//! laid out once and used often; [`low_rank_row`] for a row of the added matrix;
//! [`low_rank_backward_input`], [`low_rank_backward_factors`]. The frozen product is not known here; what is
//! added comes after it, one chain an output over the rank, ascending, which begins with the product. The
//! shrunk rows `u = s x A^T` are what the gradient of B needs.

use crate::linear_backward::{linear_backward_input, linear_backward_weight};
use crate::matrix::{Matrix, Rows, linear};
use crate::pool::Pool;
use crate::products::chained::{ChainDims, Left, add_product};
use crate::products::float::LinearDims;

/// Rows of a task of [`low_rank_shrink`]: a rank is few outputs, so that threads share the rows.
const SHRINK_ROWS: usize = 16;

/// The two factors of what is added to a matrix `[N, K]`.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// A: `[r, K]`.
    pub a: &'a [f32],
    /// B: `[N, r]`.
    pub b: &'a [f32],
    /// r
    pub rank: usize,
    /// s
    pub scale: f32,
}

/// What gradients of the factors are added to.
#[derive(Debug)]
pub struct LowRankGradients<'a> {
    /// `[r, K]`
    pub a: &'a mut [f32],
    /// `[N, r]`
    pub b: &'a mut [f32],
}

/// Adds to `y` and leaves the shrunk rows in `u`.
///
/// Shapes: `y [T, N]`, `u [T, r]`, `x [T, K]`.
/// Panics: when a length does not fit `dims`.
pub fn low_rank(
    pool: &Pool,
    y: &mut [f32],
    u: &mut [f32],
    x: &[f32],
    factors: LowRank<'_>,
    dims: LinearDims,
) {
    let (LinearDims { t, n, k }, rank) = (dims, factors.rank);
    low_rank_shrink(pool, u, x, factors, LinearDims { t, n: rank, k });
    assert_eq!(factors.b.len(), n * rank, "low_rank: b is [N, r]");
    // Small beside T rows of outputs.
    let columns: Vec<f32> = (0..rank * n).map(|i| factors.b[i % n * rank + i / n]).collect();
    low_rank_expand(pool, y, u, &columns, LinearDims { t, n, k: rank });
}

/// A row of the matrix that is added, `s B A`, on its own: a chain over the rank, ascending.
///
/// Shapes: `out [K]`.
/// Panics: when `out` is not a row, or there is no such row.
pub fn low_rank_row(out: &mut [f32], factors: LowRank<'_>, row: usize) {
    let LowRank { a, b, rank, scale } = factors;
    assert_eq!(a.len(), rank * out.len(), "low_rank_row: a is [r, K]");
    out.fill(0.0);
    for (b, a) in b[row * rank..][..rank].iter().zip(a.chunks_exact(out.len())) {
        let factor = scale * b;
        out.iter_mut().zip(a).for_each(|(out, a)| *out += factor * a);
    }
}

/// Adds the expanded rows alone: `y += u B^T`, of which `dims` are the sizes, K being r.
///
/// Shapes: `y [T, N]`, `u [T, r]`, `columns [r, N]`, which is B column by column.
/// Panics: when a length does not fit `dims`.
pub fn low_rank_expand(pool: &Pool, y: &mut [f32], u: &[f32], columns: &[f32], dims: LinearDims) {
    let (LinearDims { t, n, k: rank }, u) = (dims, Left { values: u, by_row: dims.k, by_step: 1 });
    add_product(pool, y, u, columns, ChainDims { rows: t, columns: n, steps: rank });
}

/// The shrunk rows alone: `u = s x A^T`, of which `dims` are the sizes.
///
/// Shapes: `u [T, r]`, `x [T, K]`.
/// Panics: when a length does not fit `dims`.
pub fn low_rank_shrink(pool: &Pool, u: &mut [f32], x: &[f32], factors: LowRank<'_>, dims: LinearDims) {
    let LinearDims { t, n, k } = dims;
    assert_eq!(u.len(), t * n, "low_rank_shrink: u is [T, r]");
    assert_eq!(x.len(), t * k, "low_rank_shrink: x is [T, K]");
    let shrink = |first: usize, u: &mut [f32]| {
        let t = u.len() / n;
        let x = Rows::F32(&x[first * k..][..t * k]);
        linear(pool, u, x, Matrix::F32(factors.a), None, LinearDims { t, ..dims });
        u.iter_mut().for_each(|u| *u *= factors.scale);
    };
    let whole = t / SHRINK_ROWS * SHRINK_ROWS;
    let (tasks, rest) = u.split_at_mut(whole * n);
    if !tasks.is_empty() {
        pool.for_each_row(tasks, SHRINK_ROWS * n, |task, u| shrink(task * SHRINK_ROWS, u));
    }
    if !rest.is_empty() {
        shrink(whole, rest);
    }
}

/// Adds the gradient of the inputs.
///
/// Shapes: `dx [T, K]`, `dy [T, N]`.
/// Panics: when a length does not fit `dims`.
pub fn low_rank_backward_input(
    pool: &Pool,
    dx: &mut [f32],
    dy: &[f32],
    factors: LowRank<'_>,
    dims: LinearDims,
) {
    let shrink = LinearDims { n: factors.rank, ..dims };
    linear_backward_input(
        pool,
        dx,
        &shrunk_gradient(pool, dy, factors, dims),
        Matrix::F32(factors.a),
        shrink,
    );
}

/// Adds the gradients of both factors; `u` is what [`low_rank`] left.
///
/// Shapes: `dy [T, N]`, `x [T, K]`, `u [T, r]`.
/// Panics: when a length does not fit `dims`.
pub fn low_rank_backward_factors(
    pool: &Pool,
    gradients: LowRankGradients<'_>,
    dy: &[f32],
    (x, u): (&[f32], &[f32]),
    factors: LowRank<'_>,
    dims: LinearDims,
) {
    linear_backward_weight(pool, gradients.b, dy, u, LinearDims { k: factors.rank, ..dims });
    let du = shrunk_gradient(pool, dy, factors, dims);
    linear_backward_weight(pool, gradients.a, &du, x, LinearDims { n: factors.rank, ..dims });
}

/// `s dy B`: `[T, r]`.
fn shrunk_gradient(pool: &Pool, dy: &[f32], factors: LowRank<'_>, dims: LinearDims) -> Vec<f32> {
    let mut du = vec![0.0; dims.t * factors.rank];
    let expand = LinearDims { k: factors.rank, ..dims };
    linear_backward_input(pool, &mut du, dy, Matrix::F32(factors.b), expand);
    du.iter_mut().for_each(|du| *du *= factors.scale);
    du
}
