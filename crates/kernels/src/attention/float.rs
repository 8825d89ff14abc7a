//! A span over keys and values in f32, for exact mode.
//!
//! Entry points: [`pack_queries`] once a unit, then [`score_keys`] and [`add_values`] for every span. The keys of a block are copied
//! together, each of an even length.
//!
//! The orders of summation are those of `arithmetic.rs`: a score in two chains over D, an output in one chain over
//! the positions of the span.

use super::unit::{BLOCK, BlockRows, Chains, Sight, Unit, View, Work, for_each_query, place_in_chain};
use super::{Arithmetic, AttentionParams, KvSlice, SPAN};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// Numbers of a row of keys: D, made even.
fn key_width(params: &AttentionParams<'_>) -> usize {
    params.head_dim.next_multiple_of(2)
}

/// Room for packed queries and a block of keys. Units: floats.
pub(super) fn work_len(params: &AttentionParams<'_>, chains: Chains) -> usize {
    key_width(params) * (chains.count * LANES + BLOCK)
}

/// Lays the queries of a unit out by pairs of elements, `[chains, pairs, 8, 2]`; heads that are missing are zero.
pub(super) fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &Unit, packed: &mut [f32]) {
    let width = key_width(params);
    let packed = &mut packed[..Chains::new(unit, params).count * width * LANES];
    packed.fill(0.0);
    for_each_query(params, view, unit, |chain, lane, q| {
        let packed = &mut packed[chain * width * LANES..][..width * LANES];
        for (i, q) in q.iter().enumerate() {
            packed[place_in_chain(i, lane)] = *q;
        }
    });
}

/// The scores of the span, of what each token sees.
#[inline(always)]
pub(super) fn score_keys<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let (chains, width) = (sight.chains, key_width(sight.params));
    let (queries, keys) = work.rest.split_at_mut(chains.count * width * LANES);
    let mut next: BlockRows<'_, _, BLOCK> = sight.keys(&sight.first_block::<BLOCK>(), numbers);
    for block in sight.blocks::<BLOCK>() {
        let rows = next;
        next = sight.after_keys(&block, numbers);
        let mut ahead = sight.ahead(&next);
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            ahead.fetch(RowPrefetch::<f32>::lines(BLOCK, sight.params.head_dim));
            for (key, row) in keys.chunks_exact_mut(width).zip(rows) {
                if let Some(row) = row.get(columns.clone()) {
                    key[..row.len()].copy_from_slice(row);
                    key[row.len()..].fill(0.0);
                }
            }
            for token in 0..sight.unit.num_tokens {
                let visible = sight.visible(token, &block);
                let keys = &keys[(visible.start - block.start) * width..][..visible.len() * width];
                for chain in chains.of(head, token) {
                    let q = &queries[chain * width * LANES..][..width * LANES];
                    let scores = &mut work.scores[chain * SPAN..][..SPAN][sight.local(&visible)];
                    A::scores(scores, q, keys, sight.params.scale);
                }
            }
        }
    }
}

/// Adds the weighted values of the span to the results, of what each token sees.
#[inline(always)]
pub(super) fn add_values<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let chains = sight.chains;
    let mut next: BlockRows<'_, _, BLOCK> = sight.values(&sight.first_block::<BLOCK>(), numbers);
    for block in sight.blocks::<BLOCK>() {
        let rows = next;
        next = sight.values(&sight.block_after::<BLOCK>(&block), numbers);
        let mut ahead = sight.ahead(&next);
        for head in 0..sight.unit.num_heads {
            let columns = sight.columns(head);
            ahead.fetch(RowPrefetch::<f32>::lines(BLOCK, sight.params.head_dim));
            for token in 0..sight.unit.num_tokens {
                let visible = sight.visible(token, &block);
                let rows = &rows[visible.start - block.start..visible.end - block.start];
                for chain in chains.of(head, token) {
                    let weights = &work.scores[chain * SPAN..][..SPAN][sight.local(&visible)];
                    let sums = &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
                    A::add_values(sums, weights, rows, columns.start);
                }
            }
        }
    }
}

/// The numbers of an f32 slice.
fn numbers(slice: KvSlice<'_>) -> &[f32] {
    let KvSlice::F32(numbers) = slice else { panic!("attention: runs are of one type") };
    numbers
}
