//! AVX2 forms of the two inner loops of attention.
//!
//! Entry points: [`scores`] and [`accumulate`]. Both keep the order of `attention.rs`: a score is a dot product in the
//! lanes of [`crate::lanes`], eight of them folded at once; values are added by ascending position, with all of
//! a head's outputs in registers over a block of keys.
//!
//! This module does not know positions, windows or softmax.

use std::arch::x86_64::*;

use crate::lanes::{LANES, dot};

/// `scores[i] = dot(q, keys[i]) * scale`.
///
/// Shapes: `scores [n]`, `q [D]`, `keys [n, D]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn scores(scores: &mut [f32], q: &[f32], keys: &[f32], scale: f32) {
    let d = q.len();
    assert_eq!(keys.len(), scores.len() * d);
    let whole = if d.is_multiple_of(LANES) { scores.len() / 8 * 8 } else { 0 };
    for first in (0..whole).step_by(8) {
        let sums = eight_dots(q, &keys[first * d..][..8 * d]);
        // SAFETY: `first + 8 <= whole`, the length of `scores` at most.
        unsafe {
            _mm256_storeu_ps(scores.as_mut_ptr().add(first), _mm256_mul_ps(sums, _mm256_set1_ps(scale)));
        }
    }
    for (score, key) in scores[whole..].iter_mut().zip(keys[whole * d..].chunks_exact(d)) {
        *score = dot(q, key) * scale;
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn eight_dots(q: &[f32], keys: &[f32]) -> __m256 {
    let d = q.len();
    assert!(d.is_multiple_of(LANES) && keys.len() == 8 * d);
    let mut sums = [_mm256_setzero_ps(); 8];
    for i in (0..d).step_by(LANES) {
        // SAFETY: `i + 8 <= d`, and keys hold eight rows of d (asserted).
        let q = unsafe { _mm256_loadu_ps(q.as_ptr().add(i)) };
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let key = unsafe { _mm256_loadu_ps(keys.as_ptr().add(r * d + i)) };
            *sum = _mm256_fmadd_ps(q, key, *sum);
        }
    }
    fold_eight(sums)
}

/// The trees of eight sums at once: halves, then pairs, then neighbours, as in [`crate::lanes::tree`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_eight(s: [__m256; 8]) -> __m256 {
    // Sum r and sum r + 4 side by side, each folded to four: l0+l4, l1+l5, l2+l6, l3+l7.
    let fours: [__m256; 4] = std::array::from_fn(|r| {
        let low = _mm256_permute2f128_ps::<0x20>(s[r], s[r + 4]);
        let high = _mm256_permute2f128_ps::<0x31>(s[r], s[r + 4]);
        _mm256_add_ps(low, high)
    });
    // Two sums in each half, each folded to two.
    let twos = |a: __m256, b: __m256| {
        let low = _mm256_shuffle_ps::<0x44>(a, b);
        let high = _mm256_shuffle_ps::<0xee>(a, b);
        _mm256_add_ps(low, high)
    };
    let (first, second) = (twos(fours[0], fours[1]), twos(fours[2], fours[3]));
    let even = _mm256_shuffle_ps::<0x88>(first, second);
    let odd = _mm256_shuffle_ps::<0xdd>(first, second);
    _mm256_add_ps(even, odd)
}

/// `out[d] = weights[i] * values[i][d] + out[d]`, i ascending.
///
/// Shapes: `out [D]`, `weights [n]`, `values [n, D]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn accumulate(out: &mut [f32], weights: &[f32], values: &[f32]) {
    let d = out.len();
    assert_eq!(values.len(), weights.len() * d);
    let mut first = 0;
    while first + 64 <= d {
        strip::<8>(out, weights, values, first);
        first += 64;
    }
    while first + LANES <= d {
        strip::<1>(out, weights, values, first);
        first += LANES;
    }
    for (i, out) in out.iter_mut().enumerate().skip(first) {
        for (weight, value) in weights.iter().zip(values.chunks_exact(d)) {
            *out = weight.mul_add(value[i], *out);
        }
    }
}

/// `V` registers of outputs from `first` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn strip<const V: usize>(out: &mut [f32], weights: &[f32], values: &[f32], first: usize) {
    let d = out.len();
    assert!(first + V * LANES <= d && values.len() == weights.len() * d);
    // SAFETY: `first + V * 8 <= d`, the length of `out` and of each row of values (asserted).
    let mut sums: [__m256; V] =
        std::array::from_fn(|v| unsafe { _mm256_loadu_ps(out.as_ptr().add(first + v * LANES)) });
    for (i, weight) in weights.iter().enumerate() {
        let weight = _mm256_set1_ps(*weight);
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let value = unsafe { _mm256_loadu_ps(values.as_ptr().add(i * d + first + v * LANES)) };
            *sum = _mm256_fmadd_ps(weight, value, *sum);
        }
    }
    for (v, sum) in sums.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(first + v * LANES), sum) };
    }
}
