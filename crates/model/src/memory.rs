//! The bytes that a gpt-oss needs: a sum of named terms, from the config and the sizes of its tensors.
//!
//! Entry point: [`memory`]. The terms are weights by part in the dtype of the checkpoint, the copies this
//! room makes of small vectors, the KV cache at a context, and the workspace of a forward pass. Their sum is
//! what a machine has to hold. Weights are mapped, except the experts of a GGUF file in exact precision,
//! which are laid out anew in as many bytes of memory; the rest is allocated. The sizes of tensors come from
//! the checkpoint, because files differ in them: dense matrices are bf16 as published and f16, f32 or Q8_0 in
//! a GGUF file. The KV cache is reserved for the whole context but touched only as far as a conversation has
//! come, so a short one needs less.
//!
//! The sizes of cache and workspace come from the very functions that allocate them, so that the plan cannot
//! drift from the program. What else the process holds (the vocabulary, the binary, the page cache) is not
//! counted here.

use gptoss_checkpoint::{LayerPart, Part};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES};

use crate::config::{DenseMode, ModelConfig, Precision};
use crate::cpu::workspace::Workspace;
use crate::layout::{BLOCK_TOKENS, StoreShape, StoreSizes};
use crate::parameters::{Counts, mlp_part_name};
use crate::step::{CHUNK_TOKENS_MAX, LOGIT_ROWS_MAX};

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
/// `weights` is each tensor with its bytes, as `Checkpoint::part_bytes` tells them. The weight terms
/// (`weights: …`) sum to them, 13,761,264,768 for the published gpt-oss-20b, unless dense matrices are
/// quantized.
///
/// Units: `context` in tokens; bytes out.
pub fn memory(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    context: usize,
    precision: Precision,
    dense: DenseMode,
) -> Vec<Term> {
    memory_terms(config, weights, context, precision, dense, takes_f32(weights, precision))
}

/// Whether the inputs of some experts are f32.
pub(crate) fn takes_f32(weights: &[(Part, u64)], precision: Precision) -> bool {
    let is_bf16 = |(part, _): &(Part, u64)| matches!(part, Part::Layer(_, LayerPart::GateUpBf16));
    precision == Precision::Exact || weights.iter().any(is_bf16)
}

