//! Keys and values that nobody computed: for measuring at a depth that would take minutes to read.
//!
//! Entry point: [`KvStore::fill_random`]. Rows are random numbers, even in -1..1, a function of seed, layer and position alone; they
//! are written the way the forward pass writes its own, in the store's format. A few different rows serve for all, because
//! drawing each anew would cost more than what is measured. The tokens that follow such positions mean nothing.
//!
//! It does not know who measures.

use std::ops::Range;

use crate::cpu::kv_store::{KvPlace, KvStore};

/// Different rows; a prime, so that layers and positions do not fall into step.
const RANDOM_ROWS: usize = 1021;

impl KvStore {
    /// Writes random keys and values at `positions` of a sequence, whose place has blocks for all of them.
    ///
    /// Panics: if the place lies outside the store or has too few blocks.
    pub fn fill_random(&mut self, place: &KvPlace<'_>, positions: Range<usize>, seed: u64) {
        let (width, num_layers) = (self.shape().row(), self.shape().num_layers());
        let rows = random_rows(width, seed);
        let row = |number: usize| &rows[number % RANDOM_ROWS * width..][..width];
        for layer in 0..num_layers {
            for position in positions.clone() {
                let number = 2 * (position * num_layers + layer);
                self.write(layer, place, position, row(number), row(number + 1));
            }
        }
    }
}

/// `[RANDOM_ROWS, width]`, even in -1..1.
fn random_rows(width: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        // Steps of a 64-bit linear congruential generator; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..RANDOM_ROWS * width).map(next).collect()
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};
    use gptoss_kernels::Pool;

    use crate::{BLOCK_TOKENS, KvPlace, LogitRows, Model, Precision, Segment, StoreSizes};

    #[test]
    fn random_positions_are_the_seeds_alone() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| ()).expect("loads");
        let blocks: Vec<u32> = (0..301_u32.div_ceil(BLOCK_TOKENS as u32)).collect();
        let place = KvPlace { blocks: &blocks, ring: 0 };
        let logits = |ends: &[usize], seed| {
            let sizes = StoreSizes { blocks: blocks.len(), rings: 1, snapshots: 0 };
            let mut store = model.new_store(sizes, 301);
            let mut first = 0;
            for &end in ends {
                store.fill_random(&place, first..end, seed);
                first = end;
            }
            let segment = Segment { tokens: &[7], first_position: first, place, logits: LogitRows::Last };
            let mut answers = model.forward_segments(&[segment], &mut store).expect("a legal step");
            answers.remove(0).expect("finite").rows
        };
        assert_eq!(logits(&[300], 1), logits(&[1, 200, 300], 1));
        assert_ne!(logits(&[300], 1), logits(&[300], 2));
    }
}
