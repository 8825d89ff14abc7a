//! The numbers of one member of the gpt-oss family, read from a `config.json` and checked.
//!
//! Three spellings lead to the same [`Config`]: the published Hugging Face file (`rope_scaling`), the one
//! newer libraries write (`rope_parameters`, `swiglu_alpha`), and the short file of OpenAI's `original/`
//! folder. The parsing itself is in `config_json.rs`; here are the fields and their bounds. Bounds come
//! before any allocation: a config is a stranger's file, and everything later multiplies these numbers
//! without asking again.
//!
//! A `Config` describes shapes and constants only. It does not know which files hold the weights, how experts
//! are stored, or what a layer computes.

use std::path::Path;

use gptoss_formats::BLOCK_VALUES;

use crate::Error;

/// Layers a model may have.
pub const NUM_LAYERS_MAX: usize = 128;
/// Width of the residual stream, in elements.
pub const HIDDEN_SIZE_MAX: usize = 16_384;
/// Width of the MLP, in elements.
pub const INTERMEDIATE_SIZE_MAX: usize = 65_536;
/// Experts of a layer.
pub const NUM_EXPERTS_MAX: usize = 1_024;
/// Rows of the embedding.
pub const VOCAB_SIZE_MAX: usize = 300_000;
/// Query heads of a layer.
pub const NUM_HEADS_MAX: usize = 256;
/// Elements of one head.
pub const HEAD_DIM_MAX: usize = 256;
/// Positions of a context.
pub const POSITIONS_MAX: usize = 1 << 22;

/// Whether a layer's attention looks at a window or at everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// The last `sliding_window` keys, the current one included.
    Sliding,
    /// All keys so far.
    Full,
}

/// The YaRN extension of the rotary embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// By how much the context was stretched.
    pub factor: f64,
    /// Rotations above which a frequency is kept (`ntk_beta` in `original/`).
    pub beta_fast: f64,
    /// Rotations below which a frequency is divided by `factor` (`ntk_alpha` in `original/`).
    pub beta_slow: f64,
    /// Context before the stretch, in tokens.
    pub original_max_position_embeddings: usize,
    /// Whether the bounds of the ramp are rounded to whole pairs; false in every gpt-oss.
    pub truncate: bool,
}

/// The architecture of one checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// L.
    pub num_hidden_layers: usize,
    /// C, a multiple of 32.
    pub hidden_size: usize,
    /// F, a multiple of 32.
    pub intermediate_size: usize,
    /// D, even.
    pub head_dim: usize,
    /// H, a multiple of K.
    pub num_attention_heads: usize,
    /// K.
    pub num_key_value_heads: usize,
    /// E; 0 means a dense MLP without a router.
    pub num_local_experts: usize,
    /// A; 0 exactly when the model is dense.
    pub experts_per_token: usize,
    /// V.
    pub vocab_size: usize,
    /// Keys a sliding layer sees, the current token included.
    pub sliding_window: usize,
    /// One entry a layer.
    pub layer_types: Vec<LayerKind>,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// The YaRN stretch.
    pub rope: Yarn,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Inside the square root of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Clamp of the SwiGLU inputs.
    pub swiglu_limit: f32,
    /// Slope of the SwiGLU sigmoid.
    pub swiglu_alpha: f32,
    /// Whether the embedding is the unembedding too; no published model has it so.
    pub tie_word_embeddings: bool,
    /// Tokens that end a generation, from `generation_config.json` where there is one.
    pub eos_token_ids: Vec<u32>,
    /// First token of a document, where the files name one.
    pub bos_token_id: Option<u32>,
    /// Padding token, where the files name one.
    pub pad_token_id: Option<u32>,
}

impl Config {
    /// Whether the MLP has no experts and no router.
    pub fn is_dense(&self) -> bool {
        self.num_local_experts == 0
    }

