//! The bytes that a model takes on a card, to the byte: a sum of named terms from config and sizes.
//!
//! Entry point: [`card_memory`]. Every buffer is counted as the room `gpu` makes it ([`buffer_bytes`]), and
//! the sizes of the workspace and of rows come from the functions that make them. A driver may take more for
//! a buffer than it is long. The embedding is not on the card; the host's share is a term of its own.

use gptoss_checkpoint::{LayerPart, Part};
use gptoss_formats::BLOCK_VALUES;
use gptoss_gpu::{Place, buffer_bytes};

use crate::config::{DenseMode, KvFormat, LayerKind, LoadOptions, ModelConfig};
use crate::gpu::kv_rows::{beside_bytes, rows_bytes};
use crate::gpu::workspace::{Int8Forms, buffer_sizes};
use crate::layout::{StoreLayout, StoreShape, StoreSizes};
use crate::memory::{Term, dense_shape, q8_bytes, weight_terms};
use crate::step::CHUNK_TOKENS_MAX;

/// The memory plan of a model on a card whose sequences keep what `sizes` has room for, each up to
/// `max_context` tokens. `weights` is each tensor with its bytes, as `Checkpoint::part_bytes` tells them. The
/// last term, `host: …`, is memory of the computer, all others are the card's.
///
/// Units: tokens in; bytes out.
pub fn card_memory(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    sizes: StoreSizes,
    max_context: usize,
    kv_format: KvFormat,
    options: &LoadOptions,
) -> Vec<Term> {
    let dense = options.dense;
    let mut terms = weight_terms(config, weights, |part, bytes| part_bytes(config, part, bytes, dense));
    let mut push = |name: &str, bytes: u64| terms.push(Term { name: name.to_owned(), bytes });
    let shape = StoreShape::new(config, kv_format, CHUNK_TOKENS_MAX, max_context);
    let layout = StoreLayout { shape, sizes };
    let [table, staging] = beside_bytes(&layout).map(buffer_bytes);
    push("KV cache: full layers", kv_bytes(&layout, LayerKind::Full));
    push("KV cache: windowed layers", kv_bytes(&layout, LayerKind::Windowed));
    push("KV cache: table of blocks", table);
    let work = buffer_sizes(config, int8_forms(config, weights, options));
    let of_place = |place| {
        let sizes = work.iter().filter(|(_, there, _)| *there == place);
        sizes.map(|(_, _, bytes)| buffer_bytes(*bytes)).sum::<u64>()
    };
    push("workspace: activations and logits of a pass", of_place(Place::Card));
    push("host: what goes to the card and back", table + staging + of_place(Place::Host));
    terms
}

/// Keys and values of all layers of a kind.
fn kv_bytes(layout: &StoreLayout, kind: LayerKind) -> u64 {
    let layers = layout.shape.layer_kinds.iter().filter(|&&k| k == kind).count() as u64;
    let rows = rows_bytes(&layout.shape, layout.rows_of(kind));
    2 * layers * rows.into_iter().map(buffer_bytes).sum::<u64>()
}

/// Bytes of the buffers of a tensor that has `bytes` in the checkpoint.
fn part_bytes(config: &ModelConfig, part: Part, bytes: u64, dense: DenseMode) -> u64 {
    // The host has it.
    if part == Part::Embedding {
        return 0;
    }
    if let Some(count) = vector_len(config, part) {
        return buffer_bytes(4 * count as u64);
    }
    let count = matrix_len(config, part).filter(|_| is_int8(config, part, bytes, dense));
    match count {
        Some(count) => buffer_bytes(count) + buffer_bytes(count / BLOCK_VALUES as u64 * 2),
        None => buffer_bytes(bytes),
    }
}

/// Whether a matrix is int8 on the card. One of Q8_0 in a file is known by its bytes.
fn is_int8(config: &ModelConfig, part: Part, bytes: u64, dense: DenseMode) -> bool {
    let in_blocks = matrix_len(config, part).map(|count| count / BLOCK_VALUES as u64 * 34);
    let is_made = dense == DenseMode::Q8 && q8_bytes(config, part).is_some();
    part != Part::Embedding && (is_made || in_blocks == Some(bytes))
}

fn int8_forms(config: &ModelConfig, weights: &[(Part, u64)], options: &LoadOptions) -> Int8Forms {
    let any = |is_asked: &dyn Fn(Part) -> bool| {
        weights.iter().any(|(part, bytes)| is_asked(*part) && is_int8(config, *part, *bytes, options.dense))
    };
    let is_attention = |part| !matches!(part, Part::Unembedding | Part::Layer(_, LayerPart::RouterWeight));
    Int8Forms::of(options.precision, any(&is_attention), any(&|part| part == Part::Unembedding))
}

/// Numbers of a dense matrix.
fn matrix_len(config: &ModelConfig, part: Part) -> Option<u64> {
    dense_shape(config, part).map(|[n, k]| (n * k) as u64)
}

/// Numbers of a vector, and of the biases of all experts.
pub(crate) fn vector_len(config: &ModelConfig, part: Part) -> Option<usize> {
    use LayerPart as P;
    let (hidden, slots) = (config.hidden_size, config.expert_slots());
    let heads = config.num_query_heads;
    Some(match part {
        Part::FinalNorm | Part::Layer(_, P::AttentionNorm | P::MlpNorm | P::OutBias) => hidden,
        Part::Layer(_, P::QBias) => heads * config.head_dim,
        Part::Layer(_, P::KBias | P::VBias) => config.num_kv_heads * config.head_dim,
        Part::Layer(_, P::Sinks) => heads,
        Part::Layer(_, P::RouterBias) => config.num_experts,
        Part::Layer(_, P::GateUpBias) => slots * 2 * config.intermediate_size,
        Part::Layer(_, P::DownBias) => slots * hidden,
        _ => return None,
    })
}
