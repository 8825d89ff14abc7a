//! Attention over f32 keys where few query heads share a kv head: lanes hold keys, and dimensions of values.
//!
//! Entry points: [`suits`], [`attend`]. Lanes of query heads, as the other forms have them, would be empty
//! but for a few. Every number is made in the order that `loops.rs` and `reduce.rs` fix, and a row takes part
//! in what it sees alone, so the bits are those of the other forms, of which the scalar one is the reference.
//!
//! Keys and values of a kv head are laid out once a call: keys by strips of 16, `[strips, D, 16]`, values row
//! by row. A unit is some tokens of a kv head; a row of it is a query head of a token.

use std::arch::x86_64::*;
use std::ops::Range;

use super::Sequence;
use super::inputs::{AttentionJob, AttentionParams, KvSlice};
use super::reduce::RowsOut;
use super::shape::{SPAN, View};
use crate::exp::exp;
use crate::lanes::LANES;
use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
use crate::tier::{Avx2, Instructions};

/// Query heads of a kv head at most: more fill lanes of their own.
const GROUP_MAX: usize = 4;
/// Tokens of a unit; with fewer in a call, laying out keys costs more than it saves.
const UNIT_TOKENS: usize = 32;
/// Keys of a strip: two registers.
const STRIP: usize = 2 * LANES;
/// Rows whose scores with a strip are taken together: twelve sums.
const TILE_ROWS: usize = 3;
/// Keys whose values are taken at a time: 8 KB at D = 32.
const BLOCK: usize = 64;
/// Scores of a row: a span, and what its first and last strip reach beyond it.
const SCORES: usize = SPAN + 2 * STRIP;

/// The proof of the instructions, where this is the way for a call.
pub(super) fn suits(
    instructions: Instructions,
    jobs: &[AttentionJob<'_>],
    params: &AttentionParams<'_>,
) -> Option<Avx2> {
    let tokens = |job: &AttentionJob<'_>| job.q.len() / params.row().max(1);
    let suits = |job: &AttentionJob<'_>| {
        let is_float = job.runs.iter().all(|run| matches!(run.keys, KvSlice::F32(_)));
        is_float && (tokens(job) == 0 || tokens(job) >= UNIT_TOKENS)
    };
    (params.group() <= GROUP_MAX && params.head_dim > 0 && jobs.iter().all(suits))
        .then(|| instructions.avx2())
        .flatten()
}

/// Does all rows of a call.
pub(super) fn attend(pool: &Pool, avx2: Avx2, sequences: &[Sequence<'_>], params: &AttentionParams<'_>) {
    let (kv_heads, shape) = (params.num_kv_heads, Shape::new(params));
    let lens: Vec<usize> = sequences.iter().map(|(view, _)| shape.packed_len(num_keys(view))).collect();
    let starts: Vec<usize> =
        lens.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len * kv_heads))).collect();
    let mut packed = vec![0.0; lens.iter().sum::<usize>() * kv_heads];
    let all = packed.len();
    let shared = SharedRows::new(&mut packed, all);
    pool.run(sequences.len() * kv_heads, |task| {
        let (job, head) = (task / kv_heads, task % kv_heads);
        // SAFETY: each task has a range of its own.
        let out = unsafe { shared.part(0, starts[job] + head * lens[job], lens[job]) };
        shape.pack(out, &sequences[job].0, params, head);
    });
    let mut units = Vec::new();
    for (job, (view, rows)) in sequences.iter().enumerate() {
        let tokens = view.q.len() / params.row();
        // The last rows see the most and are begun first.
        for first in (0..tokens).step_by(UNIT_TOKENS).rev() {
            units.extend((0..kv_heads).map(|head| {
                let packed = &packed[starts[job] + head * lens[job]..][..lens[job]];
                let (keys, values) = packed.split_at(shape.keys_len(num_keys(view)));
                let tokens = first..tokens.min(first + UNIT_TOKENS);
                Unit { params, shape, view, rows, tokens, head, keys: keys.as_chunks().0, values }
            }));
        }
    }
    pool.run(units.len(), |unit| {
        let unit = &units[unit];
        with_scratch(unit.scratch_len(), |scratch: &mut [f32]| {
            // SAFETY: the token is the proof of the features.
            unsafe { unit.run(avx2, scratch) };
        });
    });
}

