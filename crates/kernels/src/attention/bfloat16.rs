//! A span over keys and values in bf16; two numbers go to a lane.
//!
//! Entry points: [`kv_bf16`] makes a number of a cache row; [`pack_queries`] once a unit, then [`score_keys`] and [`add_values`] for every
//! span. What meets a key or a value is rounded to bf16 as well, queries and the weights of a span, because then one instruction multiplies
//! two pairs and adds both in f32 (see [`Arithmetic::pair_scores`]), and keys need no widening: half the time of f32.
//!
//! That instruction takes numbers below the smallest normal one as zero, and plain arithmetic does not. They never meet: a query or weight
//! below 2^-40 is zero here, a key or value below 2^-60 is zero in the cache, so every product is a multiple of 2^-114, and so is every sum.
//! The sum l of the softmax is that of the weights before they are rounded.
//!
//! A value that a token does not see is never multiplied, not even by zero: what is not finite stays with those who see it.

use std::ops::Range;

use half::bf16;

use super::arithmetic::halves;
use super::unit::{
    BLOCK, BlockRows, Chains, KEY_BLOCK, Sight, Unit, View, Work, for_each_query, pair_values,
};
use super::{Arithmetic, AttentionParams, HEAD_DIM_MAX, IntLanes, KvSlice, SPAN};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// Keys and values of a smaller magnitude are zero.
const SMALLEST_KV: f32 = f32::from_bits((127 - 60) << 23);
/// Queries and weights of a smaller magnitude are zero.
pub(crate) const SMALLEST: f32 = f32::from_bits((127 - 40) << 23);

/// A number of a cache row: the nearest bf16, ties to even; zero below 2^-60.
#[inline]
pub fn kv_bf16(number: f32) -> bf16 {
    bf16::from_bits((rounded(number, SMALLEST_KV) >> 16) as u16)
}

/// The nearest bf16 in the high half, ties to even; zero below `smallest`. NaN stays NaN, made quiet.
#[inline(always)]
fn rounded(number: f32, smallest: f32) -> u32 {
    let bits = number.to_bits();
    let magnitude = bits & (u32::MAX >> 1);
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let quiet = bits | 0x0040_0000;
    let kept = if magnitude > f32::INFINITY.to_bits() { quiet } else { nearest };
    if magnitude < smallest.to_bits() { 0 } else { kept & 0xffff_0000 }
}

/// Two queries or weights in one element.
#[inline(always)]
pub(super) fn rounded_pair(low: f32, high: f32) -> i32 {
    (rounded(high, SMALLEST) | rounded(low, SMALLEST) >> 16) as i32
}

/// What a unit keeps for a bf16 cache; each element is two numbers.
struct Packed<'a> {
    /// `[chains, fours of numbers, 2, 8]`
    queries: &'a mut [i32],
    /// `[chains, SPAN / 2]`: weights of two positions.
    weights: &'a mut [IntLanes],
    /// `[BLOCK / 2, D]`: values of two positions.
    values: &'a mut [i32],
    /// `[D]`: values of two positions of which one is not seen.
    half_seen: &'a mut [i32],
}

/// Lengths of the parts of [`Packed`], in its order. Units: floats.
fn part_lens(params: &AttentionParams<'_>, chains: Chains) -> [usize; 4] {
    let (d, width) = (params.head_dim, params.pair_width());
    [chains.count * width * LANES, chains.count * SPAN / 2 * LANES, BLOCK / 2 * d, d]
}

/// Room for [`Packed`]. Units: floats.
pub(super) fn work_len(params: &AttentionParams<'_>, chains: Chains) -> usize {
    part_lens(params, chains).iter().sum()
}

#[inline(always)]
fn packed<'a>(params: &AttentionParams<'_>, chains: Chains, work: &'a mut [f32]) -> Packed<'a> {
    let lens = part_lens(params, chains);
    let work: &mut [i32] = bytemuck::cast_slice_mut(work);
    let (queries, work) = work.split_at_mut(lens[0]);
    let (weights, work) = work.split_at_mut(lens[1]);
    let (values, work) = work.split_at_mut(lens[2]);
    Packed { queries, weights: weights.as_chunks_mut().0, values, half_seen: &mut work[..lens[3]] }
}

