//! The forward pass against a second one, written here in plain loops and f64 from the architecture's
//! description.
//!
//! It shares nothing with the program but the checkpoint's tensors: no kernel, no cache, no chunk. The shapes
//! are odd on purpose (width 96, heads of 10, a window of 5, one or three experts, dense layers, rounded YaRN
//! ramps), to catch what the published shape hides.

use gptoss_checkpoint::{Adapter, AdapterSite, Checkpoint, Config, LayerKind, LayerPart, Part};
use gptoss_kernels::Pool;
use gptoss_model::{Batch, LogitRows, Model, Precision};

use crate::written::{Layout, SMALL, Shape, e2m1, write};

/// f32 arithmetic over at most some hundred additions, logits of some units.
const TOLERANCE: f64 = 1e-4;

/// A checkpoint, with an adapter merged into it.
struct Source<'a> {
    checkpoint: &'a Checkpoint,
    adapter: &'a Adapter,
}

impl Source<'_> {
    /// A part in f64. Rows that are replaced come first, then what is added.
    fn numbers(&self, part: Part) -> Vec<f64> {
        if let Some((_, numbers)) = self.adapter.replaced.iter().find(|(replaced, _)| *replaced == part) {
            return numbers.iter().copied().map(f64::from).collect();
        }
        let tensor = self.checkpoint.tensor(part).expect("a tensor");
        let mut numbers: Vec<f64> = tensor.to_f32().expect("numbers").into_iter().map(f64::from).collect();
        let rows = &self.adapter.rows;
        let (site, replaced) = match part {
            Part::Embedding => (AdapterSite::Embedding, &rows.embedding),
            Part::Unembedding => (AdapterSite::Unembedding, &rows.unembedding),
            Part::Layer(layer, LayerPart::QWeight) => (AdapterSite::Query(layer), &Vec::new()),
            Part::Layer(layer, LayerPart::KWeight) => (AdapterSite::Key(layer), &Vec::new()),
            Part::Layer(layer, LayerPart::VWeight) => (AdapterSite::Value(layer), &Vec::new()),
            Part::Layer(layer, LayerPart::OutWeight) => (AdapterSite::Out(layer), &Vec::new()),
            _ => return numbers,
        };
        let width = replaced.len() / rows.tokens.len().max(1);
        for (&token, row) in rows.tokens.iter().zip(replaced.chunks_exact(width.max(1))) {
            let numbers = &mut numbers[token as usize * width..][..width];
            numbers.iter_mut().zip(row).for_each(|(number, row)| *number = f64::from(*row));
        }
        self.merge(site, &mut numbers);
        numbers
    }

    /// Rows of an unpacked MXFP4 matrix, all experts one after the other.
    fn unpacked(&self, layer: usize, [blocks, scales]: [LayerPart; 2]) -> Vec<f64> {
        let bytes = |part| self.checkpoint.tensor(Part::Layer(layer, part)).expect("bytes").bytes;
        let (packed, scales) = (bytes(blocks), bytes(scales));
        let unpack = |(index, &byte): (usize, &u8)| {
            let scale = (f64::from(scales[index / 16]) - 127.0).exp2();
            [e2m1(byte & 15) * scale, e2m1(byte >> 4) * scale]
        };
        let mut numbers: Vec<f64> = packed.iter().enumerate().flat_map(unpack).collect();
        let num_experts = self.checkpoint.config().num_local_experts.max(1);
        let width = numbers.len() / num_experts;
        for (expert, numbers) in numbers.chunks_exact_mut(width).enumerate() {
            let site = match blocks {
                LayerPart::GateUpBlocks => AdapterSite::GateUp { layer, expert },
                _ => AdapterSite::Down { layer, expert },
            };
            self.merge(site, numbers);
        }
        numbers
    }

    /// `W += s B A`
    fn merge(&self, site: AdapterSite, numbers: &mut [f64]) {
        let Some(pair) = self.adapter.pairs.get(&site) else { return };
        let k = pair.a.len() / pair.rank;
        for (row, numbers) in numbers.chunks_exact_mut(k).enumerate() {
            for j in 0..pair.rank {
                let b = f64::from(pair.scale) * f64::from(pair.b[row * pair.rank + j]);
                let a = &pair.a[j * k..][..k];
                numbers.iter_mut().zip(a).for_each(|(number, a)| *number += b * f64::from(*a));
            }
        }
    }
}

/// `W x + b`, with W by rows.
fn linear(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>()).collect()
}

