//! The MXFP4 block format: 32 four-bit floats that share one power of two.
//!
//! Entry points: [`Mxfp4`] (a matrix as published), [`mxfp4_dequantize`], [`mxfp4_quantize`]. A block is 16
//! bytes; byte `b` holds element `2b` in its low nibble and `2b + 1` in its high one. A nibble is E2M1: sign,
//! then one of 0, .5, 1, 1.5, 2, 3, 4, 6. The scale byte `s` multiplies by `2^(s - 127)`; 255 would mean NaN and
//! is refused when a checkpoint is opened, so kernels never see it.
//!
//! Every value is exact in bf16 and in f32, scale byte 0 (a subnormal power of two) included; only codes of 4
//! and 6 under the last two scale bytes are larger than both and become infinite.
//!
//! This module does not know experts or layers.

use half::bf16;

/// Values that share a scale.
pub const BLOCK_VALUES: usize = 32;
/// Bytes of a block without its scale.
pub const BLOCK_BYTES: usize = 16;

/// The values of the sixteen E2M1 codes.
pub const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
/// Twice the values of the sixteen E2M1 codes, which are integers.
pub(crate) const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A borrowed MXFP4 matrix of N rows (outputs) by K columns (inputs), laid out as published.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4<'a> {
    /// `[N, K / 32, 16]`, row after row.
    pub blocks: &'a [u8],
    /// `[N, K / 32]`; no byte is 255.
    pub scales: &'a [u8],
}

impl<'a> Mxfp4<'a> {
    /// Panics unless the lengths are those of N rows of K values.
    pub(crate) fn assert_shape(&self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "mxfp4: K = {k} is no multiple of 32");
        assert_eq!(self.blocks.len(), n * k / 2, "mxfp4: blocks are [N, K / 32, 16]");
        assert_eq!(self.scales.len(), n * k / BLOCK_VALUES, "mxfp4: scales are [N, K / 32]");
    }

    /// The blocks and scales of row `n`.
    #[inline(always)]
    pub(crate) fn row(&self, n: usize, num_blocks: usize) -> (&'a [u8], &'a [u8]) {
        let row = self.rows(n, 1, num_blocks);
        (row.blocks, row.scales)
    }

    /// `rows` rows from `first` on.
    #[inline(always)]
    pub(crate) fn rows(&self, first: usize, rows: usize, num_blocks: usize) -> Mxfp4<'a> {
        let (start, len) = (first * num_blocks, rows * num_blocks);
        Mxfp4 {
            blocks: &self.blocks[start * BLOCK_BYTES..][..len * BLOCK_BYTES],
            scales: &self.scales[start..][..len],
        }
    }
}

/// The power of two of a scale byte: `2^(scale - 127)`, exact for every byte but 255.
#[inline(always)]
pub fn scale_value(scale: u8) -> f32 {
    // Byte 0 is 2^-127, half the smallest normal number, whose bits are larger than those of a plain shift.
    f32::from_bits((u32::from(scale) << 23).max(1 << 22))
}

/// Unpacks blocks into f32.
///
/// Shapes: `out [n]`, `blocks [n / 2]`, `scales [n / 32]`, n a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn mxfp4_dequantize(out: &mut [f32], blocks: &[u8], scales: &[u8]) {
    assert_eq!(out.len(), scales.len() * BLOCK_VALUES, "one scale per 32 values");
    assert_eq!(blocks.len(), scales.len() * BLOCK_BYTES, "16 bytes per scale");
    let blocks = blocks.as_chunks::<BLOCK_BYTES>().0;
    let outs = out.as_chunks_mut::<BLOCK_VALUES>().0;
    for ((out, block), &scale) in outs.iter_mut().zip(blocks).zip(scales) {
        let scale = scale_value(scale);
        for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(block) {
            pair[0] = E2M1[usize::from(byte & 15)] * scale;
            pair[1] = E2M1[usize::from(byte >> 4)] * scale;
        }
    }
}

/// Unpacks blocks into bf16, which holds every value of the format exactly.
///
/// Shapes: as [`mxfp4_dequantize`].
pub fn mxfp4_dequantize_bf16(out: &mut [bf16], blocks: &[u8], scales: &[u8]) {
    let mut values = vec![0.0; out.len()];
    mxfp4_dequantize(&mut values, blocks, scales);
    for (out, value) in out.iter_mut().zip(values) {
        *out = bf16::from_f32(value);
    }
}

