//! How far one numeric mode is from another on the same text: rows of logits compared as distributions of the
//! next token.

use crate::logits::{argmax, log_sum_exp};

/// What comparing rows has gathered so far.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// KL(reference ‖ other) of each row. Units: nats.
    divergences: Vec<f64>,
    /// Rows whose likeliest token is the same.
    same_top: usize,
    /// Sum of the reference's log-probabilities less the other's, over the tokens that came next, and how
    /// many they are.
    lost: (f64, usize),
}

/// A [`Comparison`] in a few numbers. A few tokens that a model cannot predict, where another expert is
/// chosen, can make up most of the mean; the median says what is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Rows compared.
    pub num_rows: usize,
    /// Units: nats, as the next three.
    pub mean: f64,
    /// Half of the rows are no further apart.
    pub median: f64,
    /// 99 of 100 rows are no further apart.
    pub p99: f64,
    /// The furthest.
    pub max: f64,
    /// The share of rows whose likeliest token is the same, from 0 to 1.
    pub same_top: f64,
    /// By which part the other's perplexity is larger: 0.01 is one percent; `None` when no row had a next
    /// token.
    pub perplexity_change: Option<f64>,
}

impl Comparison {
    /// Adds a row of logits, and the token that came after it.
    ///
    /// Panics: when `next` is not an index of the rows.
    pub fn add(&mut self, reference: &[f32], other: &[f32], next: Option<u32>) {
        let (of_reference, of_other) = (log_sum_exp(reference), log_sum_exp(other));
        let log_probs = |&p: &f32, &q: &f32| (f64::from(p) - of_reference, f64::from(q) - of_other);
        let terms = reference.iter().zip(other).map(|(p, q)| {
            let (log_p, log_q) = log_probs(p, q);
            log_p.exp() * (log_p - log_q)
        });
        // Rounding can make the sum of a divergence that is zero a hair negative.
        self.divergences.push(terms.sum::<f64>().max(0.0));
        self.same_top += usize::from(argmax(reference) == argmax(other));
        if let Some(token) = next {
            let (log_p, log_q) = log_probs(&reference[token as usize], &other[token as usize]);
            self.lost = (self.lost.0 + log_p - log_q, self.lost.1 + 1);
        }
    }

    /// The numbers; `None` when no row was added.
    pub fn divergence(&self) -> Option<Divergence> {
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let max = *sorted.last()?;
        let num_rows = sorted.len();
        let (lost, tokens) = self.lost;
        Some(Divergence {
            num_rows,
            mean: sorted.iter().sum::<f64>() / num_rows as f64,
            median: sorted[num_rows / 2],
            p99: sorted[(num_rows * 99).div_ceil(100) - 1],
            max,
            same_top: self.same_top as f64 / num_rows as f64,
            perplexity_change: (tokens > 0).then(|| (lost / tokens as f64).exp_m1()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_hand() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.divergence(), None);
        // Probabilities (1/2, 1/2) and (3/4, 1/4); equal rows have equal tops, and the lower id is it.
        comparison.add(&[0.0, 0.0], &[3f32.ln(), 0.0], Some(1));
        comparison.add(&[1.0, 0.0], &[5.0, 4.0], None);
        comparison.add(&[1.0, 0.0], &[0.0, 1.0], None);
        let divergence = comparison.divergence().unwrap();
        let first = 0.5 * (4f64 / 3.0).ln();
        let third = (1f64.exp() - 1.0) / (1f64.exp() + 1.0);
        assert!((divergence.mean * 3.0 - first - third).abs() < 1e-7, "{divergence:?}");
        assert!((divergence.median - first).abs() < 1e-7 && (divergence.max - third).abs() < 1e-7);
        assert_eq!(
            (divergence.num_rows, divergence.p99, divergence.same_top),
            (3, divergence.max, 2.0 / 3.0)
        );
        assert!((divergence.perplexity_change.unwrap() - 1.0).abs() < 1e-6, "a half became a quarter");
    }
}