    /// Checks every bound and every relation between the fields.
    ///
    /// Errors: [`Error::BadConfig`] with the field, the value and the rule; `path` only labels the message.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let rules = Rules { path };
        self.check_sizes(&rules)?;
        self.check_relations(&rules)?;
        self.check_constants(&rules)
    }

    fn check_sizes(&self, rules: &Rules<'_>) -> Result<(), Error> {
        rules.within("num_hidden_layers", self.num_hidden_layers, 1, NUM_LAYERS_MAX)?;
        rules.within("hidden_size", self.hidden_size, 1, HIDDEN_SIZE_MAX)?;
        rules.within("intermediate_size", self.intermediate_size, 1, INTERMEDIATE_SIZE_MAX)?;
        rules.within("head_dim", self.head_dim, 2, HEAD_DIM_MAX)?;
        rules.within("num_attention_heads", self.num_attention_heads, 1, NUM_HEADS_MAX)?;
        rules.within("num_key_value_heads", self.num_key_value_heads, 1, NUM_HEADS_MAX)?;
        rules.within("num_local_experts", self.num_local_experts, 0, NUM_EXPERTS_MAX)?;
        rules.within("vocab_size", self.vocab_size, 1, VOCAB_SIZE_MAX)?;
        rules.within("sliding_window", self.sliding_window, 1, POSITIONS_MAX)?;
        rules.within("max_position_embeddings", self.max_position_embeddings, 1, POSITIONS_MAX)?;
        let original = self.rope.original_max_position_embeddings;
        rules.within("YaRN original_max_position_embeddings", original, 1, POSITIONS_MAX)
    }

    fn check_relations(&self, rules: &Rules<'_>) -> Result<(), Error> {
        rules.multiple("hidden_size", self.hidden_size, BLOCK_VALUES)?;
        rules.multiple("intermediate_size", self.intermediate_size, BLOCK_VALUES)?;
        rules.multiple("head_dim", self.head_dim, 2)?;
        rules.multiple("num_attention_heads", self.num_attention_heads, self.num_key_value_heads)?;
        let least_active = usize::from(!self.is_dense());
        rules.within("num_experts_per_tok", self.experts_per_token, least_active, self.num_local_experts)?;
        if self.layer_types.len() != self.num_hidden_layers {
            let expected = format!("one entry for each of the {} layers", self.num_hidden_layers);
            return Err(rules.broken("layer_types", format!("{} entries", self.layer_types.len()), expected));
        }
        let in_vocabulary = |id: &u32| (*id as usize) < self.vocab_size;
        let named = self.eos_token_ids.iter().chain(&self.bos_token_id).chain(&self.pad_token_id);
        match named.copied().find(|id| !in_vocabulary(id)) {
            None => Ok(()),
            Some(id) => {
                let expected = format!("token ids below vocab_size {}", self.vocab_size);
                Err(rules.broken("eos_token_id, bos_token_id or pad_token_id", id, expected))
            }
        }
    }

    fn check_constants(&self, rules: &Rules<'_>) -> Result<(), Error> {
        rules.real("rope_theta", self.rope_theta, 1.0, 1e12)?;
        rules.real("YaRN factor", self.rope.factor, 1.0 - 1e-9, 1e6)?;
        rules.real("YaRN beta_slow", self.rope.beta_slow, 0.0, 1e6)?;
        rules.real("YaRN beta_fast", self.rope.beta_fast, self.rope.beta_slow, 1e6)?;
        rules.real("rms_norm_eps", self.rms_norm_eps.into(), 0.0, 1.0)?;
        rules.real("swiglu_limit", self.swiglu_limit.into(), 0.0, 1e6)?;
        rules.real("swiglu_alpha", self.swiglu_alpha.into(), 0.0, 1e6)
    }
}

/// The three kinds of rules, with the file that is blamed.
struct Rules<'a> {
    path: &'a Path,
}

impl Rules<'_> {
    fn broken(&self, field: &'static str, found: impl ToString, expected: String) -> Error {
        Error::BadConfig { path: self.path.to_path_buf(), field, found: found.to_string(), expected }
    }

    fn within(&self, field: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(self.broken(field, value, format!("from {least} to {most}")))
    }

    fn multiple(&self, field: &'static str, value: usize, of: usize) -> Result<(), Error> {
        if value.is_multiple_of(of) {
            return Ok(());
        }
        Err(self.broken(field, value, format!("a multiple of {of}")))
    }

    /// `above < value <= most`; false for NaN.
    fn real(&self, field: &'static str, value: f64, above: f64, most: f64) -> Result<(), Error> {
        if value > above && value <= most {
            return Ok(());
        }
        Err(self.broken(field, value, format!("above {above} and at most {most}")))
    }
}
