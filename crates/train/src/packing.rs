//! Texts of a step put together into batches of bounded rows, where what several begin with is computed once.
//!
//! A conversation of which each turn is learned is as many texts, and all of them begin with the history;
//! so do the two answers of a pair. In the order of their tokens, each text goes on from the rows that it has
//! in common with the one before, as long as it learns nothing there: a tree whose branches are documents.

use std::ops::Range;

use gptoss_kernels::Document;

use crate::graph::Batch;

/// The fewest rows that are worth sharing; below it the text is computed whole.
const SHARED_ROWS_MIN: usize = 16;
/// The fewest rows of its own that a text keeps: attention takes queries by as many.
const OWN_ROWS_MIN: usize = 16;

/// A text to learn from: what predicting each token from those before it weighs; the first weighs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The tokens, at least two.
    pub tokens: &'a [u32],
    /// As many.
    pub weights: &'a [f32],
}

/// Texts one after the other, each a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedTexts {
    tokens: Vec<u32>,
    documents: Vec<Document>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// What the uneven use of experts weighs beside them.
    pub(crate) balance_weight: f64,
}

/// A text in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which one.
    pub text: usize,
    /// Rows at its beginning that are those of the text before it in the batch, and are not computed again.
    pub shared: usize,
}

impl Text<'_> {
    /// Rows that it takes alone: the last token is a target alone.
    pub fn num_rows(&self) -> usize {
        self.tokens.len() - 1
    }

    /// Rows that need not be computed behind another text: they have the same tokens at the same positions,
    /// and nothing is learned of what follows them.
    fn shared_with(&self, before: &Text<'_>) -> usize {
        let rows = |text: &Text<'_>| text.num_rows();
        let alike = self.tokens[..rows(self)].iter().zip(&before.tokens[..rows(before)]);
        let alike = alike.take_while(|(token, other)| token == other).count();
        let learned = self.weights.iter().skip(1).position(|weight| *weight != 0.0);
        let most = rows(self).saturating_sub(OWN_ROWS_MIN).min(learned.unwrap_or(usize::MAX));
        Some(alike.min(most)).filter(|shared| *shared >= SHARED_ROWS_MIN).unwrap_or(0)
    }
}

impl PackedTexts {
    /// Puts a text behind the others. `scale` goes on its weights: one over the sum of all weights of a step
    /// makes the step's loss a mean.
    ///
    /// Panics: when it has no row, or not as many weights as tokens.
    pub fn push(&mut self, text: Text<'_>, scale: f32) {
        self.push_after(text, scale, 0);
    }

    /// The same for one that goes on from so many rows of the last.
    fn push_after(&mut self, text: Text<'_>, scale: f32, shared: usize) {
        assert_eq!(text.tokens.len(), text.weights.len(), "train: a weight a token");
        let rows = text.num_rows();
        assert!(rows > shared, "train: a text of one token says nothing");
        let after = self.last_rows(shared);
        self.tokens.extend_from_slice(&text.tokens[shared..rows]);
        self.documents.push(Document { after, rows: rows - shared });
        self.targets.extend_from_slice(&text.tokens[shared + 1..]);
        self.weights.extend(text.weights[shared + 1..].iter().map(|weight| weight * scale));
    }

    /// The first rows of the last text, wherever they lie.
    fn last_rows(&self, mut count: usize) -> Vec<Range<usize>> {
        let Some(last) = self.documents.last() else { return Vec::new() };
        let mut after = Vec::new();
        for (_, run) in last.runs(self.tokens.len() - last.rows) {
            let len = run.len().min(count);
            if len > 0 {
                after.push(run.start..run.start + len);
            }
            count -= len;
        }
        after
    }

    /// As the pass takes them.
    pub fn batch(&self) -> Batch<'_> {
        let PackedTexts { tokens, documents, targets, weights, balance_weight } = self;
        Batch { tokens, documents, targets, weights, balance_weight: *balance_weight }
    }
}

