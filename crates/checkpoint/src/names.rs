//! The published naming schemes: what is each part called in a file, and which dtype and shape must it have?
//!
//! The entry points are [`parts`], the full list of what a checkpoint of a config must hold, and the two name
//! tables. Published tensor names appear in this file and nowhere else. In OpenAI's `original/` layout the
//! three projections of attention are one tensor whose rows are those of q, then k, then v, so a name there
//! comes with a row range.
//!
//! This module does not open files; it only says what ought to be in them.

use std::ops::Range;

use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES};

use crate::config::Config;
use crate::dtype::Dtype;
use crate::part::{ExpertFormat, LayerPart, Part};

/// The unembedding's Hugging Face name, unless it is the embedding's.
pub(crate) const LM_HEAD: &str = "lm_head.weight";

/// Parts every layer has.
const LAYER_PARTS: [LayerPart; 11] = [
    LayerPart::AttentionNorm,
    LayerPart::QWeight,
    LayerPart::QBias,
    LayerPart::KWeight,
    LayerPart::KBias,
    LayerPart::VWeight,
    LayerPart::VBias,
    LayerPart::OutWeight,
    LayerPart::OutBias,
    LayerPart::Sinks,
    LayerPart::MlpNorm,
];

/// What an MLP adds when it is stored in MXFP4.
const MXFP4_PARTS: [LayerPart; 6] = [
    LayerPart::GateUpBlocks,
    LayerPart::GateUpScales,
    LayerPart::GateUpBias,
    LayerPart::DownBlocks,
    LayerPart::DownScales,
    LayerPart::DownBias,
];

/// What an MLP adds when it is stored in bf16.
const BF16_PARTS: [LayerPart; 4] =
    [LayerPart::GateUpBf16, LayerPart::GateUpBias, LayerPart::DownBf16, LayerPart::DownBias];

/// Every part of a checkpoint, in the order of the published files.
pub fn parts(config: &Config, experts: ExpertFormat) -> Vec<Part> {
    let router: &[LayerPart] =
        if config.is_dense() { &[] } else { &[LayerPart::RouterWeight, LayerPart::RouterBias] };
    let mlp: &[LayerPart] = match experts {
        ExpertFormat::Mxfp4 => &MXFP4_PARTS,
        ExpertFormat::Bf16 => &BF16_PARTS,
    };
    // A matrix for both ends is listed once, as the one that every token is multiplied with.
    let mut parts: Vec<Part> = (!config.tie_word_embeddings).then_some(Part::Embedding).into_iter().collect();
    for layer in 0..config.num_hidden_layers {
        parts.extend(LAYER_PARTS.iter().chain(router).chain(mlp).map(|&part| Part::Layer(layer, part)));
    }
    parts.extend([Part::FinalNorm, Part::Unembedding]);
    parts
}

/// Whether a checkpoint of this config and format has the part at all.
pub(crate) fn has_part(config: &Config, experts: ExpertFormat, part: Part) -> bool {
    let Part::Layer(layer, layer_part) = part else { return true };
    let present = match layer_part {
        LayerPart::RouterWeight | LayerPart::RouterBias => !config.is_dense(),
        LayerPart::GateUpBlocks | LayerPart::GateUpScales | LayerPart::DownBlocks | LayerPart::DownScales => {
            experts == ExpertFormat::Mxfp4
        }
        LayerPart::GateUpBf16 | LayerPart::DownBf16 => experts == ExpertFormat::Bf16,
        _ => true,
    };
    present && layer < config.num_hidden_layers
}

/// Element types that a part may have in safetensors files: what is computed in f32 anyway, or multiplied as
/// it is, also those that mixed-precision tuning writes.
pub(crate) fn accepted_dtypes(part: Part) -> &'static [Dtype] {
    match part {
        Part::Layer(_, LayerPart::GateUpBf16 | LayerPart::DownBf16) => &[Dtype::Bf16],
        _ if dtype(part) == Dtype::U8 => &[Dtype::U8],
        _ => &[Dtype::Bf16, Dtype::F16, Dtype::F32],
    }
}

/// Element type of a part, as published.
pub fn dtype(part: Part) -> Dtype {
    match part {
        Part::Layer(
            _,
            LayerPart::GateUpBlocks | LayerPart::GateUpScales | LayerPart::DownBlocks | LayerPart::DownScales,
        ) => Dtype::U8,
        _ => Dtype::Bf16,
    }
}

