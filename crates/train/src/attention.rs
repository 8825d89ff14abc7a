//! The attention of a layer over packed documents, forward and backward.

use std::borrow::Cow;
use std::ops::Range;

use gptoss_kernels::{
    AttentionGradients, AttentionJob, AttentionParams, AttentionRows, Document, KvRun, KvSlice, RopeAngles,
    attention_backward, attention_saving,
};

use crate::network::{Attention, Shape};
use crate::seen::{Pass, Seen};
use crate::trained::Gradients;

/// How rows are packed.
#[derive(Clone, Copy)]
pub(crate) struct Packing<'a> {
    /// One document after the other.
    pub(crate) documents: &'a [Document],
    /// Of the positions of the longest.
    pub(crate) angles: &'a RopeAngles,
}

/// What the forward makes on its way.
struct Attended<'a> {
    /// Of query, key and value.
    seen: [Seen<'a>; 3],
    sinks: Cow<'a, [f32]>,
    normed: Vec<f32>,
    /// Rotated, as keys are.
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    out: Vec<f32>,
    softmax: Vec<f32>,
}

/// `x [T, C]` and what attention adds to it.
pub(crate) fn forward<'a>(
    pass: Pass<'a>,
    shape: &Shape,
    weights: &Attention<'a>,
    packing: Packing<'_>,
    x: &[f32],
) -> Vec<f32> {
    let attended = attend(pass, shape, weights, packing, x);
    let mut out = pass.linear(&pass.dense(&weights.out), &attended.out);
    out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
    out
}

/// Turns the gradient of what [`forward`] gave into that of `x`, in place.
pub(crate) fn backward<'a>(
    pass: Pass<'a>,
    (shape, weights, packing): (&Shape, &Attention<'a>, Packing<'_>),
    gradients: &mut Gradients,
    x: &[f32],
    d: &mut [f32],
) {
    let forward = attend(pass, shape, weights, packing, x);
    pass.add_weight_gradients(&weights.out, gradients, d, &forward.out);
    let zeros = |like: &[f32]| vec![0.0; like.len()];
    let mut dout = zeros(&forward.out);
    pass.add_input_gradient(&pass.dense(&weights.out), &mut dout, d);
    let [mut dq, mut dk, mut dv] = [&forward.query, &forward.key, &forward.value].map(|x| zeros(x));
    let rows = AttentionRows {
        q: &forward.query,
        keys: &forward.key,
        values: &forward.value,
        out: &forward.out,
        softmax: &forward.softmax,
    };
    let sinks = weights.sinks.span().map(|span| gradients.of_mut(span));
    let to = AttentionGradients { q: &mut dq, keys: &mut dk, values: &mut dv, sinks };
    let params = params(&forward.sinks, shape, weights);
    attention_backward(pass.pool, to, &dout, rows, packing.documents, &params);
    rotate(pass, packing, &mut dq, (shape.num_query_heads, shape.head_dim), RopeAngles::apply_transposed);
    rotate(pass, packing, &mut dk, (shape.num_kv_heads, shape.head_dim), RopeAngles::apply_transposed);
    let mut dnormed = zeros(x);
    let layers = [&weights.query, &weights.key, &weights.value];
    for ((layer, seen), dy) in layers.into_iter().zip(&forward.seen).zip([&dq, &dk, &dv]) {
        pass.add_weight_gradients(layer, gradients, dy, &forward.normed);
        pass.add_input_gradient(seen, &mut dnormed, dy);
    }
    pass.add_norm_gradients((weights.norm, shape.rms_norm_eps), gradients, d, &dnormed, x);
}

fn attend<'a>(
    pass: Pass<'a>,
    shape: &Shape,
    weights: &Attention<'a>,
    packing: Packing<'_>,
    x: &[f32],
) -> Attended<'a> {
    let normed = pass.norm(weights.norm, x, shape.rms_norm_eps);
    let seen = [&weights.query, &weights.key, &weights.value].map(|layer| pass.dense(layer));
    let [mut query, mut key, value] = seen.each_ref().map(|layer| pass.linear(layer, &normed));
    let sinks = pass.vector(weights.sinks);
    let (heads, kv_heads, d) = (shape.num_query_heads, shape.num_kv_heads, shape.head_dim);
    rotate(pass, packing, &mut query, (heads, d), RopeAngles::apply);
    rotate(pass, packing, &mut key, (kv_heads, d), RopeAngles::apply);
    let t = query.len() / (heads * d);
    let (mut out, mut softmax) = (vec![0.0; query.len()], vec![0.0; 2 * t * heads]);
    let mut first = 0;
    let runs: Vec<Vec<KvRun<'_>>> = packing
        .documents
        .iter()
        .map(|document| {
            let run = |(first_position, rows): (usize, Range<usize>)| {
                let numbers = rows.start * kv_heads * d..rows.end * kv_heads * d;
                let (keys, values) = (KvSlice::F32(&key[numbers.clone()]), KvSlice::F32(&value[numbers]));
                KvRun { keys, values, first_position, len: rows.len() }
            };
            let runs = document.runs(first).map(run).collect();
            first += document.rows;
            runs
        })
        .collect();
    let (mut outs, mut queries, mut jobs) = (&mut out[..], &query[..], Vec::new());
    for (document, runs) in packing.documents.iter().zip(&runs) {
        let (out, outs_left) = outs.split_at_mut(document.rows * heads * d);
        let (q, queries_left) = queries.split_at(document.rows * heads * d);
        jobs.push(AttentionJob { out, q, runs, first_position: document.first_position() });
        (outs, queries) = (outs_left, queries_left);
    }
    attention_saving(pass.pool, &mut jobs, &mut softmax, &params(&sinks, shape, weights));
    Attended { seen, sinks, normed, query, key, value, out, softmax }
}

fn params<'a>(sinks: &'a [f32], shape: &Shape, weights: &Attention<'_>) -> AttentionParams<'a> {
    AttentionParams {
        num_query_heads: shape.num_query_heads,
        num_kv_heads: shape.num_kv_heads,
        head_dim: shape.head_dim,
        window: weights.window,
        sinks,
        scale: 1.0 / (shape.head_dim as f32).sqrt(),
    }
}

/// Does `rotation` to the rows of every document.
fn rotate(
    pass: Pass<'_>,
    packing: Packing<'_>,
    rows: &mut [f32],
    (heads, d): (usize, usize),
    rotation: impl Fn(&RopeAngles, &mut [f32], usize, usize) + Sync,
) {
    let mut rest = rows;
    for document in packing.documents {
        let (own, after) = rest.split_at_mut(document.rows * heads * d);
        let first = document.first_position();
        pass.pool.for_each_row(own, heads * d, |row, values| {
            rotation(packing.angles, values, heads, first + row);
        });
        rest = after;
    }
}
