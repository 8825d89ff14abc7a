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

use half::bf16;

use super::unit::{BLOCK, Chains, Sight, Unit, View, Work, for_each_query, place_in_chain, prefetch};
use super::{Arithmetic, AttentionParams, IntLanes, KvSlice, SPAN};
use crate::lanes::LANES;

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

/// What a unit keeps for a bf16 cache.
struct Packed<'a> {
    /// `[chains, fours of numbers, 8, 2]`, each element two numbers.
    queries: &'a mut [i32],
    /// `[chains, SPAN / 2]`: weights of two positions.
    weights: &'a mut [IntLanes],
    /// `[K, D]`, in the place of a row that is not seen.
    zeros: &'a mut [bf16],
}

/// Room for [`Packed`]. Units: floats.
pub(super) fn work_len(params: &AttentionParams<'_>, chains: Chains) -> usize {
    chains.count * LANES * (params.pair_width() + SPAN / 2) + params.kv_row().div_ceil(2)
}

#[inline(always)]
fn packed<'a>(params: &AttentionParams<'_>, chains: Chains, work: &'a mut [f32]) -> Packed<'a> {
    let (queries, work) = work.split_at_mut(chains.count * LANES * params.pair_width());
    let (weights, zeros) = work.split_at_mut(chains.count * LANES * SPAN / 2);
    let weights: &mut [i32] = bytemuck::cast_slice_mut(weights);
    Packed {
        queries: bytemuck::cast_slice_mut(queries),
        weights: weights.as_chunks_mut().0,
        zeros: &mut bytemuck::cast_slice_mut(zeros)[..params.kv_row()],
    }
}

/// Rounds the queries of a unit and lays them out by fours of numbers; heads that are missing are zero.
#[inline(always)]
pub(super) fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &Unit, work: &mut [f32]) {
    let width = params.pair_width();
    let Packed { queries, zeros, .. } = packed(params, Chains::new(unit, params), work);
    queries.fill(0);
    zeros.fill(bf16::ZERO);
    for_each_query(params, view, unit, |chain, lane, q| {
        let queries = &mut queries[chain * width * LANES..][..width * LANES];
        for (i, pair) in q.chunks(2).enumerate() {
            queries[place_in_chain(i, lane)] = rounded_pair(pair[0], pair.get(1).copied().unwrap_or(0.0));
        }
    });
}

/// The scores of the span, of what each token sees.
#[inline(always)]
pub(super) fn score_keys<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let (chains, width) = (sight.chains, sight.params.pair_width());
    let packed = packed(sight.params, chains, work.rest);
    let mut next = sight.keys(&sight.first_block(), numbers);
    for block in sight.blocks() {
        let rows = next;
        next = sight.after_keys(&block, numbers);
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            for next in next {
                prefetch(next, &columns);
            }
            for token in 0..sight.unit.num_tokens {
                let visible = sight.visible(token, &block);
                let keys = &rows[visible.start - block.start..visible.end - block.start];
                for chain in chains.of(head, token) {
                    let q = &packed.queries[chain * width * LANES..][..width * LANES];
                    let scores = &mut work.scores[chain * SPAN..][..SPAN][sight.local(&visible)];
                    A::pair_scores(scores, q, keys, columns.clone(), sight.params.scale);
                }
            }
        }
    }
}

/// Adds the weighted values of the span to the results, of what each token sees.
#[inline(always)]
pub(super) fn add_values<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let chains = sight.chains;
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
    let zeros = &*packed.zeros;
    let mut next = sight.values(&sight.first_block(), numbers);
    for block in sight.blocks() {
        let rows = next;
        next = sight.values(&sight.block_after(&block), numbers);
        // Positions are paired from the start of the span on, so the first may be the second of its pair.
        let first_pair = (block.start - sight.start) / 2;
        let is_split = (block.start - sight.start) % 2;
        let mut pairs = [[zeros; 2]; BLOCK / 2];
        let rows = rows.iter().take(block.len());
        for (place, row) in pairs.as_flattened_mut()[is_split..].iter_mut().zip(rows) {
            *place = row;
        }
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            let column = columns.start;
            for next in next {
                prefetch(next, &columns);
            }
            for token in 0..sight.unit.num_tokens {
                let visible = sight.local(&sight.visible(token, &block));
                if visible.is_empty() {
                    continue;
                }
                let whole = visible.start.div_ceil(2)..visible.end / 2;
                for chain in chains.of(head, token) {
                    let weights = &packed.weights[chain * SPAN / 2..][..SPAN / 2];
                    let sums = &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
                    if !visible.start.is_multiple_of(2) {
                        let [_, high] = pairs[whole.start - 1 - first_pair];
                        A::pair_add_values(sums, &weights[whole.start - 1..][..1], &[[zeros, high]], column);
                    }
                    if !whole.is_empty() {
                        let pairs = &pairs[whole.start - first_pair..][..whole.len()];
                        A::pair_add_values(sums, &weights[whole.clone()], pairs, column);
                    }
                    if !visible.end.is_multiple_of(2) {
                        let [low, _] = pairs[whole.end - first_pair];
                        A::pair_add_values(sums, &weights[whole.end..][..1], &[[low, zeros]], column);
                    }
                }
            }
        }
    }
}

/// The numbers of a bf16 slice.
fn numbers(slice: KvSlice<'_>) -> &[bf16] {
    let KvSlice::Bf16(numbers) = slice else { panic!("attention: runs are of one type") };
    numbers
}
