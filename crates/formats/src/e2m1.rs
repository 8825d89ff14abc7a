//! E2M1: numbers of four bits, the codes of MXFP4.
//!
//! A sign, two bits of exponent, one of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.

/// The values of the sixteen codes.
pub const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Twice the values of the sixteen codes, which are integers.
pub const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The nearest code, ties to the even one; magnitudes above 6 are cut, NaN is a zero.
pub fn nearest_e2m1(value: f64) -> u8 {
    let magnitude = value.abs();
    // Midpoints between neighbors; a tie goes to the even code, so odd codes own neither end of their range.
    let code = match magnitude {
        m if m <= 0.25 => 0,
        m if m < 0.75 => 1,
        m if m <= 1.25 => 2,
        m if m < 1.75 => 3,
        m if m <= 2.5 => 4,
        m if m < 3.5 => 5,
        m if m <= 5.0 => 6,
        m if m.is_nan() => 0,
        _ => 7,
    };
    if value.is_sign_negative() { code | 8 } else { code }
}

/// The value of the nearest code, without a branch: what is rounded by the million.
pub(crate) fn round_e2m1(value: f32) -> f32 {
    let m = value.abs();
    let step = |is_above: bool, rise: f32| if is_above { rise } else { 0.0 };
    let small = step(m > 0.25, 0.5) + step(m >= 0.75, 0.5) + step(m > 1.25, 0.5) + step(m >= 1.75, 0.5);
    let large = step(m > 2.5, 1.0) + step(m >= 3.5, 1.0) + step(m > 5.0, 2.0);
    (small + large).copysign(value)
}

#[cfg(test)]
mod tests {
    use super::{E2M1, E2M1_DOUBLED, nearest_e2m1, round_e2m1};

    #[test]
    fn ties_go_to_the_even_code_and_large_values_are_cut() {
        for (value, code) in
            [(0.25, 0), (0.75, 2), (1.25, 2), (1.75, 4), (2.5, 4), (3.5, 6), (5.0, 6), (7.9, 7)]
        {
            assert_eq!(nearest_e2m1(value), code, "{value}");
            assert_eq!(nearest_e2m1(-value), code | 8, "-{value}");
        }
    }

    #[test]
    fn the_nearest_value_is_that_of_the_nearest_code() {
        let near = |m: f32| [m, f32::from_bits(m.to_bits() - 1), f32::from_bits(m.to_bits() + 1)];
        let midpoints = [0.25_f32, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0].into_iter().flat_map(near);
        let others = [0.0, 1e-45, 0.1, 1.0, 6.0, 7.9, f32::MAX, f32::INFINITY, f32::NAN];
        for value in midpoints.chain(others).flat_map(|value| [value, -value]) {
            let code = nearest_e2m1(f64::from(value));
            assert_eq!(round_e2m1(value).to_bits(), E2M1[usize::from(code)].to_bits(), "{value}");
        }
    }

    #[test]
    fn every_value_is_its_own_nearest_and_half_its_double() {
        for (code, (value, doubled)) in E2M1.into_iter().zip(E2M1_DOUBLED).enumerate() {
            assert_eq!(usize::from(nearest_e2m1(f64::from(value))), code);
            assert_eq!(f32::from(doubled), 2.0 * value);
        }
    }
}
