//! The working memory of steps, kept by the caller from one to the next, with the logits of the last ones.
//!
//! Entry points: `Model::new_workspace`, which `Model::forward_segments` fills; then [`Workspace::logits`] of
//! each segment: [`SegmentLogits`] answers what a sampler asks of a row. Of the best tokens and the sum of
//! the softmax a card has the answers ready, and no row is read for them.

use std::borrow::Cow;
use std::ops::Range;

use crate::Error;
use crate::cpu::workspace::Workspace as CpuWorkspace;
use crate::gpu::workspace::Workspace as GpuWorkspace;
use crate::logit_buffer::{BEST_TOKENS, LogitBuffer, RowSummary};
use crate::logits::{argmax, argmax_allowed, log_sum_exp, most_probable};
use crate::step::{LOGIT_ROWS_MAX, Segment};

/// Buffers of steps and the logits that came of them. They grow to the largest step and stay.
pub struct Workspace {
    /// `V`.
    vocab_size: usize,
    /// Of each segment since the last [`clear`](Workspace::clear), its rows of logits or why it has none.
    segments: Vec<Result<Range<usize>, Error>>,
    /// Rows of logits that belong to `segments`.
    num_rows: usize,
    /// Rows of a step whose logits are wanted; empty between steps.
    pub(crate) wanted: Vec<usize>,
    pub(crate) memory: WorkMemory,
}

/// Where the buffers are.
pub(crate) enum WorkMemory {
    Cpu(Box<CpuWorkspace>),
    Gpu(Box<GpuWorkspace>),
}

impl WorkMemory {
    fn logits(&self) -> &LogitBuffer {
        match self {
            WorkMemory::Cpu(work) => &work.logits,
            WorkMemory::Gpu(work) => &work.logits,
        }
    }

    fn logits_mut(&mut self) -> &mut LogitBuffer {
        match self {
            WorkMemory::Cpu(work) => &mut work.logits,
            WorkMemory::Gpu(work) => &mut work.logits,
        }
    }
}

impl Workspace {
    pub(crate) fn on_cpu(vocab_size: usize) -> Workspace {
        Workspace::new(vocab_size, WorkMemory::Cpu(Box::default()))
    }

    pub(crate) fn on_gpu(vocab_size: usize) -> Workspace {
        Workspace::new(vocab_size, WorkMemory::Gpu(Box::default()))
    }

    fn new(vocab_size: usize, memory: WorkMemory) -> Workspace {
        Workspace { vocab_size, segments: Vec::new(), num_rows: 0, wanted: Vec::new(), memory }
    }

    /// Forgets the logits; the memory stays, as much as is planned.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.num_rows = 0;
        self.forget_loose_rows();
        // As many as the memory plan counts.
        self.memory.logits_mut().keep(LOGIT_ROWS_MAX, self.vocab_size);
    }

    /// How many segments were computed since the last [`clear`](Workspace::clear).
    pub fn num_segments(&self) -> usize {
        self.segments.len()
    }

    /// The logits of a segment, counted from the last [`clear`](Workspace::clear) in the order of the steps.
    ///
    /// Errors: `NonFiniteLogits`, of this segment alone.
    ///
    /// Panics: if there is no such segment, which is a mistake in the calling code.
    pub fn logits(&self, segment: usize) -> Result<SegmentLogits<'_>, &Error> {
        let rows = self.segments[segment].as_ref()?;
        Ok(SegmentLogits { work: self, first_row: rows.start, num_rows: rows.len() })
    }

    /// Begins a step of a model whose rows have `vocab_size` logits.
    ///
    /// Errors: `ForeignCache`.
    pub(crate) fn begin(&mut self, vocab_size: usize) -> Result<(), Error> {
        self.forget_loose_rows();
        if self.vocab_size == vocab_size { Ok(()) } else { Err(Error::ForeignCache) }
    }

    /// The rows of a step whose logits its segments want, in the memory of `wanted`.
    pub(crate) fn wanted_rows(&mut self, segments: &[Segment<'_>]) -> Vec<usize> {
        let mut wanted = std::mem::take(&mut self.wanted);
        let mut first_row = 0;
        for segment in segments {
            wanted.extend(segment.logits.of(segment.tokens.len()).map(|row| first_row + row));
            first_row += segment.tokens.len();
        }
        wanted
    }

    /// Gives a segment the next rows of logits.
    pub(crate) fn push_segment(&mut self, segment: &Segment<'_>) {
        let wanted = segment.logits.of(segment.tokens.len());
        let rows = self.num_rows..self.num_rows + wanted.len();
        let first_position = segment.first_position + wanted.start;
        let checked =
            rows.clone().try_for_each(|row| self.check_finite(row, first_position + row - rows.start));
        self.num_rows = rows.end;
        self.segments.push(checked.map(|()| rows));
    }

    /// A row of logits.
    pub(crate) fn row(&self, row: usize) -> Cow<'_, [f32]> {
        Cow::Borrowed(self.memory.logits().row(row, self.vocab_size))
    }

    /// Errors: `NonFiniteLogits` when a row, that of the token at `position`, holds an infinity or a NaN.
    pub(crate) fn check_finite(&self, row: usize, position: usize) -> Result<(), Error> {
        let row = self.row(row);
        match row.iter().position(|logit| !logit.is_finite()) {
            Some(token) => Err(Error::NonFiniteLogits { position, token, value: row[token] }),
            None => Ok(()),
        }
    }

    /// Bytes that are reserved, logits not counted.
    #[cfg(test)]
    pub(crate) fn num_bytes(&self) -> u64 {
        match &self.memory {
            WorkMemory::Cpu(work) => work.num_bytes(),
            WorkMemory::Gpu(_) => 0,
        }
    }

    /// Forgets rows of logits that belong to no segment: a step that panicked leaves them.
    fn forget_loose_rows(&mut self) {
        self.wanted.clear();
        self.memory.logits_mut().truncate(self.num_rows);
    }
}

