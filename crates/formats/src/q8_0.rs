//! Q8_0: 32 int8 behind one f16 scale, as GGUF files have them and as dense weights are quantized at load.
//!
//! The scale is the largest magnitude of the block over 127, rounded up to f16, and each value the nearest
//! multiple of that rounded scale, ties to even. Up, so that the largest value is never cut; of the rounded
//! one, because small scales are subnormal in f16 and can be far off: the steps are then what they are, and
//! every value is within half of one.
//!
//! A block that holds NaN or an infinity, or a value above 8,320,000, for whose scale f16 has no number, gets
//! a scale that is not finite: its products are NaN, as loud as they were before. Blocks below 3.8e-6 may
//! become zero.

use half::f16;

use crate::{BLOCK_VALUES, largest_magnitude, round_even};

/// Bytes of one block: an f16 scale and 32 int8.
pub const Q8_0_BLOCK_BYTES: usize = 2 + BLOCK_VALUES;
/// One block: the scale, then the values.
pub type Q8_0Block = [u8; Q8_0_BLOCK_BYTES];

/// The scale of a block.
#[inline(always)]
pub fn q8_0_scale(block: &Q8_0Block) -> f16 {
    f16::from_le_bytes([block[0], block[1]])
}

/// The integers of a block.
#[inline(always)]
pub fn q8_0_values(block: &Q8_0Block) -> [i8; BLOCK_VALUES] {
    let [_, _, values @ ..] = block;
    values.map(|value| value as i8)
}

/// The numbers of a block, exactly: an f16 scale times an int8 has at most 18 significant bits.
#[inline(always)]
pub fn q8_0_dequantize(out: &mut [f32; BLOCK_VALUES], block: &Q8_0Block) {
    let scale = q8_0_scale(block).to_f32();
    let [_, _, values @ ..] = block;
    for (out, value) in out.iter_mut().zip(values) {
        *out = f32::from(*value as i8) * scale;
    }
}

/// Quantizes one block.
#[inline(always)]
pub fn q8_0_quantize(block: &mut Q8_0Block, values: &[f32; BLOCK_VALUES]) {
    let scale = scale_reaching(largest_magnitude(values));
    let (scale_bytes, out) = block.split_at_mut(2);
    scale_bytes.copy_from_slice(&scale.to_le_bytes());
    let inverse = if scale.is_finite() && scale > f16::ZERO { 1.0 / scale.to_f32() } else { 0.0 };
    for (out, value) in out.iter_mut().zip(values) {
        // A block with a scale that is not finite has zeros: zero times NaN or infinity is NaN.
        *out = if inverse == 0.0 { 0 } else { round_even(value * inverse) as u8 };
    }
}

/// Replaces values by what they become in Q8_0, for rows that are read from a matrix that was left as it was.
///
/// Shapes: `x [n]`, n a multiple of 32.
/// Panics: when it is not.
pub fn round_to_q8_0(x: &mut [f32]) {
    let (blocks, rest) = x.as_chunks_mut::<BLOCK_VALUES>();
    assert!(rest.is_empty(), "round_to_q8_0: n is a multiple of 32");
    for values in blocks {
        let mut block = [0; Q8_0_BLOCK_BYTES];
        q8_0_quantize(&mut block, values);
        q8_0_dequantize(values, &block);
    }
}

/// The smallest f16 whose 127 multiples reach `largest`.
#[inline(always)]
fn scale_reaching(largest: f32) -> f16 {
    let nearest = f16::from_f32(largest / 127.0);
    if nearest.to_f32() * 127.0 < largest { f16::from_bits(nearest.to_bits() + 1) } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(x: &[f32]) -> Vec<Q8_0Block> {
        let mut blocks = vec![[0; Q8_0_BLOCK_BYTES]; x.len() / BLOCK_VALUES];
        for (block, values) in blocks.iter_mut().zip(x.as_chunks().0) {
            q8_0_quantize(block, values);
        }
        blocks
    }

    fn unpacked(block: &Q8_0Block) -> [f32; BLOCK_VALUES] {
        let mut values = [0.0; BLOCK_VALUES];
        q8_0_dequantize(&mut values, block);
        values
    }

    /// Magnitudes from far below the normal range of f16 to near its end.
    #[test]
    fn error_is_at_most_half_a_step_and_steps_are_as_small_as_f16_allows() {
        let x: Vec<f32> = (0..32 * 40).map(|i| (i as f32 * 0.7).sin() * 2f32.powi(i / 32 - 17)).collect();
        for (x, block) in x.as_chunks::<32>().0.iter().zip(quantize(&x)) {
            let (back, scale) = (unpacked(&block), q8_0_scale(&block).to_f32());
            let largest = largest_magnitude(x);
            assert!(back.iter().zip(x).all(|(back, x)| (back - x).abs() <= scale * 0.50001), "{x:?}");
            let spacing = f16::from_bits(f16::from_f32(scale).to_bits() - 1).to_f32();
            assert!(scale * 127.0 >= largest && spacing * 127.0 < largest, "{largest}: {scale}");
        }
    }

    #[test]
    fn zeros_stay_zero_and_what_is_too_large_is_loud() {
        let mut x = [1.0_f32; 160];
        x[..32].fill(0.0);
        (x[32], x[64], x[96], x[128]) = (f32::NAN, f32::NEG_INFINITY, 1e7, 8_319_000.0);
        let blocks = quantize(&x);
        assert_eq!((unpacked(&blocks[0]), q8_0_scale(&blocks[0])), ([0.0; 32], f16::ZERO));
        for block in &blocks[1..4] {
            assert!(unpacked(block).iter().all(|value| value.is_nan()));
        }
        assert!((unpacked(&blocks[4])[0] - 8_319_000.0).abs() < 32_800.0);
    }

    #[test]
    fn rounded_values_are_those_of_the_blocks() {
        let mut x: Vec<f32> = (0..160).map(|i| (i as f32 * 0.7).sin() * 0.02).collect();
        let back: Vec<f32> = quantize(&x).iter().flat_map(unpacked).collect();
        round_to_q8_0(&mut x);
        assert_eq!(x, back);
    }
}