/// Shape of a part; see [`LayerPart`] for the letters.
pub fn shape(config: &Config, part: Part) -> Vec<usize> {
    let hidden = config.hidden_size;
    match part {
        Part::Embedding | Part::Unembedding => vec![config.vocab_size, hidden],
        Part::FinalNorm => vec![hidden],
        Part::Layer(_, part) => layer_shape(config, part),
    }
}

fn layer_shape(config: &Config, part: LayerPart) -> Vec<usize> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let q_rows = config.num_attention_heads * config.head_dim;
    let kv_rows = config.num_key_value_heads * config.head_dim;
    let experts = |rest: &[usize]| {
        let axis = (!config.is_dense()).then_some(config.num_local_experts);
        axis.into_iter().chain(rest.iter().copied()).collect()
    };
    match part {
        LayerPart::AttentionNorm | LayerPart::MlpNorm | LayerPart::OutBias => vec![hidden],
        LayerPart::QWeight => vec![q_rows, hidden],
        LayerPart::QBias => vec![q_rows],
        LayerPart::KWeight | LayerPart::VWeight => vec![kv_rows, hidden],
        LayerPart::KBias | LayerPart::VBias => vec![kv_rows],
        LayerPart::OutWeight => vec![hidden, q_rows],
        LayerPart::Sinks => vec![config.num_attention_heads],
        LayerPart::RouterWeight => experts(&[hidden]),
        LayerPart::RouterBias => experts(&[]),
        LayerPart::GateUpBlocks => experts(&[2 * intermediate, hidden / BLOCK_VALUES, MXFP4_CODE_BYTES]),
        LayerPart::GateUpScales => experts(&[2 * intermediate, hidden / BLOCK_VALUES]),
        LayerPart::GateUpBias => experts(&[2 * intermediate]),
        LayerPart::DownBlocks => experts(&[hidden, intermediate / BLOCK_VALUES, MXFP4_CODE_BYTES]),
        LayerPart::DownScales => experts(&[hidden, intermediate / BLOCK_VALUES]),
        LayerPart::DownBias => experts(&[hidden]),
        LayerPart::GateUpBf16 => experts(&[hidden, 2 * intermediate]),
        LayerPart::DownBf16 => experts(&[intermediate, hidden]),
    }
}

/// Bytes of a part.
pub fn num_bytes(config: &Config, part: Part) -> usize {
    shape(config, part).iter().product::<usize>() * dtype(part).num_bytes()
}

/// The Hugging Face name; also the canonical name from which synthetic weights are made.
pub fn hugging_face(config: &Config, part: Part) -> String {
    let (layer, part) = match part {
        Part::Embedding => return "model.embed_tokens.weight".to_string(),
        Part::Unembedding if config.tie_word_embeddings => return hugging_face(config, Part::Embedding),
        Part::Unembedding => return LM_HEAD.to_string(),
        Part::FinalNorm => return "model.norm.weight".to_string(),
        Part::Layer(layer, part) => (layer, part),
    };
    let mlp = if config.is_dense() { "mlp" } else { "mlp.experts" };
    let attention = |rest: &str| format!("model.layers.{layer}.self_attn.{rest}");
    let experts = |rest: &str| format!("model.layers.{layer}.{mlp}.{rest}");
    match part {
        LayerPart::AttentionNorm => format!("model.layers.{layer}.input_layernorm.weight"),
        LayerPart::QWeight => attention("q_proj.weight"),
        LayerPart::QBias => attention("q_proj.bias"),
        LayerPart::KWeight => attention("k_proj.weight"),
        LayerPart::KBias => attention("k_proj.bias"),
        LayerPart::VWeight => attention("v_proj.weight"),
        LayerPart::VBias => attention("v_proj.bias"),
        LayerPart::OutWeight => attention("o_proj.weight"),
        LayerPart::OutBias => attention("o_proj.bias"),
        LayerPart::Sinks => attention("sinks"),
        LayerPart::MlpNorm => format!("model.layers.{layer}.post_attention_layernorm.weight"),
        LayerPart::RouterWeight => format!("model.layers.{layer}.mlp.router.weight"),
        LayerPart::RouterBias => format!("model.layers.{layer}.mlp.router.bias"),
        LayerPart::GateUpBlocks => experts("gate_up_proj_blocks"),
        LayerPart::GateUpScales => experts("gate_up_proj_scales"),
        LayerPart::GateUpBias => experts("gate_up_proj_bias"),
        LayerPart::DownBlocks => experts("down_proj_blocks"),
        LayerPart::DownScales => experts("down_proj_scales"),
        LayerPart::DownBias => experts("down_proj_bias"),
        LayerPart::GateUpBf16 => experts("gate_up_proj"),
        LayerPart::DownBf16 => experts("down_proj"),
    }
}

