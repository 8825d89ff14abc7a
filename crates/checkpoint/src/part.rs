//! The vocabulary of this room: which piece of a model is meant, from which kind of files.
//!
//! The entry point is [`Part`]: callers ask for `Part::Layer(3, LayerPart::Sinks)`, never for a published
//! tensor name, so that the naming schemes stay in one file (`names.rs`). Everything here is a closed set and
//! therefore an enum. The shapes on the variants are the contract with the model room.
//!
//! Shape letters: H query heads, K kv heads, D head_dim, C hidden_size, F intermediate_size, E experts, V
//! vocabulary. A dense model (no experts) has the same MLP parts without the leading E axis and without a
//! router.

use std::fmt;

use crate::{Dialect, Preset};

/// One tensor of the model, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Token embedding `[V, C]`, bf16.
    Embedding,
    /// Output projection `[V, C]`, bf16; the embedding's tensor where both are one.
    Unembedding,
    /// Weight of the last RMSNorm `[C]`, bf16.
    FinalNorm,
    /// A tensor of the layer with this index.
    Layer(usize, LayerPart),
}

/// One tensor of a layer, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerPart {
    /// RMSNorm weight before attention `[C]`.
    AttentionNorm,
    /// Query projection `[H*D, C]`.
    QWeight,
    /// Query bias `[H*D]`.
    QBias,
    /// Key projection `[K*D, C]`.
    KWeight,
    /// Key bias `[K*D]`.
    KBias,
    /// Value projection `[K*D, C]`.
    VWeight,
    /// Value bias `[K*D]`.
    VBias,
    /// Attention output projection `[C, H*D]`.
    OutWeight,
    /// Attention output bias `[C]`.
    OutBias,
    /// Learned sink logit of each query head `[H]`.
    Sinks,
    /// RMSNorm weight before the MLP `[C]`.
    MlpNorm,
    /// Router weight `[E, C]`; absent in dense models.
    RouterWeight,
    /// Router bias `[E]`; absent in dense models.
    RouterBias,
    /// MXFP4 codes of the gate and up projection `[E, 2F, C/32, 16]`, rows interleaved gate, up, gate, up.
    GateUpBlocks,
    /// E8M0 scales of the gate and up projection `[E, 2F, C/32]`.
    GateUpScales,
    /// Bias of the gate and up projection `[E, 2F]`, interleaved like the rows.
    GateUpBias,
    /// MXFP4 codes of the down projection `[E, C, F/32, 16]`.
    DownBlocks,
    /// E8M0 scales of the down projection `[E, C, F/32]`.
    DownScales,
    /// Bias of the down projection `[E, C]`.
    DownBias,
    /// Dequantised gate and up projection `[E, C, 2F]`: input first, transposed relative to the blocks.
    GateUpBf16,
    /// Dequantised down projection `[E, F, C]`: input first, transposed relative to the blocks.
    DownBf16,
}

/// How the MLP weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertFormat {
    /// As published: 4-bit codes with one scale for 32 values.
    Mxfp4,
    /// As fine-tunes store them: bf16, transposed.
    Bf16,
}

impl ExpertFormat {
    /// The word for it in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            ExpertFormat::Mxfp4 => "mxfp4",
            ExpertFormat::Bf16 => "bf16",
        }
    }
}

/// Where a checkpoint's tensors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Hugging Face names, MXFP4 experts.
    HuggingFaceMxfp4,
    /// Hugging Face names, dequantised bf16 experts: stacked and transposed, or one by one.
    HuggingFaceBf16,
    /// OpenAI's `original/` names with one fused qkv projection, MXFP4 experts.
    Original,
    /// Random weights of a preset's shape, made from this seed when they are asked for.
    Synthetic(Preset, u64),
    /// One GGUF file.
    Gguf(Dialect),
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::HuggingFaceMxfp4 => f.write_str("Hugging Face, MXFP4 experts"),
            Layout::HuggingFaceBf16 => f.write_str("Hugging Face, bf16 experts"),
            Layout::Original => f.write_str("OpenAI original, MXFP4 experts"),
            Layout::Synthetic(preset, seed) => write!(f, "synthetic {preset}, seed {seed}"),
            Layout::Gguf(Dialect::LlamaCpp) => f.write_str("GGUF, llama.cpp's names"),
            Layout::Gguf(Dialect::Ollama) => f.write_str("GGUF, Ollama's names"),
        }
    }
}
