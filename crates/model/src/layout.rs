//! Where the keys and values of many sequences lie, whatever memory holds them: slots, and their rows.
//!
//! | slot | holds | of |
//! |---|---|---|
//! | block | [`BLOCK_TOKENS`] consecutive positions | all full layers |
//! | ring | the last R positions, R = window - 1 + chunk; position p is in row p mod R | all windowed layers |
//! | snapshot | the `window - 1` positions before one place | all windowed layers |
//!
//! A ring is the window plus the longest chunk, because the first query of a chunk still looks `window - 1`
//! positions back after the chunk's last key is written. So a snapshot can be taken of any place inside the
//! last chunk, and a sequence can go back as far as that. All arithmetic on slots is here, so that every
//! device agrees on it.

use std::ops::Range;

use crate::config::{KvFormat, LayerKind, ModelConfig};
use crate::step::{KvMove, SequenceKv};

/// Positions of a block. A run of the attention kernel is one or more whole blocks; a shared block that is
/// written to is copied, so a longer one costs more.
pub const BLOCK_TOKENS: usize = 32;

/// How many slots of each kind a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSizes {
    /// Blocks of the full layers.
    pub blocks: usize,
    /// Rings of the windowed layers: one a running sequence.
    pub rings: usize,
    /// Snapshots of the windowed layers.
    pub snapshots: usize,
}

/// Bytes of a store by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvBytes {
    /// Blocks of layers that keep the whole context.
    pub full_layers: u64,
    /// Rings of layers that keep a window.
    pub windowed_layers: u64,
    /// Snapshots of those.
    pub snapshots: u64,
}

/// What two stores must share to belong to the same model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreShape {
    pub(crate) layer_kinds: Vec<LayerKind>,
    /// Numbers of one position's keys: `K * D`.
    pub(crate) row: usize,
    pub(crate) window: usize,
    /// Rows of a ring.
    pub(crate) ring_rows: usize,
    pub(crate) num_kv_heads: usize,
    pub(crate) format: KvFormat,
}

/// The shape of a store and its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreLayout {
    pub(crate) shape: StoreShape,
    pub(crate) sizes: StoreSizes,
}

/// Rows of every layer of a kind.
pub(crate) type KindRows = (LayerKind, Range<usize>);

/// Rows to be copied in every layer of a kind, keys and values alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowCopy {
    pub(crate) kind: LayerKind,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) rows: usize,
}

impl StoreShape {
    /// `ring_tokens_max` bounds the ring for contexts that are shorter than window and chunk.
    pub(crate) fn new(
        config: &ModelConfig,
        format: KvFormat,
        chunk_tokens: usize,
        ring_tokens_max: usize,
    ) -> StoreShape {
        StoreShape {
            layer_kinds: config.layer_kinds.clone(),
            row: config.num_kv_heads * config.head_dim,
            window: config.sliding_window,
            ring_rows: (config.sliding_window - 1 + chunk_tokens).min(ring_tokens_max.max(1)),
            num_kv_heads: config.num_kv_heads,
            format,
        }
    }

    /// Whether a store of this shape serves a model. One for a short context has shorter rings.
    pub(crate) fn is_of(&self, config: &ModelConfig, format: KvFormat, chunk_tokens: usize) -> bool {
        self.layer_kinds == config.layer_kinds
            && self.row == config.num_kv_heads * config.head_dim
            && self.window == config.sliding_window
            && self.ring_rows < config.sliding_window + chunk_tokens
            && self.num_kv_heads == config.num_kv_heads
            && self.format == format
    }

    /// The first position that a query of a windowed layer at `position` sees.
    pub(crate) fn window_start(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }

    pub(crate) fn has_windows(&self) -> bool {
        self.layer_kinds.contains(&LayerKind::Windowed)
    }

    /// The window that a layer's attention is limited to. Units: tokens.
    pub(crate) fn window_of(&self, layer: usize) -> Option<usize> {
        match self.layer_kinds[layer] {
            LayerKind::Full => None,
            LayerKind::Windowed => Some(self.window),
        }
    }

    /// Bytes of the keys and values of `rows` positions in all layers of a kind.
    pub(crate) fn bytes_of_rows(&self, kind: LayerKind, rows: usize) -> usize {
        let layers = self.layer_kinds.iter().filter(|&&k| k == kind).count();
        2 * layers * rows * self.format.row_bytes(self.num_kv_heads, self.row / self.num_kv_heads)
    }

    /// Bytes that `sizes` of these slots take.
    pub(crate) fn bytes(&self, sizes: StoreSizes) -> KvBytes {
        let of_kind = |kind, rows: usize| self.bytes_of_rows(kind, rows) as u64;
        KvBytes {
            full_layers: of_kind(LayerKind::Full, sizes.blocks * BLOCK_TOKENS),
            windowed_layers: of_kind(LayerKind::Windowed, sizes.rings * self.ring_rows),
            snapshots: of_kind(LayerKind::Windowed, sizes.snapshots * (self.window - 1)),
        }
    }
}

