//! Activations as int8 by blocks of 32: with a scale, with a middle besides, and in two parts.

use super::numbers::{largest_magnitude, nearest};
use super::{BLOCK, Fma};

/// Blocks with a smaller largest magnitude are zero.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);

/// One block: number `i` is `(values[i] + middle) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Int8Block {
    pub values: [i8; BLOCK],
    pub middle: i8,
    pub scale: f32,
}

impl Int8Block {
    const ZERO: Int8Block = Int8Block { values: [0; BLOCK], middle: 0, scale: 0.0 };

    /// Value `i`, its middle in it.
    pub fn value(&self, i: usize) -> i32 {
        i32::from(self.values[i]) + i32::from(self.middle)
    }

    /// What stands beside it for MXFP4: the bits of the scale; 12 times the sum of values and middles in 24
    /// bits above the middle in 8.
    pub fn beside(&self) -> [u32; 2] {
        let sum: i32 = (0..BLOCK).map(|i| self.value(i)).sum();
        [self.scale.to_bits(), ((12 * sum) << 8) as u32 | u32::from(self.middle as u8)]
    }
}

/// The values of blocks for int8, and their scales.
pub fn stored_plain(blocks: &[Int8Block]) -> (Vec<i8>, Vec<f32>) {
    (blocks.iter().flat_map(|block| block.values).collect(), blocks.iter().map(|block| block.scale).collect())
}

/// A row as blocks without middles, for int8 weights.
pub fn quantize(x: &[f32]) -> Vec<Int8Block> {
    x.chunks_exact(BLOCK).map(quantize_block).collect()
}

/// A row as blocks with middles, for MXFP4.
pub fn quantize_about_middles(fma: Fma, x: &[f32]) -> Vec<Int8Block> {
    x.chunks_exact(BLOCK).map(|x| quantize_about_middle(fma, x)).collect()
}

/// A row in two parts: as it is, and what rounding took from it.
pub fn quantize_parts(fma: Fma, x: &[f32]) -> [Vec<Int8Block>; 2] {
    let high = quantize(x);
    let rest: Vec<f32> = x
        .iter()
        .enumerate()
        .map(|(k, x)| {
            let block = &high[k / BLOCK];
            fma.of(f32::from(block.values[k % BLOCK]), -block.scale, *x)
        })
        .collect();
    [high, quantize(&rest)]
}

fn quantize_block(x: &[f32]) -> Int8Block {
    let largest = largest_magnitude(x);
    if !largest.is_finite() {
        return Int8Block { scale: f32::NAN, ..Int8Block::ZERO };
    }
    if largest < SMALLEST {
        return Int8Block::ZERO;
    }
    let inverse = 127.0 / largest;
    let values = std::array::from_fn(|i| nearest(x[i] * inverse) as i8);
    Int8Block { values, middle: 0, scale: largest / 127.0 }
}

fn quantize_about_middle(fma: Fma, x: &[f32]) -> Int8Block {
    const STEPS: f32 = 126.25;
    let largest = largest_magnitude(x);
    if !largest.is_finite() {
        return Int8Block { scale: f32::NAN, ..Int8Block::ZERO };
    }
    if largest < SMALLEST {
        return Int8Block::ZERO;
    }
    let least = x.iter().copied().fold(0.0, f32::min);
    let greatest = x.iter().copied().fold(0.0, f32::max);
    let (middle, way) = (0.5 * greatest + 0.5 * least, 0.5 * greatest - 0.5 * least);
    let inverse = STEPS / way;
    let middle = nearest(middle * inverse);
    let values = std::array::from_fn(|i| nearest(fma.of(x[i], inverse, -(middle as f32))) as i8);
    Int8Block { values, middle: middle as i8, scale: way / STEPS }
}
