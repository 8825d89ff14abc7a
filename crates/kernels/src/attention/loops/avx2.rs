//! AVX2 forms of the inner loops of attention.
//!
//! Scores: four keys at a time, two registers of four heads by even and odd elements each, against pairs of a
//! key's elements broadcast as one 64-bit number. Values: the outputs of four heads by sixteen columns stay
//! in registers over a block. Integer products likewise, with multiply-add of 16-bit pairs; of bf16, whose
//! pairs are taken apart in registers.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use crate::attention::loops::AttentionLoops;
use crate::attention::loops::scalar::{
    add_values_from, int_add_values_from, pair_add_values_from, plain_pair_scores,
};
use crate::attention::shape::{IntLanes, Lanes};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;
use crate::tier::Avx2;

/// Keys whose scores are taken together: 8 registers of sums.
const KEYS: usize = 4;
/// Columns of values whose sums are kept together.
const COLUMNS: usize = 2 * LANES;

impl AttentionLoops for Avx2 {
    #[inline(always)]
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        let (tiles, rest) = scores.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (scores, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: the token is the proof of the features.
            unsafe { score_tile(scores, q, keys, scale) };
        }
        for (scores, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: as above.
            unsafe { score_tile(std::array::from_mut(scores), q, keys, scale) };
        }
    }

    #[inline(always)]
    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        let d = sums.len() / LANES;
        let whole = d / COLUMNS * COLUMNS;
        for first in (0..whole).step_by(COLUMNS) {
            for heads in [0, 4] {
                // SAFETY: as above.
                unsafe { add_strip(sums, weights, rows, (column, heads, first)) };
            }
        }
        if whole < d {
            add_values_from(sums, weights, rows, column, whole);
        }
    }

    #[inline(always)]
    fn pair_scores(
        self,
        scores: &mut [Lanes],
        q: &[i32],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        if !columns.len().is_multiple_of(4) {
            return plain_pair_scores(scores, q, rows, columns, scale);
        }
        ahead.fetch(RowPrefetch::<bf16>::lines(rows.len(), columns.len()));
        let (tiles, rest) = scores.as_chunks_mut::<KEYS>();
        let (tile_rows, rest_rows) = rows.as_chunks::<KEYS>();
        for (scores, rows) in tiles.iter_mut().zip(tile_rows) {
            // SAFETY: as above.
            unsafe { pair_score_tile(scores, q, rows, columns, scale) };
        }
        for (scores, row) in rest.iter_mut().zip(rest_rows) {
            // SAFETY: as above.
            unsafe { pair_score_tile(std::array::from_mut(scores), q, &[*row], columns, scale) };
        }
    }

    #[inline(always)]
    fn pair_add_values(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        ahead.fetch(RowPrefetch::<bf16>::lines(2 * weights.len(), sums.len() / LANES));
        let d = sums.len() / LANES;
        let whole = d / COLUMNS * COLUMNS;
        for first in (0..whole).step_by(COLUMNS) {
            for heads in [0, 4] {
                // SAFETY: as above.
                unsafe { pair_add_strip(sums, weights, values, heads, first) };
            }
        }
        if whole < d {
            pair_add_values_from(sums, weights, values, whole);
        }
    }

    #[inline(always)]
    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>) {
        ahead.fetch(RowPrefetch::<i8>::lines(dots.len(), q.len() / LANES * 2));
        let width = q.len() / LANES;
        let (tiles, rest) = dots.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (dots, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: as above.
            unsafe { int_score_tile(dots, q, keys) };
        }
        for (dots, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: as above.
            unsafe { int_score_tile(std::array::from_mut(dots), q, keys) };
        }
    }

    #[inline(always)]
    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    ) {
        ahead.fetch(RowPrefetch::<i8>::lines(2 * weights.len(), sums.len() / LANES));
        let d = sums.len() / LANES;
        let whole = d / COLUMNS * COLUMNS;
        for first in (0..whole).step_by(COLUMNS) {
            for heads in [0, 4] {
                // SAFETY: as above.
                unsafe { int_add_strip(sums, weights, values, heads, first) };
            }
        }
        if whole < d {
            int_add_values_from(sums, weights, values, whole);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn score_tile<const N: usize>(scores: &mut [Lanes; N], q: &[f32], keys: &[f32], scale: f32) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for pair in 0..width / 2 {
        // SAFETY: q is [width / 2, 16] and keys are [N, width] (asserted).
        unsafe {
            let q = q.as_ptr().add(pair * 2 * LANES);
            let (low, high) = (_mm256_loadu_ps(q), _mm256_loadu_ps(q.add(LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let key = keys.as_ptr().add(r * width + 2 * pair).cast::<f64>();
                let key = _mm256_castpd_ps(_mm256_set1_pd(key.read_unaligned()));
                sums[0] = _mm256_fmadd_ps(low, key, sums[0]);
                sums[1] = _mm256_fmadd_ps(high, key, sums[1]);
            }
        }
    }
    finish_scores(scores, sums, scale);
}

/// Both chains together, times the scale.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn finish_scores<const N: usize>(scores: &mut [Lanes; N], sums: [[__m256; 2]; N], scale: f32) {
    for (scores, [low, high]) in scores.iter_mut().zip(sums) {
        // Heads 0 1 4 5 and 2 3 6 7.
        let even = _mm256_shuffle_ps::<0x88>(low, high);
        let odd = _mm256_shuffle_ps::<0xdd>(low, high);
        let sum = _mm256_mul_ps(_mm256_add_ps(even, odd), _mm256_set1_ps(scale));
        let sum = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(sum));
        // SAFETY: scores are eight floats.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), _mm256_castpd_ps(sum)) };
    }
}

/// The low and the high numbers of pairs of bf16, as f32.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen_pairs(pairs: __m256i) -> [__m256; 2] {
    let high = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
    [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(high)]
}