impl StoreLayout {
    /// Rows of a layer: blocks, or rings and then snapshots.
    pub(crate) fn rows_of(&self, kind: LayerKind) -> usize {
        match kind {
            LayerKind::Full => self.sizes.blocks * BLOCK_TOKENS,
            LayerKind::Windowed => {
                self.sizes.rings * self.shape.ring_rows + self.sizes.snapshots * (self.shape.window - 1)
            }
        }
    }

    /// The row of a sequence's position in a layer.
    pub(crate) fn row_of(&self, layer: usize, kv: &SequenceKv<'_>, position: usize) -> usize {
        match self.shape.layer_kinds[layer] {
            LayerKind::Full => self.block_row(kv.blocks[position / BLOCK_TOKENS]) + position % BLOCK_TOKENS,
            LayerKind::Windowed => self.ring_row(kv.ring, position),
        }
    }

    /// The first row of a block.
    pub(crate) fn block_row(&self, block: u32) -> usize {
        assert!((block as usize) < self.sizes.blocks, "block {block} of {}", self.sizes.blocks);
        block as usize * BLOCK_TOKENS
    }

    /// The row of a position in a ring.
    pub(crate) fn ring_row(&self, ring: u32, position: usize) -> usize {
        assert!((ring as usize) < self.sizes.rings, "ring {ring} of {}", self.sizes.rings);
        ring as usize * self.shape.ring_rows + position % self.shape.ring_rows
    }

    /// The row of a position in a snapshot.
    pub(crate) fn snapshot_row(&self, snapshot: u32, position: usize) -> usize {
        let count = self.sizes.snapshots;
        assert!((snapshot as usize) < count, "snapshot {snapshot} of {count}");
        let rows = self.shape.window - 1;
        self.sizes.rings * self.shape.ring_rows + snapshot as usize * rows + position % rows
    }

    /// The positions before `position` that a windowed layer's token at `position` sees.
    pub(crate) fn window_before(&self, position: usize) -> Range<usize> {
        self.shape.window_start(position)..position
    }

    /// What a move copies, in as few runs of rows as there are.
    ///
    /// Panics: if it names a slot that is not there.
    pub(crate) fn copies(&self, kv_move: KvMove) -> Vec<RowCopy> {
        match kv_move {
            KvMove::CopyBlock { from, to, rows } => {
                assert!(rows <= BLOCK_TOKENS, "a block has {BLOCK_TOKENS} rows");
                let (from, to) = (self.block_row(from), self.block_row(to));
                vec![RowCopy { kind: LayerKind::Full, from, to, rows }]
            }
            KvMove::SaveWindow { ring, position, snapshot } => self.window_copies(position, |kept| {
                (self.ring_row(ring, kept), self.snapshot_row(snapshot, kept))
            }),
            KvMove::RestoreWindow { snapshot, position, ring } => self.window_copies(position, |kept| {
                (self.snapshot_row(snapshot, kept), self.ring_row(ring, kept))
            }),
        }
    }

    fn window_copies(&self, position: usize, rows_of: impl Fn(usize) -> (usize, usize)) -> Vec<RowCopy> {
        let mut copies: Vec<RowCopy> = Vec::new();
        for (from, to) in self.window_before(position).map(rows_of) {
            match copies.last_mut() {
                Some(run) if (run.from + run.rows, run.to + run.rows) == (from, to) => run.rows += 1,
                _ => copies.push(RowCopy { kind: LayerKind::Windowed, from, to, rows: 1 }),
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::Preset;

    use super::*;

    #[test]
    fn a_window_moves_in_the_runs_that_both_slots_have() {
        let config = ModelConfig::from_checkpoint(&Preset::Tiny.config()).expect("a preset is legal");
        let shape = StoreShape { window: 5, ring_rows: 7, ..StoreShape::new(&config, KvFormat::F32, 3, 100) };
        let layout = StoreLayout { shape, sizes: StoreSizes { blocks: 1, rings: 2, snapshots: 2 } };
        // Positions 12 to 15 are rows 5, 6, 0, 1 of a ring of 7, and rows 0 to 3 of a snapshot of 4 after
        // both rings.
        let run = |from, to, rows| RowCopy { kind: LayerKind::Windowed, from, to, rows };
        let save = KvMove::SaveWindow { ring: 1, position: 16, snapshot: 1 };
        assert_eq!(layout.copies(save), [run(12, 18, 2), run(7, 20, 2)]);
        let restore = KvMove::RestoreWindow { snapshot: 0, position: 2, ring: 0 };
        assert_eq!(layout.copies(restore), [run(14, 0, 2)]);
    }
}
