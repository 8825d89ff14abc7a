//! The plain form of the inner loops, and their form for the columns that wider registers leave over.

use std::ops::Range;

use half::bf16;

use crate::attention::loops::AttentionLoops;
use crate::attention::pairs::{add_pair, pair, product_of_halves};
use crate::attention::shape::{IntLanes, Lanes};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// Plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct ScalarLoops;

impl AttentionLoops for ScalarLoops {
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
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

    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize) {
        add_values_from(sums, weights, rows, column, 0);
    }

    fn pair_scores(
        self,
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
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        _: &mut RowPrefetch<'_, bf16>,
    ) {
        pair_add_values_from(sums, weights, values, 0);
    }

    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], _: &mut RowPrefetch<'_, i8>) {
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

    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        _: &mut RowPrefetch<'_, i8>,
    ) {
        int_add_values_from(sums, weights, values, 0);
    }
}

/// [`AttentionLoops::add_values`] for the columns from `first` on.
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

/// [`AttentionLoops::pair_scores`] for any D.
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

/// [`AttentionLoops::pair_add_values`] for the columns from `first` on.
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

/// [`AttentionLoops::int_add_values`] for the columns from `first` on.
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
