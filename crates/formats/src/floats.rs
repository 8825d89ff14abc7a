//! bf16 as f32.

use half::bf16;

/// bf16 to f32 by a shift: exact, and keeps NaN bits, which `bf16::to_f32` would make quiet.
#[inline(always)]
pub fn widen_bf16(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}

#[cfg(test)]
mod tests {
    use super::widen_bf16;
    use half::bf16;

    #[test]
    fn widening_is_exact_for_every_bf16() {
        for value in (0..=u16::MAX).map(bf16::from_bits) {
            let wide = widen_bf16(value);
            assert!(wide == value.to_f32() || wide.is_nan() && value.is_nan());
        }
    }
}
