//! Activations as int8 with one scale per 32 values.
//!
//! Entry point: [`quantize_q8`]. Per block of 32: the scale is the largest magnitude over 127, and each value is
//! rounded to the nearest multiple, ties to even. One scale per row would lose a digit on the outliers of
//! gpt-oss (5 % error against 1 %), and f16 scales overflow on the large model, so: f32 scales, blocks of 32.
//!
//! Rows are kept padded with zero blocks to a whole group of 256 values, so that kernels read whole registers.
//! Blocks that hold NaN or an infinity get a NaN scale and zero values: the product is then NaN, as it would
//! be in f32. Blocks whose largest magnitude is under 2^-100 are taken as zero.
//!
//! This module does not know weights.

use crate::simd::per_tier;
use crate::{Pool, SharedRows, Tier};

/// Values that share a scale; the same as in MXFP4, so that a product needs one scale per pair of blocks.
pub const Q8_BLOCK: usize = 32;
/// Blocks of a group: one per lane of the f32 sum over blocks.
pub(crate) const GROUP_BLOCKS: usize = 8;
/// Blocks with a smaller largest magnitude are zero: 2^-100, far from where `127 / largest` overflows.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);

/// Quantised rows of activations, T rows of K values.
#[derive(Clone, Debug, Default)]
pub struct Q8Rows {
    k: usize,
    t: usize,
    /// `[T, blocks_padded * 32]`
    values: Vec<i8>,
    /// `[T, blocks_padded]`
    scales: Vec<f32>,
}

impl Q8Rows {
    /// No rows yet; [`quantize_q8`] fills it and keeps its memory between calls.
    pub fn new() -> Q8Rows {
        Q8Rows::default()
    }

    /// Number of rows.
    pub fn t(&self) -> usize {
        self.t
    }

    /// Values per row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The int8 values of row `t`, `[K]`.
    pub fn values(&self, t: usize) -> &[i8] {
        &self.values[t * self.blocks_padded() * Q8_BLOCK..][..self.k]
    }

    /// The scales of row `t`, `[K / 32]`.
    pub fn scales(&self, t: usize) -> &[f32] {
        &self.scales[t * self.blocks_padded()..][..self.k / Q8_BLOCK]
    }

    /// Blocks per row, padding included.
    pub(crate) fn blocks_padded(&self) -> usize {
        (self.k / Q8_BLOCK).next_multiple_of(GROUP_BLOCKS)
    }
}

/// Quantises T rows of K values into `out`, whose memory is used again.
///
/// Shapes: `x [T, K]`, K a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn quantize_q8(pool: &Pool, out: &mut Q8Rows, x: &[f32], t: usize, k: usize) {
    assert_eq!(x.len(), t * k, "quantize_q8: x is [T, K]");
    assert!(k.is_multiple_of(Q8_BLOCK), "quantize_q8: K = {k} is no multiple of 32");
    (out.t, out.k) = (t, k);
    let blocks = out.blocks_padded();
    out.values.clear();
    out.values.resize(t * blocks * Q8_BLOCK, 0);
    out.scales.clear();
    out.scales.resize(t * blocks, 0.0);
    let values = SharedRows::new(&mut out.values, blocks * Q8_BLOCK);
    let scales = SharedRows::new(&mut out.scales, blocks);
    pool.run(t, |row| {
        // SAFETY: task `row` is the only one that touches row `row` of either.
        let (values, scales) = unsafe { (values.row(row), scales.row(row)) };
        quantize_row_on(pool.tier(), values, scales, &x[row * k..][..k]);
    });
}

fn quantize_row_on(tier: Tier, values: &mut [i8], scales: &mut [f32], x: &[f32]) {
    per_tier!(tier, quantize_row(values: &mut [i8], scales: &mut [f32], x: &[f32]));
}

#[inline(always)]
fn quantize_row(values: &mut [i8], scales: &mut [f32], x: &[f32]) {
    let values = values.as_chunks_mut::<Q8_BLOCK>().0;
    for ((values, scale), x) in values.iter_mut().zip(scales).zip(x.as_chunks::<Q8_BLOCK>().0) {
        // The largest magnitude as bits: an infinity or NaN is larger than every number, in every tier.
        let largest = x.iter().fold(0, |largest, v| (v.to_bits() & 0x7fff_ffff).max(largest));
        let largest = f32::from_bits(largest);
        if !largest.is_finite() {
            *scale = f32::NAN;
            *values = [0; Q8_BLOCK];
        } else if largest < SMALLEST {
            *scale = 0.0;
            *values = [0; Q8_BLOCK];
        } else {
            *scale = largest / 127.0;
            let inverse = 127.0 / largest;
            for (value, x) in values.iter_mut().zip(x) {
                *value = round_even(x * inverse);
            }
        }
    }
}

/// Rounds a number of at most 127.1 in magnitude to the nearest integer, ties to even.
#[inline(always)]
fn round_even(x: f32) -> i8 {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(x: &[f32]) -> Q8Rows {
        let mut rows = Q8Rows::new();
        quantize_q8(&Pool::new(1), &mut rows, x, 1, x.len());
        rows
    }

    #[test]
    fn largest_is_127_and_ties_go_to_even() {
        let mut x = [0.0; 32];
        (x[0], x[1], x[2], x[3], x[4]) = (254.0, -254.0, 5.0, 7.0, -5.0);
        let rows = quantize(&x);
        assert_eq!(rows.scales(0), [2.0]);
        assert_eq!(rows.values(0)[..6], [127, -127, 2, 4, -2, 0]);
    }

    #[test]
    fn zero_tiny_and_non_finite_blocks() {
        let mut x = [1.0; 160];
        x[..32].fill(0.0);
        x[32..64].fill(1e-38);
        x[64] = f32::NAN;
        x[96] = f32::NEG_INFINITY;
        let rows = quantize(&x);
        assert_eq!(rows.scales(0)[..2], [0.0, 0.0]);
        assert!(rows.scales(0)[2].is_nan() && rows.scales(0)[3].is_nan());
        assert!(rows.values(0)[..128].iter().all(|v| *v == 0));
        assert!(rows.values(0)[128..].iter().all(|v| *v == 127));
    }

    #[test]
    fn error_is_at_most_half_a_step() {
        let x: Vec<f32> = (0..256).map(|i| (i as f32 * 0.7).sin() * (i as f32).exp2().min(1e30)).collect();
        let rows = quantize(&x);
        for (i, x) in x.iter().enumerate() {
            let scale = rows.scales(0)[i / 32];
            let back = f32::from(rows.values(0)[i]) * scale;
            assert!((back - x).abs() <= scale * 0.5001, "{back} is not {x}");
        }
    }
}
