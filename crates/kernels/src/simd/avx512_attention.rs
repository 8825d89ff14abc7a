//! AVX-512 forms of the inner loops of attention.
//!
//! Entry point: [`Avx512`], in the orders that [`Arithmetic`] fixes. Scores: sixteen keys at a time, one register of
//! eight heads by even and odd elements each, against pairs of a key's elements broadcast as one 64-bit number.
//! Values: the outputs of eight heads by thirty-two columns stay in registers over a block. Integer products likewise,
//! with the fused multiply-add of 16-bit pairs; of bf16 with `vdpbf16ps` where the processor has it.
//!
//! Its methods are inlined into a function that has the features; nothing else may call them.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use crate::attention::{
    Arithmetic, HEAD_DIM_MAX, HEAD_DIM_USUAL, IntLanes, Lanes, SMALLEST_IN_BF16, add_values_from,
    int_add_values_from, pair, pair_add_values_from, plain_pair_scores,
};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;
use crate::simd::avx2_attention::Avx2;

/// Keys whose scores are taken together: 16 registers of sums.
const KEYS: usize = 16;
/// The pairs of a row whose loops are compiled for their length: addresses are constants then. Those of usual heads.
const USUAL_WIDTH: usize = HEAD_DIM_USUAL / 2;
/// Keys by pairs whose scores are taken together: with twice as many the compiler spills registers.
const PAIR_KEYS: usize = 8;
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
    fn add_values(sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
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
        scores: &mut [Lanes],
        q: &[i32],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        match has_bf16() {
            _ if !columns.len().is_multiple_of(4) => plain_pair_scores(scores, q, rows, columns, scale),
            // SAFETY: as above, and the processor has the one feature more.
            true => unsafe { pair_scores(scores, q, rows, columns, scale, ahead) },
            false => Avx2::pair_scores(scores, q, rows, columns, scale, ahead),
        }
    }

    #[inline(always)]
    fn pair_scores_of_two(
        scores: [&mut [Lanes]; 2],
        q: [&[i32]; 2],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        let [scores, others] = scores;
        let tiled = match has_bf16() && columns.len().is_multiple_of(4) {
            true => rows.len() / PAIR_KEYS * PAIR_KEYS,
            false => 0,
        };
        let (tiles, rest_rows) = rows.split_at(tiled);
        let (tile_scores, scores) = scores.split_at_mut(tiled);
        let (tile_others, others) = others.split_at_mut(tiled);
        let both = tile_scores.as_chunks_mut().0.iter_mut().zip(tile_others.as_chunks_mut().0);
        for ((scores, others), rows) in both.zip(tiles.as_chunks().0) {
            ahead.fetch(RowPrefetch::<bf16>::lines(PAIR_KEYS, columns.len()));
            // SAFETY: as above, and the processor has the one feature more.
            unsafe { pair_score_tile_of_two([scores, others], q, rows, columns, scale) };
        }
        if !rest_rows.is_empty() {
            Self::pair_scores(scores, q[0], rest_rows, columns, scale, ahead);
            Self::pair_scores(others, q[1], rest_rows, columns, scale, ahead);
        }
    }

    #[inline(always)]
    fn round_pairs(weights: &mut [IntLanes], scores: &[Lanes]) {
        match has_bf16() {
            // SAFETY: as above, and the processor has the one feature more.
            true => unsafe { round_pairs(weights, scores) },
            false => Avx2::round_pairs(weights, scores),
        }
    }

    #[inline(always)]
    fn pair_add_values(
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        match has_bf16() {
            // SAFETY: as above, and the processor has the one feature more.
            true => unsafe { pair_add_values(sums, weights, values, ahead) },
            false => Avx2::pair_add_values(sums, weights, values, ahead),
        }
    }

    #[inline(always)]
    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>) {
        match q.len() / LANES {
            // SAFETY: as above.
            USUAL_WIDTH => unsafe { int_scores::<USUAL_WIDTH>(dots, q, keys, ahead) },
            // SAFETY: as above.
            _ => unsafe { int_scores::<0>(dots, q, keys, ahead) },
        }
    }

    #[inline(always)]
    fn adds_rows() -> bool {
        has_bf16()
    }

    #[inline(always)]
    fn pair_add_rows(
        sums: &mut [f32],
        weights: &[IntLanes],
        rows: &[[&[bf16]; 2]],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        // SAFETY: as above, and the processor has the one feature more, as `adds_rows` said.
        unsafe { pair_add_rows(sums, weights, rows, ahead) }
    }

    #[inline(always)]
    fn round_int_pairs(weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
        // SAFETY: as above.
        unsafe { round_int_pairs(weights, scores, inverse) }
    }

    #[inline(always)]
    fn int_add_values(
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

/// Whether this processor multiplies pairs of bf16 in one instruction; not all with VNNI do.
#[inline(always)]
fn has_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_scores(
    scores: &mut [Lanes],
    q: &[i32],
    rows: &[&[bf16]],
    columns: &Range<usize>,
    scale: f32,
    ahead: &mut RowPrefetch<'_, bf16>,
) {
    let (tiles, rest) = scores.as_chunks_mut::<PAIR_KEYS>();
    let (tile_rows, rest_rows) = rows.as_chunks::<PAIR_KEYS>();
    for (scores, rows) in tiles.iter_mut().zip(tile_rows) {
        ahead.fetch(RowPrefetch::<bf16>::lines(PAIR_KEYS, columns.len()));
        pair_score_tile(scores, q, rows, columns, scale);
    }
    if let (Some(last), false) = (rest_rows.last(), rest.is_empty()) {
        // Rows that are missing repeat the last one.
        let mut tile = [[0.0; LANES]; PAIR_KEYS];
        let mut rows = [*last; PAIR_KEYS];
        rows[..rest_rows.len()].copy_from_slice(rest_rows);
        pair_score_tile(&mut tile, q, &rows, columns, scale);
        rest.copy_from_slice(&tile[..rest.len()]);
    }
}

/// One query: registers of eight heads.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_score_tile(
    scores: &mut [Lanes; PAIR_KEYS],
    q: &[i32],
    rows: &[&[bf16]; PAIR_KEYS],
    columns: &Range<usize>,
    scale: f32,
) {
    let d = columns.len();
    assert!(d.is_multiple_of(4) && q.len() == d / 4 * WIDTH);
    assert!(rows.iter().all(|row| columns.end <= row.len()));
    let keys = rows.map(<[bf16]>::as_ptr);
    let mut sums = [[_mm256_setzero_ps(); 2]; PAIR_KEYS];
    for four in 0..d / 4 {
        // SAFETY: q is [D / 4, 16] and rows have D columns (asserted).
        unsafe {
            let q = q.as_ptr().add(four * WIDTH).cast();
            let q = [as_eight_pairs(_mm256_loadu_si256(q)), as_eight_pairs(_mm256_loadu_si256(q.add(1)))];
            for (sums, key) in sums.iter_mut().zip(keys) {
                let key = key.add(columns.start + 4 * four).cast::<i32>();
                let pairs = [key.read_unaligned(), key.add(1).read_unaligned()];
                sums[0] = _mm256_dpbf16_ps(sums[0], q[0], as_eight_pairs(_mm256_set1_epi32(pairs[0])));
                sums[1] = _mm256_dpbf16_ps(sums[1], q[1], as_eight_pairs(_mm256_set1_epi32(pairs[1])));
            }
        }
    }
    for (scores, [even, odd]) in scores.iter_mut().zip(sums) {
        let sum = _mm256_mul_ps(_mm256_add_ps(even, odd), _mm256_set1_ps(scale));
        // SAFETY: eight floats.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), sum) };
    }
}

