//! NEON form of the tile of `products/chained.rs`: six rows by four registers of columns.
//!
//! 24 sums, four registers of a strip, and a factor that the multiplication takes by its place.

use crate::lanes::LANES;
use crate::simd::neon::{Eight, add_product, load, splat, store};

/// `sums[r] += a[r][s] * strip[s]`, s ascending; element (r, s) of `a` is `a[r * by_row + s * by_step]`.
///
/// Panics: when `a` is too short.
#[target_feature(enable = "neon")]
pub(crate) fn add<const R: usize>(
    sums: &mut [[f32; 2 * LANES]; R],
    a: &[f32],
    (by_row, by_step): (usize, usize),
    strip: &[[f32; 2 * LANES]],
) {
    let Some(last) = strip.len().checked_sub(1) else { return };
    assert!((R - 1) * by_row + last * by_step < a.len(), "chained: a is [R, S]");
    let mut kept: [[Eight; 2]; R] = std::array::from_fn(|r| halves(&sums[r]));
    for (step, row) in strip.iter().enumerate() {
        let b = halves(row);
        for (r, kept) in kept.iter_mut().enumerate() {
            // SAFETY: the last element that is read is in bounds as asserted, and all others lie before it.
            let factor = splat(unsafe { *a.get_unchecked(r * by_row + step * by_step) });
            for (kept, b) in kept.iter_mut().zip(b) {
                *kept = add_product(*kept, factor, b);
            }
        }
    }
    for (sums, kept) in sums.iter_mut().zip(kept) {
        for (sums, kept) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(kept) {
            store(sums, kept);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn halves(row: &[f32; 2 * LANES]) -> [Eight; 2] {
    let eights = row.as_chunks::<LANES>().0;
    [load(&eights[0]), load(&eights[1])]
}
