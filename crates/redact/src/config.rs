//! The filter's `config.json`, in either published form.
//!
//! Entry point: [`read_config`]. The Hugging Face form has `model_type` "openai_privacy_filter" and one
//! `sliding_window` for each side; that of `original/` has "privacy_filter" and the two sides by name. What a
//! file leaves out has the published value; every size is bounded before memory is taken for it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use gptoss_checkpoint::{
    HEAD_DIM_MAX, HIDDEN_SIZE_MAX, INTERMEDIATE_SIZE_MAX, NUM_EXPERTS_MAX, NUM_HEADS_MAX, NUM_LAYERS_MAX,
    POSITIONS_MAX, VOCAB_SIZE_MAX, read_at_most,
};
use gptoss_kernels::YarnParams;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::labels::LabelSpace;

/// Bytes that a config may have.
const JSON_BYTES_MAX: u64 = 1 << 20;
/// Tokens that a row may see on one side.
const CONTEXT_MAX: usize = 1 << 14;

/// The architecture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilterConfig {
    /// Rows of the embedding.
    pub(crate) vocab_size: usize,
    /// `C`
    pub(crate) hidden_size: usize,
    /// `F`
    pub(crate) intermediate_size: usize,
    /// Layers.
    pub(crate) num_layers: usize,
    /// `E`
    pub(crate) num_experts: usize,
    /// `A`
    pub(crate) experts_per_token: usize,
    /// `H`
    pub(crate) num_query_heads: usize,
    /// `K`
    pub(crate) num_kv_heads: usize,
    /// `D`
    pub(crate) head_dim: usize,
    /// Keys that a row sees before its own. Units: tokens.
    pub(crate) left_context: usize,
    /// Keys that a row sees after its own. Units: tokens.
    pub(crate) right_context: usize,
    /// Inside the root of the norms.
    pub(crate) rms_norm_eps: f32,
    /// Where gates and ups are cut.
    pub(crate) swiglu_limit: f32,
    /// Base of the rotations.
    pub(crate) rope_theta: f64,
    /// Their stretch.
    pub(crate) yarn: YarnParams,
}

/// How tensors are named and laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Names of the Hugging Face library.
    HuggingFace,
    /// OpenAI's own, with fused projections and sinks as powers of two.
    Original,
}

/// What a config says.
#[derive(Clone, Debug)]
pub(crate) struct ParsedConfig {
    pub(crate) config: FilterConfig,
    pub(crate) labels: LabelSpace,
    pub(crate) layout: Layout,
}

