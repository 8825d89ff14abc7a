//! From the metadata of a GGUF file to a [`Config`].
//!
//! Entry points: [`Dialect::of`] and [`config`]. llama.cpp calls the architecture `gpt-oss`, early Ollama
//! files call it `gptoss` and leave out what the reference fixes; both prefix their keys with that name. An
//! absent key takes the published value, except the sizes, which every file has. Values that would change the
//! arithmetic in a way this program does not compute (another rope scaling, value heads of another width) are
//! refused.
//!
//! GGUF has no key for YaRN's `truncate`: it is false, as in every published config. It does not know
//! tensors, but the number of rows of the embedding is the size of the vocabulary where no key says it.

use super::file::GgufFile;
use super::header::GgufValue;
use crate::config::{Config, LayerKind, NUM_LAYERS_MAX, Yarn};
use crate::error::Error;
use crate::preset::{PUBLISHED_EOS, PUBLISHED_VOCAB_SIZE, Preset, alternating_layers};

/// Which program's names a file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Architecture `gpt-oss`: llama.cpp, and what is converted with its tools.
    LlamaCpp,
    /// Architecture `gptoss`: Ollama's own converter.
    Ollama,
}

impl Dialect {
    /// The dialect that a file's `general.architecture` names.
    ///
    /// Errors: [`Error::UnknownArchitecture`].
    pub(crate) fn of(file: &GgufFile) -> Result<Dialect, Error> {
        match file.text("general.architecture") {
            Some("gpt-oss") => Ok(Dialect::LlamaCpp),
            Some("gptoss") => Ok(Dialect::Ollama),
            found => {
                let found = found.unwrap_or("missing").chars().take(80).collect();
                Err(Error::UnknownArchitecture { path: file.path().to_path_buf(), found })
            }
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Dialect::LlamaCpp => "gpt-oss",
            Dialect::Ollama => "gptoss",
        }
    }
}

/// Reads and checks the architecture; `embedding_rows` is the vocabulary's size in a file that does not say
/// it.
///
/// Errors: [`Error::BadConfig`] with the key, what it holds and the rule.
pub(crate) fn config(
    file: &GgufFile,
    dialect: Dialect,
    embedding_rows: Option<usize>,
) -> Result<Config, Error> {
    let keys = Keys { file, prefix: dialect.prefix() };
    let published = Preset::GptOss20b.config();
    let num_hidden_layers = keys.required("block_count")?;
    let vocab_size = match keys.count("vocab_size")? {
        Some(size) => size,
        None => embedding_rows.ok_or_else(|| file.broken("vocab_size", "missing", "present"))?,
    };
    let intermediate_size = match keys.count("expert_feed_forward_length")? {
        Some(size) => size,
        None => keys.count("feed_forward_length")?.unwrap_or(published.intermediate_size),
    };
    let head_dim = keys.count("attention.key_length")?.unwrap_or(published.head_dim);
    keys.require("attention.value_length", head_dim as f64)?;
    let rope_theta = keys.real("rope.freq_base")?.unwrap_or(published.rope_theta);
    keys.require("rope.freq_base_swa", rope_theta)?;
    let rope = yarn(&keys, published.rope)?;
    let stretched = (rope.original_max_position_embeddings as f64 * rope.factor) as usize;
    let config = Config {
        num_hidden_layers,
        hidden_size: keys.required("embedding_length")?,
        intermediate_size,
        head_dim,
        num_attention_heads: keys.required("attention.head_count")?,
        num_key_value_heads: keys.required("attention.head_count_kv")?,
        num_local_experts: keys.required("expert_count")?,
        experts_per_token: keys.count("expert_used_count")?.unwrap_or(published.experts_per_token),
        vocab_size,
        sliding_window: keys.count("attention.sliding_window")?.unwrap_or(published.sliding_window),
        layer_types: layer_types(&keys, num_hidden_layers)?,
        rope_theta,
        max_position_embeddings: keys.count("context_length")?.unwrap_or(stretched),
        rope,
        rms_norm_eps: keys
            .real("attention.layer_norm_rms_epsilon")?
            .map_or(published.rms_norm_eps, |eps| eps as f32),
        swiglu_limit: keys.real("swiglu_clamp_exp")?.map_or(published.swiglu_limit, |limit| limit as f32),
        swiglu_alpha: published.swiglu_alpha,
        eos_token_ids: eos_token_ids(file, vocab_size)?,
        bos_token_id: token_id(file, "tokenizer.ggml.bos_token_id")?,
        pad_token_id: token_id(file, "tokenizer.ggml.padding_token_id")?,
        // The caller knows whether there is an `output.weight`.
        tie_word_embeddings: false,
    };
    if config.num_local_experts == 0 {
        return Err(file.broken("expert_count", 0, "at least 1: GGUF has no names for a dense gpt-oss"));
    }
    config.check(file.path())?;
    Ok(config)
}

