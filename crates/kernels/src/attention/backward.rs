//! Gradient of attention over packed documents, flash-style: scores are made again, block by block.
//!
//! Entry point: [`attention_backward`]. With `P = exp(score - M) / L` from the forward's (M, L), `delta = do
//! . o` and `dP = do . v`, the gradient of a scaled score is `P (dP - delta)`; it meets keys for dq, queries
//! for dk, and P meets do for dv. Two products make scores and dP, three make the gradients; all five are the
//! chains of `products/chained.rs`: over D ascending, over keys ascending, and over query positions and then
//! heads ascending. A sink's gradient is `- exp(sink - M) / L delta`, a chain over all rows ascending.
//!
//! A task is one kv head of one family of documents, those that have rows in common, and goes through them
//! in turn; nothing is shared between tasks. A document that goes on from nothing sees itself alone, and has
//! the bits that it has when it is packed with no other. Blocks of keys are counted from its position 0.

use std::ops::Range;

use super::documents::{Document, families, starts};
use super::inputs::AttentionParams;
use crate::exp::exp;
use crate::pool::Pool;
use crate::products::chained::{Block, Left, STRIP, Strips, add_strips};
use crate::row_dots::row_dots;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
use crate::tier::{Instructions, per_tier};

/// Keys of a block: with as many query rows, its five factors are 80 KB at D = 64. A multiple of [`STRIP`].
const BLOCK_KEYS: usize = 64;
/// Query rows of a block, each a head of a position.
const BLOCK_ROWS: usize = 64;

/// What the forward had and gave, documents one after the other.
#[derive(Clone, Copy, Debug)]
pub struct AttentionRows<'a> {
    /// `[T, H, D]`
    pub q: &'a [f32],
    /// `[T, K, D]`
    pub keys: &'a [f32],
    /// `[T, K, D]`
    pub values: &'a [f32],
    /// `[T, H, D]`
    pub out: &'a [f32],
    /// `[T, H, 2]` of [`attention_saving`](crate::attention_saving).
    pub softmax: &'a [f32],
}

/// What gradients are added to.
#[derive(Debug)]
pub struct AttentionGradients<'a> {
    /// `[T, H, D]`
    pub q: &'a mut [f32],
    /// `[T, K, D]`
    pub keys: &'a mut [f32],
    /// `[T, K, D]`
    pub values: &'a mut [f32],
    /// `[H]`, unless the sinks are frozen.
    pub sinks: Option<&'a mut [f32]>,
}

/// Adds the gradients of all rows, which are those of `documents`, one after the other.
///
/// Shapes: `dout [T, H, D]`.
/// Panics: when a length does not fit, or a document goes on from rows that are none of its family's.
pub fn attention_backward(
    pool: &Pool,
    gradients: AttentionGradients<'_>,
    dout: &[f32],
    rows: AttentionRows<'_>,
    documents: &[Document],
    params: &AttentionParams<'_>,
) {
    let t: usize = documents.iter().map(|document| document.rows).sum();
    let (q_len, kv_len) = (t * params.row(), t * params.kv_row());
    let AttentionGradients { q: dq, keys: dk, values: dv, sinks } = gradients;
    for row in [rows.q, rows.out, dout, dq] {
        assert_eq!(row.len(), q_len, "attention_backward: rows of queries are [T, H, D]");
    }
    for row in [rows.keys, rows.values, dk, dv] {
        assert_eq!(row.len(), kv_len, "attention_backward: keys and values are [T, K, D]");
    }
    assert_eq!(rows.softmax.len(), 2 * t * params.num_query_heads, "attention_backward: softmax");
    let outputs = Outputs {
        q: SharedRows::new(dq, params.row()),
        keys: SharedRows::new(dk, params.kv_row()),
        values: SharedRows::new(dv, params.kv_row()),
    };
    let mut deltas = vec![0.0; t * params.num_query_heads];
    row_dots(pool, &mut deltas, dout, rows.out);
    let (deltas, kv_heads) = (&deltas[..], params.num_kv_heads);
    let starts = starts(documents);
    let families = families(documents, &starts);
    pool.run(families.len() * kv_heads, |task| {
        let (family, head) = (task / kv_heads, task % kv_heads);
        for index in families[family].clone() {
            let document = &documents[index];
            let at: Vec<usize> = document.runs(starts[index]).flat_map(|(_, rows)| rows).collect();
            let first = document.first_position();
            let unit = Unit { params, rows: &rows, dout, deltas, at: &at, first, head };
            unit.run(pool.instructions(), &outputs);
        }
    });
    if let Some(sinks) = sinks {
        add_sinks(pool, sinks, deltas, rows.softmax, params);
    }
}