/// The logits of one segment of a step, wherever they are. All of them are finite.
///
/// Every question about a row panics if there is no such row, which is a mistake in the calling code.
#[derive(Clone, Copy)]
pub struct SegmentLogits<'a> {
    work: &'a Workspace,
    first_row: usize,
    num_rows: usize,
}

impl<'a> SegmentLogits<'a> {
    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Row `index`: `[V]`, copied if it is in a device's memory.
    pub fn row(&self, index: usize) -> Cow<'a, [f32]> {
        assert!(index < self.num_rows, "row {index} of {}", self.num_rows);
        self.work.row(self.first_row + index)
    }

    /// The allowed token with the largest logit of a row; of equals, the one with the lowest id. `None` when
    /// none is allowed.
    ///
    /// `allowed` has a bit for each token: token `t` is bit `t % 32` of word `t / 32`, and those beyond the
    /// last word are not allowed. Without it all are.
    pub fn argmax(&self, index: usize, allowed: Option<&[u32]>) -> Option<u32> {
        // The first of them that is allowed is the best of all that are.
        let is_allowed = |token: u32| {
            allowed.is_none_or(|words| {
                words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
            })
        };
        let mut found = self.summary(index).into_iter().flat_map(RowSummary::best);
        if let Some((token, _)) = found.find(|(token, _)| is_allowed(*token)) {
            return Some(token);
        }
        let row = self.row(index);
        match allowed {
            None => Some(argmax(&row)),
            Some(words) => argmax_allowed(&row, words),
        }
    }

    /// The logit of a token.
    pub fn logit(&self, index: usize, token: u32) -> f32 {
        self.row(index)[token as usize]
    }

    /// `ln Σ exp(row)`, on a card summed by the card. Units: natural logarithm.
    pub fn log_sum_exp(&self, index: usize) -> f64 {
        match self.summary(index) {
            Some(summary) => summary.log_sum_exp(),
            None => log_sum_exp(&self.row(index)),
        }
    }

    /// The `count` tokens with the largest logits of a row and their logits, the largest first, of equals the
    /// lower id.
    pub fn top(&self, index: usize, count: usize) -> Vec<(u32, f32)> {
        match self.summary(index) {
            Some(summary) if count <= BEST_TOKENS => summary.best().take(count).collect(),
            _ => most_probable(&self.row(index), count),
        }
    }

    fn summary(&self, index: usize) -> Option<&'a RowSummary> {
        assert!(index < self.num_rows, "row {index} of {}", self.num_rows);
        self.work.memory.logits().summary(self.first_row + index)
    }
}
