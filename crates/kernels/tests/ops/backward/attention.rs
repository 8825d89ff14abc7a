//! Attention with sinks, windows and packed documents, of which some go on from others.

use std::ops::Range;

use gptoss_kernels::{
    AttentionGradients, AttentionJob, AttentionParams, AttentionRows, Document, KvRun, KvSlice, Pool,
    attention, attention_backward, attention_saving,
};

use super::differences::{U, assert_slopes, weighted, widen};
use crate::support::{Fill, Rng, assert_bits, assert_close, pools, scalar};

#[derive(Clone, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    d: usize,
    window: Option<usize>,
    documents: Vec<Document>,
    q: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    sinks: Vec<f32>,
    dout: Vec<f32>,
}

impl Case {
    fn new(heads: usize, kv_heads: usize, d: usize, window: Option<usize>, documents: &[usize]) -> Case {
        let documents = documents.iter().map(|rows| Document::alone(*rows)).collect();
        Case::of(heads, kv_heads, d, window, documents)
    }

    fn of(heads: usize, kv_heads: usize, d: usize, window: Option<usize>, documents: Vec<Document>) -> Case {
        let t = num_rows(&documents);
        let mut rng = Rng((t * heads * d) as u64);
        let mut fill = |len, factor: f32| -> Vec<f32> {
            Fill::Random.f32s(&mut rng, len).into_iter().map(|x| x * factor).collect()
        };
        let [q, keys] = [heads, kv_heads].map(|heads| fill(t * heads * d, 2.0));
        let (values, sinks, dout) = (fill(t * kv_heads * d, 1.0), fill(heads, 2.0), fill(t * heads * d, 1.0));
        Case { heads, kv_heads, d, window, documents, q, keys, values, sinks, dout }
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
        let run = |(first_position, rows): (usize, Range<usize>)| KvRun {
            keys: KvSlice::F32(&self.keys[rows.start * kv_row..rows.end * kv_row]),
            values: KvSlice::F32(&self.values[rows.start * kv_row..rows.end * kv_row]),
            first_position,
            len: rows.len(),
        };
        let documents = self.placed();
        let runs: Vec<Vec<KvRun<'_>>> =
            documents.iter().map(|(first, document)| document.runs(*first).map(run).collect()).collect();
        let t = num_rows(&self.documents);
        let (mut out, mut plain) = (vec![f32::NAN; t * row], vec![f32::NAN; t * row]);
        let mut softmax = vec![f32::NAN; t * self.heads * 2];
        let jobs = |mut out: &mut [f32], then: &mut dyn FnMut(&mut [AttentionJob<'_>])| {
            let mut jobs = Vec::new();
            for ((first, document), runs) in documents.iter().zip(&runs) {
                let (part, rest) = std::mem::take(&mut out).split_at_mut(document.rows * row);
                out = rest;
                let q = &self.q[first * row..][..document.rows * row];
                jobs.push(AttentionJob { out: part, q, runs, first_position: document.first_position() });
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

    /// Each document with its first row.
    fn placed(&self) -> Vec<(usize, &Document)> {
        let starts = self.documents.iter().scan(0, |end, document| {
            let start = *end;
            *end += document.rows;
            Some((start, document))
        });
        starts.collect()
    }

    /// The rows that a row sees, by their positions.
    fn visible(&self, row: usize) -> Vec<usize> {
        let placed = self.placed();
        let of = |(first, document): &&(usize, &Document)| (*first..first + document.rows).contains(&row);
        let (first, document) = placed.iter().find(of).expect("a row is of a document");
        let position = document.first_position() + row - first;
        let hidden = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let before = document.after.iter().cloned().flatten().chain(*first..=row);
        before.skip(hidden).collect()
    }

    /// The sum of outputs times their gradients, in float64.
    fn loss(&self, [q, keys, values, sinks]: [&[f64]; 4]) -> f64 {
        let (d, t) = (self.d, num_rows(&self.documents));
        let mut out = Vec::new();
        for row in 0..t {
            for head in 0..self.heads {
                let q = &q[(row * self.heads + head) * d..][..d];
                let kv = |row: usize| (row * self.kv_heads + head / (self.heads / self.kv_heads)) * d;
                let score = |j: usize| weighted(q, keys[kv(j)..][..d].to_vec()) / (d as f64).sqrt();
                let weights: Vec<f64> = self.visible(row).into_iter().map(|j| score(j).exp()).collect();
                let sum = weights.iter().sum::<f64>() + sinks[head].exp();
                for i in 0..d {
                    let terms =
                        self.visible(row).into_iter().zip(&weights).map(|(j, w)| w * values[kv(j) + i]);
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
        let (d, t, group) = (self.d, num_rows(&self.documents), self.heads / self.kv_heads);
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
                let seen = self.visible(row);
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
        Case::of(8, 2, 16, None, tree()),
        Case::of(8, 2, 20, Some(12), tree()),
        Case::of(4, 4, 8, Some(90), tree()),
    ]
}

fn num_rows(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.rows).sum()
}

/// Two families, of which the first has branches of branches: more and fewer rows than a block before them.
#[expect(clippy::single_range_in_vec_init, reason = "a document goes on from a list of runs")]
fn tree() -> Vec<Document> {
    let document = |after: &[Range<usize>], rows: usize| Document { after: after.to_vec(), rows };
    vec![
        document(&[], 80),
        document(&[0..70], 20),
        document(&[0..70, 80..97], 17),
        document(&[0..70, 80..97, 100..101], 3),
        document(&[0..5], 90),
        document(&[], 18),
        document(&[210..228], 16),
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
    for document in &packed.documents {
        let len = document.rows;
        let part = |x: &[f32], heads: usize| x[first * heads * 16..][..len * heads * 16].to_vec();
        let alone = Case {
            documents: vec![document.clone()],
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

/// A branch sees what it would see behind a copy of the rows that it goes on from, to the bit; its own rows
/// have the same gradients, and those of the shared ones add up.
#[test]
fn a_branch_is_a_copy_of_its_rows() {
    for window in [None, Some(12)] {
        let tree = Case::of(8, 2, 16, window, tree());
        let pool = scalar();
        let [out, _] = tree.forward(&pool);
        let gradients = tree.backward(&pool);
        let mut sums = [8, 2, 2].map(|heads| vec![0.0; num_rows(&tree.documents) * heads * 16]);
        for (first, document) in tree.placed() {
            let rows: Vec<usize> = document.runs(first).flat_map(|(_, rows)| rows).collect();
            let taken = |x: &[f32], heads: usize| -> Vec<f32> {
                rows.iter().flat_map(|row| &x[row * heads * 16..][..heads * 16]).copied().collect()
            };
            let mut copy = Case {
                documents: vec![Document::alone(rows.len())],
                q: taken(&tree.q, 8),
                keys: taken(&tree.keys, 2),
                values: taken(&tree.values, 2),
                dout: taken(&tree.dout, 8),
                ..tree.clone()
            };
            let own = document.first_position() * 8 * 16;
            // Nothing is asked of the rows that others have.
            copy.dout[..own].fill(0.0);
            let own_rows = first * 8 * 16..(first + document.rows) * 8 * 16;
            assert_bits(&copy.forward(&pool)[0][own..], &out[own_rows.clone()], &document);
            let alone = copy.backward(&pool);
            assert_bits(&alone[0][own..], &gradients[0][own_rows], &document);
            for (sum, (part, heads)) in sums.iter_mut().zip(alone.iter().zip([8, 2, 2])) {
                for (row, part) in rows.iter().zip(part.chunks(heads * 16)) {
                    sum[row * heads * 16..][..heads * 16].iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
                }
            }
        }
        for (sum, gradient) in sums.iter().zip(&gradients) {
            let largest = gradient.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let error = sum.iter().zip(gradient).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
            assert!(error <= 1e-5 * largest, "off by {error}, the largest is {largest}");
        }
    }
}

#[test]
#[should_panic(expected = "goes on from rows of its family")]
fn a_branch_of_another_family_is_refused() {
    let after = std::iter::once(0..2).collect();
    let documents = [Document::alone(4), Document::alone(3), Document { after, rows: 2 }];
    let case = Case::of(2, 1, 4, None, documents.to_vec());
    case.backward(&scalar());
}
