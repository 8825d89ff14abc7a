//! Rows of logits in the computer's memory, as steps append them.
//!
//! Entry point: [`LogitBuffer`]. It grows to the most rows there were at a time, so that a step of decoding
//! allocates nothing; [`LogitBuffer::keep`] gives back what is beyond the memory plan.

/// Rows of logits, one after another.
#[derive(Default)]
pub(crate) struct LogitBuffer {
    /// At least `num_rows` rows; what is behind them is left from other steps.
    numbers: Vec<f32>, // [.., V]
    num_rows: usize,
}

impl LogitBuffer {
    /// Row `index`, of `width` numbers.
    pub(crate) fn row(&self, index: usize, width: usize) -> &[f32] {
        assert!(index < self.num_rows, "row {index} of {}", self.num_rows);
        &self.numbers[index * width..][..width]
    }

    /// Forgets the rows from `num_rows` on.
    pub(crate) fn truncate(&mut self, num_rows: usize) {
        self.num_rows = self.num_rows.min(num_rows);
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
