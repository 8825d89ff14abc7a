//! The keys and values of many sequences: one piece of memory, planned at the start.
//!
//! Entry points: `Model::new_store`, then [`KvStore::copy_block`], [`KvStore::save_window`] and
//! [`KvStore::restore_window`]; the forward pass writes and reads rows where a [`KvPlace`] says. Three kinds of slots:
//!
//! | slot | holds | of |
//! |---|---|---|
//! | block | [`BLOCK_TOKENS`] consecutive positions | all full layers |
//! | ring | the last R positions, R = window - 1 + chunk; position p stands in row p mod R | all windowed layers |
//! | snapshot | the `window - 1` positions before one place | all windowed layers |
//!
//! A ring is the window plus the longest chunk, because the first query of a chunk still looks `window - 1` positions
//! back after the chunk's last key is written. So a snapshot can be taken of any place inside the last chunk, and
//! a sequence can go back as far as that. Neighbouring blocks with neighbouring numbers are one run to the attention
//! kernel, whose order of summation counts positions: where rows lie changes no bit.
//!
//! Memory is zeroed by the system and costs nothing until it is touched. The store does not know who owns a slot, how
//! many do, or which tokens it holds: the engine remembers that.

use std::ops::Range;

use gptoss_checkpoint::Pages;
use gptoss_kernels::{KvRun, KvSlice, kv_bf16, quantize_kv};

use crate::config::{KvFormat, LayerKind, ModelConfig};

/// Positions of a block. A run of the attention kernel is one or more whole blocks; a shared block that is written to
/// is copied, so a longer one costs more.
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

/// Where one sequence's keys and values are.
#[derive(Debug, Clone, Copy)]
pub struct KvPlace<'a> {
    /// The blocks of positions `0..32`, `32..64` and so on.
    pub blocks: &'a [u32],
    /// The ring.
    pub ring: u32,
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
    layer_kinds: Vec<LayerKind>,
    /// Numbers of one position's keys: `K * D`.
    row: usize,
    window: usize,
    /// Rows of a ring.
    ring_rows: usize,
    num_kv_heads: usize,
    format: KvFormat,
}

/// The keys and values of many sequences.
#[derive(Debug)]
pub struct KvStore {
    shape: StoreShape,
    sizes: StoreSizes,
    layers: Vec<LayerRows>,
}

/// A full layer: `[blocks * BLOCK_TOKENS, K, D]`. A windowed one: `[rings * R + snapshots * (window - 1), K, D]`.
#[derive(Debug)]
struct LayerRows {
    keys: Rows,
    values: Rows,
}

/// Zeroed rows `[rows, K, D]`. bf16 is kept by its bits.
#[derive(Debug)]
enum Rows {
    F32(Pages<f32>),
    Bf16(Pages<u16>),
    Q8 {
        values: Pages<i8>,
        /// `[rows, K]`
        scales: Pages<f32>,
    },
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

    /// The first position that a query of a windowed layer at `position` sees.
    pub(crate) fn window_start(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }

    pub(crate) fn has_windows(&self) -> bool {
        self.layer_kinds.contains(&LayerKind::Windowed)
    }

    /// Bytes of one position's keys.
    fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.num_kv_heads, self.row / self.num_kv_heads)
    }

    /// Where the numbers of some rows stand.
    fn numbers(&self, rows: Range<usize>) -> Range<usize> {
        rows.start * self.row..rows.end * self.row
    }

    /// Where their scales stand.
    fn scales(&self, rows: Range<usize>) -> Range<usize> {
        rows.start * self.num_kv_heads..rows.end * self.num_kv_heads
    }

    /// Numbers of one position's keys.
    pub(crate) fn row(&self) -> usize {
        self.row
    }

    pub(crate) fn num_layers(&self) -> usize {
        self.layer_kinds.len()
    }

    pub(crate) fn ring_rows(&self) -> usize {
        self.ring_rows
    }

    /// Bytes that `sizes` of these slots take.
    pub(crate) fn bytes(&self, sizes: StoreSizes) -> KvBytes {
        let of_kind = |kind, rows: usize| {
            let layers = self.layer_kinds.iter().filter(|&&k| k == kind).count();
            (2 * layers * rows * self.row_bytes()) as u64
        };
        KvBytes {
            full_layers: of_kind(LayerKind::Full, sizes.blocks * BLOCK_TOKENS),
            windowed_layers: of_kind(LayerKind::Windowed, sizes.rings * self.ring_rows),
            snapshots: of_kind(LayerKind::Windowed, sizes.snapshots * (self.window - 1)),
        }
    }
}

