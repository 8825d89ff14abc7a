//! One layer: attention over the cache, then the MLP, each added to the residual stream.
//!
//! Entry points: [`attention_block`] here and `mlp_block` in `experts.rs`, called in turn by the forward pass
//! on the rows of one step: consecutive tokens of one or more sequences, one sequence after the other. Both
//! read the residual stream `[T, C]` through a norm and add their result to it. Every number of a row depends
//! on that row (and on its sequence's keys and values) alone: rows only share the reading of weights.

use std::ops::Range;

use gptoss_checkpoint::AdapterSite;
use gptoss_kernels::{AttentionJob, AttentionParams, Pool, RopeAngles, attention, rmsnorm};

use crate::config::{ModelConfig, Precision};
use crate::cpu::activations::{Activations, Parts, linear};
use crate::cpu::adapters::AdaptedRows;
use crate::cpu::kv_rows::KvRows;
use crate::cpu::weights::AttentionWeights;
use crate::cpu::workspace::{AttentionLists, Widths, Workspace};
use crate::step::{Segment, SequenceKv};

/// What every op of a step is told.
pub(crate) struct StepInputs<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) precision: Precision,
    pub(crate) pool: &'a Pool,
    /// Whose rows come in which order; together they are all rows.
    pub(crate) segments: &'a [Segment<'a>],
    /// Rotations of each segment's positions.
    pub(crate) angles: &'a [RopeAngles],
    /// `T`, of all segments together.
    pub(crate) num_tokens: usize,
    /// The rows that adapters change.
    pub(crate) adapted: &'a [AdaptedRows],
}

/// The rows of one sequence in a step.
pub(crate) struct SequenceRows<'a> {
    /// Which rows they are.
    pub(crate) rows: Range<usize>,
    /// Rotations of their positions.
    pub(crate) angles: &'a RopeAngles,
    /// Position of the first.
    pub(crate) first_position: usize,
    /// Where the sequence's keys and values are.
    pub(crate) kv: SequenceKv<'a>,
}

impl<'a> StepInputs<'a> {
    /// The rows of each sequence, in order.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = SequenceRows<'a>> + use<'a> {
        let mut first_row = 0;
        self.segments.iter().zip(self.angles).map(move |(segment, angles)| {
            let rows = first_row..first_row + segment.tokens.len();
            first_row = rows.end;
            SequenceRows { rows, angles, first_position: segment.first_position, kv: segment.kv }
        })
    }

    /// Adds what adapters add to a product `y [T, N]` of `x [T, K]`.
    fn adapt(&self, site: AdapterSite, y: &mut [f32], x: &[f32], shrunk: &mut Vec<f32>) {
        let [n, k] = [y.len(), x.len()].map(|numbers| numbers / self.num_tokens);
        for AdaptedRows { rows, adapter } in self.adapted {
            if let Some(pair) = adapter.pair(site) {
                let (y, x) = (&mut y[rows.start * n..rows.end * n], &x[rows.start * k..rows.end * k]);
                pair.add(self.pool, y, x, shrunk);
            }
        }
    }
}

