//! NEON forms of the inner loops of attention.
//!
//! Scores: some keys at a time, four registers of eight heads by even and odd elements each. Values: the
//! outputs of four heads by some columns stay in registers over a block. Pairs of bf16 are taken apart in
//! registers; integers are multiplied and added by four of 16 bits, which is what two elements of a head are.

use std::arch::aarch64::*;
use std::ops::Range;

use gptoss_formats::widen_bf16;
use half::bf16;

use crate::attention::loops::AttentionLoops;
use crate::attention::loops::scalar::{
    add_values_from, int_add_values_from, pair_add_values_from, plain_pair_scores,
};
use crate::attention::shape::{IntLanes, Lanes};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;
use crate::simd::neon::{Eight, add_product, fold_eight, load, splat, store};
use crate::tier::Neon;

/// Keys whose scores are taken together: sixteen registers of sums.
const KEYS: usize = 4;
/// Keys whose integer products are taken together: sixteen registers of sums.
const INT_KEYS: usize = 2;
/// Columns of values whose sums are kept together.
const COLUMNS: usize = 2 * LANES;
/// Heads whose sums are kept together.
const HEADS: usize = 4;

impl AttentionLoops for Neon {
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        let (tiles, rest) = scores.as_chunks_mut::<KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * KEYS * width);
        for (scores, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(KEYS * width)) {
            // SAFETY: NEON is part of the architecture.
            unsafe { score_tile(scores, q, keys, scale) };
        }
        for (scores, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: NEON is part of the architecture.
            unsafe { score_tile(std::array::from_mut(scores), q, keys, scale) };
        }
    }

    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        let d = sums.len() / LANES;
        let whole = d / COLUMNS * COLUMNS;
        for first in (0..whole).step_by(COLUMNS) {
            for heads in [0, HEADS] {
                // SAFETY: as above.
                unsafe { add_strip(sums, weights, rows, (column, heads, first)) };
            }
        }
        if whole < d {
            add_values_from(sums, weights, rows, column, whole);
        }
    }

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
            // SAFETY: NEON is part of the architecture.
            unsafe { pair_score_tile(scores, q, rows.map(|row| &row[columns.clone()]), scale) };
        }
        for (scores, row) in rest.iter_mut().zip(rest_rows) {
            // SAFETY: NEON is part of the architecture.
            unsafe { pair_score_tile(std::array::from_mut(scores), q, [&row[columns.clone()]], scale) };
        }
    }

    fn pair_add_values(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        let d = sums.len() / LANES;
        ahead.fetch(RowPrefetch::<bf16>::lines(2 * weights.len(), d));
        let whole = d / COLUMNS * COLUMNS;
        for first in (0..whole).step_by(COLUMNS) {
            for heads in [0, HEADS] {
                // SAFETY: as above.
                unsafe { pair_add_strip(sums, weights, values, heads, first) };
            }
        }
        if whole < d {
            pair_add_values_from(sums, weights, values, whole);
        }
    }

    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>) {
        let width = q.len() / LANES;
        ahead.fetch(RowPrefetch::<i8>::lines(dots.len(), width * 2));
        let (tiles, rest) = dots.as_chunks_mut::<INT_KEYS>();
        let (tile_keys, rest_keys) = keys.split_at(tiles.len() * INT_KEYS * width);
        for (dots, keys) in tiles.iter_mut().zip(tile_keys.chunks_exact(INT_KEYS * width)) {
            // SAFETY: NEON is part of the architecture.
            unsafe { int_score_tile(dots, q, keys) };
        }
        for (dots, keys) in rest.iter_mut().zip(rest_keys.chunks_exact(width)) {
            // SAFETY: NEON is part of the architecture.
            unsafe { int_score_tile(std::array::from_mut(dots), q, keys) };
        }
    }

    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    ) {
        let d = sums.len() / LANES;
        ahead.fetch(RowPrefetch::<i8>::lines(2 * weights.len(), d));
        let whole = d / LANES * LANES;
        for first in (0..whole).step_by(LANES) {
            // SAFETY: NEON is part of the architecture.
            unsafe { int_add_strip(sums, weights, values, first) };
        }
        if whole < d {
            int_add_values_from(sums, weights, values, whole);
        }
    }
}

