//! What of a model is trained: low-rank pairs beside frozen matrices, or every tensor.
//!
//! A pair starts as PEFT starts one: A uniform within `1 / sqrt(K)`, B zero, so that the first step's loss is
//! the base's. Frozen in a low-rank run are biases, sinks, norms and the router.

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterRows, AdapterSite};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::{Attention, Expert, Layer, Linear, LowRankPair, Network, TokenRows, Vector, Weight};
use crate::trained::{Span, Trained};
use crate::weights::{LayerWeights, Stack, Stored, StoredLinear, Weights};

/// What is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuning {
    /// Low-rank pairs, and perhaps rows of some tokens.
    LowRank(LowRankTuning),
    /// Everything, in f32.
    Full,
}

/// Low-rank pairs beside frozen matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRankTuning {
    /// r of attention; `None` leaves attention as it is.
    pub attention_rank: Option<usize>,
    /// r of every expert; `None` leaves the experts as they are.
    pub expert_rank: Option<usize>,
    /// Factor on the products, of every rank.
    pub scale: f32,
    /// Tokens whose rows of the embedding and of the head are trained, ascending.
    pub tokens: Vec<u32>,
}

impl Weights {
    /// The network over these weights, and what is trained of it; the same for the same seed.
    ///
    /// Panics: when a token is not below V, or tokens do not ascend.
    pub fn network(&self, tuning: &Tuning, seed: u64) -> (Network<'_>, Trained) {
        let mut builder = Builder { tuning, trained: Trained::default(), draws: StdRng::seed_from_u64(seed) };
        let c = self.config().hidden_size;
        let embedding = builder.weight("model.embed_tokens.weight", &self.embedding, c);
        let layers = (0..self.layers.len()).map(|layer| builder.layer(self, layer)).collect();
        let norm = builder.vector("model.norm.weight", &self.norm);
        // What is one matrix stays one: both ends add to its gradient.
        let head = match embedding {
            Weight::Trained(_) if self.config().tie_word_embeddings => embedding,
            _ => builder.weight("lm_head.weight", &self.head, c),
        };
        let rows = builder.rows(self);
        let network = Network { shape: self.shape(), embedding, layers, norm, head, rows, stored: None };
        (network, builder.trained)
    }
}

struct Builder<'t> {
    tuning: &'t Tuning,
    trained: Trained,
    draws: StdRng,
}

