//! Which texts, or pairs of them, each step of a run learns from.

use crate::schedule::order;

/// Texts in epochs, each in an order of its own, some at a step. A function of its numbers alone, so that a
/// run that goes on needs to know its step and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// How many texts each conversation has: they come one after the other, so that a step computes once what
    /// they have in common.
    pub texts: Vec<usize>,
    /// How often each comes.
    pub epochs: u64,
    /// How many a step takes; an epoch's last step takes what is left.
    pub batch: usize,
    /// Of the orders.
    pub seed: u64,
    /// Steps after which the run ends, if it has so many.
    pub steps_max: u64,
}

impl Course {
    /// How many texts there are.
    pub fn num_texts(&self) -> usize {
        self.texts.iter().sum()
    }

    /// Steps of an epoch.
    pub fn epoch_steps(&self) -> u64 {
        self.num_texts().div_ceil(self.batch.max(1)) as u64
    }

    /// Steps of the run.
    pub fn steps(&self) -> u64 {
        self.epoch_steps().saturating_mul(self.epochs).min(self.steps_max)
    }

    /// The texts of a step, counted from 0.
    pub fn texts_of(&self, step: u64) -> Vec<usize> {
        let (epoch, place) = (step / self.epoch_steps(), (step % self.epoch_steps()) as usize);
        let start = |end: &mut usize, texts: &usize| Some(std::mem::replace(end, *end + texts));
        let starts: Vec<usize> = self.texts.iter().scan(0, start).collect();
        let order = order(self.texts.len(), epoch, self.seed).into_iter();
        let texts = order.flat_map(|row| starts[row]..starts[row] + self.texts[row]);
        texts.skip(place * self.batch).take(self.batch).collect()
    }

    /// Those of `texts` that a step learns from.
    pub fn chosen<T: Copy>(&self, step: u64, texts: &[T]) -> Vec<T> {
        self.texts_of(step).into_iter().map(|text| texts[text]).collect()
    }

    /// Whether a step, counted from 0, is the last one of an epoch or of the run.
    pub fn ends_epoch(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.epoch_steps()) || step + 1 == self.steps()
    }

    /// The sum of a number over the texts of all steps.
    pub fn sum(&self, of: impl Fn(usize) -> u64) -> u64 {
        let epochs = self.steps() / self.epoch_steps();
        let rest = (epochs * self.epoch_steps()..self.steps()).flat_map(|step| self.texts_of(step));
        epochs * (0..self.num_texts()).map(&of).sum::<u64>() + rest.map(&of).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_text_once() {
        let course = Course { texts: vec![1; 10], epochs: 3, batch: 4, seed: 7, steps_max: u64::MAX };
        assert_eq!((course.epoch_steps(), course.steps()), (3, 9));
        for epoch in 0..3 {
            let steps: Vec<Vec<usize>> = (0..3).map(|step| course.texts_of(3 * epoch + step)).collect();
            assert_eq!(steps.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
            let mut texts = steps.concat();
            texts.sort_unstable();
            assert_eq!(texts, (0..10).collect::<Vec<_>>());
        }
        assert!(course.texts_of(0) != course.texts_of(3));
        assert_eq!(Course { steps_max: 5, ..course }.steps(), 5);
    }

    #[test]
    fn a_sum_is_over_every_step() {
        for steps_max in [1, 3, 5, 9, 99] {
            let course = Course { texts: vec![3, 1, 4, 2], epochs: 3, batch: 4, seed: 7, steps_max };
            let all = (0..course.steps()).flat_map(|step| course.texts_of(step));
            assert_eq!(course.sum(|text| 1 << (2 * text)), all.map(|text| 1 << (2 * text)).sum::<u64>());
            let ends: Vec<u64> = (0..course.steps()).filter(|&step| course.ends_epoch(step)).collect();
            assert_eq!(ends.last(), Some(&(course.steps() - 1)));
            assert_eq!(ends.len() as u64, course.steps().div_ceil(course.epoch_steps()));
        }
    }
    #[test]
    fn texts_of_a_conversation_come_one_after_the_other() {
        let course = Course { texts: vec![3, 1, 4, 2], epochs: 2, batch: 4, seed: 7, steps_max: u64::MAX };
        for epoch in 0..2 {
            let texts: Vec<usize> = (0..3).flat_map(|step| course.texts_of(3 * epoch + step)).collect();
            let starts = texts.chunk_by(|text, next| text + 1 == *next).map(|run| run[0]);
            assert!(starts.clone().all(|start| [0, 3, 4, 8].contains(&start)), "{texts:?}");
            assert_eq!(texts.len(), 10);
        }
    }
}
