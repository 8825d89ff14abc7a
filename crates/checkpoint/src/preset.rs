//! The named shapes: which numbers does `gpt-oss-20b` stand for?
//!
//! Two are published checkpoints, two were announced without weights (a dense one and a mid-sized mixture),
//! and `tiny` is the shape of the test fixture. A preset is only a [`Config`]: synthetic weights, parameter
//! counts and memory tables start from it. All but `tiny` share the heads, the vocabulary, the windows and
//! the YaRN stretch.
//!
//! Presets do not know where weights come from.

use std::fmt;
use std::str::FromStr;

use crate::config::{Config, LayerKind, Yarn};
use crate::error::Error;

/// Tokens that end a generation in the published vocabulary: return, end of text, call.
pub const PUBLISHED_EOS: [u32; 3] = [200_002, 199_999, 200_012];
/// Rows of the published vocabulary.
pub const PUBLISHED_VOCAB_SIZE: usize = 201_088;

/// A named member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 4 layers, 8 experts, vocabulary of 512: the shape of the test fixture.
    Tiny,
    /// The published 20.9 B.
    GptOss20b,
    /// The published 116.8 B.
    GptOss120b,
    /// The announced dense 15 B.
    GptOss15b,
    /// The announced 90 B with 24 experts.
    GptOss90b,
}

/// All presets, in the order in which they are listed to people.
pub const PRESETS: [Preset; 5] =
    [Preset::Tiny, Preset::GptOss20b, Preset::GptOss120b, Preset::GptOss15b, Preset::GptOss90b];

impl Preset {
    /// The name a person types.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Tiny => "tiny",
            Preset::GptOss20b => "gpt-oss-20b",
            Preset::GptOss120b => "gpt-oss-120b",
            Preset::GptOss15b => "gpt-oss-15b",
            Preset::GptOss90b => "gpt-oss-90b",
        }
    }

    /// The numbers behind the name.
    pub fn config(self) -> Config {
        let published = |num_layers, hidden, intermediate, experts| {
            family_member(num_layers, [hidden, intermediate, 64, 64, 8], experts, PUBLISHED_VOCAB_SIZE)
        };
        match self {
            Preset::Tiny => Config {
                eos_token_ids: vec![2],
                bos_token_id: None,
                pad_token_id: Some(0),
                ..family_member(4, [128, 128, 64, 4, 2], 8, 512)
            },
            Preset::GptOss20b => published(24, 2880, 2880, 32),
            Preset::GptOss120b => published(36, 2880, 2880, 128),
            Preset::GptOss15b => published(40, 4096, 24_064, 0),
            Preset::GptOss90b => published(36, 4096, 8192, 24),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Preset, Error> {
        let known = PRESETS.into_iter().find(|preset| preset.name() == name);
        known.ok_or_else(|| Error::UnknownPreset { found: name.to_string() })
    }
}

/// The alternation of the published models: even layers slide, odd layers see everything.
pub(crate) fn alternating_layers(num_layers: usize) -> Vec<LayerKind> {
    (0..num_layers).map(|layer| if layer % 2 == 0 { LayerKind::Sliding } else { LayerKind::Full }).collect()
}

/// `sizes` is hidden, intermediate, head_dim, query heads, kv heads.
fn family_member(num_layers: usize, sizes: [usize; 5], experts: usize, vocab_size: usize) -> Config {
    let [hidden_size, intermediate_size, head_dim, num_attention_heads, num_key_value_heads] = sizes;
    Config {
        num_hidden_layers: num_layers,
        hidden_size,
        intermediate_size,
        head_dim,
        num_attention_heads,
        num_key_value_heads,
        num_local_experts: experts,
        experts_per_token: if experts == 0 { 0 } else { 4 },
        vocab_size,
        sliding_window: 128,
        layer_types: alternating_layers(num_layers),
        rope_theta: 150_000.0,
        rope: Yarn {
            factor: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 4096,
            truncate: false,
        },
        max_position_embeddings: 131_072,
        rms_norm_eps: 1e-5,
        swiglu_limit: 7.0,
        swiglu_alpha: 1.702,
        eos_token_ids: PUBLISHED_EOS.to_vec(),
        bos_token_id: Some(199_998),
        pad_token_id: Some(199_999),
        tie_word_embeddings: false,
    }
}