fn yarn(keys: &Keys<'_>, published: Yarn) -> Result<Yarn, Error> {
    const TYPE: &str = "rope.scaling.type";
    if let Some(found) = keys.file.text(&keys.full(TYPE)).filter(|&kind| kind != "yarn") {
        return Err(keys.file.broken(TYPE, found, "yarn: nothing else is part of gpt-oss"));
    }
    // Both multiply what 0.1 ln(factor) + 1 gives, unlike the attention_factor of a config.json, which
    // replaces it.
    keys.require("rope.scaling.attn_factor", 1.0)?;
    keys.require("rope.scaling.yarn_attn_factor", 1.0)?;
    let original = keys.count("rope.scaling.original_context_length")?;
    Ok(Yarn {
        factor: keys.real("rope.scaling.factor")?.unwrap_or(published.factor),
        beta_fast: keys.real("rope.scaling.yarn_beta_fast")?.unwrap_or(published.beta_fast),
        beta_slow: keys.real("rope.scaling.yarn_beta_slow")?.unwrap_or(published.beta_slow),
        original_max_position_embeddings: original.unwrap_or(published.original_max_position_embeddings),
        truncate: false,
    })
}

/// A list says it layer by layer (nonzero: sliding); a number n means that every n-th layer is full.
fn layer_types(keys: &Keys<'_>, num_layers: usize) -> Result<Vec<LayerKind>, Error> {
    const FIELD: &str = "attention.sliding_window_pattern";
    let num_layers = num_layers.min(NUM_LAYERS_MAX);
    let Some(value) = keys.file.value(&keys.full(FIELD)) else {
        return Ok(alternating_layers(num_layers));
    };
    let kind = |sliding: bool| if sliding { LayerKind::Sliding } else { LayerKind::Full };
    if let GgufValue::Unsigned(period) = value {
        let is_sliding = |layer: usize| *period == 0 || layer as u64 % period < period - 1;
        return Ok((0..num_layers).map(|layer| kind(is_sliding(layer))).collect());
    }
    match keys.file.numbers(value) {
        Some(flags) if flags.len() >= num_layers => {
            Ok(flags[..num_layers].iter().map(|&flag| kind(flag != 0.0)).collect())
        }
        _ => Err(keys.file.broken(FIELD, value, "a number or one flag for each layer")),
    }
}

fn eos_token_ids(file: &GgufFile, vocab_size: usize) -> Result<Vec<u32>, Error> {
    if vocab_size == PUBLISHED_VOCAB_SIZE {
        return Ok(PUBLISHED_EOS.to_vec());
    }
    let keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    let mut ids = Vec::new();
    for key in keys {
        ids.extend(token_id(file, key)?);
    }
    if let Some(listed) = file.value("tokenizer.ggml.eos_token_ids").and_then(|value| file.numbers(value)) {
        ids.extend(listed.into_iter().filter(|&id| id >= 0.0).map(|id| id as u32));
    }
    let mut seen = std::collections::HashSet::new();
    ids.retain(|&id| seen.insert(id));
    Ok(ids)
}

fn token_id(file: &GgufFile, key: &'static str) -> Result<Option<u32>, Error> {
    match file.value(key) {
        None => Ok(None),
        Some(GgufValue::Unsigned(id)) if *id <= u32::MAX.into() => Ok(Some(*id as u32)),
        Some(GgufValue::Signed(id)) if (0..=u32::MAX.into()).contains(id) => Ok(Some(*id as u32)),
        Some(found) => Err(file.broken(key, found, "a token id")),
    }
}

/// Reads the keys of one architecture.
struct Keys<'a> {
    file: &'a GgufFile,
    prefix: &'static str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    /// A number, or a list whose elements are all the same number.
    fn real(&self, key: &'static str) -> Result<Option<f64>, Error> {
        let Some(value) = self.file.value(&self.full(key)) else { return Ok(None) };
        let numbers = self.file.numbers(value).unwrap_or_default();
        match numbers.first() {
            Some(first) if numbers.iter().all(|number| number == first) => Ok(Some(*first)),
            _ => Err(self.file.broken(key, value, "one number")),
        }
    }

    fn count(&self, key: &'static str) -> Result<Option<usize>, Error> {
        match self.real(key)? {
            None => Ok(None),
            Some(number) if (0.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0 => {
                Ok(Some(number as usize))
            }
            Some(number) => Err(self.file.broken(key, number, "a whole number")),
        }
    }

    fn required(&self, key: &'static str) -> Result<usize, Error> {
        self.count(key)?.ok_or_else(|| self.file.broken(key, "missing", "present"))
    }

    /// The key may be absent, but when it is there it has this one value.
    fn require(&self, key: &'static str, only: f64) -> Result<(), Error> {
        match self.real(key)? {
            Some(found) if found != only => {
                Err(self.file.broken(key, found, &format!("{only}: nothing else is part of gpt-oss")))
            }
            _ => Ok(()),
        }
    }
}