/// The first sixteen floats.
#[inline]
#[target_feature(enable = "neon")]
fn sixteen(from: &[f32]) -> [Eight; 2] {
    let eights = from[..COLUMNS].as_chunks::<LANES>().0;
    [load(&eights[0]), load(&eights[1])]
}

/// Writes the first sixteen floats.
#[inline]
#[target_feature(enable = "neon")]
fn put_sixteen(to: &mut [f32], values: [Eight; 2]) {
    to.as_chunks_mut::<LANES>().0.iter_mut().zip(values).for_each(|(to, value)| store(to, value));
}

/// Reads eight integers.
#[inline]
#[target_feature(enable = "neon")]
fn load_integers(from: &IntLanes) -> [int32x4_t; 2] {
    // SAFETY: eight integers.
    unsafe { [vld1q_s32(from.as_ptr()), vld1q_s32(from.as_ptr().add(4))] }
}

#[inline]
#[target_feature(enable = "neon")]
fn score_tile<const N: usize>(scores: &mut [Lanes; N], q: &[f32], keys: &[f32], scale: f32) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    // Heads 0 1, 2 3, 4 5 and 6 7, the even chain and the odd one of each.
    let mut sums = [[splat(0.0); 2]; N];
    for (pair, q) in q.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
        let q = sixteen(q);
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: keys are [N, width], and the pair is of the width (asserted); q has width / 2 pairs.
            let key = unsafe { vld1_f32(keys.as_ptr().add(r * width + 2 * pair)) };
            let key = [vcombine_f32(key, key); 2];
            *sums = [0, 1].map(|i| add_product(sums[i], q[i], key));
        }
    }
    for (scores, sums) in scores.iter_mut().zip(sums) {
        let score = sums
            .map(|[low, high]| vmulq_n_f32(vaddq_f32(vuzp1q_f32(low, high), vuzp2q_f32(low, high)), scale));
        store(scores, score);
    }
}

/// Columns `first..first + 16` of heads `heads..heads + 4`.
#[inline]
#[target_feature(enable = "neon")]
fn add_strip(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[f32]],
    (column, heads, first): (usize, usize, usize),
) {
    let d = sums.len() / LANES;
    let places: [usize; HEADS] = std::array::from_fn(|h| (heads + h) * d + first);
    let mut kept = places.map(|place| sixteen(&sums[place..]));
    for (weights, row) in weights.iter().zip(rows) {
        let values = sixteen(&row[column + first..]);
        for (kept, weight) in kept.iter_mut().zip(&weights[heads..]) {
            *kept = [0, 1].map(|i| add_product(kept[i], splat(*weight), values[i]));
        }
    }
    for (place, kept) in places.into_iter().zip(kept) {
        put_sixteen(&mut sums[place..], kept);
    }
}

/// Columns `first..first + 16` of heads `heads..heads + 4`.
#[inline]
#[target_feature(enable = "neon")]
fn pair_add_strip(sums: &mut [f32], weights: &[IntLanes], values: &[i32], heads: usize, first: usize) {
    let d = sums.len() / LANES;
    let places: [usize; HEADS] = std::array::from_fn(|h| (heads + h) * d + first);
    let mut kept = places.map(|place| sixteen(&sums[place..]));
    for (weights, values) in weights.iter().zip(values.chunks_exact(d)) {
        let values = values[first..].as_chunks::<LANES>().0;
        let values = [0, 1].map(|i| widen_pairs(load_integers(&values[i])));
        for (kept, weight) in kept.iter_mut().zip(&weights[heads..]) {
            let weight = widen_pairs([vdupq_n_s32(*weight); 2]);
            *kept = [0, 1].map(|i| add_pairs(weight, values[i], kept[i]));
        }
    }
    for (place, kept) in places.into_iter().zip(kept) {
        put_sixteen(&mut sums[place..], kept);
    }
}

/// The low and the high numbers of pairs of bf16.
#[inline]
#[target_feature(enable = "neon")]
fn widen_pairs(pairs: [int32x4_t; 2]) -> [Eight; 2] {
    let high = vdupq_n_s32(0xffff_0000_u32 as i32);
    [
        pairs.map(|pairs| vreinterpretq_f32_s32(vshlq_n_s32::<16>(pairs))),
        pairs.map(|pairs| vreinterpretq_f32_s32(vandq_s32(pairs, high))),
    ]
}

