//! Dense weights as int8 with an f16 scale for 32 values: blocks of Q8_0, as GGUF files have them.
//!
//! Entry points: [`quantize_q8_0`], [`round_to_q8_0`]. The scale is the largest magnitude of the block over 127, rounded up to f16, and each
//! value the nearest multiple of that rounded scale, ties to even. Up, so that the largest value is never cut; of the
//! rounded one, because small scales are subnormal in f16 and can be far off: the steps are then what they are, and
//! every value is within half of one.
//!
//! A block that holds NaN or an infinity, or a value above 8,320,000, for whose scale f16 has no number, gets a scale
//! that is not finite: its products are NaN, as loud as they were before. Blocks below 3.8e-6 may become zero.
//!
//! This module does not know activations; products are in `linear_q8.rs`.

use half::f16;

use crate::dense::{Dense, Q8_0_BLOCK_BYTES, Q8_0Block};
use crate::q8::{Q8_BLOCK, largest_magnitude, round_even};
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
use crate::simd::per_tier;
use crate::{Pool, Tier};

/// Quantises a matrix of N rows of K values; the result is a function of each block alone.
///
/// Shapes: `out [N, K / 32]`, `w [N, K]`, K a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn quantize_q8_0(pool: &Pool, out: &mut [Q8_0Block], w: Dense<'_>, k: usize) {
    assert!(k > 0 && k.is_multiple_of(Q8_BLOCK), "quantize_q8_0: K = {k} is no multiple of 32");
    assert_eq!(out.len() * Q8_BLOCK, w.len(), "quantize_q8_0: out is [N, K / 32]");
    assert!(w.len().is_multiple_of(k), "quantize_q8_0: w is [N, K]");
    let rows = SharedRows::new(out, k / Q8_BLOCK);
    pool.run(w.len() / k, |row| {
        // SAFETY: task `row` alone touches its row.
        let out = unsafe { rows.row(row) };
        with_scratch(k, |values: &mut [f32]| quantize_row_on(pool.tier(), out, values, w, row));
    });
}

fn quantize_row_on(tier: Tier, out: &mut [Q8_0Block], values: &mut [f32], w: Dense<'_>, row: usize) {
    per_tier!(tier, quantize_row(out: &mut [Q8_0Block], values: &mut [f32], w: Dense<'_>, row: usize));
}

#[inline(always)]
fn quantize_row(out: &mut [Q8_0Block], values: &mut [f32], w: Dense<'_>, row: usize) {
    w.row(values, row);
    for (block, values) in out.iter_mut().zip(values.as_chunks::<Q8_BLOCK>().0) {
        quantize_block(block, values);
    }
}

#[inline(always)]
fn quantize_block(block: &mut Q8_0Block, values: &[f32; Q8_BLOCK]) {
    let scale = scale(largest_magnitude(values));
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
    let (blocks, rest) = x.as_chunks_mut::<Q8_BLOCK>();
    assert!(rest.is_empty(), "round_to_q8_0: n is a multiple of 32");
    for values in blocks {
        let mut block = [0; Q8_0_BLOCK_BYTES];
        quantize_block(&mut block, values);
        Dense::Q8_0(&[block]).row(values, 0);
    }
}

/// The smallest f16 whose 127 multiples reach `largest`.
#[inline(always)]
fn scale(largest: f32) -> f16 {
    let nearest = f16::from_f32(largest / 127.0);
    if nearest.to_f32() * 127.0 < largest { f16::from_bits(nearest.to_bits() + 1) } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(x: &[f32], k: usize) -> Vec<Q8_0Block> {
        let mut out = vec![[0; 34]; x.len() / 32];
        quantize_q8_0(&Pool::new(2), &mut out, Dense::F32(x), k);
        out
    }

    fn unpacked(block: &Q8_0Block) -> ([f32; 32], f32) {
        let mut values = [0.0; 32];
        Dense::Q8_0(std::slice::from_ref(block)).row(&mut values, 0);
        (values, f16::from_le_bytes([block[0], block[1]]).to_f32())
    }

    /// Magnitudes from far below the normal range of f16 to near its end.
    #[test]
    fn error_is_at_most_half_a_step_and_steps_are_as_small_as_f16_allows() {
        let x: Vec<f32> = (0..32 * 40).map(|i| (i as f32 * 0.7).sin() * 2f32.powi(i / 32 - 17)).collect();
        for (x, block) in x.as_chunks::<32>().0.iter().zip(quantize(&x, 64)) {
            let (back, scale) = unpacked(&block);
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
        let blocks = quantize(&x, 160);
        assert_eq!(unpacked(&blocks[0]), ([0.0; 32], 0.0));
        for block in &blocks[1..4] {
            assert!(unpacked(block).0.iter().all(|value| value.is_nan()));
        }
        assert!((unpacked(&blocks[4]).0[0] - 8_319_000.0).abs() < 32_800.0);
    }

    #[test]
    fn rounded_values_are_those_of_the_blocks() {
        let mut x: Vec<f32> = (0..160).map(|i| (i as f32 * 0.7).sin() * 0.02).collect();
        let blocks = quantize(&x, 160);
        let mut back = vec![0.0; 160];
        Dense::Q8_0(&blocks).row(&mut back, 0);
        round_to_q8_0(&mut x);
        assert_eq!(x, back);
    }

    #[test]
    fn every_tier_gives_the_same_bytes() {
        let x: Vec<half::bf16> = (0..96 * 5).map(|i| half::bf16::from_f32((i as f32 * 1.3).sin())).collect();
        let run = |tier| {
            let mut out = vec![[0; 34]; 15];
            quantize_q8_0(&Pool::with_tier(3, tier), &mut out, Dense::Bf16(&x), 96);
            out
        };
        assert!(Tier::available().into_iter().all(|tier| run(tier) == run(Tier::Scalar)));
    }
}
