//! Keys and values in int8, with one scale per row of a head; the products are sums of integers.
//!
//! [`quantize_kv`] writes a cache row. Multiplied as f32, a cache of half the bytes would take the time of
//! bf16, because the arithmetic would be the limit; 16-bit integers go two to a lane:
//!
//! * a query row of a head becomes 16-bit integers with one scale, its largest magnitude being 32767; the
//!   score is the integer dot product as f32, times the key's scale, times (the query's scale times the
//!   factor on scores);
//! * the weights of a span, each times its value's scale, become 16-bit integers with one scale a head, the
//!   largest being 32767; the integer sum over the span as f32, times that scale, is the span's o. Half a
//!   step of a weight is 1/65534 of the largest, far below the half step of 1/254 that the values themselves
//!   are rounded by.
//!
//! Sums do not overflow: D is at most `HEAD_DIM_MAX` and a span 512, and 512 x 32767 x 127 is below 2^31.
//! Integers are exact in any order, so the tiers agree whatever their order. A row with NaN or an infinity
//! has scale NaN.

use std::ops::Range;

use super::{CacheFormat, UnitScratch};
use crate::attention::inputs::{AttentionParams, KvSlice};
use crate::attention::loops::AttentionLoops;
use crate::attention::pairs::{pack_i16, round_i32};
use crate::attention::shape::{
    BLOCK, BlockRows, IntLanes, Lanes, SPAN, SpanView, UnitShape, View, WorkUnit, for_each_query,
    pair_values, place_in_chain, rows_of,
};
use crate::lanes::LANES;

/// The largest integer of a key or value.
const KV_MAX: f32 = 127.0;
/// The largest integer of a query or weight.
const WIDE_MAX: f32 = 32_767.0;
/// Rows whose largest magnitude is smaller are zero: 2^-100, far from where the inverse overflows.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);
/// Writes the keys or the values of one position as int8, each head with its own scale.
///
/// The scale is the largest magnitude over 127, and numbers are rounded to the nearest multiple, ties to
/// even. A head that holds NaN or an infinity gets scale NaN and zeros, so what is read of it is NaN; one
/// whose largest magnitude is under 2^-100 gets zeros.
///
/// Shapes: `values [K, D]`, `scales [K]`, `row [K, D]`.
/// Panics: when the lengths do not fit.
pub fn quantize_kv(values: &mut [i8], scales: &mut [f32], row: &[f32]) {
    assert_eq!(values.len(), row.len(), "quantize_kv: values and row are [K, D]");
    assert!(!scales.is_empty() && row.len().is_multiple_of(scales.len()), "quantize_kv: scales are [K]");
    let d = row.len() / scales.len();
    for ((values, row), scale) in values.chunks_exact_mut(d).zip(row.chunks_exact(d)).zip(scales) {
        let (inverse, step) = steps(largest_magnitude(row), KV_MAX);
        *scale = step;
        for (value, number) in values.iter_mut().zip(row) {
            *value = round_i32(*number * inverse) as i8;
        }
    }
}

/// The largest magnitude; NaN if there is one.
#[inline(always)]
fn largest_magnitude(row: &[f32]) -> f32 {
    // By bits: the order of magnitudes is theirs, with NaN above all.
    let bits = row.iter().fold(0, |largest, number| (number.to_bits() & (u32::MAX >> 1)).max(largest));
    f32::from_bits(bits)
}

/// The factor that makes `largest` the integer `most`, and the size of a step: zeros if it is tiny, and a
/// step of NaN if it is not finite.
#[inline(always)]
fn steps(largest: f32, most: f32) -> (f32, f32) {
    if !largest.is_finite() {
        (0.0, f32::NAN)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (most / largest, largest / most)
    }
}

/// What a unit keeps for an int8 cache.
struct Packed<'a> {
    /// `[chains, pairs, 8, 2]`, each element two numbers.
    queries: &'a mut [i32],
    /// `[BLOCK, pair width]`; the numbers beyond D stay zero.
    keys: &'a mut [i32],
    /// `[chains, SPAN / 2]`: weights of two positions.
    weights: &'a mut [IntLanes],
    /// `[BLOCK / 2, D]`: values of two positions.
    values: &'a mut [i32],
    /// `[chains, 8, D]`
    sums: &'a mut [i32],
    /// `[chains]`
    query_scales: &'a mut [Lanes],
    /// `[chains]`
    weight_scales: &'a mut [Lanes],
    /// `[kv heads, SPAN]`
    value_scales: &'a mut [f32],
}

/// Lengths of the parts of [`Packed`], in its order. Units: floats.
fn part_lens(params: &AttentionParams<'_>, chains: UnitShape) -> [usize; 8] {
    let (d, width) = (params.head_dim, params.pair_width());
    [
        chains.count * width * LANES,
        BLOCK * width,
        chains.count * SPAN / 2 * LANES,
        BLOCK / 2 * d,
        chains.count * LANES * d,
        chains.count * LANES,
        chains.count * LANES,
        chains.count * SPAN,
    ]
}

