//! AVX-512 forms of the inner loops of attention.
//!
//! Scores: sixteen keys at a time, one register of eight heads by even and odd elements each, against pairs
//! of a key's elements broadcast as one 64-bit number. Values: the outputs of eight heads by thirty-two
//! columns stay in registers over a block. Integer products likewise, with the fused multiply-add of 16-bit
//! pairs; products of bf16 are those of AVX2.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use crate::attention::loops::AttentionLoops;
use crate::attention::loops::scalar::{add_values_from, int_add_values_from};
use crate::attention::shape::{IntLanes, Lanes};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;
use crate::tier::Avx512;

/// Keys whose scores are taken together: 16 registers of sums.
const KEYS: usize = 16;
/// The row of a head that the fastest loops are compiled for, gpt-oss's. Units: numbers.
const HEAD_DIM_USUAL: usize = 64;
/// The pairs of a row whose loops are compiled for their length: addresses are constants then. Those of usual
/// heads.
const USUAL_WIDTH: usize = HEAD_DIM_USUAL / 2;
/// Floats of a register.
pub(super) const WIDTH: usize = 2 * LANES;

/// Keys by pairs whose scores are taken together: with twice as many the compiler spills registers.
pub(super) const PAIR_KEYS: usize = 8;

impl AttentionLoops for Avx512 {
    #[inline(always)]
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        let (tiles, rest) = scores.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (scores, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: the token is the proof of the features.
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
    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        let d = sums.len() / LANES;
        let (double, whole) = (d / (2 * WIDTH) * 2 * WIDTH, d / WIDTH * WIDTH);
        for first in (0..double).step_by(2 * WIDTH) {
            // SAFETY: as above.
            unsafe { add_strip::<2>(sums, weights, rows, (column, first)) };
        }
        if double < whole {
            // SAFETY: as above.
            unsafe { add_strip::<1>(sums, weights, rows, (column, double)) };
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
        self.avx2().pair_scores(scores, q, rows, columns, scale, ahead);
    }

    #[inline(always)]
    fn round_pairs(self, weights: &mut [IntLanes], scores: &[Lanes]) {
        self.avx2().round_pairs(weights, scores);
    }

    #[inline(always)]
    fn pair_add_values(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        self.avx2().pair_add_values(sums, weights, values, ahead);
    }

    #[inline(always)]
    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>) {
        match q.len() / LANES {
            // SAFETY: as above.
            USUAL_WIDTH => unsafe { int_scores::<USUAL_WIDTH>(dots, q, keys, ahead) },
            // SAFETY: as above.
            _ => unsafe { int_scores::<0>(dots, q, keys, ahead) },
        }
    }

    #[inline(always)]
    fn round_int_pairs(self, weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
        // SAFETY: as above.
        unsafe { round_int_pairs(weights, scores, inverse) }
    }

    #[inline(always)]
    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    ) {
        let d = sums.len() / LANES;
        let (double, whole) = (d / (2 * WIDTH) * 2 * WIDTH, d / WIDTH * WIDTH);
        for first in (0..double).step_by(2 * WIDTH) {
            // SAFETY: as above.
            unsafe { int_add_strip::<2>(sums, weights, values, first, ahead) };
        }
        if double < whole {
            // SAFETY: as above.
            unsafe { int_add_strip::<1>(sums, weights, values, double, ahead) };
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
    finish_scores(scores, sums, scale);
}

/// All heads, `R` registers of columns from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_strip<const R: usize>(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[f32]],
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
            let values: [__m512; R] = std::array::from_fn(|r| _mm512_loadu_ps(value.add(r * WIDTH)));
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

/// `W` is the width of a row, or 0.
#[target_feature(enable = "avx512f,avx512vl,avx512vnni")]
fn int_scores<const W: usize>(
    dots: &mut [IntLanes],
    q: &[i32],
    keys: &[i32],
    ahead: &mut RowPrefetch<'_, i8>,
) {
    let width = if W > 0 { W } else { q.len() / LANES };
    let (tiles, rest) = dots.as_chunks_mut::<PAIR_KEYS>();
    let (tile_keys, rest_keys) = keys.split_at(tiles.len() * PAIR_KEYS * width);
    for (dots, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(PAIR_KEYS * width)) {
        ahead.fetch(RowPrefetch::<i8>::lines(PAIR_KEYS, 2 * width));
        int_score_tile::<PAIR_KEYS, W>(dots, q, keys);
    }
    for (dots, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
        int_score_tile::<1, W>(std::array::from_mut(dots), q, keys);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512vnni")]
fn int_score_tile<const N: usize, const W: usize>(dots: &mut [IntLanes; N], q: &[i32], keys: &[i32]) {
    let width = if W > 0 { W } else { q.len() / LANES };
    assert!(q.len() == width * LANES && keys.len() == N * width && width.is_multiple_of(2));
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
fn int_add_strip<const R: usize>(
    sums: &mut [i32],
    weights: &[IntLanes],
    values: &[i32],
    first: usize,
    ahead: &mut RowPrefetch<'_, i8>,
) {
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
            ahead.fetch(RowPrefetch::<i8>::lines(2, R * WIDTH));
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

/// Both chains together, times the scale.
#[inline]
#[target_feature(enable = "avx512f")]
fn finish_scores<const N: usize>(scores: &mut [Lanes; N], sums: [__m512; N], scale: f32) {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    let scale = _mm512_set1_ps(scale);
    let both = |first: __m512, second: __m512| {
        let sum = _mm512_add_ps(
            _mm512_permutex2var_ps(first, even, second),
            _mm512_permutex2var_ps(first, odd, second),
        );
        _mm512_mul_ps(sum, scale)
    };
    let (twos, last) = scores.as_chunks_mut::<2>();
    let (sum_twos, last_sum) = sums.as_chunks::<2>();
    for (scores, [first, second]) in twos.iter_mut().zip(sum_twos) {
        // SAFETY: two times eight floats.
        unsafe { _mm512_storeu_ps(scores.as_mut_ptr().cast(), both(*first, *second)) };
    }
    for (scores, sum) in last.iter_mut().zip(last_sum) {
        // SAFETY: eight floats.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), _mm512_castps512_ps256(both(*sum, *sum))) };
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl,avx512bw")]
fn round_int_pairs(weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
    // SAFETY: eight floats.
    let inverse = unsafe { _mm512_castps256_ps512(_mm256_loadu_ps(inverse.as_ptr())) };
    let inverse = _mm512_shuffle_f32x4::<0x44>(inverse, inverse);
    for (weights, scores) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
        // SAFETY: two times eight floats, and eight integers.
        unsafe {
            let scores = _mm512_mul_ps(_mm512_loadu_ps(scores.as_ptr().cast()), inverse);
            let is_number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(scores, scores);
            let rounded = _mm512_cvtepi32_epi16(_mm512_maskz_cvtps_epi32(is_number, scores));
            _mm256_storeu_si256(weights.as_mut_ptr().cast(), halves_side_by_side(rounded));
        }
    }
}

/// Of sixteen 16-bit numbers, the i-th and the (8 + i)-th as a pair.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl,avx512bw")]
pub(super) fn halves_side_by_side(numbers: __m256i) -> __m256i {
    let (low, high) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
    _mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high))
}
