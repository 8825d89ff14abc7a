//! Keys and values in bf16; two numbers go to a lane.
//!
//! What meets a key or a value is rounded to bf16 as well, queries and the weights of a span, because then
//! one instruction multiplies two pairs and adds both in f32 (see [`AttentionLoops::pair_scores`]), and keys
//! need no widening: half the time of f32.
//!
//! That instruction takes numbers below the smallest normal one as zero, and plain arithmetic does not. They
//! never meet: a query or weight below 2^-40 is zero here, a key or value below 2^-60 is zero in the cache,
//! so every product is a multiple of 2^-114, and so is every sum. The sum l of the softmax is that of the
//! weights before they are rounded.
//!
//! A value that a token does not see is never multiplied, not even by zero: what is not finite stays with
//! those who see it.

use std::ops::Range;

use half::bf16;

use super::{CacheFormat, UnitScratch};
use crate::attention::inputs::{AttentionParams, HEAD_DIM_MAX, KvSlice};
use crate::attention::loops::AttentionLoops;
use crate::attention::pairs::{SMALLEST_IN_BF16, pack_i16, round_bf16};
use crate::attention::shape::{
    BLOCK, BlockRows, IntLanes, KEY_BLOCK, SPAN, SpanView, UnitShape, View, WorkUnit, for_each_query,
    pair_values,
};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

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
fn part_lens(params: &AttentionParams<'_>, chains: UnitShape) -> [usize; 4] {
    let (d, width) = (params.head_dim, params.pair_width());
    [chains.count * width * LANES, chains.count * SPAN / 2 * LANES, BLOCK / 2 * d, d]
}

#[inline(always)]
fn packed<'a>(params: &AttentionParams<'_>, chains: UnitShape, work: &'a mut [f32]) -> Packed<'a> {
    let lens = part_lens(params, chains);
    let work: &mut [i32] = bytemuck::cast_slice_mut(work);
    let (queries, work) = work.split_at_mut(lens[0]);
    let (weights, work) = work.split_at_mut(lens[1]);
    let (values, work) = work.split_at_mut(lens[2]);
    Packed { queries, weights: weights.as_chunks_mut().0, values, half_seen: &mut work[..lens[3]] }
}

