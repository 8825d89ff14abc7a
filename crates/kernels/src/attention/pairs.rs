//! Numbers of 16 bits by pairs, bf16 or integers: two to an element of 32 bits, the first in its low half.

use half::bf16;

/// Keys and values of a smaller magnitude are zero.
const SMALLEST_KV: f32 = f32::from_bits((127 - 60) << 23);
/// Queries and weights of a smaller magnitude are zero.
pub(crate) const SMALLEST_IN_BF16: f32 = f32::from_bits((127 - 40) << 23);

/// A number of a cache row: the nearest bf16, ties to even; zero below 2^-60.
#[inline]
pub fn kv_bf16(number: f32) -> bf16 {
    bf16::from_bits((round_bf16(number, SMALLEST_KV) >> 16) as u16)
}

/// The nearest bf16 in the high half, ties to even; zero below `smallest`. NaN stays NaN, made quiet.
#[inline(always)]
pub(crate) fn round_bf16(number: f32, smallest: f32) -> u32 {
    let bits = number.to_bits();
    let magnitude = bits & (u32::MAX >> 1);
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let quiet = bits | 0x0040_0000;
    let kept = if magnitude > f32::INFINITY.to_bits() { quiet } else { nearest };
    if magnitude < smallest.to_bits() { 0 } else { kept & 0xffff_0000 }
}

/// Two queries or weights in one element.
#[inline(always)]
pub(crate) fn rounded_pair(low: f32, high: f32) -> i32 {
    (round_bf16(high, SMALLEST_IN_BF16) | round_bf16(low, SMALLEST_IN_BF16) >> 16) as i32
}

/// Adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The nearest integer, ties to even; 0 for NaN. Magnitudes below 2^22.
#[inline(always)]
pub(crate) fn round_i32(x: f32) -> i32 {
    let x = if x.is_nan() { 0.0 } else { x };
    (x + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

/// Two bf16 numbers in one element, `low` in the low half.
#[inline(always)]
pub(crate) fn pair(low: bf16, high: bf16) -> i32 {
    pack_i16(low.to_bits() as i16, high.to_bits() as i16)
}

/// The sum and both products, the high one first, each fused.
#[inline(always)]
pub(crate) fn add_pair(x: i32, y: i32, sum: f32) -> f32 {
    let [x, y] =
        [x, y].map(|two| [f32::from_bits((two as u32) << 16), f32::from_bits(two as u32 & 0xffff_0000)]);
    x[0].mul_add(y[0], x[1].mul_add(y[1], sum))
}

/// Two 16-bit integers in one element, `low` in the low half.
#[inline(always)]
pub(crate) fn pack_i16(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}

/// The sum of the products of the low halves and of the high halves.
#[inline(always)]
pub(crate) fn product_of_halves(x: i32, y: i32) -> i32 {
    i32::from(x as i16) * i32::from(y as i16) + (x >> 16) * (y >> 16)
}
