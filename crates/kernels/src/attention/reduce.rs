//! Softmax of a span, and how spans are merged.
//!
//! The softmax of a span: m is the largest visible score, at least the lowest finite number; `exp(score -
//! m)`; l is summed in four chains by position modulo 4, ascending, then `(c0 + c2) + (c1 + c3)`. The merge
//! of (m, l, o) with (M, L, O): the larger maximum M', `a = exp(M - M')`, `b = exp(m - M')`, `L = l b + L a`
//! and `O = o b + O a`, each the product with `a` rounded first, then one fused multiply-add.

use super::inputs::AttentionParams;
use super::shape::Lanes;
use crate::exp::exp;
use crate::lanes::LANES;
use crate::rows::SharedRows;

/// Where rows go when they are finished.
pub(crate) struct RowsOut<'a> {
    /// `[T, H * D]`
    pub(super) values: SharedRows<'a, f32>,
    /// `[T, H * 2]`: M and L of each head, for a backward pass.
    pub(super) softmax: Option<SharedRows<'a, f32>>,
}

/// Chains of the sum of a softmax.
const SUM_CHAINS: usize = 4;

/// Replaces scores by `exp(score - m)` and writes m and l to `result`.
#[inline(always)]
pub(super) fn softmax(result: &mut [f32], scores: &mut [Lanes], first_position: usize) {
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
pub(super) fn clear(state: &mut [f32], params: &AttentionParams<'_>, head: usize, group: usize) {
    state.fill(0.0);
    let first = head * params.group() + group * LANES;
    let heads = LANES.min(params.group() - group * LANES);
    state[..heads].copy_from_slice(&params.sinks[first..][..heads]);
    state[LANES..2 * LANES].fill(1.0);
}

/// Merges (m, l, o) of a span into (M, L, O).
#[inline(always)]
pub(super) fn merge(state: &mut [f32], result: &[f32]) {
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

/// Writes `O / L` of a kv head's lane group, and M and L where they are kept.
#[inline(always)]
pub(super) fn write(
    params: &AttentionParams<'_>,
    state: &[f32],
    rows: &RowsOut<'_>,
    token: usize,
    (head, group): (usize, usize),
) {
    let d = params.head_dim;
    let first = head * params.group() + group * LANES;
    let heads = LANES.min(params.group() - group * LANES);
    // SAFETY: one unit or one join alone writes the heads of this kv head in this row.
    let out = unsafe { rows.values.part(token, first * d, heads * d) };
    for (h, out) in out.chunks_exact_mut(d).enumerate() {
        for (out, value) in out.iter_mut().zip(&state[2 * LANES + h * d..]) {
            *out = *value / state[LANES + h];
        }
    }
    let Some(softmax) = &rows.softmax else { return };
    // SAFETY: as above.
    let kept = unsafe { softmax.part(token, 2 * first, 2 * heads) };
    for (h, kept) in kept.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *kept = [state[h], state[LANES + h]];
    }
}