/// Two queries: registers of eight heads of each.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_score_tile_of_two(
    scores: [&mut [Lanes; PAIR_KEYS]; 2],
    q: [&[i32]; 2],
    rows: &[&[bf16]; PAIR_KEYS],
    columns: &Range<usize>,
    scale: f32,
) {
    let d = columns.len();
    assert!(d.is_multiple_of(4) && q.iter().all(|q| q.len() == d / 4 * WIDTH));
    assert!(rows.iter().all(|row| columns.end <= row.len()));
    let keys = rows.map(<[bf16]>::as_ptr);
    let mut sums = [[_mm512_setzero_ps(); 2]; PAIR_KEYS];
    for four in 0..d / 4 {
        // SAFETY: q are [D / 4, 16] and rows have D columns (asserted).
        unsafe {
            let [first, second] = q.map(|q| q.as_ptr().add(four * WIDTH).cast::<__m256i>());
            let both = |half: usize| {
                let first = _mm512_castsi256_si512(_mm256_loadu_si256(first.add(half)));
                as_pairs(_mm512_inserti64x4::<1>(first, _mm256_loadu_si256(second.add(half))))
            };
            let q = [both(0), both(1)];
            for (sums, key) in sums.iter_mut().zip(keys) {
                let key = key.add(columns.start + 4 * four).cast::<i32>();
                let pairs = [key.read_unaligned(), key.add(1).read_unaligned()];
                sums[0] = _mm512_dpbf16_ps(sums[0], q[0], as_pairs(_mm512_set1_epi32(pairs[0])));
                sums[1] = _mm512_dpbf16_ps(sums[1], q[1], as_pairs(_mm512_set1_epi32(pairs[1])));
            }
        }
    }
    let [scores, others] = scores;
    for ((scores, others), [even, odd]) in scores.iter_mut().zip(others).zip(sums) {
        let sum = _mm512_mul_ps(_mm512_add_ps(even, odd), _mm512_set1_ps(scale));
        let other = _mm256_castsi256_ps(_mm512_extracti64x4_epi64::<1>(_mm512_castps_si512(sum)));
        // SAFETY: eight floats each.
        unsafe {
            _mm256_storeu_ps(scores.as_mut_ptr(), _mm512_castps512_ps256(sum));
            _mm256_storeu_ps(others.as_mut_ptr(), other);
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

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn round_pairs(weights: &mut [IntLanes], scores: &[Lanes]) {
    let smallest = _mm512_set1_ps(SMALLEST_IN_BF16);
    for (weights, scores) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
        // SAFETY: two times eight floats, and eight integers; sixteen bf16 are 32 bytes.
        unsafe {
            let scores = _mm512_loadu_ps(scores.as_ptr().cast());
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(scores), smallest);
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_maskz_cvtneps_pbh(kept, scores));
            _mm256_storeu_si256(weights.as_mut_ptr().cast(), halves_side_by_side(rounded));
        }
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
fn halves_side_by_side(numbers: __m256i) -> __m256i {
    let (low, high) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
    _mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
fn as_eight_pairs(numbers: __m256i) -> __m256bh {
    // SAFETY: the same bits.
    unsafe { std::mem::transmute(numbers) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn as_pairs(numbers: __m512i) -> __m512bh {
    // SAFETY: the same bits.
    unsafe { std::mem::transmute(numbers) }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_add_values(
    sums: &mut [f32],
    weights: &[IntLanes],
    values: &[i32],
    ahead: &mut RowPrefetch<'_, bf16>,
) {
    let d = sums.len() / LANES;
    let whole = d / (2 * WIDTH) * 2 * WIDTH;
    assert_eq!(values.len(), weights.len() * d);
    for first in (0..whole).step_by(2 * WIDTH) {
        pair_add_strip(sums, weights, first, ahead, |i| {
            let values = values.as_ptr().wrapping_add(i * d + first);
            // SAFETY: rows of values have d columns (asserted), of which `first` begins 32.
            unsafe {
                [_mm512_loadu_si512(values.cast()), _mm512_loadu_si512(values.wrapping_add(WIDTH).cast())]
            }
        });
    }
    if whole < d {
        pair_add_values_from(sums, weights, values, whole);
    }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_add_rows(
    sums: &mut [f32],
    weights: &[IntLanes],
    rows: &[[&[bf16]; 2]],
    ahead: &mut RowPrefetch<'_, bf16>,
) {
    let d = sums.len() / LANES;
    let whole = d / (2 * WIDTH) * 2 * WIDTH;
    assert!(rows.as_flattened().iter().all(|row| d <= row.len()) && rows.len() == weights.len());
    // SAFETY: both are 64 bytes.
    let orders = unsafe {
        [_mm512_loadu_si512(NEIGHBOURS[0].as_ptr().cast()), _mm512_loadu_si512(NEIGHBOURS[1].as_ptr().cast())]
    };
    for first in (0..whole).step_by(2 * WIDTH) {
        pair_add_strip(sums, weights, first, ahead, |i| {
            // SAFETY: rows have d columns (asserted), of which `first` begins 32.
            let [low, high] =
                rows[i].map(|row| unsafe { _mm512_loadu_si512(row.as_ptr().add(first).cast()) });
            orders.map(|order| _mm512_permutex2var_epi16(low, order, high))
        });
    }
    if whole < d {
        let mut both = [0; HEAD_DIM_MAX];
        for (weights, [low, high]) in weights.iter().zip(rows) {
            for (both, (low, high)) in both.iter_mut().zip(low.iter().zip(*high)) {
                *both = pair(*low, *high);
            }
            pair_add_values_from(sums, std::slice::from_ref(weights), &both[..d], whole);
        }
    }
}

/// Which of 64 numbers, 32 columns of one row and then of another, stand where when columns 0..16, or 16..32, are taken by pairs.
static NEIGHBOURS: [[u16; 2 * WIDTH]; 2] = {
    let mut orders = [[0; 2 * WIDTH]; 2];
    let mut i = 0;
    while i < 2 * WIDTH {
        orders[0][i] = (i / 2 + i % 2 * 2 * WIDTH) as u16;
        orders[1][i] = orders[0][i] + WIDTH as u16;
        i += 1;
    }
    orders
};

/// All heads, 32 columns from `first` on, which `values_of` brings by pairs.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512bf16")]
fn pair_add_strip(
    sums: &mut [f32],
    weights: &[IntLanes],
    first: usize,
    ahead: &mut RowPrefetch<'_, bf16>,
    values_of: impl Fn(usize) -> [__m512i; 2],
) {
    let d = sums.len() / LANES;
    assert!(first + 2 * WIDTH <= d && sums.len() == LANES * d);
    // SAFETY: rows of sums have d columns (asserted).
    unsafe {
        let out = sums.as_mut_ptr().add(first);
        let mut sums: [[__m512; 2]; LANES] = std::array::from_fn(|h| {
            [_mm512_loadu_ps(out.add(h * d)), _mm512_loadu_ps(out.add(h * d + WIDTH))]
        });
        for (i, weights) in weights.iter().enumerate() {
            ahead.fetch(RowPrefetch::<bf16>::lines(2, 2 * WIDTH));
            let [low, high] = values_of(i);
            for (weight, sums) in weights.iter().zip(&mut sums) {
                let weight = as_pairs(_mm512_set1_epi32(*weight));
                sums[0] = _mm512_dpbf16_ps(sums[0], weight, as_pairs(low));
                sums[1] = _mm512_dpbf16_ps(sums[1], weight, as_pairs(high));
            }
        }
        for (h, sums) in sums.into_iter().enumerate() {
            _mm512_storeu_ps(out.add(h * d), sums[0]);
            _mm512_storeu_ps(out.add(h * d + WIDTH), sums[1]);
        }
    }
}