struct Outputs<'a> {
    q: SharedRows<'a, f32>,
    keys: SharedRows<'a, f32>,
    values: SharedRows<'a, f32>,
}

/// One kv head of one document.
struct Unit<'a> {
    params: &'a AttentionParams<'a>,
    rows: &'a AttentionRows<'a>,
    dout: &'a [f32],
    /// `[T, H]` of `do . o`.
    deltas: &'a [f32],
    /// The rows of the document's positions.
    at: &'a [usize],
    /// The position of its own first row; those before are of other documents.
    first: usize,
    head: usize,
}

/// Keys and values of a unit, laid out for products with them.
struct Packed<'a> {
    /// `[T / 16, D, 16]`: columns are keys.
    keys_by_dim: &'a [[f32; STRIP]],
    values_by_dim: &'a [[f32; STRIP]],
    /// `[D / 16, T, 16]`: columns are dimensions.
    keys: &'a [[f32; STRIP]],
}

/// Some query positions of a unit, each with all heads of the group: R rows.
struct Queries<'a> {
    /// Positions in the document.
    positions: Range<usize>,
    /// `[R, D]`
    q: &'a [f32],
    dout: &'a [f32],
    /// `[D / 16, R, 16]`
    q_strips: &'a [[f32; STRIP]],
    dout_strips: &'a [[f32; STRIP]],
    /// `[R]` of M, L and delta.
    statistics: &'a [[f32; 3]],
}

