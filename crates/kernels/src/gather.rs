//! Rows gathered out of many, and added back.
//!
//! Entry points: [`gather_rows`], [`scatter_rows`]. What is added to an element comes in the order of the
//! rows, each fused with its factor; tasks share the columns, so that a row may come more than once.

use std::ops::Range;

use crate::pool::Pool;
use crate::rows::{RowTasks, SharedRows};
use crate::tier::per_tier;

/// Columns of a task: four cache lines.
const TASK_COLUMNS: usize = 64;

/// `out[i] = x[rows[i]]`.
///
/// Shapes: `out [R, C]`, `x [T, C]`, `rows [R]`.
/// Panics: when `out` is not R whole rows, or a row is not below T.
pub fn gather_rows(pool: &Pool, out: &mut [f32], x: &[f32], rows: &[usize]) {
    let c = out.len() / rows.len().max(1);
    assert_eq!(out.len(), rows.len() * c, "gather_rows: out is [R, C]");
    pool.for_each_row(out, c, |i, out| out.copy_from_slice(&x[rows[i] * c..][..c]));
}

/// `out[rows[i]] += factors[i] * x[i]`, i ascending.
///
/// Shapes: `out [T, C]`, `x [R, C]`, `rows [R]`, `factors [R]`.
/// Panics: when `x` is not R whole rows, or a row is not below T.
pub fn scatter_rows(pool: &Pool, out: &mut [f32], x: &[f32], rows: &[usize], factors: &[f32]) {
    let c = x.len() / rows.len().max(1);
    assert_eq!(x.len(), rows.len() * c, "scatter_rows: x is [R, C]");
    assert_eq!(factors.len(), rows.len(), "scatter_rows: factors are [R]");
    let (out, tasks) = (SharedRows::new(out, c), RowTasks::units(c, TASK_COLUMNS));
    pool.run(tasks.count(), |task| {
        let (out, columns) = (&out, tasks.rows(task));
        per_tier!(
            pool.instructions(),
            add_columns(
                out: &SharedRows<'_, f32>,
                x: &[f32],
                rows: &[usize],
                factors: &[f32],
                columns: Range<usize>,
            )
        );
    });
}

#[inline(always)]
fn add_columns(out: &SharedRows<'_, f32>, x: &[f32], rows: &[usize], factors: &[f32], columns: Range<usize>) {
    let c = x.len() / rows.len().max(1);
    for ((row, factor), x) in rows.iter().zip(factors).zip(x.chunks_exact(c.max(1))) {
        // SAFETY: each task has columns of its own, and one row of them at a time.
        let out = unsafe { out.part(*row, columns.start, columns.len()) };
        for (out, x) in out.iter_mut().zip(&x[columns.clone()]) {
            *out = factor.mul_add(*x, *out);
        }
    }
}
