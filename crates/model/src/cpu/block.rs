//! One layer: attention over the cache, then the MLP, each added to the residual stream.
//!
//! Entry points: [`attention_block`] here and `mlp_block` in `experts.rs`, called in turn by the forward pass on the
//! rows of one step: consecutive tokens of one or more sequences, one sequence after the other. Both read the residual
//! stream `[T, C]` through a norm and add their result to it. Every number of a row depends on that row (and on its
//! sequence's keys and values) alone: rows only share the reading of weights.
//!
//! [`Workspace`] holds what a step needs between the ops, allocated once per forward pass and used by all layers;
//! [`Step`] says which rows belong to whom. Neither knows tokens, logits or sampling.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gptoss_kernels::{AttentionJob, AttentionParams, Pool, Q8Order, Q8Rows, RopeAngles, attention, rmsnorm};

use crate::config::{DenseMode, ModelConfig, Precision};
use crate::cpu::activations::{Activations, linear};
use crate::cpu::kv_store::{KvPlace, KvStore};
use crate::cpu::weights::AttentionWeights;

/// The step that a forward pass is at.
pub(crate) struct Step<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) precision: Precision,
    pub(crate) pool: &'a Pool,
    /// Whose rows are where, in order; together they are all rows.
    pub(crate) sequences: &'a [Rows<'a>],
    /// `T`, of all sequences together.
    pub(crate) num_tokens: usize,
}

/// The rows of one sequence in a step.
pub(crate) struct Rows<'a> {
    /// Which rows they are.
    pub(crate) rows: Range<usize>,
    /// Rotations of their positions.
    pub(crate) angles: RopeAngles,
    /// Position of the first.
    pub(crate) first_position: usize,
    /// Where the sequence's keys and values are.
    pub(crate) place: KvPlace<'a>,
}

/// Buffers of a chunk. Each is as long as the longest chunk needs; a shorter one uses the front.
pub(crate) struct Workspace {
    pub(crate) normed: Vec<f32>,      // [T, C]
    pub(crate) query: Vec<f32>,       // [T, H, D]
    pub(crate) key: Vec<f32>,         // [T, K, D]
    pub(crate) value: Vec<f32>,       // [T, K, D]
    pub(crate) attended: Vec<f32>,    // [T, H, D]
    pub(crate) update: Vec<f32>,      // [T, C]
    pub(crate) gathered: Vec<f32>,    // [T, C], the rows of one expert
    pub(crate) gate_up: Vec<f32>,     // [T, 2F], one expert
    pub(crate) activated: Vec<f32>,   // [T, F], one expert
    pub(crate) expert_rows: Vec<f32>, // [T * A, C], all experts
    pub(crate) dense_q8: Q8Rows,      // [T, C] or [T, H, D] int8, for dense matrices in Q8_0
    pub(crate) normed_q8: Q8Rows,     // [T, C] int8, fast precision
    pub(crate) gathered_q8: Q8Rows,   // [T, C] int8, the rows of one expert, fast precision
    pub(crate) activated_q8: Q8Rows,  // [T, F] int8, fast precision
}

impl Workspace {
    /// Zeroed buffers for chunks of up to `chunk_tokens`.
    pub(crate) fn new(config: &ModelConfig, chunk_tokens: usize) -> Workspace {
        let sizes = sizes(config);
        let rows = |width: usize| vec![0.0; chunk_tokens * width];
        Workspace {
            normed: rows(sizes.hidden),
            query: rows(sizes.query),
            key: rows(sizes.kv),
            value: rows(sizes.kv),
            attended: rows(sizes.query),
            update: rows(sizes.hidden),
            gathered: rows(sizes.hidden),
            gate_up: rows(2 * sizes.inner),
            activated: rows(sizes.inner),
            expert_rows: rows(sizes.hidden * config.active_experts()),
            dense_q8: Q8Rows::for_weights(Q8Order::Q8_0),
            normed_q8: Q8Rows::new(),
            gathered_q8: Q8Rows::new(),
            activated_q8: Q8Rows::new(),
        }
    }

    /// Bytes of the buffers for chunks of `chunk_tokens`, with the residual stream beside them.
    pub(crate) fn bytes(
        config: &ModelConfig,
        precision: Precision,
        dense: DenseMode,
        chunk_tokens: usize,
    ) -> u64 {
        let sizes = sizes(config);
        let residual_stream = sizes.hidden;
        let f32_numbers = residual_stream
            + sizes.hidden * (3 + config.active_experts())
            + 2 * sizes.query
            + 2 * sizes.kv
            + 3 * sizes.inner;
        // One byte a number; a scale and a sum, of four bytes each, for 32 of them; in whole groups of 256.
        let int8_row = |width: usize| width.next_multiple_of(256) / 32 * (32 + 4 + 4);
        let mut int8_bytes = 0;
        if precision == Precision::Fast {
            int8_bytes += 2 * int8_row(sizes.hidden) + int8_row(sizes.inner);
        }
        if dense == DenseMode::Q8 {
            int8_bytes += int8_row(sizes.hidden.max(sizes.query));
        }
        (chunk_tokens * (f32_numbers * size_of::<f32>() + int8_bytes)) as u64
    }
}

/// Widths of rows. Units: numbers.
struct Sizes {
    hidden: usize,
    query: usize,
    kv: usize,
    inner: usize,
}

