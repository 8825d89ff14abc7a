//! The loss that keeps experts in use, and its slope.
//!
//! Of a layer's rows, `f` is the share that chose each expert (together A) and `P` the mean probability that
//! the router gives it, over all experts: `E / A * sum(f P)` is 1 where all experts are used alike, and grows
//! as few take over. How often an expert was chosen has no slope; through `P` the favorites become less
//! likely. The rows are those that go through the network together.
//!
//! **Source** Fedus et al., Switch Transformers, 2021, section 2.2, for more than one expert a row.

/// The loss of a layer's routers' `logits [T, E]` and of what each row chose, `[T, A]`; where `weight` is not
/// zero its slope, times that, is added to `dlogits [T, E]`.
///
/// Panics: when lengths do not fit together.
pub(crate) fn balance(
    dlogits: &mut [f32],
    logits: &[f32],
    experts: &[u32],
    (num_experts, active): (usize, usize),
    weight: f64,
) -> f64 {
    let rows = logits.len() / num_experts.max(1);
    assert_eq!(experts.len(), rows * active, "balance: each row chooses A experts");
    assert_eq!(dlogits.len(), logits.len(), "balance: a slope a logit");
    if rows == 0 {
        return 1.0;
    }
    let mut shares = vec![0.0; num_experts];
    experts.iter().for_each(|expert| shares[*expert as usize] += 1.0 / rows as f64);
    let factor = num_experts as f64 / active as f64 / rows as f64;
    let mut loss = 0.0;
    for (logits, dlogits) in logits.chunks_exact(num_experts).zip(dlogits.chunks_exact_mut(num_experts)) {
        let likely = probabilities(logits);
        let mean: f64 = shares.iter().zip(&likely).map(|(share, p)| share * p).sum();
        loss += factor * mean;
        for ((dlogit, share), p) in dlogits.iter_mut().zip(&shares).zip(&likely) {
            *dlogit += (weight * factor * p * (share - mean)) as f32;
        }
    }
    loss
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let likely: Vec<f64> = logits.iter().map(|logit| f64::from(logit - top).exp()).collect();
    let sum: f64 = likely.iter().sum();
    likely.into_iter().map(|p| p / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_is_one_and_favorites_are_more() {
        let check = |logits: &[f32], experts: &[u32], expected: f64| {
            let found = balance(&mut vec![0.0; logits.len()], logits, experts, (4, 2), 0.0);
            assert!((found - expected).abs() < 1e-6, "{found}");
        };
        check(&[0.0; 8], &[0, 1, 2, 3], 1.0);
        check(&[0.0; 8], &[0, 1, 0, 1], 1.0);
        check(&[9.0, 9.0, -9.0, -9.0, 9.0, 9.0, -9.0, -9.0], &[0, 1, 0, 1], 2.0);
        check(&[], &[], 1.0);
    }

    #[test]
    fn the_slope_is_that_of_finite_differences() {
        const STEP: f32 = 1e-2;
        let logits: Vec<f32> = (0..12).map(|i| ((i * 7 % 5) as f32 - 2.0) * 0.7).collect();
        let (experts, sizes) = ([0, 3, 1, 0, 2, 0], (4, 2));
        let loss = |logits: &[f32]| balance(&mut [0.0; 12], logits, &experts, sizes, 0.0);
        let mut slopes = [0.0; 12];
        balance(&mut slopes, &logits, &experts, sizes, 3.0);
        for (place, slope) in slopes.iter().enumerate() {
            let at = |step: f32| {
                let mut logits = logits.clone();
                logits[place] += step;
                loss(&logits)
            };
            let difference = 3.0 * (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
            assert!((difference - f64::from(*slope)).abs() < 1e-4, "{place}: {difference}, not {slope}");
        }
    }
}
