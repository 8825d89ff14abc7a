//! Random lengths and times of arrival, the same for the same seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal, Normal};

use crate::args::{ArrivalsArg, LENGTH_TOKENS_MAX, Lengths};

/// What random numbers are for: each has a stream of its own, so that a request's prompt does not depend on
/// when it is made.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// When the requests of a level are sent.
    Arrivals,
    /// The lengths and the words of one request.
    Request,
    /// The words that all prompts begin with.
    SharedPrefix,
}

/// The random numbers of one purpose, level and request.
pub fn random(seed: u64, purpose: Purpose, level: u64, request: u64) -> StdRng {
    let mut bytes = [0; 32];
    for (part, number) in bytes.chunks_exact_mut(8).zip([seed, purpose as u64, level, request]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// One length. Units: tokens, at least 1.
pub fn tokens(lengths: Lengths, random: &mut StdRng) -> u32 {
    let drawn = match lengths {
        Lengths::Fixed(tokens) => return tokens,
        Lengths::Uniform(low, high) => return random.random_range(low..=high),
        Lengths::Normal(mean, deviation) => Normal::new(mean, deviation).ok().map(|it| it.sample(random)),
        Lengths::LogNormal(mean, deviation) => {
            LogNormal::from_mean_cv(mean, deviation / mean).ok().map(|it| it.sample(random))
        }
    };
    // The parsed moments are finite and the mean is at least 1, which is all that the distributions ask for.
    let drawn = drawn.unwrap_or(1.0);
    (drawn.round() as u32).clamp(1, LENGTH_TOKENS_MAX)
}

/// When requests are sent, from the start of their level on: without end, and never backwards.
pub fn arrivals(rate: f64, kind: ArrivalsArg, mut random: StdRng) -> impl Iterator<Item = Duration> + Send {
    let gaps = Exp::new(rate).ok();
    let mut at = 0.0;
    (0_u64..).map(move |index| {
        at = match (kind, &gaps) {
            (ArrivalsArg::Poisson, Some(gaps)) => at + gaps.sample(&mut random),
            // Multiplied and not added, so that errors do not add up.
            (ArrivalsArg::Constant, _) | (_, None) => index as f64 / rate,
        };
        Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(lengths: Lengths) -> Vec<f64> {
        let mut random = random(1, Purpose::Request, 0, 0);
        (0..20_000).map(|_| f64::from(tokens(lengths, &mut random))).collect()
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    /// The standard error of the means is below 2 tokens; the seed is fixed, so it cannot flake.
    #[test]
    fn lengths_have_their_mean_and_deviation() {
        let check = |lengths: Lengths, mean: f64, deviation: f64| {
            let found = moments(&many(lengths));
            let is_near = (found.0 - mean).abs() < 6.0 && (found.1 - deviation).abs() < 12.0;
            assert!(is_near, "{lengths:?}: {found:?}");
        };
        check(Lengths::Fixed(512), 512.0, 0.0);
        // A uniform distribution of n values deviates by sqrt((n^2 - 1) / 12).
        check(Lengths::Uniform(128, 1024), 576.0, 258.9);
        check(Lengths::Normal(512.0, 64.0), 512.0, 64.0);
        check(Lengths::LogNormal(512.0, 256.0), 512.0, 256.0);
    }

    #[test]
    fn lengths_stay_in_their_bounds() {
        let ends = |lengths| {
            let values = many(lengths);
            (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max))
        };
        assert_eq!(ends(Lengths::Uniform(3, 5)), (3.0, 5.0));
        assert_eq!(ends(Lengths::Normal(2.0, 1e9)), (1.0, f64::from(LENGTH_TOKENS_MAX)));
    }

    #[test]
    fn arrivals_have_their_rate_and_their_seed() {
        let times = |seed: u64, kind| -> Vec<f64> {
            let random = random(seed, Purpose::Arrivals, 0, 0);
            arrivals(50.0, kind, random).take(20_001).map(|at| at.as_secs_f64()).collect()
        };
        let gaps = |times: &[f64]| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f64>>();
        let (mean, deviation) = moments(&gaps(&times(1, ArrivalsArg::Constant)));
        assert!((mean - 0.02).abs() < 1e-6 && deviation < 1e-6, "{mean} {deviation}");
        // Gaps of a Poisson process deviate by their mean.
        let (mean, deviation) = moments(&gaps(&times(1, ArrivalsArg::Poisson)));
        assert!((mean - 0.02).abs() < 1e-3 && (deviation - 0.02).abs() < 1e-3, "{mean} {deviation}");
        assert_eq!(times(1, ArrivalsArg::Poisson), times(1, ArrivalsArg::Poisson));
        assert_ne!(times(1, ArrivalsArg::Poisson), times(2, ArrivalsArg::Poisson));
    }
}
