//! Attention with sinks, windows and packed documents.

use gptoss_kernels::{
    AttentionGradients, AttentionJob, AttentionParams, AttentionRows, KvRun, KvSlice, Pool, attention,
    attention_backward, attention_saving,
};

use super::differences::{U, assert_slopes, weighted, widen};
use crate::support::{Fill, Rng, assert_bits, assert_close, pools, scalar};

#[derive(Clone, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    d: usize,
    window: Option<usize>,
    documents: Vec<usize>,
    q: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    sinks: Vec<f32>,
    dout: Vec<f32>,
}

impl Case {
    fn new(heads: usize, kv_heads: usize, d: usize, window: Option<usize>, documents: &[usize]) -> Case {
        let t: usize = documents.iter().sum();
        let mut rng = Rng((t * heads * d) as u64);
        let mut fill = |len, factor: f32| -> Vec<f32> {
            Fill::Random.f32s(&mut rng, len).into_iter().map(|x| x * factor).collect()
        };
        let [q, keys] = [heads, kv_heads].map(|heads| fill(t * heads * d, 2.0));
        let (values, sinks, dout) = (fill(t * kv_heads * d, 1.0), fill(heads, 2.0), fill(t * heads * d, 1.0));
        Case { heads, kv_heads, d, window, documents: documents.to_vec(), q, keys, values, sinks, dout }
    }

    fn params(&self) -> AttentionParams<'_> {
        AttentionParams {
            num_query_heads: self.heads,
            num_kv_heads: self.kv_heads,
            head_dim: self.d,
            window: self.window,
            sinks: &self.sinks,
            scale: (self.d as f32).sqrt().recip(),
        }
    }

    /// Outputs and softmax of the forward, a job a document.
    fn forward(&self, pool: &Pool) -> [Vec<f32>; 2] {
        let (row, kv_row) = (self.heads * self.d, self.kv_heads * self.d);
        let run = |first: usize, len: usize| {
            [KvRun {
                keys: KvSlice::F32(&self.keys[first * kv_row..][..len * kv_row]),
                values: KvSlice::F32(&self.values[first * kv_row..][..len * kv_row]),
                first_position: 0,
                len,
            }]
        };
        let starts = self.documents.iter().scan(0, |start, len| Some(std::mem::replace(start, *start + len)));
        let documents: Vec<(usize, usize)> = starts.zip(self.documents.iter().copied()).collect();
        let runs: Vec<[KvRun<'_>; 1]> = documents.iter().map(|(first, len)| run(*first, *len)).collect();
        let t: usize = self.documents.iter().sum();
        let (mut out, mut plain) = (vec![f32::NAN; t * row], vec![f32::NAN; t * row]);
        let mut softmax = vec![f32::NAN; t * self.heads * 2];
        let jobs = |mut out: &mut [f32], then: &mut dyn FnMut(&mut [AttentionJob<'_>])| {
            let mut jobs = Vec::new();
            for ((first, len), runs) in documents.iter().zip(&runs) {
                let (part, rest) = std::mem::take(&mut out).split_at_mut(len * row);
                out = rest;
                let q = &self.q[first * row..][..len * row];
                jobs.push(AttentionJob { out: part, q, runs, first_position: 0 });
            }
            then(&mut jobs);
        };
        jobs(&mut out, &mut |jobs| attention_saving(pool, jobs, &mut softmax, &self.params()));
        jobs(&mut plain, &mut |jobs| attention(pool, jobs, &self.params()));
        assert_bits(&out, &plain, &"saving changes no bit");
        [out, softmax]
    }

    fn backward(&self, pool: &Pool) -> [Vec<f32>; 4] {
        let [out, softmax] = self.forward(pool);
        let rows = AttentionRows {
            q: &self.q,
            keys: &self.keys,
            values: &self.values,
            out: &out,
            softmax: &softmax,
        };
        let zeros = |like: &[f32]| vec![0.0; like.len()];
        let (mut q, mut keys) = (zeros(&self.q), zeros(&self.keys));
        let (mut values, mut sinks) = (zeros(&self.values), zeros(&self.sinks));
        let gradients =
            AttentionGradients { q: &mut q, keys: &mut keys, values: &mut values, sinks: Some(&mut sinks) };
        attention_backward(pool, gradients, &self.dout, rows, &self.documents, &self.params());
        [q, keys, values, sinks]
    }

    /// First row of a row's document, and first row that it sees.
    fn visible(&self, row: usize) -> std::ops::Range<usize> {
        let mut start = 0;
        for len in &self.documents {
            if row < start + len {
                break;
            }
            start += len;
        }
        let first = self.window.map_or(start, |window| start.max((row + 1).saturating_sub(window)));
        first..row + 1
    }

    /// The sum of outputs times their gradients, in float64.
    fn loss(&self, [q, keys, values, sinks]: [&[f64]; 4]) -> f64 {
        let (d, t) = (self.d, self.documents.iter().sum());
        let mut out = Vec::new();
        for row in 0..t {
            for head in 0..self.heads {
                let q = &q[(row * self.heads + head) * d..][..d];
                let kv = |row: usize| (row * self.kv_heads + head / (self.heads / self.kv_heads)) * d;
                let score = |j: usize| weighted(q, keys[kv(j)..][..d].to_vec()) / (d as f64).sqrt();
                let weights: Vec<f64> = self.visible(row).map(|j| score(j).exp()).collect();
                let sum = weights.iter().sum::<f64>() + sinks[head].exp();
                for i in 0..d {
                    let terms = self.visible(row).zip(&weights).map(|(j, w)| w * values[kv(j) + i]);
                    out.push(terms.sum::<f64>() / sum);
                }
            }
        }
        weighted(&widen(&self.dout), out)
    }

    /// Gradients in float64, each with what rounding can cost.
    fn twin(&self) -> [Vec<(f64, f64)>; 4] {
        let [q, keys, values, sinks, dout] =
            [&self.q, &self.keys, &self.values, &self.sinks, &self.dout].map(|x| widen(x));
        let (d, t, group) = (self.d, self.documents.iter().sum(), self.heads / self.kv_heads);
        let scale = 1.0 / (d as f64).sqrt();
        let mut gradients = [&q, &keys, &values, &sinks].map(|x| vec![(0.0, 0.0); x.len()]);
        let [dq, dk, dv, ds] = &mut gradients;
        for row in 0..t {
            for head in 0..self.heads {
                let at = (row * self.heads + head) * d;
                let (q, dout) = (&q[at..][..d], &dout[at..][..d]);
                let kv = |row: usize| (row * self.kv_heads + head / group) * d;
                let dot = |x: &[f64], y: &[f64]| weighted(x, y.to_vec());
                let size = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x * y).abs()).sum::<f64>();
                let seen: Vec<usize> = self.visible(row).collect();
                let scores: Vec<f64> = seen.iter().map(|j| dot(q, &keys[kv(*j)..][..d]) * scale).collect();
                // Scores are made twice, each a chain of D; their errors are relative errors of weights. The
                // sum of the weights is a few chains.
                let chain = (d as f64 + 4.0) * U;
                let largest = seen.iter().fold(0.0_f64, |s, j| s.max(size(q, &keys[kv(*j)..][..d]) * scale));
                let relative = 4.0 * chain * largest + (seen.len() as f64 / 4.0 + 24.0) * U;
                let sum = scores.iter().map(|s| s.exp()).sum::<f64>() + sinks[head].exp();
                let weight: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
                let dp: Vec<f64> = seen.iter().map(|j| dot(dout, &values[kv(*j)..][..d])).collect();
                let dp_size: Vec<f64> = seen.iter().map(|j| size(dout, &values[kv(*j)..][..d])).collect();
                let delta = weighted(&weight, dp.clone());
                let delta_error = (relative + 2.0 * chain) * weighted(&weight, dp_size.clone());
                let sink = sinks[head].exp() / sum;
                ds[head].0 -= sink * delta;
                ds[head].1 += sink * (delta_error + (relative + (t as f64 + 4.0) * U) * delta.abs());
                let steps = (t * group + 4) as f64 * U;
                for (i, j) in seen.iter().enumerate() {
                    let at_kv = kv(*j);
                    let da = weight[i] * (dp[i] - delta) * scale;
                    let error = weight[i]
                        * scale
                        * (chain * dp_size[i] + delta_error + (relative + 4.0 * U) * (dp[i] - delta).abs());
                    for x in 0..d {
                        let add = |out: &mut (f64, f64), (factor, error): (f64, f64), other: f64| {
                            out.0 += factor * other;
                            out.1 += (error + steps * factor.abs()) * other.abs();
                        };
                        add(&mut dq[at + x], (da, error), keys[at_kv + x]);
                        add(&mut dk[at_kv + x], (da, error), q[x]);
                        add(&mut dv[at_kv + x], (weight[i], weight[i] * relative), dout[x]);
                    }
                }
            }
        }
        gradients
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(1, 1, 2, None, &[1]),
        Case::new(4, 2, 16, None, &[5, 0, 9]),
        Case::new(8, 1, 20, Some(3), &[17, 1, 30]),
        Case::new(2, 2, 8, Some(40), &[150]),
        Case::new(9, 1, 4, None, &[70, 3]),
    ]
}

