//! Means of clustered scores, and how sure they are.
//!
//! Answers to one question are alike, so the spread is that of the questions: residuals are summed by cluster
//! before they are squared. **Source**: the linearized variance of a ratio of sums, with G / (G - 1) for G
//! clusters; with one answer a question it is the usual standard error. The interval is Wilson's with as many
//! answers as would have that variance if they were independent, which keeps its sense near 0 and 1.

use std::collections::BTreeMap;

/// The quantile of the normal distribution that leaves 2.5 % on each side.
const Z: f64 = 1.959_963_984_540_054;

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The sum of the values over the sum of what they are of.
    pub value: f64,
    /// Its standard error; nothing can be said of one cluster.
    pub stderr: Option<f64>,
    /// Where it lies with 95 %.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Clusters.
    pub clusters: usize,
}

/// The mean of `(cluster, value, of)`; none where nothing is counted.
pub fn clustered<'a>(rows: impl Iterator<Item = (&'a str, f64, f64)>) -> Option<Estimate> {
    // Sorted, so that the same answers give the same bits.
    let mut clusters: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (cluster, value, of) in rows {
        let sums = clusters.entry(cluster).or_default();
        *sums = (sums.0 + value, sums.1 + of);
    }
    clusters.retain(|_, (_, of)| *of > 0.0);
    let (values, ofs) = clusters.values().fold((0.0, 0.0), |sums, (value, of)| (sums.0 + value, sums.1 + of));
    if ofs <= 0.0 {
        return None;
    }
    let value = values / ofs;
    let count = clusters.len();
    let squares: f64 = clusters.values().map(|(cluster, of)| (cluster - value * of).powi(2)).sum();
    let stderr = (count > 1).then(|| (squares * count as f64 / (count - 1) as f64).sqrt() / ofs);
    let (low, high) = match stderr {
        // Scores below 0 are no shares; rubrics have them.
        Some(stderr) if !(0.0..=1.0).contains(&value) => (value - Z * stderr, value + Z * stderr),
        _ => wilson(value, effective(value, stderr, count)),
    };
    Some(Estimate { value, stderr, low, high, clusters: count })
}

/// Independent answers that would have this standard error.
fn effective(value: f64, stderr: Option<f64>, clusters: usize) -> f64 {
    match stderr {
        Some(stderr) if stderr > 1e-12 => value * (1.0 - value) / stderr.powi(2),
        _ => clusters as f64,
    }
}

fn wilson(value: f64, count: f64) -> (f64, f64) {
    let spread = Z * Z / count;
    let middle = (value + spread / 2.0) / (1.0 + spread);
    let half = (value * (1.0 - value) * spread + spread * spread / 4.0).sqrt() / (1.0 + spread);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The chance that one of `k` answers is right where `right` of `count` were, without bias.
pub fn pass_at(count: usize, right: usize, k: usize) -> f64 {
    if count - right < k {
        return 1.0;
    }
    1.0 - (count - right + 1..=count).map(|n| 1.0 - k as f64 / n as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_a_question_has_the_usual_error() {
        let names = ["a", "b", "c", "d"];
        let estimate =
            clustered(names.into_iter().zip([1.0, 0.0, 1.0, 1.0]).map(|(id, score)| (id, score, 1.0)));
        let estimate = estimate.expect("four answers");
        assert_eq!((estimate.value, estimate.clusters), (0.75, 4));
        // The standard deviation of 1, 0, 1, 1 is 0.5.
        assert!((estimate.stderr.expect("four clusters") - 0.25).abs() < 1e-12);
    }

    #[test]
    fn repeats_of_a_question_tell_little() {
        let once = clustered([("a", 1.0, 1.0), ("b", 0.0, 1.0)].into_iter()).expect("two answers");
        let often = (0..16).map(|n| if n % 2 == 0 { ("a", 1.0, 1.0) } else { ("b", 0.0, 1.0) });
        let often = clustered(often).expect("sixteen answers");
        assert_eq!((once.low, once.high, once.stderr), (often.low, often.high, often.stderr));
    }

    #[test]
    fn the_interval_of_all_right_is_not_a_point() {
        let names: Vec<String> = (0..164).map(|n| n.to_string()).collect();
        let all = clustered(names.iter().map(|name| (name.as_str(), 1.0, 1.0))).expect("164 answers");
        assert!(all.value == 1.0 && all.high > 1.0 - 1e-12, "{}", all.high);
        // Wilson's: 164 / (164 + 1.96^2).
        assert!((all.low - 0.977_113).abs() < 1e-5, "{}", all.low);
        assert_eq!(clustered([].into_iter()), None);
        assert_eq!(clustered([("a", 0.0, 0.0)].into_iter()), None);
    }

    #[test]
    fn pass_at_k_is_without_bias() {
        for (count, right, k, expected) in [
            (10, 3, 1, 0.3),
            (10, 3, 5, 1.0 - 21.0 / 252.0),
            (10, 0, 5, 0.0),
            (10, 6, 5, 1.0),
            (3, 3, 1, 1.0),
        ] {
            assert!((pass_at(count, right, k) - expected).abs() < 1e-12, "{count} {right} {k}");
        }
    }
}
