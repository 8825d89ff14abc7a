//! The keys and values of many sequences: one piece of a device's memory, planned at the start.
//!
//! Entry points: `Model::new_store`, then [`KvStore::apply`] for copies between slots; a step writes and
//! reads rows where a `SequenceKv` says. Blocks and places can leave as bytes and come back. Which slots
//! there are and what rows they have is `layout.rs`, alike on every device; who owns a slot, and which tokens
//! it holds, the engine remembers.

use gptoss_gpu::Device;

use crate::config::{KvFormat, LayerKind, ModelConfig};
use crate::cpu::kv_rows::KvRows;
use crate::gpu::kv_rows::KvRows as CardRows;
use crate::layout::{BLOCK_TOKENS, KindRows, KvBytes, StoreLayout, StoreShape, StoreSizes};
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
    Gpu(Box<CardRows>),
}

impl KvStore {
    /// Memory is reserved, not touched.
    pub(crate) fn on_cpu(shape: StoreShape, sizes: StoreSizes) -> KvStore {
        let layout = StoreLayout { shape, sizes };
        KvStore { memory: KvMemory::Cpu(KvRows::zeroed(layout.clone())), layout }
    }

    /// As [`KvStore::on_cpu`], on a card. What making room met is said by the first step.
    pub(crate) fn on_gpu(device: &Device, shape: StoreShape, sizes: StoreSizes) -> KvStore {
        let layout = StoreLayout { shape, sizes };
        let rows = CardRows::new(device, layout.clone());
        KvStore { memory: KvMemory::Gpu(Box::new(rows)), layout }
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

    /// Carries out copies between slots, in their order. What goes wrong with them on a card is said by the
    /// next step.
    ///
    /// Panics: if one names a slot that is not there.
    pub fn apply(&mut self, moves: &[KvMove]) {
        let copies: Vec<_> = moves.iter().flat_map(|kv_move| self.layout.copies(*kv_move)).collect();
        match &mut self.memory {
            KvMemory::Cpu(rows) => rows.copy(&copies),
            KvMemory::Gpu(rows) => rows.copy(&copies),
        }
    }

    /// The bytes of a whole block, for keeping them elsewhere. They are those of this machine and this
    /// precision. Empty when a card does not give them.
    ///
    /// Panics: if there is no such block.
    pub fn block_bytes(&self, block: u32) -> Vec<u8> {
        self.bytes_of(&[self.whole_block(block)])
    }

    /// Fills a block with what [`block_bytes`](KvStore::block_bytes) gave. False when the length is not that
    /// of a block, and the block is then unchanged; or when a card does not take them.
    ///
    /// Panics: if there is no such block.
    pub fn set_block(&mut self, block: u32, bytes: &[u8]) -> bool {
        self.take_bytes(&[self.whole_block(block)], bytes)
    }

    /// The bytes of a snapshot that was taken at `position`, and of the rows before it in `last_block`, which
    /// is the block that `position` lies in. Empty when a card does not give them.
    ///
    /// Panics: if there is no such slot.
    pub fn place_bytes(&self, snapshot: u32, position: usize, last_block: Option<u32>) -> Vec<u8> {
        self.bytes_of(&self.place_rows(snapshot, position, last_block))
    }

    /// Fills a snapshot, and the rows before `position` in `last_block`, with what
    /// [`place_bytes`](KvStore::place_bytes) gave. False when the length is another, and nothing is then
    /// changed; or when a card does not take them.
    ///
    /// Panics: if there is no such slot.
    pub fn set_place(
        &mut self,
        snapshot: u32,
        position: usize,
        last_block: Option<u32>,
        bytes: &[u8],
    ) -> bool {
        self.take_bytes(&self.place_rows(snapshot, position, last_block), bytes)
    }

    fn whole_block(&self, block: u32) -> KindRows {
        let row = self.layout.block_row(block);
        (LayerKind::Full, row..row + BLOCK_TOKENS)
    }

    /// The rows of a place, in the order of its bytes.
    fn place_rows(&self, snapshot: u32, position: usize, last_block: Option<u32>) -> Vec<KindRows> {
        let window = self.layout.window_before(position).map(|kept| {
            let row = self.layout.snapshot_row(snapshot, kept);
            (LayerKind::Windowed, row..row + 1)
        });
        let tail = last_block.map(|block| {
            let row = self.layout.block_row(block);
            (LayerKind::Full, row..row + position % BLOCK_TOKENS)
        });
        window.chain(tail).collect()
    }

    fn bytes_of(&self, rows: &[KindRows]) -> Vec<u8> {
        match &self.memory {
            KvMemory::Cpu(kept) => {
                let mut bytes = Vec::new();
                rows.iter().for_each(|(kind, range)| kept.append_bytes(*kind, range.clone(), &mut bytes));
                bytes
            }
            KvMemory::Gpu(kept) => kept.bytes(rows),
        }
    }

    fn take_bytes(&mut self, rows: &[KindRows], mut bytes: &[u8]) -> bool {
        let lens = rows.iter().map(|(kind, range)| self.shape().bytes_of_rows(*kind, range.len()));
        let lens: Vec<usize> = lens.collect();
        if bytes.len() != lens.iter().sum::<usize>() {
            return false;
        }
        match &mut self.memory {
            KvMemory::Cpu(kept) => {
                for ((kind, range), len) in rows.iter().zip(lens) {
                    let (own, rest) = bytes.split_at(len);
                    kept.take_bytes(*kind, range.clone(), own);
                    bytes = rest;
                }
                true
            }
            KvMemory::Gpu(kept) => kept.take_bytes(rows, bytes),
        }
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
            KvMemory::Gpu(rows) => rows.write(layer, kv, position, keys, values),
        }
    }
}
