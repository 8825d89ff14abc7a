//! MXFP4 with the least error: blocks that were MXFP4 before keep their scale unless another serves them
//! better, and numbers that come without a scale get the best one.
//!
//! The OCP rule alone moves blocks that hardly change: one whose largest code is 4 and shrinks by a hair
//! drops an exponent, and what was 4 is cut to 3.

use crate::e2m1::round_e2m1;
use crate::{
    BLOCK_VALUES, MXFP4_CODE_BYTES, Mxfp4Block, NAN_SCALE, mxfp4_dequantize, nearest_e2m1, nearest_scale,
    scale_value,
};

/// Sums that an error is made of.
const ERROR_LANES: usize = 4;

/// The block under the scale that leaves the least squared error: that of the base, that of
/// [`nearest_scale`], or the next above it; the first of equals. Values go to the [`nearest_e2m1`], neighbors
/// share a byte. A base scale that means NaN is not taken.
pub fn mxfp4_nearest(x: &[f32; BLOCK_VALUES], base_scale: u8) -> Mxfp4Block {
    let largest = x.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let floor = nearest_scale(largest);
    // Infinities are as far from every scale: the largest numbers there are.
    let (mut best, mut least) = (floor, f64::INFINITY);
    for candidate in [base_scale, floor, floor.saturating_add(1)] {
        if candidate == NAN_SCALE || least == 0.0 {
            continue;
        }
        let error = error(x, candidate);
        if error < least {
            (best, least) = (candidate, error);
        }
    }
    packed(x, best)
}

/// A block, whose neighbors share a byte, with something added to its values: the nearest to the sums in f32,
/// its own scale tried first. One to which nothing is added keeps its bytes.
pub fn mxfp4_add(block: Mxfp4Block, added: &[f32; BLOCK_VALUES]) -> Mxfp4Block {
    if added.iter().all(|added| *added == 0.0) {
        return block;
    }
    let [scale, codes @ ..] = block;
    let mut sums = [0.0; BLOCK_VALUES];
    mxfp4_dequantize(&mut sums, &codes, &[scale]);
    sums.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
    mxfp4_nearest(&sums, scale)
}

/// The codes under a scale.
fn packed(x: &[f32; BLOCK_VALUES], scale: u8) -> Mxfp4Block {
    let step = f64::from(scale_value(scale));
    let mut block = [scale; 1 + MXFP4_CODE_BYTES];
    for (byte, pair) in block[1..].iter_mut().zip(x.as_chunks::<2>().0) {
        let [low, high] = pair.map(|value| nearest_e2m1(f64::from(value) / step));
        *byte = low | high << 4;
    }
    block
}

/// The sum of squares of what the codes under a scale are off by, in lanes that are added at the end.
fn error(x: &[f32; BLOCK_VALUES], scale: u8) -> f64 {
    let step = scale_value(scale);
    // A power of two. What leaves the range of f32 is beyond the smallest or the largest midpoint anyway.
    let inverse = 1.0 / step;
    let mut lanes = [0.0; ERROR_LANES];
    for x in x.as_chunks::<ERROR_LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(x) {
            let off = f64::from(round_e2m1(value * inverse) * step) - f64::from(*value);
            *lane += off * off;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2M1, mxfp4_dequantize, mxfp4_quantize};

    fn near(x: &[f32; 32], base: u8) -> ([u8; 16], u8) {
        let [scale, codes @ ..] = mxfp4_nearest(x, base);
        (codes, scale)
    }

    fn values(block: &[u8; 16], scale: u8) -> [f32; 32] {
        let mut out = [0.0; 32];
        mxfp4_dequantize(&mut out, block, &[scale]);
        out
    }

    fn error(x: &[f32; 32], found: ([u8; 16], u8)) -> f64 {
        let squares = x.iter().zip(values(&found.0, found.1));
        squares.map(|(x, value)| (f64::from(*x) - f64::from(value)).powi(2)).sum()
    }

    /// Numbers around those of a block, by a small generator.
    fn blocks(count: usize) -> impl Iterator<Item = ([u8; 16], u8, [f32; 32])> {
        let mut state = 7_u64;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        (0..count).map(move |_| {
            let codes: [u8; 16] = std::array::from_fn(|_| next() as u8);
            let scale = 100 + (next() % 40) as u8;
            let size = scale_value(scale) * [0.001, 0.05, 0.4, 3.0][next() as usize % 4];
            let noise: [f32; 32] = std::array::from_fn(|_| size * (next() as f32 / 2f32.powi(30) - 1.0));
            let base = values(&codes, scale);
            (codes, scale, std::array::from_fn(|i| base[i] + noise[i]))
        })
    }

    /// The twin: every scale and every code in float64, the least error of the three candidates.
    #[test]
    fn the_best_of_three_scales_is_taken() {
        for (_, base, x) in blocks(2000) {
            let largest = x.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
            let floor = largest.log2().floor() as i32 - 2 + 127;
            let errors = [i32::from(base), floor, floor + 1].map(|scale| {
                let step = (f64::from(scale) - 127.0).exp2();
                let off = |value: f32| {
                    let distances = E2M1.map(|code| (f64::from(code) * step - f64::from(value)).abs());
                    distances.into_iter().fold(f64::INFINITY, f64::min)
                };
                x.iter().map(|value| off(*value).powi(2)).sum::<f64>()
            });
            let least = errors.into_iter().fold(f64::INFINITY, f64::min);
            let found = near(&x, base);
            assert!((error(&x, found) - least).abs() <= 1e-9 * least, "{x:?}");
            if errors[0] <= least {
                assert_eq!(found.1, base, "ties go to the base");
            }
        }
    }

    #[test]
    fn what_did_not_change_keeps_its_bytes() {
        for (codes, scale, _) in blocks(500) {
            // A zero with a sign is the same number.
            let plain = codes.map(|byte| if byte & 7 == 0 { byte & 0xF0 } else { byte });
            let found = near(&values(&plain, scale), scale);
            assert_eq!(found, (plain, scale));
        }
    }

    /// The trap of the OCP rule: the largest value is 4 and shrinks by a hair.
    #[test]
    fn a_hair_below_a_power_of_two_stays_there() {
        let mut x = [0.5; 32];
        x[0] = 3.99;
        let (mut block, mut scale) = ([0; 16], [0]);
        mxfp4_quantize(&mut block, &mut scale, &x);
        assert_eq!(values(&block, scale[0])[0], 3.0);
        assert_eq!(values(&near(&x, 127).0, 127)[0], 4.0);
    }

    #[test]
    fn scales_at_the_ends() {
        assert_eq!(near(&[0.0; 32], 130), ([0; 16], 130));
        assert_eq!(near(&[1.0; 32], NAN_SCALE), near(&[1.0; 32], 125));
        let mut x = [0.0; 32];
        x[3] = f32::INFINITY;
        assert_eq!(near(&x, 127).1, 253);
    }
}
