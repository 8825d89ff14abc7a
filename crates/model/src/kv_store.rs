//! The keys and values of many sequences: one piece of a device's memory, planned at the start.
//!
//! Entry points: `Model::new_store`, then [`KvStore::apply`] for copies between slots; a step writes and
//! reads rows where a `SequenceKv` says. Blocks and places can leave as bytes and come back. Which slots
//! there are and what rows they have is `layout.rs`, alike on every device; who owns a slot, and which tokens
//! it holds, the engine remembers.

use std::ops::Range;

use crate::config::{KvFormat, LayerKind, ModelConfig};
use crate::cpu::kv_rows::KvRows;
use crate::layout::{BLOCK_TOKENS, KvBytes, StoreLayout, StoreShape, StoreSizes};
use crate::step::{KvMove, SequenceKv};

/// The keys and values of many sequences.
#[derive(Debug)]
pub struct KvStore {
    layout: StoreLayout,
    pub(crate) memory: KvMemory,
}

/// Where the rows are.
#[derive(Debug)]
pub(crate) enum KvMemory {
    Cpu(KvRows),
}

impl KvStore {
    /// Memory is reserved, not touched.
    pub(crate) fn on_cpu(shape: StoreShape, sizes: StoreSizes) -> KvStore {
        let layout = StoreLayout { shape, sizes };
        KvStore { memory: KvMemory::Cpu(KvRows::zeroed(layout.clone())), layout }
    }

    /// The bytes that a store reserves for a model that is fed by chunks of at most `chunk_tokens`.
    ///
    /// Units: tokens in, bytes out.
    pub fn bytes(
        config: &ModelConfig,
        format: KvFormat,
        chunk_tokens: usize,
        max_context: usize,
        sizes: StoreSizes,
    ) -> KvBytes {
        StoreShape::new(config, format, chunk_tokens, max_context).bytes(sizes)
    }

    /// How many slots there are.
    pub fn sizes(&self) -> StoreSizes {
        self.layout.sizes
    }

    pub(crate) fn shape(&self) -> &StoreShape {
        &self.layout.shape
    }

    /// Carries out copies between slots, in their order.
    ///
    /// Panics: if one names a slot that is not there.
    pub fn apply(&mut self, moves: &[KvMove]) {
        for kv_move in moves {
            let copies = self.layout.copies(*kv_move);
            match &mut self.memory {
                KvMemory::Cpu(rows) => rows.copy(&copies),
            }
        }
    }

    /// The bytes of a whole block, for keeping them elsewhere. They are those of this machine and this
    /// precision.
    ///
    /// Panics: if there is no such block.
    pub fn block_bytes(&self, block: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let row = self.layout.block_row(block);
        self.append_bytes(LayerKind::Full, row..row + BLOCK_TOKENS, &mut bytes);
        bytes
    }

    /// Fills a block with what [`block_bytes`](KvStore::block_bytes) gave. False when the length is not that
    /// of a block; the block is then unchanged.
    ///
    /// Panics: if there is no such block.
    pub fn set_block(&mut self, block: u32, bytes: &[u8]) -> bool {
        let fits = bytes.len() == self.shape().bytes_of_rows(LayerKind::Full, BLOCK_TOKENS);
        if fits {
            let row = self.layout.block_row(block);
            self.take_bytes(LayerKind::Full, row..row + BLOCK_TOKENS, bytes);
        }
        fits
    }

    /// The bytes of a snapshot that was taken at `position`, and of the rows before it in `last_block`, which
    /// is the block that `position` lies in.
    ///
    /// Panics: if there is no such slot.
    pub fn place_bytes(&self, snapshot: u32, position: usize, last_block: Option<u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for kept in self.layout.window_before(position) {
            let row = self.layout.snapshot_row(snapshot, kept);
            self.append_bytes(LayerKind::Windowed, row..row + 1, &mut bytes);
        }
        if let Some(block) = last_block {
            let row = self.layout.block_row(block);
            self.append_bytes(LayerKind::Full, row..row + position % BLOCK_TOKENS, &mut bytes);
        }
        bytes
    }

    /// Fills a snapshot, and the rows before `position` in `last_block`, with what
    /// [`place_bytes`](KvStore::place_bytes) gave. False when the length is another; nothing is then changed.
    ///
    /// Panics: if there is no such slot.
    pub fn set_place(
        &mut self,
        snapshot: u32,
        position: usize,
        last_block: Option<u32>,
        bytes: &[u8],
    ) -> bool {
        let row_bytes = self.shape().bytes_of_rows(LayerKind::Windowed, 1);
        let kept = self.layout.window_before(position);
        let window_bytes = kept.len() * row_bytes;
        let rows = if last_block.is_some() { position % BLOCK_TOKENS } else { 0 };
        if bytes.len() != window_bytes + self.shape().bytes_of_rows(LayerKind::Full, rows) {
            return false;
        }
        let (window, tail) = bytes.split_at(window_bytes);
        for (index, kept) in kept.enumerate() {
            let row = self.layout.snapshot_row(snapshot, kept);
            self.take_bytes(LayerKind::Windowed, row..row + 1, &window[index * row_bytes..][..row_bytes]);
        }
        if let Some(block) = last_block {
            let row = self.layout.block_row(block);
            self.take_bytes(LayerKind::Full, row..row + rows, tail);
        }
        true
    }

    /// Writes the keys and values `[K, D]` of one position of a layer, as a step writes its own.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        kv: &SequenceKv<'_>,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        match &mut self.memory {
            KvMemory::Cpu(rows) => rows.write(layer, kv, position, keys, values),
        }
    }

    fn append_bytes(&self, kind: LayerKind, range: Range<usize>, bytes: &mut Vec<u8>) {
        match &self.memory {
            KvMemory::Cpu(rows) => rows.append_bytes(kind, range, bytes),
        }
    }

    fn take_bytes(&mut self, kind: LayerKind, range: Range<usize>, bytes: &[u8]) {
        match &mut self.memory {
            KvMemory::Cpu(rows) => rows.take_bytes(kind, range, bytes),
        }
    }
}
