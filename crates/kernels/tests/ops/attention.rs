//! Attention against a float64 twin and against itself.
//!
//! The reference lies within a derived tolerance of the twin; every tier and number of threads gives its
//! bits; and the bits do not depend on how many query rows are computed together, which sequences share a
//! call, where the runs of keys are cut, or at which position the oldest key that is held lies.

use crate::support::{Fill, Rng, assert_bits, assert_close, pools, scalar};
use gptoss_kernels::{
    AttentionJob, AttentionParams, KvRun, KvSlice, Pool, Tier, attention, kv_bf16, quantize_kv,
};
use half::bf16;

/// Positions that the op reduces on their own; the tolerance counts them.
const SPAN: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kv {
    F32,
    Bf16,
    Q8,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    d: usize,
    /// Keys from position 0; the query rows are the last `t` of them.
    len: usize,
    t: usize,
    window: Option<usize>,
    kv: Kv,
    fill: Fill,
}

fn cases() -> Vec<Case> {
    let first =
        Case { heads: 8, kv_heads: 2, d: 16, len: 50, t: 9, window: None, kv: Kv::F32, fill: Fill::Random };
    let of_each_type = [
        first,
        Case { window: Some(8), ..first },
        Case { window: Some(1), ..first },
        Case { window: Some(128), len: 200, t: 70, d: 64, ..first },
        Case { heads: 64, kv_heads: 8, d: 64, len: 300, t: 3, ..first },
        Case { heads: 8, kv_heads: 1, d: 64, len: 131, t: 1, ..first },
        // Several spans, and a window across the border of two.
        Case { heads: 8, kv_heads: 1, d: 64, len: 1601, t: 1, ..first },
        Case { kv_heads: 1, d: 64, len: 1050, t: 35, ..first },
        Case { kv_heads: 1, d: 64, len: 1040, t: 33, window: Some(128), ..first },
        // Heads that share a kv head fill more than one group of lanes.
        Case { heads: 12, kv_heads: 1, d: 32, len: 70, t: 2, ..first },
        Case { d: 72, len: 41, t: 41, ..first },
        Case { d: 20, ..first },
        Case { d: 5, heads: 3, kv_heads: 3, ..first },
        Case { len: 1, t: 1, ..first },
        Case { fill: Fill::Zeros, ..first },
        Case { fill: Fill::Tiny, ..first },
        Case { fill: Fill::NonFinite, d: 64, ..first },
        // Few heads share a kv head, and rows are many.
        Case { heads: 4, kv_heads: 2, d: 32, len: 1100, t: 90, ..first },
        Case { heads: 4, kv_heads: 2, d: 32, len: 700, t: 100, window: Some(128), ..first },
        Case { heads: 3, kv_heads: 3, d: 5, len: 40, t: 40, ..first },
        Case { heads: 6, kv_heads: 2, d: 40, len: 90, t: 64, fill: Fill::NonFinite, ..first },
    ];
    [Kv::F32, Kv::Bf16, Kv::Q8]
        .into_iter()
        .flat_map(|kv| of_each_type.map(|case| Case { kv, ..case }))
        .collect()
}

/// Keys or values of all positions, in every type.
struct Rows {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    q8: (Vec<i8>, Vec<f32>),
    row: usize,
    kv_heads: usize,
}

impl Rows {
    fn new(f32: Vec<f32>, case: Case) -> Rows {
        let row = case.kv_heads * case.d;
        let bf16 = f32.iter().map(|value| kv_bf16(*value)).collect();
        let mut q8 = (vec![0; f32.len()], vec![0.0; f32.len() / case.d]);
        for (i, numbers) in f32.chunks_exact(row).enumerate() {
            let scales = &mut q8.1[i * case.kv_heads..][..case.kv_heads];
            quantize_kv(&mut q8.0[i * row..][..row], scales, numbers);
        }
        Rows { f32, bf16, q8, row, kv_heads: case.kv_heads }
    }

    fn slice(&self, kv: Kv, first: usize, end: usize) -> KvSlice<'_> {
        let numbers = first * self.row..end * self.row;
        match kv {
            Kv::F32 => KvSlice::F32(&self.f32[numbers]),
            Kv::Bf16 => KvSlice::Bf16(&self.bf16[numbers]),
            Kv::Q8 => KvSlice::Q8 {
                values: &self.q8.0[numbers],
                scales: &self.q8.1[first * self.kv_heads..end * self.kv_heads],
            },
        }
    }

    /// Number `i` of the row of a kv head, as stored.
    fn number(&self, kv: Kv, position: usize, kv_head: usize, i: usize) -> f64 {
        let place = position * self.row + kv_head * (self.row / self.kv_heads) + i;
        match kv {
            Kv::Q8 => f64::from(self.q8.0[place]) * self.scale(position, kv_head),
            Kv::Bf16 => self.bf16[place].to_f64(),
            Kv::F32 => f64::from(self.f32[place]),
        }
    }

    fn scale(&self, position: usize, kv_head: usize) -> f64 {
        f64::from(self.q8.1[position * self.kv_heads + kv_head])
    }
}