fn sizes(config: &ModelConfig) -> Sizes {
    Sizes {
        hidden: config.hidden_size,
        query: config.num_query_heads * config.head_dim,
        kv: config.num_kv_heads * config.head_dim,
        inner: config.intermediate_size,
    }
}

/// Adds the attention of layer `layer` to `hidden [T, C]`, after writing the step's keys and values to `store`.
///
/// Source: spec of the architecture, section 1.3.
pub(crate) fn attention_block(
    step: &Step<'_>,
    layer: usize,
    weights: &AttentionWeights,
    store: &mut KvStore,
    hidden: &mut [f32],
    work: &mut Workspace,
) {
    let sizes = sizes(step.config);
    let t = step.num_tokens;
    let normed = &mut work.normed[..t * sizes.hidden];
    let [query, attended] = [&mut work.query, &mut work.attended].map(|rows| &mut rows[..t * sizes.query]);
    let [key, value] = [&mut work.key, &mut work.value].map(|rows| &mut rows[..t * sizes.kv]);
    normalize(step.pool, normed, hidden, &weights.norm, step.config.rms_norm_eps);
    let projections = [&weights.query.weight, &weights.key.weight, &weights.value.weight];
    let x =
        Activations::new(step.pool, step.precision, normed, sizes.hidden, &mut work.dense_q8, &projections);
    linear(step.pool, query, &x, &weights.query);
    linear(step.pool, key, &x, &weights.key);
    linear(step.pool, value, &x, &weights.value);
    for sequence in step.sequences {
        rotate(step, sequence, query, step.config.num_query_heads);
        rotate(step, sequence, key, step.config.num_kv_heads);
        for (index, row) in sequence.rows.clone().enumerate() {
            let [key, value] = [&*key, &*value].map(|rows| &rows[row * sizes.kv..][..sizes.kv]);
            store.write(layer, &sequence.place, sequence.first_position + index, key, value);
        }
    }
    attend(step, layer, &weights.sinks, store, query, attended);
    let update = &mut work.update[..t * sizes.hidden];
    let out = &weights.out;
    let x = Activations::new(
        step.pool,
        step.precision,
        attended,
        sizes.query,
        &mut work.dense_q8,
        &[&out.weight],
    );
    linear(step.pool, update, &x, out);
    add(step.pool, hidden, update, sizes.hidden);
}

/// Rotates the rows of one sequence by their positions: `x [T, heads, D]` of all sequences.
fn rotate(step: &Step<'_>, sequence: &Rows<'_>, x: &mut [f32], heads: usize) {
    let width = heads * step.config.head_dim;
    let x = &mut x[sequence.rows.start * width..sequence.rows.end * width];
    for_each_row(step.pool, x, width, |index, x| sequence.angles.apply(x, heads, index));
}

fn attend(
    step: &Step<'_>,
    layer: usize,
    sinks: &[f32],
    store: &KvStore,
    query: &[f32],
    attended: &mut [f32],
) {
    let config = step.config;
    let width = config.num_query_heads * config.head_dim;
    let runs = |sequence: &Rows<'_>| {
        let positions = sequence.first_position..sequence.first_position + sequence.rows.len();
        store.visible(layer, &sequence.place, positions)
    };
    let runs: Vec<_> = step.sequences.iter().map(runs).collect();
    let mut rest = attended;
    let mut jobs: Vec<AttentionJob<'_>> = Vec::with_capacity(runs.len());
    for (sequence, runs) in step.sequences.iter().zip(&runs) {
        let (out, after) = rest.split_at_mut(sequence.rows.len() * width);
        let q = &query[sequence.rows.start * width..sequence.rows.end * width];
        jobs.push(AttentionJob { out, q, runs, first_position: sequence.first_position });
        rest = after;
    }
    let params = AttentionParams {
        num_query_heads: config.num_query_heads,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        window: store.window(layer),
        sinks,
        scale: 1.0 / (config.head_dim as f32).sqrt(),
    };
    attention(step.pool, &mut jobs, &params);
}

/// RMSNorm of every row: `out [T, C]`, `x [T, C]`, `weight [C]`.
pub(crate) fn normalize(pool: &Pool, out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    for_each_row(pool, out, width, |row, out| rmsnorm(out, &x[row * width..][..width], weight, eps));
}

/// Calls `fill(row, out)` for every row of `rows [T, width]`, shared between the threads of the pool.
///
/// The ops on rows are a few percent of a prompt's work, but only as long as one thread does not do them alone. Each
/// lock is taken once and never waited for: it is what lets tasks write their own row without unsafe code.
pub(crate) fn for_each_row(
    pool: &Pool,
    rows: &mut [f32],
    width: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) {
    let rows: Vec<_> = rows.chunks_exact_mut(width).map(Mutex::new).collect();
    pool.run(rows.len(), |index| {
        let mut row = rows[index].lock().unwrap_or_else(PoisonError::into_inner);
        fill(index, &mut row);
    });
}

/// `out += x`, both `[T, width]`.
pub(crate) fn add(pool: &Pool, out: &mut [f32], x: &[f32], width: usize) {
    for_each_row(pool, out, width, |row, out| {
        for (out, x) in out.iter_mut().zip(&x[row * width..]) {
            *out += x;
        }
    });
}
