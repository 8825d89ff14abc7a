//! Ten steps of full training and of LoRA, beside those of transformers and PEFT (`testdata/README.md`).
//!
//! Tolerances are those that f32 itself leaves between two such programs, measured against the same script in
//! float64: 2e-6 on the first loss, a hundred thousandth of each tensor's largest gradient, 5e-5 on later
//! losses, 1e-4 of the norms.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gptoss_checkpoint::{
    Checkpoint, Config, ConfigForm, Dtype, ExpertFormat, LayerKind, Outline, Preset, Yarn, write_safetensors,
};
use gptoss_kernels::{Document, Matrix, Pool, Rope, YarnParams};
use gptoss_train::{
    Attention, Batch, Expert, Gradients, Layer, Linear, LowRankPair, Network, Optimizer, OptimizerSettings,
    Shape, Span, Trained, Tuning, Vector, Weight, Weights, add_gradients,
};
use half::bf16;
use safetensors::SafeTensors;

const LAYERS: usize = 2;
const C: usize = 64;
const F: usize = 96;
const E: usize = 4;
const V: usize = 128;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const D: usize = 16;
const RANK: usize = 4;
const SCALE: f32 = 2.0;
const TOKENS: usize = 48;

/// Tensors by name, in f32.
type Tensors = BTreeMap<String, Vec<f32>>;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/train")
}

fn read(file: &str) -> Tensors {
    let bytes = std::fs::read(folder().join(file)).expect(file);
    let tensors = SafeTensors::deserialize(&bytes).expect(file);
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let values = |data: &[u8]| data.chunks_exact(4).map(number).collect();
    tensors.iter().map(|(name, view)| (name.to_string(), values(view.data()))).collect()
}

/// The rows of `x [n, k]` as columns.
fn turn(x: &[f32], k: usize) -> Vec<f32> {
    let n = x.len() / k;
    (0..x.len()).map(|i| x[i % n * k + i / n]).collect()
}

/// The weights of the published model in our layout: experts apart, `[out, in]`.
fn ours(tensors: &Tensors) -> Tensors {
    let mut all = Tensors::new();
    for (name, values) in tensors {
        let experts = |width: usize| values.chunks(values.len() / E).map(move |part| turn(part, width));
        let rows = || values.chunks(values.len() / E).map(<[f32]>::to_vec);
        let parts: Vec<Vec<f32>> = match name.rsplit('.').next() {
            Some("gate_up_proj") => experts(2 * F).collect(),
            Some("down_proj") => experts(C).collect(),
            Some("gate_up_proj_bias" | "down_proj_bias") => rows().collect(),
            _ => {
                all.insert(name.clone(), values.clone());
                continue;
            }
        };
        all.extend(parts.into_iter().enumerate().map(|(e, part)| (format!("{name}.{e}"), part)));
    }
    all
}

/// PEFT's factors in ours: A has experts one after the other, B has them in turn.
fn our_factors(tensors: &Tensors) -> Tensors {
    let mut all = Tensors::new();
    for (name, values) in tensors {
        let name = name.replace("base_model.model.", "").replace(".default.weight", "");
        if !name.contains("experts") {
            all.insert(name, values.clone());
            continue;
        }
        let site = if name.contains("base_layer") { "gate_up_proj" } else { "down_proj" };
        let layer = name.split(".experts").next().unwrap_or_default();
        for e in 0..E {
            let (factor, part) = match name.ends_with("lora_A") {
                true => ("lora_A", values.chunks(values.len() / E).nth(e).unwrap_or_default().to_vec()),
                false => ("lora_B", values.iter().skip(e).step_by(E).copied().collect()),
            };
            all.insert(format!("{layer}.experts.{site}.{e}.{factor}"), part);
        }
    }
    all
}

/// Builds networks out of tensors.
struct Builder<'a> {
    base: &'a Tensors,
    /// Factors of every linear layer, where those are what is trained.
    factors: Option<&'a Tensors>,
    trained: Trained,
    spans: BTreeMap<String, Span>,
}

impl<'a> Builder<'a> {
    fn train(&mut self, name: &str, values: &[f32]) -> Span {
        let is_flat = ["bias", "norm", "sinks"].iter().any(|part| name.contains(part));
        let span = self.trained.add(name, values, !is_flat);
        self.spans.insert(name.to_string(), span);
        span
    }

