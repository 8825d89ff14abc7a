//! Cases of the router's choice, the order of experts, the way back, and the best tokens.

use crate::Error;
use crate::ops::{BestTokens, CollectExperts, RouterTopK, SortExperts};
use crate::prove::Output;
use crate::prove::random::Random;
use crate::prove::sheet::Bench;

/// The two x of a sort's dispatches.
pub const SORT_GROUPS: [u32; 2] = [7, 5];

/// The choice of experts.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// T
    pub t: u32,
    /// E
    pub num_experts: u32,
    /// A
    pub active: u32,
}

impl Choice {
    /// `[T, E]`, every third row with ties.
    pub fn inputs(&self, random: &mut Random) -> Vec<f32> {
        let mut logits = random.floats(self.t * self.num_experts);
        for row in logits.chunks_mut(self.num_experts as usize).step_by(3) {
            row.iter_mut().for_each(|logit| *logit = (*logit * 2.0).round());
        }
        logits
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Choice { t, num_experts, active } = *self;
        let mut sheet = bench.sheet();
        let logits = &sheet.holding(&self.inputs(random));
        let (experts, weights) = (&sheet.room(t * active), &sheet.room(t * active));
        sheet.run(|kernels, recording| {
            RouterTopK { experts, weights, logits, t, num_experts, active }.record(kernels, recording)
        })?;
        Ok(vec![sheet.words(experts, t * active), sheet.floats(weights, t * active)])
    }
}

/// The order of experts.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// T
    pub t: u32,
    /// A
    pub active: u32,
    /// E
    pub num_experts: u32,
    /// Most slots of a tile.
    pub tile_rows: u32,
}

impl Order {
    /// `[T, A]`: different ones for each token.
    pub fn inputs(&self, random: &mut Random) -> Vec<u32> {
        (0..self.t)
            .flat_map(|_| {
                let mut order = random.shuffled(self.num_experts);
                order.truncate(self.active as usize);
                order
            })
            .collect()
    }

    /// Tiles that are there, and one behind them that nobody writes.
    pub fn num_tiles(&self, experts: &[u32]) -> u32 {
        let slots = |expert: u32| experts.iter().filter(|other| **other == expert).count() as u32;
        1 + (0..self.num_experts).map(|expert| slots(expert).div_ceil(self.tile_rows)).sum::<u32>()
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Order { t, active, num_experts, tile_rows } = *self;
        let of_tokens = self.inputs(random);
        let mut sheet = bench.sheet();
        let experts = &sheet.holding(&of_tokens);
        let (slots, tokens) = (&sheet.room(t * active), &sheet.room(t * active));
        let tiles_bytes = SortExperts::tiles_bytes(t * active, num_experts, tile_rows);
        let (tiles, dispatches) = (&sheet.room_bytes(tiles_bytes + 16), &sheet.room(6));
        let groups = SORT_GROUPS;
        sheet.run(|kernels, recording| {
            SortExperts {
                slots,
                tokens,
                tiles,
                dispatches,
                experts,
                t,
                active,
                num_experts,
                tile_rows,
                groups,
            }
            .record(kernels, recording)
        })?;
        Ok(vec![
            sheet.words(slots, t * active),
            sheet.words(tokens, t * active),
            sheet.words(tiles, 4 * self.num_tiles(&of_tokens)),
            sheet.words(dispatches, 6),
        ])
    }
}

/// What experts add to their tokens.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// T
    pub t: u32,
    /// A
    pub active: u32,
    /// C
    pub width: u32,
    /// Whether rows are in the order of experts.
    pub is_sorted: bool,
}

/// Numbers of a [`Collection`].
#[derive(Clone, Debug)]
pub struct CollectionNumbers {
    /// `[T, C]`
    pub hidden: Vec<f32>,
    /// `[T * A, C]`
    pub outputs: Vec<f32>,
    /// `[T, A]`
    pub weights: Vec<f32>,
    /// `[T, A]`: the row of each assignment.
    pub slots: Vec<u32>,
}

impl Collection {
    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> CollectionNumbers {
        let Collection { t, active, width, is_sorted } = *self;
        CollectionNumbers {
            hidden: random.floats(t * width),
            outputs: random.floats(t * active * width),
            weights: random.floats(t * active),
            slots: if is_sorted { random.shuffled(t * active) } else { (0..t * active).collect() },
        }
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Collection { t, active, width, is_sorted } = *self;
        let numbers = self.inputs(random);
        let mut sheet = bench.sheet();
        let (hidden, outputs) = (&sheet.holding(&numbers.hidden), &sheet.holding(&numbers.outputs));
        let (weights, slots) = (&sheet.holding(&numbers.weights), &sheet.holding(&numbers.slots));
        let slots = is_sorted.then_some(slots);
        sheet.run(|kernels, recording| {
            CollectExperts { hidden, outputs, weights, slots, t, active, width }.record(kernels, recording)
        })?;
        Ok(vec![sheet.floats(hidden, t * width)])
    }
}

/// The best tokens of rows.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    /// Rows.
    pub rows: u32,
    /// V
    pub vocab: u32,
    /// Tokens that are found.
    pub count: u32,
    /// Words of a mask; 0 for none.
    pub mask_words: u32,
}

impl Best {
    /// Logits `[rows, V]` with ties, and the mask `[rows, words]`.
    pub fn inputs(&self, random: &mut Random) -> (Vec<f32>, Vec<u32>) {
        let logits = (0..self.rows * self.vocab).map(|_| (random.unit() * 20.0).round() * 0.5).collect();
        (logits, (0..self.rows * self.mask_words).map(|_| random.bits() as u32).collect())
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Best { rows, vocab, count, mask_words } = *self;
        let (logits, mask) = self.inputs(random);
        let mut sheet = bench.sheet();
        let (logits, mask) = (&sheet.holding(&logits), &sheet.holding(&mask));
        let [found, softmax] = &BestTokens::bytes(rows, vocab, count).map(|bytes| sheet.room_bytes(bytes));
        let (tokens, sums) = (&sheet.room(2 * rows * count), &sheet.room(4 * rows));
        let mask = (mask_words > 0).then_some((mask, mask_words));
        sheet.run(|kernels, recording| {
            BestTokens { tokens, sums, logits, mask, found, softmax, rows, vocab, count }
                .record(kernels, recording)
        })?;
        Ok(vec![sheet.words(tokens, 2 * rows * count), sheet.floats(sums, 4 * rows)])
    }
}
