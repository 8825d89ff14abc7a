//! One unit of an attention call: some tokens, some kv heads, some spans.
//!
//! Entry points: [`run_unit`], and [`finish_rows`] for rows whose spans were reduced apart. A pair of a token and eight
//! query heads of a kv head is a chain; a unit takes its chains through a span together: keys block by block into
//! scores, the softmax of the span, values block by block into sums. Blocks are small, so that one is prepared once for all
//! tokens and stays in the nearest caches; the next one is asked for meanwhile ([`RowPrefetch`]).
//!
//! The softmax of a span: m is the largest visible score, at least the lowest finite number; `exp(score - m)`; l is
//! summed in four chains by position modulo 4, ascending, then `(c0 + c2) + (c1 + c3)`. The join of (m, l, o) with
//! (M, L, O): the larger maximum M', `a = exp(M - M')`, `b = exp(m - M')`, `L = l b + L a` and `O = o b + O a`, each
//! the product with `a` rounded first, then one fused multiply-add.
//!
//! This module does not know the types of a cache: `float.rs`, `bfloat16.rs` and `int8.rs` do.

use std::ops::Range;

use super::arithmetic::halves;
use super::plan::Join;
use super::{Arithmetic, AttentionParams, KvRun, KvSlice, Lanes, SPAN, bfloat16, float, int8};
use crate::prefetch::RowPrefetch;

use crate::exp::exp;
use crate::lanes::LANES;
use crate::rows::SharedRows;

/// Positions whose values are taken at a time, and keys in f32 and int8; even, and divides [`SPAN`].
pub(super) const BLOCK: usize = 64;
/// Positions whose keys are taken at a time in bf16: 16 KB of all heads, which stay in the first cache until every head had its own.
pub(super) const KEY_BLOCK: usize = 16;
/// Chains of the sum of a softmax.
const SUM_CHAINS: usize = 4;

/// What one task does.
pub(crate) struct Unit {
    pub(super) job: usize,
    pub(super) first_token: usize,
    pub(super) num_tokens: usize,
    /// A kv head.
    pub(super) first_head: usize,
    pub(super) num_heads: usize,
    /// One span if `partial` is given.
    pub(super) spans: Range<usize>,
    /// Where the result goes that is still to be joined; none if the unit finishes its rows. Units: lanes.
    pub(super) partial: Option<usize>,
}

/// A job as the units see it.
pub(crate) struct View<'a> {
    /// `[T, H, D]`
    pub(super) q: &'a [f32],
    pub(super) runs: &'a [KvRun<'a>],
    pub(super) first_position: usize,
}

/// Where a unit leaves its result.
pub(crate) enum Output<'a> {
    /// `[T, H * D]`, finished.
    Rows(&'a SharedRows<'a, f32>),
    /// `[chains, 2 + D]`, of one span.
    Partials(&'a mut [Lanes]),
}

/// The sizes of a unit.
#[derive(Clone, Copy)]
pub(crate) struct Chains {
    tokens: usize,
    pub(super) lane_groups: usize,
    /// kv heads x tokens x lane groups, in this order.
    pub(super) count: usize,
    head_dim: usize,
}

impl Chains {
    pub(super) fn new(unit: &Unit, params: &AttentionParams<'_>) -> Chains {
        let lane_groups = params.lane_groups();
        let count = unit.num_heads * unit.num_tokens * lane_groups;
        Chains { tokens: unit.num_tokens, lane_groups, count, head_dim: params.head_dim }
    }

    /// The chains of a head (counted from the unit's first) and a token, one a lane group.
    #[inline(always)]
    pub(super) fn of(&self, head: usize, token: usize) -> Range<usize> {
        let first = (head * self.tokens + token) * self.lane_groups;
        first..first + self.lane_groups
    }

    /// Numbers of a chain's result: m, l, and o `[8, D]`.
    #[inline(always)]
    pub(super) fn result(&self) -> usize {
        LANES * (2 + self.head_dim)
    }
}

/// Room for the partial result of a unit. Units: lanes.
pub(super) fn partial_lanes(unit: &Unit, params: &AttentionParams<'_>) -> usize {
    Chains::new(unit, params).count * (2 + params.head_dim)
}

/// Working memory of a unit.
pub(super) struct Work<'a> {
    /// `[chains, SPAN]`: scores, then weights.
    pub(super) scores: &'a mut [Lanes],
    /// `[chains, result]`: m, l and o of a span.
    pub(super) results: &'a mut [f32],
    /// What the type of cache needs besides.
    pub(super) rest: &'a mut [f32],
}