/// Rounds the queries of a unit and lays them out by fours of numbers; heads that are missing are zero.
#[inline(always)]
pub(super) fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &Unit, work: &mut [f32]) {
    let width = params.pair_width();
    let Packed { queries, .. } = packed(params, Chains::new(unit, params), work);
    queries.fill(0);
    let mut bits = [0; HEAD_DIM_MAX];
    for_each_query(params, view, unit, |chain, lane, q| {
        // First all, which goes by wide instructions.
        for (bits, q) in bits.iter_mut().zip(q) {
            *bits = (rounded(*q, SMALLEST) >> 16) as i16;
        }
        let queries = queries[chain * width * LANES..][..width * LANES].as_chunks_mut::<{ 2 * LANES }>().0;
        for (queries, four) in queries.iter_mut().zip(bits.as_chunks::<4>().0) {
            queries[lane] = halves(four[0], four[1]);
            queries[LANES + lane] = halves(four[2], four[3]);
        }
    });
}

/// The scores of the span, of what each token sees.
#[inline(always)]
pub(super) fn score_keys<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let (chains, width) = (sight.chains, sight.params.pair_width());
    let packed = packed(sight.params, chains, work.rest);
    let mut next: BlockRows<'_, bf16, KEY_BLOCK> = sight.keys(&sight.first_block::<KEY_BLOCK>(), numbers);
    for block in sight.blocks::<KEY_BLOCK>() {
        let rows = next;
        next = sight.after_keys(&block, numbers);
        let mut ahead = sight.ahead(&next);
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            let visible = |token| sight.visible(token, &block);
            let queries_of = |chain: usize| &packed.queries[chain * width * LANES..][..width * LANES];
            let mut token = 0;
            while token < sight.unit.num_tokens {
                let seen = visible(token);
                let keys = &rows[seen.start - block.start..seen.end - block.start];
                let here = sight.local(&seen);
                let first = chains.of(head, token);
                if token + 1 < sight.unit.num_tokens && visible(token + 1) == seen {
                    for (chain, other) in first.zip(chains.of(head, token + 1)) {
                        let (scores, others) = work.scores.split_at_mut(other * SPAN);
                        let scores = [&mut scores[chain * SPAN..][here.clone()], &mut others[here.clone()]];
                        let q = [queries_of(chain), queries_of(other)];
                        A::pair_scores_of_two(scores, q, keys, &columns, sight.params.scale, &mut ahead);
                    }
                    token += 2;
                } else {
                    for chain in first {
                        let scores = &mut work.scores[chain * SPAN..][here.clone()];
                        A::pair_scores(
                            scores,
                            queries_of(chain),
                            keys,
                            &columns,
                            sight.params.scale,
                            &mut ahead,
                        );
                    }
                    token += 1;
                }
            }
        }
    }
}