fn num_keys(view: &View<'_>) -> usize {
    view.runs.iter().map(|run| run.len).sum()
}

/// Position of the first key that a sequence holds.
fn first_key(view: &View<'_>) -> usize {
    view.runs.first().map_or(0, |run| run.first_position)
}

/// The widths of rows.
#[derive(Clone, Copy)]
struct Shape {
    /// D
    head_dim: usize,
    /// D, made even.
    key_width: usize,
    /// D, made whole registers of two.
    value_width: usize,
}

impl Shape {
    fn new(params: &AttentionParams<'_>) -> Shape {
        let d = params.head_dim;
        Shape { head_dim: d, key_width: d.next_multiple_of(2), value_width: d.next_multiple_of(STRIP) }
    }

    fn keys_len(&self, keys: usize) -> usize {
        keys.next_multiple_of(STRIP) * self.key_width
    }

    fn packed_len(&self, keys: usize) -> usize {
        self.keys_len(keys) + keys * self.value_width
    }

    /// Lays out the keys and values of a head; what is not written stays zero.
    fn pack(&self, out: &mut [f32], view: &View<'_>, params: &AttentionParams<'_>, head: usize) {
        let (keys, values) = out.split_at_mut(self.keys_len(num_keys(view)));
        let strips = keys.as_chunks_mut::<STRIP>().0;
        let (mut index, width) = (0, params.kv_row());
        for run in view.runs {
            let (KvSlice::F32(run_keys), KvSlice::F32(run_values)) = (run.keys, run.values) else {
                panic!("attention: runs are of one type")
            };
            for (key, value) in run_keys.chunks_exact(width).zip(run_values.chunks_exact(width)) {
                let columns = head * self.head_dim..(head + 1) * self.head_dim;
                let strip = &mut strips[index / STRIP * self.key_width..][..self.key_width];
                for (out, key) in strip.iter_mut().zip(&key[columns.clone()]) {
                    out[index % STRIP] = *key;
                }
                values[index * self.value_width..][..self.head_dim].copy_from_slice(&value[columns]);
                index += 1;
            }
        }
    }
}

/// Some tokens of a kv head.
struct Unit<'a> {
    params: &'a AttentionParams<'a>,
    shape: Shape,
    view: &'a View<'a>,
    rows: &'a RowsOut<'a>,
    tokens: Range<usize>,
    head: usize,
    keys: &'a [[f32; STRIP]],
    values: &'a [f32],
}

/// Working memory of a unit of R rows.
struct Work<'a> {
    /// `[R, D]`, D made even.
    q: &'a mut [f32],
    /// `[R, SCORES]`
    scores: &'a mut [f32],
    /// M and L, then m and l of a span: `[R]` each.
    tops: &'a mut [f32],
    sums: &'a mut [f32],
    span_tops: &'a mut [f32],
    span_sums: &'a mut [f32],
    /// O, then o of a span: `[R, D]` each, D made whole registers.
    out: &'a mut [f32],
    span_out: &'a mut [f32],
}