/// Adds the weighted values of a block where only one token sees them, so that laying them out by pairs would
/// not pay.
#[inline(always)]
fn add_rows<A: AttentionLoops>(
    loops: A,
    span: &SpanView<'_>,
    (weights, results): (&[IntLanes], &mut [f32]),
    (block, rows): (&Range<usize>, &BlockRows<'_, bf16, BLOCK>),
    head: usize,
    ahead: &mut RowPrefetch<'_, bf16>,
) {
    // What is missing of the first or the last pair is zero.
    const ZEROS: &[bf16] = &[bf16::ZERO; HEAD_DIM_MAX];
    let columns = span.columns(head);
    let first = (block.start - span.start) / 2;
    let is_split = (block.start - span.start) % 2;
    let mut pairs = [[ZEROS; 2]; BLOCK / 2];
    for (place, row) in pairs.as_flattened_mut()[is_split..].iter_mut().zip(&rows[..block.len()]) {
        *place = &row[columns.clone()];
    }
    let pairs = &pairs[..(is_split + block.len()).div_ceil(2)];
    for chain in span.chains.of(head, 0) {
        let weights = &weights[chain * SPAN / 2 + first..][..pairs.len()];
        let sums = &mut results[chain * span.chains.result()..][..span.chains.result()][2 * LANES..];
        loops.pair_add_rows(sums, weights, pairs, ahead);
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

/// Keys and values in bf16.
pub(crate) struct Bf16Cache;

impl CacheFormat for Bf16Cache {
    fn work_len(params: &AttentionParams<'_>, chains: UnitShape) -> usize {
        part_lens(params, chains).iter().sum()
    }

    /// Rounds the queries of a unit and lays them out by fours of numbers; heads that are missing are zero.
    #[inline(always)]
    fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &WorkUnit, work: &mut [f32]) {
        let width = params.pair_width();
        let Packed { queries, .. } = packed(params, UnitShape::new(unit, params), work);
        queries.fill(0);
        let mut bits = [0; HEAD_DIM_MAX];
        for_each_query(params, view, unit, |chain, lane, q| {
            // First all, which goes by wide instructions.
            for (bits, q) in bits.iter_mut().zip(q) {
                *bits = (round_bf16(*q, SMALLEST_IN_BF16) >> 16) as i16;
            }
            let queries =
                queries[chain * width * LANES..][..width * LANES].as_chunks_mut::<{ 2 * LANES }>().0;
            for (queries, four) in queries.iter_mut().zip(bits.as_chunks::<4>().0) {
                queries[lane] = pack_i16(four[0], four[1]);
                queries[LANES + lane] = pack_i16(four[2], four[3]);
            }
        });
    }

    #[inline(always)]
    fn score_keys<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let (chains, width) = (span.chains, span.params.pair_width());
        let packed = packed(span.params, chains, work.rest);
        let mut next: BlockRows<'_, bf16, KEY_BLOCK> = span.keys(&span.first_block::<KEY_BLOCK>(), numbers);
        for block in span.blocks::<KEY_BLOCK>() {
            let rows = next;
            next = span.after_keys(&block, numbers);
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let columns = span.columns(head);
                let visible = |token| span.visible(token, &block);
                let queries_of = |chain: usize| &packed.queries[chain * width * LANES..][..width * LANES];
                let mut token = 0;
                while token < span.unit.num_tokens {
                    let seen = visible(token);
                    let keys = &rows[seen.start - block.start..seen.end - block.start];
                    let here = span.local(&seen);
                    let first = chains.of(head, token);
                    if token + 1 < span.unit.num_tokens && visible(token + 1) == seen {
                        for (chain, other) in first.zip(chains.of(head, token + 1)) {
                            let (scores, others) = work.scores.split_at_mut(other * SPAN);
                            let scores =
                                [&mut scores[chain * SPAN..][here.clone()], &mut others[here.clone()]];
                            let q = [queries_of(chain), queries_of(other)];
                            loops.pair_scores_of_two(
                                scores,
                                q,
                                keys,
                                &columns,
                                span.params.scale,
                                &mut ahead,
                            );
                        }
                        token += 2;
                    } else {
                        for chain in first {
                            let scores = &mut work.scores[chain * SPAN..][here.clone()];
                            loops.pair_scores(
                                scores,
                                queries_of(chain),
                                keys,
                                &columns,
                                span.params.scale,
                                &mut ahead,
                            );
                        }
                        token += 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn add_values<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let (chains, d) = (span.chains, span.params.head_dim);
        let packed = packed(span.params, chains, work.rest);
        for head in 0..span.unit.num_heads {
            for token in 0..span.unit.num_tokens {
                let visible = span.local(&span.visible(token, &span.range));
                for chain in chains.of(head, token) {
                    let weights = &mut packed.weights[chain * SPAN / 2..][..SPAN / 2];
                    let pairs = visible.start / 2..visible.end.div_ceil(2);
                    let scores = &mut work.scores[chain * SPAN..][..SPAN];
                    // The neighbors of the first and the last position.
                    scores[pairs.start * 2..visible.start].as_flattened_mut().fill(0.0);
                    scores[visible.end..pairs.end * 2].as_flattened_mut().fill(0.0);
                    loops.round_pairs(&mut weights[pairs.clone()], &scores[pairs.start * 2..pairs.end * 2]);
                }
            }
        }
        let mut next: BlockRows<'_, _, BLOCK> = span.values(&span.first_block::<BLOCK>(), numbers);
        for block in span.blocks::<BLOCK>() {
            let rows = next;
            next = span.values(&span.block_after::<BLOCK>(&block), numbers);
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let columns = span.columns(head);
                if span.unit.num_tokens == 1 && loops.adds_rows() {
                    add_rows(loops, span, (packed.weights, work.results), (&block, &rows), head, &mut ahead);
                    continue;
                }
                let to_bits = |number: bf16| number.to_bits() as i16;
                let pairs = pair_values(packed.values, span, &block, &rows, &columns, to_bits);
                for token in 0..span.unit.num_tokens {
                    let visible = span.local(&span.visible(token, &block));
                    if visible.is_empty() {
                        continue;
                    }
                    let whole = visible.start.div_ceil(2)..visible.end / 2;
                    let values_of = |pair: usize| &packed.values[(pair - pairs.start) * d..][..d];
                    for chain in chains.of(head, token) {
                        let weights = &packed.weights[chain * SPAN / 2..][..SPAN / 2];
                        let sums =
                            &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
                        if !visible.start.is_multiple_of(2) {
                            let pair = visible.start / 2;
                            keep(packed.half_seen, values_of(pair), HIGH_HALF);
                            loops.pair_add_values(sums, &weights[pair..][..1], packed.half_seen, &mut ahead);
                        }
                        if !whole.is_empty() {
                            let values = &packed.values[(whole.start - pairs.start) * d..][..whole.len() * d];
                            loops.pair_add_values(sums, &weights[whole.clone()], values, &mut ahead);
                        }
                        if !visible.end.is_multiple_of(2) {
                            let pair = visible.end / 2;
                            keep(packed.half_seen, values_of(pair), LOW_HALF);
                            loops.pair_add_values(sums, &weights[pair..][..1], packed.half_seen, &mut ahead);
                        }
                    }
                }
            }
        }
    }
}
