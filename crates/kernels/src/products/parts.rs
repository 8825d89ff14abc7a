//! Products of activations in two int8 parts with a matrix of int8.
//!
//! The parts of a token are two rows of one product of `int8.rs`, so the weights are read once; an output is
//! the sum of the row's product and its rest's, and then the bias is added.

use crate::lanes::LANES;
use crate::pool::Pool;
use crate::products::float::LinearDims;
use crate::products::int8::{self, Int8Weights};
use crate::q8::Q8Rows;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;

/// Most products that are held before their parts are added. Units: f32.
const SUMS_MAX: usize = 1 << 20;
/// Outputs per token are held by so many, as panels have them.
const OUTPUTS_UNIT: usize = 16;
/// Outputs that a task adds.
const TASK_OUTPUTS: usize = 4096;

/// Bytes that a thread keeps for the products of parts.
pub const Q8_PARTS_BYTES_MAX: u64 = (SUMS_MAX * size_of::<f32>()) as u64;

/// Product of every token.
///
/// Shapes: `out [T, N]`, `x` 2T rows of K made for `w`, `bias [N]`.
/// Panics: when a length does not fit `dims`, or `x` was made for other weights.
pub(crate) fn product<W: Int8Weights>(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: W,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    let LinearDims { t, n, k } = dims;
    assert_eq!(out.len(), t * n, "linear: out is [T, N]");
    assert!(bias.is_none_or(|bias| bias.len() == n), "linear: bias is [N]");
    let step = (SUMS_MAX / (2 * t.max(1)) / OUTPUTS_UNIT).max(1) * OUTPUTS_UNIT;
    let out = SharedRows::new(out, n);
    for first in (0..n).step_by(step) {
        let n = step.min(n - first);
        with_scratch((2 * t * n).div_ceil(LANES), |eights: &mut [[f32; LANES]]| {
            let sums = &mut eights.as_flattened_mut()[..2 * t * n];
            let dims = LinearDims { t: 2 * t, n, k };
            int8::product(pool, sums, x, w.rows(first, n, k), None, dims);
            let (high, low) = sums.split_at(t * n);
            pool.run(n.div_ceil(TASK_OUTPUTS), |task| {
                let start = task * TASK_OUTPUTS;
                let len = TASK_OUTPUTS.min(n - start);
                let bias = bias.map(|bias| &bias[first + start..][..len]);
                for t in 0..t {
                    // SAFETY: task `task` alone touches its columns.
                    let out = unsafe { out.part(t, first + start, len) };
                    let place = t * n + start;
                    add(out, &high[place..][..len], &low[place..][..len], bias);
                }
            });
        });
    }
}

/// `out = high + low + bias`.
fn add(out: &mut [f32], high: &[f32], low: &[f32], bias: Option<&[f32]>) {
    for ((out, high), low) in out.iter_mut().zip(high).zip(low) {
        *out = high + low;
    }
    for (out, bias) in out.iter_mut().zip(bias.into_iter().flatten()) {
        *out += bias;
    }
}