#[inline(always)]
fn packed<'a>(params: &AttentionParams<'_>, chains: UnitShape, work: &'a mut [f32]) -> Packed<'a> {
    let lens = part_lens(params, chains);
    let (queries, work) = work.split_at_mut(lens[0]);
    let (keys, work) = work.split_at_mut(lens[1]);
    let (weights, work) = work.split_at_mut(lens[2]);
    let (values, work) = work.split_at_mut(lens[3]);
    let (sums, work) = work.split_at_mut(lens[4]);
    let (query_scales, work) = work.split_at_mut(lens[5]);
    let (weight_scales, work) = work.split_at_mut(lens[6]);
    Packed {
        queries: bytemuck::cast_slice_mut(queries),
        keys: bytemuck::cast_slice_mut(keys),
        weights: bytemuck::cast_slice_mut(weights),
        values: bytemuck::cast_slice_mut(values),
        sums: bytemuck::cast_slice_mut(sums),
        query_scales: query_scales.as_chunks_mut().0,
        weight_scales: weight_scales.as_chunks_mut().0,
        value_scales: &mut work[..lens[7]],
    }
}

/// Integer dot products to scores, in place.
#[inline(always)]
fn scale_dots(scores: &mut [Lanes], key_scales: &[f32], query_scales: &Lanes) {
    // In two steps, because the compiler makes wide instructions of neither if they are one.
    for score in scores.as_flattened_mut() {
        *score = (score.to_bits() as i32) as f32;
    }
    let query_scales = *query_scales;
    for (scores, key_scale) in scores.iter_mut().zip(key_scales) {
        *scores = std::array::from_fn(|h| scores[h] * *key_scale * query_scales[h]);
    }
}

/// A row of keys by pairs of neighbors; the numbers beyond D are zero.
#[inline(always)]
fn pair_neighbors(key: &mut [i32], row: &[i8]) {
    let (key, padding) = bytemuck::cast_slice_mut::<i32, i16>(key).split_at_mut(row.len());
    for (key, number) in key.iter_mut().zip(row) {
        // Little-endian, so the first of a pair is its low half.
        *key = i16::from(*number);
    }
    padding.fill(0);
}

/// The scales of the span's values, `[kv heads, SPAN]`.
#[inline(always)]
fn collect_value_scales(span: &SpanView<'_>, value_scales: &mut [f32]) {
    for block in span.blocks::<BLOCK>() {
        let rows: BlockRows<'_, _, BLOCK> =
            rows_of(span.view.runs, &block, span.params.num_kv_heads, |run| scales(run.values));
        for head in 0..span.unit.num_heads {
            let value_scales = &mut value_scales[head * SPAN + block.start - span.start..][..block.len()];
            for (scale, row) in value_scales.iter_mut().zip(rows) {
                *scale = row[span.unit.first_head + head];
            }
        }
    }
}

/// Weights times scales as integers, by pairs of positions, and the size of their step: 0 where nothing is
/// visible.
///
/// Shapes: `weights [SPAN / 2]`, `scores [SPAN]`, `scales [SPAN]`, `visible` counted from the start of the
/// span.
#[inline(always)]
fn pack_weights<A: AttentionLoops>(
    loops: A,
    weights: &mut [IntLanes],
    scores: &mut [Lanes],
    scales: &[f32],
    visible: Range<usize>,
) -> Lanes {
    let mut largest = [0_u32; LANES];
    for (scores, scale) in scores[visible.clone()].iter_mut().zip(&scales[visible.clone()]) {
        for (score, largest) in scores.iter_mut().zip(&mut largest) {
            *score *= *scale;
            *largest = (score.to_bits() & (u32::MAX >> 1)).max(*largest);
        }
    }
    let both = largest.map(|bits| steps(f32::from_bits(bits), WIDE_MAX));
    let inverse = both.map(|(inverse, _)| inverse);
    // What is not visible, of a pair or of a block that others see, has weight zero.
    let blocks = visible.start / BLOCK * BLOCK..visible.end.next_multiple_of(BLOCK);
    scores[blocks.start..visible.start].as_flattened_mut().fill(0.0);
    scores[visible.end..blocks.end].as_flattened_mut().fill(0.0);
    let weights = &mut weights[blocks.start / 2..blocks.end / 2];
    loops.round_int_pairs(weights, &scores[blocks], &inverse);
    both.map(|(_, step)| step)
}

/// The integers of an int8 slice.
fn numbers(slice: KvSlice<'_>) -> &[i8] {
    let KvSlice::Q8 { values, .. } = slice else { panic!("attention: runs are of one type") };
    values
}

/// The scales of an int8 slice.
fn scales(slice: KvSlice<'_>) -> &[f32] {
    let KvSlice::Q8 { scales, .. } = slice else { panic!("attention: runs are of one type") };
    scales
}

/// Keys and values in int8.
pub(crate) struct Int8Cache;

impl CacheFormat for Int8Cache {
    fn work_len(params: &AttentionParams<'_>, chains: UnitShape) -> usize {
        part_lens(params, chains).iter().sum()
    }

