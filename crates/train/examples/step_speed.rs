//! How fast a training step is on this machine.
//!
//! Usage: `cargo run --release -p gptoss-train --example step_speed -- [CASE [TOKENS [THREADS [SECONDS]]]]`,
//! where a case is `demo-full`, `demo-lora` or `layer-lora`: the embedded demo's shape, all of it or pairs of
//! rank 8 at every linear layer trained, or such pairs in one layer of gpt-oss-20b's shape. A step is the
//! loss, all gradients and AdamW, over documents of 640 tokens (512 in the layer), every token a target.
//! Weights are synthetic, frozen experts MXFP4 and other frozen matrices bf16. Multiply-adds are counted over
//! all products of the step, those that are made again among them, but for the pairs'.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::time::Instant;

use gptoss_kernels::{Document, Matrix, Mxfp4, Pool, Rope, YarnParams};
use gptoss_train::{
    Attention, Batch, Expert, Gradients, Layer, Linear, LowRankPair, Network, Optimizer, OptimizerSettings,
    Shape, Trained, Vector, Weight, add_gradients,
};
use half::bf16;

const RANK: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, or: usize| args.get(index).and_then(|arg| arg.parse().ok()).unwrap_or(or);
    let case = args.first().map_or("demo-full", String::as_str);
    let sizes = if case == "layer-lora" { Sizes::LAYER } else { Sizes::DEMO };
    let (tokens, threads, seconds) = (number(1, 2560), number(2, 2), number(3, 5));
    let pool = Pool::new(threads);
    let numbers = Numbers::new(&sizes);
    let mut builder =
        Builder { rest: numbers.parts(), is_full: case == "demo-full", trained: Trained::default() };
    let network = builder.network(&sizes);
    let mut trained = builder.trained;
    let ids: Vec<u32> = (0..tokens).map(|t| (t * 7919 % sizes.vocabulary) as u32).collect();
    let mut targets = ids.clone();
    targets.rotate_left(1);
    let weights = vec![1.0 / tokens as f32; tokens];
    let lens = (0..tokens).step_by(sizes.document).map(|first| sizes.document.min(tokens - first));
    let documents: Vec<Document> = lens.map(Document::alone).collect();
    let (documents, targets, weights) = (&documents[..], &targets[..], &weights[..]);
    let batch = Batch { tokens: &ids, documents, targets, weights, balance_weight: 0.0 };
    let settings =
        OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
    let mut optimizer = Optimizer::new(settings, &trained);
    let mut gradients = Gradients::zeros(&trained);
    let mut times = Vec::new();
    let start = Instant::now();
    let mut loss = 0.0;
    while times.len() < 4 || start.elapsed().as_secs() < seconds as u64 {
        let start = Instant::now();
        gradients.clear();
        loss = add_gradients(&pool, &network, &trained, &mut gradients, batch).sum;
        optimizer.step(&pool, &mut trained, &gradients, 1e-4).expect("finite");
        times.push(start.elapsed().as_secs_f64());
    }
    let macs = sizes.step_macs(documents, case == "demo-full");
    times.remove(0);
    times.sort_by(f64::total_cmp);
    for (name, seconds) in [("best", times[0]), ("median", times[times.len() / 2])] {
        let rate = macs / seconds / 1e9;
        let speed = tokens as f64 / seconds;
        println!("{case}, {tokens} tokens, {threads} threads, {name}: {speed:.0} tokens/s, {rate:.1} GMAC/s");
    }
    println!("loss {loss:.4} after {} steps, {} trained", times.len() + 1, trained.len());
}

/// The sizes of a model.
struct Sizes {
    layers: usize,
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    experts: usize,
    active: usize,
    vocabulary: usize,
    /// Tokens of a document.
    document: usize,
}

