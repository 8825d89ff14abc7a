//! How many bytes a gpt-oss needs: a sum of named terms, from the config and the sizes of its tensors.
//!
//! Entry point: [`memory`]. The terms are weights by part in the dtype of the checkpoint, the copies this room makes
//! of small vectors, the KV cache at a context, and the workspace of a forward pass. Their sum is what a machine has
//! to hold. Weights are mapped, except the experts of a GGUF file in exact
//! precision, which are laid out anew in as many bytes of memory;
//! the rest is allocated. The sizes of tensors come from the checkpoint, because files differ in them: dense matrices
//! are bf16 as published and f16, f32 or Q8_0 in a GGUF file. The KV cache is
//! reserved for the whole context but touched only as far as a conversation has come, so a short one needs less.
//!
//! The sizes of cache and workspace come from the very functions that allocate them, so that the plan cannot drift
//! from the program. It does not know what else the process holds: the vocabulary, the binary, the page cache.

use gptoss_checkpoint::{LayerPart, Part};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES};

use crate::config::{DenseMode, ModelConfig, Precision};
use crate::cpu::block::Workspace;
use crate::cpu::forward::{CHUNK_TOKENS_MAX, LOGIT_ROWS_MAX};
use crate::cpu::kv_store::{BLOCK_TOKENS, StoreShape, StoreSizes};
use crate::parameters::{Counts, mlp_part_name};

/// One named term of the memory plan. Units: bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What the bytes are for, such as `weights: experts` or `KV cache: full layers`.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// The memory plan of one conversation: weights, vectors, KV cache at `context` tokens, workspace.
///
/// `weights` is each tensor with its bytes, as `Checkpoint::part_bytes` tells them. The weight terms (`weights: …`) sum
/// to them, 13,761,264,768 for the published gpt-oss-20b, unless dense matrices are quantised.
///
/// Units: `context` in tokens; bytes out.
pub fn memory(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    context: usize,
    precision: Precision,
    dense: DenseMode,
) -> Vec<Term> {
    let mut terms = weight_terms(config, weights, dense);
    let mut push = |name: &str, bytes: u64| terms.push(Term { name: name.to_string(), bytes });
    push("vectors as f32 (norms, biases, sinks)", vector_bytes(config));
    let sizes = StoreSizes { blocks: context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let kv = StoreShape::new(config, precision.kv_format(), CHUNK_TOKENS_MAX, context).bytes(sizes);
    push("KV cache: full layers", kv.full_layers);
    push("KV cache: windowed layers", kv.windowed_layers);
    let chunk = CHUNK_TOKENS_MAX.min(context.max(1));
    push("workspace: activations of a chunk", Workspace::bytes(config, precision, dense, chunk));
    push("workspace: logits", (LOGIT_ROWS_MAX.min(chunk) * config.vocab_size * size_of::<f32>()) as u64);
    terms
}

/// Tensor bytes summed over the parts of the model, in the order of the forward pass.
fn weight_terms(config: &ModelConfig, weights: &[(Part, u64)], dense: DenseMode) -> Vec<Term> {
    let mlp = mlp_part_name(config);
    let loaded = |(part, bytes): &(Part, u64)| match dense {
        DenseMode::AsStored => *bytes,
        DenseMode::Q8 => q8_bytes(config, *part).unwrap_or(*bytes),
    };
    let sum = |name: &str| weights.iter().filter(|(part, _)| part_name(*part, mlp) == name).map(loaded).sum();
    ["embedding", "attention", "router", mlp, "norms", "unembedding"]
        .map(|name| (name, sum(name)))
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| Term { name: format!("weights: {name}"), bytes })
        .collect()
}

/// The bytes of a matrix in Q8_0; `None` for what is never quantised, as `cpu/load.rs` has it.
fn q8_bytes(config: &ModelConfig, part: Part) -> Option<u64> {
    let query = config.num_query_heads * config.head_dim;
    let kv = config.num_kv_heads * config.head_dim;
    let (n, k) = match part {
        Part::Embedding | Part::Unembedding => (config.vocab_size, config.hidden_size),
        Part::Layer(_, LayerPart::QWeight) => (query, config.hidden_size),
        Part::Layer(_, LayerPart::KWeight | LayerPart::VWeight) => (kv, config.hidden_size),
        Part::Layer(_, LayerPart::OutWeight) => (config.hidden_size, query),
        _ => return None,
    };
    k.is_multiple_of(BLOCK_VALUES).then_some((n * (k / BLOCK_VALUES) * Q8_0_BLOCK_BYTES) as u64)
}

/// The part of the model that a tensor belongs to, as `parameters` names them.
fn part_name(part: Part, mlp: &'static str) -> &'static str {
    use LayerPart::{
        AttentionNorm, KBias, KWeight, MlpNorm, OutBias, OutWeight, QBias, QWeight, RouterBias, RouterWeight,
        Sinks, VBias, VWeight,
    };
    match part {
        Part::Embedding => "embedding",
        Part::Unembedding => "unembedding",
        Part::FinalNorm | Part::Layer(_, AttentionNorm | MlpNorm) => "norms",
        Part::Layer(_, RouterWeight | RouterBias) => "router",
        Part::Layer(_, QWeight | QBias | KWeight | KBias | VWeight | VBias | OutWeight | OutBias | Sinks) => {
            "attention"
        }
        Part::Layer(..) => mlp,
    }
}

/// The small tensors that `weights.rs` converts to f32 vectors at load.
fn vector_bytes(config: &ModelConfig) -> u64 {
    let counts = Counts::of(config);
    let [heads, kv_heads, dim] =
        [config.num_query_heads, config.num_kv_heads, config.head_dim].map(|n| n as u64);
    let attention = (heads + 2 * kv_heads) * dim + config.hidden_size as u64 + heads;
    let per_layer = attention + config.expert_slots() as u64 * counts.expert_biases;
    let per_layer = per_layer + config.num_experts as u64;
    (per_layer * config.num_layers as u64 + counts.norms) * size_of::<f32>() as u64
}
