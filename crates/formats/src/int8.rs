//! Rounding of a block to int8, as activations and Q8_0 weights share it.

use crate::BLOCK_VALUES;

/// The largest magnitude of a block; NaN counts as larger than every number.
#[inline(always)]
pub fn largest_magnitude(x: &[f32; BLOCK_VALUES]) -> f32 {
    // By bits, where an infinity or NaN is larger than every number in every tier.
    f32::from_bits(x.iter().fold(0, |largest, v| (v.to_bits() & 0x7fff_ffff).max(largest)))
}

/// Rounds a number of at most 127.1 in magnitude to the nearest integer, ties to even.
#[inline(always)]
pub fn round_even(x: f32) -> i8 {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i8
}
