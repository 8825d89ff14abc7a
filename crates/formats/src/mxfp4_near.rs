//! MXFP4 for weights that were MXFP4 before: blocks keep their scale unless another serves them better.
//!
//! The OCP rule alone moves blocks that hardly change: one whose largest code is 4 and shrinks by a hair
//! drops an exponent, and what was 4 is cut to 3.

use crate::{
    BLOCK_VALUES, MXFP4_CODE_BYTES, Mxfp4Block, NAN_SCALE, mxfp4_dequantize, mxfp4_value, nearest_e2m1,
    nearest_scale, scale_value,
};

/// Packs f32 values into published blocks, each as [`mxfp4_nearest`].
///
/// Shapes: `blocks [n / 2]`, `scales [n / 32]`, `x [n]`, `base_scales [n / 32]`, n a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn mxfp4_quantize_near(blocks: &mut [u8], scales: &mut [u8], x: &[f32], base_scales: &[u8]) {
    assert_eq!(x.len(), scales.len() * BLOCK_VALUES, "one scale per 32 values");
    assert_eq!(base_scales.len(), scales.len(), "a scale a block before");
    assert_eq!(blocks.len(), scales.len() * MXFP4_CODE_BYTES, "16 bytes per scale");
    let blocks = blocks.as_chunks_mut::<MXFP4_CODE_BYTES>().0.iter_mut();
    let inputs = x.as_chunks::<BLOCK_VALUES>().0.iter().zip(base_scales);
    for ((block, scale), (x, &base)) in blocks.zip(scales).zip(inputs) {
        let [chosen, codes @ ..] = mxfp4_nearest(x, base);
        (*block, *scale) = (codes, chosen);
    }
}

/// The block under the scale that leaves the least squared error: that of the base, that of
/// [`nearest_scale`], or the next above it; the first of equals. Values go to the [`nearest_e2m1`], neighbors
/// share a byte. A base scale that means NaN is not taken.
pub fn mxfp4_nearest(x: &[f32; BLOCK_VALUES], base_scale: u8) -> Mxfp4Block {
    let largest = x.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let floor = nearest_scale(largest);
    // Infinities are as far from every scale: the largest numbers there are.
    let (mut best, mut least) = (None, f64::INFINITY);
    for candidate in
        [base_scale, floor, floor.saturating_add(1)].into_iter().filter(|&scale| scale != NAN_SCALE)
    {
        let (codes, error) = packed(x, candidate);
        if error < least {
            (best, least) = (Some((candidate, codes)), error);
        }
    }
    let (scale, codes) = best.unwrap_or_else(|| (floor, packed(x, floor).0));
    block(scale, codes)
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

fn block(scale: u8, codes: [u8; MXFP4_CODE_BYTES]) -> Mxfp4Block {
    let mut block = [scale; 1 + MXFP4_CODE_BYTES];
    block[1..].copy_from_slice(&codes);
    block
}

/// The codes under a scale, and the sum of squares of what they are off by, ascending.
fn packed(x: &[f32; BLOCK_VALUES], scale: u8) -> ([u8; MXFP4_CODE_BYTES], f64) {
    let step = f64::from(scale_value(scale));
    let (mut codes, mut error) = ([0; MXFP4_CODE_BYTES], 0.0);
    for (byte, pair) in codes.iter_mut().zip(x.as_chunks::<2>().0) {
        let [low, high] = pair.map(|value| {
            let code = nearest_e2m1(f64::from(value) / step);
            error += (f64::from(mxfp4_value(code, scale)) - f64::from(value)).powi(2);
            code
        });
        *byte = low | high << 4;
    }
    (codes, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2M1, mxfp4_dequantize, mxfp4_quantize};

    fn near(x: &[f32; 32], base: u8) -> ([u8; 16], u8) {
        let (mut block, mut scale) = ([0; 16], [0]);
        mxfp4_quantize_near(&mut block, &mut scale, x, &[base]);
        (block, scale[0])
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