impl KvStore {
    pub(crate) fn new(shape: StoreShape, sizes: StoreSizes) -> KvStore {
        let windowed_rows = sizes.rings * shape.ring_rows + sizes.snapshots * (shape.window - 1);
        let layers = shape
            .layer_kinds
            .iter()
            .map(|kind| {
                let rows = match kind {
                    LayerKind::Full => sizes.blocks * BLOCK_TOKENS,
                    LayerKind::Windowed => windowed_rows,
                };
                let rows = || Rows::zeroed(&shape, rows);
                LayerRows { keys: rows(), values: rows() }
            })
            .collect();
        KvStore { shape, sizes, layers }
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
        self.sizes
    }

    pub(crate) fn shape(&self) -> &StoreShape {
        &self.shape
    }

    /// Copies the first `rows` positions of a block into another.
    ///
    /// Panics: if there is no such block.
    pub fn copy_block(&mut self, from: u32, to: u32, rows: usize) {
        let start = |block: u32| block as usize * BLOCK_TOKENS;
        assert!(rows <= BLOCK_TOKENS, "a block has {BLOCK_TOKENS} rows");
        self.copy_rows(LayerKind::Full, start(from), start(to), rows);
    }

    /// Keeps what a windowed layer's token at `position` sees of the tokens before it. `position` is at most the
    /// ring's number of tokens, and not so far back that its window is lost.
    ///
    /// Panics: if there is no such slot.
    pub fn save_window(&mut self, ring: u32, position: usize, snapshot: u32) {
        for position_kept in self.window_before(position) {
            let from = self.ring_row(ring, position_kept);
            let to = self.snapshot_row(snapshot, position_kept);
            self.copy_rows(LayerKind::Windowed, from, to, 1);
        }
    }

    /// Makes a ring hold what was kept for `position`, so that the sequence goes on from there.
    ///
    /// Panics: if there is no such slot.
    pub fn restore_window(&mut self, snapshot: u32, position: usize, ring: u32) {
        for position_kept in self.window_before(position) {
            let from = self.snapshot_row(snapshot, position_kept);
            let to = self.ring_row(ring, position_kept);
            self.copy_rows(LayerKind::Windowed, from, to, 1);
        }
    }

    /// The bytes of a whole block, for keeping them elsewhere. They are those of this machine and this precision.
    ///
    /// Panics: if there is no such block.
    pub fn block_bytes(&self, block: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_bytes(LayerKind::Full, block as usize * BLOCK_TOKENS, BLOCK_TOKENS, &mut bytes);
        bytes
    }

    /// Fills a block with what [`block_bytes`](KvStore::block_bytes) gave. False when the length is not that of a block; the block is
    /// then unchanged.
    ///
    /// Panics: if there is no such block.
    pub fn set_block(&mut self, block: u32, bytes: &[u8]) -> bool {
        let fits = bytes.len() == self.rows_bytes(LayerKind::Full, BLOCK_TOKENS);
        if fits {
            self.take_bytes(LayerKind::Full, block as usize * BLOCK_TOKENS, BLOCK_TOKENS, bytes);
        }
        fits
    }

    /// The bytes of a snapshot that was taken at `position`, and of the rows before it in `last_block`, which is the block that
    /// `position` lies in.
    ///
    /// Panics: if there is no such slot.
    pub fn place_bytes(&self, snapshot: u32, position: usize, last_block: Option<u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for kept in self.window_before(position) {
            self.append_bytes(LayerKind::Windowed, self.snapshot_row(snapshot, kept), 1, &mut bytes);
        }
        if let Some(block) = last_block {
            let rows = position % BLOCK_TOKENS;
            self.append_bytes(LayerKind::Full, block as usize * BLOCK_TOKENS, rows, &mut bytes);
        }
        bytes
    }

    /// Fills a snapshot, and the rows before `position` in `last_block`, with what [`place_bytes`](KvStore::place_bytes) gave. False
    /// when the length is another; nothing is then changed.
    ///
    /// Panics: if there is no such slot.
    pub fn set_place(
        &mut self,
        snapshot: u32,
        position: usize,
        last_block: Option<u32>,
        bytes: &[u8],
    ) -> bool {
        let row_bytes = self.rows_bytes(LayerKind::Windowed, 1);
        let window_bytes = self.window_before(position).len() * row_bytes;
        let rows = if last_block.is_some() { position % BLOCK_TOKENS } else { 0 };
        if bytes.len() != window_bytes + self.rows_bytes(LayerKind::Full, rows) {
            return false;
        }
        let (window, tail) = bytes.split_at(window_bytes);
        for (index, kept) in self.window_before(position).enumerate() {
            let row = self.snapshot_row(snapshot, kept);
            self.take_bytes(LayerKind::Windowed, row, 1, &window[index * row_bytes..][..row_bytes]);
        }
        if let Some(block) = last_block {
            self.take_bytes(LayerKind::Full, block as usize * BLOCK_TOKENS, rows, tail);
        }
        true
    }

