//! AVX2 form of the tile of `products/chained.rs`: six rows by two registers of columns.
//!
//! Twelve accumulators, two registers of a strip and one of a broadcast factor: a step is eight loads for
//! twelve fused multiply-adds, which are the bound.

use std::arch::x86_64::*;

use crate::lanes::LANES;

/// `sums[r] += a[r][s] * strip[s]`, s ascending; element (r, s) of `a` is `a[r * by_row + s * by_step]`.
///
/// Panics: when `a` is too short.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn add<const R: usize>(
    sums: &mut [[f32; 2 * LANES]; R],
    a: &[f32],
    (by_row, by_step): (usize, usize),
    strip: &[[f32; 2 * LANES]],
) {
    let Some(last) = strip.len().checked_sub(1) else { return };
    assert!((R - 1) * by_row + last * by_step < a.len(), "chained: a is [R, S]");
    // SAFETY: rows of sums and of the strip are sixteen floats; the last element of `a` that is read is in
    // bounds as asserted, and all others lie before it.
    unsafe {
        let mut kept: [[__m256; 2]; R] = std::array::from_fn(|r| {
            [_mm256_loadu_ps(sums[r].as_ptr()), _mm256_loadu_ps(sums[r].as_ptr().add(LANES))]
        });
        let mut column = a.as_ptr();
        for row in strip {
            let b = [_mm256_loadu_ps(row.as_ptr()), _mm256_loadu_ps(row.as_ptr().add(LANES))];
            for (r, kept) in kept.iter_mut().enumerate() {
                let factor = _mm256_broadcast_ss(&*column.add(r * by_row));
                kept[0] = _mm256_fmadd_ps(factor, b[0], kept[0]);
                kept[1] = _mm256_fmadd_ps(factor, b[1], kept[1]);
            }
            column = column.wrapping_add(by_step);
        }
        for (sums, kept) in sums.iter_mut().zip(kept) {
            _mm256_storeu_ps(sums.as_mut_ptr(), kept[0]);
            _mm256_storeu_ps(sums.as_mut_ptr().add(LANES), kept[1]);
        }
    }
}
