//! The kind of a gpt-oss: the numbers that the forward pass needs, checked once.
//!
//! Entry point: [`ModelConfig::from_checkpoint`], which turns the checkpoint's config (any member of the
//! family) into numbers that the rest of the room relies on without asking again: heads divide, widths are
//! whole MXFP4 blocks, the experts a token uses exist. The rules are the checkpoint's; they are asked for
//! once more here because a config can also be put together by a program.
//!
//! Layers are dense when `num_experts` is 0 (gpt-oss-15b); such a layer is treated as one expert that every
//! token uses with weight 1, see [`ModelConfig::expert_slots`].

use std::path::Path;

use gptoss_checkpoint as checkpoint;
use gptoss_kernels::{Rope, YarnParams};

use crate::Error;

/// Which arithmetic a loaded model uses, for prefill and decode alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Activations in products with MXFP4 experts and with dense matrices in Q8_0 are int8 per 32 numbers,
    /// the router's excepted; keys and values are bf16. Matrices that are in bf16 are still multiplied in
    /// f32: there is nothing to gain from rounding their inputs.
    Fast,
    /// Activations, keys and values are f32.
    Exact,
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// As they were computed.
    F32,
    /// Rounded to bf16.
    Bf16,
    /// int8 with a f32 scale a head: 1.06 bytes a number for heads of 64.
    Q8,
}

impl KvFormat {
    /// Bytes of one position's keys in one layer.
    pub(crate) fn row_bytes(self, num_kv_heads: usize, head_dim: usize) -> usize {
        let numbers = num_kv_heads * head_dim;
        match self {
            KvFormat::F32 => numbers * size_of::<f32>(),
            KvFormat::Bf16 => numbers * size_of::<u16>(),
            KvFormat::Q8 => numbers + num_kv_heads * size_of::<f32>(),
        }
    }
}

impl Precision {
    /// How keys and values are kept unless somebody says otherwise.
    pub fn kv_format(self) -> KvFormat {
        match self {
            Precision::Fast => KvFormat::Bf16,
            Precision::Exact => KvFormat::F32,
        }
    }
}

/// In which format the dense matrices of a loaded model are: those of attention, the embedding and the
/// unembedding. The router's stay as the checkpoint has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenseMode {
    /// As the checkpoint has them, which for the published models is bf16.
    AsStored,
    /// Q8_0: int8 with a scale for 32 numbers, made when the model is loaded. For [`Precision::Fast`].
    Q8,
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The arithmetic.
    pub precision: Precision,
    /// The format of dense matrices.
    pub dense: DenseMode,
    /// How many experts, of all layers together, are held at a time where they are used, as
    /// [`MemoryPlan`](crate::MemoryPlan) says: in memory while all are on disk, or on the card while all are
    /// in the host's memory. `None` takes all where the checkpoint has them, or to the card.
    pub expert_slots: Option<usize>,
}

/// What a layer's attention looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Every earlier position.
    Full,
    /// The last `sliding_window` positions, the current one included.
    Windowed,
}

/// The numbers of a gpt-oss. Made by [`ModelConfig::from_checkpoint`], which checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `L`.
    pub num_layers: usize,
    /// `C`.
    pub hidden_size: usize,
    /// `F`.
    pub intermediate_size: usize,
    /// `H`.
    pub num_query_heads: usize,
    /// `K`; divides `H`.
    pub num_kv_heads: usize,
    /// `D`; even.
    pub head_dim: usize,
    /// `E`; 0 in a dense model.
    pub num_experts: usize,
    /// `A`; at most `E`, 0 in a dense model.
    pub experts_per_token: usize,
    /// `V`.
    pub vocab_size: usize,
    /// Whether the embedding is the unembedding too.
    pub is_tied: bool,
    /// Keys a windowed layer looks at, the current token included. Units: tokens.
    pub sliding_window: usize,
    /// One a layer.
    pub layer_kinds: Vec<LayerKind>,
    /// Positions the model was made for. Units: tokens.
    pub max_position_embeddings: usize,
    /// Epsilon inside the root of every norm.
    pub rms_norm_eps: f32,
    /// Where SwiGLU clamps its two inputs.
    pub swiglu_limit: f32,
    /// The factor inside SwiGLU's sigmoid.
    pub swiglu_alpha: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched.
    pub yarn: checkpoint::Yarn,
}

impl ModelConfig {
    /// Reads and checks a checkpoint's config.
    ///
    /// Errors: `Checkpoint` with the field, what it holds and what is needed, when `config` breaks one of its
    /// rules (one from a file never does).
    pub fn from_checkpoint(config: &checkpoint::Config) -> Result<ModelConfig, Error> {
        config.check(Path::new("config.json"))?;
        let layer_kinds = config
            .layer_types
            .iter()
            .map(|kind| match kind {
                checkpoint::LayerKind::Full => LayerKind::Full,
                checkpoint::LayerKind::Sliding => LayerKind::Windowed,
            })
            .collect();
        Ok(ModelConfig {
            num_layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_query_heads: config.num_attention_heads,
            num_kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            num_experts: config.num_local_experts,
            experts_per_token: config.experts_per_token,
            vocab_size: config.vocab_size,
            is_tied: config.tie_word_embeddings,
            sliding_window: config.sliding_window,
            layer_kinds,
            max_position_embeddings: config.max_position_embeddings,
            rms_norm_eps: config.rms_norm_eps,
            swiglu_limit: config.swiglu_limit,
            swiglu_alpha: config.swiglu_alpha,
            rope_theta: config.rope_theta,
            yarn: config.rope,
        })
    }

    /// The rotations of its positions.
    pub(crate) fn rope(&self) -> Rope {
        let yarn = YarnParams {
            factor: self.yarn.factor,
            beta_fast: self.yarn.beta_fast,
            beta_slow: self.yarn.beta_slow,
            original_max_position_embeddings: self.yarn.original_max_position_embeddings,
            truncate: self.yarn.truncate,
        };
        Rope::yarn(self.head_dim, self.rope_theta, &yarn)
    }

    /// The number of expert matrices a layer holds: `E`, or 1 in a dense model.
    pub fn expert_slots(&self) -> usize {
        self.num_experts.max(1)
    }

    /// The number of expert matrices a token is multiplied with: `A`, or 1 in a dense model.
    pub fn active_experts(&self) -> usize {
        self.experts_per_token.max(1)
    }
}
