//! One unit of an attention call: some tokens, some kv heads, some spans.
//!
//! Entry points: [`run_unit`], and [`finish_rows`] for rows whose spans were reduced apart. A unit takes its
//! chains through a span together: keys block by block into scores, the softmax of the span, values block by
//! block into sums. Blocks are small, so that one is prepared once for all tokens and stays in the nearest
//! caches; the next one is fetched meanwhile.

use super::cache::{CacheFormat, UnitScratch};
use super::inputs::AttentionParams;
use super::loops::AttentionLoops;
use super::plan::SpanMerge;
use super::reduce::{RowsOut, clear, merge, softmax, write};
use super::shape::{Lanes, SPAN, SpanView, UnitShape, View, WorkUnit};
use crate::lanes::LANES;

/// Where a unit leaves its result.
pub(crate) enum Output<'a> {
    /// Finished.
    Rows(&'a RowsOut<'a>),
    /// `[chains, 2 + D]`, of one span.
    Partials(&'a mut [Lanes]),
}

/// Working memory of a unit. Units: floats.
pub(super) fn scratch_len<C: CacheFormat>(params: &AttentionParams<'_>, unit: &WorkUnit) -> usize {
    let chains = UnitShape::new(unit, params);
    chains.count * (SPAN * LANES + 2 * chains.result()) + C::work_len(params, chains)
}

/// Does a unit. It takes no closures, so that all of it is compiled for the tier.
///
/// Shapes: `scratch [scratch_len]`.
#[inline(always)]
pub(super) fn run_unit<A: AttentionLoops, C: CacheFormat>(
    loops: A,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    let chains = UnitShape::new(unit, params);
    let (scores, scratch) = scratch.split_at_mut(chains.count * SPAN * LANES);
    let (rest, scratch) = scratch.split_at_mut(C::work_len(params, chains));
    let (results, state) = scratch.split_at_mut(chains.count * chains.result());
    let state = &mut state[..chains.count * chains.result()];
    let mut work = UnitScratch { scores: scores.as_chunks_mut().0, results, rest };
    C::pack_queries(params, view, unit, work.rest);
    for head in 0..unit.num_heads {
        for token in 0..unit.num_tokens {
            for (group, chain) in chains.of(head, token).enumerate() {
                clear(
                    &mut state[chain * chains.result()..][..chains.result()],
                    params,
                    unit.first_head + head,
                    group,
                );
            }
        }
    }
    for index in unit.spans.clone() {
        let start = index * SPAN;
        let first_row = view.first_position + unit.first_token;
        let first = params.visible(first_row).start.max(start);
        let end = (first_row + unit.num_tokens).min(start + SPAN);
        let span = SpanView { params, view, unit, chains, start, range: first..end };
        reduce_span::<A, C>(loops, &span, &mut work);
        if unit.partial.is_none() {
            merge_span(&span, state, work.results);
        }
    }
    match output {
        Output::Partials(partials) => partials.as_flattened_mut().copy_from_slice(work.results),
        Output::Rows(rows) => {
            for head in 0..unit.num_heads {
                for token in 0..unit.num_tokens {
                    for (group, chain) in chains.of(head, token).enumerate() {
                        let state = &state[chain * chains.result()..][..chains.result()];
                        write(params, state, rows, unit.first_token + token, (unit.first_head + head, group));
                    }
                }
            }
        }
    }
}

/// The results of one span.
#[inline(always)]
fn reduce_span<A: AttentionLoops, C: CacheFormat>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
    let chains = span.chains;
    C::score_keys(loops, span, work);
    work.results.fill(0.0);
    for head in 0..span.unit.num_heads {
        for token in 0..span.unit.num_tokens {
            let visible = span.visible(token, &span.range);
            for chain in chains.of(head, token) {
                let scores = &mut work.scores[chain * SPAN..][span.local(&visible)];
                let result = &mut work.results[chain * chains.result()..][..2 * LANES];
                softmax(result, scores, visible.start);
            }
        }
    }
    C::add_values(loops, span, work);
}

/// Merges the results of a span into the states of a unit.
#[inline(always)]
fn merge_span(span: &SpanView<'_>, state: &mut [f32], results: &[f32]) {
    let width = span.chains.result();
    for head in 0..span.unit.num_heads {
        for token in 0..span.unit.num_tokens {
            if span.visible(token, &span.range).is_empty() {
                continue;
            }
            for chain in span.chains.of(head, token) {
                merge(&mut state[chain * width..][..width], &results[chain * width..][..width]);
            }
        }
    }
}

/// Merges the spans of rows that were reduced apart, and writes the rows.
///
/// Shapes: `scratch [LANES * (2 + D)]`.
#[inline(always)]
pub(super) fn finish_rows(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    merge_job: &SpanMerge,
    partials: &[Lanes],
    rows: &RowsOut<'_>,
    state: &mut [f32],
) {
    let (groups, lanes) = (params.lane_groups(), 2 + params.head_dim);
    let tile = params.num_kv_heads * merge_job.num_tokens * groups;
    for token in 0..merge_job.num_tokens {
        let row = merge_job.first_token + token;
        let visible = params.visible(view.first_position + row);
        let spans = merge_job.spans.start.max(visible.start / SPAN)
            ..merge_job.spans.end.min((visible.end - 1) / SPAN + 1);
        for group in 0..groups {
            clear(state, params, merge_job.head, group);
            for span in spans.clone() {
                let chain = (span - merge_job.spans.start) * tile
                    + (merge_job.head * merge_job.num_tokens + token) * groups
                    + group;
                let result = &partials[merge_job.first_partial + chain * lanes..][..lanes];
                merge(state, result.as_flattened());
            }
            write(params, state, rows, row, (merge_job.head, group));
        }
    }
}
