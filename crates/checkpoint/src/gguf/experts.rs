//! The matrices of the experts, from the order of a GGUF file into the published one.
//!
//! Entry point: [`ExpertRows`]. A GGUF file keeps each scale beside its sixteen bytes of codes, may pair the
//! codes of a byte differently, and may hold the gate and the up projection one after the other or in two
//! tensors; the published layout has all codes together, all scales together, and rows interleaved gate, up,
//! gate, up. Every function here walks the published rows, asks where a row lies in the file, and writes it;
//! the rows are divided among threads.
//!
//! The result is new memory, as large as the tensor, or memory of the caller's for one expert at a time
//! (`write_blocks` and its kin), which reads from disk use. It does not know names or shapes; the caller has
//! checked both.

use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES, Mxfp4Block, NibbleOrder, neighbors_from_halves};
use half::bf16;

use super::element::Storage;
use crate::bytes::Bytes;
use crate::parallel::in_parallel;

/// Columns that are transposed together: a cache line of bf16.
const TILE_COLUMNS: usize = 32;

/// Where the rows of a stack of expert matrices lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertRows<'a> {
    pub(crate) sources: Sources<'a>,
    /// Format of every source.
    pub(crate) storage: Storage,
    /// Rows of one expert in the published order.
    pub(crate) rows_per_expert: usize,
    /// Rows of all experts.
    pub(crate) num_rows: usize,
}

/// Which order the rows have in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sources<'a> {
    /// The published one.
    InOrder(&'a [u8]),
    /// The gate rows of all experts in one tensor, the up rows in another.
    Apart { gate: &'a [u8], up: &'a [u8] },
    /// For each expert its gate rows, then its up rows.
    GateFirst(&'a [u8]),
}

impl<'a> ExpertRows<'a> {
    /// The bytes in the file of a row in the published order.
    fn row(&self, index: usize) -> &'a [u8] {
        let (expert, row) = (index / self.rows_per_expert, index % self.rows_per_expert);
        let half = self.rows_per_expert / 2;
        let nth = |bytes: &[u8], num_rows: usize| bytes.len() / num_rows;
        let (bytes, place, size) = match self.sources {
            Sources::InOrder(bytes) => (bytes, index, nth(bytes, self.num_rows)),
            Sources::GateFirst(bytes) => {
                (bytes, expert * self.rows_per_expert + row % 2 * half + row / 2, nth(bytes, self.num_rows))
            }
            Sources::Apart { gate, up } => {
                let bytes = if row % 2 == 0 { gate } else { up };
                (bytes, expert * half + row / 2, nth(bytes, self.num_rows / 2))
            }
        };
        &bytes[place * size..][..size]
    }

    /// Codes of `columns` values a row, `[rows, columns/32, 16]`, neighbours sharing a byte.
    pub(crate) fn blocks(&self, columns: usize) -> Bytes {
        self.each_row(columns / BLOCK_VALUES * MXFP4_CODE_BYTES, |row, out| self.write_codes(row, out))
    }

    /// Scales of `columns` values a row, `[rows, columns/32]`.
    pub(crate) fn scales(&self, columns: usize) -> Bytes {
        self.each_row(columns / BLOCK_VALUES, |row, out| self.write_row_scales(row, out))
    }

    /// The same codes as [`ExpertRows::blocks`], by this thread into `out`, which has their size.
    pub(crate) fn write_blocks(&self, out: &mut [u8], columns: usize) {
        let row_bytes = columns / BLOCK_VALUES * MXFP4_CODE_BYTES;
        out.chunks_exact_mut(row_bytes).enumerate().for_each(|(row, out)| self.write_codes(row, out));
    }

    /// The same scales as [`ExpertRows::scales`], by this thread into `out`, which has their size.
    pub(crate) fn write_scales(&self, out: &mut [u8], columns: usize) {
        let row_bytes = columns / BLOCK_VALUES;
        out.chunks_exact_mut(row_bytes).enumerate().for_each(|(row, out)| self.write_row_scales(row, out));
    }

    fn write_codes(&self, row: usize, out: &mut [u8]) {
        let halves = self.storage == Storage::Mxfp4(NibbleOrder::Halves);
        let blocks = self.row(row).as_chunks::<{ size_of::<Mxfp4Block>() }>().0;
        for (out, [_, codes @ ..]) in out.as_chunks_mut::<MXFP4_CODE_BYTES>().0.iter_mut().zip(blocks) {
            *out = if halves { neighbors_from_halves(codes) } else { *codes };
        }
    }

    fn write_row_scales(&self, row: usize, out: &mut [u8]) {
        for (out, [scale, ..]) in
            out.iter_mut().zip(self.row(row).as_chunks::<{ size_of::<Mxfp4Block>() }>().0)
        {
            *out = *scale;
        }
    }

    /// One number a row as f32, `[rows]`.
    pub(crate) fn numbers(&self) -> Bytes {
        self.each_row(size_of::<f32>(), |row, out| {
            out.copy_from_slice(&number(self.row(row), self.storage).to_le_bytes());
        })
    }

    /// The same numbers as [`ExpertRows::numbers`], by this thread into `out`, which has their size.
    pub(crate) fn write_numbers(&self, out: &mut [u8]) {
        for (row, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            *out = number(self.row(row), self.storage).to_le_bytes();
        }
    }

    /// The bf16 matrices transposed, `[experts, columns, rows of one expert]`.
    pub(crate) fn transposed(&self, columns: usize) -> Bytes {
        let out_row_bytes = self.rows_per_expert * size_of::<bf16>();
        let num_experts = self.num_rows / self.rows_per_expert;
        in_parallel(num_experts * columns, out_row_bytes, TILE_COLUMNS, |first, out| {
            self.write_columns(first, out, columns);
        })
    }

    /// The same matrices as [`ExpertRows::transposed`], by this thread into `out`, which has their size.
    pub(crate) fn write_transposed(&self, out: &mut [u8], columns: usize) {
        let tile_bytes = TILE_COLUMNS * self.rows_per_expert * size_of::<bf16>();
        for (tile, out) in out.chunks_mut(tile_bytes).enumerate() {
            self.write_columns(tile * TILE_COLUMNS, out, columns);
        }
    }

    /// Some columns from `first` on; a tile of them may reach over the end of an expert.
    fn write_columns(&self, first: usize, out: &mut [u8], columns: usize) {
        let out_row_bytes = self.rows_per_expert * size_of::<bf16>();
        for (index, out) in out.chunks_mut(out_row_bytes).enumerate() {
            let (expert, column) = ((first + index) / columns, (first + index) % columns);
            for (row, out) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let source = self.row(expert * self.rows_per_expert + row).as_chunks::<2>().0;
                *out = source[column];
            }
        }
    }

    fn each_row(&self, row_bytes: usize, write: impl Fn(usize, &mut [u8]) + Sync) -> Bytes {
        in_parallel(self.num_rows, row_bytes, 1, |row, out| write(row, out))
    }
}