impl View<'_> {
    fn keys(&self) -> Option<KvSlice<'_>> {
        self.runs.first().map(|run| run.keys)
    }
}

/// A span as a unit sees it.
pub(super) struct Sight<'a> {
    pub(super) params: &'a AttentionParams<'a>,
    pub(super) view: &'a View<'a>,
    pub(super) unit: &'a Unit,
    pub(super) chains: Chains,
    /// First position of the span.
    pub(super) start: usize,
    /// The positions of the span that any token of the unit sees.
    pub(super) range: Range<usize>,
}

impl<'a> Sight<'a> {
    /// What token `token` of the unit sees within `range`.
    #[inline(always)]
    pub(super) fn visible(&self, token: usize, range: &Range<usize>) -> Range<usize> {
        let visible = self.params.visible(self.view.first_position + self.unit.first_token + token);
        let start = visible.start.clamp(range.start, range.end);
        start..visible.end.clamp(start, range.end)
    }

    /// The block after `block`, if the span goes on.
    #[inline(always)]
    pub(super) fn block_after<const N: usize>(&self, block: &Range<usize>) -> Range<usize> {
        block.end..self.range.end.min(block.end + N)
    }

    /// The keys of a block.
    #[inline(always)]
    pub(super) fn keys<V, const N: usize>(
        &self,
        block: &Range<usize>,
        numbers: impl Fn(KvSlice<'a>) -> &'a [V],
    ) -> BlockRows<'a, V, N> {
        rows_of(self.view.runs, block, self.params.kv_row(), |run| numbers(run.keys))
    }

    /// The values of a block.
    #[inline(always)]
    pub(super) fn values<V, const N: usize>(
        &self,
        block: &Range<usize>,
        numbers: impl Fn(KvSlice<'a>) -> &'a [V],
    ) -> BlockRows<'a, V, N> {
        rows_of(self.view.runs, block, self.params.kv_row(), |run| numbers(run.values))
    }

    /// What is read after the keys of a block: those of the next one, or the first values.
    #[inline(always)]
    pub(super) fn after_keys<V, const N: usize>(
        &self,
        block: &Range<usize>,
        numbers: impl Fn(KvSlice<'a>) -> &'a [V],
    ) -> BlockRows<'a, V, N> {
        let after = self.block_after::<N>(block);
        match after.is_empty() {
            false => self.keys(&after, numbers),
            true => self.values(&self.first_block::<N>(), numbers),
        }
    }

    /// The rows that come next, of the unit's heads, to be asked for meanwhile.
    #[inline(always)]
    pub(super) fn ahead<V, const N: usize>(&self, next: &'a BlockRows<'a, V, N>) -> RowPrefetch<'a, V> {
        RowPrefetch::new(next, self.columns(0).start..self.columns(self.unit.num_heads).start)
    }

    /// The columns of a head in a cache row; heads are counted from the unit's first.
    #[inline(always)]
    pub(super) fn columns(&self, head: usize) -> Range<usize> {
        let first = (self.unit.first_head + head) * self.params.head_dim;
        first..first + self.params.head_dim
    }

    /// Positions counted from the start of the span.
    #[inline(always)]
    pub(super) fn local(&self, range: &Range<usize>) -> Range<usize> {
        range.start - self.start..range.end - self.start
    }

    /// The first block of the span that any token sees.
    #[inline(always)]
    pub(super) fn first_block<const N: usize>(&self) -> Range<usize> {
        self.range.start..self.range.end.min((self.range.start / N + 1) * N)
    }

    /// The blocks of the span that any token sees.
    #[inline(always)]
    pub(super) fn blocks<const N: usize>(&self) -> impl Iterator<Item = Range<usize>> + use<N> {
        let range = self.range.clone();
        (range.start / N..range.end.div_ceil(N))
            .map(move |block| range.start.max(block * N)..range.end.min((block + 1) * N))
    }
}

/// The rows `[K, D]` of a block, whichever runs they lie in; empty beyond the block's end.
pub(super) type BlockRows<'a, V, const N: usize> = [&'a [V]; N];

