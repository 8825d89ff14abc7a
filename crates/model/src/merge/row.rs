//! One row of a merged matrix.

use std::io;

use gptoss_checkpoint::Tensor;
use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES, mxfp4_add, mxfp4_dequantize, widen_bf16};
use half::bf16;

use crate::merge::tally::Tally;

/// A row's bytes, and what they kept.
#[derive(Debug, Default)]
pub(super) struct MergedRow {
    /// bf16, or codes.
    pub(super) bytes: Vec<u8>,
    /// Of MXFP4.
    pub(super) scales: Vec<u8>,
    pub(super) tally: Tally,
}

/// A matrix as the base has it.
pub(super) enum BaseRows<'a> {
    /// All of a tensor.
    Dense { tensor: &'a Tensor, rows: usize },
    /// One expert's.
    Mxfp4 { blocks: &'a [u8], scales: &'a [u8], columns: usize },
    /// All experts, each `[K, N]`.
    Transposed { values: &'a [bf16], rows: usize, columns: usize, expert: usize },
}

impl BaseRows<'_> {
    /// A row in f32.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        match *self {
            BaseRows::Dense { tensor, rows } => rows_of(tensor, row, 1, rows).unwrap_or_default(),
            BaseRows::Mxfp4 { columns, .. } => {
                let (blocks, scales) = self.blocks_of(row);
                let mut out = vec![0.0; columns];
                mxfp4_dequantize(&mut out, blocks, scales);
                out
            }
            BaseRows::Transposed { values, rows, columns, expert } => {
                let matrix = &values[expert * rows * columns..][..rows * columns];
                matrix[row..].iter().step_by(rows).map(|value| widen_bf16(*value)).collect()
            }
        }
    }

    fn blocks_of(&self, row: usize) -> (&[u8], &[u8]) {
        match *self {
            BaseRows::Mxfp4 { blocks, scales, columns } => {
                let per_row = columns / BLOCK_VALUES;
                let codes = &blocks[row * per_row * MXFP4_CODE_BYTES..][..per_row * MXFP4_CODE_BYTES];
                (codes, &scales[row * per_row..][..per_row])
            }
            BaseRows::Dense { .. } | BaseRows::Transposed { .. } => (&[], &[]),
        }
    }
}

/// The wanted numbers as bf16.
pub(super) fn merged_bf16(base: &[f32], wanted: &[f32]) -> MergedRow {
    let mut merged = MergedRow { bytes: Vec::with_capacity(2 * base.len()), ..MergedRow::default() };
    merged.tally.numbers = base.len() as u64;
    for (&base, &wanted) in base.iter().zip(wanted) {
        let rounded = bf16::from_f32(wanted);
        merged.bytes.extend_from_slice(&rounded.to_le_bytes());
        merged.tally.changed += u64::from(rounded != bf16::from_f32(base));
        merged.tally.count(base, wanted, rounded.to_f32());
    }
    merged
}

/// The base and what is added to it as MXFP4; blocks to which nothing is added keep their bytes.
pub(super) fn merged_mxfp4(base: &BaseRows<'_>, row: usize, added: &[f32]) -> MergedRow {
    let (blocks, scales) = base.blocks_of(row);
    let mut merged = MergedRow { bytes: blocks.to_vec(), scales: scales.to_vec(), ..MergedRow::default() };
    merged.tally.numbers = added.len() as u64;
    let values = base.row(row);
    let codes = merged.bytes.as_chunks_mut::<MXFP4_CODE_BYTES>().0.iter_mut().zip(&mut merged.scales);
    let inputs = values.as_chunks::<BLOCK_VALUES>().0.iter().zip(added.as_chunks::<BLOCK_VALUES>().0);
    for ((codes, scale), (values, added)) in codes.zip(inputs) {
        let (before, before_scale) = (*codes, *scale);
        let mut block = [before_scale; 1 + MXFP4_CODE_BYTES];
        block[1..].copy_from_slice(&before);
        let [new_scale, new_codes @ ..] = mxfp4_add(block, added);
        (*codes, *scale) = (new_codes, new_scale);
        // Under another scale every code is another one.
        merged.tally.changed += match *scale == before_scale {
            true => codes.iter().zip(before).map(|(new, old)| changed_codes(*new, old)).sum::<u64>(),
            false => BLOCK_VALUES as u64,
        };
        let mut found = [0.0; BLOCK_VALUES];
        mxfp4_dequantize(&mut found, codes, &[*scale]);
        for ((&base, added), found) in values.iter().zip(added).zip(found) {
            merged.tally.count(base, base + added, found);
        }
    }
    merged
}

/// How many of the two codes of a byte differ; zeros of both signs are the same.
fn changed_codes(new: u8, old: u8) -> u64 {
    let differ = |new: u8, old: u8| u64::from(new != old && (new | old) & 7 != 0);
    differ(new & 15, old & 15) + differ(new >> 4, old >> 4)
}

/// Some rows of a tensor in f32.
///
/// Errors: it is in none of the types that weights have.
pub(super) fn rows_of(tensor: &Tensor, first: usize, count: usize, num_rows: usize) -> io::Result<Vec<f32>> {
    let row_bytes = tensor.bytes.len() / num_rows;
    let bytes = tensor.bytes.slice(first * row_bytes..(first + count) * row_bytes);
    let bytes = bytes.ok_or_else(|| io::Error::other("a tensor is shorter than its shape"))?;
    Tensor { bytes, ..tensor.clone() }.to_f32().map_err(io::Error::other)
}