/// The keys of both forms; `null` counts as absent.
#[derive(Deserialize)]
struct ConfigFile {
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_local_experts: Option<usize>,
    num_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    experts_per_token: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    sliding_window: Option<usize>,
    bidirectional_left_context: Option<usize>,
    bidirectional_right_context: Option<usize>,
    rms_norm_eps: Option<f32>,
    swiglu_limit: Option<f32>,
    packed_geglu: Option<bool>,
    attention_bias: Option<bool>,
    encoding: Option<String>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeFields>,
    initial_context_length: Option<usize>,
    rope_scaling_factor: Option<f64>,
    rope_ntk_alpha: Option<f64>,
    rope_ntk_beta: Option<f64>,
    id2label: Option<BTreeMap<String, String>>,
    ner_class_names: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct RopeFields {
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    truncate: Option<bool>,
    attention_factor: Option<f64>,
}

/// Reads and checks a `config.json`.
///
/// Errors: `Checkpoint` when it cannot be read or is not JSON of that kind; `ModelType`; `BadField`.
pub(crate) fn read_config(path: &Path) -> Result<ParsedConfig, Error> {
    let file: ConfigFile = read_json(path)?;
    let layout = match file.model_type.as_deref() {
        Some("openai_privacy_filter") => Layout::HuggingFace,
        Some("privacy_filter") => Layout::Original,
        other => {
            let found = other.map_or_else(|| "missing".to_owned(), |name| format!("{name:?}"));
            return Err(Error::ModelType { path: path.to_owned(), found });
        }
    };
    let names = class_names(&file, path)?;
    let labels = LabelSpace::new(&names).map_err(|why| bad(path, "the class names", names.len(), why))?;
    let config = config(&file, layout, path)?;
    Ok(ParsedConfig { config, labels, layout })
}

/// A small JSON file.
pub(crate) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Error> {
    let bytes = read_at_most(path, JSON_BYTES_MAX)?;
    let damaged = |error: serde_json::Error| gptoss_checkpoint::Error::BadJson {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    Ok(serde_json::from_slice(&bytes).map_err(damaged)?)
}

/// A field that is not what it must be.
pub(crate) fn bad(path: &Path, field: &str, found: impl Display, expected: impl Display) -> Error {
    let [found, expected] = [found.to_string(), expected.to_string()];
    Error::BadField { path: path.to_owned(), field: field.to_owned(), found, expected }
}

fn config(file: &ConfigFile, layout: Layout, path: &Path) -> Result<FilterConfig, Error> {
    let size = |field: &str, value: Option<usize>, published: usize, max: usize| {
        let value = value.unwrap_or(published);
        within(path, field, value, 1..=max)
    };
    for (field, is_wrong) in [
        ("packed_geglu", file.packed_geglu == Some(true)),
        ("attention_bias", file.attention_bias == Some(false)),
    ] {
        if is_wrong {
            return Err(bad(path, field, field == "packed_geglu", "as published"));
        }
    }
    if let Some(other) = file.encoding.as_deref().filter(|&name| !name.starts_with("o200k")) {
        return Err(bad(path, "encoding", other, "\"o200k_base\""));
    }
    let [left_context, right_context] = contexts(file, layout, path)?;
    let active = file.num_experts_per_tok.or(file.experts_per_token);
    let num_experts =
        size("num_local_experts", file.num_local_experts.or(file.num_experts), 128, NUM_EXPERTS_MAX)?;
    let num_query_heads = size("num_attention_heads", file.num_attention_heads, 14, NUM_HEADS_MAX)?;
    let num_kv_heads = size("num_key_value_heads", file.num_key_value_heads, 2, num_query_heads)?;
    let head_dim = size("head_dim", file.head_dim, 64, HEAD_DIM_MAX)?;
    if !num_query_heads.is_multiple_of(num_kv_heads) {
        let expected = format!("a divisor of the {num_query_heads} query heads");
        return Err(bad(path, "num_key_value_heads", num_kv_heads, expected));
    }
    if !head_dim.is_multiple_of(2) {
        return Err(bad(path, "head_dim", head_dim, "even"));
    }
    let (rope_theta, yarn) = rope(file, layout, path)?;
    Ok(FilterConfig {
        vocab_size: size("vocab_size", file.vocab_size, 200_064, VOCAB_SIZE_MAX)?,
        hidden_size: size("hidden_size", file.hidden_size, 640, HIDDEN_SIZE_MAX)?,
        intermediate_size: size("intermediate_size", file.intermediate_size, 640, INTERMEDIATE_SIZE_MAX)?,
        num_layers: size("num_hidden_layers", file.num_hidden_layers, 8, NUM_LAYERS_MAX)?,
        num_experts,
        experts_per_token: size("num_experts_per_tok", active, 4, num_experts)?,
        num_query_heads,
        num_kv_heads,
        head_dim,
        left_context,
        right_context,
        rms_norm_eps: within(path, "rms_norm_eps", file.rms_norm_eps.unwrap_or(1e-5), 1e-12..=1e-2)?,
        swiglu_limit: within(path, "swiglu_limit", file.swiglu_limit.unwrap_or(7.0), 1e-3..=1e6)?,
        rope_theta,
        yarn,
    })
}

/// What a row sees before and after its own key.
fn contexts(file: &ConfigFile, layout: Layout, path: &Path) -> Result<[usize; 2], Error> {
    let sides = [file.bidirectional_left_context, file.bidirectional_right_context];
    let of_each_side = match layout {
        Layout::HuggingFace => file.sliding_window,
        Layout::Original => None,
    };
    let [left, right] = sides.map(|side| side.or(of_each_side).unwrap_or(128));
    let left = within(path, "bidirectional_left_context", left, 0..=CONTEXT_MAX)?;
    let right = within(path, "bidirectional_right_context", right, 0..=CONTEXT_MAX)?;
    match (layout, file.sliding_window) {
        (Layout::Original, Some(window)) if window != left + right + 1 => {
            Err(bad(path, "sliding_window", window, format!("{}, both sides and one", left + right + 1)))
        }
        _ => Ok([left, right]),
    }
}

fn rope(file: &ConfigFile, layout: Layout, path: &Path) -> Result<(f64, YarnParams), Error> {
    let none = RopeFields::default();
    let fields = file.rope_parameters.as_ref().unwrap_or(&none);
    if let Some(other) = fields.rope_type.as_deref().filter(|&kind| kind != "yarn") {
        return Err(bad(path, "rope_type", other, "\"yarn\""));
    }
    let is_original = layout == Layout::Original;
    let original = |inside: Option<f64>, outside: Option<f64>| if is_original { outside } else { inside };
    let positions = fields.original_max_position_embeddings.or(file.initial_context_length).unwrap_or(4096);
    let yarn = YarnParams {
        factor: original(fields.factor, file.rope_scaling_factor).unwrap_or(32.0),
        beta_fast: original(fields.beta_fast, file.rope_ntk_beta).unwrap_or(32.0),
        beta_slow: original(fields.beta_slow, file.rope_ntk_alpha).unwrap_or(1.0),
        original_max_position_embeddings: within(
            path,
            "original_max_position_embeddings",
            positions,
            1..=POSITIONS_MAX,
        )?,
        // Where there are parameters, the published library cuts the ramp unless they say otherwise.
        truncate: fields.truncate.unwrap_or(file.rope_parameters.is_some() && !is_original),
    };
    within(path, "factor", yarn.factor, 1.0..=1e4)?;
    within(path, "beta_fast", yarn.beta_fast, 1e-3..=1e6)?;
    within(path, "beta_slow", yarn.beta_slow, 1e-3..=1e6)?;
    let used = if yarn.factor > 1.0 { 0.1 * yarn.factor.ln() + 1.0 } else { 1.0 };
    if let Some(given) = fields.attention_factor.filter(|given| (given - used).abs() > 1e-6 * used) {
        return Err(bad(path, "attention_factor", given, format!("absent or {used}")));
    }
    let theta = fields.rope_theta.or(file.rope_theta).unwrap_or(150_000.0);
    Ok((within(path, "rope_theta", theta, 2.0..=1e9)?, yarn))
}

fn within<T: PartialOrd + Display>(
    path: &Path,
    field: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, Error> {
    match range.contains(&value) {
        true => Ok(value),
        false => Err(bad(path, field, value, format!("from {} to {}", range.start(), range.end()))),
    }
}

/// The classes in the order of the head's rows.
fn class_names(file: &ConfigFile, path: &Path) -> Result<Vec<String>, Error> {
    if let Some(names) = &file.ner_class_names {
        return Ok(names.clone());
    }
    let Some(map) = &file.id2label else { return Ok(LabelSpace::published()) };
    let name = |id: usize| {
        let missing = || bad(path, &format!("id2label[{id}]"), "missing", "the name of that class");
        map.get(&id.to_string()).cloned().ok_or_else(missing)
    };
    (0..map.len()).map(name).collect()
}

/// What a JSON value looks like in a message.
pub(crate) fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "missing".to_owned(), |value| value.to_string().chars().take(80).collect())
}