/// Collects the rows of `width` numbers at the positions of `block`.
#[inline(always)]
pub(super) fn rows_of<'a, V, const N: usize>(
    runs: &'a [KvRun<'a>],
    block: &Range<usize>,
    width: usize,
    numbers: impl Fn(&KvRun<'a>) -> &'a [V],
) -> BlockRows<'a, V, N> {
    let mut rows: BlockRows<'a, V, N> = [&[]; N];
    let mut position = block.start;
    let first_run = runs.partition_point(|run| run.first_position + run.len <= position);
    for run in &runs[first_run..] {
        let end = block.end.min(run.first_position + run.len);
        let numbers = &numbers(run)[(position - run.first_position) * width..][..(end - position) * width];
        for (row, numbers) in rows[position - block.start..].iter_mut().zip(numbers.chunks_exact(width)) {
            *row = numbers;
        }
        position = end;
        if position == block.end {
            break;
        }
    }
    rows
}

/// Lays the values of a head out by pairs of positions, each number in 16 bits. Returns the pairs, counted from the start of the span.
///
/// Positions are paired from the start of the span on, so the first of a block may be the second of its pair; what is missing is zero.
///
/// Shapes: `values [BLOCK / 2, D]`, `rows` those of the block.
#[inline(always)]
pub(super) fn pair_values<V: Copy>(
    values: &mut [i32],
    sight: &Sight<'_>,
    block: &Range<usize>,
    rows: &BlockRows<'_, V, BLOCK>,
    columns: &Range<usize>,
    bits: impl Fn(V) -> i16,
) -> Range<usize> {
    let first = (block.start - sight.start) / 2;
    let is_split = (block.start - sight.start) % 2;
    let pairs = first..(block.end - sight.start).div_ceil(2);
    for (i, values) in values.chunks_exact_mut(columns.len()).take(pairs.len()).enumerate() {
        let row_at = |i: usize| rows.get(i.checked_sub(is_split)?)?.get(columns.clone());
        match (row_at(2 * i), row_at(2 * i + 1)) {
            (Some(low), Some(high)) => {
                for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
                    *value = halves(bits(*low), bits(*high));
                }
            }
            (Some(one), None) => {
                for (value, low) in values.iter_mut().zip(one) {
                    *value = halves(bits(*low), 0);
                }
            }
            (None, Some(one)) => {
                for (value, high) in values.iter_mut().zip(one) {
                    *value = halves(0, bits(*high));
                }
            }
            (None, None) => values.fill(0),
        }
    }
    pairs
}

/// Working memory of a unit. Units: floats.
pub(super) fn scratch_len(params: &AttentionParams<'_>, view: &View<'_>, unit: &Unit) -> usize {
    let chains = Chains::new(unit, params);
    chains.count * (SPAN * LANES + 2 * chains.result()) + rest_len(params, view, chains)
}

fn rest_len(params: &AttentionParams<'_>, view: &View<'_>, chains: Chains) -> usize {
    match view.keys() {
        Some(KvSlice::F32(_)) => float::work_len(params, chains),
        Some(KvSlice::Bf16(_)) => bfloat16::work_len(params, chains),
        Some(KvSlice::Q8 { .. }) => int8::work_len(params, chains),
        None => 0,
    }
}

/// Calls `take` with every query row of a unit, its chain and its lane.
#[inline(always)]
pub(super) fn for_each_query(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &Unit,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    let (d, group) = (params.head_dim, params.group());
    let chains = Chains::new(unit, params);
    for head in 0..unit.num_heads {
        for token in 0..unit.num_tokens {
            let first_head = (unit.first_head + head) * group;
            let q = &view.q[(unit.first_token + token) * params.row() + first_head * d..][..group * d];
            for (h, q) in q.chunks_exact(d).enumerate() {
                take(chains.of(head, token).start + h / LANES, h % LANES, q);
            }
        }
    }
}

/// Where element `i` of a query stands among those of its chain, `[pairs, 8, 2]`.
#[inline(always)]
pub(super) fn place_in_chain(i: usize, lane: usize) -> usize {
    (i / 2 * LANES + lane) * 2 + i % 2
}

