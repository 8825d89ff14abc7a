//! The formats of keys and values, one file each: how a span is gone through in it.

pub(super) mod bfloat16;
pub(super) mod float;
pub(super) mod int8;

use super::inputs::AttentionParams;
use super::loops::AttentionLoops;
use super::shape::{Lanes, SpanView, UnitShape, View, WorkUnit};

/// A format of keys and values. Its methods are inlined into a unit, so that all of it is compiled for the
/// tier.
pub(super) trait CacheFormat {
    /// Room for what it needs besides scores and results. Units: floats.
    fn work_len(params: &AttentionParams<'_>, chains: UnitShape) -> usize;

    /// Lays the queries of a unit out, once.
    fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &WorkUnit, work: &mut [f32]);

    /// The scores of a span, of what each token sees.
    fn score_keys<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>);

    /// Adds the weighted values of a span to the results, of what each token sees.
    fn add_values<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>);
}

/// Working memory of a unit.
pub(super) struct UnitScratch<'a> {
    /// `[chains, SPAN]`: scores, then weights.
    pub(super) scores: &'a mut [Lanes],
    /// `[chains, result]`: m, l and o of a span.
    pub(super) results: &'a mut [f32],
    /// What the type of cache needs besides.
    pub(super) rest: &'a mut [f32],
}