/// Adds the products of both numbers of pairs, the high ones first.
#[inline]
#[target_feature(enable = "neon")]
fn add_pairs(x: [Eight; 2], y: [Eight; 2], sum: Eight) -> Eight {
    add_product(add_product(sum, x[1], y[1]), x[0], y[0])
}

#[inline]
#[target_feature(enable = "neon")]
fn pair_score_tile<const N: usize>(scores: &mut [Lanes; N], q: &[i32], keys: [&[bf16]; N], scale: f32) {
    let keys = keys.map(|key| key.as_chunks::<4>().0);
    let q = q.as_chunks::<{ 2 * LANES }>().0;
    assert!(keys.iter().all(|key| key.len() == q.len()), "attention: q is [fours, 2, 8]");
    let mut sums = [[splat(0.0); 2]; N];
    for (four, q) in q.iter().enumerate() {
        let q = q.as_chunks::<LANES>().0;
        let q = [0, 1].map(|half| widen_pairs(load_integers(&q[half])));
        for (sums, key) in sums.iter_mut().zip(keys) {
            let [a, b, c, d] = key[four].map(|number| splat(widen_bf16(number)));
            *sums = [add_pairs(q[0], [a, b], sums[0]), add_pairs(q[1], [c, d], sums[1])];
        }
    }
    for (scores, [even, odd]) in scores.iter_mut().zip(sums) {
        store(scores, [0, 1].map(|i| vmulq_n_f32(vaddq_f32(even[i], odd[i]), scale)));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn int_score_tile<const N: usize>(dots: &mut [IntLanes; N], q: &[i32], keys: &[i32]) {
    let width = q.len() / LANES;
    assert!(keys.len() == N * width && width.is_multiple_of(2));
    let mut sums = [[vdupq_n_s32(0); LANES]; N];
    for (pair, q) in q.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: keys are [N, width], and the pair is of the width (asserted); q has width / 2 pairs.
            let key = unsafe { vreinterpret_s16_s32(vld1_s32(keys.as_ptr().add(r * width + 2 * pair))) };
            for (sum, q) in sums.iter_mut().zip(q.as_chunks::<2>().0) {
                // SAFETY: two elements.
                let q = unsafe { vreinterpret_s16_s32(vld1_s32(q.as_ptr())) };
                *sum = vmlal_s16(*sum, q, key);
            }
        }
    }
    for (dots, sums) in dots.iter_mut().zip(sums) {
        let [low, high] = fold_eight(sums);
        // SAFETY: eight integers.
        unsafe {
            vst1q_s32(dots.as_mut_ptr(), low);
            vst1q_s32(dots.as_mut_ptr().add(4), high);
        }
    }
}

/// Columns `first..first + 8` of all heads.
#[inline]
#[target_feature(enable = "neon")]
fn int_add_strip(sums: &mut [i32], weights: &[IntLanes], values: &[i32], first: usize) {
    let d = sums.len() / LANES;
    let columns = |sums: &[i32], h: usize| sums[h * d + first..][..LANES].as_chunks::<LANES>().0[0];
    let mut kept: [[int32x4_t; 2]; LANES] = std::array::from_fn(|h| load_integers(&columns(sums, h)));
    for (weights, values) in weights.iter().zip(values.chunks_exact(d)) {
        let values = &values[first..][..LANES];
        // SAFETY: eight elements of two numbers.
        let int16x8x2_t(low, high) = unsafe { vld2q_s16(values.as_ptr().cast()) };
        for (kept, weight) in kept.iter_mut().zip(weights) {
            let (w_low, w_high) = (*weight as i16, (*weight >> 16) as i16);
            let [first, second] = *kept;
            let first = vmlal_n_s16(first, vget_low_s16(low), w_low);
            let second = vmlal_high_n_s16(second, low, w_low);
            *kept = [vmlal_n_s16(first, vget_low_s16(high), w_high), vmlal_high_n_s16(second, high, w_high)];
        }
    }
    for (h, [low, high]) in kept.into_iter().enumerate() {
        let out = &mut sums[h * d + first..][..LANES];
        // SAFETY: eight integers.
        unsafe {
            vst1q_s32(out.as_mut_ptr(), low);
            vst1q_s32(out.as_mut_ptr().add(4), high);
        }
    }
}
