//! Attention of query rows over the keys and values of sequences, with one learned sink logit per head.
//!
//! Entry point: [`attention`], which takes any number of [`AttentionJob`]s, one a sequence, and shares all of
//! them between the threads in one go. Keys and values come as runs of consecutive positions, so that a ring
//! of a windowed layer is two runs and a paged cache is one run a page.
//!
//! Flash-style: keys are taken in spans of 512 positions by absolute position (0..512, 512..1024, ...). A
//! span is reduced on its own to its largest score m, the sum l of `exp(score - m)` and the values o weighted
//! by the same; spans are joined in ascending order into a running (M, L, O) that starts as (sink, 1, 0), and
//! `O / L` is the output. What a query row sees of a span depends on its position alone, so neither do its
//! numbers depend on anything else: not on how a prompt was cut, on the runs, on other rows or sequences, on
//! the tier or the number of threads. The orders inside a span are written in `attention/loops.rs` and, for
//! the softmax and the merge, in `attention/reduce.rs`.
//!
//! `backward.rs` is the gradient over packed documents (`documents.rs`), for which [`attention_saving`]
//! keeps what it needs. `inputs.rs` is what a call is given, `shape.rs` its geometry; `plan.rs` cuts jobs
//! into units of work, `unit.rs` does one, over a format of keys and values (`cache/`) with the inner loops
//! of a tier (`loops/`; a new one also has its line in `on_tier`). The query heads that share a kv head stand
//! side by side in lanes, so a key or value is read once; where few do, `few_heads.rs` has keys there.

mod backward;
mod cache;
mod documents;
#[cfg(target_arch = "x86_64")]
mod few_heads;
mod inputs;
mod loops;
mod pairs;
mod plan;
mod reduce;
mod shape;
mod unit;

use std::cell::Cell;
use std::mem::discriminant;

use self::cache::CacheFormat;
use self::cache::bfloat16::Bf16Cache;
use self::cache::float::FloatCache;
use self::cache::int8::Int8Cache;
use self::inputs::HEAD_DIM_MAX;
use self::loops::scalar::ScalarLoops;
use self::plan::{Plan, SpanMerge};
use self::reduce::RowsOut;
use self::shape::{Lanes, View, WorkUnit, partial_lanes};
use self::unit::{Output, finish_rows, run_unit, scratch_len};
use crate::lanes::LANES;
use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::tier::{Avx2, Avx512, Avx512Bf16};
use crate::tier::{Instructions, per_tier};

pub use self::backward::{AttentionGradients, AttentionRows, attention_backward};
pub use self::cache::int8::quantize_kv;
pub use self::documents::Document;
pub use self::inputs::{AttentionJob, AttentionParams, KvRun, KvSlice};
pub use self::pairs::kv_bf16;

