//! Keys and values in f32, for exact mode. The keys of a block are copied together, each of an even length.

use super::{CacheFormat, UnitScratch};
use crate::attention::inputs::{AttentionParams, KvSlice};
use crate::attention::loops::AttentionLoops;
use crate::attention::shape::{
    BLOCK, BlockRows, SPAN, SpanView, UnitShape, View, WorkUnit, for_each_query, place_in_chain,
};
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// Numbers of a row of keys: D, made even.
fn key_width(params: &AttentionParams<'_>) -> usize {
    params.head_dim.next_multiple_of(2)
}

/// The numbers of an f32 slice.
fn numbers(slice: KvSlice<'_>) -> &[f32] {
    let KvSlice::F32(numbers) = slice else { panic!("attention: runs are of one type") };
    numbers
}

/// Keys and values in f32.
pub(crate) struct FloatCache;

impl CacheFormat for FloatCache {
    fn work_len(params: &AttentionParams<'_>, chains: UnitShape) -> usize {
        key_width(params) * (chains.count * LANES + BLOCK)
    }

    /// Lays the queries of a unit out by pairs of elements, `[chains, pairs, 8, 2]`; heads that are missing
    /// are zero.
    fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &WorkUnit, packed: &mut [f32]) {
        let width = key_width(params);
        let packed = &mut packed[..UnitShape::new(unit, params).count * width * LANES];
        packed.fill(0.0);
        for_each_query(params, view, unit, |chain, lane, q| {
            let packed = &mut packed[chain * width * LANES..][..width * LANES];
            for (i, q) in q.iter().enumerate() {
                packed[place_in_chain(i, lane)] = *q;
            }
        });
    }

    #[inline(always)]
    fn score_keys<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let (chains, width) = (span.chains, key_width(span.params));
        let (queries, keys) = work.rest.split_at_mut(chains.count * width * LANES);
        let mut next: BlockRows<'_, _, BLOCK> = span.keys(&span.first_block::<BLOCK>(), numbers);
        for block in span.blocks::<BLOCK>() {
            let rows = next;
            next = span.after_keys(&block, numbers);
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let columns = span.columns(head);
                ahead.fetch(RowPrefetch::<f32>::lines(BLOCK, span.params.head_dim));
                for (key, row) in keys.chunks_exact_mut(width).zip(rows) {
                    if let Some(row) = row.get(columns.clone()) {
                        key[..row.len()].copy_from_slice(row);
                        key[row.len()..].fill(0.0);
                    }
                }
                for token in 0..span.unit.num_tokens {
                    let visible = span.visible(token, &block);
                    let keys = &keys[(visible.start - block.start) * width..][..visible.len() * width];
                    for chain in chains.of(head, token) {
                        let q = &queries[chain * width * LANES..][..width * LANES];
                        let scores = &mut work.scores[chain * SPAN..][..SPAN][span.local(&visible)];
                        loops.scores(scores, q, keys, span.params.scale);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn add_values<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let chains = span.chains;
        let mut next: BlockRows<'_, _, BLOCK> = span.values(&span.first_block::<BLOCK>(), numbers);
        for block in span.blocks::<BLOCK>() {
            let rows = next;
            next = span.values(&span.block_after::<BLOCK>(&block), numbers);
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let columns = span.columns(head);
                ahead.fetch(RowPrefetch::<f32>::lines(BLOCK, span.params.head_dim));
                for token in 0..span.unit.num_tokens {
                    let visible = span.visible(token, &block);
                    let rows = &rows[visible.start - block.start..visible.end - block.start];
                    for chain in chains.of(head, token) {
                        let weights = &work.scores[chain * SPAN..][..SPAN][span.local(&visible)];
                        let sums =
                            &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
                        loops.add_values(sums, weights, rows, columns.start);
                    }
                }
            }
        }
    }
}
