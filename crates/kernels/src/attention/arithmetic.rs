//! The inner loops of attention: what a tier has to bring, and their plain form.
//!
//! Entry points: the trait [`Arithmetic`] and [`Plain`], its reference. Eight query heads that share a kv head stand
//! in lanes; a number of theirs is a [`Lanes`]. Every loop adds in one order, fixed here:
//!
//! * a score is a dot product in two chains of fused multiply-add, ascending, one for the even elements and one for
//!   the odd, then even + odd, then times the scale; a row of keys is padded with a zero to an even length;
//! * values are added by ascending position with fused multiply-add, one chain an output;
//! * of bf16 numbers, two are an element: the product of the second is added first and then that of the first, each fused, as `vdpbf16ps`
//!   is documented to do; for scores they are neighbours in D, for values neighbours in position;
//! * int8 products are sums of integers, exact in any order.
//!
//! Queries are laid out for it, `[pairs, 8 heads, 2]`: the even and the odd element of a pair side by side, so that a
//! register of them meets a pair of a key that is broadcast as one 64-bit number. For int8 and bf16 an "element" is itself a
//! pair of 16-bit numbers in one `i32`, and for bf16 the layout is `[pairs, 2, 8 heads]`, because numbers of 32 bits are broadcast
//! at no cost by the instruction that multiplies them.
//!
//! This module does not know positions, windows or softmax.

use std::ops::Range;

use half::bf16;

use super::bfloat16::rounded_pair;
use super::int8::rounded;
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// One number of each of eight query heads.
pub(crate) type Lanes = [f32; LANES];
/// The same for integers.
pub(crate) type IntLanes = [i32; LANES];

/// The inner loops, one form a tier.
pub(crate) trait Arithmetic {
    /// `scores[i][h] = dot(q[h], keys[i]) * scale`.
    ///
    /// Shapes: `scores [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`.
    fn scores(scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32);

    /// `sums[h][d] += weights[i][h] * rows[i][column + d]`, i ascending.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `rows` n rows.
    fn add_values(sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize);

    /// `scores[i][h] = dot(q[h], rows[i][columns]) * scale`, of bf16 numbers in pairs. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `scores [n]`, `q [fours, 2, 8]`, each element two numbers and zero beyond D, `rows` n rows, D `columns`.
    fn pair_scores(
        scores: &mut [Lanes],
        q: &[i32],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    );

    /// [`Arithmetic::pair_scores`] of two queries that see the same keys.
    fn pair_scores_of_two(
        scores: [&mut [Lanes]; 2],
        q: [&[i32]; 2],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        for (scores, q) in scores.into_iter().zip(q) {
            Self::pair_scores(scores, q, rows, columns, scale, ahead);
        }
    }

    /// Rounds weights to bf16, those below 2^-40 to zero, and packs them by pairs.
    ///
    /// Shapes: `weights [n]`, `scores [2 n]`.
    fn round_pairs(weights: &mut [IntLanes], scores: &[Lanes]) {
        for (weights, [low, high]) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
            for ((weight, low), high) in weights.iter_mut().zip(low).zip(high) {
                *weight = rounded_pair(*low, *high);
            }
        }
    }

    /// `sums[h][d] += weights[i][h] * values[i][d]` of bf16 numbers, where each element is two of them whose products are
    /// both added. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `values [n, D]`.
    fn pair_add_values(
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    );

    /// Whether [`Arithmetic::pair_add_rows`] is there and worth it.
    fn adds_rows() -> bool {
        false
    }

    /// [`Arithmetic::pair_add_values`] of rows as they lie in the cache, two by two.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `rows` n pairs of rows `[D]`.
    fn pair_add_rows(_: &mut [f32], _: &[IntLanes], _: &[[&[bf16]; 2]], _: &mut RowPrefetch<'_, bf16>) {
        unreachable!("attention: asked for only where adds_rows says so");
    }

    /// `dots[i][h] = dot(q[h], keys[i])`, of 16-bit integers. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `dots [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`, each element two integers.
    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>);

    /// Makes weights 16-bit integers, `scores[i][h] * inverse[h]` rounded to the nearest, ties to even, 0 for NaN, and packs them by pairs.
    ///
    /// Shapes: `weights [n]`, `scores [2 n]` of products of at most 32,767.
    fn round_int_pairs(weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
        for (weights, [low, high]) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
            for (h, weight) in weights.iter_mut().enumerate() {
                let [low, high] = [low[h], high[h]].map(|score| rounded(score * inverse[h]));
                *weight = halves(low as i16, high as i16);
            }
        }
    }

    /// `sums[h][d] += weights[i][h] * values[i][d]`, where each element is two 16-bit integers whose products are
    /// both added. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `values [n, D]`.
    fn int_add_values(
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    );
}

/// Plain Rust.
pub(crate) struct Plain;

impl Arithmetic for Plain {
    fn scores(scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        for (scores, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
            let mut chains = [0.0_f32; 2 * LANES];
            for (q, pair) in q.as_chunks::<{ 2 * LANES }>().0.iter().zip(key.as_chunks::<2>().0) {
                for (lane, chain) in chains.iter_mut().enumerate() {
                    *chain = q[lane].mul_add(pair[lane % 2], *chain);
                }
            }
            for (score, chain) in scores.iter_mut().zip(chains.as_chunks::<2>().0) {
                *score = (chain[0] + chain[1]) * scale;
            }
        }
    }

