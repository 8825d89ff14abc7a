//! Gradient of [`rmsnorm`](crate::rmsnorm()) over many rows.
//!
//! With `r = 1 / sqrt(mean(x^2) + eps)`, made again as the forward makes it, `n = x r` and `g = dy weight`:
//! `dx += r (g - n mean(g n))`, the mean in the eight lanes of [`crate::lanes`], and `dweight += dy n`, one
//! chain an element over ascending tokens.

use crate::lanes::{LANES, tree};
use crate::pool::Pool;
use crate::rmsnorm::row_scale;
use crate::rows::{RowTasks, SharedRows};
use crate::scratch::with_scratch;
use crate::tier::per_tier;

/// Elements of the weight that a task adds.
const WEIGHT_COLUMNS: usize = 128;

/// Adds the gradients of T rows to `dx`, as a residual stream wants it, and to `dweight`, unless it is
/// frozen.
///
/// Shapes: `dx [T, C]`, `dweight [C]`, `dy [T, C]`, `x [T, C]`, `weight [C]`.
/// Panics: when the lengths do not fit together.
pub fn rmsnorm_backward(
    pool: &Pool,
    dx: &mut [f32],
    dweight: Option<&mut [f32]>,
    dy: &[f32],
    x: &[f32],
    (weight, eps): (&[f32], f32),
) {
    let c = weight.len();
    assert!(c > 0 && x.len().is_multiple_of(c), "rmsnorm_backward: x is [T, {c}]");
    assert!(dx.len() == x.len() && dy.len() == x.len(), "rmsnorm_backward: dx and dy are [T, C]");
    let t = x.len() / c;
    with_scratch(t, |scales: &mut [f32]| {
        pool.for_each_row(scales, 1, |t, scale| {
            let x = &x[t * c..][..c];
            per_tier!(pool.instructions(), scale_row(scale: &mut [f32], x: &[f32], eps: f32));
        });
        pool.for_each_row(dx, c, |t, dx| {
            let (dy, x, scale) = (&dy[t * c..][..c], &x[t * c..][..c], scales[t]);
            per_tier!(
                pool.instructions(),
                input_row(dx: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], scale: f32)
            );
        });
        let Some(dweight) = dweight else { return };
        assert_eq!(dweight.len(), c, "rmsnorm_backward: dweight is [C]");
        let (dweight, tasks) = (SharedRows::new(dweight, c), RowTasks::units(c, WEIGHT_COLUMNS));
        let scales = &*scales;
        pool.run(tasks.count(), |task| {
            let columns = tasks.rows(task);
            // SAFETY: each task has columns of its own.
            let dweight = unsafe { dweight.part(0, columns.start, columns.len()) };
            let place = (c, columns.start);
            per_tier!(
                pool.instructions(),
                add_weight(dweight: &mut [f32], dy: &[f32], x: &[f32], scales: &[f32], place: (usize, usize))
            );
        });
    });
}

#[inline(always)]
fn scale_row(scale: &mut [f32], x: &[f32], eps: f32) {
    scale[0] = row_scale(x, eps);
}

#[inline(always)]
fn input_row(dx: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], scale: f32) {
    let mut lanes = [0.0; LANES];
    let ([dy_body, x_body, weight_body], [dy_tail, x_tail, weight_tail]) = split([dy, x, weight]);
    for ((dy, x), weight) in dy_body.iter().zip(x_body).zip(weight_body) {
        for j in 0..LANES {
            lanes[j] = (dy[j] * weight[j]).mul_add(x[j] * scale, lanes[j]);
        }
    }
    for (j, ((dy, x), weight)) in dy_tail.iter().zip(x_tail).zip(weight_tail).enumerate() {
        lanes[j] = (dy * weight).mul_add(x * scale, lanes[j]);
    }
    let mean = tree(&lanes) / x.len() as f32;
    for (((dx, dy), x), weight) in dx.iter_mut().zip(dy).zip(x).zip(weight) {
        *dx += scale * (dy * weight - x * scale * mean);
    }
}

/// The whole eights of each row, and what is left of it.
#[inline(always)]
fn split<const N: usize>(rows: [&[f32]; N]) -> ([&[[f32; LANES]]; N], [&[f32]; N]) {
    (rows.map(|row| row.as_chunks().0), rows.map(|row| row.as_chunks::<LANES>().1))
}

#[inline(always)]
fn add_weight(dweight: &mut [f32], dy: &[f32], x: &[f32], scales: &[f32], (c, first): (usize, usize)) {
    for ((dy, x), scale) in dy.chunks_exact(c).zip(x.chunks_exact(c)).zip(scales) {
        for ((dweight, dy), x) in dweight.iter_mut().zip(&dy[first..]).zip(&x[first..]) {
            *dweight = dy.mul_add(x * scale, *dweight);
        }
    }
}