/// Adds the attention of layer `layer` to `hidden [T, C]`, after writing the step's keys and values to `kv`.
///
/// Source: spec of the architecture, section 1.3.
pub(crate) fn attention_block(
    step: &StepInputs<'_>,
    layer: usize,
    weights: &AttentionWeights,
    kv: &mut KvRows,
    hidden: &mut [f32],
    work: &mut Workspace,
) {
    let widths = Widths::of(step.config);
    let t = step.num_tokens;
    let normed = &mut work.normed[..t * widths.hidden];
    let [query, attended] = [&mut work.query, &mut work.attended].map(|rows| &mut rows[..t * widths.query]);
    let [key, value] = [&mut work.key, &mut work.value].map(|rows| &mut rows[..t * widths.kv]);
    normalize(step.pool, normed, hidden, &weights.norm, step.config.rms_norm_eps);
    let inputs = (&*normed, widths.hidden);
    let of_query = [&weights.query.weight];
    let x = Activations::new(step.pool, step.precision, inputs, Parts::One, &mut work.dense_q8, &of_query);
    linear(step.pool, query, &x, &weights.query);
    step.adapt(AdapterSite::Query(layer), query, normed, &mut work.shrunk);
    // What every later position reads.
    let kept = [&weights.key.weight, &weights.value.weight];
    let x = Activations::new(step.pool, step.precision, inputs, Parts::Two, &mut work.dense_q8, &kept);
    linear(step.pool, key, &x, &weights.key);
    linear(step.pool, value, &x, &weights.value);
    step.adapt(AdapterSite::Key(layer), key, normed, &mut work.shrunk);
    step.adapt(AdapterSite::Value(layer), value, normed, &mut work.shrunk);
    for sequence in step.sequences() {
        rotate(step, &sequence, query, step.config.num_query_heads);
        rotate(step, &sequence, key, step.config.num_kv_heads);
        for (index, row) in sequence.rows.clone().enumerate() {
            let [key, value] = [&*key, &*value].map(|rows| &rows[row * widths.kv..][..widths.kv]);
            kv.write(layer, &sequence.kv, sequence.first_position + index, key, value);
        }
    }
    attend(step, layer, &weights.sinks, kv, query, attended, &mut work.attention);
    let update = &mut work.update[..t * widths.hidden];
    let out = &weights.out;
    let inputs = (&*attended, widths.query);
    let of_out = [&out.weight];
    let x = Activations::new(step.pool, step.precision, inputs, Parts::One, &mut work.dense_q8, &of_out);
    linear(step.pool, update, &x, out);
    step.adapt(AdapterSite::Out(layer), update, attended, &mut work.shrunk);
    add(step.pool, hidden, update, widths.hidden);
}

/// Rotates the rows of one sequence by their positions: `x [T, heads, D]` of all sequences.
fn rotate(step: &StepInputs<'_>, sequence: &SequenceRows<'_>, x: &mut [f32], heads: usize) {
    let width = heads * step.config.head_dim;
    let x = &mut x[sequence.rows.start * width..sequence.rows.end * width];
    step.pool.for_each_row(x, width, |index, x| sequence.angles.apply(x, heads, index));
}

fn attend(
    step: &StepInputs<'_>,
    layer: usize,
    sinks: &[f32],
    kv: &KvRows,
    query: &[f32],
    attended: &mut [f32],
    lists: &mut AttentionLists,
) {
    let config = step.config;
    let width = config.num_query_heads * config.head_dim;
    let (mut runs, mut jobs) = lists.take();
    for sequence in step.sequences() {
        let positions = sequence.first_position..sequence.first_position + sequence.rows.len();
        kv.visible(layer, &sequence.kv, positions, &mut runs);
        lists.ends.push(runs.len());
    }
    let (mut rest, mut first_run) = (attended, 0);
    for (sequence, &end) in step.sequences().zip(&lists.ends) {
        let (out, after) = rest.split_at_mut(sequence.rows.len() * width);
        let q = &query[sequence.rows.start * width..sequence.rows.end * width];
        let runs = &runs[first_run..end];
        jobs.push(AttentionJob { out, q, runs, first_position: sequence.first_position });
        (rest, first_run) = (after, end);
    }
    let params = AttentionParams {
        num_query_heads: config.num_query_heads,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        window: kv.layout().shape.window_of(layer),
        sinks,
        scale: 1.0 / (config.head_dim as f32).sqrt(),
    };
    attention(step.pool, &mut jobs, &params);
    lists.give_back_jobs(jobs);
    lists.give_back_runs(runs);
}

/// RMSNorm of every row: `out [T, C]`, `x [T, C]`, `weight [C]`.
pub(crate) fn normalize(pool: &Pool, out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    pool.for_each_row(out, width, |row, out| rmsnorm(out, &x[row * width..][..width], weight, eps));
}

/// `out += x`, both `[T, width]`.
pub(crate) fn add(pool: &Pool, out: &mut [f32], x: &[f32], width: usize) {
    pool.for_each_row(out, width, |row, out| {
        for (out, x) in out.iter_mut().zip(&x[row * width..]) {
            *out += x;
        }
    });
}