impl Sizes {
    const DEMO: Sizes = Sizes {
        layers: 4,
        hidden: 128,
        intermediate: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        experts: 8,
        active: 4,
        vocabulary: 2029,
        document: 640,
    };
    const LAYER: Sizes = Sizes {
        layers: 1,
        hidden: 2880,
        intermediate: 2880,
        heads: 64,
        kv_heads: 8,
        head_dim: 64,
        experts: 32,
        active: 4,
        vocabulary: 1024,
        document: 512,
    };
    const WINDOW: usize = 128;

    /// Numbers of the matrices of an expert.
    fn expert(&self) -> usize {
        3 * self.intermediate * self.hidden
    }

    /// Numbers of the other matrices.
    fn dense(&self) -> usize {
        self.layers * (self.attention() + self.experts * self.hidden) + 2 * self.vocabulary * self.hidden
    }

    fn attention(&self) -> usize {
        2 * (self.heads + self.kv_heads) * self.head_dim * self.hidden
    }

    fn window(&self, layer: usize) -> Option<usize> {
        layer.is_multiple_of(2).then_some(Self::WINDOW)
    }

    /// Multiply-adds of a step.
    fn step_macs(&self, documents: &[Document], is_full: bool) -> f64 {
        let tokens: usize = documents.iter().map(|document| document.rows).sum();
        let qkv = (self.heads + 2 * self.kv_heads) * self.head_dim * self.hidden;
        let forward = self.attention() + self.active * self.expert() + self.experts * self.hidden;
        let again = qkv + self.active * 2 * self.intermediate * self.hidden;
        let head = self.vocabulary * self.hidden;
        let passes = if is_full { 3 } else { 2 };
        let linear = self.layers * (passes * forward + again) + passes * head;
        let seen = |window: Option<usize>| -> usize {
            documents
                .iter()
                .flat_map(|document| 1..=document.rows)
                .map(|seen| window.map_or(seen, |most| seen.min(most)))
                .sum()
        };
        let pairs: usize = (0..self.layers).map(|layer| seen(self.window(layer))).sum();
        // Two products forward, made again, and five of the gradient.
        (tokens * linear + 9 * pairs * self.heads * self.head_dim) as f64
    }
}

/// What frozen tensors are cut from.
struct Numbers {
    blocks: Vec<u8>,
    scales: Vec<u8>,
    dense: Vec<bf16>,
    flat: Vec<f32>,
}

impl Numbers {
    fn new(sizes: &Sizes) -> Numbers {
        let quantized = sizes.layers * sizes.experts * sizes.expert();
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let width = (sizes.hidden as f32).sqrt().recip();
        Numbers {
            blocks: (0..quantized / 2).map(|_| next() as u8).collect(),
            scales: (0..quantized / 32).map(|_| (119 + next() % 2) as u8).collect(),
            dense: (0..sizes.dense())
                .map(|_| bf16::from_f32((next() as f32 / (1_u64 << 30) as f32 - 1.0) * width))
                .collect(),
            flat: vec![1.0; 2 * sizes.hidden.max(2 * sizes.intermediate)],
        }
    }

    fn parts(&self) -> Parts<'_> {
        Parts { blocks: &self.blocks, scales: &self.scales, dense: &self.dense, flat: &self.flat }
    }
}

/// What is left of [`Numbers`].
struct Parts<'a> {
    blocks: &'a [u8],
    scales: &'a [u8],
    dense: &'a [bf16],
    /// Not used up: all norms are ones.
    flat: &'a [f32],
}

/// The first `len` of what is left.
fn take<'a, T>(rest: &mut &'a [T], len: usize) -> &'a [T] {
    let (part, after) = rest.split_at(len);
    *rest = after;
    part
}

struct Builder<'a> {
    rest: Parts<'a>,
    is_full: bool,
    trained: Trained,
}

