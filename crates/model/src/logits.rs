//! What the model says about the next token, and the few questions everyone asks of it.
//!
//! Entry points: [`Logits`], the rows that `Model::forward` gives, and the functions on one row: [`log_sum_exp`],
//! [`log_prob`], [`argmax`]. They live here and not in the sampler because scoring a text needs them too, and both
//! must give the same number for the same row: sums run in f64, in the order of the vocabulary.
//!
//! It does not know about temperature, penalties or masks; those belong to the engine.

/// Rows of logits, f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// `V`: numbers in a row.
    pub vocab_size: usize,
    /// The rows one after another: `[rows, V]`.
    pub rows: Vec<f32>,
}

impl Logits {
    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.len() / self.vocab_size
    }

    /// Row `index`: `[V]`.
    ///
    /// Panics: if there is no such row, which is a mistake in the calling code.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.vocab_size..][..self.vocab_size]
    }

    /// The last row, `None` when the batch asked for no logits.
    pub fn last(&self) -> Option<&[f32]> {
        self.num_rows().checked_sub(1).map(|index| self.row(index))
    }
}

/// `ln Σ exp(row)`, computed around the largest logit so that it cannot overflow.
///
/// Units: natural logarithm.
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = row.iter().map(|&logit| f64::from((logit - max).exp())).sum();
    f64::from(max) + sum.ln()
}

/// The log-probability of `token` under the softmax of `row`. Units: nats.
///
/// Panics: if `token` is not an index of `row`.
pub fn log_prob(row: &[f32], token: u32) -> f64 {
    f64::from(row[token as usize]) - log_sum_exp(row)
}

/// The token with the largest logit; of equals, the one with the lowest id. Rows are never empty.
pub fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in row.iter().enumerate() {
        if logit > row[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_sum_to_one() {
        let row = [1.0, -2.0, 300.0, 299.5, f32::NEG_INFINITY];
        let total: f64 = (0..5).map(|token| log_prob(&row, token).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");
        assert_eq!(log_prob(&row, 4), f64::NEG_INFINITY);
    }

    #[test]
    fn argmax_takes_the_lowest_of_equals() {
        assert_eq!(argmax(&[0.0, 5.0, 5.0, -1.0]), 1);
        assert_eq!(argmax(&[-3.0]), 0);
    }

    #[test]
    fn rows_are_found() {
        let logits = Logits { vocab_size: 2, rows: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(logits.num_rows(), 2);
        assert_eq!(logits.row(1), [3.0, 4.0]);
        assert_eq!(logits.last(), Some(&[3.0, 4.0][..]));
        assert_eq!(Logits { vocab_size: 2, rows: vec![] }.last(), None);
    }
}
