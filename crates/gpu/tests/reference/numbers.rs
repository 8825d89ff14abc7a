//! Single numbers: roundings, codes, the exponential.

use super::Fma;

/// Adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The integers that twice an E2M1 code means.
const DOUBLED: [i32; 8] = [0, 1, 2, 3, 4, 6, 8, 12];

/// The nearest integer, ties to even; 0 for NaN.
pub fn nearest(x: f32) -> i32 {
    if x.is_nan() { 0 } else { (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32 }
}

/// The largest magnitude, a NaN above all.
pub fn largest_magnitude(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}

/// Twice the number of a code of E2M1.
pub fn doubled(code: u8) -> i32 {
    let magnitude = DOUBLED[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The number of a code of E2M1; negative zero is one.
pub fn e2m1(code: u8) -> f32 {
    let magnitude = DOUBLED[usize::from(code & 7)] as f32 / 2.0;
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The power of two of a scale byte of MXFP4.
pub fn power_of_two(scale: u8) -> f32 {
    (f64::from(scale) - 127.0).exp2() as f32
}

/// bf16 as f32, by its bits.
pub fn widened(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bits of the nearest bf16, ties to even; zero below `smallest`, NaN quiet.
pub fn narrowed(x: f32, smallest: f32) -> u16 {
    let bits = x.to_bits();
    if x.abs() < smallest {
        return 0;
    }
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// e to the power of `x`.
pub fn exp(fma: Fma, x: f32) -> f32 {
    const UNDERFLOW: f32 = -87.336_54;
    let cut = if x > 88.37 { 88.37 } else { x };
    let cut = if cut < UNDERFLOW { UNDERFLOW } else { cut };
    let rounded = fma.of(cut, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = fma.of(n, -0.693_145_75, cut);
    let r = fma.of(n, -1.428_606_8e-6, r);
    let mut p = fma.of(r, 1.0 / 5040.0, 1.0 / 720.0);
    for term in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = fma.of(p, r, term);
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let y = p * f32::from_bits(exponent);
    if x < UNDERFLOW { 0.0 } else { y }
}
