//! Keys and values in the computer's memory: rows of numbers, where the layout of the store has them.
//!
//! Entry point: [`KvRows`]; the forward pass writes rows and sees them as runs. Neighboring blocks with
//! neighboring numbers are one run to the attention kernel, whose order of summation counts positions: where
//! rows lie changes no bit. Memory is zeroed by the system and costs nothing until it is touched.

use std::ops::Range;

use gptoss_kernels::{HugePages, KvRun, KvSlice, kv_bf16, quantize_kv};

use crate::config::{KvFormat, LayerKind};
use crate::layout::{BLOCK_TOKENS, RowCopy, StoreLayout, StoreShape};
use crate::step::SequenceKv;

/// The keys and values of many sequences.
#[derive(Debug)]
pub(crate) struct KvRows {
    layout: StoreLayout,
    layers: Vec<LayerRows>,
}

/// A full layer: `[blocks * BLOCK_TOKENS, K, D]`. A windowed one: `[rings * R + snapshots * (window - 1), K,
/// D]`.
#[derive(Debug)]
struct LayerRows {
    keys: Rows,
    values: Rows,
}

/// Zeroed rows `[rows, K, D]`. bf16 is kept by its bits.
#[derive(Debug)]
enum Rows {
    F32(HugePages<f32>),
    Bf16(HugePages<u16>),
    Q8 {
        values: HugePages<i8>,
        /// `[rows, K]`
        scales: HugePages<f32>,
    },
}

impl KvRows {
    /// Zeroed rows for every slot of the layout.
    pub(crate) fn zeroed(layout: StoreLayout) -> KvRows {
        let kinds = layout.shape.layer_kinds.iter();
        let layers = kinds
            .map(|kind| {
                let rows = || Rows::zeroed(&layout.shape, layout.rows_of(*kind));
                LayerRows { keys: rows(), values: rows() }
            })
            .collect();
        KvRows { layout, layers }
    }

    pub(crate) fn layout(&self) -> &StoreLayout {
        &self.layout
    }

    /// Copies rows in every layer of their kind.
    pub(crate) fn copy(&mut self, copies: &[RowCopy]) {
        let shape = &self.layout.shape;
        for copy in copies {
            let from = copy.from..copy.from + copy.rows;
            for layer in of_kind(&mut self.layers, shape, copy.kind) {
                layer.keys.copy(shape, from.clone(), copy.to);
                layer.values.copy(shape, from.clone(), copy.to);
            }
        }
    }

    /// Appends the bytes of some rows of every layer of a kind.
    pub(crate) fn append_bytes(&self, kind: LayerKind, rows: Range<usize>, bytes: &mut Vec<u8>) {
        let shape = &self.layout.shape;
        for (layer, _) in self.layers.iter().zip(&shape.layer_kinds).filter(|&(_, &k)| k == kind) {
            for kept in [&layer.keys, &layer.values] {
                let parts = kept.bytes(shape, rows.clone());
                parts.into_iter().for_each(|part| bytes.extend_from_slice(part));
            }
        }
    }

    /// Fills rows with what `append_bytes` gave.
    pub(crate) fn take_bytes(&mut self, kind: LayerKind, rows: Range<usize>, mut bytes: &[u8]) {
        let shape = &self.layout.shape;
        for layer in of_kind(&mut self.layers, shape, kind) {
            for kept in [&mut layer.keys, &mut layer.values] {
                for part in kept.bytes_mut(shape, rows.clone()) {
                    let (own, rest) = bytes.split_at(part.len());
                    part.copy_from_slice(own);
                    bytes = rest;
                }
            }
        }
    }

    /// Writes the keys and values `[K, D]` of one position.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        kv: &SequenceKv<'_>,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let row = self.layout.row_of(layer, kv, position);
        self.layers[layer].keys.write(&self.layout.shape, row, keys);
        self.layers[layer].values.write(&self.layout.shape, row, values);
    }

    /// Appends to `runs` the keys and values that queries at the `positions` of a layer see, their own
    /// included, in order of position.
    pub(crate) fn visible<'a>(
        &'a self,
        layer: usize,
        kv: &SequenceKv<'_>,
        positions: Range<usize>,
        runs: &mut Vec<KvRun<'a>>,
    ) {
        match self.layout.shape.layer_kinds[layer] {
            LayerKind::Full => self.visible_blocks(layer, kv, positions.end, runs),
            LayerKind::Windowed => self.visible_ring(layer, kv, positions, runs),
        }
    }

    fn visible_blocks<'a>(
        &'a self,
        layer: usize,
        kv: &SequenceKv<'_>,
        end: usize,
        runs: &mut Vec<KvRun<'a>>,
    ) {
        let blocks = &kv.blocks[..end.div_ceil(BLOCK_TOKENS)];
        let mut position = 0;
        for run in blocks.chunk_by(|a, b| a + 1 == *b) {
            let len = (run.len() * BLOCK_TOKENS).min(end - position);
            runs.push(self.run(layer, self.layout.block_row(run[0]), position, len));
            position += len;
        }
    }

    fn visible_ring<'a>(
        &'a self,
        layer: usize,
        kv: &SequenceKv<'_>,
        positions: Range<usize>,
        runs: &mut Vec<KvRun<'a>>,
    ) {
        let ring_rows = self.layout.shape.ring_rows;
        let first = self.layout.shape.window_start(positions.start);
        let count = positions.end - first;
        // The two runs must not overlap; a chunk is short enough for its ring.
        assert!(count <= ring_rows, "a ring holds the window and the chunk");
        let start = self.layout.ring_row(kv.ring, first);
        let before_wrap = count.min(ring_rows - first % ring_rows);
        runs.push(self.run(layer, start, first, before_wrap));
        if count > before_wrap {
            let wrapped = kv.ring as usize * ring_rows;
            runs.push(self.run(layer, wrapped, first + before_wrap, count - before_wrap));
        }
    }

    fn run(&self, layer: usize, row: usize, first_position: usize, len: usize) -> KvRun<'_> {
        let shape = &self.layout.shape;
        KvRun {
            keys: self.layers[layer].keys.slice(shape, row..row + len),
            values: self.layers[layer].values.slice(shape, row..row + len),
            first_position,
            len,
        }
    }
}

