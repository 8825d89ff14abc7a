//! Gradient of the clamped SwiGLU ([`swiglu`](crate::swiglu())).
//!
//! A part that was cut has no gradient; one that stands on its limit has, as torch's `clamp` has it.

use crate::exp::sigmoid;
use crate::swiglu::cut;
use crate::tier::{Tier, per_tier};

/// Writes the gradient of one row of gates and ups, interleaved as they are.
///
/// Shapes: `dgate_up [2F]`, `dy [F]`, `gate_up [2F]`.
/// Panics: when the lengths do not fit together. NaN gives NaN.
pub fn swiglu_backward(
    tier: Tier,
    dgate_up: &mut [f32],
    dy: &[f32],
    gate_up: &[f32],
    (limit, alpha): (f32, f32),
) {
    assert_eq!(gate_up.len(), 2 * dy.len(), "swiglu_backward: gate_up is twice as long as dy");
    assert_eq!(gate_up.len(), dgate_up.len(), "swiglu_backward: dgate_up is [2F]");
    per_tier!(
        tier.instructions(),
        backward_row(dgate_up: &mut [f32], dy: &[f32], gate_up: &[f32], limit: f32, alpha: f32)
    );
}

#[inline(always)]
fn backward_row(dgate_up: &mut [f32], dy: &[f32], gate_up: &[f32], limit: f32, alpha: f32) {
    let pairs = gate_up.as_chunks::<2>().0;
    for ((gradient, [gate, up]), dy) in dgate_up.as_chunks_mut::<2>().0.iter_mut().zip(pairs).zip(dy) {
        let (cuts_gate, cuts_up) = (*gate > limit, *up > limit || *up < -limit);
        let (g, u) = cut(*gate, *up, limit);
        let s = sigmoid(alpha * g);
        let dgate = dy * (u + 1.0) * s * (1.0 + alpha * g * (1.0 - s));
        let dup = dy * g * s;
        *gradient = [if cuts_gate { 0.0 } else { dgate }, if cuts_up { 0.0 } else { dup }];
    }
}
