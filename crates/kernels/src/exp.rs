//! The exponential, the same bits on every tier.
//!
//! Entry point: [`exp`]. The system's `expf` has no vector form, and a vector library's has other bits; so
//! the softmax and the sigmoid use this one function, written in operations that scalar and vector units
//! round alike (fused multiply-add, comparison, integer shift). Compiled inside a function for a wider tier
//! it is vectorized by the compiler and keeps its bits, because no reordering of floats is allowed.
//!
//! Method: `x = n ln 2 + r` with `ln 2` in two parts, the Taylor polynomial of degree 7 in `r`, and the power
//! of two put into the exponent bits. The error is at most 1 ulp (checked against f64 over the whole range).

/// Below this the result is 0: the true value is under the smallest normal number.
const UNDERFLOW: f32 = -87.336_54;
/// Above this the argument is cut: the result stays at 2.4e38 and never becomes infinite.
const SATURATE: f32 = 88.37;
/// Adding 1.5 * 2^23 rounds to an integer (ties to even) and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The first 16 bits of ln 2: products with `n` are exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// e to the power of `x`: 0 below -87.34, at most 2.4e38, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let cut = if x > SATURATE { SATURATE } else { x };
    let cut = if cut < UNDERFLOW { UNDERFLOW } else { cut };
    let rounded = cut.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_HIGH, cut);
    let r = n.mul_add(-LN_2_LOW, r);
    let p = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    let exponent = (rounded.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    let y = p * f32::from_bits(exponent);
    if x < UNDERFLOW { 0.0 } else { y }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid};

    /// Units in the last place between `actual` and the true value `expected`.
    fn ulps(actual: f32, expected: f64) -> f64 {
        let nearest = expected as f32;
        let ulp = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(actual) - expected).abs() / ulp
    }

    #[test]
    fn error_is_at_most_one_ulp_over_the_whole_range() {
        let mut worst: f64 = 0.0;
        let mut x = -87.33_f32;
        while x < 88.36 {
            worst = worst.max(ulps(exp(x), f64::from(x).exp()));
            x += 1.7e-4;
        }
        assert!(worst <= 1.0, "worst error {worst} ulp");
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-100.0), 0.0);
        assert!(exp(-87.336_5) >= f32::MIN_POSITIVE);
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::INFINITY) > 2.3e38);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
    }
}