/// Adds the products of both numbers of pairs, the high ones first.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_pairs(x: [__m256; 2], y: [__m256; 2], sum: __m256) -> __m256 {
    _mm256_fmadd_ps(x[0], y[0], _mm256_fmadd_ps(x[1], y[1], sum))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn pair_score_tile<const N: usize>(
    scores: &mut [Lanes; N],
    q: &[i32],
    rows: &[&[bf16]; N],
    columns: &Range<usize>,
    scale: f32,
) {
    let d = columns.len();
    assert!(d.is_multiple_of(4) && q.len() == d / 4 * 2 * LANES);
    assert!(rows.iter().all(|row| columns.end <= row.len()));
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for four in 0..d / 4 {
        // SAFETY: q is [D / 4, 16] and rows have D columns (asserted).
        unsafe {
            let q = q.as_ptr().add(four * 2 * LANES).cast();
            let q = [widen_pairs(_mm256_loadu_si256(q)), widen_pairs(_mm256_loadu_si256(q.add(1)))];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let key = row.as_ptr().add(columns.start + 4 * four).cast::<i32>();
                for (half, sum) in sums.iter_mut().enumerate() {
                    let key = widen_pairs(_mm256_set1_epi32(key.add(half).read_unaligned()));
                    *sum = add_pairs(q[half], key, *sum);
                }
            }
        }
    }
    for (scores, [even, odd]) in scores.iter_mut().zip(sums) {
        let sum = _mm256_mul_ps(_mm256_add_ps(even, odd), _mm256_set1_ps(scale));
        // SAFETY: scores are eight floats.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), sum) };
    }
}

/// Heads `heads..heads + 4`, columns `first..first + 16`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn pair_add_strip(sums: &mut [f32], weights: &[IntLanes], values: &[i32], heads: usize, first: usize) {
    let d = sums.len() / LANES;
    assert!(heads + 4 <= LANES && first + COLUMNS <= d && sums.len() == LANES * d);
    assert_eq!(values.len(), weights.len() * d);
    // SAFETY: rows of sums and values have d columns (asserted).
    unsafe {
        let out = sums.as_mut_ptr().add(heads * d + first);
        let mut sums: [[__m256; 2]; 4] = std::array::from_fn(|h| {
            [_mm256_loadu_ps(out.add(h * d)), _mm256_loadu_ps(out.add(h * d + LANES))]
        });
        for (i, weights) in weights.iter().enumerate() {
            let value = values.as_ptr().add(i * d + first).cast();
            let values =
                [widen_pairs(_mm256_loadu_si256(value)), widen_pairs(_mm256_loadu_si256(value.add(1)))];
            for (h, sums) in sums.iter_mut().enumerate() {
                let weight = widen_pairs(_mm256_set1_epi32(weights[heads + h]));
                sums[0] = add_pairs(weight, values[0], sums[0]);
                sums[1] = add_pairs(weight, values[1], sums[1]);
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            _mm256_storeu_ps(out.add(h * d), sums[0]);
            _mm256_storeu_ps(out.add(h * d + LANES), sums[1]);
        }
    }
}

