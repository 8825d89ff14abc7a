//! One output of a product with a row of weights, in every kind of arithmetic.
//!
//! int8: the sum of a block of 32 is an integer; block `b` goes to lane `b % 8`, ascending, each step a
//! multiply-add with the product of the scales; then the tree; then a last multiply-add with the factor (half
//! for MXFP4, whose integers are twice the weights) and the bias. f32: the dot product in lanes, plus the
//! bias.

use super::numbers::{doubled, e2m1, power_of_two};
use super::quantized::Int8Block;
use super::{BLOCK, Fma, LANES, dot, tree};

/// A row of MXFP4 as published.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4Row<'a> {
    /// `[K / 32, 16]`, the even elements in low nibbles.
    pub codes: &'a [u8],
    /// `[K / 32]`
    pub scales: &'a [u8],
}

/// A row of int8 weights.
#[derive(Clone, Copy, Debug)]
pub struct Int8Row<'a> {
    /// `[K]`
    pub values: &'a [i8],
    /// `[K / 32]`
    pub scales: &'a [f32],
}

impl Mxfp4Row<'_> {
    fn code(&self, k: usize) -> u8 {
        let byte = self.codes[k / 2];
        if k.is_multiple_of(2) { byte & 15 } else { byte >> 4 }
    }

    /// The weights as they are.
    pub fn values(&self) -> Vec<f32> {
        let value = |k: usize| e2m1(self.code(k)) * power_of_two(self.scales[k / BLOCK]);
        (0..self.scales.len() * BLOCK).map(value).collect()
    }

    /// The product with int8 activations that have middles.
    pub fn times_int8(&self, fma: Fma, x: &[Int8Block], bias: f32) -> f32 {
        let sums = x.iter().enumerate().map(|(b, x)| {
            let sum = (0..BLOCK).map(|i| doubled(self.code(b * BLOCK + i)) * x.value(i)).sum();
            (sum, x.scale * power_of_two(self.scales[b]))
        });
        fma.of(in_lanes(fma, sums), 0.5, bias)
    }
}

impl Int8Row<'_> {
    /// The weights as they are.
    pub fn values(&self) -> Vec<f32> {
        self.values.iter().enumerate().map(|(k, value)| f32::from(*value) * self.scales[k / BLOCK]).collect()
    }

    /// The product with int8 activations.
    pub fn times_int8(&self, fma: Fma, x: &[Int8Block], bias: f32) -> f32 {
        let sums = x.iter().enumerate().map(|(b, x)| {
            let sum = (0..BLOCK).map(|i| i32::from(self.values[b * BLOCK + i]) * x.value(i)).sum();
            (sum, x.scale * self.scales[b])
        });
        fma.of(in_lanes(fma, sums), 1.0, bias)
    }

    /// The product with int8 activations in two parts: both products, their sum, and only then the bias.
    pub fn times_parts(&self, fma: Fma, x: &[Vec<Int8Block>; 2], bias: Option<f32>) -> f32 {
        let [high, low] = x.each_ref().map(|part| self.times_int8(fma, part, 0.0));
        bias.map_or(high + low, |bias| high + low + bias)
    }
}

/// The product with f32 activations, of weights in whichever form: their numbers are exact in f32.
pub fn times_f32(fma: Fma, x: &[f32], weights: &[f32], bias: f32) -> f32 {
    dot(fma, x, weights) + bias
}

/// Sums of blocks, each with its scale, added up.
fn in_lanes(fma: Fma, sums: impl Iterator<Item = (i32, f32)>) -> f32 {
    let mut lanes = [0.0; LANES];
    for (b, (sum, scale)) in sums.enumerate() {
        lanes[b % LANES] = fma.of(sum as f32, scale, lanes[b % LANES]);
    }
    tree(&lanes)
}