/// The layers of a kind.
fn of_kind<'a>(
    layers: &'a mut [LayerRows],
    shape: &'a StoreShape,
    kind: LayerKind,
) -> impl Iterator<Item = &'a mut LayerRows> {
    let all = layers.iter_mut().zip(&shape.layer_kinds);
    all.filter(move |&(_, &k)| k == kind).map(|(layer, _)| layer)
}

impl Rows {
    fn zeroed(shape: &StoreShape, rows: usize) -> Rows {
        let count = rows * shape.row;
        match shape.format {
            KvFormat::F32 => Rows::F32(HugePages::zeroed(count)),
            KvFormat::Bf16 => Rows::Bf16(HugePages::zeroed(count)),
            KvFormat::Q8 => Rows::Q8 {
                values: HugePages::zeroed(count),
                scales: HugePages::zeroed(rows * shape.num_kv_heads),
            },
        }
    }

    fn write(&mut self, shape: &StoreShape, row: usize, new: &[f32]) {
        let place = numbers_of(shape, row..row + 1);
        match self {
            Rows::F32(kept) => kept[place].copy_from_slice(new),
            Rows::Bf16(bits) => {
                for (bits, &number) in bits[place].iter_mut().zip(new) {
                    *bits = kv_bf16(number).to_bits();
                }
            }
            Rows::Q8 { values, scales } => {
                quantize_kv(&mut values[place], &mut scales[scales_of(shape, row..row + 1)], new);
            }
        }
    }

    fn copy(&mut self, shape: &StoreShape, from: Range<usize>, to: usize) {
        let place = numbers_of(shape, from.clone());
        match self {
            Rows::F32(kept) => kept.copy_within(place, to * shape.row),
            Rows::Bf16(bits) => bits.copy_within(place, to * shape.row),
            Rows::Q8 { values, scales } => {
                values.copy_within(place, to * shape.row);
                scales.copy_within(scales_of(shape, from), to * shape.num_kv_heads);
            }
        }
    }

    fn slice(&self, shape: &StoreShape, rows: Range<usize>) -> KvSlice<'_> {
        let place = numbers_of(shape, rows.clone());
        match self {
            Rows::F32(kept) => KvSlice::F32(&kept[place]),
            Rows::Bf16(bits) => KvSlice::Bf16(bytemuck::cast_slice(&bits[place])),
            Rows::Q8 { values, scales } => {
                KvSlice::Q8 { values: &values[place], scales: &scales[scales_of(shape, rows)] }
            }
        }
    }

    /// The rows' bytes: numbers, then scales.
    fn bytes(&self, shape: &StoreShape, rows: Range<usize>) -> [&[u8]; 2] {
        let place = numbers_of(shape, rows.clone());
        match self {
            Rows::F32(kept) => [bytemuck::cast_slice(&kept[place]), &[]],
            Rows::Bf16(bits) => [bytemuck::cast_slice(&bits[place]), &[]],
            Rows::Q8 { values, scales } => {
                [bytemuck::cast_slice(&values[place]), bytemuck::cast_slice(&scales[scales_of(shape, rows)])]
            }
        }
    }

    fn bytes_mut(&mut self, shape: &StoreShape, rows: Range<usize>) -> [&mut [u8]; 2] {
        let place = numbers_of(shape, rows.clone());
        match self {
            Rows::F32(kept) => [bytemuck::cast_slice_mut(&mut kept[place]), &mut []],
            Rows::Bf16(bits) => [bytemuck::cast_slice_mut(&mut bits[place]), &mut []],
            Rows::Q8 { values, scales } => [
                bytemuck::cast_slice_mut(&mut values[place]),
                bytemuck::cast_slice_mut(&mut scales[scales_of(shape, rows)]),
            ],
        }
    }
}

/// Where the numbers of some rows stand.
fn numbers_of(shape: &StoreShape, rows: Range<usize>) -> Range<usize> {
    rows.start * shape.row..rows.end * shape.row
}

/// Where their scales stand.
fn scales_of(shape: &StoreShape, rows: Range<usize>) -> Range<usize> {
    rows.start * shape.num_kv_heads..rows.end * shape.num_kv_heads
}
