//! Attention against a float64 twin and against itself.
//!
//! The reference lies within a derived tolerance of the twin; every tier and number of threads gives its bits; and the
//! bits do not depend on how many query rows are computed together, where the runs of keys are cut, or at which
//! position the oldest key that is held lies.

use crate::support::{Fill, Rng, assert_bits, assert_close, pools, scalar};
use gptoss_kernels::{AttentionDims, AttentionParams, KvRun, KvSlice, Pool, attention};
use half::bf16;

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    d: usize,
    /// Keys from position 0; the query rows are the last `t` of them.
    len: usize,
    t: usize,
    window: Option<usize>,
    bf16: bool,
    fill: Fill,
}

fn cases() -> Vec<Case> {
    let base =
        Case { heads: 8, kv_heads: 2, d: 16, len: 50, t: 9, window: None, bf16: false, fill: Fill::Random };
    vec![
        base,
        Case { bf16: true, ..base },
        Case { window: Some(8), ..base },
        Case { window: Some(1), ..base },
        Case { window: Some(128), len: 200, t: 80, d: 64, heads: 16, ..base },
        Case { heads: 64, kv_heads: 8, d: 64, len: 300, t: 3, bf16: true, ..base },
        Case { heads: 8, kv_heads: 1, d: 64, len: 131, t: 1, ..base },
        Case { d: 72, len: 41, t: 41, ..base },
        Case { d: 20, ..base },
        Case { d: 5, heads: 3, kv_heads: 3, ..base },
        Case { len: 1, t: 1, ..base },
        Case { fill: Fill::Zeros, ..base },
        Case { fill: Fill::Tiny, ..base },
        Case { fill: Fill::NonFinite, d: 64, ..base },
    ]
}

struct Tensors {
    case: Case,
    q: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    sinks: Vec<f32>,
}

impl Tensors {
    fn new(case: Case) -> Tensors {
        let Case { heads, kv_heads, d, len, t, fill, .. } = case;
        let mut rng = Rng((heads * len * d) as u64);
        let mut tensor = |len: usize| -> Vec<f32> {
            let values = fill.f32s(&mut rng, len).into_iter();
            // What bf16 holds, so that both types of cache hold the same numbers.
            values.map(|value| bf16::from_f32(value * 3.0).to_f32()).collect()
        };
        let (q, keys) = (tensor(t * heads * d), tensor(len * kv_heads * d));
        let (values, sinks) = (tensor(len * kv_heads * d), tensor(heads));
        Tensors { case, q, keys, values, sinks }
    }

    /// Rows `first..first + t` with the keys cut into runs at `cuts`.
    fn run(&self, pool: &Pool, first: usize, t: usize, cuts: &[usize]) -> Vec<f32> {
        let Case { heads, kv_heads, d, len, window, .. } = self.case;
        let (keys16, values16) = (to_bf16(&self.keys), to_bf16(&self.values));
        let runs: Vec<KvRun<'_>> = cuts
            .windows(2)
            .map(|cut| {
                let range = cut[0] * kv_heads * d..cut[1] * kv_heads * d;
                let (keys, values) = match self.case.bf16 {
                    true => (KvSlice::Bf16(&keys16[range.clone()]), KvSlice::Bf16(&values16[range])),
                    false => (KvSlice::F32(&self.keys[range.clone()]), KvSlice::F32(&self.values[range])),
                };
                KvRun { keys, values, first_position: cut[0], len: cut[1] - cut[0] }
            })
            .collect();
        let params = AttentionParams {
            dims: AttentionDims { t, num_query_heads: heads, num_kv_heads: kv_heads, head_dim: d },
            first_position: len - self.case.t + first,
            window,
            sinks: &self.sinks,
            scale: (d as f32).sqrt().recip(),
        };
        let mut out = vec![f32::NAN; t * heads * d];
        attention(pool, &mut out, &self.q[first * heads * d..][..t * heads * d], &runs, &params);
        out
    }

    fn all(&self, pool: &Pool) -> Vec<f32> {
        self.run(pool, 0, self.case.t, &[0, self.case.len])
    }