/// The one number of a row.
fn number(bytes: &[u8], storage: Storage) -> f32 {
    match (storage, bytes) {
        (Storage::Bf16, [a, b]) => bf16::from_le_bytes([*a, *b]).to_f32(),
        (Storage::F16, [a, b]) => half::f16::from_le_bytes([*a, *b]).to_f32(),
        (_, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two experts with two gate and two up rows of one block each; row `r` of the published order has scale
    /// `r`.
    #[test]
    fn rows_come_in_the_published_order_from_every_layout() {
        let block = |scale: u8| [[scale; 1].as_slice(), &[scale ^ 0x5A; 16]].concat();
        let stack = |scales: &[u8]| scales.iter().flat_map(|&scale| block(scale)).collect::<Vec<u8>>();
        let [in_order, gate_first] = [[0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 1, 3, 4, 6, 5, 7]].map(|s| stack(&s));
        let [gate, up] = [[0, 2, 4, 6], [1, 3, 5, 7]].map(|scales| stack(&scales));
        let layouts = [
            Sources::InOrder(&in_order),
            Sources::Apart { gate: &gate, up: &up },
            Sources::GateFirst(&gate_first),
        ];
        for sources in layouts {
            let storage = Storage::Mxfp4(NibbleOrder::Neighbors);
            let rows = ExpertRows { sources, storage, rows_per_expert: 4, num_rows: 8 };
            assert_eq!(&*rows.scales(32), [0, 1, 2, 3, 4, 5, 6, 7]);
            let expected: Vec<u8> = (0..8u8).flat_map(|scale| [scale ^ 0x5A; 16]).collect();
            assert_eq!(&*rows.blocks(32), expected);
            let (mut scales, mut blocks) = ([0; 8], [0; 8 * 16]);
            rows.write_scales(&mut scales, 32);
            rows.write_blocks(&mut blocks, 32);
            assert_eq!((&scales[..], &blocks[..]), (&[0, 1, 2, 3, 4, 5, 6, 7][..], &expected[..]));
        }
    }

    #[test]
    fn transposing_puts_every_number_in_its_place() {
        let (num_experts, rows, columns) = (3, 6, 40);
        let value =
            |expert: usize, row: usize, column: usize| ((expert * rows + row) * columns + column) as u16;
        let mut bytes = Vec::new();
        for (expert, row) in (0..num_experts).flat_map(|expert| (0..rows).map(move |row| (expert, row))) {
            bytes.extend((0..columns).flat_map(|column| value(expert, row, column).to_le_bytes()));
        }
        let sources = Sources::InOrder(&bytes);
        let stack = ExpertRows {
            sources,
            storage: Storage::Bf16,
            rows_per_expert: rows,
            num_rows: num_experts * rows,
        };
        let out = stack.transposed(columns);
        let mut by_one = vec![0; out.len()];
        stack.write_transposed(&mut by_one, columns);
        assert!(by_one[..] == out[..]);
        for (place, found) in out.as_chunks::<2>().0.iter().enumerate() {
            let (expert, column, row) = (place / (rows * columns), place / rows % columns, place % rows);
            assert_eq!(u16::from_le_bytes(*found), value(expert, row, column), "{place}");
        }
    }
}
