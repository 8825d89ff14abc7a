//! Texts of a step put together into batches of bounded rows.

use crate::graph::Batch;

/// A text to learn from: what predicting each token from those before it weighs; the first weighs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The tokens, at least two.
    pub tokens: &'a [u32],
    /// As many.
    pub weights: &'a [f32],
}

/// Texts one after the other, each a document of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedTexts {
    tokens: Vec<u32>,
    documents: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// What the uneven use of experts weighs beside them.
    pub(crate) balance_weight: f64,
}

impl Text<'_> {
    /// Rows that it takes: the last token is a target alone.
    pub fn num_rows(&self) -> usize {
        self.tokens.len() - 1
    }
}

impl PackedTexts {
    /// Puts a text behind the others. `scale` goes on its weights: one over the sum of all weights of a step
    /// makes the step's loss a mean.
    ///
    /// Panics: when it has no row, or not as many weights as tokens.
    pub fn push(&mut self, text: Text<'_>, scale: f32) {
        assert_eq!(text.tokens.len(), text.weights.len(), "train: a weight a token");
        let rows = text.num_rows();
        assert!(rows > 0, "train: a text of one token says nothing");
        self.tokens.extend_from_slice(&text.tokens[..rows]);
        self.documents.push(rows);
        self.targets.extend_from_slice(&text.tokens[1..]);
        self.weights.extend(text.weights[1..].iter().map(|weight| weight * scale));
    }

    /// As the pass takes them.
    pub fn batch(&self) -> Batch<'_> {
        let PackedTexts { tokens, documents, targets, weights, balance_weight } = self;
        Batch { tokens, documents, targets, weights, balance_weight: *balance_weight }
    }
}

/// Which texts go together, each by its index, in batches of at most `rows_max` rows: the longest first, each
/// into the batch that it leaves the least room in, a new one where it fits none. A text with more rows is a
/// batch by itself. Texts of a batch ascend, and so do batches by their first text, so that the order in
/// which a step's gradients are added is that of the texts as far as packing lets it.
pub fn pack(rows: &[usize], rows_max: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..rows.len()).collect();
    longest_first.sort_by_key(|&text| (std::cmp::Reverse(rows[text]), text));
    let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
    for text in longest_first {
        let fits = |batch: &&mut (usize, Vec<usize>)| batch.0 >= rows[text];
        match batches.iter_mut().filter(fits).min_by_key(|batch| batch.0) {
            Some((room, texts)) => {
                *room -= rows[text];
                texts.push(text);
            }
            None => batches.push((rows_max.saturating_sub(rows[text]), vec![text])),
        }
    }
    let mut batches: Vec<Vec<usize>> = batches.into_iter().map(|(_, texts)| texts).collect();
    batches.iter_mut().for_each(|texts| texts.sort_unstable());
    batches.sort_unstable();
    batches
}

/// Texts in batches of at most `rows_max` rows, each with a factor on its weights by its index, and which of
/// the texts are in each.
pub(crate) fn packed(
    texts: &[Text<'_>],
    factor: impl Fn(usize) -> f32,
    rows_max: usize,
) -> Vec<(Vec<usize>, PackedTexts)> {
    let rows: Vec<usize> = texts.iter().map(Text::num_rows).collect();
    let packed = pack(&rows, rows_max).into_iter().map(|members| {
        let mut packed = PackedTexts::default();
        members.iter().for_each(|&text| packed.push(texts[text], factor(text)));
        (members, packed)
    });
    packed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fill_batches_and_each_comes_once() {
        assert_eq!(pack(&[6, 3, 4, 5, 2], 10), [vec![0, 2], vec![1, 3, 4]]);
        assert_eq!(pack(&[12, 1], 10), [vec![0], vec![1]], "too long for any batch");
        assert_eq!(pack(&[], 10), Vec::<Vec<usize>>::new());
        for seed in 0..100_usize {
            let rows: Vec<usize> = (0..seed).map(|text| 1 + (text * 7919 + seed * 31) % 64).collect();
            let batches = pack(&rows, 64);
            let mut all: Vec<usize> = batches.concat();
            all.sort_unstable();
            assert_eq!(all, (0..seed).collect::<Vec<_>>());
            let sums: Vec<usize> = batches.iter().map(|texts| texts.iter().map(|&t| rows[t]).sum()).collect();
            assert!(sums.iter().all(|&sum| sum <= 64), "{sums:?}");
            // At most one batch is half empty, or two of them would be one.
            assert!(sums.iter().filter(|&&sum| sum <= 32).count() <= 1, "{sums:?}");
        }
    }

    #[test]
    fn a_target_is_the_token_after_and_weighs_what_it_weighs() {
        let mut packed = PackedTexts::default();
        packed.push(Text { tokens: &[1, 2, 3], weights: &[0.0, 1.0, 3.0] }, 0.5);
        packed.push(Text { tokens: &[7, 8], weights: &[0.0, -2.0] }, 0.5);
        let Batch { tokens, documents, targets, weights, .. } = packed.batch();
        assert_eq!((tokens, documents), (&[1, 2, 7][..], &[2, 1][..]));
        assert_eq!((targets, weights), (&[2, 3, 8][..], &[0.5, 1.5, -1.0][..]));
    }
}