/// Heads `heads..heads + 4`, columns `first..first + 16`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_strip(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[f32]],
    (column, heads, first): (usize, usize, usize),
) {
    let d = sums.len() / LANES;
    assert!(heads + 4 <= LANES && first + COLUMNS <= d && sums.len() == LANES * d);
    // SAFETY: rows of sums have d columns (asserted), as each row has from `column` on (asserted below).
    unsafe {
        let out = sums.as_mut_ptr().add(heads * d + first);
        let mut sums: [[__m256; 2]; 4] = std::array::from_fn(|h| {
            [_mm256_loadu_ps(out.add(h * d)), _mm256_loadu_ps(out.add(h * d + LANES))]
        });
        for (weights, row) in weights.iter().zip(rows) {
            assert!(column + d <= row.len());
            let value = row.as_ptr().add(column + first);
            let values = [_mm256_loadu_ps(value), _mm256_loadu_ps(value.add(LANES))];
            for (h, sums) in sums.iter_mut().enumerate() {
                let weight = _mm256_set1_ps(weights[heads + h]);
                sums[0] = _mm256_fmadd_ps(weight, values[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(weight, values[1], sums[1]);
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            _mm256_storeu_ps(out.add(h * d), sums[0]);
            _mm256_storeu_ps(out.add(h * d + LANES), sums[1]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn int_score_tile<const N: usize>(dots: &mut [IntLanes; N], q: &[i32], keys: &[i32]) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    for pair in 0..width / 2 {
        // SAFETY: q is [width / 2, 16] and keys are [N, width] (asserted).
        unsafe {
            let q = q.as_ptr().add(pair * 2 * LANES).cast();
            let (low, high) = (_mm256_loadu_si256(q), _mm256_loadu_si256(q.add(1)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let key = keys.as_ptr().add(r * width + 2 * pair).cast::<i64>();
                let key = _mm256_set1_epi64x(key.read_unaligned());
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, key));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, key));
            }
        }
    }
    for (dots, [low, high]) in dots.iter_mut().zip(sums) {
        // Heads 0 1 4 5 and 2 3 6 7.
        let sum = _mm256_hadd_epi32(low, high);
        let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(sum);
        // SAFETY: dots are eight integers.
        unsafe { _mm256_storeu_si256(dots.as_mut_ptr().cast(), sum) };
    }
}

/// Heads `heads..heads + 4`, columns `first..first + 16`.
#[inline]
#[target_feature(enable = "avx2")]
fn int_add_strip(sums: &mut [i32], weights: &[IntLanes], values: &[i32], heads: usize, first: usize) {
    let d = sums.len() / LANES;
    assert!(heads + 4 <= LANES && first + COLUMNS <= d && sums.len() == LANES * d);
    assert_eq!(values.len(), weights.len() * d);
    // SAFETY: rows of sums and values have d columns (asserted).
    unsafe {
        let out = sums.as_mut_ptr().add(heads * d + first).cast::<__m256i>();
        let place = |h: usize, half: usize| out.byte_add((h * d + half * LANES) * size_of::<i32>());
        let mut sums: [[__m256i; 2]; 4] =
            std::array::from_fn(|h| [_mm256_loadu_si256(place(h, 0)), _mm256_loadu_si256(place(h, 1))]);
        for (i, weights) in weights.iter().enumerate() {
            let value = values.as_ptr().add(i * d + first).cast();
            let values = [_mm256_loadu_si256(value), _mm256_loadu_si256(value.add(1))];
            for (h, sums) in sums.iter_mut().enumerate() {
                let weight = _mm256_set1_epi32(weights[heads + h]);
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(weight, values[0]));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(weight, values[1]));
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            _mm256_storeu_si256(place(h, 0), sums[0]);
            _mm256_storeu_si256(place(h, 1), sums[1]);
        }
    }
}