struct Tensors {
    case: Case,
    q: Vec<f32>,
    keys: Rows,
    values: Rows,
    sinks: Vec<f32>,
}

impl Tensors {
    fn new(case: Case) -> Tensors {
        let Case { heads, kv_heads, d, len, t, fill, .. } = case;
        let mut rng = Rng((heads * len * d) as u64);
        let mut tensor = |len: usize| -> Vec<f32> {
            fill.f32s(&mut rng, len).into_iter().map(|value| value * 3.0).collect()
        };
        let (q, keys) = (tensor(t * heads * d), tensor(len * kv_heads * d));
        let (values, sinks) = (tensor(len * kv_heads * d), tensor(heads));
        Tensors { case, q, keys: Rows::new(keys, case), values: Rows::new(values, case), sinks }
    }

    fn params(&self) -> AttentionParams<'_> {
        AttentionParams {
            num_query_heads: self.case.heads,
            num_kv_heads: self.case.kv_heads,
            head_dim: self.case.d,
            window: self.case.window,
            sinks: &self.sinks,
            scale: (self.case.d as f32).sqrt().recip(),
        }
    }

    /// Rows `first..first + t` with the keys cut into runs at `cuts`.
    fn run(&self, pool: &Pool, first: usize, t: usize, cuts: &[usize]) -> Vec<f32> {
        let row = self.case.heads * self.case.d;
        let runs = self.runs(cuts);
        let mut out = vec![f32::NAN; t * row];
        let job = AttentionJob {
            out: &mut out,
            q: &self.q[first * row..][..t * row],
            runs: &runs,
            first_position: self.case.len - self.case.t + first,
        };
        attention(pool, &mut [job], &self.params());
        out
    }

    fn runs(&self, cuts: &[usize]) -> Vec<KvRun<'_>> {
        let kv = self.case.kv;
        cuts.windows(2)
            .map(|cut| KvRun {
                keys: self.keys.slice(kv, cut[0], cut[1]),
                values: self.values.slice(kv, cut[0], cut[1]),
                first_position: cut[0],
                len: cut[1] - cut[0],
            })
            .collect()
    }

    fn all(&self, pool: &Pool) -> Vec<f32> {
        self.run(pool, 0, self.case.t, &[0, self.case.len])
    }

    /// By the formula of the specification, in float64, with a tolerance, over every row and head.
    fn twin(&self) -> Vec<(f64, f64)> {
        (0..self.case.t * self.case.heads).flat_map(|row| self.twin_row(row)).collect()
    }

    /// The tolerance, in units of half an ulp u of the magnitudes: a score of magnitude m is off by (D/2 + 3)
    /// u m, which scales each weight by that much, as does the rounding of its distance from the maximum; the
    /// exponential adds one ulp; the sums over a span add up to 512 roundings, the join of each further span
    /// eight; the division one. An int8 cache adds: half a step of the query, 1/65534 of its largest number,
    /// times the magnitude of the keys, to a score; and half a step of a weight, 1/65534 of the largest of
    /// the span, times the int8 value. A bf16 cache adds the rounding of queries and weights to 8 bits, and
    /// of those below 2^-40 to zero.
    fn twin_row(&self, row: usize) -> Vec<(f64, f64)> {
        let Case { heads, kv_heads, d, len, t, window, kv, .. } = self.case;
        let unit = 0.5_f64.powi(24);
        let (position, head) = (len - t + row / heads, row % heads);
        let kv_head = head / (heads / kv_heads);
        let seen: Vec<usize> =
            (0..=position).filter(|j| window.is_none_or(|window| position - j < window)).collect();
        let q = &self.q[row * d..][..d];
        let scale = f64::from((d as f32).sqrt().recip());
        let largest_q = q.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
        let (mut scores, mut magnitude_of_scores, mut error_of_scores) = (Vec::new(), 0.0_f64, 0.0_f64);
        for &j in &seen {
            let key = |i| self.keys.number(kv, j, kv_head, i);
            let products = (0..d).map(|i| f64::from(q[i]) * key(i) * scale);
            magnitude_of_scores = products.clone().map(f64::abs).sum::<f64>().max(magnitude_of_scores);
            let keys: f64 = (0..d).map(|i| key(i).abs()).sum();
            let magnitude: f64 = products.clone().map(f64::abs).sum();
            let error = match kv {
                Kv::F32 => 0.0,
                Kv::Bf16 => magnitude * 0.5_f64.powi(9) + keys * scale * 0.5_f64.powi(40),
                Kv::Q8 => keys * largest_q * scale / 65_534.0,
            };
            error_of_scores = error_of_scores.max(error);
            scores.push(products.sum::<f64>());
        }
        let sink = f64::from(self.sinks[head]);
        let largest = scores.iter().fold(sink, |a, b| a.max(*b));
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum = weights.iter().sum::<f64>() + (sink - largest).exp();
        let spans = position / SPAN - seen[0] / SPAN + 1;
        let weight_error =
            2.0 * (d as f64 / 2.0 + 6.0) * magnitude_of_scores + 4.0 * largest.abs().max(sink.abs());
        let roundings = 2.0 * weight_error + 14.0 + seen.len().min(SPAN) as f64 * 1.25 + 8.0 * spans as f64;
        let of_weights = if kv == Kv::Bf16 { 0.5_f64.powi(9) } else { 0.0 };
        let relative = roundings * unit + 2.2 * error_of_scores + 1.01 * of_weights;
        let of_value = |i: usize| {
            let terms =
                seen.iter().zip(&weights).map(|(&j, w)| w * self.values.number(kv, j, kv_head, i) / sum);
            let magnitude: f64 = terms.clone().map(f64::abs).sum();
            let values = seen.iter().map(|&j| self.values.number(kv, j, kv_head, i).abs());
            let step = match kv {
                Kv::F32 => 0.0,
                Kv::Bf16 => values.sum::<f64>() * 0.5_f64.powi(40),
                Kv::Q8 => self.weight_steps(&seen, &weights, kv_head, i) / sum,
            };
            (terms.sum(), relative * magnitude + 1.01 * step + 1e-44 * seen.len() as f64)
        };
        (0..d).map(of_value).collect()
    }

    /// What the rounding of weights to 16 bits adds to value `i` at most, before the division.
    fn weight_steps(&self, seen: &[usize], weights: &[f64], kv_head: usize, i: usize) -> f64 {
        let in_span = |span: usize| seen.iter().zip(weights).filter(move |(j, _)| **j / SPAN == span);
        (seen[0] / SPAN..=seen[seen.len() - 1] / SPAN)
            .map(|span| {
                let scaled = in_span(span).map(|(j, weight)| weight * self.values.scale(*j, kv_head));
                let largest = scaled.fold(0.0, f64::max);
                let place = |j: usize| j * self.values.row + kv_head * self.case.d + i;
                let values: f64 =
                    in_span(span).map(|(j, _)| f64::from(self.values.q8.0[place(*j)]).abs()).sum();
                largest * values / 65_534.0
            })
            .sum()
    }
}