/// Adds the weighted values of the span to the results, of what each token sees.
#[inline(always)]
pub(super) fn add_values<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let (chains, d) = (sight.chains, sight.params.head_dim);
    let packed = packed(sight.params, chains, work.rest);
    for head in 0..sight.unit.num_heads {
        for token in 0..sight.unit.num_tokens {
            let visible = sight.local(&sight.visible(token, &sight.range));
            for chain in chains.of(head, token) {
                let weights = &mut packed.weights[chain * SPAN / 2..][..SPAN / 2];
                let pairs = visible.start / 2..visible.end.div_ceil(2);
                let scores = &mut work.scores[chain * SPAN..][..SPAN];
                // The neighbours of the first and the last position.
                scores[pairs.start * 2..visible.start].as_flattened_mut().fill(0.0);
                scores[visible.end..pairs.end * 2].as_flattened_mut().fill(0.0);
                A::round_pairs(&mut weights[pairs.clone()], &scores[pairs.start * 2..pairs.end * 2]);
            }
        }
    }
    let mut next: BlockRows<'_, _, BLOCK> = sight.values(&sight.first_block::<BLOCK>(), numbers);
    for block in sight.blocks::<BLOCK>() {
        let rows = next;
        next = sight.values(&sight.block_after::<BLOCK>(&block), numbers);
        let mut ahead = sight.ahead(&next);
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            if sight.unit.num_tokens == 1 && A::adds_rows() {
                add_rows::<A>(sight, (packed.weights, work.results), (&block, &rows), head, &mut ahead);
                continue;
            }
            let to_bits = |number: bf16| number.to_bits() as i16;
            let pairs = pair_values(packed.values, sight, &block, &rows, &columns, to_bits);
            for token in 0..sight.unit.num_tokens {
                let visible = sight.local(&sight.visible(token, &block));
                if visible.is_empty() {
                    continue;
                }
                let whole = visible.start.div_ceil(2)..visible.end / 2;
                let values_of = |pair: usize| &packed.values[(pair - pairs.start) * d..][..d];
                for chain in chains.of(head, token) {
                    let weights = &packed.weights[chain * SPAN / 2..][..SPAN / 2];
                    let sums = &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
                    if !visible.start.is_multiple_of(2) {
                        let pair = visible.start / 2;
                        keep(packed.half_seen, values_of(pair), HIGH_HALF);
                        A::pair_add_values(sums, &weights[pair..][..1], packed.half_seen, &mut ahead);
                    }
                    if !whole.is_empty() {
                        let values = &packed.values[(whole.start - pairs.start) * d..][..whole.len() * d];
                        A::pair_add_values(sums, &weights[whole.clone()], values, &mut ahead);
                    }
                    if !visible.end.is_multiple_of(2) {
                        let pair = visible.end / 2;
                        keep(packed.half_seen, values_of(pair), LOW_HALF);
                        A::pair_add_values(sums, &weights[pair..][..1], packed.half_seen, &mut ahead);
                    }
                }
            }
        }
    }
}

/// Adds the weighted values of a block where only one token sees them, so that laying them out by pairs would not pay.
#[inline(always)]
fn add_rows<A: Arithmetic>(
    sight: &Sight<'_>,
    (weights, results): (&[IntLanes], &mut [f32]),
    (block, rows): (&Range<usize>, &BlockRows<'_, bf16, BLOCK>),
    head: usize,
    ahead: &mut RowPrefetch<'_, bf16>,
) {
    // What is missing of the first or the last pair is zero.
    const ZEROS: &[bf16] = &[bf16::ZERO; HEAD_DIM_MAX];
    let columns = sight.columns(head);
    let first = (block.start - sight.start) / 2;
    let is_split = (block.start - sight.start) % 2;
    let mut pairs = [[ZEROS; 2]; BLOCK / 2];
    for (place, row) in pairs.as_flattened_mut()[is_split..].iter_mut().zip(&rows[..block.len()]) {
        *place = &row[columns.clone()];
    }
    let pairs = &pairs[..(is_split + block.len()).div_ceil(2)];
    for chain in sight.chains.of(head, 0) {
        let weights = &weights[chain * SPAN / 2 + first..][..pairs.len()];
        let sums = &mut results[chain * sight.chains.result()..][..sight.chains.result()][2 * LANES..];
        A::pair_add_rows(sums, weights, pairs, ahead);
    }
}

/// Which bits of a pair are its first number.
const LOW_HALF: i32 = 0xffff;
/// Which bits of a pair are its second number.
const HIGH_HALF: i32 = !LOW_HALF;

/// One number of each pair; the other is zero.
#[inline(always)]
fn keep(kept: &mut [i32], values: &[i32], half: i32) {
    for (kept, value) in kept.iter_mut().zip(values) {
        *kept = value & half;
    }
}

/// The numbers of a bf16 slice.
fn numbers(slice: KvSlice<'_>) -> &[bf16] {
    let KvSlice::Bf16(numbers) = slice else { panic!("attention: runs are of one type") };
    numbers
}
