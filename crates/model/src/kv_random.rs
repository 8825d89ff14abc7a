//! Keys and values that were not computed, for measuring at a depth that would take minutes to read.
//!
//! Entry point: [`KvStore::fill_random`]. Rows are random numbers, even in -1..1, a function of seed, layer
//! and position alone; they are written the way the forward pass writes its own, in the store's format. A few
//! different rows serve for all, because drawing each anew would cost more than what is measured. The tokens
//! that follow such positions mean nothing.

use std::ops::Range;

use crate::kv_store::KvStore;
use crate::step::SequenceKv;

/// Different rows; a prime, so that layers and positions do not fall into step.
const RANDOM_ROWS: usize = 1021;

impl KvStore {
    /// Writes random keys and values at `positions` of a sequence that has blocks for all of them.
    ///
    /// Panics: if its slots lie outside the store or are too few.
    pub fn fill_random(&mut self, kv: &SequenceKv<'_>, positions: Range<usize>, seed: u64) {
        let (width, num_layers) = (self.shape().row, self.shape().layer_kinds.len());
        let rows = random_rows(width, seed);
        let row = |number: usize| &rows[number % RANDOM_ROWS * width..][..width];
        for layer in 0..num_layers {
            for position in positions.clone() {
                let number = 2 * (position * num_layers + layer);
                self.write(layer, kv, position, row(number), row(number + 1));
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

    use crate::{BLOCK_TOKENS, LogitRows, Model, Precision, Segment, SequenceKv, StoreSizes};

    #[test]
    fn random_positions_are_the_seeds_alone() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| ()).expect("loads");
        let blocks: Vec<u32> = (0..301_u32.div_ceil(BLOCK_TOKENS as u32)).collect();
        let kv = SequenceKv { blocks: &blocks, ring: 0 };
        let logits = |ends: &[usize], seed| {
            let sizes = StoreSizes { blocks: blocks.len(), rings: 1, snapshots: 0 };
            let mut store = model.new_store(sizes, 301);
            let mut first = 0;
            for &end in ends {
                store.fill_random(&kv, first..end, seed);
                first = end;
            }
            let logits = LogitRows::Last;
            let segment = Segment { tokens: &[7], first_position: first, kv, logits, adapter: None };
            let mut work = model.new_workspace();
            model.forward_segments(&[segment], &mut store, &mut work).expect("a legal step");
            work.logits(0).expect("finite").row(0).into_owned()
        };
        assert_eq!(logits(&[300], 1), logits(&[1, 200, 300], 1));
        assert_ne!(logits(&[300], 1), logits(&[300], 2));
    }
}