/// Which texts go together, in batches of at most `rows_max` rows. Those that share rows stay together as
/// far as a batch holds them; such groups are put the longest first into the batch that they leave the least
/// room in, a new one where they fit none. A text with more rows is a batch by itself. Groups of a batch
/// ascend by their first text, and so do batches, so that the order in which a step's gradients are added is
/// that of the texts as far as packing lets it.
pub fn pack(texts: &[Text<'_>], rows_max: usize) -> Vec<Vec<Placed>> {
    let groups = groups(texts, rows_max);
    let rows: Vec<usize> = groups.iter().map(|group| num_rows(texts, group)).collect();
    let batches = pack_rows(&rows, rows_max).into_iter();
    batches.map(|batch| batch.into_iter().flat_map(|group| groups[group].iter().copied()).collect()).collect()
}

/// Rows that some placed texts take together.
pub fn num_rows(texts: &[Text<'_>], placed: &[Placed]) -> usize {
    placed.iter().map(|placed| texts[placed.text].num_rows() - placed.shared).sum()
}

/// Texts that share rows, each group by itself and none of more than `rows_max` rows unless it is one text.
fn groups(texts: &[Text<'_>], rows_max: usize) -> Vec<Vec<Placed>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| (texts[text].tokens, text));
    let mut groups: Vec<Vec<Placed>> = Vec::new();
    let mut rows = 0;
    for text in order {
        let group = groups.last_mut().and_then(|group| Some((texts[group.last()?.text], group)));
        let placed = group.and_then(|(before, group)| {
            let shared = texts[text].shared_with(&before);
            let own = texts[text].num_rows() - shared;
            (shared > 0 && rows + own <= rows_max).then_some((group, shared, own))
        });
        match placed {
            Some((group, shared, own)) => {
                group.push(Placed { text, shared });
                rows += own;
            }
            None => {
                groups.push(vec![Placed { text, shared: 0 }]);
                rows = texts[text].num_rows();
            }
        }
    }
    groups.sort_by_key(|group| group.iter().map(|placed| placed.text).min());
    groups
}

/// Which of some lengths go together; as [`pack`].
fn pack_rows(rows: &[usize], rows_max: usize) -> Vec<Vec<usize>> {
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
    let batches = pack(texts, rows_max).into_iter().map(|placed| {
        let mut packed = PackedTexts::default();
        for Placed { text, shared } in &placed {
            packed.push_after(texts[*text], factor(*text), *shared);
        }
        (placed.iter().map(|placed| placed.text).collect(), packed)
    });
    batches.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fill_batches_and_each_comes_once() {
        assert_eq!(pack_rows(&[6, 3, 4, 5, 2], 10), [vec![0, 2], vec![1, 3, 4]]);
        assert_eq!(pack_rows(&[12, 1], 10), [vec![0], vec![1]], "too long for any batch");
        assert_eq!(pack_rows(&[], 10), Vec::<Vec<usize>>::new());
        for seed in 0..100_usize {
            let rows: Vec<usize> = (0..seed).map(|text| 1 + (text * 7919 + seed * 31) % 64).collect();
            let batches = pack_rows(&rows, 64);
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
        assert_eq!((tokens, documents), (&[1, 2, 7][..], &[2, 1].map(Document::alone)[..]));
        assert_eq!((targets, weights), (&[2, 3, 8][..], &[0.5, 1.5, -1.0][..]));
    }
    /// A conversation of three turns, of which each is learned as inference renders it: without the reasoning
    /// of the turns before.
    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a document goes on from a list of runs")]
    fn turns_of_a_conversation_go_on_from_their_history() {
        let said = |first: u32, count: u32| (first..first + count).collect::<Vec<u32>>();
        let (questions, answers) =
            ([100, 200, 300].map(|q| said(q, 30)), [400, 500, 600].map(|a| said(a, 20)));
        let turns: Vec<(Vec<u32>, Vec<f32>)> = (0..3)
            .map(|turn| {
                let before = (0..turn).flat_map(|before| [&questions[before], &answers[before]]);
                let mut tokens: Vec<u32> = before.chain([&questions[turn]]).flatten().copied().collect();
                let read = tokens.len();
                tokens.extend(said(700 + 100 * turn as u32, 40));
                tokens.extend(&answers[turn]);
                let weights = (0..tokens.len()).map(|place| f32::from(u8::from(place >= read))).collect();
                (tokens, weights)
            })
            .collect();
        let texts: Vec<Text<'_>> = turns.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
        // A row that something is learned of is computed, though its token is shared.
        let placed = |text, shared| Placed { text, shared };
        assert_eq!(pack(&texts, 1000), [[placed(2, 0), placed(1, 79), placed(0, 29)]]);
        assert_eq!(num_rows(&texts, &pack(&texts, 1000)[0]), 189 + 60 + 60);
        let (members, packed) = packed(&texts, |_| 1.0, 1000).remove(0);
        assert_eq!(members, [2, 1, 0]);
        let Batch { tokens, documents, targets, weights, .. } = packed.batch();
        assert_eq!(documents[1], Document { after: vec![0..79], rows: 60 });
        assert_eq!(documents[2], Document { after: vec![0..29], rows: 60 });
        assert_eq!((tokens[189], targets[189], weights[189]), (229, 800, 1.0));
        // A batch that does not hold all takes what it can.
        assert_eq!(pack(&texts, 260), [vec![placed(0, 0)], vec![placed(2, 0), placed(1, 79)]]);
        // What is learned is no text's to share.
        let ones = vec![1.0; 150];
        let learned =
            [&turns[1].0, &turns[1].0].map(|tokens| Text { tokens, weights: &ones[..tokens.len()] });
        assert_eq!(pack(&learned, 1000), [[placed(0, 0), placed(1, 0)]]);
    }

    /// Rows of a text that itself goes on from another lie apart.
    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a document goes on from a list of runs")]
    fn a_branch_of_a_branch_has_its_rows_in_both() {
        let mut packed = PackedTexts::default();
        let zeros = [0.0; 8];
        let text = |tokens: &'static [u32]| Text { tokens, weights: &zeros[..tokens.len()] };
        packed.push(text(&[1, 2, 3, 4, 5]), 1.0);
        packed.push_after(text(&[1, 2, 6, 7, 8, 9]), 1.0, 2);
        packed.push_after(text(&[1, 2, 6, 7, 5, 5]), 1.0, 4);
        packed.push_after(text(&[1, 3, 3]), 1.0, 1);
        let after: Vec<_> = packed.documents.iter().map(|document| document.after.clone()).collect();
        assert_eq!(after, [vec![], vec![0..2], vec![0..2, 4..6], vec![0..1]]);
        assert_eq!(packed.tokens, [1, 2, 3, 4, 6, 7, 8, 5, 3]);
    }
}