fn norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, weight)| x / (mean + eps).sqrt() * weight).collect()
}

fn rotate(heads: &mut [f64], config: &Config, position: usize) {
    let half = config.head_dim / 2;
    let rope = &config.rope;
    let ln_theta = config.rope_theta.ln();
    let bound = |rotations: f64| {
        let original = rope.original_max_position_embeddings as f64;
        half as f64 * (original / (rotations * 2.0 * std::f64::consts::PI)).ln() / ln_theta
    };
    let (mut low, mut high) = (bound(rope.beta_fast), bound(rope.beta_slow));
    if rope.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    // transformers keeps the ends inside the head; the published shape never gets there.
    (low, high) = (low.max(0.0), high.min(config.head_dim as f64 - 1.0));
    let attention_factor = 0.1 * rope.factor.ln() + 1.0;
    for head in heads.chunks_exact_mut(config.head_dim) {
        for i in 0..half {
            let frequency = config.rope_theta.powf(-(i as f64) / half as f64);
            let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let angle = position as f64 * (frequency * (1.0 - ramp) + frequency / rope.factor * ramp);
            let (sin, cos) = (angle.sin() * attention_factor, angle.cos() * attention_factor);
            let (a, b) = (head[i], head[i + half]);
            head[i] = a * cos - b * sin;
            head[i + half] = b * cos + a * sin;
        }
    }
}

fn attention(source: &Source<'_>, layer: usize, residual: &mut [Vec<f64>]) {
    let config = source.checkpoint.config();
    let part = |part| source.numbers(Part::Layer(layer, part));
    let weight = part(LayerPart::AttentionNorm);
    let normed: Vec<Vec<f64>> =
        residual.iter().map(|x| norm(x, &weight, f64::from(config.rms_norm_eps))).collect();
    let project = |weight, bias| {
        let (weight, bias) = (part(weight), part(bias));
        normed.iter().map(|x| linear(x, &weight, &bias)).collect::<Vec<_>>()
    };
    let mut queries = project(LayerPart::QWeight, LayerPart::QBias);
    let mut keys = project(LayerPart::KWeight, LayerPart::KBias);
    let values = project(LayerPart::VWeight, LayerPart::VBias);
    for (position, (query, key)) in queries.iter_mut().zip(&mut keys).enumerate() {
        rotate(query, config, position);
        rotate(key, config, position);
    }
    let sinks = part(LayerPart::Sinks);
    let (out_weight, out_bias) = (part(LayerPart::OutWeight), part(LayerPart::OutBias));
    let d = config.head_dim;
    for (i, query) in queries.iter().enumerate() {
        let mut out = vec![0.0; query.len()];
        for head in 0..config.num_attention_heads {
            let kv = head / (config.num_attention_heads / config.num_key_value_heads) * d;
            let score = |j: usize| -> f64 {
                let pairs = query[head * d..][..d].iter().zip(&keys[j][kv..][..d]);
                pairs.map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt()
            };
            let is_seen =
                |j: &usize| config.layer_types[layer] == LayerKind::Full || j + config.sliding_window > i;
            let seen: Vec<usize> = (0..=i).filter(is_seen).collect();
            let total = sinks[head].exp() + seen.iter().map(|&j| score(j).exp()).sum::<f64>();
            for &j in &seen {
                for k in 0..d {
                    out[head * d + k] += score(j).exp() / total * values[j][kv + k];
                }
            }
        }
        for (x, update) in residual[i].iter_mut().zip(linear(&out, &out_weight, &out_bias)) {
            *x += update;
        }
    }
}

