//! Attention of query rows over the keys and values of sequences, with one learned sink logit per head.
//!
//! Entry point: [`attention`], which takes any number of [`AttentionJob`]s, one a sequence, and shares all of them
//! between the threads in one go. Keys and values come as runs of consecutive positions, so that a ring of a windowed
//! layer is two runs and a paged cache is one run a page.
//!
//! Flash-style: keys are taken in spans of [`SPAN`] positions by absolute position (0..512, 512..1024, ...). A span is
//! reduced on its own to its largest score m, the sum l of `exp(score - m)` and the values o weighted by the same;
//! spans are joined in ascending order into a running (M, L, O) that starts as (sink, 1, 0), and `O / L` is the output.
//! What a query row sees of a span depends on its position alone, so neither do its numbers depend on anything else:
//! not on how a prompt was cut, on the runs, on other rows or sequences, on the tier or the number of threads.
//! The orders inside a span are written in `attention/float.rs` and, for a bf16 or int8 cache, `attention/bfloat16.rs` and `attention/int8.rs`.
//!
//! `attention/plan.rs` cuts jobs into units of work, `attention/unit.rs` does one unit. The query heads that share a
//! kv head stand side by side in lanes, so a key or value is read from memory once for all of them.
//!
//! This module does not know caches, layers or rotary positions.

mod arithmetic;
mod bfloat16;
mod float;
mod int8;
mod plan;
mod unit;

use std::cell::Cell;
use std::mem::discriminant;

use half::bf16;

use self::arithmetic::Plain;
use self::plan::{Join, Plan};
use self::unit::{Output, Unit, View, finish_rows, partial_lanes, run_unit, scratch_len};
use crate::lanes::LANES;
use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_attention::Avx2, avx512_attention::Avx512};
use crate::tier::{Instructions, per_tier};

pub(crate) use self::arithmetic::{
    Arithmetic, IntLanes, Lanes, add_values_from, int_add_values_from, pair, pair_add_values_from,
    plain_pair_scores,
};
pub(crate) use self::bfloat16::SMALLEST as SMALLEST_IN_BF16;
pub use self::bfloat16::kv_bf16;
pub use self::int8::quantize_kv;

/// Positions that are reduced on their own before they are joined with the spans before them. Part of the order of
/// summation: another number gives other bits.
pub(crate) const SPAN: usize = 512;

/// The longest row of a head in bf16 or int8. With it, the integer dot product of an int8 cache stays below 2^31. Units: numbers.
pub(crate) const HEAD_DIM_MAX: usize = 512;

/// The row of a head that the fastest loops are compiled for, gpt-oss's. Units: numbers.
pub(crate) const HEAD_DIM_USUAL: usize = 64;

/// Keys or values in the type of the cache.
#[derive(Clone, Copy, Debug)]
pub enum KvSlice<'a> {
    /// Exact mode. Shapes: `[len, K, D]`.
    F32(&'a [f32]),
    /// Fast mode, each number made by [`kv_bf16`]. Shapes: `[len, K, D]`.
    Bf16(&'a [bf16]),
    /// Half the bytes of `Bf16`, written by [`quantize_kv`]: number `d` of a head is `values[d] * scale`.
    Q8 {
        /// `[len, K, D]`
        values: &'a [i8],
        /// `[len, K]`
        scales: &'a [f32],
    },
}

/// Keys and values of consecutive positions, both in the same type.
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

/// The query rows of one sequence, at consecutive positions, and what they look at.
#[derive(Debug)]
pub struct AttentionJob<'a> {
    /// `[T, H, D]`
    pub out: &'a mut [f32],
    /// `[T, H, D]`
    pub q: &'a [f32],
    /// Any number of runs, each beginning where the one before ends; all of one type.
    pub runs: &'a [KvRun<'a>],
    /// Absolute position of the first query row.
    pub first_position: usize,
}

/// What the jobs of an attention call share.
#[derive(Clone, Copy, Debug)]
pub struct AttentionParams<'a> {
    /// Query heads H.
    pub num_query_heads: usize,
    /// Key and value heads K; query head `h` reads kv head `h / (H / K)`.
    pub num_kv_heads: usize,
    /// Values per head D.
    pub head_dim: usize,
    /// How many keys a row sees, its own among them; `None` sees all.
    pub window: Option<usize>,
    /// `[H]` sink logits, not scaled.
    pub sinks: &'a [f32],
    /// Factor on the scores, `1 / sqrt(D)`.
    pub scale: f32,
}

impl AttentionParams<'_> {
    /// Query heads that share a kv head.
    fn group(&self) -> usize {
        self.num_query_heads / self.num_kv_heads
    }

    /// Groups of [`LANES`] query heads that a kv head's heads fill, the last one perhaps in part.
    fn lane_groups(&self) -> usize {
        self.group().div_ceil(LANES)
    }

    /// Numbers of a query row.
    fn row(&self) -> usize {
        self.num_query_heads * self.head_dim
    }

    /// Numbers of a cache row.
    fn kv_row(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Elements of a head's row by pairs of numbers: an even count of them.
    fn pair_width(&self) -> usize {
        self.head_dim.next_multiple_of(4) / 2
    }

    /// The positions that a query at `position` sees.
    #[inline(always)]
    fn visible(&self, position: usize) -> std::ops::Range<usize> {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))..position + 1
    }
}

