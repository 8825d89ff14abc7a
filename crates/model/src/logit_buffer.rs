//! Rows of logits in the computer's memory, as steps append them, with what a card found in them.
//!
//! Entry points: [`LogitBuffer`], [`RowSummary`]. The buffer grows to the most rows there were at a time, so
//! that a step of decoding allocates nothing; [`LogitBuffer::keep`] gives back what is beyond the memory
//! plan.

/// Tokens that a card finds in each row: as many as the APIs tell of at most.
pub(crate) const BEST_TOKENS: usize = 20;

/// What a card found in a row of logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowSummary {
    /// The best tokens and the bits of their logits, the largest first, of equals the lower id; behind the
    /// last there is [`RowSummary::NO_TOKEN`].
    pub(crate) best: [[u32; 2]; BEST_TOKENS],
    /// The largest logit m, and the sum l of `exp(logit - m)`, in the card's own order.
    pub(crate) softmax: [f32; 2],
}

/// Rows of logits, one after another.
#[derive(Default)]
pub(crate) struct LogitBuffer {
    /// At least `num_rows` rows; what is behind them is left from other steps.
    numbers: Vec<f32>, // [.., V]
    num_rows: usize,
    /// Of each row on a card.
    summaries: Vec<RowSummary>,
}

impl RowSummary {
    const NO_TOKEN: u32 = u32::MAX;

    /// The best tokens and their logits.
    pub(crate) fn best(&self) -> impl Iterator<Item = (u32, f32)> {
        let found = self.best.iter().take_while(|[token, _]| *token != RowSummary::NO_TOKEN);
        found.map(|&[token, bits]| (token, f32::from_bits(bits)))
    }

    /// `ln Σ exp(row)`. Units: natural logarithm.
    pub(crate) fn log_sum_exp(&self) -> f64 {
        let [largest, sum] = self.softmax.map(f64::from);
        largest + sum.ln()
    }
}

impl LogitBuffer {
    /// Row `index`, of `width` numbers.
    pub(crate) fn row(&self, index: usize, width: usize) -> &[f32] {
        assert!(index < self.num_rows, "row {index} of {}", self.num_rows);
        &self.numbers[index * width..][..width]
    }

    /// What the card found in row `index`; `None` on the processor.
    pub(crate) fn summary(&self, index: usize) -> Option<&RowSummary> {
        self.summaries.get(index)
    }

    /// Adds what the card found in the next row that has none.
    pub(crate) fn push_summary(&mut self, summary: RowSummary) {
        self.summaries.push(summary);
    }

    /// Forgets the rows from `num_rows` on.
    pub(crate) fn truncate(&mut self, num_rows: usize) {
        self.num_rows = self.num_rows.min(num_rows);
        self.summaries.truncate(num_rows);
    }

    /// Gives the memory of more than `rows` rows back.
    pub(crate) fn keep(&mut self, rows: usize, width: usize) {
        if self.numbers.len() > rows * width {
            self.numbers.truncate(rows * width);
            self.numbers.shrink_to_fit();
        }
    }

    /// Adds `count` rows of arbitrary content.
    pub(crate) fn add(&mut self, count: usize, width: usize) -> &mut [f32] {
        let start = self.num_rows * width;
        self.num_rows += count;
        make_room(&mut self.numbers, start + count * width);
        &mut self.numbers[start..][..count * width]
    }
}

/// Makes a buffer at least `len` long.
pub(crate) fn make_room(numbers: &mut Vec<f32>, len: usize) {
    if numbers.len() < len {
        numbers.reserve_exact(len - numbers.len());
        numbers.resize(len, 0.0);
    }
}