    fn rows_bytes(&self, kind: LayerKind, rows: usize) -> usize {
        let layers = self.shape.layer_kinds.iter().filter(|&&k| k == kind).count();
        2 * layers * rows * self.shape.row_bytes()
    }

    fn append_bytes(&self, kind: LayerKind, row: usize, rows: usize, bytes: &mut Vec<u8>) {
        for (layer, _) in self.layers.iter().zip(&self.shape.layer_kinds).filter(|&(_, &k)| k == kind) {
            for kept in [&layer.keys, &layer.values] {
                let parts = kept.bytes(&self.shape, row..row + rows);
                parts.into_iter().for_each(|part| bytes.extend_from_slice(part));
            }
        }
    }

    fn take_bytes(&mut self, kind: LayerKind, row: usize, rows: usize, mut bytes: &[u8]) {
        let shape = &self.shape;
        for (layer, _) in self.layers.iter_mut().zip(&shape.layer_kinds).filter(|&(_, &k)| k == kind) {
            for kept in [&mut layer.keys, &mut layer.values] {
                for part in kept.bytes_mut(shape, row..row + rows) {
                    let (own, rest) = bytes.split_at(part.len());
                    part.copy_from_slice(own);
                    bytes = rest;
                }
            }
        }
    }

    fn window_before(&self, position: usize) -> Range<usize> {
        self.shape.window_start(position)..position
    }

    fn ring_row(&self, ring: u32, position: usize) -> usize {
        assert!((ring as usize) < self.sizes.rings, "ring {ring} of {}", self.sizes.rings);
        ring as usize * self.shape.ring_rows + position % self.shape.ring_rows
    }

    fn snapshot_row(&self, snapshot: u32, position: usize) -> usize {
        assert!(
            (snapshot as usize) < self.sizes.snapshots,
            "snapshot {snapshot} of {}",
            self.sizes.snapshots
        );
        let rows = self.shape.window - 1;
        self.sizes.rings * self.shape.ring_rows + snapshot as usize * rows + position % rows
    }

    fn copy_rows(&mut self, kind: LayerKind, from: usize, to: usize, rows: usize) {
        let shape = &self.shape;
        for (layer, _) in self.layers.iter_mut().zip(&shape.layer_kinds).filter(|&(_, &k)| k == kind) {
            layer.keys.copy(shape, from..from + rows, to);
            layer.values.copy(shape, from..from + rows, to);
        }
    }

    /// Writes the keys and values `[K, D]` of one position.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        place: &KvPlace<'_>,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let row = match self.shape.layer_kinds[layer] {
            LayerKind::Full => {
                place.blocks[position / BLOCK_TOKENS] as usize * BLOCK_TOKENS + position % BLOCK_TOKENS
            }
            LayerKind::Windowed => self.ring_row(place.ring, position),
        };
        self.layers[layer].keys.write(&self.shape, row, keys);
        self.layers[layer].values.write(&self.shape, row, values);
    }

    /// The keys and values that queries at the `positions` of a layer see, their own included, in order of position.
    pub(crate) fn visible(
        &self,
        layer: usize,
        place: &KvPlace<'_>,
        positions: Range<usize>,
    ) -> Vec<KvRun<'_>> {
        match self.shape.layer_kinds[layer] {
            LayerKind::Full => self.visible_blocks(layer, place, positions.end),
            LayerKind::Windowed => self.visible_ring(layer, place, positions),
        }
    }

    fn visible_blocks(&self, layer: usize, place: &KvPlace<'_>, end: usize) -> Vec<KvRun<'_>> {
        let blocks = &place.blocks[..end.div_ceil(BLOCK_TOKENS)];
        let mut runs = Vec::new();
        let mut position = 0;
        for run in blocks.chunk_by(|a, b| a + 1 == *b) {
            let len = (run.len() * BLOCK_TOKENS).min(end - position);
            runs.push(self.run(layer, run[0] as usize * BLOCK_TOKENS, position, len));
            position += len;
        }
        runs
    }

    fn visible_ring(&self, layer: usize, place: &KvPlace<'_>, positions: Range<usize>) -> Vec<KvRun<'_>> {
        let ring_rows = self.shape.ring_rows;
        let first = self.shape.window_start(positions.start);
        let count = positions.end - first;
        // The two runs must not overlap; a chunk is short enough for its ring.
        assert!(count <= ring_rows, "a ring holds the window and the chunk");
        let start = self.ring_row(place.ring, first);
        let before_wrap = count.min(ring_rows - first % ring_rows);
        let mut runs = vec![self.run(layer, start, first, before_wrap)];
        if count > before_wrap {
            let wrapped = place.ring as usize * ring_rows;
            runs.push(self.run(layer, wrapped, first + before_wrap, count - before_wrap));
        }
        runs
    }

    fn run(&self, layer: usize, row: usize, first_position: usize, len: usize) -> KvRun<'_> {
        KvRun {
            keys: self.layers[layer].keys.slice(&self.shape, row..row + len),
            values: self.layers[layer].values.slice(&self.shape, row..row + len),
            first_position,
            len,
        }
    }

    /// The window that a layer's attention is limited to. Units: tokens.
    pub(crate) fn window(&self, layer: usize) -> Option<usize> {
        match self.shape.layer_kinds[layer] {
            LayerKind::Full => None,
            LayerKind::Windowed => Some(self.shape.window),
        }
    }
}

