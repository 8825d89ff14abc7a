//! Two runs over the same items, their scores compared in pairs.
//!
//! What the items have in common cancels, so a difference is seen that two intervals side by side would hide.
//! The interval is a bootstrap over items with a fixed seed; the sign test (McNemar's in its exact form) asks
//! whether as many items got better as worse.

use serde::Serialize;

use crate::splitmix::SplitMix;

/// Samples that the bootstrap draws.
const RESAMPLES: usize = 10_000;
/// Seed of the bootstrap: the same two runs give the same interval.
const SEED: u64 = 0;
/// Share of the bootstrap's samples that lies outside an interval of 95 %, on each side.
const TAIL: f64 = 0.025;
/// Score of an item that differs by less is the same: means of repeats are rounded.
const SAME: f64 = 1e-9;

/// Two runs over the same items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// Items that both runs have.
    pub items: usize,
    /// Mean score of the first run over them.
    pub first: f64,
    /// Mean score of the second.
    pub second: f64,
    /// Second minus first.
    pub difference: f64,
    /// Lower end of the difference's 95 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Items on which the second is better.
    pub better: usize,
    /// Items on which it is worse.
    pub worse: usize,
    /// Probability of at least so uneven a split of the two, were both runs alike.
    pub p_value: f64,
}

/// Compares scores of items, each the first run's and the second's; None where there is none.
pub fn paired(scores: &[(f64, f64)]) -> Option<Paired> {
    if scores.is_empty() {
        return None;
    }
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let differences: Vec<f64> = scores.iter().map(|(first, second)| second - first).collect();
    let better = differences.iter().filter(|difference| **difference > SAME).count();
    let worse = differences.iter().filter(|difference| **difference < -SAME).count();
    let (low, high) = bootstrap(&differences);
    let (first, second) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
    let difference = mean(&|pair| pair.1 - pair.0);
    let p_value = sign_test(better, worse);
    Some(Paired { items: scores.len(), first, second, difference, low, high, better, worse, p_value })
}

/// The interval in which 95 % of means of resampled values lie.
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut random = SplitMix(SEED);
    let mut mean = || {
        let drawn = (0..values.len()).map(|_| values[index(&mut random, values.len())]);
        drawn.sum::<f64>() / values.len() as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    (at(TAIL), at(1.0 - TAIL))
}

/// A place below `length`: the high half of a number is spread over the length.
fn index(random: &mut SplitMix, length: usize) -> usize {
    (((random.draw() >> 32) * length as u64) >> 32) as usize
}

/// Both tails of the binomial of equal chances beyond the split.
fn sign_test(better: usize, worse: usize) -> f64 {
    let (tosses, fewer) = (better + worse, better.min(worse));
    // ln of the number of ways to choose k of the tosses, less that of all outcomes: underflows to 0 alone.
    let mut ln_share = -(tosses as f64) * std::f64::consts::LN_2;
    let mut tail = ln_share.exp();
    for chosen in 1..=fewer {
        ln_share += ((tosses - chosen + 1) as f64 / chosen as f64).ln();
        tail += ln_share.exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_test_has_the_tables_values() {
        // scipy.stats.binomtest(k, n).pvalue
        for (better, worse, expect) in
            [(0, 0, 1.0), (5, 5, 1.0), (8, 2, 0.109375), (2, 8, 0.109375), (0, 10, 0.001953125)]
        {
            assert!((sign_test(better, worse) - expect).abs() < 1e-12, "{better} {worse}");
        }
        assert!(sign_test(3000, 2000) < 1e-40 && sign_test(2500, 2500) > 0.98);
    }

    #[test]
    fn what_items_have_in_common_cancels() {
        // Half of the items are hard for both; the second run loses one item in ten.
        let run =
            |lost: usize| -> Vec<(f64, f64)> {
                (0..200)
                    .map(|item| {
                        if item % 2 == 0 {
                            (0.0, 0.0)
                        } else {
                            (1.0, if item % 20 < lost { 0.0 } else { 1.0 })
                        }
                    })
                    .collect()
            };
        let same = paired(&run(0)).unwrap();
        assert_eq!((same.difference, same.low, same.high, same.p_value), (0.0, 0.0, 0.0, 1.0));
        let lost = paired(&run(2)).unwrap();
        assert_eq!((lost.items, lost.better, lost.worse, lost.first), (200, 0, 10, 0.5));
        assert!((lost.difference + 0.05).abs() < 1e-12);
        // The normal interval is -0.05 ± 1.96 * sqrt(0.05 * 0.95 / 200) = -0.080 to -0.020.
        assert!((lost.low + 0.080).abs() < 0.006 && (lost.high + 0.020).abs() < 0.006, "{lost:?}");
        assert_eq!(paired(&run(2)), Some(lost));
        assert_eq!(paired(&[]), None);
    }
}