impl Unit<'_> {
    fn run(&self, instructions: Instructions, outputs: &Outputs<'_>) {
        let (d, len) = (self.params.head_dim, self.at.len());
        let by_dim = len.div_ceil(STRIP) * d * STRIP;
        let by_key = d.div_ceil(STRIP) * len * STRIP;
        with_scratch(2 * by_dim + by_key, |packed: &mut [f32]| {
            let (keys_by_dim, rest) = packed.split_at_mut(by_dim);
            let (values_by_dim, keys) = rest.split_at_mut(by_dim);
            let width = self.params.kv_row();
            let row = |rows, position: usize| part_of(rows, self.at[position], width, self.head * d, d);
            pack_transposed(keys_by_dim, len, d, |position| row(self.rows.keys, position));
            pack_transposed(values_by_dim, len, d, |position| row(self.rows.values, position));
            pack(keys, len, d, |position| row(self.rows.keys, position));
            let packed = Packed {
                keys_by_dim: keys_by_dim.as_chunks().0,
                values_by_dim: values_by_dim.as_chunks().0,
                keys: keys.as_chunks().0,
            };
            let positions = (BLOCK_ROWS / self.params.group()).max(1);
            for first in (self.first..len).step_by(positions) {
                self.add_queries(instructions, outputs, &packed, first..len.min(first + positions));
            }
        });
    }

    /// Lays out some query positions, and adds all that they have a part in.
    fn add_queries(
        &self,
        instructions: Instructions,
        outputs: &Outputs<'_>,
        packed: &Packed<'_>,
        positions: Range<usize>,
    ) {
        let (d, group) = (self.params.head_dim, self.params.group());
        let num_rows = positions.len() * group;
        let strips_len = d.div_ceil(STRIP) * num_rows * STRIP;
        with_scratch(3 * num_rows * d + 2 * strips_len, |scratch: &mut [f32]| {
            let (q, scratch) = scratch.split_at_mut(num_rows * d);
            let (dout, scratch) = scratch.split_at_mut(num_rows * d);
            let (dq, scratch) = scratch.split_at_mut(num_rows * d);
            let (q_strips, dout_strips) = scratch.split_at_mut(strips_len);
            let mut statistics = Vec::with_capacity(num_rows);
            for (i, position) in positions.clone().enumerate() {
                // The heads of a group lie side by side.
                let row = self.at[position] * self.params.num_query_heads + self.head * group;
                let (place, len) = (row * d, group * d);
                q[i * len..][..len].copy_from_slice(&self.rows.q[place..][..len]);
                dout[i * len..][..len].copy_from_slice(&self.dout[place..][..len]);
                statistics.extend((row..row + group).map(|row| self.statistics(row)));
            }
            pack(q_strips, num_rows, d, |row| part_of(q, row, d, 0, d));
            pack(dout_strips, num_rows, d, |row| part_of(dout, row, d, 0, d));
            let (q_strips, dout_strips) = (q_strips.as_chunks().0, dout_strips.as_chunks().0);
            let queries = Queries {
                positions: positions.clone(),
                q,
                dout,
                q_strips,
                dout_strips,
                statistics: &statistics,
            };
            dq.fill(0.0);
            let first_seen = self.params.visible(positions.start).start / BLOCK_KEYS * BLOCK_KEYS;
            for first in (first_seen..positions.end).step_by(BLOCK_KEYS) {
                let keys = first..positions.end.min(first + BLOCK_KEYS);
                self.add_block(instructions, outputs, packed, &queries, (keys, dq));
            }
            for (i, position) in positions.enumerate() {
                // SAFETY: a unit alone has the heads of its group in the rows of its family.
                let row = unsafe { outputs.q.part(self.at[position], self.head * group * d, group * d) };
                for (sum, dq) in row.iter_mut().zip(&dq[i * group * d..]) {
                    *sum += dq;
                }
            }
        });
    }

    /// M, L and delta of a query row, counted over positions and heads.
    fn statistics(&self, row: usize) -> [f32; 3] {
        let [top, sum] = self.rows.softmax.as_chunks::<2>().0[row];
        [top, sum, self.deltas[row]]
    }

    /// Adds what some query positions and some keys have to do with each other.
    fn add_block(
        &self,
        instructions: Instructions,
        outputs: &Outputs<'_>,
        packed: &Packed<'_>,
        queries: &Queries<'_>,
        (keys, dq): (Range<usize>, &mut [f32]),
    ) {
        let (d, num_rows) = (self.params.head_dim, queries.statistics.len());
        with_scratch(2 * num_rows * BLOCK_KEYS, |scratch: &mut [f32]| {
            scratch.fill(0.0);
            let (weights, scores) = scratch.split_at_mut(num_rows * BLOCK_KEYS);
            let first_strip = keys.start / STRIP * d;
            let score = |out: &mut [f32], rows: &[f32], strips: &[[f32; STRIP]]| {
                let out = SharedRows::new(out, BLOCK_KEYS);
                let block = Block { out: &out, rows: 0..num_rows, columns: 0..keys.len() };
                let strips = Strips { values: &strips[first_strip..], stride: d, steps: d };
                add_strips(instructions, &block, Left { values: rows, by_row: d, by_step: 1 }, strips);
            };
            score(weights, queries.q, packed.keys_by_dim);
            score(scores, queries.dout, packed.values_by_dim);
            self.weigh(instructions, weights, scores, queries, &keys);
            let dq = SharedRows::new(dq, d);
            let block = Block { out: &dq, rows: 0..num_rows, columns: 0..d };
            let strips =
                Strips { values: &packed.keys[keys.start..], stride: self.at.len(), steps: keys.len() };
            add_strips(instructions, &block, Left { values: scores, by_row: BLOCK_KEYS, by_step: 1 }, strips);
            let add = |out: &SharedRows<'_, f32>, weights: &[f32], strips: &[[f32; STRIP]]| {
                let (column, mut done) = (self.head * d, 0);
                for run in self.at[keys.clone()].chunk_by(|row, next| row + 1 == *next) {
                    let block = Block { out, rows: run[0]..run[0] + run.len(), columns: column..column + d };
                    let strips = Strips { values: strips, stride: num_rows, steps: num_rows };
                    let left = Left { values: &weights[done..], by_row: 1, by_step: BLOCK_KEYS };
                    add_strips(instructions, &block, left, strips);
                    done += run.len();
                }
            };
            add(&outputs.keys, scores, queries.q_strips);
            add(&outputs.values, weights, queries.dout_strips);
        });
    }

    /// Turns scores into P, and dP into the gradient of the products of queries and keys.
    ///
    /// Shapes: `weights [R, BLOCK_KEYS]`, `scores [R, BLOCK_KEYS]`.
    fn weigh(
        &self,
        instructions: Instructions,
        weights: &mut [f32],
        scores: &mut [f32],
        queries: &Queries<'_>,
        keys: &Range<usize>,
    ) {
        let (group, factor) = (self.params.group(), self.params.scale);
        let rows = weights.chunks_exact_mut(BLOCK_KEYS).zip(scores.chunks_exact_mut(BLOCK_KEYS));
        for (row, (weights, scores)) in rows.enumerate() {
            let visible = self.params.visible(queries.positions.start + row / group);
            let place = |position: usize| position.clamp(keys.start, keys.end) - keys.start;
            let (start, end) = (place(visible.start), place(visible.end));
            for hidden in [0..start, end..keys.len()] {
                weights[hidden.clone()].fill(0.0);
                scores[hidden].fill(0.0);
            }
            let (weights, scores) = (&mut weights[start..end], &mut scores[start..end]);
            let statistics = queries.statistics[row];
            per_tier!(
                instructions,
                weigh_row(weights: &mut [f32], scores: &mut [f32], statistics: [f32; 3], factor: f32)
            );
        }
    }
}