impl Unit<'_> {
    fn num_rows(&self) -> usize {
        self.tokens.len() * self.params.group()
    }

    fn scratch_len(&self) -> usize {
        self.num_rows() * (self.shape.key_width + SCORES + 4 + 2 * self.shape.value_width)
    }

    fn work<'a>(&self, scratch: &'a mut [f32]) -> Work<'a> {
        let r = self.num_rows();
        let (q, scratch) = scratch.split_at_mut(r * self.shape.key_width);
        let (scores, scratch) = scratch.split_at_mut(r * SCORES);
        let (out, scratch) = scratch.split_at_mut(r * self.shape.value_width);
        let (span_out, scratch) = scratch.split_at_mut(r * self.shape.value_width);
        let (tops, scratch) = scratch.split_at_mut(r);
        let (sums, scratch) = scratch.split_at_mut(r);
        let (span_tops, span_sums) = scratch.split_at_mut(r);
        Work { q, scores, tops, sums, span_tops, span_sums, out, span_out }
    }

    /// What a row sees of a range of positions.
    fn visible(&self, row: usize, range: &Range<usize>) -> Range<usize> {
        let token = self.tokens.start + row / self.params.group();
        let visible = self.params.visible(self.view.first_position + token);
        let start = visible.start.clamp(range.start, range.end);
        start..visible.end.clamp(start, range.end)
    }

    #[target_feature(enable = "avx2,fma")]
    fn run(&self, _: Avx2, scratch: &mut [f32]) {
        let mut work = self.work(scratch);
        self.begin(&mut work);
        let last_row = self.num_rows() - 1;
        let everything = 0..usize::MAX;
        let seen = self.visible(0, &everything).start..self.visible(last_row, &everything).end;
        for span in seen.start / SPAN..seen.end.div_ceil(SPAN) {
            let range = seen.start.max(span * SPAN)..seen.end.min((span + 1) * SPAN);
            let base = self.score(&mut work, &range);
            for row in 0..self.num_rows() {
                let visible = self.visible(row, &range);
                let scores = &mut work.scores[row * SCORES..][visible.start - base..visible.end - base];
                (work.span_tops[row], work.span_sums[row]) = softmax(scores, visible.start);
            }
            self.add_values(&mut work, &range, base);
            self.merge(&mut work, &range);
        }
        self.write(&work);
    }

    /// Lays out the queries; (M, L, O) are (sink, 1, 0) before any span.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn begin(&self, work: &mut Work<'_>) {
        let (d, group) = (self.shape.head_dim, self.params.group());
        let queries = self.view.q.chunks_exact(self.params.row()).skip(self.tokens.start);
        let queries = queries.flat_map(|row| row[self.head * group * d..][..group * d].chunks_exact(d));
        for (out, q) in work.q.chunks_exact_mut(self.shape.key_width).zip(queries) {
            out[..d].copy_from_slice(q);
            out[d..].fill(0.0);
        }
        for tops in work.tops.chunks_exact_mut(group) {
            tops.copy_from_slice(&self.params.sinks[self.head * group..][..group]);
        }
        work.sums.fill(1.0);
        work.out.fill(0.0);
    }

    /// Scores of the strips that some row of a tile sees. Returns the position of the first score of a row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn score(&self, work: &mut Work<'_>, range: &Range<usize>) -> usize {
        let (first_key, width) = (first_key(self.view), self.shape.key_width);
        let strips = (range.start - first_key) / STRIP..(range.end - first_key).div_ceil(STRIP);
        let base = first_key + strips.start * STRIP;
        for strip in strips.clone() {
            let keys = &self.keys[strip * width..][..width];
            let positions = first_key + strip * STRIP..first_key + (strip + 1) * STRIP;
            for row in (0..self.num_rows()).step_by(TILE_ROWS) {
                let last = self.num_rows().min(row + TILE_ROWS) - 1;
                let seen = self.visible(row, range).start..self.visible(last, range).end;
                if seen.end <= positions.start || positions.end <= seen.start {
                    continue;
                }
                let scores = &mut work.scores[row * SCORES + (strip - strips.start) * STRIP..];
                let (q, scale) = (&work.q[row * width..], self.params.scale);
                match last - row {
                    2 => score_tile::<3>(scores, q, keys, scale),
                    1 => score_tile::<2>(scores, q, keys, scale),
                    _ => score_tile::<1>(scores, q, keys, scale),
                }
            }
        }
        base
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_values(&self, work: &mut Work<'_>, range: &Range<usize>, base: usize) {
        let (group, width) = (self.params.group(), self.shape.value_width);
        work.span_out.fill(0.0);
        for first in range.clone().step_by(BLOCK) {
            let block = first..range.end.min(first + BLOCK);
            for row in (0..self.num_rows()).step_by(group) {
                let visible = self.visible(row, &block);
                let first = visible.start - first_key(self.view);
                let values = &self.values[first * width..][..visible.len() * width];
                let weights = &work.scores[row * SCORES + (visible.start - base)..];
                let sums = &mut work.span_out[row * width..][..group * width];
                match group {
                    1 => add_rows::<1>(sums, weights, values, width),
                    2 => add_rows::<2>(sums, weights, values, width),
                    3 => add_rows::<3>(sums, weights, values, width),
                    _ => add_rows::<4>(sums, weights, values, width),
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn merge(&self, work: &mut Work<'_>, range: &Range<usize>) {
        let width = self.shape.value_width;
        for row in (0..self.num_rows()).filter(|row| !self.visible(*row, range).is_empty()) {
            let (top, span_top) = (work.tops[row], work.span_tops[row]);
            let new = if span_top > top { span_top } else { top };
            let (a, b) = (exp(top - new), exp(span_top - new));
            work.tops[row] = new;
            work.sums[row] = work.span_sums[row].mul_add(b, work.sums[row] * a);
            let span_out = &work.span_out[row * width..][..width];
            for (out, span_out) in work.out[row * width..][..width].iter_mut().zip(span_out) {
                *out = span_out.mul_add(b, *out * a);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn write(&self, work: &Work<'_>) {
        let (d, group) = (self.shape.head_dim, self.params.group());
        for (row, values) in work.out.chunks_exact(self.shape.value_width).enumerate() {
            let (token, head) = (self.tokens.start + row / group, self.head * group + row % group);
            // SAFETY: this unit alone writes the heads of this kv head in its tokens.
            let out = unsafe { self.rows.values.part(token, head * d, d) };
            for (out, value) in out.iter_mut().zip(values) {
                *out = value / work.sums[row];
            }
            if let Some(softmax) = &self.rows.softmax {
                // SAFETY: as above.
                let kept = unsafe { softmax.part(token, 2 * head, 2) };
                kept.copy_from_slice(&[work.tops[row], work.sums[row]]);
            }
        }
    }
}

/// Scores of R rows with a strip, the first of each where `scores` begins.
///
/// Shapes: `scores [R, SCORES]`, `q [R, D]`, `strip [D, 16]`, D even.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn score_tile<const R: usize>(scores: &mut [f32], q: &[f32], strip: &[[f32; STRIP]], scale: f32) {
    let d = strip.len();
    assert!(d.is_multiple_of(2) && q.len() >= R * d && scores.len() >= (R - 1) * SCORES + STRIP);
    // The chain of the even elements and that of the odd ones, of eight keys and of eight.
    let mut sums = [[[_mm256_setzero_ps(); 2]; 2]; R];
    for i in (0..d).step_by(2) {
        for half in 0..2 {
            // SAFETY: strips are sixteen floats, and `q` has R rows of d (asserted).
            unsafe {
                let keys = strip[i + half].as_ptr();
                let keys = [_mm256_loadu_ps(keys), _mm256_loadu_ps(keys.add(LANES))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let q = _mm256_broadcast_ss(&*q.as_ptr().add(r * d + i + half));
                    for (sum, keys) in sums[half].iter_mut().zip(keys) {
                        *sum = _mm256_fmadd_ps(q, keys, *sum);
                    }
                }
            }
        }
    }
    let scale = _mm256_set1_ps(scale);
    for (r, [even, odd]) in sums.iter().enumerate() {
        for (half, (even, odd)) in even.iter().zip(odd).enumerate() {
            let score = _mm256_mul_ps(_mm256_add_ps(*even, *odd), scale);
            // SAFETY: `scores` has sixteen floats from row r on (asserted).
            unsafe { _mm256_storeu_ps(scores.as_mut_ptr().add(r * SCORES + half * LANES), score) };
        }
    }
}

/// Replaces scores by `exp(score - m)`: m and their sum l.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn softmax(scores: &mut [f32], first_position: usize) -> (f32, f32) {
    let mut tops = [f32::MIN; LANES];
    let larger = |top: &mut f32, score: f32| *top = if score > *top { score } else { *top };
    let (body, tail) = scores.as_chunks::<LANES>();
    for scores in body {
        tops.iter_mut().zip(scores).for_each(|(top, score)| larger(top, *score));
    }
    tops.iter_mut().zip(tail).for_each(|(top, score)| larger(top, *score));
    let mut top = f32::MIN;
    tops.iter().for_each(|score| larger(&mut top, *score));
    scores.iter_mut().for_each(|score| *score = exp(*score - top));
    // Four chains by position, from a multiple of four on.
    let mut chains = [0.0_f32; 4];
    let place = first_position % 4;
    let (head, body) = scores.split_at(((4 - place) % 4).min(scores.len()));
    chains[place..].iter_mut().zip(head).for_each(|(chain, weight)| *chain += weight);
    let (body, tail) = body.as_chunks::<4>();
    for weights in body {
        chains.iter_mut().zip(weights).for_each(|(chain, weight)| *chain += weight);
    }
    chains.iter_mut().zip(tail).for_each(|(chain, weight)| *chain += weight);
    (top, (chains[0] + chains[2]) + (chains[1] + chains[3]))
}

/// `sums[g] += weights[g][i] * values[i]`, i ascending, for all rows of values.
///
/// Shapes: `sums [G, width]`, `weights [G, SCORES]` from the first row's on, `values [n, width]`, the width
/// whole strips.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_rows<const G: usize>(sums: &mut [f32], weights: &[f32], values: &[f32], width: usize) {
    for column in (0..width).step_by(2 * STRIP) {
        // Two rows alone would leave too few sums at work at a time.
        match width - column > STRIP && G <= 2 {
            true => add_columns::<G, 4>(sums, weights, values, (width, column)),
            false => {
                for column in (column..width.min(column + 2 * STRIP)).step_by(STRIP) {
                    add_columns::<G, 2>(sums, weights, values, (width, column));
                }
            }
        }
    }
}

/// [`add_rows`] of W registers of columns.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_columns<const G: usize, const W: usize>(
    sums: &mut [f32],
    weights: &[f32],
    values: &[f32],
    (width, column): (usize, usize),
) {
    let count = values.len() / width;
    if count == 0 {
        return;
    }
    assert!(column + W * LANES <= width && sums.len() == G * width && values.len() == count * width);
    assert!(weights.len() >= (G - 1) * SCORES + count);
    // SAFETY: rows of sums and values have `width` floats, and G rows of weights `count` (asserted).
    unsafe {
        let out = sums.as_mut_ptr().add(column);
        let mut sums: [[__m256; W]; G] =
            std::array::from_fn(|g| std::array::from_fn(|w| _mm256_loadu_ps(out.add(g * width + w * LANES))));
        for i in 0..count {
            let value = values.as_ptr().add(i * width + column);
            let values: [__m256; W] = std::array::from_fn(|w| _mm256_loadu_ps(value.add(w * LANES)));
            for (g, sums) in sums.iter_mut().enumerate() {
                let weight = _mm256_broadcast_ss(&*weights.as_ptr().add(g * SCORES + i));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = _mm256_fmadd_ps(weight, value, *sum);
                }
            }
        }
        for (g, sums) in sums.iter().enumerate() {
            for (w, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(out.add(g * width + w * LANES), *sum);
            }
        }
    }
}
