//! AVX-512 forms of the loops over bf16, with `vdpbf16ps`: two products of pairs and both additions in one
//! instruction. The other loops are those of `avx512.rs`.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use crate::attention::inputs::HEAD_DIM_MAX;
use crate::attention::loops::AttentionLoops;
use crate::attention::loops::avx512::{PAIR_KEYS, WIDTH, halves_side_by_side};
use crate::attention::loops::scalar::{pair_add_values_from, plain_pair_scores};
use crate::attention::pairs::{SMALLEST_IN_BF16, pair};
use crate::attention::shape::{IntLanes, Lanes};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;
use crate::tier::Avx512Bf16;

impl AttentionLoops for Avx512Bf16 {
    #[inline(always)]
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        self.avx512().scores(scores, q, keys, scale);
    }

    #[inline(always)]
    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        self.avx512().add_values(sums, weights, rows, column);
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
        match columns.len().is_multiple_of(4) {
            // SAFETY: the token is the proof of the features.
            true => unsafe { pair_scores(scores, q, rows, columns, scale, ahead) },
            false => plain_pair_scores(scores, q, rows, columns, scale),
        }
    }

    #[inline(always)]
    fn pair_scores_of_two(
        self,
        scores: [&mut [Lanes]; 2],
        q: [&[i32]; 2],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        let [scores, others] = scores;
        let tiled = match columns.len().is_multiple_of(4) {
            true => rows.len() / PAIR_KEYS * PAIR_KEYS,
            false => 0,
        };
        let (tiles, rest_rows) = rows.split_at(tiled);
        let (tile_scores, scores) = scores.split_at_mut(tiled);
        let (tile_others, others) = others.split_at_mut(tiled);
        let both = tile_scores.as_chunks_mut().0.iter_mut().zip(tile_others.as_chunks_mut().0);
        for ((scores, others), rows) in both.zip(tiles.as_chunks().0) {
            ahead.fetch(RowPrefetch::<bf16>::lines(PAIR_KEYS, columns.len()));
            // SAFETY: the token is the proof of the features.
            unsafe { pair_score_tile_of_two([scores, others], q, rows, columns, scale) };
        }
        if !rest_rows.is_empty() {
            self.pair_scores(scores, q[0], rest_rows, columns, scale, ahead);
            self.pair_scores(others, q[1], rest_rows, columns, scale, ahead);
        }
    }

    #[inline(always)]
    fn round_pairs(self, weights: &mut [IntLanes], scores: &[Lanes]) {
        // SAFETY: the token is the proof of the features.
        unsafe { round_pairs(weights, scores) }
    }

    #[inline(always)]
    fn pair_add_values(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        // SAFETY: the token is the proof of the features.
        unsafe { pair_add_values(sums, weights, values, ahead) }
    }

    #[inline(always)]
    fn adds_rows(self) -> bool {
        true
    }

    #[inline(always)]
    fn pair_add_rows(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        rows: &[[&[bf16]; 2]],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        // SAFETY: the token is the proof of the features.
        unsafe { pair_add_rows(sums, weights, rows, ahead) }
    }

    #[inline(always)]
    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>) {
        self.avx512().int_scores(dots, q, keys, ahead);
    }

    #[inline(always)]
    fn round_int_pairs(self, weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
        self.avx512().round_int_pairs(weights, scores, inverse);
    }

    #[inline(always)]
    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    ) {
        self.avx512().int_add_values(sums, weights, values, ahead);
    }
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
        [_mm512_loadu_si512(NEIGHBORS[0].as_ptr().cast()), _mm512_loadu_si512(NEIGHBORS[1].as_ptr().cast())]
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

/// Which of 64 numbers, 32 columns of one row and then of another, stand where when columns 0..16, or 16..32,
/// are taken by pairs.
static NEIGHBORS: [[u16; 2 * WIDTH]; 2] = {
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