/// Packs f32 values by the rule of the OCP microscaling format: the scale is the power of two of the largest
/// magnitude less 2 (the exponent of 6), each value is rounded to the nearest code, ties to even, and cut at 6.
///
/// Shapes: `blocks [n / 2]`, `scales [n / 32]`, `x [n]`, n a multiple of 32.
/// Panics: when the lengths do not fit together. A block of zeros gets scale byte 0; infinities and NaN, which
/// the format does not have, are cut to 6 and 0 times the largest scale.
pub fn mxfp4_quantize(blocks: &mut [u8], scales: &mut [u8], x: &[f32]) {
    assert_eq!(x.len(), scales.len() * BLOCK_VALUES, "one scale per 32 values");
    assert_eq!(blocks.len(), scales.len() * BLOCK_BYTES, "16 bytes per scale");
    let blocks = blocks.as_chunks_mut::<BLOCK_BYTES>().0;
    let inputs = x.as_chunks::<BLOCK_VALUES>().0;
    for ((block, scale), x) in blocks.iter_mut().zip(scales).zip(inputs) {
        let largest = x.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
        *scale = scale_byte(largest);
        let scale = f64::from(scale_value(*scale));
        for (byte, pair) in block.iter_mut().zip(x.as_chunks::<2>().0) {
            *byte = nearest_code(f64::from(pair[0]) / scale) | nearest_code(f64::from(pair[1]) / scale) << 4;
        }
    }
}

fn scale_byte(largest: f32) -> u8 {
    // The biased exponent of f32 has the bias of E8M0; a subnormal's reads 0, which is below the range anyway.
    let exponent = (largest.to_bits() >> 23) as i32;
    exponent.saturating_sub(2).clamp(0, 254) as u8
}

fn nearest_code(value: f64) -> u8 {
    let magnitude = value.abs();
    // Midpoints between neighbours; a tie goes to the even code, so odd codes own neither end of their range.
    let code = match magnitude {
        m if m <= 0.25 => 0,
        m if m < 0.75 => 1,
        m if m <= 1.25 => 2,
        m if m < 1.75 => 3,
        m if m <= 2.5 => 4,
        m if m < 3.5 => 5,
        m if m <= 5.0 => 6,
        m if m.is_nan() => 0,
        _ => 7,
    };
    if value.is_sign_negative() { code | 8 } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_nibble_comes_first() {
        let mut out = [0.0; 32];
        let mut block = [0; 16];
        block[0] = 0x21;
        mxfp4_dequantize(&mut out, &block, &[127]);
        assert_eq!(out[..3], [0.5, 1.0, 0.0]);
        mxfp4_dequantize(&mut out, &block, &[130]);
        assert_eq!(out[..2], [4.0, 8.0]);
    }

    #[test]
    fn every_scale_byte_is_its_power_of_two() {
        for scale in 0..=254_u8 {
            assert_eq!(f64::from(scale_value(scale)), (f64::from(scale) - 127.0).exp2());
        }
    }

    #[test]
    fn quantising_what_the_format_holds_is_exact() {
        let mut blocks = vec![0; 16 * 253]; // from scale byte 253 on, a 6 overflows f32
        for (i, byte) in blocks.iter_mut().enumerate() {
            *byte = (i * 7 % 251) as u8 | 0x07; // every block holds a 6 or -6, so its scale is found again
        }
        let scales: Vec<u8> = (0..253).map(|s| s as u8).collect();
        let mut values = vec![0.0; 32 * 253];
        mxfp4_dequantize(&mut values, &blocks, &scales);
        let (mut blocks_again, mut scales_again) = (vec![0; blocks.len()], vec![0; scales.len()]);
        mxfp4_quantize(&mut blocks_again, &mut scales_again, &values);
        assert!(scales_again == scales);
        assert!(blocks_again == blocks);
    }

    #[test]
    fn ties_go_to_the_even_code_and_large_values_are_cut() {
        for (value, code) in
            [(0.25, 0), (0.75, 2), (1.25, 2), (1.75, 4), (2.5, 4), (3.5, 6), (5.0, 6), (7.9, 7)]
        {
            assert_eq!(nearest_code(value), code, "{value}");
            assert_eq!(nearest_code(-value), code | 8, "-{value}");
        }
        let mut x = [0.0; 32];
        x[3] = f32::INFINITY;
        x[4] = f32::NAN;
        let (mut block, mut scale) = ([0; 16], [0]);
        mxfp4_quantize(&mut block, &mut scale, &x);
        assert_eq!((block[1] >> 4, block[2] & 7, scale[0]), (7, 0, 253));
    }
}