    fn vector(&mut self, name: &str) -> Vector<'a> {
        let base = self.base;
        match self.factors {
            Some(_) => Vector::Frozen(&base[name]),
            None => Vector::Trained(self.train(name, &base[name])),
        }
    }

    fn weight(&mut self, name: &str) -> Weight<'a> {
        let base = self.base;
        match self.factors {
            Some(_) => Weight::Frozen(Matrix::F32(&base[name])),
            None => Weight::Trained(self.train(name, &base[name])),
        }
    }

    fn linear(&mut self, [weight, bias, factors]: [&str; 3], [n, k]: [usize; 2]) -> Linear<'a> {
        let low_rank = self.factors.filter(|all| all.contains_key(&format!("{factors}.lora_A"))).map(|all| {
            let mut span = |factor: &str| {
                let name = format!("{factors}.{factor}");
                self.train(&name, &all[&name])
            };
            LowRankPair { a: span("lora_A"), b: span("lora_B"), rank: RANK, scale: SCALE }
        });
        let (weight, bias) = (self.weight(weight), Some(self.vector(bias)));
        Linear { weight, bias, low_rank, num_outputs: n, num_inputs: k }
    }

    fn dense(&mut self, name: &str, sizes: [usize; 2]) -> Linear<'a> {
        self.linear([&format!("{name}.weight"), &format!("{name}.bias"), name], sizes)
    }

    fn expert(&mut self, layer: &str, site: &str, e: usize, sizes: [usize; 2]) -> Linear<'a> {
        let name = format!("{layer}.mlp.experts.{site}");
        let names = [format!("{name}.{e}"), format!("{name}_bias.{e}"), format!("{name}.{e}")];
        self.linear([&names[0], &names[1], &names[2]], sizes)
    }

    fn layer(&mut self, index: usize) -> Layer<'a> {
        let layer = format!("model.layers.{index}");
        let attention = format!("{layer}.self_attn");
        Layer {
            attention: Attention {
                norm: self.vector(&format!("{layer}.input_layernorm.weight")),
                query: self.dense(&format!("{attention}.q_proj"), [HEADS * D, C]),
                key: self.dense(&format!("{attention}.k_proj"), [KV_HEADS * D, C]),
                value: self.dense(&format!("{attention}.v_proj"), [KV_HEADS * D, C]),
                out: self.dense(&format!("{attention}.o_proj"), [C, HEADS * D]),
                sinks: self.vector(&format!("{attention}.sinks")),
                window: (index == 0).then_some(8),
            },
            norm: self.vector(&format!("{layer}.post_attention_layernorm.weight")),
            router: self.dense(&format!("{layer}.mlp.router"), [E, C]),
            experts: (0..E)
                .map(|e| Expert {
                    gate_up: self.expert(&layer, "gate_up_proj", e, [2 * F, C]),
                    down: self.expert(&layer, "down_proj", e, [C, F]),
                })
                .collect(),
        }
    }

    fn network(&mut self) -> Network<'a> {
        let yarn = YarnParams {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 32,
            truncate: false,
        };
        Network {
            shape: Shape {
                hidden_size: C,
                intermediate_size: F,
                num_query_heads: HEADS,
                num_kv_heads: KV_HEADS,
                head_dim: D,
                active_experts: 2,
                vocabulary: V,
                rms_norm_eps: 1e-5,
                swiglu_limit: 7.0,
                swiglu_alpha: 1.702,
                rope: Rope::yarn(D, 150_000.0, &yarn),
            },
            embedding: self.weight("model.embed_tokens.weight"),
            layers: (0..LAYERS).map(|index| self.layer(index)).collect(),
            norm: self.vector("model.norm.weight"),
            head: self.weight("lm_head.weight"),
            rows: None,
            stored: None,
        }
    }
}

