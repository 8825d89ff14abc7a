//! The choice of a router: the experts of a token and their weights.
//!
//! Entry point: [`top_k_softmax`]. The softmax runs over the chosen logits only, which equals a full softmax
//! renormalized over them. The order is by logit, descending, and ties go to the lowest index, so a choice is
//! a function of the logits alone.

use crate::exp::exp;

/// The `k` largest logits in descending order, and the softmax over them.
///
/// Shapes: `logits [E]`, `experts [A]`, `weights [A]`, with `k = A <= E`.
/// Panics: when the lengths do not fit together. A NaN logit counts as the lowest; one that is chosen all the
/// same makes the weights NaN.
pub fn top_k_softmax(logits: &[f32], k: usize, experts: &mut [u32], weights: &mut [f32]) {
    assert_eq!(experts.len(), k, "top_k_softmax: experts");
    assert_eq!(weights.len(), k, "top_k_softmax: weights");
    assert!(k <= logits.len(), "top_k_softmax: {k} of {} experts", logits.len());
    for (i, weight) in weights.iter_mut().enumerate() {
        let (chosen, rest) = experts.split_at_mut(i);
        let free = (0..logits.len()).filter(|e| !chosen.contains(&(*e as u32)));
        let best = free.reduce(|best, e| if rank(logits[e]) > rank(logits[best]) { e } else { best });
        let Some(best) = best else { unreachable!("fewer than E logits are chosen") };
        rest[0] = best as u32;
        *weight = logits[best];
    }
    let Some(&largest) = weights.first() else { return };
    let mut sum = 0.0;
    for weight in weights.iter_mut() {
        *weight = exp(*weight - largest);
        sum += *weight;
    }
    for weight in weights.iter_mut() {
        *weight /= sum;
    }
}

fn rank(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit }
}

#[cfg(test)]
mod tests {
    use super::top_k_softmax;

    fn check(logits: &[f32], expected: &[u32]) -> Vec<f32> {
        let (mut experts, mut weights) = (vec![0; expected.len()], vec![0.0; expected.len()]);
        top_k_softmax(logits, expected.len(), &mut experts, &mut weights);
        assert_eq!(experts, expected);
        weights
    }

    #[test]
    fn descending_and_ties_to_the_lowest_index() {
        let weights = check(&[1.0, 3.0, 3.0, -1.0, 2.0], &[1, 2, 4, 0]);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(weights[0], weights[1]);
        assert!((weights[2] / weights[0] - (-1.0_f32).exp()).abs() < 1e-6);
        assert_eq!(check(&[0.0; 6], &[0, 1, 2, 3]), [0.25; 4]);
    }

    #[test]
    fn nan_is_last_and_never_a_panic() {
        check(&[f32::NAN, 1.0, f32::NAN, 2.0], &[3, 1]);
        check(&[f32::NAN, f32::NEG_INFINITY, f32::INFINITY], &[2, 0, 1]);
        check(&[f32::NAN; 5], &[0, 1, 2, 3]);
    }
}
