//! Attention of one query row, span by span, and the rows of a cache.
//!
//! A span is 512 positions from a multiple of 512 on. Of it, those in sight give scores, then m (the largest
//! score, at least the lowest finite number), the weights `exp(score - m)`, l (their sum in four chains by
//! position modulo 4, ascending, then `(c0 + c2) + (c1 + c3)`), and o (the values so weighted). Spans are
//! joined in ascending order into (M, L, O), from (sink, 1, 0) on: with M' the larger of M and m, `a =
//! exp(M - M')` and `b = exp(m - M')`, `L = l b + L a` and `O = o b + O a`; the result is `O / L`.
//!
//! The formats differ in how a score and an o come about: see the functions of [`Cache`].

use super::Fma;
use super::numbers::{exp, largest_magnitude, narrowed, nearest, widened};

/// Positions of a span.
pub const SPAN: usize = 512;

/// Queries and weights of a smaller magnitude are zero before they meet bf16.
const SMALLEST_QUERY: f32 = f32::from_bits((127 - 40) << 23);
/// Keys and values of a smaller magnitude are zero in bf16.
const SMALLEST_KV: f32 = f32::from_bits((127 - 60) << 23);
/// Rows whose largest magnitude is smaller are zero in int8.
const SMALLEST_INT8: f32 = f32::from_bits((127 - 100) << 23);
/// The largest integer of a query or weight that meets int8.
const WIDE_MAX: f32 = 32_767.0;

/// Keys or values: rows `[K, D]`, any number of them.
#[derive(Clone, Debug)]
pub enum Cache {
    F32(Vec<f32>),
    /// By its bits.
    Bf16(Vec<u16>),
    Int8 {
        values: Vec<i8>,
        /// `[rows, K]`
        scales: Vec<f32>,
    },
}

/// What the rows of a layer share.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    pub num_query_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    /// How many keys a row sees, its own among them.
    pub window: Option<usize>,
    /// `[H]`
    pub sinks: &'a [f32],
}

/// A head's row of keys or values.
enum Numbers {
    Floats(Vec<f32>),
    Scaled(Vec<i32>, f32),
}

/// The factor on scores.
pub fn score_factor(head_dim: usize) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

/// The factor that makes `largest` the integer `most`, and the size of a step.
fn steps(largest: f32, most: f32) -> (f32, f32) {
    match largest {
        l if !l.is_finite() => (0.0, f32::NAN),
        l if l < SMALLEST_INT8 => (0.0, 0.0),
        l => (most / l, l / most),
    }
}

/// A number of a bf16 cache.
pub fn kv_bits(number: f32) -> u16 {
    narrowed(number, SMALLEST_KV)
}

/// The integers and scale of a head's row in an int8 cache.
pub fn kv_int8(row: &[f32]) -> (Vec<i8>, f32) {
    let (inverse, step) = steps(largest_magnitude(row), 127.0);
    (row.iter().map(|number| nearest(number * inverse) as i8).collect(), step)
}

impl Cache {
    /// Writes the keys or values `[K, D]` of a position.
    pub fn write(&mut self, row: usize, new: &[f32], head_dim: usize) {
        let place = row * new.len();
        match self {
            Cache::F32(numbers) => numbers[place..][..new.len()].copy_from_slice(new),
            Cache::Bf16(bits) => {
                let to = bits[place..].iter_mut();
                to.zip(new).for_each(|(bits, number)| *bits = kv_bits(*number));
            }
            Cache::Int8 { values, scales } => {
                for (head, new) in new.chunks_exact(head_dim).enumerate() {
                    let (integers, scale) = kv_int8(new);
                    let first = place + head * head_dim;
                    values[first..][..head_dim].copy_from_slice(&integers);
                    scales[first / head_dim] = scale;
                }
            }
        }
    }

    /// The row of a kv head.
    fn head(&self, heads: &Heads<'_>, row: usize, kv_head: usize) -> Numbers {
        let index = row * heads.num_kv_heads + kv_head;
        let place = index * heads.head_dim..(index + 1) * heads.head_dim;
        match self {
            Cache::F32(numbers) => Numbers::Floats(numbers[place].to_vec()),
            Cache::Bf16(bits) => Numbers::Floats(bits[place].iter().map(|bits| widened(*bits)).collect()),
            Cache::Int8 { values, scales } => {
                Numbers::Scaled(values[place].iter().map(|value| i32::from(*value)).collect(), scales[index])
            }
        }
    }