/// Softmax attention with a sink in the denominator, causal, over all keys or a window of them, of every job.
///
/// A job of no rows is fine. Costs some microseconds beside the arithmetic, so many sequences belong in one call.
///
/// Shapes: of a job `out [T, H, D]`, `q [T, H, D]`, runs `[len, K, D]`.
/// Units: positions and window in tokens. The row at position p sees keys `p - window + 1 ..= p`.
/// Panics: when a length does not fit, or the runs are not consecutive or do not hold every key in sight.
/// Source: openai/gpt-oss `gpt_oss/torch/model.py`, function sdpa.
pub fn attention(pool: &Pool, jobs: &mut [AttentionJob<'_>], params: &AttentionParams<'_>) {
    assert_params(params);
    jobs.iter().for_each(|job| assert_job(job, params));
    let mut plan = PLAN.take();
    plan.fill(jobs, params, pool.threads());
    let mut sequences: Vec<Sequence<'_>> = SEQUENCES.take();
    sequences.extend(jobs.iter_mut().map(|job| {
        let view = View { q: job.q, runs: job.runs, first_position: job.first_position };
        (view, SharedRows::new(job.out, params.row()))
    }));
    run_plan(pool, &plan, &sequences, params);
    PLAN.set(plan);
    sequences.clear();
    // An empty list keeps its memory when it is collected again, also for another lifetime.
    SEQUENCES.set(sequences.into_iter().map(|_| unreachable!("the list is empty")).collect());
}

/// What one sequence's rows look at, and where their results go.
type Sequence<'a> = (View<'a>, SharedRows<'a, f32>);

thread_local! {
    /// The last call's plan, for its memory.
    static PLAN: Cell<Plan> = Cell::default();
    /// Empty between calls.
    static SEQUENCES: Cell<Vec<Sequence<'static>>> = const { Cell::new(Vec::new()) };
}

fn run_plan(pool: &Pool, plan: &Plan, sequences: &[Sequence<'_>], params: &AttentionParams<'_>) {
    with_scratch(plan.partial_lanes, |partials: &mut [Lanes]| {
        let shared = SharedRows::new(partials, plan.partial_lanes);
        pool.run(plan.units.len(), |index| {
            let unit = &plan.units[index];
            let output = match unit.partial {
                None => Output::Rows(&sequences[unit.job].1),
                Some(first) => {
                    // SAFETY: each unit has its own range of partial results.
                    let lanes = unsafe { shared.part(0, first, partial_lanes(unit, params)) };
                    Output::Partials(lanes)
                }
            };
            on_tier(pool.instructions(), params, &sequences[unit.job].0, unit, output);
        });
        let partials = &*partials;
        pool.run(plan.joins.len(), |index| {
            let join = &plan.joins[index];
            let (view, rows) = &sequences[join.job];
            with_scratch(LANES * (2 + params.head_dim), |state: &mut [f32]| {
                per_tier!(
                    pool.instructions(),
                    finish_rows(
                        params: &AttentionParams<'_>,
                        view: &View<'_>,
                        join: &Join,
                        partials: &[Lanes],
                        rows: &SharedRows<'_, f32>,
                        state: &mut [f32],
                    )
                );
            });
        });
    });
}

fn on_tier(
    instructions: Instructions,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &Unit,
    output: Output<'_>,
) {
    let len = scratch_len(params, view, unit);
    with_scratch(len, |scratch: &mut [f32]| match instructions {
        Instructions::Scalar => run_unit::<Plain>(params, view, unit, output, scratch),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a pool carries only tiers that this processor supports.
        Instructions::Avx2(_) => unsafe { run_unit_avx2(params, view, unit, output, scratch) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Instructions::Avx512(_) => unsafe { run_unit_avx512(params, view, unit, output, scratch) },
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_unit_avx2(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &Unit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    run_unit::<Avx2>(params, view, unit, output, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn run_unit_avx512(
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &Unit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    run_unit::<Avx512>(params, view, unit, output, scratch);
}

impl KvSlice<'_> {
    fn len(&self) -> usize {
        match self {
            KvSlice::F32(values) => values.len(),
            KvSlice::Bf16(values) => values.len(),
            KvSlice::Q8 { values, .. } => values.len(),
        }
    }
}

fn assert_params(params: &AttentionParams<'_>) {
    let (heads, kv_heads) = (params.num_query_heads, params.num_kv_heads);
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "attention: {heads} heads over {kv_heads}");
    assert_eq!(params.sinks.len(), heads, "attention: sinks are [H]");
    assert_ne!(params.window, Some(0), "attention: a window holds the current key at least");
}

fn assert_job(job: &AttentionJob<'_>, params: &AttentionParams<'_>) {
    assert_eq!(job.out.len(), job.q.len(), "attention: out and q are [T, H, D]");
    assert!(job.q.len().is_multiple_of(params.row().max(1)), "attention: q is [T, H, D]");
    let t = job.q.len() / params.row().max(1);
    let Some(first_run) = job.runs.first() else {
        assert_eq!(t, 0, "attention: no keys");
        return;
    };
    let d = params.head_dim;
    let is_short = d <= HEAD_DIM_MAX || matches!(first_run.keys, KvSlice::F32(_));
    assert!(is_short, "attention: heads of {d} in bf16 or int8, {HEAD_DIM_MAX} at most");
    let (row, mut next) = (params.kv_row(), first_run.first_position);
    for run in job.runs {
        assert_eq!(run.first_position, next, "attention: runs follow one another");
        for slice in [run.keys, run.values] {
            assert_eq!(slice.len(), run.len * row, "attention: keys and values are [len, K, D]");
            let is_same = discriminant(&slice) == discriminant(&first_run.keys);
            assert!(is_same, "attention: runs are of one type");
            if let KvSlice::Q8 { scales, .. } = slice {
                assert_eq!(scales.len(), run.len * params.num_kv_heads, "attention: scales are [len, K]");
            }
        }
        next += run.len;
    }
    let first_seen = params.visible(job.first_position).start;
    let held = first_run.first_position <= first_seen && job.first_position + t <= next;
    assert!(t == 0 || held, "attention: a key in sight is in no run");
}