/// Softmax attention with a sink in the denominator, causal, over all keys or a window of them, of every job.
///
/// A job of no rows is fine. Costs some microseconds beside the arithmetic, so many sequences belong in one
/// call.
///
/// Shapes: of a job `out [T, H, D]`, `q [T, H, D]`, runs `[len, K, D]`.
/// Units: positions and window in tokens. The row at position p sees keys `p - window + 1 ..= p`.
/// Panics: when a length does not fit, or the runs are not consecutive or do not hold every key in sight.
/// Source: openai/gpt-oss `gpt_oss/torch/model.py`, function sdpa.
pub fn attention(pool: &Pool, jobs: &mut [AttentionJob<'_>], params: &AttentionParams<'_>) {
    attend(pool, jobs, None, params);
}

/// [`attention`] that keeps of each row and head what [`attention_backward`] needs: the largest score M and
/// the sum L of `exp(score - M)`, the sink among them. The outputs are the same bits.
///
/// Shapes: `softmax [T, H, 2]` over the rows of all jobs in turn.
/// Panics: as [`attention`], and when the length of `softmax` does not fit.
pub fn attention_saving(
    pool: &Pool,
    jobs: &mut [AttentionJob<'_>],
    softmax: &mut [f32],
    params: &AttentionParams<'_>,
) {
    let rows: usize = jobs.iter().map(|job| job.q.len() / params.row().max(1)).sum();
    assert_eq!(softmax.len(), rows * params.num_query_heads * 2, "attention: softmax is [T, H, 2]");
    attend(pool, jobs, Some(softmax), params);
}

fn attend(
    pool: &Pool,
    jobs: &mut [AttentionJob<'_>],
    mut softmax: Option<&mut [f32]>,
    params: &AttentionParams<'_>,
) {
    assert_params(params);
    jobs.iter().for_each(|job| assert_job(job, params));
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = few_heads::suits(pool.instructions(), jobs, params) {
        let sequences: Vec<Sequence<'_>> =
            jobs.iter_mut().map(|job| sequence(job, &mut softmax, params)).collect();
        return few_heads::attend(pool, avx2, &sequences, params);
    }
    let mut plan = PLAN.take();
    plan.fill(jobs, params, pool.threads());
    let mut sequences: Vec<Sequence<'_>> = SEQUENCES.take();
    sequences.extend(jobs.iter_mut().map(|job| sequence(job, &mut softmax, params)));
    run_plan(pool, &plan, &sequences, params);
    PLAN.set(plan);
    sequences.clear();
    // An empty list keeps its memory when it is collected again, also for another lifetime.
    SEQUENCES.set(sequences.into_iter().map(|_| unreachable!("the list is empty")).collect());
}

/// A job's rows; `softmax` is cut off by what they keep.
fn sequence<'a, 'b: 'a>(
    job: &'a mut AttentionJob<'_>,
    softmax: &mut Option<&'b mut [f32]>,
    params: &AttentionParams<'_>,
) -> Sequence<'a> {
    let view = View { q: job.q, runs: job.runs, first_position: job.first_position };
    let kept = 2 * job.q.len() / params.head_dim.max(1);
    let softmax = softmax.as_mut().and_then(|all| all.split_off_mut(..kept));
    let softmax = softmax.map(|part| SharedRows::new(part, 2 * params.num_query_heads));
    (view, RowsOut { values: SharedRows::new(job.out, params.row()), softmax })
}

/// What one sequence's rows look at, and where their results go.
type Sequence<'a> = (View<'a>, RowsOut<'a>);

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
            run(pool.instructions(), params, &sequences[unit.job].0, unit, output);
        });
        let partials = &*partials;
        pool.run(plan.merges.len(), |index| {
            let merge = &plan.merges[index];
            let (view, rows) = &sequences[merge.job];
            with_scratch(LANES * (2 + params.head_dim), |state: &mut [f32]| {
                per_tier!(
                    pool.instructions(),
                    finish_rows(
                        params: &AttentionParams<'_>,
                        view: &View<'_>,
                        merge: &SpanMerge,
                        partials: &[Lanes],
                        rows: &RowsOut<'_>,
                        state: &mut [f32],
                    )
                );
            });
        });
    });
}

/// Does a unit in the format of its keys, compiled for it and for the tier.
fn run(
    instructions: Instructions,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
) {
    match view.runs.first().map(|run| run.keys) {
        Some(KvSlice::F32(_)) => on_tier::<FloatCache>(instructions, params, view, unit, output),
        Some(KvSlice::Bf16(_)) => on_tier::<Bf16Cache>(instructions, params, view, unit, output),
        Some(KvSlice::Q8 { .. }) => on_tier::<Int8Cache>(instructions, params, view, unit, output),
        None => unreachable!("attention: a unit has rows, and rows see keys"),
    }
}

fn on_tier<C: CacheFormat>(
    instructions: Instructions,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
) {
    with_scratch(scratch_len::<C>(params, unit), |scratch: &mut [f32]| {
        #[cfg(target_arch = "x86_64")]
        if let Some(loops) = instructions.avx512_bf16() {
            // SAFETY: the token is the proof of the features.
            return unsafe { run_unit_avx512_bf16::<C>(loops, params, view, unit, output, scratch) };
        } else if let Some(loops) = instructions.avx512() {
            // SAFETY: as above.
            return unsafe { run_unit_avx512::<C>(loops, params, view, unit, output, scratch) };
        } else if let Some(loops) = instructions.avx2() {
            // SAFETY: as above.
            return unsafe { run_unit_avx2::<C>(loops, params, view, unit, output, scratch) };
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(loops) = instructions.neon() {
            return run_unit::<_, C>(loops, params, view, unit, output, scratch);
        }
        let _ = instructions;
        run_unit::<_, C>(ScalarLoops, params, view, unit, output, scratch);
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_unit_avx2<C: CacheFormat>(
    loops: Avx2,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    run_unit::<_, C>(loops, params, view, unit, output, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn run_unit_avx512<C: CacheFormat>(
    loops: Avx512,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    run_unit::<_, C>(loops, params, view, unit, output, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")]
fn run_unit_avx512_bf16<C: CacheFormat>(
    loops: Avx512Bf16,
    params: &AttentionParams<'_>,
    view: &View<'_>,
    unit: &WorkUnit,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    run_unit::<_, C>(loops, params, view, unit, output, scratch);
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