#[test]
fn the_reference_is_within_its_tolerance_of_float64() {
    for case in cases() {
        let tensors = Tensors::new(case);
        assert_close(&tensors.all(&scalar()), &tensors.twin(), &case);
    }
}

#[test]
fn every_tier_and_number_of_threads_gives_the_bits_of_the_reference() {
    for case in cases() {
        let tensors = Tensors::new(case);
        let expected = tensors.all(&scalar());
        for pool in pools() {
            assert_bits(&tensors.all(&pool), &expected, &(case, pool.tier(), pool.threads()));
        }
    }
}

/// That threads change no bit is a test of its own.
fn one_pool_a_tier() -> Vec<Pool> {
    Tier::available().into_iter().map(|tier| Pool::with_tier(2, tier)).collect()
}

#[test]
fn rows_together_or_alone_and_runs_cut_anywhere_give_the_same_bits() {
    for case in cases() {
        let tensors = Tensors::new(case);
        for pool in one_pool_a_tier() {
            let expected = tensors.all(&pool);
            for chunk in [1, 7, 64] {
                let chunks = (0..case.t).step_by(chunk);
                let rows = |first| tensors.run(&pool, first, chunk.min(case.t - first), &[0, case.len]);
                assert_bits(&chunks.flat_map(rows).collect::<Vec<_>>(), &expected, &(case, "by", chunk));
            }
            for cut in [0, 1, case.len / 3, case.len - 1] {
                let cut_up = tensors.run(&pool, 0, case.t, &[0, cut, case.len]);
                assert_bits(&cut_up, &expected, &(case, "cut at", cut));
            }
            for page in [3, 16, 64] {
                let mut cuts: Vec<usize> = (0..case.len).step_by(page).collect();
                cuts.push(case.len);
                let paged = tensors.run(&pool, 0, case.t, &cuts);
                assert_bits(&paged, &expected, &(case, "pages of", page));
            }
            if let Some(window) = case.window {
                let oldest = (case.len - case.t + 1).saturating_sub(window);
                let held = tensors.run(&pool, 0, case.t, &[oldest, case.len]);
                assert_bits(&held, &expected, &(case, "held from", oldest));
            }
        }
    }
}

