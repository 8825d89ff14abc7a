//! AVX-512 forms of the inner loops of attention.
//!
//! Entry point: [`Avx512`], in the orders that [`Arithmetic`] fixes. Scores: sixteen keys at a time, one register of
//! eight heads by even and odd elements each, against pairs of a key's elements broadcast as one 64-bit number.
//! Values: the outputs of eight heads by thirty-two columns stay in registers over a block. Integer products likewise,
//! with the fused multiply-add of 16-bit pairs.
//!
//! Its methods are inlined into a function that has the features; nothing else may call them.

use std::arch::x86_64::*;

use crate::attention::{Arithmetic, IntLanes, Lanes, Stored, add_values_from, int_add_values_from};
use crate::lanes::LANES;

/// Keys whose scores are taken together: 16 registers of sums.
const KEYS: usize = 16;
/// Floats of a register.
const WIDTH: usize = 2 * LANES;

/// Inner loops on 512-bit registers.
pub(crate) struct Avx512;

impl Arithmetic for Avx512 {
    #[inline(always)]
    fn scores(scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        let (tiles, rest) = scores.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (scores, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: inlined into `run_unit_avx512`, which has these features.
            unsafe { score_tile(scores, q, keys, scale) };
        }
        let (tiles, rest) = rest.as_chunks_mut::<4>();
        let (tile_keys, rest_keys) = rest_keys.split_at(tiles.len() * 4 * width);
        for (scores, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(4 * width)) {
            // SAFETY: as above.
            unsafe { score_tile(scores, q, keys, scale) };
        }
        for (scores, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: as above.
            unsafe { score_tile(std::array::from_mut(scores), q, keys, scale) };
        }
    }

    #[inline(always)]
    fn add_values<V: Stored>(sums: &mut [f32], weights: &[Lanes], rows: &[&[V]], column: usize) {
        let d = sums.len() / LANES;
        let (double, whole) = (d / (2 * WIDTH) * 2 * WIDTH, d / WIDTH * WIDTH);
        for first in (0..double).step_by(2 * WIDTH) {
            // SAFETY: as above.
            unsafe { add_strip::<V, 2>(sums, weights, rows, (column, first)) };
        }
        if double < whole {
            // SAFETY: as above.
            unsafe { add_strip::<V, 1>(sums, weights, rows, (column, double)) };
        }
        if whole < d {
            add_values_from(sums, weights, rows, column, whole);
        }
    }

