//! Rows gathered out of many, and added back.

use gptoss_kernels::Pool;

/// Rows `rows` of `x [T, width]`.
pub(crate) fn gather(pool: &Pool, x: &[f32], rows: &[usize], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * width];
    pool.for_each_row(&mut out, width, |i, out| out.copy_from_slice(&x[rows[i] * width..][..width]));
    out
}

/// `out[rows[i]] += weights[i] * x[i]`; no row comes twice.
pub(crate) fn scatter(
    out: &mut [f32],
    x: &[f32],
    rows: &[usize],
    weight: impl Fn(usize) -> f32,
    width: usize,
) {
    for (i, (row, x)) in rows.iter().zip(x.chunks_exact(width)).enumerate() {
        let weight = weight(i);
        for (out, x) in out[row * width..][..width].iter_mut().zip(x) {
            *out = weight.mul_add(*x, *out);
        }
    }
}