    /// The scores of a query head with the keys in `rows`.
    ///
    /// f32: two chains of multiply-adds, of the even and of the odd elements, ascending; even + odd, times
    /// the factor. bf16: the query rounded to bf16; two chains of pairs of elements, pairs 0, 2, ... and
    /// 1, 3, ..., of a pair the second product first. int8: the query as integers up to 32,767; the sum
    /// of integers times the key's scale, times (the query's step times the factor).
    fn scores(&self, fma: Fma, heads: &Heads<'_>, q: &[f32], rows: &[usize], kv_head: usize) -> Vec<f32> {
        let factor = score_factor(heads.head_dim);
        let (inverse, step) = steps(largest_magnitude(q), WIDE_MAX);
        let rounded: Vec<f32> = q.iter().map(|q| widened(narrowed(*q, SMALLEST_QUERY))).collect();
        let score = |row: &usize| match (self, self.head(heads, *row, kv_head)) {
            (Cache::Bf16(_), Numbers::Floats(key)) => {
                let mut chains = [0.0; 2];
                for (pair, (q, key)) in rounded.chunks(2).zip(key.chunks(2)).enumerate() {
                    for (q, key) in q.iter().zip(key).rev() {
                        chains[pair % 2] = fma.of(*q, *key, chains[pair % 2]);
                    }
                }
                (chains[0] + chains[1]) * factor
            }
            (_, Numbers::Floats(key)) => {
                let mut chains = [0.0; 2];
                for (i, (q, key)) in q.iter().zip(&key).enumerate() {
                    chains[i % 2] = fma.of(*q, *key, chains[i % 2]);
                }
                (chains[0] + chains[1]) * factor
            }
            (_, Numbers::Scaled(key, scale)) => {
                let dot: i32 = q.iter().zip(&key).map(|(q, key)| nearest(q * inverse) * key).sum();
                dot as f32 * scale * (step * factor)
            }
        };
        rows.iter().map(score).collect()
    }

    /// The weighted values of a span whose first position in sight is `first`, in `rows`.
    ///
    /// f32: one chain a number, ascending. bf16: the weights rounded to bf16; one chain, by pairs of
    /// positions from the start of the span, of a pair the second first. int8: each weight times its
    /// value's scale, as an integer up to 32,767 of the largest; the sum of integers times the size of
    /// their step.
    fn weighted(
        &self,
        fma: Fma,
        heads: &Heads<'_>,
        (first, weights): (usize, &[f32]),
        rows: &[usize],
        kv_head: usize,
    ) -> Vec<f32> {
        let numbers: Vec<Numbers> = rows.iter().map(|row| self.head(heads, *row, kv_head)).collect();
        let mut sums = vec![0.0; heads.head_dim];
        if let Cache::Int8 { .. } = self {
            let scaled: Vec<f32> = weights
                .iter()
                .zip(&numbers)
                .map(|(weight, numbers)| {
                    weight * if let Numbers::Scaled(_, scale) = numbers { *scale } else { 1.0 }
                })
                .collect();
            let (inverse, step) = steps(largest_magnitude(&scaled), WIDE_MAX);
            for (d, sum) in sums.iter_mut().enumerate() {
                let product = |(weight, numbers): (&f32, &Numbers)| match numbers {
                    Numbers::Scaled(values, _) => nearest(weight * inverse) * values[d],
                    Numbers::Floats(_) => 0,
                };
                *sum = scaled.iter().zip(&numbers).map(product).sum::<i32>() as f32 * step;
            }
            return sums;
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut weights = weights.to_vec();
        if let Cache::Bf16(_) = self {
            // Pairs ascend, positions of a pair descend.
            order.sort_by_key(|i| ((first + i) / 2, usize::MAX - i));
            weights.iter_mut().for_each(|weight| *weight = widened(narrowed(*weight, SMALLEST_QUERY)));
        }
        for i in order {
            let Numbers::Floats(values) = &numbers[i] else { continue };
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = fma.of(weights[i], *value, *sum);
            }
        }
        sums
    }
}

/// The output `[H, D]` of a query row `[H, D]` at `position`, whose sequence has position `p` in row
/// `rows[p]` of the cache. Rows out of sight are not read.
pub fn attend(
    fma: Fma,
    heads: &Heads<'_>,
    q: &[f32],
    (keys, values): (&Cache, &Cache),
    rows: &[usize],
    position: usize,
) -> Vec<f32> {
    let group = heads.num_query_heads / heads.num_kv_heads;
    let first = heads.window.map_or(0, |window| (position + 1).saturating_sub(window));
    let mut out = Vec::with_capacity(q.len());
    for (head, q) in q.chunks_exact(heads.head_dim).enumerate() {
        let (mut top, mut sum, mut o) = (heads.sinks[head], 1.0, vec![0.0; heads.head_dim]);
        for span in first / SPAN..=position / SPAN {
            let seen = first.max(span * SPAN)..(position + 1).min((span + 1) * SPAN);
            let rows = &rows[seen.clone()];
            let mut weights = keys.scores(fma, heads, q, rows, head / group);
            let m = weights.iter().fold(f32::MIN, |m, score| if *score > m { *score } else { m });
            let mut chains = [0.0; 4];
            for (weight, position) in weights.iter_mut().zip(seen.clone()) {
                *weight = exp(fma, *weight - m);
                chains[position % 4] += *weight;
            }
            let l = (chains[0] + chains[2]) + (chains[1] + chains[3]);
            let of_span = values.weighted(fma, heads, (seen.start, &weights), rows, head / group);
            let t = if m > top { m } else { top };
            let (a, b) = (exp(fma, top - t), exp(fma, m - t));
            sum = fma.of(l, b, sum * a);
            for (o, of_span) in o.iter_mut().zip(of_span) {
                *o = fma.of(of_span, b, *o * a);
            }
            top = t;
        }
        out.extend(o.iter().map(|o| o / sum));
    }
    out
}
