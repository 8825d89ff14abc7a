//! Attention of query rows over the keys and values of one sequence, with one learned sink logit per head.
//!
//! Entry point: [`attention`]. Keys and values come as runs of consecutive positions, so that a ring of a
//! windowed layer is two runs, and a cache plus a fresh chunk are two as well. The reduction order of an output is a
//! function of its query row alone, by absolute position, so it does not matter how a prompt was cut, where the
//! ring begins or how many threads there are:
//! scores are dot products in the lanes of [`crate::lanes`], times the scale; the largest of scores and sink is
//! subtracted; the sum of exponentials goes to lane `position % 8`, ascending, then the tree, then the sink's;
//! values are added by ascending position with fused multiply-add; one division at the end.
//!
//! The query heads that share a kv head are handled together, so its keys and values are read once for all.
//! Scores are kept in memory: 4 bytes per head of the group and position (4 MB at 131,072 positions, group 8).
//!
//! This module does not know caches, layers or rotary positions.

use half::bf16;

use crate::embedding::widen;
use crate::exp::exp;
use crate::lanes::{LANES, dot, sum_from};
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_attention;
use crate::{Pool, Tier};

/// Keys or values in the type of the cache.
#[derive(Clone, Copy, Debug)]
pub enum KvSlice<'a> {
    /// Exact mode.
    F32(&'a [f32]),
    /// Fast mode.
    Bf16(&'a [bf16]),
}

/// Keys and values of consecutive positions.
#[derive(Clone, Copy, Debug)]
pub struct KvRun<'a> {
    /// `[len, K, D]`
    pub keys: KvSlice<'a>,
    /// `[len, K, D]`
    pub values: KvSlice<'a>,
    /// Absolute position of the first row.
    pub first_position: usize,
    /// Rows.
    pub len: usize,
}

/// The sizes of an attention call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionDims {
    /// Query rows, at consecutive positions.
    pub t: usize,
    /// Query heads H.
    pub num_query_heads: usize,
    /// Key and value heads K; query head `h` reads kv head `h / (H / K)`.
    pub num_kv_heads: usize,
    /// Values per head D.
    pub head_dim: usize,
}

/// What an attention call needs besides queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct AttentionParams<'a> {
    /// The sizes.
    pub dims: AttentionDims,
    /// Absolute position of the first query row.
    pub first_position: usize,
    /// How many keys a row sees, its own among them; `None` sees all.
    pub window: Option<usize>,
    /// `[H]` sink logits, not scaled.
    pub sinks: &'a [f32],
    /// Factor on the scores, `1 / sqrt(D)`.
    pub scale: f32,
}

/// Softmax attention with a sink in the denominator, causal, over all keys or a window of them.
///
/// Shapes: `out [T, H, D]`, `q [T, H, D]`, runs `[len, K, D]`.
/// Units: positions and window in tokens. The row at position p sees keys `p - window + 1 ..= p`.
/// Panics: when a length does not fit, or the runs are not consecutive or do not hold every key in sight.
/// Source: openai/gpt-oss `gpt_oss/torch/model.py`, function sdpa.
pub fn attention(pool: &Pool, out: &mut [f32], q: &[f32], runs: &[KvRun<'_>], params: &AttentionParams<'_>) {
    let dims = params.dims;
    assert_shapes(out, q, runs, params);
    let group = dims.num_query_heads / dims.num_kv_heads;
    let out = SharedRows::new(out, dims.num_query_heads * dims.head_dim);
    pool.run(dims.t * dims.num_kv_heads, |task| {
        let (t, kv_head) = (task / dims.num_kv_heads, task % dims.num_kv_heads);
        let width = group * dims.head_dim;
        // SAFETY: this task alone writes the heads of `kv_head` in row `t`.
        let out = unsafe { out.part(t, kv_head * width, width) };
        let q = &q[(t * dims.num_kv_heads + kv_head) * width..][..width];
        let sinks = &params.sinks[kv_head * group..][..group];
        let task = Task { out, q, runs, sinks, sight: Sight::new(params, t, kv_head) };
        with_scratch(task.scratch_len(), |scratch: &mut [f32]| match pool.tier() {
            Tier::Scalar => attend_group::<Plain>(task, scratch),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a pool carries only tiers that this processor supports.
            Tier::Avx2 | Tier::Avx512Vnni => unsafe { attend_group_avx2(task, scratch) },
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512Vnni => unreachable!("not supported here"),
        });
    });
}

/// One query row and one kv head.
struct Task<'a> {
    /// `[group, D]`
    out: &'a mut [f32],
    /// `[group, D]`
    q: &'a [f32],
    runs: &'a [KvRun<'a>],
    /// `[group]`
    sinks: &'a [f32],
    sight: Sight,
}