/// As [`memory`], of weights among which the experts' may be missing, which is why `takes_f32` is asked of
/// the caller.
pub(crate) fn memory_terms(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    context: usize,
    precision: Precision,
    dense: DenseMode,
    takes_f32: bool,
) -> Vec<Term> {
    let mut terms = weight_terms(config, weights, dense);
    let mut push = |name: &str, bytes: u64| terms.push(Term { name: name.to_string(), bytes });
    push("vectors as f32 (norms, biases, sinks)", vector_bytes(config));
    let sizes = StoreSizes { blocks: context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let kv = StoreShape::new(config, precision.kv_format(), CHUNK_TOKENS_MAX, context).bytes(sizes);
    push("KV cache: full layers", kv.full_layers);
    push("KV cache: windowed layers", kv.windowed_layers);
    let chunk = CHUNK_TOKENS_MAX.min(context.max(1));
    let workspace = Workspace::bytes(config, precision, dense, takes_f32, chunk);
    push("workspace: activations of a chunk", workspace);
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

/// The bytes of a matrix in Q8_0; `None` for what is never quantized, as `cpu/load.rs` has it.
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

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, ExpertFormat, PRESETS, Preset, num_bytes, parts};

    use super::*;
    use crate::parameters::parameters;

    fn config(preset: Preset) -> ModelConfig {
        ModelConfig::from_checkpoint(&preset.config()).expect("a preset is legal")
    }

    fn weights(terms: &[Term]) -> u64 {
        terms.iter().filter(|term| term.name.starts_with("weights: ")).map(|term| term.bytes).sum()
    }

    /// The tensors of a preset with their bytes.
    fn tensors(preset: Preset, format: ExpertFormat) -> Vec<(Part, u64)> {
        let config = preset.config();
        parts(&config, format).into_iter().map(|part| (part, num_bytes(&config, part) as u64)).collect()
    }

    #[test]
    fn weights_are_the_tensors_of_the_checkpoint() {
        let formats = [ExpertFormat::Mxfp4, ExpertFormat::Bf16];
        for (preset, format) in PRESETS.into_iter().flat_map(|preset| formats.map(|format| (preset, format)))
        {
            let tensors = tensors(preset, format);
            let terms = memory(&config(preset), &tensors, 4096, Precision::Fast, DenseMode::AsStored);
            assert_eq!(
                weights(&terms),
                tensors.iter().map(|(_, bytes)| bytes).sum::<u64>(),
                "{preset} {format:?}"
            );
            // Bytes against numbers: of the parts that are bf16 in every format, two each.
            for part in parameters(&config(preset)).iter().filter(|part| !MLP.contains(&part.name)) {
                let term = terms.iter().find(|term| term.name == format!("weights: {}", part.name));
                assert_eq!(term.map(|term| term.bytes), Some(2 * part.total), "{preset} {}", part.name);
            }
        }
        let synthetic = |preset| {
            let checkpoint = Checkpoint::synthetic(preset, 0, None).expect("a preset");
            weights(&memory(
                &config(preset),
                &checkpoint.part_bytes(),
                1,
                Precision::Fast,
                DenseMode::AsStored,
            ))
        };
        assert_eq!(synthetic(Preset::GptOss20b), 13_761_264_768);
        assert_eq!(synthetic(Preset::GptOss120b), 65_248_815_744);
    }

    const MLP: [&str; 2] = ["experts", "feed-forward"];

    /// The plan took every dense matrix for bf16, whatever the file had.
    #[test]
    fn weights_are_as_large_as_in_the_file() {
        let check = |name: &str, embedding: u64| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
            let checkpoint = Checkpoint::open(&path).expect("opens");
            let model = ModelConfig::from_checkpoint(checkpoint.config()).expect("a config");
            let terms = memory(&model, &checkpoint.part_bytes(), 128, Precision::Fast, DenseMode::AsStored);
            assert_eq!(weights(&terms), checkpoint.tensor_bytes(), "{name}");
            let read: usize = checkpoint
                .parts()
                .into_iter()
                .map(|part| checkpoint.tensor(part).expect("a part").bytes.len())
                .sum();
            assert_eq!(weights(&terms), read as u64, "{name}");
            assert_eq!((terms[0].name.as_str(), terms[0].bytes), ("weights: embedding", embedding), "{name}");
        };
        check("tiny", 512 * 128 * 2);
        check("tiny-yarn", 320 * 64 * 2);
        check("tiny-yarn-bf16.gguf", 320 * 64 * 2);
        check("tiny-yarn-q8_0.gguf", 320 * 64 / 32 * 34);
    }

    /// What is planned for `DenseMode::Q8` is what loading makes.
    #[test]
    fn quantized_matrices_take_34_bytes_for_32_numbers() {
        let preset = Preset::GptOss20b;
        let parts = tensors(preset, ExpertFormat::Mxfp4);
        let terms = memory(&config(preset), &parts, 4096, Precision::Fast, DenseMode::Q8);
        let bytes = |name: &str| terms.iter().find(|term| term.name == name).expect("a term").bytes;
        assert_eq!(bytes("weights: embedding"), 201_088 * 2880 / 32 * 34);
        assert_eq!(bytes("weights: unembedding"), 201_088 * 2880 / 32 * 34);
        let matrices = 2880 * (4096 + 512 + 512) + 2880 * 4096;
        let vectors = (4096 + 512 + 512 + 2880 + 64) * 2;
        assert_eq!(bytes("weights: attention"), 24 * (matrices / 32 * 34 + vectors));
        let as_stored = memory(&config(preset), &parts, 4096, Precision::Fast, DenseMode::AsStored);
        for term in as_stored.iter().filter(|term| ["experts", "router"].contains(&term.name.as_str())) {
            assert_eq!(bytes(&term.name), term.bytes);
        }
    }

    /// The plan counted f32 rows of one expert that fast precision never touches unless experts are bf16.
    #[test]
    fn fast_precision_needs_no_f32_rows_of_mxfp4_experts() {
        let workspace = |precision, format| {
            let parts = tensors(Preset::GptOss20b, format);
            let terms = memory(&config(Preset::GptOss20b), &parts, 4096, precision, DenseMode::AsStored);
            let name = "workspace: activations of a chunk";
            terms.into_iter().find(|term| term.name == name).expect("a term").bytes
        };
        let f32_rows = (CHUNK_TOKENS_MAX * (2880 + 2880) * size_of::<f32>()) as u64;
        let fast = workspace(Precision::Fast, ExpertFormat::Mxfp4);
        assert_eq!(workspace(Precision::Fast, ExpertFormat::Bf16) - fast, f32_rows);
        let int8_rows = (CHUNK_TOKENS_MAX * 3 * 3072 / 32 * 41) as u64;
        assert_eq!(workspace(Precision::Exact, ExpertFormat::Mxfp4) - f32_rows, fast - int8_rows);
    }

    #[test]
    fn cache_grows_with_the_context_in_full_layers_only() {
        let term = |context, precision, name: &str| {
            let terms = memory(&config(Preset::GptOss20b), &[], context, precision, DenseMode::AsStored);
            terms.into_iter().find(|term| term.name == name).expect("a term").bytes
        };
        let full = "KV cache: full layers";
        assert_eq!(term(131_072, Precision::Fast, full), 3 << 30);
        assert_eq!(term(131_072, Precision::Exact, full), 6 << 30);
        let windowed = "KV cache: windowed layers";
        assert_eq!(term(131_072, Precision::Fast, windowed), 12 * 2048 * (127 + 512));
        assert_eq!(term(100, Precision::Fast, windowed), 12 * 2048 * 100);
    }
}