fn mlp(source: &Source<'_>, layer: usize, residual: &mut [Vec<f64>]) {
    let config = source.checkpoint.config();
    let part = |part| source.numbers(Part::Layer(layer, part));
    let up = source.unpacked(layer, [LayerPart::GateUpBlocks, LayerPart::GateUpScales]);
    let down = source.unpacked(layer, [LayerPart::DownBlocks, LayerPart::DownScales]);
    let (up_bias, down_bias) = (part(LayerPart::GateUpBias), part(LayerPart::DownBias));
    let weight = part(LayerPart::MlpNorm);
    let [c, f] = [config.hidden_size, config.intermediate_size];
    let (limit, alpha) = (f64::from(config.swiglu_limit), f64::from(config.swiglu_alpha));
    for x in residual {
        let normed = norm(x, &weight, f64::from(config.rms_norm_eps));
        let chosen: Vec<(usize, f64)> = if config.num_local_experts == 0 {
            vec![(0, 1.0)]
        } else {
            let scores = linear(&normed, &part(LayerPart::RouterWeight), &part(LayerPart::RouterBias));
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            order.truncate(config.experts_per_token);
            let total: f64 = order.iter().map(|&expert| scores[expert].exp()).sum();
            order.into_iter().map(|expert| (expert, scores[expert].exp() / total)).collect()
        };
        for (expert, gate) in chosen {
            let hidden = linear(&normed, &up[expert * 2 * f * c..][..2 * f * c], &up_bias[expert * 2 * f..]);
            let swiglu = |pair: &[f64]| {
                let (g, u) = (pair[0].min(limit), pair[1].clamp(-limit, limit));
                g / (1.0 + (-alpha * g).exp()) * (u + 1.0)
            };
            let activated: Vec<f64> = hidden[..2 * f].chunks_exact(2).map(swiglu).collect();
            let out = linear(&activated, &down[expert * c * f..][..c * f], &down_bias[expert * c..]);
            for (x, out) in x.iter_mut().zip(out) {
                *x += gate * out;
            }
        }
    }
}

fn reference(source: &Source<'_>, tokens: &[u32]) -> Vec<f64> {
    let config = source.checkpoint.config();
    let embedding = source.numbers(Part::Embedding);
    let row = |token: u32| embedding[token as usize * config.hidden_size..][..config.hidden_size].to_vec();
    let mut residual: Vec<Vec<f64>> = tokens.iter().map(|&token| row(token)).collect();
    for layer in 0..config.num_hidden_layers {
        attention(source, layer, &mut residual);
        mlp(source, layer, &mut residual);
    }
    let weight = source.numbers(Part::FinalNorm);
    let unembedding = source.numbers(Part::Unembedding);
    let no_bias = vec![0.0; config.vocab_size];
    let logits =
        |x: &Vec<f64>| linear(&norm(x, &weight, f64::from(config.rms_norm_eps)), &unembedding, &no_bias);
    residual.iter().flat_map(logits).collect()
}

fn check(shape: Shape) {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &shape, Layout::HuggingFace);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let tokens: Vec<u32> = (0..40).map(|i| (i * i * 7 + i + 3) % shape.vocab as u32).collect();
    compare(&checkpoint, &tokens, TOLERANCE);
}

/// Runs the model and this file's forward pass on the same checkpoint.
pub fn compare(checkpoint: &Checkpoint, tokens: &[u32], tolerance: f64) {
    compare_adapted(checkpoint, &Adapter::default(), tokens, tolerance);
}

/// Runs the model with an adapter beside its weights, and this file's forward pass with one merged into them.
pub fn compare_adapted(checkpoint: &Checkpoint, adapter: &Adapter, tokens: &[u32], tolerance: f64) {
    let model = Model::load(checkpoint, Precision::Exact, Pool::new(1), &mut |_, _| {}).expect("loads");
    let has_any = *adapter != Adapter::default();
    let id = has_any.then(|| model.load_adapter(adapter.clone()).expect("fits"));
    let batch = Batch { tokens, logits: LogitRows::All };
    let mut cache = model.new_cache(tokens.len()).with_adapter(id);
    let logits = model.forward(&batch, &mut cache).expect("runs");
    let expected = reference(&Source { checkpoint, adapter }, tokens);
    assert_eq!(logits.rows.len(), expected.len());
    let scale = expected.iter().fold(0.0, |most: f64, logit| most.max(logit.abs()));
    let pairs = logits.rows.iter().zip(&expected);
    let largest = pairs.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    println!("largest difference {largest:e}, largest logit {scale}");
    assert!(scale > 1.0, "logits that say something");
    assert!(largest < tolerance, "largest difference {largest}");
}

#[test]
fn odd_sizes() {
    check(SMALL);
}

#[test]
fn dense_layers() {
    check(Shape { experts: 0, active: 0, seed: 2, ..SMALL });
}

#[test]
fn one_expert_and_no_grouping() {
    check(Shape { experts: 4, active: 1, heads: [3, 3], head_dim: 32, hidden: 64, seed: 3, ..SMALL });
}

#[test]
fn all_experts_and_one_kv_head() {
    check(Shape { experts: 5, active: 5, heads: [8, 1], head_dim: 16, inner: 96, seed: 4, ..SMALL });
}

#[test]
fn a_rounded_ramp_and_a_window_of_one() {
    check(Shape { truncate: true, window: 1, layers: "fww", seed: 5, original_context: 256, ..SMALL });
}