    /// By the formula of the specification, in float64, with a tolerance: a score of magnitude m is off by at most
    /// (D/8 + 5) u m, which scales each weight by that much; the exponential adds one ulp, the two sums n/8 + 4 and n
    /// roundings, the division one.
    fn twin(&self) -> Vec<(f64, f64)> {
        let Case { heads, kv_heads, d, len, t, window, .. } = self.case;
        let unit = 0.5_f64.powi(24);
        let mut out = Vec::new();
        for row in 0..t * heads {
            let (position, head) = (len - t + row / heads, row % heads);
            let kv_head = head / (heads / kv_heads);
            let seen: Vec<usize> =
                (0..=position).filter(|j| window.is_none_or(|window| position - j < window)).collect();
            let q = &self.q[row * d..][..d];
            let row_of =
                |tensor: &'_ [f32], j: usize, i: usize| f64::from(tensor[(j * kv_heads + kv_head) * d + i]);
            let scale = f64::from((d as f32).sqrt().recip());
            let (mut scores, mut largest_magnitude) = (Vec::new(), 0.0_f64);
            for &j in &seen {
                let products = (0..d).map(|i| f64::from(q[i]) * row_of(&self.keys, j, i) * scale);
                largest_magnitude = products.clone().map(f64::abs).sum::<f64>().max(largest_magnitude);
                scores.push(products.sum::<f64>());
            }
            let sink = f64::from(self.sinks[head]);
            let largest = scores.iter().fold(sink, |a, b| a.max(*b));
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum = weights.iter().sum::<f64>() + (sink - largest).exp();
            let weight_error =
                2.0 * (d as f64 / 8.0 + 6.0) * largest_magnitude + 4.0 * largest.abs().max(sink.abs());
            let roundings = 2.0 * weight_error + 4.0 + seen.len() as f64 * 1.125 + 10.0;
            for i in 0..d {
                let terms = || seen.iter().zip(&weights).map(|(&j, w)| w * row_of(&self.values, j, i) / sum);
                let magnitude: f64 = terms().map(f64::abs).sum();
                out.push((terms().sum(), roundings * unit * magnitude + 1e-44 * seen.len() as f64));
            }
        }
        out
    }
}

fn to_bf16(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|value| bf16::from_f32(*value)).collect()
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

#[test]
fn rows_together_or_alone_and_runs_cut_anywhere_give_the_same_bits() {
    for case in cases() {
        let tensors = Tensors::new(case);
        for pool in pools() {
            let expected = tensors.all(&pool);
            let alone: Vec<f32> =
                (0..case.t).flat_map(|row| tensors.run(&pool, row, 1, &[0, case.len])).collect();
            assert_bits(&alone, &expected, &(case, "alone"));
            for cut in [0, 1, case.len / 3, case.len - 1] {
                let cut_up = tensors.run(&pool, 0, case.t, &[0, cut, case.len]);
                assert_bits(&cut_up, &expected, &(case, "cut at", cut));
            }
            if let Some(window) = case.window {
                let oldest = (case.len - case.t + 1).saturating_sub(window);
                let held = tensors.run(&pool, 0, case.t, &[oldest, case.len]);
                assert_bits(&held, &expected, &(case, "held from", oldest));
            }
        }
    }
}

/// With equal scores and a zero sink, n keys share n / (n + 1) of the weight.
#[test]
fn the_sink_takes_its_share() {
    let (values, keys) = ([1.0, 2.0, 4.0], [0.0; 3]);
    let mut out = [0.0];
    let run = KvRun { keys: KvSlice::F32(&keys), values: KvSlice::F32(&values), first_position: 0, len: 3 };
    let params = AttentionParams {
        dims: AttentionDims { t: 1, num_query_heads: 1, num_kv_heads: 1, head_dim: 1 },
        first_position: 2,
        window: None,
        sinks: &[0.0],
        scale: 1.0,
    };
    attention(&scalar(), &mut out, &[5.0], &[run], &params);
    assert_eq!(out, [7.0 / 4.0]);
}

/// Query 128 on a layer with a window of 128 sees keys 1 to 128; query 127 sees 0 to 127.
#[test]
fn a_window_of_128_counts_the_current_key() {
    let keys = vec![0.0; 129];
    let mut values = vec![0.0; 129];
    values[0] = 129.0;
    let run = KvRun { keys: KvSlice::F32(&keys), values: KvSlice::F32(&values), first_position: 0, len: 129 };
    for (position, expected) in [(127, 1.0), (128, 0.0)] {
        let mut out = [f32::NAN];
        let params = AttentionParams {
            dims: AttentionDims { t: 1, num_query_heads: 1, num_kv_heads: 1, head_dim: 1 },
            first_position: position,
            window: Some(128),
            sinks: &[0.0],
            scale: 1.0,
        };
        attention(&scalar(), &mut out, &[1.0], &[run], &params);
        assert_eq!(out, [expected], "query {position}");
    }
}

#[test]
#[should_panic(expected = "a key in sight is in no run")]
fn a_missing_key_is_a_broken_invariant() {
    let case = cases()[0];
    Tensors::new(case).run(&scalar(), 0, case.t, &[1, case.len]);
}