/// What a step trains on: two documents.
struct Data {
    tokens: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

fn data() -> Vec<Data> {
    let bytes = std::fs::read(folder().join("data.safetensors")).expect("data");
    let tensors = SafeTensors::deserialize(&bytes).expect("data");
    let ids = tensors.tensor("ids").expect("ids").data().to_vec();
    let ids: Vec<u32> = ids.chunks_exact(8).map(|id| u32::from(id[0])).collect();
    let weights = &read("data.safetensors")["weight"];
    let step = |(ids, all): (&[u32], &[f32])| {
        // A row says the token after it; the last of a document says nothing.
        let after = |row: usize| (row % TOKENS + 1 < TOKENS).then_some(row + 1);
        let weights: Vec<f32> = (0..ids.len()).map(|row| after(row).map_or(0.0, |next| all[next])).collect();
        let sum: f32 = weights.iter().sum();
        Data {
            tokens: ids.to_vec(),
            targets: (0..ids.len()).map(|row| after(row).map_or(0, |next| ids[next])).collect(),
            weights: weights.iter().map(|weight| weight / sum).collect(),
        }
    };
    ids.chunks(2 * TOKENS).zip(weights.chunks(2 * TOKENS)).map(step).collect()
}

/// Adds a step's gradients, `documents` at a time.
fn gradients(
    pool: &Pool,
    network: &Network<'_>,
    trained: &Trained,
    data: &Data,
    documents: usize,
) -> (f64, Gradients) {
    let mut gradients = Gradients::zeros(trained);
    let rows = documents * TOKENS;
    let parts = data.tokens.chunks(rows).zip(data.targets.chunks(rows)).zip(data.weights.chunks(rows));
    let loss = parts
        .map(|((tokens, targets), weights)| {
            let documents = &[const { Document { after: Vec::new(), rows: TOKENS } }; 2][..documents];
            let batch = Batch { tokens, documents, targets, weights, balance_weight: 0.0 };
            add_gradients(pool, network, trained, &mut gradients, batch).sum
        })
        .sum();
    (loss, gradients)
}

fn check(kind: &str, base: &Tensors, factors: Option<&Tensors>, expected: &Tensors) {
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder().join(format!("{kind}.json"))).expect(kind))
            .expect(kind);
    let field = |name: &str| record[name].as_f64().expect("a number");
    let steps = record["steps"].as_array().expect("steps");
    let mut builder = Builder { base, factors, trained: Trained::default(), spans: BTreeMap::new() };
    let network = builder.network();
    let Builder { mut trained, spans, .. } = builder;
    let settings = OptimizerSettings {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: field("wd"),
        norm_max: field("clip"),
    };
    let (pool, other) = (Pool::new(2), Pool::with_tier(1, gptoss_kernels::Tier::Scalar));
    let mut optimizer = Optimizer::new(settings, &trained);
    for (i, (data, step)) in data().iter().zip(steps).enumerate() {
        let (loss, slopes) = gradients(&pool, &network, &trained, data, 2);
        if i == 0 {
            assert_eq!(spans.len(), expected.len(), "{kind}: as many tensors are trained");
            for (name, span) in &spans {
                let (actual, expected) = (slopes.of(*span), &expected[name]);
                let largest = expected.iter().fold(0.0_f32, |largest, g| largest.max(g.abs()));
                let error = actual.iter().zip(expected).fold(0.0_f32, |e, (a, b)| e.max((a - b).abs()));
                assert!(
                    error <= 1e-5 * largest,
                    "{kind}: {name} is off by {error}, its largest is {largest}"
                );
            }
            // Micro-batches, tier and threads change no bit.
            let (_, parts) = gradients(&other, &network, &trained, data, 1);
            for (name, span) in &spans {
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(slopes.of(*span)), bits(parts.of(*span)), "{kind}: {name}");
            }
        }
        let norm = optimizer.step(&pool, &mut trained, &slopes, field("lr")).expect("finite");
        let [golden_loss, golden_norm] = [0, 1].map(|field| step[field].as_f64().expect("a number"));
        let tolerance = if i == 0 { 2e-6 } else { 5e-5 };
        assert!((loss - golden_loss).abs() <= tolerance, "{kind}, step {i}: loss {loss}, not {golden_loss}");
        assert!((norm / golden_norm - 1.0).abs() <= 1e-4, "{kind}, step {i}: norm {norm}, not {golden_norm}");
    }
}

#[test]
fn full_training_is_that_of_transformers() {
    check("full", &ours(&read("weights.safetensors")), None, &ours(&read("full-grad0.safetensors")));
}

#[test]
fn lora_is_that_of_peft() {
    let factors = our_factors(&read("lora-before.safetensors"));
    let expected = our_factors(&read("lora-grad0.safetensors"));
    check("lora", &ours(&read("weights.safetensors")), Some(&factors), &expected);
}

