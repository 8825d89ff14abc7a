//! Ops on all rows of a pass, in memory of their own.

use gptoss_kernels::{LinearDims, Pool, Rows, linear, rmsnorm};

use crate::config::FilterConfig;
use crate::weights::Linear;

/// RMSNorm of every row.
pub(crate) fn normalized(pool: &Pool, config: &FilterConfig, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (c, mut out) = (config.hidden_size, vec![0.0; x.len()]);
    pool.for_each_row(&mut out, c, |row, out| rmsnorm(out, &x[row * c..][..c], weight, config.rms_norm_eps));
    out
}

/// `x [T, K]` through a matrix and its bias.
pub(crate) fn product(pool: &Pool, layer: &Linear, x: &[f32], k: usize) -> Vec<f32> {
    let (t, n) = (x.len() / k, layer.bias.len());
    let mut out = vec![0.0; t * n];
    let dims = LinearDims { t, n, k };
    linear(pool, &mut out, Rows::F32(x), layer.weight.view(), Some(&layer.bias), dims);
    out
}

/// `out += x`, both `[T, width]`.
pub(crate) fn add(pool: &Pool, out: &mut [f32], x: &[f32], width: usize) {
    pool.for_each_row(out, width, |row, out| {
        out.iter_mut().zip(&x[row * width..]).for_each(|(out, x)| *out += x);
    });
}