    fn add_values(sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        add_values_from(sums, weights, rows, column, 0);
    }

    fn pair_scores(
        scores: &mut [Lanes],
        q: &[i32],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        _: &mut RowPrefetch<'_, bf16>,
    ) {
        plain_pair_scores(scores, q, rows, columns, scale);
    }

    fn pair_add_values(
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        _: &mut RowPrefetch<'_, bf16>,
    ) {
        pair_add_values_from(sums, weights, values, 0);
    }

    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32], _: &mut RowPrefetch<'_, i8>) {
        let width = q.len() / LANES;
        for (dots, key) in dots.iter_mut().zip(keys.chunks_exact(width)) {
            *dots = [0; LANES];
            for (q, pair) in q.as_chunks::<{ 2 * LANES }>().0.iter().zip(key.as_chunks::<2>().0) {
                for (dot, q) in dots.iter_mut().zip(q.as_chunks::<2>().0) {
                    *dot += product_of_halves(q[0], pair[0]) + product_of_halves(q[1], pair[1]);
                }
            }
        }
    }

    fn int_add_values(sums: &mut [i32], weights: &[IntLanes], values: &[i32], _: &mut RowPrefetch<'_, i8>) {
        int_add_values_from(sums, weights, values, 0);
    }
}

/// [`Arithmetic::add_values`] for the columns from `first` on.
#[inline(always)]
pub(crate) fn add_values_from(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[f32]],
    column: usize,
    first: usize,
) {
    let d = sums.len() / LANES;
    for (weights, row) in weights.iter().zip(rows) {
        let values = &row[column..][..d];
        for (sums, weight) in sums.chunks_exact_mut(d).zip(weights) {
            for (sum, value) in sums[first..].iter_mut().zip(&values[first..]) {
                *sum = weight.mul_add(*value, *sum);
            }
        }
    }
}

/// [`Arithmetic::pair_scores`] for any D.
#[inline(always)]
pub(crate) fn plain_pair_scores(
    scores: &mut [Lanes],
    q: &[i32],
    rows: &[&[bf16]],
    columns: &Range<usize>,
    scale: f32,
) {
    for (scores, row) in scores.iter_mut().zip(rows) {
        let key = &row[columns.clone()];
        let mut chains = [0.0_f32; 2 * LANES];
        for (q, four) in q.as_chunks::<{ 2 * LANES }>().0.iter().zip(key.chunks(4)) {
            let number = |i: usize| four.get(i).copied().unwrap_or(bf16::ZERO);
            let pairs = [pair(number(0), number(1)), pair(number(2), number(3))];
            for (lane, chain) in chains.iter_mut().enumerate() {
                *chain = add_pair(q[lane], pairs[lane / LANES], *chain);
            }
        }
        let (even, odd) = chains.split_at(LANES);
        for (score, (even, odd)) in scores.iter_mut().zip(even.iter().zip(odd)) {
            *score = (even + odd) * scale;
        }
    }
}

/// [`Arithmetic::pair_add_values`] for the columns from `first` on.
#[inline(always)]
pub(crate) fn pair_add_values_from(sums: &mut [f32], weights: &[IntLanes], values: &[i32], first: usize) {
    let d = sums.len() / LANES;
    for (weights, values) in weights.iter().zip(values.chunks_exact(d)) {
        for (sums, weight) in sums.chunks_exact_mut(d).zip(weights) {
            for (sum, value) in sums[first..].iter_mut().zip(&values[first..]) {
                *sum = add_pair(*weight, *value, *sum);
            }
        }
    }
}

/// Two bf16 numbers in one element, `low` in the low half.
#[inline(always)]
pub(crate) fn pair(low: bf16, high: bf16) -> i32 {
    halves(low.to_bits() as i16, high.to_bits() as i16)
}

/// The sum and both products, the high one first, each fused.
#[inline(always)]
fn add_pair(x: i32, y: i32, sum: f32) -> f32 {
    let [x, y] =
        [x, y].map(|two| [f32::from_bits((two as u32) << 16), f32::from_bits(two as u32 & 0xffff_0000)]);
    x[0].mul_add(y[0], x[1].mul_add(y[1], sum))
}

/// [`Arithmetic::int_add_values`] for the columns from `first` on.
#[inline(always)]
pub(crate) fn int_add_values_from(sums: &mut [i32], weights: &[IntLanes], values: &[i32], first: usize) {
    let d = sums.len() / LANES;
    for (weights, values) in weights.iter().zip(values.chunks_exact(d)) {
        for (sums, weight) in sums.chunks_exact_mut(d).zip(weights) {
            for (sum, value) in sums[first..].iter_mut().zip(&values[first..]) {
                *sum += product_of_halves(*weight, *value);
            }
        }
    }
}

/// Two 16-bit integers in one element, `low` in the low half.
#[inline(always)]
pub(crate) fn halves(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}

/// The sum of the products of the low halves and of the high halves.
#[inline(always)]
fn product_of_halves(x: i32, y: i32) -> i32 {
    i32::from(x as i16) * i32::from(y as i16) + (x >> 16) * (y >> 16)
}
