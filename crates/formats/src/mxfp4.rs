//! MXFP4: 32 codes of E2M1 under one E8M0 scale, in both layouts that files have.
//!
//! * Published (safetensors): all codes together, all scales together. Byte `b` of a block's sixteen holds
//!   value `2b` in its low nibble and `2b + 1` in its high one ([`NibbleOrder::Neighbors`]).
//! * GGUF: [`Mxfp4Block`], the scale in front of its codes. llama.cpp pairs value `b` with `b + 16`
//!   ([`NibbleOrder::Halves`]); early Ollama files keep neighbors.
//!
//! Every value is exact in bf16 and in f32, scale byte 0 (a subnormal power of two) included; only codes of 4
//! and 6 under the last two scale bytes are larger than both and become infinite.

use half::bf16;

use crate::{BLOCK_VALUES, E2M1, nearest_e2m1, nearest_scale, scale_value};

/// Bytes of a block's codes.
pub const MXFP4_CODE_BYTES: usize = BLOCK_VALUES / 2;

/// A scale and the codes of 32 values, as GGUF files have them.
pub type Mxfp4Block = [u8; 1 + MXFP4_CODE_BYTES];

/// Which values of a block share a byte of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NibbleOrder {
    /// Byte `b` holds values `b` (low) and `b + 16` (high), as llama.cpp stores them.
    Halves,
    /// Byte `b` holds values `2b` (low) and `2b + 1` (high), as the published safetensors and early Ollama
    /// files do.
    Neighbors,
}

/// The code of value `index` of a block.
pub fn code_of(codes: &[u8; MXFP4_CODE_BYTES], order: NibbleOrder, index: usize) -> u8 {
    let (byte, is_high) = match order {
        NibbleOrder::Halves => (index % MXFP4_CODE_BYTES, index >= MXFP4_CODE_BYTES),
        NibbleOrder::Neighbors => (index / 2, index % 2 == 1),
    };
    if is_high { codes[byte] >> 4 } else { codes[byte] & 15 }
}

/// The codes of a block with neighbors sharing a byte, from halves sharing a byte.
pub fn neighbors_from_halves(codes: &[u8; MXFP4_CODE_BYTES]) -> [u8; MXFP4_CODE_BYTES] {
    let mut out = [0; MXFP4_CODE_BYTES];
    for pair in 0..MXFP4_CODE_BYTES / 2 {
        let (even, odd) = (codes[2 * pair], codes[2 * pair + 1]);
        out[pair] = (even & 15) | (odd << 4);
        out[pair + MXFP4_CODE_BYTES / 2] = (even >> 4) | (odd & 0xF0);
    }
    out
}

/// The number that a code (its low four bits) means under a scale.
pub fn mxfp4_value(code: u8, scale: u8) -> f32 {
    E2M1[usize::from(code & 15)] * scale_value(scale)
}

/// Unpacks published blocks into f32.
///
/// Shapes: `out [n]`, `blocks [n / 2]`, `scales [n / 32]`, n a multiple of 32.
/// Panics: when the lengths do not fit together.
#[inline]
pub fn mxfp4_dequantize(out: &mut [f32], blocks: &[u8], scales: &[u8]) {
    assert_eq!(out.len(), scales.len() * BLOCK_VALUES, "one scale per 32 values");
    assert_eq!(blocks.len(), scales.len() * MXFP4_CODE_BYTES, "16 bytes per scale");
    let blocks = blocks.as_chunks::<MXFP4_CODE_BYTES>().0;
    let outs = out.as_chunks_mut::<BLOCK_VALUES>().0;
    for ((out, block), &scale) in outs.iter_mut().zip(blocks).zip(scales) {
        let scale = scale_value(scale);
        for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(block) {
            pair[0] = E2M1[usize::from(byte & 15)] * scale;
            pair[1] = E2M1[usize::from(byte >> 4)] * scale;
        }
    }
}

/// Unpacks published blocks into bf16, which holds every value of the format exactly.
///
/// Shapes: as [`mxfp4_dequantize`].
pub fn mxfp4_dequantize_bf16(out: &mut [bf16], blocks: &[u8], scales: &[u8]) {
    let mut values = vec![0.0; out.len()];
    mxfp4_dequantize(&mut values, blocks, scales);
    for (out, value) in out.iter_mut().zip(values) {
        *out = bf16::from_f32(value);
    }
}

/// Packs f32 values into published blocks by the rule of the OCP microscaling format: the scale of
/// [`nearest_scale`], and each value the [`nearest_e2m1`] under it.
///
/// Shapes: `blocks [n / 2]`, `scales [n / 32]`, `x [n]`, n a multiple of 32.
/// Panics: when the lengths do not fit together. A block of zeros gets scale byte 0; infinities and NaN,
/// which the format does not have, are cut to 6 and 0 times the largest scale.
pub fn mxfp4_quantize(blocks: &mut [u8], scales: &mut [u8], x: &[f32]) {
    assert_eq!(x.len(), scales.len() * BLOCK_VALUES, "one scale per 32 values");
    assert_eq!(blocks.len(), scales.len() * MXFP4_CODE_BYTES, "16 bytes per scale");
    let blocks = blocks.as_chunks_mut::<MXFP4_CODE_BYTES>().0;
    let inputs = x.as_chunks::<BLOCK_VALUES>().0;
    for ((block, scale), x) in blocks.iter_mut().zip(scales).zip(inputs) {
        let largest = x.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
        *scale = nearest_scale(largest);
        let scale = f64::from(scale_value(*scale));
        for (byte, pair) in block.iter_mut().zip(x.as_chunks::<2>().0) {
            *byte = nearest_e2m1(f64::from(pair[0]) / scale) | nearest_e2m1(f64::from(pair[1]) / scale) << 4;
        }
    }
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
    fn codes_mean_what_the_format_says() {
        assert!((0..16).all(|code| mxfp4_value(code, 127).to_bits() == E2M1[usize::from(code)].to_bits()));
        assert_eq!(mxfp4_value(0xF, 128), -12.0);
        assert_eq!(mxfp4_value(2, 0), 2f32.powi(-127));
        assert_eq!(mxfp4_value(1, 0), 2f32.powi(-128));
        assert!(mxfp4_value(2, 255).is_nan());
    }

    #[test]
    fn every_value_below_the_overflow_is_exact_in_bf16() {
        for scale in 0..253 {
            for code in 0..16 {
                let value = mxfp4_value(code, scale);
                let back = bf16::from_f32(value).to_f32();
                assert_eq!(back.to_bits(), value.to_bits(), "code {code} scale {scale}");
            }
        }
    }

    #[test]
    fn every_value_keeps_its_code_when_halves_become_neighbors() {
        let codes: [u8; 16] = std::array::from_fn(|byte| (byte * 37 + 11) as u8);
        let turned = neighbors_from_halves(&codes);
        for value in 0..32 {
            let expected = code_of(&codes, NibbleOrder::Halves, value);
            assert_eq!(code_of(&turned, NibbleOrder::Neighbors, value), expected, "value {value}");
        }
    }

    #[test]
    fn quantizing_what_the_format_holds_is_exact() {
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
    fn infinities_are_cut_and_nan_is_zero() {
        let mut x = [0.0; 32];
        x[3] = f32::INFINITY;
        x[4] = f32::NAN;
        let (mut block, mut scale) = ([0; 16], [0]);
        mxfp4_quantize(&mut block, &mut scale, &x);
        assert_eq!((block[1] >> 4, block[2] & 7, scale[0]), (7, 0, 253));
    }
}
