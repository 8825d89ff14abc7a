//! AVX2 form of the tile of `products/chained.rs`: six rows by two registers of columns, or by one of few.
//!
//! Twelve accumulators, two registers of a strip and one of a broadcast factor: a step is eight loads for
//! twelve fused multiply-adds, which are the bound.

use std::arch::x86_64::*;

use crate::lanes::LANES;

/// `sums[r] += a[r][s] * strip[s]`, s ascending, in the first W registers of each row; element (r, s) of `a`
/// is `a[r * by_row + s * by_step]`.
///
/// Panics: when `a` is too short.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn add<const R: usize, const W: usize>(
    sums: &mut [[f32; 2 * LANES]; R],
    a: &[f32],
    (by_row, by_step): (usize, usize),
    strip: &[[f32; 2 * LANES]],
) {
    const { assert!(W <= 2) };
    let Some(last) = strip.len().checked_sub(1) else { return };
    assert!((R - 1) * by_row + last * by_step < a.len(), "chained: a is [R, S]");
    // SAFETY: rows of sums and of the strip are sixteen floats; the last element of `a` that is read is in
    // bounds as asserted, and all others lie before it.
    unsafe {
        let load = |row: &[f32; 2 * LANES]| -> [__m256; W] {
            std::array::from_fn(|w| _mm256_loadu_ps(row.as_ptr().add(w * LANES)))
        };
        let mut kept: [[__m256; W]; R] = std::array::from_fn(|r| load(&sums[r]));
        let mut column = a.as_ptr();
        for row in strip {
            let b = load(row);
            for (r, kept) in kept.iter_mut().enumerate() {
                let factor = _mm256_broadcast_ss(&*column.add(r * by_row));
                for (kept, b) in kept.iter_mut().zip(b) {
                    *kept = _mm256_fmadd_ps(factor, b, *kept);
                }
            }
            column = column.wrapping_add(by_step);
        }
        for (sums, kept) in sums.iter_mut().zip(kept) {
            for (w, kept) in kept.into_iter().enumerate() {
                _mm256_storeu_ps(sums.as_mut_ptr().add(w * LANES), kept);
            }
        }
    }
}