/// Does a unit. It takes no closures, so that all of it is compiled for the tier.
///
/// Shapes: `scratch [scratch_len]`.
#[inline(always)]
pub(crate) fn run_unit<A: Arithmetic>(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &Unit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    let chains = Chains::new(unit, params);
    let (scores, scratch) = scratch.split_at_mut(chains.count * SPAN * LANES);
    let (rest, scratch) = scratch.split_at_mut(rest_len(params, view, chains));
    let (results, state) = scratch.split_at_mut(chains.count * chains.result());
    let state = &mut state[..chains.count * chains.result()];
    let mut work = Work { scores: scores.as_chunks_mut().0, results, rest };
    match view.keys() {
        Some(KvSlice::F32(_)) => float::pack_queries(params, view, unit, work.rest),
        Some(KvSlice::Bf16(_)) => bfloat16::pack_queries(params, view, unit, work.rest),
        Some(KvSlice::Q8 { .. }) => int8::pack_queries(params, view, unit, work.rest),
        None => {}
    }
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
    for span in unit.spans.clone() {
        let start = span * SPAN;
        let first_row = view.first_position + unit.first_token;
        let first = params.visible(first_row).start.max(start);
        let end = (first_row + unit.num_tokens).min(start + SPAN);
        let sight = Sight { params, view, unit, chains, start, range: first..end };
        reduce_span::<A>(&sight, &mut work);
        if unit.partial.is_none() {
            join_span(&sight, state, work.results);
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
fn reduce_span<A: Arithmetic>(sight: &Sight<'_>, work: &mut Work<'_>) {
    let chains = sight.chains;
    let keys = sight.view.keys();
    match keys {
        Some(KvSlice::Bf16(_)) => bfloat16::score_keys::<A>(sight, work),
        Some(KvSlice::F32(_)) => float::score_keys::<A>(sight, work),
        Some(KvSlice::Q8 { .. }) => int8::score_keys::<A>(sight, work),
        None => {}
    }
    work.results.fill(0.0);
    for head in 0..sight.unit.num_heads {
        for token in 0..sight.unit.num_tokens {
            let visible = sight.visible(token, &sight.range);
            for chain in chains.of(head, token) {
                let scores =
                    &mut work.scores[chain * SPAN..][visible.start - sight.start..visible.end - sight.start];
                let result = &mut work.results[chain * chains.result()..][..2 * LANES];
                softmax(result, scores, visible.start);
            }
        }
    }
    match keys {
        Some(KvSlice::Bf16(_)) => bfloat16::add_values::<A>(sight, work),
        Some(KvSlice::F32(_)) => float::add_values::<A>(sight, work),
        Some(KvSlice::Q8 { .. }) => int8::add_values::<A>(sight, work),
        None => {}
    }
}

/// Replaces scores by `exp(score - m)` and writes m and l to `result`.
#[inline(always)]
fn softmax(result: &mut [f32], scores: &mut [Lanes], first_position: usize) {
    const WIDTH: usize = SUM_CHAINS * LANES;
    let scores = scores.as_flattened_mut();
    let mut tops = [[f32::MIN; 2 * LANES]; 2];
    let (body, tail) = scores.as_chunks::<WIDTH>();
    for scores in body {
        for (tops, scores) in tops.iter_mut().zip(scores.as_chunks::<{ 2 * LANES }>().0) {
            *tops = larger(*tops, *scores);
        }
    }
    let [tops, others] = tops;
    let tops = larger(tops, others);
    let mut first = larger(
        *tops.first_chunk().unwrap_or(&[f32::MIN; LANES]),
        *tops.last_chunk().unwrap_or(&[f32::MIN; LANES]),
    );
    for scores in tail.as_chunks::<LANES>().0 {
        first = larger(first, *scores);
    }
    result[..LANES].copy_from_slice(&first);
    let tops: [f32; WIDTH] = std::array::from_fn(|i| result[i % LANES]);
    let mut chains = [0.0_f32; WIDTH];
    // The first scores up to a multiple of four positions, then four at a time.
    let place = first_position % SUM_CHAINS * LANES;
    let (head, body) = scores.split_at_mut(((WIDTH - place) % WIDTH).min(scores.len()));
    for (i, score) in head.iter_mut().enumerate() {
        *score = exp(*score - tops[i]);
        chains[place + i] += *score;
    }
    let (body, tail) = body.as_chunks_mut::<WIDTH>();
    for scores in body {
        for (score, top) in scores.iter_mut().zip(&tops) {
            *score = exp(*score - top);
        }
        for (chain, score) in chains.iter_mut().zip(scores) {
            *chain += *score;
        }
    }
    for (i, score) in tail.iter_mut().enumerate() {
        *score = exp(*score - tops[i]);
        chains[i] += *score;
    }
    for (h, sum) in result[LANES..].iter_mut().enumerate() {
        *sum = (chains[h] + chains[2 * LANES + h]) + (chains[LANES + h] + chains[3 * LANES + h]);
    }
}

/// The larger numbers; of one that is NaN, the first.
#[inline(always)]
fn larger<const N: usize>(tops: [f32; N], others: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| if others[i] > tops[i] { others[i] } else { tops[i] })
}

/// (M, L, O) of a chain before any span: the sink alone.
#[inline(always)]
fn clear(state: &mut [f32], params: &AttentionParams<'_>, head: usize, group: usize) {
    state.fill(0.0);
    let first = head * params.group() + group * LANES;
    let heads = LANES.min(params.group() - group * LANES);
    state[..heads].copy_from_slice(&params.sinks[first..][..heads]);
    state[LANES..2 * LANES].fill(1.0);
}

/// Joins the results of a span to the states of a unit.
#[inline(always)]
fn join_span(sight: &Sight<'_>, state: &mut [f32], results: &[f32]) {
    let width = sight.chains.result();
    for head in 0..sight.unit.num_heads {
        for token in 0..sight.unit.num_tokens {
            if sight.visible(token, &sight.range).is_empty() {
                continue;
            }
            for chain in sight.chains.of(head, token) {
                join(&mut state[chain * width..][..width], &results[chain * width..][..width]);
            }
        }
    }
}

/// Joins (m, l, o) of a span to (M, L, O).
#[inline(always)]
fn join(state: &mut [f32], result: &[f32]) {
    let d = state.len() / LANES - 2;
    let (tops, state) = state.split_at_mut(LANES);
    let (sums, values) = state.split_at_mut(LANES);
    let (span_tops, result) = result.split_at(LANES);
    let (span_sums, span_values) = result.split_at(LANES);
    // First all exponentials, which go by wide instructions.
    let (mut a, mut b) = ([0.0; LANES], [0.0; LANES]);
    for h in 0..LANES {
        let top = if span_tops[h] > tops[h] { span_tops[h] } else { tops[h] };
        a[h] = exp(tops[h] - top);
        b[h] = exp(span_tops[h] - top);
        tops[h] = top;
    }
    for h in 0..LANES {
        sums[h] = span_sums[h].mul_add(b[h], sums[h] * a[h]);
        for (value, span_value) in values[h * d..][..d].iter_mut().zip(&span_values[h * d..][..d]) {
            *value = span_value.mul_add(b[h], *value * a[h]);
        }
    }
}

/// Writes `O / L` of a kv head's lane group.
#[inline(always)]
fn write(
    params: &AttentionParams<'_>,
    state: &[f32],
    rows: &SharedRows<'_, f32>,
    token: usize,
    (head, group): (usize, usize),
) {
    let d = params.head_dim;
    let first = head * params.group() + group * LANES;
    let heads = LANES.min(params.group() - group * LANES);
    // SAFETY: one unit or one join alone writes the heads of this kv head in this row.
    let out = unsafe { rows.part(token, first * d, heads * d) };
    for (h, out) in out.chunks_exact_mut(d).enumerate() {
        for (out, value) in out.iter_mut().zip(&state[2 * LANES + h * d..]) {
            *out = *value / state[LANES + h];
        }
    }
}

/// Joins the spans of rows that were reduced apart, and writes the rows.
///
/// Shapes: `scratch [LANES * (2 + D)]`.
#[inline(always)]
pub(super) fn finish_rows(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    join_of: &Join,
    partials: &[Lanes],
    rows: &SharedRows<'_, f32>,
    state: &mut [f32],
) {
    let (groups, lanes) = (params.lane_groups(), 2 + params.head_dim);
    let tile = params.num_kv_heads * join_of.num_tokens * groups;
    for token in 0..join_of.num_tokens {
        let row = join_of.first_token + token;
        let visible = params.visible(view.first_position + row);
        let spans = join_of.spans.start.max(visible.start / SPAN)
            ..join_of.spans.end.min((visible.end - 1) / SPAN + 1);
        for group in 0..groups {
            clear(state, params, join_of.head, group);
            for span in spans.clone() {
                let chain = (span - join_of.spans.start) * tile
                    + (join_of.head * join_of.num_tokens + token) * groups
                    + group;
                let result = &partials[join_of.first_partial + chain * lanes..][..lanes];
                join(state, result.as_flattened());
            }
            write(params, state, rows, row, (join_of.head, group));
        }
    }
}
