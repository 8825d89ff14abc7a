//! Dot products of rows with rows, each in the order of [`crate::lanes`].

use crate::lanes::dot;
use crate::pool::Pool;
use crate::tier::per_tier;

/// `out[t] = dot(x[t], y[t])`.
///
/// Shapes: `out [T]`, `x [T, C]`, `y [T, C]`.
/// Panics: when `x` is not T whole rows, or `y` has another length.
pub fn row_dots(pool: &Pool, out: &mut [f32], x: &[f32], y: &[f32]) {
    let c = x.len() / out.len().max(1);
    assert_eq!(x.len(), out.len() * c, "row_dots: x is [T, C]");
    assert_eq!(y.len(), x.len(), "row_dots: y is [T, C]");
    pool.for_each_row(out, 1, |t, out| {
        let (x, y) = (&x[t * c..][..c], &y[t * c..][..c]);
        per_tier!(pool.instructions(), dot_row(out: &mut [f32], x: &[f32], y: &[f32]));
    });
}

#[inline(always)]
fn dot_row(out: &mut [f32], x: &[f32], y: &[f32]) {
    out[0] = dot(x, y);
}
