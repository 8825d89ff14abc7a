//! The bytes that a gpt-oss needs: a sum of named terms, from the config and the sizes of its tensors.
//!
//! Entry points: [`memory`], and [`adapter_bytes`] for what is beside the weights. The terms are weights by
//! part in the dtype of the checkpoint, the copies this room makes of small vectors, the KV cache at a
//! context, and the workspace of a forward pass. Their sum is what a machine has to hold. Weights are mapped,
//! except what is not in a file as it is used (the experts of a GGUF file in exact precision or of a folder
//! that has them one by one, dense matrices in llama.cpp's quantizations), which is made in as many bytes of
//! memory; the rest is allocated. The sizes of tensors come from the checkpoint, because files differ in
//! them: dense matrices are bf16 as published and f16, f32 or Q8_0 in a GGUF file. The KV cache is reserved
//! for the whole context but touched only as far as a conversation has come, so a short one needs less.
//!
//! The sizes of cache and workspace come from the very functions that allocate them, so that the plan cannot
//! drift from the program. What else the process holds (the vocabulary, the binary, the page cache) is not
//! counted here.

use gptoss_checkpoint::{Adapter, LayerPart, Part};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES};

use crate::config::{DenseMode, ModelConfig, Precision};
use crate::cpu::workspace::{RowForms, Workspace};
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
    let forms = row_forms(config, weights, precision, dense);
    memory_terms(config, weights, context, precision, dense, forms)
}

/// What a loaded adapter takes, with the rows of a chunk that its products need. Units: bytes.
pub fn adapter_bytes(adapter: &Adapter, config: &ModelConfig) -> u64 {
    let pairs = adapter.pairs.values().map(|pair| pair.a.len() + pair.b.len());
    let rows = [&adapter.rows.embedding, &adapter.rows.unembedding];
    // Of a router that is replaced in part, the other part is held too.
    let routers = if adapter.replaced.is_empty() { 0 } else { config.num_layers * config.num_experts };
    let replaced = adapter.replaced.iter().map(|(_, numbers)| numbers.len()).sum::<usize>();
    let replaced = replaced + routers * (config.hidden_size + 1);
    let numbers = pairs.sum::<usize>() + rows.map(Vec::len).iter().sum::<usize>() + replaced;
    let most = adapter.pairs.values().map(|pair| pair.rank).max().unwrap_or(0);
    let row = config.hidden_size + config.intermediate_size + most.max(adapter.rows.tokens.len());
    ((numbers + CHUNK_TOKENS_MAX * row) * size_of::<f32>()) as u64
}

/// Which rows the products of these weights take. A matrix of Q8_0 is known by its bytes, which no other
/// format of the same matrix has.
pub(crate) fn row_forms(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    precision: Precision,
    dense: DenseMode,
) -> RowForms {
    let is_fast = precision == Precision::Fast;
    let has_bf16 = weights.iter().any(|(part, _)| matches!(part, Part::Layer(_, LayerPart::GateUpBf16)));
    let is_q8 =
        |(part, bytes): &(Part, u64)| *part != Part::Embedding && q8_bytes(config, *part) == Some(*bytes);
    RowForms {
        experts_f32: !is_fast || has_bf16,
        experts_int8: is_fast && !has_bf16,
        dense_int8: is_fast && (dense == DenseMode::Q8 || weights.iter().any(is_q8)),
    }
}

/// As [`memory`], of weights among which the experts' may be missing, which is why `forms` is asked of the
/// caller.
pub(crate) fn memory_terms(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    context: usize,
    precision: Precision,
    dense: DenseMode,
    forms: RowForms,
) -> Vec<Term> {
    let mut terms = weight_terms(config, weights, |part, bytes| match dense {
        DenseMode::AsStored => bytes,
        DenseMode::Q8 => q8_bytes(config, part).unwrap_or(bytes),
    });
    let mut push = |name: &str, bytes: u64| terms.push(Term { name: name.to_string(), bytes });
    push("vectors as f32 (norms, biases, sinks)", vector_bytes(config));
    let sizes = StoreSizes { blocks: context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let kv = StoreShape::new(config, precision.kv_format(), CHUNK_TOKENS_MAX, context).bytes(sizes);
    push("KV cache: full layers", kv.full_layers);
    push("KV cache: windowed layers", kv.windowed_layers);
    let chunk = CHUNK_TOKENS_MAX.min(context.max(1));
    let workspace = Workspace::bytes(config, forms, chunk);
    push("workspace: activations of a chunk", workspace);
    push("workspace: logits", (LOGIT_ROWS_MAX.min(chunk) * config.vocab_size * size_of::<f32>()) as u64);
    terms
}

/// What is held of each tensor, which `held` says of it and its bytes in the checkpoint, summed over the
/// parts of the model in the order of the forward pass. Parts of which nothing is held are left out.
pub(crate) fn weight_terms(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    held: impl Fn(Part, u64) -> u64,
) -> Vec<Term> {
    let mlp = mlp_part_name(config);
    let sum = |name: &str| {
        let parts = weights.iter().filter(|(part, _)| part_name(*part, mlp) == name);
        parts.map(|(part, bytes)| held(*part, *bytes)).sum::<u64>()
    };
    ["embedding", "attention", "router", mlp, "norms", "unembedding"]
        .map(|name| (name, sum(name)))
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| Term { name: format!("weights: {name}"), bytes })
        .collect()
}