    /// Quantizes the queries of a unit and lays them out by pairs of elements; heads that are missing are
    /// zero.
    #[inline(always)]
    fn pack_queries(params: &AttentionParams<'_>, view: &View<'_>, unit: &WorkUnit, work: &mut [f32]) {
        let width = params.pair_width();
        let Packed { queries, query_scales, .. } = packed(params, UnitShape::new(unit, params), work);
        queries.fill(0);
        query_scales.as_flattened_mut().fill(0.0);
        for_each_query(params, view, unit, |chain, lane, q| {
            let (inverse, step) = steps(largest_magnitude(q), WIDE_MAX);
            query_scales[chain][lane] = step * params.scale;
            let queries = &mut queries[chain * width * LANES..][..width * LANES];
            for (i, pair) in q.chunks(2).enumerate() {
                let (low, high) = (pair[0], pair.get(1).copied().unwrap_or(0.0));
                queries[place_in_chain(i, lane)] =
                    pack_i16(round_i32(low * inverse) as i16, round_i32(high * inverse) as i16);
            }
        });
    }

    #[inline(always)]
    fn score_keys<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let (chains, width) = (span.chains, span.params.pair_width());
        let (runs, kv_heads) = (span.view.runs, span.params.num_kv_heads);
        let packed = packed(span.params, chains, work.rest);
        let mut next: BlockRows<'_, _, BLOCK> = span.keys(&span.first_block::<BLOCK>(), numbers);
        for block in span.blocks::<BLOCK>() {
            let rows = next;
            next = span.after_keys(&block, numbers);
            let scale_rows: BlockRows<'_, _, BLOCK> = rows_of(runs, &block, kv_heads, |run| scales(run.keys));
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let mut key_scales = [0.0; BLOCK];
                for (scale, row) in key_scales.iter_mut().zip(scale_rows) {
                    *scale = row.get(span.unit.first_head + head).copied().unwrap_or(0.0);
                }
                for (key, row) in packed.keys.chunks_exact_mut(width).zip(&rows[..block.len()]) {
                    pair_neighbors(key, &row[span.columns(head)]);
                }
                for token in 0..span.unit.num_tokens {
                    let visible = span.visible(token, &block);
                    let first = visible.start - block.start;
                    for chain in chains.of(head, token) {
                        let q = &packed.queries[chain * width * LANES..][..width * LANES];
                        let scores = &mut work.scores[chain * SPAN..][..SPAN][span.local(&visible)];
                        let keys = &packed.keys[first * width..][..visible.len() * width];
                        loops.int_scores(bytemuck::cast_slice_mut(scores), q, keys, &mut ahead);
                        scale_dots(scores, &key_scales[first..], &packed.query_scales[chain]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn add_values<A: AttentionLoops>(loops: A, span: &SpanView<'_>, work: &mut UnitScratch<'_>) {
        let (chains, d) = (span.chains, span.params.head_dim);
        let packed = packed(span.params, chains, work.rest);
        collect_value_scales(span, packed.value_scales);
        for head in 0..span.unit.num_heads {
            let scales = &packed.value_scales[head * SPAN..][..SPAN];
            for token in 0..span.unit.num_tokens {
                let visible = span.local(&span.visible(token, &span.range));
                for chain in chains.of(head, token) {
                    let weights = &mut packed.weights[chain * SPAN / 2..][..SPAN / 2];
                    let scores = &mut work.scores[chain * SPAN..][..SPAN];
                    packed.weight_scales[chain] =
                        pack_weights(loops, weights, scores, scales, visible.clone());
                }
            }
        }
        packed.sums.fill(0);
        let mut next: BlockRows<'_, _, BLOCK> = span.values(&span.first_block::<BLOCK>(), numbers);
        for block in span.blocks::<BLOCK>() {
            let rows = next;
            next = span.values(&span.block_after::<BLOCK>(&block), numbers);
            let mut ahead = span.ahead(&next);
            for head in 0..span.unit.num_heads {
                let pairs = pair_values(packed.values, span, &block, &rows, &span.columns(head), i16::from);
                let values = &packed.values[..pairs.len() * d];
                for token in 0..span.unit.num_tokens {
                    if span.visible(token, &block).is_empty() {
                        continue;
                    }
                    for chain in chains.of(head, token) {
                        let weights = &packed.weights[chain * SPAN / 2..][pairs.clone()];
                        let sums = &mut packed.sums[chain * LANES * d..][..LANES * d];
                        loops.int_add_values(sums, weights, values, &mut ahead);
                    }
                }
            }
        }
        for chain in 0..chains.count {
            let sums = &mut work.results[chain * chains.result()..][..chains.result()][2 * LANES..];
            let rows = sums.chunks_exact_mut(d).zip(packed.sums[chain * LANES * d..].chunks_exact(d));
            for ((row, ints), scale) in rows.zip(&packed.weight_scales[chain]) {
                for (sum, int) in row.iter_mut().zip(ints) {
                    *sum = *int as f32 * *scale;
                }
            }
        }
    }
}
