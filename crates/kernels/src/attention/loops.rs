//! The inner loops of attention: what a tier has to bring.
//!
//! Entry point: the trait [`AttentionLoops`]. Each of its implementations is a token of `tier.rs`, which is
//! made only where the processor has the instructions; [`scalar::ScalarLoops`] is the reference. Eight query
//! heads that share a kv head stand in lanes; a number of theirs is a [`Lanes`]. Every loop adds in one
//! order, fixed here:
//!
//! * a score is a dot product in two chains of fused multiply-add, ascending, one for the even elements and
//!   one for the odd, then even + odd, then times the scale; a row of keys is padded with a zero to an even
//!   length;
//! * values are added by ascending position with fused multiply-add, one chain an output;
//! * of bf16 numbers, two are an element: the product of the second is added first and then that of the
//!   first, each fused, as `vdpbf16ps` is documented to do; for scores they are neighbors in D, for values
//!   neighbors in position;
//! * int8 products are sums of integers, exact in any order.
//!
//! Queries are laid out for it, `[pairs, 8 heads, 2]`: the even and the odd element of a pair side by side,
//! so that a register of them meets a pair of a key that is broadcast as one 64-bit number. For int8 and bf16
//! an "element" is itself a pair of 16-bit numbers in one `i32`, and for bf16 the layout is `[pairs, 2, 8
//! heads]`, because numbers of 32 bits are broadcast at no cost by the instruction that multiplies them.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512_bf16;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;

use std::ops::Range;

use half::bf16;

use super::pairs::{pack_i16, round_i32, rounded_pair};
use super::shape::{IntLanes, Lanes};
use crate::prefetch::RowPrefetch;

/// The inner loops, one form a tier.
pub(crate) trait AttentionLoops: Copy {
    /// `scores[i][h] = dot(q[h], keys[i]) * scale`.
    ///
    /// Shapes: `scores [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`.
    fn scores(self, scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32);

    /// `sums[h][d] += weights[i][h] * rows[i][column + d]`, i ascending.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `rows` n rows.
    fn add_values(self, sums: &mut [f32], weights: &[Lanes], rows: &[&[f32]], column: usize);

    /// `scores[i][h] = dot(q[h], rows[i][columns]) * scale`, of bf16 numbers in pairs. As much is asked for
    /// of what lies `ahead`.
    ///
    /// Shapes: `scores [n]`, `q [fours, 2, 8]`, each element two numbers and zero beyond D, `rows` n rows, D
    /// `columns`.
    fn pair_scores(
        self,
        scores: &mut [Lanes],
        q: &[i32],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    );

    /// [`AttentionLoops::pair_scores`] of two queries that see the same keys.
    fn pair_scores_of_two(
        self,
        scores: [&mut [Lanes]; 2],
        q: [&[i32]; 2],
        rows: &[&[bf16]],
        columns: &Range<usize>,
        scale: f32,
        ahead: &mut RowPrefetch<'_, bf16>,
    ) {
        for (scores, q) in scores.into_iter().zip(q) {
            self.pair_scores(scores, q, rows, columns, scale, ahead);
        }
    }

    /// Rounds weights to bf16, those below 2^-40 to zero, and packs them by pairs.
    ///
    /// Shapes: `weights [n]`, `scores [2 n]`.
    fn round_pairs(self, weights: &mut [IntLanes], scores: &[Lanes]) {
        for (weights, [low, high]) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
            for ((weight, low), high) in weights.iter_mut().zip(low).zip(high) {
                *weight = rounded_pair(*low, *high);
            }
        }
    }

    /// `sums[h][d] += weights[i][h] * values[i][d]` of bf16 numbers, where each element is two of them whose
    /// products are both added. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `values [n, D]`.
    fn pair_add_values(
        self,
        sums: &mut [f32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, bf16>,
    );

    /// Whether [`AttentionLoops::pair_add_rows`] is there and worth it.
    fn adds_rows(self) -> bool {
        false
    }

    /// [`AttentionLoops::pair_add_values`] of rows as they lie in the cache, two by two.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `rows` n pairs of rows `[D]`.
    fn pair_add_rows(self, _: &mut [f32], _: &[IntLanes], _: &[[&[bf16]; 2]], _: &mut RowPrefetch<'_, bf16>) {
        unreachable!("attention: asked for only where adds_rows says so");
    }

    /// `dots[i][h] = dot(q[h], keys[i])`, of 16-bit integers. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `dots [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`, each element two integers.
    fn int_scores(self, dots: &mut [IntLanes], q: &[i32], keys: &[i32], ahead: &mut RowPrefetch<'_, i8>);

    /// Makes weights 16-bit integers, `scores[i][h] * inverse[h]` rounded to the nearest, ties to even, 0 for
    /// NaN, and packs them by pairs.
    ///
    /// Shapes: `weights [n]`, `scores [2 n]` of products of at most 32,767.
    fn round_int_pairs(self, weights: &mut [IntLanes], scores: &[Lanes], inverse: &Lanes) {
        for (weights, [low, high]) in weights.iter_mut().zip(scores.as_chunks::<2>().0) {
            for (h, weight) in weights.iter_mut().enumerate() {
                let [low, high] = [low[h], high[h]].map(|score| round_i32(score * inverse[h]));
                *weight = pack_i16(low as i16, high as i16);
            }
        }
    }

    /// `sums[h][d] += weights[i][h] * values[i][d]`, where each element is two 16-bit integers whose products
    /// are both added. As much is asked for of what lies `ahead`.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `values [n, D]`.
    fn int_add_values(
        self,
        sums: &mut [i32],
        weights: &[IntLanes],
        values: &[i32],
        ahead: &mut RowPrefetch<'_, i8>,
    );
}
