//! What is each part called in a GGUF file?
//!
//! Two schemes differ in four names; they do not collide, so every part has a list of spellings and the first
//! that a file holds counts. Where a file splits or joins what a [`LayerPart`] is, the spellings are those of
//! the whole: early Ollama files join the projections of attention, and the gate and up projection come as
//! two tensors or one.
//!
//! Source: the specification of architecture and files, section 2.6. GGUF names appear in this file and
//! nowhere else.

use crate::part::{LayerPart, Part};

/// Spellings of a part that is one whole tensor; none for the gate and up projection.
pub(crate) fn spellings(part: Part) -> Vec<String> {
    let (layer, part) = match part {
        Part::Embedding => return vec!["token_embd.weight".to_string()],
        Part::Unembedding => return vec!["output.weight".to_string()],
        Part::FinalNorm => return vec!["output_norm.weight".to_string()],
        Part::Layer(layer, part) => (layer, part),
    };
    let suffixes: &[&str] = match part {
        LayerPart::AttentionNorm => &["attn_norm.weight"],
        LayerPart::QWeight => &["attn_q.weight"],
        LayerPart::QBias => &["attn_q.bias"],
        LayerPart::KWeight => &["attn_k.weight"],
        LayerPart::KBias => &["attn_k.bias"],
        LayerPart::VWeight => &["attn_v.weight"],
        LayerPart::VBias => &["attn_v.bias"],
        LayerPart::OutWeight => &["attn_output.weight", "attn_out.weight"],
        LayerPart::OutBias => &["attn_output.bias", "attn_out.bias"],
        LayerPart::Sinks => &["attn_sinks.weight", "attn_sinks"],
        LayerPart::MlpNorm => &["post_attention_norm.weight", "ffn_norm.weight"],
        LayerPart::RouterWeight => &["ffn_gate_inp.weight"],
        LayerPart::RouterBias => &["ffn_gate_inp.bias"],
        LayerPart::DownBlocks | LayerPart::DownScales | LayerPart::DownBf16 => &["ffn_down_exps.weight"],
        LayerPart::DownBias => &["ffn_down_exps.bias"],
        LayerPart::GateUpBlocks | LayerPart::GateUpScales | LayerPart::GateUpBf16 | LayerPart::GateUpBias => {
            &[]
        }
    };
    suffixes.iter().map(|suffix| in_layer(layer, suffix)).collect()
}

/// The joined projections of attention: rows of q, then k, then v. `end` is `weight` or `bias`.
pub(crate) fn fused_attention(layer: usize, end: &str) -> String {
    in_layer(layer, &format!("attn_qkv.{end}"))
}

/// The gate and the up projection of all experts, apart. `end` is `weight` or `bias`.
pub(crate) fn gate_and_up(layer: usize, end: &str) -> [String; 2] {
    ["ffn_gate_exps", "ffn_up_exps"].map(|name| in_layer(layer, &format!("{name}.{end}")))
}

/// The same in one tensor.
pub(crate) fn joined_gate_up(layer: usize, end: &str) -> String {
    in_layer(layer, &format!("ffn_gate_up_exps.{end}"))
}

/// Whether a tensor with this name would take part in the computation if it were known.
pub(crate) fn changes_the_model(name: &str) -> bool {
    ["blk.", "token_embd", "output", "rope"].iter().any(|prefix| name.starts_with(prefix))
}

fn in_layer(layer: usize, suffix: &str) -> String {
    format!("blk.{layer}.{suffix}")
}
