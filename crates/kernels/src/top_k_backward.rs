//! Gradient of the weights of a router ([`top_k_softmax`](crate::top_k_softmax)).
//!
//! Which experts were chosen is a constant: their logits alone have a gradient.

/// Writes `dlogits[e] = w (dw - sum of w dw)` for the chosen experts and 0 for the others; the sum in the
/// order of the choice, fused.
///
/// Shapes: `dlogits [E]`, `experts [A]`, `weights [A]`, `dweights [A]`.
/// Panics: when the lengths do not fit together or an expert is not below E.
pub fn top_k_softmax_backward(dlogits: &mut [f32], experts: &[u32], weights: &[f32], dweights: &[f32]) {
    assert_eq!(weights.len(), experts.len(), "top_k_softmax_backward: weights are [A]");
    assert_eq!(dweights.len(), experts.len(), "top_k_softmax_backward: dweights are [A]");
    let shared = weights.iter().zip(dweights).fold(0.0_f32, |sum, (w, dw)| w.mul_add(*dw, sum));
    dlogits.fill(0.0);
    for ((expert, weight), dweight) in experts.iter().zip(weights).zip(dweights) {
        dlogits[*expert as usize] = weight * (dweight - shared);
    }
}