/// Rows and columns of a dense matrix.
pub(crate) fn dense_shape(config: &ModelConfig, part: Part) -> Option<[usize; 2]> {
    let query = config.num_query_heads * config.head_dim;
    let kv = config.num_kv_heads * config.head_dim;
    Some(match part {
        Part::Embedding | Part::Unembedding => [config.vocab_size, config.hidden_size],
        Part::Layer(_, LayerPart::QWeight) => [query, config.hidden_size],
        Part::Layer(_, LayerPart::KWeight | LayerPart::VWeight) => [kv, config.hidden_size],
        Part::Layer(_, LayerPart::OutWeight) => [config.hidden_size, query],
        Part::Layer(_, LayerPart::RouterWeight) => [config.num_experts, config.hidden_size],
        _ => return None,
    })
}

/// The bytes of a matrix in Q8_0; `None` for what is never quantized, as `cpu/load.rs` has it.
pub(crate) fn q8_bytes(config: &ModelConfig, part: Part) -> Option<u64> {
    let is_router = matches!(part, Part::Layer(_, LayerPart::RouterWeight));
    let [n, k] = dense_shape(config, part).filter(|_| !is_router)?;
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
    use gptoss_kernels::{Pool, Q8_PARTS_BYTES_MAX};

    use super::*;
    use crate::config::LoadOptions;
    use crate::model::Model;
    use crate::parameters::parameters;
    use crate::step::{LogitRows, Segment, SequenceKv};

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
        let int8_rows = (CHUNK_TOKENS_MAX * 3 * 3072 / 32 * 41) as u64;
        // Experts in bf16 take no int8 rows, which the plan counted too.
        assert_eq!(workspace(Precision::Fast, ExpertFormat::Bf16) - f32_rows, fast - int8_rows);
        assert_eq!(workspace(Precision::Exact, ExpertFormat::Mxfp4) - f32_rows, fast - int8_rows);
    }

    /// The plan of a GGUF file whose dense matrices are Q8_0 had no int8 rows for them, because nobody had
    /// asked for that format.
    #[test]
    fn the_workspace_of_a_step_is_planned() {
        let check = |name: &str, precision, dense| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
            let checkpoint = Checkpoint::open(&path).expect("opens");
            let options = LoadOptions { precision, dense, expert_slots: None };
            let model = Model::load_with(&checkpoint, &options, Pool::new(1), &mut |_, _| {}).expect("loads");
            let context = CHUNK_TOKENS_MAX;
            let sizes = StoreSizes { blocks: context / BLOCK_TOKENS, rings: 1, snapshots: 0 };
            let mut store = model.new_store(sizes, context);
            let mut work = model.new_workspace();
            let tokens: Vec<u32> = (0..context as u32).map(|i| i * 7 % 300).collect();
            let blocks: Vec<u32> = (0..(context / BLOCK_TOKENS) as u32).collect();
            let kv = SequenceKv { blocks: &blocks, ring: 0 };
            let logits = LogitRows::None;
            let segment = Segment { tokens: &tokens, first_position: 0, kv, logits, adapter: None };
            model.forward_segments(&[segment], &mut store, &mut work).expect("runs");
            let terms = memory(model.config(), &checkpoint.part_bytes(), context, precision, dense);
            let planned = terms.iter().find(|term| term.name == "workspace: activations of a chunk");
            let planned = planned.expect("a term").bytes;
            // Sums of parts are kept by the threads.
            let sums = if dense == DenseMode::Q8 || name.contains("q8_0") { Q8_PARTS_BYTES_MAX } else { 0 };
            let sums = if precision == Precision::Fast { sums } else { 0 };
            let reserved = work.num_bytes() + sums;
            assert!(reserved <= planned, "{reserved} of {planned}: {name} {precision:?} {dense:?}");
            // Not all tokens went to one expert.
            let at_most = 2 * context as u64 * 512;
            assert!(planned - reserved < at_most, "{reserved} of {planned}: {name} {precision:?} {dense:?}");
        };
        for name in ["tiny-yarn", "tiny-yarn-bf16.gguf", "tiny-yarn-q8_0.gguf"] {
            check(name, Precision::Fast, DenseMode::AsStored);
            check(name, Precision::Fast, DenseMode::Q8);
            check(name, Precision::Exact, DenseMode::AsStored);
        }
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