/// The other name of a part: Unsloth's router is a module with a linear layer inside, where the model library
/// has the numbers themselves. Source: `unsloth_zoo/temporary_patches/gpt_oss.py`, which reads both.
pub(crate) fn other_hugging_face(part: Part) -> Option<String> {
    let Part::Layer(layer, part) = part else { return None };
    let end = match part {
        LayerPart::RouterWeight => "weight",
        LayerPart::RouterBias => "bias",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.mlp.router.linear.{end}"))
}

/// A tensor of the `original/` layout, and the rows of it that make up a part; `None` means all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalName {
    /// The tensor's name.
    pub name: String,
    /// Rows of the first axis.
    pub rows: Option<Range<usize>>,
}

/// The name in OpenAI's `original/` layout, which has no bf16 experts (their names are those of the scheme
/// anyway).
pub fn original(config: &Config, part: Part) -> OriginalName {
    let whole = |name: String| OriginalName { name, rows: None };
    let (layer, part) = match part {
        Part::Embedding => return whole("embedding.weight".to_string()),
        Part::Unembedding => return whole("unembedding.weight".to_string()),
        Part::FinalNorm => return whole("norm.scale".to_string()),
        Part::Layer(layer, part) => (layer, part),
    };
    let (name, rows) = match part {
        LayerPart::QWeight => ("attn.qkv.weight", Some(fused_rows(config, 0))),
        LayerPart::KWeight => ("attn.qkv.weight", Some(fused_rows(config, 1))),
        LayerPart::VWeight => ("attn.qkv.weight", Some(fused_rows(config, 2))),
        LayerPart::QBias => ("attn.qkv.bias", Some(fused_rows(config, 0))),
        LayerPart::KBias => ("attn.qkv.bias", Some(fused_rows(config, 1))),
        LayerPart::VBias => ("attn.qkv.bias", Some(fused_rows(config, 2))),
        LayerPart::AttentionNorm => ("attn.norm.scale", None),
        LayerPart::OutWeight => ("attn.out.weight", None),
        LayerPart::OutBias => ("attn.out.bias", None),
        LayerPart::Sinks => ("attn.sinks", None),
        LayerPart::MlpNorm => ("mlp.norm.scale", None),
        LayerPart::RouterWeight => ("mlp.gate.weight", None),
        LayerPart::RouterBias => ("mlp.gate.bias", None),
        LayerPart::GateUpBlocks => ("mlp.mlp1_weight.blocks", None),
        LayerPart::GateUpScales => ("mlp.mlp1_weight.scales", None),
        LayerPart::GateUpBias => ("mlp.mlp1_bias", None),
        LayerPart::DownBlocks => ("mlp.mlp2_weight.blocks", None),
        LayerPart::DownScales => ("mlp.mlp2_weight.scales", None),
        LayerPart::DownBias => ("mlp.mlp2_bias", None),
        LayerPart::GateUpBf16 => ("mlp.mlp1_weight", None),
        LayerPart::DownBf16 => ("mlp.mlp2_weight", None),
    };
    OriginalName { name: format!("block.{layer}.{name}"), rows }
}

/// Rows of the fused projection: `which` is 0 for q, 1 for k, 2 for v.
pub(crate) fn fused_rows(config: &Config, which: usize) -> Range<usize> {
    let q_rows = config.num_attention_heads * config.head_dim;
    let kv_rows = config.num_key_value_heads * config.head_dim;
    match which {
        0 => 0..q_rows,
        1 => q_rows..q_rows + kv_rows,
        _ => q_rows + kv_rows..q_rows + 2 * kv_rows,
    }
}

/// Rows of the whole fused projection.
pub(crate) fn num_fused_rows(config: &Config) -> usize {
    (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
}
