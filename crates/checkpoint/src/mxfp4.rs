//! The MXFP4 block format, as far as files need it: what number does a code with a scale mean?
//!
//! 32 values share one scale byte `s`, which multiplies by 2^(s - 127) and means NaN at 255. A code has four bits: a sign
//! and the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6. Byte `b` of a block's sixteen holds value `2b` in its low half and
//! `2b + 1` in its high half. Every such number is exact in bf16 (up to the overflow of scales 253 and 254), so the
//! bf16 layout of a checkpoint says the same as the MXFP4 one.
//!
//! The entry points are [`mxfp4_value`] and [`dequantize_transposed`]. Fast products with such weights are another
//! room's business.

use half::bf16;

use crate::config::MXFP4_BLOCK;

/// Magnitudes of the codes, sign in bit 3.
const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
/// Rows that are transposed together, so that whole cache lines are written.
const ROW_TILE: usize = 32;

/// The number that a code (its low four bits) means under a scale.
pub fn mxfp4_value(code: u8, scale: u8) -> f32 {
    let magnitude = MAGNITUDES[usize::from(code & 7)];
    let signed = if code & 8 == 0 { magnitude } else { -magnitude };
    signed * scale_value(scale)
}

/// 2^(scale - 127); the smallest is subnormal, 255 is NaN.
fn scale_value(scale: u8) -> f32 {
    match scale {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        exponent => f32::from_bits(u32::from(exponent) << 23),
    }
}

/// The bf16 layout of one matrix: `out [columns, rows]` from `blocks [rows, columns/32, 16]` and
/// `scales [rows, columns/32]`.
///
/// The slices must have exactly these sizes; `rows` follows from them.
pub(crate) fn dequantize_transposed(out: &mut [bf16], blocks: &[u8], scales: &[u8], columns: usize) {
    let blocks_per_row = columns / MXFP4_BLOCK;
    let rows = scales.len() / blocks_per_row;
    debug_assert_eq!((out.len(), blocks.len()), (rows * columns, rows * columns / 2));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = blocks_per_row.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (index, out) in out.chunks_mut(share * MXFP4_BLOCK * rows).enumerate() {
            scope.spawn(move || {
                for (step, out) in out.chunks_mut(MXFP4_BLOCK * rows).enumerate() {
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
    let rows = out.len() / MXFP4_BLOCK;
    let mut tile = [[bf16::ZERO; ROW_TILE]; MXFP4_BLOCK];
    for first_row in (0..rows).step_by(ROW_TILE) {
        let num_rows = ROW_TILE.min(rows - first_row);
        for row in 0..num_rows {
            let place = (first_row + row) * blocks_per_row + column;
            let block = &blocks[place * MXFP4_BLOCK / 2..][..MXFP4_BLOCK / 2];
            decode_into_column(&mut tile, row, block, &code_values(scales[place]));
        }
        for (values, out) in tile.iter().zip(out.chunks_mut(rows)) {
            out[first_row..][..num_rows].copy_from_slice(&values[..num_rows]);
        }
    }
}

/// The 32 values of a block, one in each row of the tile.
fn decode_into_column(
    tile: &mut [[bf16; ROW_TILE]; MXFP4_BLOCK],
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
    fn codes_mean_what_the_format_says() {
        let positive: Vec<f32> = (0..8).map(|code| mxfp4_value(code, 127)).collect();
        assert_eq!(positive, MAGNITUDES);
        assert_eq!(mxfp4_value(0xF, 128), -12.0);
        assert_eq!(mxfp4_value(0x8, 127).to_bits(), (-0.0f32).to_bits());
        assert_eq!(mxfp4_value(2, 0), 2f32.powi(-127));
        assert_eq!(mxfp4_value(1, 0), 2f32.powi(-128));
        assert!(mxfp4_value(2, 255).is_nan());
    }

    #[test]
    fn every_value_below_the_overflow_is_exact_in_bf16() {
        for scale in 0..253 {
            for code in 0..16 {
                let value = mxfp4_value(code, scale);
                assert_eq!(
                    bf16::from_f32(value).to_f32().to_bits(),
                    value.to_bits(),
                    "code {code} scale {scale}"
                );
            }
        }
    }

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
