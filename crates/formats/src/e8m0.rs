//! E8M0: a power of two in one byte, the scale of MXFP4.

/// The scale byte that means NaN.
pub const NAN_SCALE: u8 = 255;

/// The power of two of a scale byte: `2^(scale - 127)`, exact; NaN for [`NAN_SCALE`].
#[inline(always)]
pub fn scale_value(scale: u8) -> f32 {
    // Byte 0 is 2^-127, half the smallest normal number, whose bits are larger than those of a plain shift.
    // The bits of 255 are an infinity's, and one more is a NaN.
    f32::from_bits((u32::from(scale) << 23).max(1 << 22) + u32::from(scale == NAN_SCALE))
}

/// The scale byte under which E2M1 reaches `largest`, by the rule of the OCP microscaling format: the power
/// of two of the largest magnitude less 2, the exponent of 6.
pub fn nearest_scale(largest: f32) -> u8 {
    // The biased exponent of f32 has the bias of E8M0; a subnormal's reads 0, which is below the range
    // anyway.
    let exponent = (largest.to_bits() >> 23) as i32;
    exponent.saturating_sub(2).clamp(0, 254) as u8
}

#[cfg(test)]
mod tests {
    use super::scale_value;

    #[test]
    fn every_scale_byte_is_its_power_of_two() {
        for scale in 0..=254_u8 {
            assert_eq!(f64::from(scale_value(scale)), (f64::from(scale) - 127.0).exp2());
        }
        assert!(scale_value(255).is_nan());
    }
}