impl Task<'_> {
    /// Floats for a block of keys, the sums and the scores.
    fn scratch_len(&self) -> usize {
        KEY_BLOCK * self.sight.head_dim + self.sinks.len() * (1 + self.sight.num_keys())
    }
}

/// What one task looks at: the visible positions and the kv head.
struct Sight {
    first: usize,
    end: usize,
    kv_head: usize,
    num_kv_heads: usize,
    head_dim: usize,
    scale: f32,
}

impl Sight {
    fn new(params: &AttentionParams<'_>, t: usize, kv_head: usize) -> Sight {
        let end = params.first_position + t + 1;
        Sight {
            first: params.window.map_or(0, |window| end.saturating_sub(window)),
            end,
            kv_head,
            num_kv_heads: params.dims.num_kv_heads,
            head_dim: params.dims.head_dim,
            scale: params.scale,
        }
    }

    fn num_keys(&self) -> usize {
        self.end - self.first
    }

    /// The visible positions of a run.
    #[inline(always)]
    fn visible(&self, run: &KvRun<'_>) -> std::ops::Range<usize> {
        self.first.max(run.first_position)..self.end.min(run.first_position + run.len)
    }

    /// Widens the rows of this kv head at positions `first..` of a run into `rows [n, D]`.
    #[inline(always)]
    fn load(&self, rows: &mut [f32], slice: KvSlice<'_>, run: &KvRun<'_>, first: usize) {
        let stride = self.num_kv_heads * self.head_dim;
        let mut place = (first - run.first_position) * stride + self.kv_head * self.head_dim;
        for row in rows.chunks_exact_mut(self.head_dim) {
            match slice {
                KvSlice::F32(values) => row.copy_from_slice(&values[place..][..row.len()]),
                KvSlice::Bf16(values) => {
                    for (row, value) in row.iter_mut().zip(&values[place..][..self.head_dim]) {
                        *row = widen(*value);
                    }
                }
            }
            place += stride;
        }
    }
}

/// Keys that are widened at a time: 32 rows of 64 floats are 8 KB.
const KEY_BLOCK: usize = 32;

/// The inner loops of [`attend_group`], one form a tier.
trait Arithmetic {
    /// `scores[i] = dot(q, keys[i]) * scale`.
    fn scores(scores: &mut [f32], q: &[f32], keys: &[f32], scale: f32);
    /// `out[d] = weights[i] * values[i][d] + out[d]`, i ascending.
    fn accumulate(out: &mut [f32], weights: &[f32], values: &[f32]);
}

struct Plain;