/// Sequences of different lengths in one call, among them one without rows.
#[test]
fn sequences_in_one_call_give_the_bits_of_a_call_each() {
    for case in cases() {
        let tensors = Tensors::new(case);
        let row = case.heads * case.d;
        let runs = tensors.runs(&[0, case.len / 2, case.len]);
        for pool in one_pool_a_tier() {
            let parts = [(0, case.t / 2), (case.t / 2, 0), (case.t / 2, case.t - case.t / 2), (0, 1)];
            let mut outs = parts.map(|(_, t)| vec![f32::NAN; t * row]);
            let mut jobs: Vec<AttentionJob<'_>> = outs
                .iter_mut()
                .zip(parts)
                .map(|(out, (first, t))| AttentionJob {
                    out,
                    q: &tensors.q[first * row..][..t * row],
                    runs: &runs,
                    first_position: case.len - case.t + first,
                })
                .collect();
            attention(&pool, &mut jobs, &tensors.params());
            for (out, (first, t)) in outs.iter().zip(parts) {
                let expected = tensors.run(&pool, first, t, &[0, case.len]);
                assert_bits(out, &expected, &(case, first, t));
            }
        }
    }
}

#[test]
fn int8_rows_are_within_half_a_step_and_mark_what_is_not_finite() {
    let mut rng = Rng(11);
    let mut row = Fill::Random.f32s(&mut rng, 6 * 64);
    row[64..128].iter_mut().for_each(|number| *number *= 1e20);
    row[128..192].fill(0.0);
    row[192..256].iter_mut().for_each(|number| *number *= 1e-40);
    row[300] = f32::NAN;
    row[333] = f32::NEG_INFINITY;
    let (mut values, mut scales) = ([1; 6 * 64], [0.0; 6]);
    quantize_kv(&mut values, &mut scales, &row);
    for head in [0, 1] {
        for (value, number) in values[head * 64..][..64].iter().zip(&row[head * 64..]) {
            let error = (f64::from(*value) * f64::from(scales[head]) - f64::from(*number)).abs();
            assert!(error <= f64::from(scales[head]) * 0.500_01, "{number} as {value}");
        }
        assert!(values[head * 64..][..64].iter().any(|value| value.unsigned_abs() == 127));
    }
    assert_eq!((scales[2], scales[3]), (0.0, 0.0));
    assert!(scales[4].is_nan());
    assert_eq!(values[128..320], [0; 192]);
}

/// With equal scores and a zero sink, n keys share n / (n + 1) of the weight.
#[test]
fn the_sink_takes_its_share() {
    let (values, keys) = ([1.0, 2.0, 4.0], [0.0; 3]);
    assert_eq!(one_head(&keys, &values, None, 2, 5.0), 7.0 / 4.0);
}

/// Query 128 on a layer with a window of 128 sees keys 1 to 128; query 127 sees 0 to 127.
#[test]
fn a_window_of_128_counts_the_current_key() {
    let keys = vec![0.0; 129];
    let mut values = vec![0.0; 129];
    values[0] = 129.0;
    for (position, expected) in [(127, 1.0), (128, 0.0)] {
        assert_eq!(one_head(&keys, &values, Some(128), position, 1.0), expected, "query {position}");
    }
}

/// One query of one number, with a sink of zero.
fn one_head(keys: &[f32], values: &[f32], window: Option<usize>, position: usize, q: f32) -> f32 {
    let len = keys.len();
    let run = KvRun { keys: KvSlice::F32(keys), values: KvSlice::F32(values), first_position: 0, len };
    let params = AttentionParams {
        num_query_heads: 1,
        num_kv_heads: 1,
        head_dim: 1,
        window,
        sinks: &[0.0],
        scale: 1.0,
    };
    let mut out = [f32::NAN];
    let job = AttentionJob { out: &mut out, q: &[q], runs: &[run], first_position: position };
    attention(&scalar(), &mut [job], &params);
    out[0]
}

#[test]
#[should_panic(expected = "a key in sight is in no run")]
fn a_missing_key_is_a_broken_invariant() {
    let case = cases()[0];
    Tensors::new(case).run(&scalar(), 0, case.t, &[1, case.len]);
}

#[test]
#[should_panic(expected = "runs are of one type")]
fn runs_of_two_types_are_a_broken_invariant() {
    let case = cases()[0];
    let (tensors, int8) = (Tensors::new(case), Tensors::new(Case { kv: Kv::Q8, ..case }));
    let runs = [tensors.runs(&[0, 20])[0], int8.runs(&[20, case.len])[0]];
    let mut out = vec![0.0; tensors.q.len()];
    let job = AttentionJob { out: &mut out, q: &tensors.q, runs: &runs, first_position: case.len - case.t };
    attention(&scalar(), &mut [job], &tensors.params());
}
