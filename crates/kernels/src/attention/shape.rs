//! The geometry of an attention call: units of work, spans, blocks, and the chains in them.
//!
//! A pair of a token and eight query heads of a kv head is a chain; a [`WorkUnit`] takes its chains through a
//! span together, block by block. A [`SpanView`] is a span as a unit sees it, with the rows of its blocks,
//! whichever runs they lie in.

use std::ops::Range;

use super::inputs::{AttentionParams, KvRun, KvSlice};
use super::pairs::pack_i16;
use crate::lanes::LANES;
use crate::prefetch::RowPrefetch;

/// One number of each of eight query heads.
pub(crate) type Lanes = [f32; LANES];
/// The same for integers.
pub(crate) type IntLanes = [i32; LANES];

/// Positions that are reduced on their own before they are joined with the spans before them. Part of the
/// order of summation: another number gives other bits.
pub(crate) const SPAN: usize = 512;

/// Positions whose values are taken at a time, and keys in f32 and int8; even, and divides [`SPAN`].
pub(super) const BLOCK: usize = 64;
/// Positions whose keys are taken at a time in bf16: 16 KB of all heads, which stay in the first cache until
/// every head had its own.
pub(super) const KEY_BLOCK: usize = 16;

/// What one task does.
pub(crate) struct WorkUnit {
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

/// The sizes of a unit.
#[derive(Clone, Copy)]
pub(crate) struct UnitShape {
    pub(super) tokens: usize,
    pub(super) lane_groups: usize,
    /// kv heads x tokens x lane groups, in this order.
    pub(super) count: usize,
    head_dim: usize,
}

impl UnitShape {
    pub(super) fn new(unit: &WorkUnit, params: &AttentionParams<'_>) -> UnitShape {
        let lane_groups = params.lane_groups();
        let count = unit.num_heads * unit.num_tokens * lane_groups;
        UnitShape { tokens: unit.num_tokens, lane_groups, count, head_dim: params.head_dim }
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
pub(super) fn partial_lanes(unit: &WorkUnit, params: &AttentionParams<'_>) -> usize {
    UnitShape::new(unit, params).count * (2 + params.head_dim)
}

/// A span as a unit sees it.
pub(super) struct SpanView<'a> {
    pub(super) params: &'a AttentionParams<'a>,
    pub(super) view: &'a View<'a>,
    pub(super) unit: &'a WorkUnit,
    pub(super) chains: UnitShape,
    /// First position of the span.
    pub(super) start: usize,
    /// The positions of the span that any token of the unit sees.
    pub(super) range: Range<usize>,
}

impl<'a> SpanView<'a> {
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

/// Lays the values of a head out by pairs of positions, each number in 16 bits. Returns the pairs, counted
/// from the start of the span.
///
/// Positions are paired from the start of the span on, so the first of a block may be the second of its pair;
/// what is missing is zero.
///
/// Shapes: `values [BLOCK / 2, D]`, `rows` those of the block.
#[inline(always)]
pub(super) fn pair_values<V: Copy>(
    values: &mut [i32],
    span: &SpanView<'_>,
    block: &Range<usize>,
    rows: &BlockRows<'_, V, BLOCK>,
    columns: &Range<usize>,
    bits: impl Fn(V) -> i16,
) -> Range<usize> {
    let first = (block.start - span.start) / 2;
    let is_split = (block.start - span.start) % 2;
    let pairs = first..(block.end - span.start).div_ceil(2);
    for (i, values) in values.chunks_exact_mut(columns.len()).take(pairs.len()).enumerate() {
        let row_at = |i: usize| rows.get(i.checked_sub(is_split)?)?.get(columns.clone());
        match (row_at(2 * i), row_at(2 * i + 1)) {
            (Some(low), Some(high)) => {
                for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
                    *value = pack_i16(bits(*low), bits(*high));
                }
            }
            (Some(one), None) => {
                for (value, low) in values.iter_mut().zip(one) {
                    *value = pack_i16(bits(*low), 0);
                }
            }
            (None, Some(one)) => {
                for (value, high) in values.iter_mut().zip(one) {
                    *value = pack_i16(0, bits(*high));
                }
            }
            (None, None) => values.fill(0),
        }
    }
    pairs
}

/// Calls `take` with every query row of a unit, its chain and its lane.
#[inline(always)]
pub(super) fn for_each_query(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    let (d, group) = (params.head_dim, params.group());
    let chains = UnitShape::new(unit, params);
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
