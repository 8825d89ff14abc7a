//! The bf16 layout of an MXFP4 matrix: the same numbers, transposed.
//!
//! Entry point: [`dequantize_transposed`], for checkpoints that are written. Every number is exact in bf16,
//! up to the overflow of scales 253 and 254, so both layouts say the same.

use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES, mxfp4_value};
use half::bf16;

/// Rows that are transposed together, so that whole cache lines are written.
const ROW_TILE: usize = 32;

/// The bf16 layout of one matrix: `out [columns, rows]` from `blocks [rows, columns/32, 16]` and
/// `scales [rows, columns/32]`.
///
/// The slices must have exactly these sizes; `rows` follows from them.
pub(crate) fn dequantize_transposed(out: &mut [bf16], blocks: &[u8], scales: &[u8], columns: usize) {
    let blocks_per_row = columns / BLOCK_VALUES;
    let rows = scales.len() / blocks_per_row;
    debug_assert_eq!((out.len(), blocks.len()), (rows * columns, rows * columns / 2));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = blocks_per_row.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (index, out) in out.chunks_mut(share * BLOCK_VALUES * rows).enumerate() {
            scope.spawn(move || {
                for (step, out) in out.chunks_mut(BLOCK_VALUES * rows).enumerate() {
                    dequantize_block_column(out, blocks, scales, index * share + step, blocks_per_row);
                }
            });
        }
    });
}

/// 32 columns of the matrix, that is 32 rows of the transposed one.
fn dequantize_block_column(
    out: &mut [bf16],
    blocks: &[u8],
    scales: &[u8],
    column: usize,
    blocks_per_row: usize,
) {
    let rows = out.len() / BLOCK_VALUES;
    let mut tile = [[bf16::ZERO; ROW_TILE]; BLOCK_VALUES];
    for first_row in (0..rows).step_by(ROW_TILE) {
        let num_rows = ROW_TILE.min(rows - first_row);
        for row in 0..num_rows {
            let place = (first_row + row) * blocks_per_row + column;
            let block = &blocks[place * MXFP4_CODE_BYTES..][..MXFP4_CODE_BYTES];
            decode_into_column(&mut tile, row, block, &code_values(scales[place]));
        }
        for (values, out) in tile.iter().zip(out.chunks_mut(rows)) {
            out[first_row..][..num_rows].copy_from_slice(&values[..num_rows]);
        }
    }
}

/// The 32 values of a block, one in each row of the tile.
fn decode_into_column(
    tile: &mut [[bf16; ROW_TILE]; BLOCK_VALUES],
    column: usize,
    block: &[u8],
    values: &[bf16; 16],
) {
    for (pair, &byte) in tile.as_chunks_mut::<2>().0.iter_mut().zip(block) {
        pair[0][column] = values[usize::from(byte & 15)];
        pair[1][column] = values[usize::from(byte >> 4)];
    }
}

/// What the sixteen codes mean under a scale.
fn code_values(scale: u8) -> [bf16; 16] {
    std::array::from_fn(|code| bf16::from_f32(mxfp4_value(code as u8, scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transposed_matrix_holds_each_value_at_its_place() {
        let (rows, columns) = (37, 96);
        let blocks: Vec<u8> = (0..rows * columns / 2).map(|index| (index * 73 % 251) as u8).collect();
        let scales: Vec<u8> = (0..rows * columns / 32).map(|index| 120 + (index % 7) as u8).collect();
        let mut out = vec![bf16::NAN; rows * columns];
        dequantize_transposed(&mut out, &blocks, &scales, columns);
        for row in 0..rows {
            for column in 0..columns {
                let byte = blocks[row * columns / 2 + column / 2];
                let code = if column % 2 == 0 { byte & 15 } else { byte >> 4 };
                let expected = mxfp4_value(code, scales[row * columns / 32 + column / 32]);
                assert_eq!(out[column * rows + row].to_f32(), expected, "row {row} column {column}");
            }
        }
    }
}