impl Rows {
    fn zeroed(shape: &StoreShape, rows: usize) -> Rows {
        let numbers = rows * shape.row;
        match shape.format {
            KvFormat::F32 => Rows::F32(Pages::zeroed(numbers)),
            KvFormat::Bf16 => Rows::Bf16(Pages::zeroed(numbers)),
            KvFormat::Q8 => {
                Rows::Q8 { values: Pages::zeroed(numbers), scales: Pages::zeroed(rows * shape.num_kv_heads) }
            }
        }
    }

    fn write(&mut self, shape: &StoreShape, row: usize, numbers: &[f32]) {
        let place = shape.numbers(row..row + 1);
        match self {
            Rows::F32(kept) => kept[place].copy_from_slice(numbers),
            Rows::Bf16(bits) => {
                for (bits, &number) in bits[place].iter_mut().zip(numbers) {
                    *bits = kv_bf16(number).to_bits();
                }
            }
            Rows::Q8 { values, scales } => {
                quantize_kv(&mut values[place], &mut scales[shape.scales(row..row + 1)], numbers);
            }
        }
    }

    fn copy(&mut self, shape: &StoreShape, from: Range<usize>, to: usize) {
        let place = shape.numbers(from.clone());
        match self {
            Rows::F32(kept) => kept.copy_within(place, to * shape.row),
            Rows::Bf16(bits) => bits.copy_within(place, to * shape.row),
            Rows::Q8 { values, scales } => {
                values.copy_within(place, to * shape.row);
                scales.copy_within(shape.scales(from), to * shape.num_kv_heads);
            }
        }
    }

    fn slice(&self, shape: &StoreShape, rows: Range<usize>) -> KvSlice<'_> {
        let place = shape.numbers(rows.clone());
        match self {
            Rows::F32(kept) => KvSlice::F32(&kept[place]),
            Rows::Bf16(bits) => KvSlice::Bf16(bytemuck::cast_slice(&bits[place])),
            Rows::Q8 { values, scales } => {
                KvSlice::Q8 { values: &values[place], scales: &scales[shape.scales(rows)] }
            }
        }
    }

    /// The rows' bytes: numbers, then scales.
    fn bytes(&self, shape: &StoreShape, rows: Range<usize>) -> [&[u8]; 2] {
        let place = shape.numbers(rows.clone());
        match self {
            Rows::F32(kept) => [bytemuck::cast_slice(&kept[place]), &[]],
            Rows::Bf16(bits) => [bytemuck::cast_slice(&bits[place]), &[]],
            Rows::Q8 { values, scales } => {
                [bytemuck::cast_slice(&values[place]), bytemuck::cast_slice(&scales[shape.scales(rows)])]
            }
        }
    }

    fn bytes_mut(&mut self, shape: &StoreShape, rows: Range<usize>) -> [&mut [u8]; 2] {
        let place = shape.numbers(rows.clone());
        match self {
            Rows::F32(kept) => [bytemuck::cast_slice_mut(&mut kept[place]), &mut []],
            Rows::Bf16(bits) => [bytemuck::cast_slice_mut(&mut bits[place]), &mut []],
            Rows::Q8 { values, scales } => [
                bytemuck::cast_slice_mut(&mut values[place]),
                bytemuck::cast_slice_mut(&mut scales[shape.scales(rows)]),
            ],
        }
    }
}
