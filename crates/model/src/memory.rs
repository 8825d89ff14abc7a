//! How many bytes a gpt-oss needs: a sum of named terms, from the config alone.
//!
//! Entry point: [`memory`]. The terms are weights by part in the dtype of the checkpoint, the copies this room makes
//! of small vectors, the KV cache at a context, and the workspace of a forward pass. Their sum is what a machine has
//! to hold; which of it is mapped (weights) and which is allocated (the rest) is in each term's name. The KV cache is
//! reserved for the whole context but touched only as far as a conversation has come, so a short one needs less.
//!
//! The sizes of cache and workspace come from the very functions that allocate them, so that the plan cannot drift
//! from the program. It does not know what else the process holds: the vocabulary, the binary, the page cache.

use gptoss_checkpoint::ExpertFormat;

use crate::block::Workspace;
use crate::config::{ModelConfig, Precision};
use crate::forward::{CHUNK_TOKENS_MAX, LOGIT_ROWS_MAX};
use crate::kv_cache::KvCache;
use crate::parameters::{Counts, mlp_part_name};

/// One named term of the memory plan. Units: bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What the bytes are for, such as `weights: experts` or `KV cache: full layers`.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// Bytes of a bf16 number.
const BF16_BYTES: u64 = 2;
/// Numbers in one block of MXFP4, and the bytes of such a block with its scale: 4.25 bits a number.
const MXFP4_BLOCK: (u64, u64) = (32, 17);

/// The memory plan of one conversation: weights, vectors, KV cache at `context` tokens, workspace.
///
/// The weight terms (`weights: …`) sum to the tensor bytes of the checkpoint, 13,761,264,768 for the published
/// gpt-oss-20b.
///
/// Units: `context` in tokens; bytes out.
pub fn memory(
    config: &ModelConfig,
    expert_format: ExpertFormat,
    context: usize,
    precision: Precision,
) -> Vec<Term> {
    let mut terms = weight_terms(config, expert_format);
    let mut push = |name: &str, bytes: u64| terms.push(Term { name: name.to_string(), bytes });
    push("vectors as f32 (norms, biases, sinks)", vector_bytes(config));
    let kv = KvCache::bytes(config, precision, context, CHUNK_TOKENS_MAX);
    push("KV cache: full layers", kv.full_layers);
    push("KV cache: windowed layers", kv.windowed_layers);
    let chunk = CHUNK_TOKENS_MAX.min(context.max(1));
    push("workspace: activations of a chunk", Workspace::bytes(config, precision, chunk));
    push("workspace: logits", (LOGIT_ROWS_MAX.min(chunk) * config.vocab_size * size_of::<f32>()) as u64);
    terms
}

/// Tensor bytes by part, in the dtype of the checkpoint.
fn weight_terms(config: &ModelConfig, expert_format: ExpertFormat) -> Vec<Term> {
    let counts = Counts::of(config);
    let matrix_numbers = counts.expert - counts.expert_biases;
    let matrix_bytes = match expert_format {
        ExpertFormat::Mxfp4 => matrix_numbers / MXFP4_BLOCK.0 * MXFP4_BLOCK.1,
        ExpertFormat::Bf16 => matrix_numbers * BF16_BYTES,
    };
    let expert_bytes = matrix_bytes + counts.expert_biases * BF16_BYTES;
    let experts = config.expert_slots() as u64 * config.num_layers as u64;
    [
        ("embedding", counts.embedding * BF16_BYTES),
        ("attention", counts.attention * BF16_BYTES),
        ("router", counts.router * BF16_BYTES),
        (mlp_part_name(config), expert_bytes * experts),
        ("norms", counts.norms * BF16_BYTES),
        ("unembedding", counts.embedding * BF16_BYTES),
    ]
    .into_iter()
    .filter(|(_, bytes)| *bytes > 0)
    .map(|(part, bytes)| Term { name: format!("weights: {part}"), bytes })
    .collect()
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
