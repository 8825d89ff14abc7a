//! Gradients of [`linear`](crate::linear): of its rows, its matrix and its bias.
//!
//! Entry points: [`linear_backward_input`], [`linear_backward_weight`], [`linear_backward_bias`]. Each adds
//! to what its output holds, in one chain an element: over outputs n ascending for the rows, over tokens
//! ascending for matrix and bias. So micro-batches in turn give the bits of one batch, and projections that
//! share their input add up in the order of the calls. A frozen matrix is read where it lies, in its stored
//! form, some columns at a time.

use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::products::chained::{ChainDims, Left, add_product};
use crate::products::float::LinearDims;
use crate::rows::{RowTasks, SharedRows};
use crate::tier::per_tier;

/// Outputs of a bias that a task adds.
const BIAS_COLUMNS: usize = 128;

/// `dx [T, K] += dy [T, N] * w [N, K]`.
///
/// Equal matrices give equal bits in every form.
///
/// Panics: when a length does not fit `dims`, or `w` is of int8, through which no gradient runs.
pub fn linear_backward_input(pool: &Pool, dx: &mut [f32], dy: &[f32], w: Matrix<'_>, dims: LinearDims) {
    let LinearDims { t, n, k } = dims;
    let a = Left { values: dy, by_row: n, by_step: 1 };
    let dims = ChainDims { rows: t, columns: k, steps: n };
    match w {
        Matrix::Bf16(w) => add_product(pool, dx, a, w, dims),
        Matrix::Bf16Transposed(w) => add_product(pool, dx, a, w, dims),
        Matrix::F16(w) => add_product(pool, dx, a, w, dims),
        Matrix::F32(w) => add_product(pool, dx, a, w, dims),
        Matrix::Mxfp4(w) => add_product(pool, dx, a, w, dims),
        Matrix::Mxfp4Blocks(w) => add_product(pool, dx, a, w, dims),
        Matrix::Q8_0(_) | Matrix::Q8Panels(_) => panic!("linear_backward_input: a matrix of int8"),
    }
}

/// `dw [N, K] += dy [T, N]^T * x [T, K]`.
///
/// Panics: when a length does not fit `dims`.
pub fn linear_backward_weight(pool: &Pool, dw: &mut [f32], dy: &[f32], x: &[f32], dims: LinearDims) {
    let LinearDims { t, n, k } = dims;
    let a = Left { values: dy, by_row: 1, by_step: n };
    add_product(pool, dw, a, x, ChainDims { rows: n, columns: k, steps: t });
}

/// `db [N] +=` the rows of `dy [T, N]`, in turn.
///
/// Panics: when `dy` is not whole rows.
pub fn linear_backward_bias(pool: &Pool, db: &mut [f32], dy: &[f32]) {
    let n = db.len();
    assert!(dy.len().is_multiple_of(n.max(1)), "linear_backward_bias: dy is [T, {n}]");
    let (db, tasks) = (SharedRows::new(db, n), RowTasks::units(n, BIAS_COLUMNS));
    pool.run(tasks.count(), |task| {
        let columns = tasks.rows(task);
        // SAFETY: each task has columns of its own.
        let db = unsafe { db.part(0, columns.start, columns.len()) };
        let first = columns.start;
        per_tier!(pool.instructions(), add_rows(db: &mut [f32], dy: &[f32], n: usize, first: usize));
    });
}

#[inline(always)]
fn add_rows(db: &mut [f32], dy: &[f32], n: usize, first: usize) {
    for row in dy.chunks_exact(n) {
        for (db, dy) in db.iter_mut().zip(&row[first..]) {
            *db += dy;
        }
    }
}
