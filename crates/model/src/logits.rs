//! What the model says about the next token, and the few questions that are asked of it.
//!
//! Entry points: [`Logits`], rows in the computer's memory, as `Model::forward` gives them (those of a step
//! are `SegmentLogits` in `workspace.rs`), and the functions on one row: [`log_sum_exp`], [`log_prob`],
//! [`argmax`] and [`most_probable`]. They live here and not in the sampler because scoring a text needs them
//! too, and both must give the same number for the same row: sums run in f64, in the order of the vocabulary.
//! A step on a card has the card's sum, in f32 and by spans; from this one it is less than 1e-5 away.

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

/// As [`argmax`], among the tokens whose bit is set in `words`.
pub(crate) fn argmax_allowed(row: &[f32], words: &[u32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (word, (number, logits)) in words.iter().zip(row.chunks(u32::BITS as usize).enumerate()) {
        if *word == 0 {
            continue;
        }
        for (bit, &logit) in logits.iter().enumerate().filter(|(bit, _)| word >> bit & 1 == 1) {
            if best.is_none_or(|(_, largest)| logit > largest) && logit > f32::NEG_INFINITY {
                best = Some((number * u32::BITS as usize + bit, logit));
            }
        }
    }
    best.map(|(token, _)| token as u32)
}

/// The `count` tokens with the largest logits and their logits, the largest first, of equals the lower id.
/// Tokens that cannot come (negative infinity) are left out.
pub fn most_probable(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(if count == 0 { 0 } else { count + 1 });
    let mut threshold = f32::NEG_INFINITY;
    for (token, &logit) in row.iter().enumerate().filter(|_| count > 0) {
        // Of equals the lower id stays, so a later one has to be larger.
        if logit > threshold {
            let place = best.partition_point(|(_, other)| *other >= logit);
            best.insert(place, (token as u32, logit));
            best.truncate(count);
            if best.len() == count {
                threshold = best[count - 1].1;
            }
        }
    }
    best
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
    fn the_best_of_the_allowed_tokens_is_found() {
        let row: Vec<f32> = (0..70).map(|token| [3.0, 1.0, 3.0][token % 3]).collect();
        let check = |words: &[u32], expected| assert_eq!(argmax_allowed(&row, words), expected, "{words:?}");
        check(&[0b110, 0, 0], Some(2));
        check(&[0b010, 1 << 4, 1], Some(36));
        // Words may be fewer than the vocabulary has, or more, and bits beyond its end mean nothing.
        check(&[0b10], Some(1));
        check(&[0, 0, 1 << 6, u32::MAX], None);
        check(&[], None);
        assert_eq!(argmax_allowed(&[f32::NEG_INFINITY, -1.0], &[0b01]), None);
    }

    #[test]
    fn the_most_probable_come_in_order() {
        let row = [1.0, 3.0, 3.0, f32::NEG_INFINITY, 2.0];
        assert_eq!(most_probable(&row, 0), []);
        assert_eq!(most_probable(&row, 3), [(1, 3.0), (2, 3.0), (4, 2.0)]);
        assert_eq!(most_probable(&row, 9), [(1, 3.0), (2, 3.0), (4, 2.0), (0, 1.0)]);
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