impl Arithmetic for Plain {
    fn scores(scores: &mut [f32], q: &[f32], keys: &[f32], scale: f32) {
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(q.len())) {
            *score = dot(q, key) * scale;
        }
    }

    fn accumulate(out: &mut [f32], weights: &[f32], values: &[f32]) {
        for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
            for (out, value) in out.iter_mut().zip(value) {
                *out = weight.mul_add(*value, *out);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Avx2 {
    #[inline(always)]
    fn scores(scores: &mut [f32], q: &[f32], keys: &[f32], scale: f32) {
        // SAFETY: used by `attend_group_avx2` alone, which has these features.
        unsafe { avx2_attention::scores(scores, q, keys, scale) }
    }

    #[inline(always)]
    fn accumulate(out: &mut [f32], weights: &[f32], values: &[f32]) {
        // SAFETY: as above.
        unsafe { avx2_attention::accumulate(out, weights, values) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn attend_group_avx2(task: Task<'_>, scratch: &mut [f32]) {
    attend_group::<Avx2>(task, scratch);
}

/// One kv head and the query heads that share it, for one row.
///
/// Shapes: `scratch [scratch_len]`. It takes no closures, so that all of it is compiled for the tier.
#[inline(always)]
fn attend_group<A: Arithmetic>(task: Task<'_>, scratch: &mut [f32]) {
    let Task { out, q, runs, sinks, sight } = task;
    let (d, num_keys) = (sight.head_dim, sight.num_keys());
    let (buffer, scratch) = scratch.split_at_mut(KEY_BLOCK * d);
    let (sums, scores) = scratch.split_at_mut(sinks.len());
    for run in runs {
        let visible = sight.visible(run);
        for first in visible.clone().step_by(KEY_BLOCK) {
            let rows = &mut buffer[..KEY_BLOCK.min(visible.end - first) * d];
            sight.load(rows, run.keys, run, first);
            for (scores, q) in scores.chunks_exact_mut(num_keys).zip(q.chunks_exact(d)) {
                A::scores(&mut scores[first - sight.first..][..rows.len() / d], q, rows, sight.scale);
            }
        }
    }
    for ((scores, sink), sum) in scores.chunks_exact_mut(num_keys).zip(sinks).zip(sums.iter_mut()) {
        *sum = softmax_numerators(scores, *sink, sight.first);
    }
    out.fill(0.0);
    for run in runs {
        let visible = sight.visible(run);
        for first in visible.clone().step_by(KEY_BLOCK) {
            let rows = &mut buffer[..KEY_BLOCK.min(visible.end - first) * d];
            sight.load(rows, run.values, run, first);
            for (scores, out) in scores.chunks_exact(num_keys).zip(out.chunks_exact_mut(d)) {
                A::accumulate(out, &scores[first - sight.first..][..rows.len() / d], rows);
            }
        }
    }
    for (out, sum) in out.chunks_exact_mut(d).zip(sums) {
        for out in out {
            *out /= *sum;
        }
    }
}

/// Replaces scores by `exp(score - largest)` and gives their sum, the sink's share included.
#[inline(always)]
fn softmax_numerators(scores: &mut [f32], sink: f32, first_position: usize) -> f32 {
    let largest = largest(scores, sink);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    sum_from(first_position, scores) + exp(sink - largest)
}

/// The largest of scores and sink; the order does not matter, and a NaN makes the sum NaN later on.
#[inline(always)]
fn largest(scores: &[f32], sink: f32) -> f32 {
    let mut lanes = [sink; LANES];
    let (body, tail) = scores.as_chunks::<LANES>();
    for scores in body.iter() {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    lanes.iter().chain(tail).fold(sink, |largest, score| if *score > largest { *score } else { largest })
}

impl KvSlice<'_> {
    fn len(&self) -> usize {
        match self {
            KvSlice::F32(values) => values.len(),
            KvSlice::Bf16(values) => values.len(),
        }
    }
}

fn assert_shapes(out: &[f32], q: &[f32], runs: &[KvRun<'_>], params: &AttentionParams<'_>) {
    let dims = params.dims;
    let (heads, kv_heads) = (dims.num_query_heads, dims.num_kv_heads);
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "attention: {heads} heads over {kv_heads}");
    assert_eq!(out.len(), dims.t * heads * dims.head_dim, "attention: out is [T, H, D]");
    assert_eq!(q.len(), out.len(), "attention: q is [T, H, D]");
    assert_eq!(params.sinks.len(), heads, "attention: sinks are [H]");
    assert_ne!(params.window, Some(0), "attention: a window holds the current key at least");
    let Some(first_run) = runs.first() else {
        assert_eq!(dims.t, 0, "attention: no keys");
        return;
    };
    let mut next = first_run.first_position;
    for run in runs {
        assert_eq!(run.first_position, next, "attention: runs follow one another");
        assert_eq!(run.keys.len(), run.len * kv_heads * dims.head_dim, "attention: keys are [len, K, D]");
        assert_eq!(run.values.len(), run.keys.len(), "attention: values are [len, K, D]");
        next += run.len;
    }
    let first_seen = params.window.map_or(0, |window| (params.first_position + 1).saturating_sub(window));
    let held = first_run.first_position <= first_seen && params.first_position + dims.t <= next;
    assert!(dims.t == 0 || held, "attention: a key in sight is in no run");
}