    #[inline(always)]
    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32]) {
        let width = q.len() / LANES;
        let (tiles, rest) = dots.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (dots, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: as above.
            unsafe { int_score_tile(dots, q, keys) };
        }
        let (tiles, rest) = rest.as_chunks_mut::<4>();
        let (tile_keys, rest_keys) = rest_keys.split_at(tiles.len() * 4 * width);
        for (dots, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(4 * width)) {
            // SAFETY: as above.
            unsafe { int_score_tile(dots, q, keys) };
        }
        for (dots, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: as above.
            unsafe { int_score_tile(std::array::from_mut(dots), q, keys) };
        }
    }

    #[inline(always)]
    fn int_add_values(sums: &mut [i32], weights: &[IntLanes], values: &[i32]) {
        let d = sums.len() / LANES;
        let (double, whole) = (d / (2 * WIDTH) * 2 * WIDTH, d / WIDTH * WIDTH);
        for first in (0..double).step_by(2 * WIDTH) {
            // SAFETY: as above.
            unsafe { int_add_strip::<2>(sums, weights, values, first) };
        }
        if double < whole {
            // SAFETY: as above.
            unsafe { int_add_strip::<1>(sums, weights, values, double) };
        }
        if whole < d {
            int_add_values_from(sums, weights, values, whole);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn score_tile<const N: usize>(scores: &mut [Lanes; N], q: &[f32], keys: &[f32], scale: f32) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    let mut sums = [_mm512_setzero_ps(); N];
    for pair in 0..width / 2 {
        // SAFETY: q is [width / 2, 16] and keys are [N, width] (asserted).
        unsafe {
            let q = _mm512_loadu_ps(q.as_ptr().add(pair * WIDTH));
            for (r, sum) in sums.iter_mut().enumerate() {
                let key = keys.as_ptr().add(r * width + 2 * pair).cast::<f64>();
                let key = _mm512_castpd_ps(_mm512_set1_pd(key.read_unaligned()));
                *sum = _mm512_fmadd_ps(q, key, *sum);
            }
        }
    }
    for (scores, sum) in scores.iter_mut().zip(sums) {
        let sum = _mm512_mul_ps(_mm512_add_ps(sum, _mm512_movehdup_ps(sum)), _mm512_set1_ps(scale));
        let sum = _mm512_permutexvar_ps(even_lanes(), sum);
        // SAFETY: scores are eight floats.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), _mm512_castps512_ps256(sum)) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn even_lanes() -> __m512i {
    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14)
}

/// All heads, `R` registers of columns from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_strip<V: Stored, const R: usize>(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[V]],
    (column, first): (usize, usize),
) {
    let d = sums.len() / LANES;
    assert!(first + R * WIDTH <= d && sums.len() == LANES * d);
    // SAFETY: rows of sums have d columns (asserted), as each row has from `column` on (asserted below).
    unsafe {
        let out = sums.as_mut_ptr().add(first);
        let mut sums: [[__m512; R]; LANES] =
            std::array::from_fn(|h| std::array::from_fn(|r| _mm512_loadu_ps(out.add(h * d + r * WIDTH))));
        for (weights, row) in weights.iter().zip(rows) {
            assert!(column + d <= row.len());
            let value = row.as_ptr().add(column + first);
            let values: [__m512; R] = std::array::from_fn(|r| V::widen_16(value.add(r * WIDTH)));
            for (weight, sums) in weights.iter().zip(&mut sums) {
                let weight = _mm512_set1_ps(*weight);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = _mm512_fmadd_ps(weight, value, *sum);
                }
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            for (r, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(out.add(h * d + r * WIDTH), sum);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512vnni")]
fn int_score_tile<const N: usize>(dots: &mut [IntLanes; N], q: &[i32], keys: &[i32]) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    let mut sums = [_mm512_setzero_si512(); N];
    for pair in 0..width / 2 {
        // SAFETY: q is [width / 2, 16] and keys are [N, width] (asserted).
        unsafe {
            let q = _mm512_loadu_si512(q.as_ptr().add(pair * WIDTH).cast());
            for (r, sum) in sums.iter_mut().enumerate() {
                let key = keys.as_ptr().add(r * width + 2 * pair).cast::<i64>();
                let key = _mm512_set1_epi64(key.read_unaligned());
                *sum = _mm512_dpwssd_epi32(*sum, q, key);
            }
        }
    }
    for (dots, sum) in dots.iter_mut().zip(sums) {
        let sum = _mm512_add_epi32(sum, _mm512_srli_epi64::<32>(sum));
        // SAFETY: dots are eight integers.
        unsafe { _mm256_storeu_si256(dots.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(sum)) };
    }
}

/// All heads, `R` registers of columns from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn int_add_strip<const R: usize>(sums: &mut [i32], weights: &[IntLanes], values: &[i32], first: usize) {
    let d = sums.len() / LANES;
    assert!(first + R * WIDTH <= d && sums.len() == LANES * d);
    assert_eq!(values.len(), weights.len() * d);
    // SAFETY: rows of sums and values have d columns (asserted).
    unsafe {
        let out = sums.as_mut_ptr().add(first);
        let mut sums: [[__m512i; R]; LANES] = std::array::from_fn(|h| {
            std::array::from_fn(|r| _mm512_loadu_si512(out.add(h * d + r * WIDTH).cast()))
        });
        for (i, weights) in weights.iter().enumerate() {
            let value = values.as_ptr().add(i * d + first);
            let values: [__m512i; R] =
                std::array::from_fn(|r| _mm512_loadu_si512(value.add(r * WIDTH).cast()));
            for (weight, sums) in weights.iter().zip(&mut sums) {
                let weight = _mm512_set1_epi32(*weight);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = _mm512_dpwssd_epi32(*sum, weight, value);
                }
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            for (r, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_si512(out.add(h * d + r * WIDTH).cast(), sum);
            }
        }
    }
}