#[test]
fn near_float64_on_every_tier() {
    for case in cases() {
        let what = (case.heads, case.kv_heads, case.d, case.window, case.documents.clone());
        let expected = case.backward(&scalar());
        for (actual, twin) in expected.iter().zip(case.twin()) {
            assert_close(actual, &twin, &what);
        }
        for pool in &pools() {
            for (actual, expected) in case.backward(pool).iter().zip(&expected) {
                assert_bits(actual, expected, &(&what, pool.tier(), pool.threads()));
            }
        }
    }
}

#[test]
fn slopes() {
    for window in [None, Some(2)] {
        let case = Case::new(4, 2, 3, window, &[3, 2]);
        let inputs = [&case.q, &case.keys, &case.values, &case.sinks].map(|x| widen(x));
        let twins = case.twin();
        for (i, twin) in twins.iter().enumerate() {
            let gradient: Vec<f64> = twin.iter().map(|g| g.0).collect();
            assert_slopes(&gradient, &inputs[i], |x| {
                let mut all: [&[f64]; 4] = std::array::from_fn(|i| &inputs[i][..]);
                all[i] = x;
                case.loss(all)
            });
        }
    }
}

/// A document has the bits that it has alone, whatever is packed beside it.
#[test]
fn packed_is_alone() {
    let packed = Case::new(8, 2, 16, Some(20), &[33, 70, 9]);
    let expected = packed.backward(&scalar());
    let mut first = 0;
    for len in &packed.documents {
        let part = |x: &[f32], heads: usize| x[first * heads * 16..][..len * heads * 16].to_vec();
        let alone = Case {
            documents: vec![*len],
            q: part(&packed.q, 8),
            keys: part(&packed.keys, 2),
            values: part(&packed.values, 2),
            dout: part(&packed.dout, 8),
            ..packed.clone()
        };
        let [q, keys, values, _] = alone.backward(&scalar());
        assert_bits(&q, &part(&expected[0], 8), &len);
        assert_bits(&keys, &part(&expected[1], 2), &len);
        assert_bits(&values, &part(&expected[2], 2), &len);
        first += len;
    }
}