/// The base as a folder: what is not exact in bf16 is rounded, in the folder and here.
#[test]
fn a_checkpoint_of_the_base_is_the_same_network() {
    let bytes = std::fs::read(folder().join("weights.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("weights");
    let mut rounded = read("weights.safetensors");
    rounded.values_mut().flatten().for_each(|x| *x = bf16::from_f32(*x).to_f32());
    let tensors: Vec<(Outline, Vec<u8>)> = rounded
        .iter()
        .map(|(name, values)| {
            let shape = file.tensor(name).expect("a tensor").shape().to_vec();
            let bytes = values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect();
            (Outline { name: name.clone(), dtype: Dtype::Bf16, shape }, bytes)
        })
        .collect();
    let borrowed: Vec<(Outline, &[u8])> =
        tensors.iter().map(|(name, bytes)| (name.clone(), &bytes[..])).collect();
    let config = Config {
        num_hidden_layers: LAYERS,
        hidden_size: C,
        intermediate_size: F,
        head_dim: D,
        num_attention_heads: HEADS,
        num_key_value_heads: KV_HEADS,
        num_local_experts: E,
        experts_per_token: 2,
        vocab_size: V,
        sliding_window: 8,
        layer_types: vec![LayerKind::Sliding, LayerKind::Full],
        rope: Yarn {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 32,
            truncate: false,
        },
        max_position_embeddings: 128,
        eos_token_ids: vec![1],
        bos_token_id: None,
        pad_token_id: None,
        ..Preset::Tiny.config()
    };
    let place = tempfile::tempdir().expect("a folder");
    write_safetensors(&place.path().join("model.safetensors"), &borrowed, &mut |_, _| {}).expect("writes");
    let json = config.to_json(ConfigForm::HuggingFace(ExpertFormat::Bf16));
    std::fs::write(place.path().join("config.json"), json).expect("writes");
    let checkpoint = Checkpoint::open(place.path()).expect("opens");
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, trained) = weights.network(&Tuning::Full, 0);
    let base = ours(&rounded);
    let mut builder =
        Builder { base: &base, factors: None, trained: Trained::default(), spans: BTreeMap::new() };
    let by_hand = builder.network();
    let (pool, data) = (Pool::new(1), data().remove(0));
    let (loss, slopes) = gradients(&pool, &network, &trained, &data, 2);
    let (expected, expected_slopes) = gradients(&pool, &by_hand, &builder.trained, &data, 2);
    assert_eq!(loss, expected);
    assert!((loss - 5.246_375).abs() < 0.02, "the golden's first loss but for rounding: {loss}");
    assert_eq!(trained.tensors().len(), builder.spans.len());
    for tensor in trained.tensors() {
        let by_hand = builder.spans.iter().find(|(name, _)| **name == our_name(&tensor.name));
        let (_, span) = by_hand.unwrap_or_else(|| panic!("{} is trained by hand too", tensor.name));
        assert_eq!(slopes.of(tensor.span), expected_slopes.of(*span), "{}", tensor.name);
    }
}

/// The name that this file has for a tensor of a network over a checkpoint.
fn our_name(name: &str) -> String {
    match name.strip_suffix(".bias").and_then(|rest| rest.rsplit_once('.')) {
        Some((site, expert)) if site.contains(".experts.") => format!("{site}_bias.{expert}"),
        _ => name.to_string(),
    }
}

#[test]
fn a_gradient_that_is_not_finite_moves_nothing() {
    let base = ours(&read("weights.safetensors"));
    let mut builder =
        Builder { base: &base, factors: None, trained: Trained::default(), spans: BTreeMap::new() };
    let network = builder.network();
    let (mut trained, spans) = (builder.trained, builder.spans);
    let mut data = data().remove(0);
    data.weights[3] = f32::NAN;
    let pool = Pool::new(1);
    let (loss, slopes) = gradients(&pool, &network, &trained, &data, 2);
    assert!(loss.is_nan());
    let settings =
        OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, norm_max: 1.0 };
    let mut optimizer = Optimizer::new(settings, &trained);
    let error = optimizer.step(&pool, &mut trained, &slopes, 1e-3).expect_err("not finite");
    assert!(error.to_string().contains("step 1"), "{error}");
    assert!(spans.iter().all(|(name, span)| trained.of(*span) == &base[name][..]));
}