#[inline(always)]
fn weigh_row(weights: &mut [f32], scores: &mut [f32], [top, sum, delta]: [f32; 3], factor: f32) {
    for (weight, score) in weights.iter_mut().zip(scores) {
        *weight = exp(*weight * factor - top) / sum;
        *score = *weight * (*score - delta) * factor;
    }
}

fn add_sinks(pool: &Pool, sinks: &mut [f32], deltas: &[f32], softmax: &[f32], params: &AttentionParams<'_>) {
    let heads = params.num_query_heads;
    assert_eq!(sinks.len(), heads, "attention_backward: sinks are [H]");
    let softmax = softmax.as_chunks::<2>().0;
    pool.for_each_row(sinks, 1, |head, gradient| {
        let (sink, place) = (params.sinks[head], (head, heads));
        per_tier!(
            pool.instructions(),
            add_sink(
                gradient: &mut [f32],
                sink: f32,
                softmax: &[[f32; 2]],
                deltas: &[f32],
                place: (usize, usize),
            )
        );
    });
}

/// Adds what the rows of one head say, ascending.
#[inline(always)]
fn add_sink(
    gradient: &mut [f32],
    sink: f32,
    softmax: &[[f32; 2]],
    deltas: &[f32],
    (head, heads): (usize, usize),
) {
    for ([top, sum], delta) in softmax.iter().zip(deltas).skip(head).step_by(heads) {
        let weight = exp(sink - top) / sum;
        gradient[0] = (-weight).mul_add(*delta, gradient[0]);
    }
}

/// `len` numbers of a row, from a column on.
fn part_of(rows: &[f32], row: usize, width: usize, column: usize, len: usize) -> &[f32] {
    &rows[row * width + column..][..len]
}

/// Lays out `len` rows of D as `[D / 16, len, 16]`, zero beyond D.
fn pack<'a>(out: &mut [f32], len: usize, d: usize, row: impl Fn(usize) -> &'a [f32]) {
    let strips = out.as_chunks_mut::<STRIP>().0;
    debug_assert_eq!(strips.len(), len * d.div_ceil(STRIP), "attention_backward: a strip is 16 numbers");
    for index in 0..len {
        for (strip, values) in row(index).chunks(STRIP).enumerate() {
            let out = &mut strips[strip * len + index];
            *out = [0.0; STRIP];
            out[..values.len()].copy_from_slice(values);
        }
    }
}

/// Lays out `len` rows of D as `[len / 16, D, 16]`, zero beyond the last row.
fn pack_transposed<'a>(out: &mut [f32], len: usize, d: usize, row: impl Fn(usize) -> &'a [f32]) {
    let strips = out.as_chunks_mut::<STRIP>().0;
    for index in 0..len.next_multiple_of(STRIP) {
        let (strips, lane) = (&mut strips[index / STRIP * d..][..d], index % STRIP);
        if index < len {
            strips.iter_mut().zip(row(index)).for_each(|(out, value)| out[lane] = *value);
        } else {
            strips.iter_mut().for_each(|out| out[lane] = 0.0);
        }
    }
}