impl Builder<'_> {
    fn layer<'a>(&mut self, weights: &'a Weights, index: usize) -> Layer<'a> {
        let (layer, name) = (&weights.layers[index], format!("model.layers.{index}"));
        let rank = match self.tuning {
            Tuning::LowRank(tuning) => tuning.attention_rank,
            Tuning::Full => None,
        };
        let attention = Attention {
            norm: self.vector(&format!("{name}.input_layernorm.weight"), &layer.attention_norm),
            query: self.dense(&format!("{name}.self_attn.q_proj"), &layer.query, layer, rank),
            key: self.dense(&format!("{name}.self_attn.k_proj"), &layer.key, layer, rank),
            value: self.dense(&format!("{name}.self_attn.v_proj"), &layer.value, layer, rank),
            out: self.dense(&format!("{name}.self_attn.o_proj"), &layer.out, layer, rank),
            sinks: self.vector(&format!("{name}.self_attn.sinks"), &layer.sinks),
            window: weights.window(index),
        };
        let router = match weights.config().is_dense() {
            true => frozen(&layer.router, layer),
            false => self.dense(&format!("{name}.mlp.router"), &layer.router, layer, None),
        };
        let mlp_norm = self.vector(&format!("{name}.post_attention_layernorm.weight"), &layer.mlp_norm);
        let experts = (0..layer.gate_up.len())
            .map(|expert| Expert {
                gate_up: self.expert(&format!("{name}.mlp.experts.gate_up_proj"), &layer.gate_up, expert),
                down: self.expert(&format!("{name}.mlp.experts.down_proj"), &layer.down, expert),
            })
            .collect();
        if *self.tuning == Tuning::Full {
            layer.gate_up.release();
            layer.down.release();
        }
        Layer { attention, norm: mlp_norm, router, experts }
    }

    fn dense<'a>(
        &mut self,
        name: &str,
        linear: &'a StoredLinear,
        layer: &LayerWeights,
        rank: Option<usize>,
    ) -> Linear<'a> {
        let Linear { num_outputs, num_inputs, .. } = frozen(linear, layer);
        let weight = self.weight(&format!("{name}.weight"), &linear.weight, num_inputs);
        let bias = Some(self.vector(&format!("{name}.bias"), &linear.bias));
        let low_rank = rank.and_then(|rank| self.pair(name, rank, [num_outputs, num_inputs]));
        Linear { weight, bias, low_rank, num_outputs, num_inputs }
    }

    fn expert<'a>(&mut self, name: &str, stack: &'a Stack, expert: usize) -> Linear<'a> {
        let (n, k) = (stack.num_outputs, stack.num_inputs);
        let (matrix, name) = (stack.matrix(expert), format!("{name}.{expert}"));
        let (weight, low_rank) = match self.tuning {
            Tuning::LowRank(LowRankTuning { expert_rank, .. }) => {
                let pair = expert_rank.and_then(|rank| self.pair(&name, rank, [n, k]));
                (Weight::Frozen(matrix), pair)
            }
            Tuning::Full => {
                let mut values = vec![0.0; n * k];
                for (row, values) in values.chunks_exact_mut(k).enumerate() {
                    matrix.unpack_row(values, row);
                }
                (Weight::Trained(self.trained.add(name.clone(), &values, true)), None)
            }
        };
        let bias = Some(self.vector(&format!("{name}.bias"), stack.bias(expert)));
        Linear { weight, bias, low_rank, num_outputs: n, num_inputs: k }
    }

    fn vector<'a>(&mut self, name: &str, values: &'a [f32]) -> Vector<'a> {
        match self.tuning {
            Tuning::LowRank(_) => Vector::Frozen(values),
            Tuning::Full => Vector::Trained(self.trained.add(name, values, false)),
        }
    }

    fn weight<'a>(&mut self, name: &str, stored: &'a Stored, k: usize) -> Weight<'a> {
        match self.tuning {
            Tuning::LowRank(_) => Weight::Frozen(stored.view()),
            Tuning::Full => {
                let span = self.trained.add(name, &stored.to_f32(k), true);
                stored.release();
                Weight::Trained(span)
            }
        }
    }

    fn pair(&mut self, name: &str, rank: usize, [n, k]: [usize; 2]) -> Option<LowRankPair> {
        let Tuning::LowRank(tuning) = self.tuning else { return None };
        let bound = 1.0 / (k as f32).sqrt();
        let a: Vec<f32> = (0..rank * k).map(|_| self.draws.random_range(-bound..=bound)).collect();
        let a = self.trained.add(format!("{name}.lora_A"), &a, true);
        let b = self.trained.add(format!("{name}.lora_B"), &vec![0.0; n * rank], true);
        Some(LowRankPair { a, b, rank, scale: tuning.scale })
    }

    fn rows(&mut self, weights: &Weights) -> Option<TokenRows> {
        let Tuning::LowRank(LowRankTuning { tokens, .. }) = self.tuning else { return None };
        if tokens.is_empty() {
            return None;
        }
        assert!(tokens.is_sorted_by(|a, b| a < b), "train: trained tokens ascend");
        let mut rows = |name: &str, stored: &Stored| -> Span {
            self.trained.add(name, &weights.rows_of(stored, tokens), false)
        };
        let embedding = rows("embedding_rows", &weights.embedding);
        let head = rows("head_rows", &weights.head);
        Some(TokenRows { tokens: tokens.clone(), embedding, head })
    }
}

/// A dense layer as it lies; its width is that of the rows it meets.
fn frozen<'a>(linear: &'a StoredLinear, layer: &LayerWeights) -> Linear<'a> {
    // Only the output projection of attention reads something else than a row of the residual stream.
    let c = layer.mlp_norm.len();
    let is_out = std::ptr::eq(linear, &layer.out);
    let num_inputs = if is_out { layer.query.bias.len() } else { c };
    Linear {
        weight: Weight::Frozen(linear.weight.view()),
        bias: Some(Vector::Frozen(&linear.bias)),
        low_rank: None,
        num_outputs: linear.bias.len(),
        num_inputs,
    }
}

impl Network<'_> {
    /// What was trained beside the frozen matrices, as adapter files have it; no merge is marked in it.
    pub fn adapter(&self, trained: &Trained) -> Adapter {
        let mut adapter = Adapter::default();
        let mut take = |site: AdapterSite, linear: &Linear<'_>| {
            if let Some(LowRankPair { a, b, rank, scale }) = linear.low_rank {
                let (a, b) = (trained.of(a).to_vec(), trained.of(b).to_vec());
                adapter.pairs.insert(site, AdapterPair { rank, scale, a, b });
            }
        };
        for (layer, weights) in self.layers.iter().enumerate() {
            take(AdapterSite::Query(layer), &weights.attention.query);
            take(AdapterSite::Key(layer), &weights.attention.key);
            take(AdapterSite::Value(layer), &weights.attention.value);
            take(AdapterSite::Out(layer), &weights.attention.out);
            for (expert, weights) in weights.experts.iter().enumerate() {
                take(AdapterSite::GateUp { layer, expert }, &weights.gate_up);
                take(AdapterSite::Down { layer, expert }, &weights.down);
            }
        }
        if let Some(rows) = &self.rows {
            adapter.rows = AdapterRows {
                tokens: rows.tokens.clone(),
                embedding: trained.of(rows.embedding).to_vec(),
                unembedding: trained.of(rows.head).to_vec(),
            };
        }
        adapter
    }
}
