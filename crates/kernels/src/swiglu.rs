//! The clamped SwiGLU of gpt-oss.
//!
//! Entry points: [`swiglu`], [`swiglu_q8`]. Rows of the gate-and-up matrix are interleaved in the published
//! files (even: gate, odd: up), and so are its outputs here; nothing is moved. The gate is cut from above
//! only, the up part on both sides, and 1 is added to the up part. The sigmoid is the one of [`crate::exp`],
//! the same bits on every tier.

use crate::exp::sigmoid;
use crate::pool::Pool;
use crate::q8::{Q8Rows, quantize_made};
use crate::tier::{Tier, per_tier};

/// `out = g * sigmoid(alpha * g) * (u + 1)` with `g = min(gate, limit)` and `u = clamp(up, -limit, limit)`.
///
/// Shapes: `out [F]`, `gate_up [2F]` with gate at even and up at odd places.
/// Panics: when the lengths do not fit together. NaN gives NaN.
/// Source: openai/gpt-oss `gpt_oss/torch/model.py`, function swiglu.
pub fn swiglu(out: &mut [f32], gate_up: &[f32], limit: f32, alpha: f32) {
    swiglu_on(Tier::detect(), out, gate_up, limit, alpha);
}

/// [`swiglu`] on a tier of the caller's choice.
pub fn swiglu_on(tier: Tier, out: &mut [f32], gate_up: &[f32], limit: f32, alpha: f32) {
    assert_eq!(gate_up.len(), 2 * out.len(), "swiglu: gate_up is twice as long as out");
    per_tier!(tier.instructions(), swiglu_row(out: &mut [f32], gate_up: &[f32], limit: f32, alpha: f32));
}

/// [`swiglu`] of T rows, quantized: the bits of both ops in turn, without the floats between them.
///
/// Shapes: `out` T rows of F, F a multiple of 32, `gate_up [T, 2F]`.
/// Panics: when the lengths do not fit together.
pub fn swiglu_q8(pool: &Pool, out: &mut Q8Rows, gate_up: &[f32], t: usize, limit: f32, alpha: f32) {
    let width = gate_up.len() / t.max(1);
    assert_eq!(width * t, gate_up.len(), "swiglu_q8: gate_up is [T, 2F]");
    quantize_made(pool, out, t, width / 2, |row, x| {
        swiglu_on(pool.tier(), x, &gate_up[row * width..][..width], limit, alpha);
    });
}

#[inline(always)]
fn swiglu_row(out: &mut [f32], gate_up: &[f32], limit: f32, alpha: f32) {
    for (out, pair) in out.iter_mut().zip(gate_up.as_chunks::<2>().0) {
        *out = swiglu_value(pair[0], pair[1], limit, alpha);
    }
}

/// One output of [`swiglu`].
#[inline(always)]
fn swiglu_value(gate: f32, up: f32, limit: f32, alpha: f32) -> f32 {
    let (g, u) = cut(gate, up, limit);
    g * sigmoid(alpha * g) * (u + 1.0)
}

/// Gate and up within their limits. Comparisons rather than `min` and `max`, which would drop a NaN.
#[inline(always)]
pub(crate) fn cut(gate: f32, up: f32, limit: f32) -> (f32, f32) {
    let g = if gate > limit { limit } else { gate };
    let u = if up > limit { limit } else { up };
    (g, if u < -limit { -limit } else { u })
}

#[cfg(test)]
mod tests {
    use super::{swiglu, swiglu_q8};
    use crate::{Pool, Q8Rows, quantize_q8};

    #[test]
    fn clamps_of_the_specification() {
        let mut out = [0.0; 2];
        swiglu(&mut out, &[10.0, -10.0, -10.0, 0.0], 7.0, 1.702);
        assert!((out[0] + 41.99972).abs() < 1e-4, "{}", out[0]);
        assert!((out[1] + 4.06e-7).abs() < 1e-9, "{}", out[1]);
    }

    #[test]
    fn extremes_stay_finite_and_nan_stays_nan() {
        let mut out = [0.0; 3];
        swiglu(&mut out, &[f32::MIN, 1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0], 7.0, 1.702);
        assert!(out[0].is_finite() && out[1].is_finite() && out[2].is_nan(), "{out:?}");
    }

    #[test]
    fn quantized_rows_are_those_of_both_ops_in_turn() {
        let gate_up: Vec<f32> = (0..3 * 128).map(|i| (i as f32 * 0.37).sin() * 12.0).collect();
        let pool = Pool::new(2);
        let mut fused = Q8Rows::new();
        swiglu_q8(&pool, &mut fused, &gate_up, 3, 7.0, 1.702);
        let mut activated = vec![0.0; 3 * 64];
        for (out, gate_up) in activated.chunks_exact_mut(64).zip(gate_up.chunks_exact(128)) {
            swiglu(out, gate_up, 7.0, 1.702);
        }
        let mut apart = Q8Rows::new();
        quantize_q8(&pool, &mut apart, &activated, 3, 64);
        for t in 0..3 {
            assert_eq!(fused.scales(t), apart.scales(t));
            assert!((0..64).all(|k| fused.value(t, k) == apart.value(t, k)));
        }
    }
}