impl<'a> Builder<'a> {
    fn weight(&mut self, matrix: Matrix<'a>, [n, k]: [usize; 2]) -> Weight<'a> {
        if !self.is_full {
            return Weight::Frozen(matrix);
        }
        let mut values = vec![0.0; n * k];
        for (row, out) in values.chunks_exact_mut(k).enumerate() {
            matrix.unpack_row(out, row);
        }
        Weight::Trained(self.trained.add("", &values, true))
    }

    fn dense(&mut self, sizes: [usize; 2]) -> Weight<'a> {
        let matrix = Matrix::Bf16(take(&mut self.rest.dense, sizes[0] * sizes[1]));
        self.weight(matrix, sizes)
    }

    fn vector(&mut self, len: usize, is_zero: bool) -> Vector<'a> {
        let values = &self.rest.flat[..len];
        match self.is_full {
            false => Vector::Frozen(values),
            true if is_zero => Vector::Trained(self.trained.add("", &vec![0.0; len], false)),
            true => Vector::Trained(self.trained.add("", values, false)),
        }
    }

    fn linear(&mut self, weight: Weight<'a>, [n, k]: [usize; 2], has_pair: bool) -> Linear<'a> {
        let low_rank = (has_pair && !self.is_full).then(|| LowRankPair {
            a: self.trained.add("", &vec![0.01; RANK * k], true),
            b: self.trained.add("", &vec![0.0; n * RANK], true),
            rank: RANK,
            scale: 2.0,
        });
        let bias = Some(self.vector(n, true));
        Linear { weight, bias, low_rank, num_outputs: n, num_inputs: k }
    }

    fn dense_layer(&mut self, sizes: [usize; 2], has_pair: bool) -> Linear<'a> {
        let weight = self.dense(sizes);
        self.linear(weight, sizes, has_pair)
    }

    fn expert_layer(&mut self, [n, k]: [usize; 2]) -> Linear<'a> {
        let blocks = take(&mut self.rest.blocks, n * k / 2);
        let scales = take(&mut self.rest.scales, n * k / 32);
        let weight = self.weight(Matrix::Mxfp4(Mxfp4 { blocks, scales }), [n, k]);
        self.linear(weight, [n, k], true)
    }

    fn layer(&mut self, sizes: &Sizes, index: usize) -> Layer<'a> {
        let (c, f) = (sizes.hidden, sizes.intermediate);
        let (rows, kv_rows) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
        Layer {
            attention: Attention {
                norm: self.vector(c, false),
                query: self.dense_layer([rows, c], true),
                key: self.dense_layer([kv_rows, c], true),
                value: self.dense_layer([kv_rows, c], true),
                out: self.dense_layer([c, rows], true),
                sinks: self.vector(sizes.heads, true),
                window: sizes.window(index),
            },
            norm: self.vector(c, false),
            router: self.dense_layer([sizes.experts, c], false),
            experts: (0..sizes.experts)
                .map(|_| Expert { gate_up: self.expert_layer([2 * f, c]), down: self.expert_layer([c, f]) })
                .collect(),
        }
    }

    fn network(&mut self, sizes: &Sizes) -> Network<'a> {
        let yarn = YarnParams {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 1024,
            truncate: false,
        };
        Network {
            shape: Shape {
                hidden_size: sizes.hidden,
                intermediate_size: sizes.intermediate,
                num_query_heads: sizes.heads,
                num_kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                active_experts: sizes.active,
                vocabulary: sizes.vocabulary,
                rms_norm_eps: 1e-5,
                swiglu_limit: 7.0,
                swiglu_alpha: 1.702,
                rope: Rope::yarn(sizes.head_dim, 150_000.0, &yarn),
            },
            embedding: self.dense([sizes.vocabulary, sizes.hidden]),
            layers: (0..sizes.layers).map(|index| self.layer(sizes, index)).collect(),
            norm: self.vector(sizes.hidden, false),
            head: self.dense([sizes.vocabulary, sizes.hidden]),
            rows: None,
            stored: None,
        }
    }
}
