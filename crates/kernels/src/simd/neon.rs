//! What the NEON forms have in common: eight lanes in two registers, and products of bytes by fours.
//!
//! NEON itself is part of every 64-bit Arm processor; the byte products are not, and ask for the token of
//! `tier.rs`. They are written as assembly, because the compiler's names for them are not stable in Rust
//! 1.95.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::lanes::LANES;

/// The eight lanes of [`crate::lanes`].
pub(crate) type Eight = [float32x4_t; 2];

/// Eight times the same number.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn splat(value: f32) -> Eight {
    [vdupq_n_f32(value); 2]
}

/// Reads eight floats.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load(from: &[f32; LANES]) -> Eight {
    // SAFETY: eight floats.
    unsafe { [vld1q_f32(from.as_ptr()), vld1q_f32(from.as_ptr().add(4))] }
}

/// Writes eight floats.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn store(to: &mut [f32; LANES], eight: Eight) {
    // SAFETY: eight floats.
    unsafe {
        vst1q_f32(to.as_mut_ptr(), eight[0]);
        vst1q_f32(to.as_mut_ptr().add(4), eight[1]);
    }
}

/// `sum + x * y`, fused.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn add_product(sum: Eight, x: Eight, y: Eight) -> Eight {
    [vfmaq_f32(sum[0], x[0], y[0]), vfmaq_f32(sum[1], x[1], y[1])]
}

/// The tree of [`crate::lanes`].
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn fold(lanes: Eight) -> f32 {
    let fours = vaddq_f32(lanes[0], lanes[1]);
    let twos = vadd_f32(vget_low_f32(fours), vget_high_f32(fours));
    vget_lane_f32::<0>(twos) + vget_lane_f32::<1>(twos)
}

/// Widens eight bf16 numbers.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn widen(eight: uint16x8_t) -> Eight {
    [
        vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(eight))),
        vreinterpretq_f32_u32(vshll_high_n_u16::<16>(eight)),
    ]
}

/// Adds to each of four sums the products of its four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn dot(mut sums: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction touches these registers alone, and the feature is there.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) x, in(vreg) y,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// [`dot`] with the same four bytes of `y` for all sums, those at `PLACE`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn dot_by<const PLACE: usize>(mut sums: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
    const { assert!(PLACE < 4) };
    // SAFETY: as for `dot`.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) sums, in(vreg) x, in(vreg) y,
            const PLACE, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// The sums of eight registers, in order.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn fold_eight(parts: [int32x4_t; LANES]) -> [int32x4_t; 2] {
    [0, 4].map(|i| vpaddq_s32(vpaddq_s32(parts[i], parts[i + 1]), vpaddq_s32(parts[i + 2], parts[i + 3])))
}

/// Words 0, 1, 2, 3 of four rows, each of them of all rows.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn transpose(rows: [uint32x4_t; 4]) -> [uint8x16_t; 4] {
    let [a, b, c, d] = rows;
    let [even_ab, odd_ab] = [vtrn1q_u32(a, b), vtrn2q_u32(a, b)].map(|words| vreinterpretq_u64_u32(words));
    let [even_cd, odd_cd] = [vtrn1q_u32(c, d), vtrn2q_u32(c, d)].map(|words| vreinterpretq_u64_u32(words));
    [
        vreinterpretq_u8_u64(vtrn1q_u64(even_ab, even_cd)),
        vreinterpretq_u8_u64(vtrn1q_u64(odd_ab, odd_cd)),
        vreinterpretq_u8_u64(vtrn2q_u64(even_ab, even_cd)),
        vreinterpretq_u8_u64(vtrn2q_u64(odd_ab, odd_cd)),
    ]
}
