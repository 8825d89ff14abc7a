//! `config.json` and `generation_config.json`: from bytes to a [`Config`], and back.
//!
//! The entry points are [`parse_config`], [`parse_generation_config`] and [`Config::to_json`]. Reading goes
//! through one small reader of optional fields, so that an absent key takes the published value and a wrong
//! one is named with its value. A file without `model_type` but with `num_experts` is OpenAI's `original/`
//! form, which has no epsilon, no layer types and another spelling of YaRN; everything it leaves out is fixed
//! by the published model code.
//!
//! Nothing in a config can make this program load code: `auto_map`, templates and the like are not looked at.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::{Config, LayerKind, Yarn};
use crate::error::Error;
use crate::part::ExpertFormat;
use crate::preset::{PUBLISHED_EOS, PUBLISHED_VOCAB_SIZE, alternating_layers};

/// Positions of a file in the Hugging Face form that does not say how many. Units: tokens.
const MAX_POSITIONS_DEFAULT: usize = 131_072;

/// A config, and what its file says about the files beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedConfig {
    /// The architecture, checked.
    pub config: Config,
    /// Which of the two published forms the file has.
    pub form: ConfigForm,
}

/// The published forms of a config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigForm {
    /// With `model_type`; `quantization_config` tells how experts are stored.
    HuggingFace(ExpertFormat),
    /// The short form of OpenAI's `original/` folder; experts are MXFP4.
    Original,
}

/// Reads a `config.json` and checks every bound.
///
/// Errors: [`Error::BadJson`], [`Error::UnknownModelType`], [`Error::BadConfig`]; `path` only labels them.
pub fn parse_config(bytes: &[u8], path: &Path) -> Result<ParsedConfig, Error> {
    let root = parse_object(bytes, path)?;
    let fields = Fields { object: &root, path, prefix: "" };
    let parsed = match root.get("model_type") {
        Some(Value::String(model_type)) if model_type == "gpt_oss" => hugging_face(&fields)?,
        Some(other) => {
            let found = other.as_str().map_or_else(|| other.to_string(), str::to_string);
            return Err(Error::UnknownModelType { path: path.to_path_buf(), found });
        }
        None if root.contains_key("num_experts") => original(&fields)?,
        None => {
            return Err(Error::UnknownModelType { path: path.to_path_buf(), found: "missing".to_string() });
        }
    };
    parsed.config.check(path)?;
    Ok(parsed)
}

/// Takes the stop, first and padding tokens of a `generation_config.json` over into `config`.
///
/// Errors: [`Error::BadJson`], [`Error::BadConfig`].
pub fn parse_generation_config(bytes: &[u8], path: &Path, config: &mut Config) -> Result<(), Error> {
    let root = parse_object(bytes, path)?;
    let fields = Fields { object: &root, path, prefix: "" };
    if let Some(eos) = fields.token_ids("eos_token_id")? {
        config.eos_token_ids = eos;
    }
    config.bos_token_id = fields.token_id("bos_token_id")?.or(config.bos_token_id);
    config.pad_token_id = fields.token_id("pad_token_id")?.or(config.pad_token_id);
    config.check(path)
}

impl Config {
    /// The file of this architecture in the given form, with the published keys in the published order.
    pub fn to_json(&self, form: ConfigForm) -> String {
        let value = match form {
            ConfigForm::HuggingFace(experts) => self.hugging_face_json(experts),
            ConfigForm::Original => self.original_json(),
        };
        format!("{value:#}\n")
    }

    /// The `generation_config.json` that goes with this architecture.
    pub fn generation_json(&self) -> String {
        let value = json!({
            "bos_token_id": self.bos_token_id,
            "do_sample": true,
            "eos_token_id": self.eos_token_ids,
            "pad_token_id": self.pad_token_id,
        });
        format!("{value:#}\n")
    }

    fn hugging_face_json(&self, experts: ExpertFormat) -> Value {
        let kind = |kind: &LayerKind| match kind {
            LayerKind::Sliding => "sliding_attention",
            LayerKind::Full => "full_attention",
        };
        let mut value = json!({
            "architectures": ["GptOssForCausalLM"],
            "attention_bias": true,
            "attention_dropout": 0.0,
            "eos_token_id": self.eos_token_ids.first(),
            "experts_per_token": self.experts_per_token,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "initial_context_length": self.rope.original_max_position_embeddings,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate_size,
            "layer_types": self.layer_types.iter().map(kind).collect::<Vec<_>>(),
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": "gpt_oss",
            "num_attention_heads": self.num_attention_heads,
            "num_experts_per_tok": self.experts_per_token,
            "num_hidden_layers": self.num_hidden_layers,
            "num_key_value_heads": self.num_key_value_heads,
            "num_local_experts": self.num_local_experts,
            "output_router_logits": false,
            "pad_token_id": self.pad_token_id,
        });
        let rest = json!({
            "quantization_config": {
                "modules_to_not_convert":
                    ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
                "quant_method": "mxfp4",
            },
            "rms_norm_eps": shortest(self.rms_norm_eps),
            "rope_scaling": {
                "beta_fast": self.rope.beta_fast,
                "beta_slow": self.rope.beta_slow,
                "factor": self.rope.factor,
                "original_max_position_embeddings": self.rope.original_max_position_embeddings,
                "rope_type": "yarn",
                "truncate": self.rope.truncate,
            },
            "rope_theta": self.rope_theta,
            "router_aux_loss_coef": 0.9,
            "sliding_window": self.sliding_window,
            "swiglu_alpha": shortest(self.swiglu_alpha),
            "swiglu_limit": shortest(self.swiglu_limit),
            "tie_word_embeddings": self.tie_word_embeddings,
            "use_cache": true,
            "vocab_size": self.vocab_size,
        });
        if let (Value::Object(value), Value::Object(rest)) = (&mut value, rest) {
            let bf16 = experts == ExpertFormat::Bf16;
            value.extend(rest.into_iter().filter(|(key, _)| !(bf16 && key == "quantization_config")));
        }
        value
    }

    fn original_json(&self) -> Value {
        json!({
            "num_hidden_layers": self.num_hidden_layers,
            "num_experts": self.num_local_experts,
            "experts_per_token": self.experts_per_token,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "swiglu_limit": shortest(self.swiglu_limit),
            "head_dim": self.head_dim,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "sliding_window": self.sliding_window,
            "initial_context_length": self.rope.original_max_position_embeddings,
            "rope_theta": self.rope_theta,
            "rope_scaling_factor": self.rope.factor,
            "rope_ntk_alpha": self.rope.beta_slow,
            "rope_ntk_beta": self.rope.beta_fast,
        })
    }
}

/// The f64 that prints like the f32: 1e-5, not 9.999999747378752e-6.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn parse_object(bytes: &[u8], path: &Path) -> Result<Map<String, Value>, Error> {
    let damaged = |detail: String| Error::BadJson { path: path.to_path_buf(), detail };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(damaged("the file is not a JSON object".to_string())),
        Err(error) => Err(damaged(error.to_string())),
    }
}

fn hugging_face(fields: &Fields<'_>) -> Result<ParsedConfig, Error> {
    fields.require("attention_bias", &json!(true))?;
    fields.require("hidden_act", &json!("silu"))?;
    let num_hidden_layers = fields.required_count("num_hidden_layers")?;
    let num_local_experts = fields.required_count("num_local_experts")?;
    let active = match fields.count("num_experts_per_tok")? {
        Some(active) => active,
        None => fields.count("experts_per_token")?.unwrap_or(4),
    };
    let max_position_embeddings = fields.count("max_position_embeddings")?.unwrap_or(MAX_POSITIONS_DEFAULT);
    let (rope, theta_inside) = stretch(fields, max_position_embeddings)?;
    let config = Config {
        layer_types: layer_types(fields, num_hidden_layers)?,
        rope_theta: theta_inside.or(fields.real("rope_theta")?).unwrap_or(150_000.0),
        max_position_embeddings,
        rope,
        rms_norm_eps: fields.real("rms_norm_eps")?.unwrap_or(1e-5) as f32,
        swiglu_limit: fields.real("swiglu_limit")?.unwrap_or(7.0) as f32,
        swiglu_alpha: fields.real("swiglu_alpha")?.unwrap_or(1.702) as f32,
        bos_token_id: fields.token_id("bos_token_id")?,
        pad_token_id: fields.token_id("pad_token_id")?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        ..shape(fields, num_hidden_layers, num_local_experts, active)?
    };
    let eos_token_ids = fields.token_ids("eos_token_id")?.unwrap_or(config.eos_token_ids);
    let config = Config { eos_token_ids, ..config };
    let quantised = fields.object("quantization_config")?;
    let experts = match quantised {
        None => ExpertFormat::Bf16,
        Some(object) => {
            let fields = Fields { object, path: fields.path, prefix: "quantization_config." };
            fields.require("quant_method", &json!("mxfp4"))?;
            ExpertFormat::Mxfp4
        }
    };
    Ok(ParsedConfig { config, form: ConfigForm::HuggingFace(experts) })
}

fn original(fields: &Fields<'_>) -> Result<ParsedConfig, Error> {
    let num_hidden_layers = fields.required_count("num_hidden_layers")?;
    let num_experts = fields.required_count("num_experts")?;
    let active = fields.count("experts_per_token")?.unwrap_or(4);
    let rope = Yarn {
        factor: fields.real("rope_scaling_factor")?.unwrap_or(32.0),
        beta_fast: fields.real("rope_ntk_beta")?.unwrap_or(32.0),
        beta_slow: fields.real("rope_ntk_alpha")?.unwrap_or(1.0),
        original_max_position_embeddings: fields.count("initial_context_length")?.unwrap_or(4096),
        truncate: false,
    };
    let config = Config {
        rope_theta: fields.real("rope_theta")?.unwrap_or(150_000.0),
        max_position_embeddings: (rope.original_max_position_embeddings as f64 * rope.factor) as usize,
        rope,
        swiglu_limit: fields.real("swiglu_limit")?.unwrap_or(7.0) as f32,
        ..shape(fields, num_hidden_layers, num_experts, active)?
    };
    Ok(ParsedConfig { config, form: ConfigForm::Original })
}

/// The fields that both forms spell alike; constants take the published values.
fn shape(fields: &Fields<'_>, layers: usize, experts: usize, active: usize) -> Result<Config, Error> {
    let published = crate::Preset::GptOss20b.config();
    let vocab_size = fields.required_count("vocab_size")?;
    let has_published_vocabulary = vocab_size == PUBLISHED_VOCAB_SIZE;
    Ok(Config {
        num_hidden_layers: layers,
        hidden_size: fields.required_count("hidden_size")?,
        intermediate_size: fields.required_count("intermediate_size")?,
        head_dim: fields.count("head_dim")?.unwrap_or(published.head_dim),
        num_attention_heads: fields.count("num_attention_heads")?.unwrap_or(published.num_attention_heads),
        num_key_value_heads: fields.count("num_key_value_heads")?.unwrap_or(published.num_key_value_heads),
        num_local_experts: experts,
        experts_per_token: if experts == 0 { 0 } else { active },
        vocab_size,
        sliding_window: fields.count("sliding_window")?.unwrap_or(published.sliding_window),
        layer_types: alternating_layers(layers.min(crate::config::NUM_LAYERS_MAX)),
        eos_token_ids: if has_published_vocabulary { PUBLISHED_EOS.to_vec() } else { Vec::new() },
        bos_token_id: published.bos_token_id.filter(|_| has_published_vocabulary),
        pad_token_id: published.pad_token_id.filter(|_| has_published_vocabulary),
        ..published
    })
}

/// The stretch, and `rope_theta` where newer libraries put it.
///
/// `rope_scaling` goes before `rope_parameters`, unless it is empty; without either, the published stretch
/// holds, whatever `initial_context_length` says, which nobody reads here. Source: the published model
/// library.
fn stretch(fields: &Fields<'_>, max_positions: usize) -> Result<(Yarn, Option<f64>), Error> {
    let scaling = fields.object("rope_scaling")?.filter(|object| !object.is_empty());
    let (prefix, object) = match (scaling, fields.object("rope_parameters")?) {
        (Some(object), _) => ("rope_scaling.", object),
        (None, Some(object)) => ("rope_parameters.", object),
        (None, None) => return Ok((crate::Preset::GptOss20b.config().rope, None)),
    };
    let outside = fields.count("original_max_position_embeddings")?;
    yarn(&Fields { object, path: fields.path, prefix }, outside, max_positions)
}

/// The numbers of one object, with what the published model library takes for those that are not there.
fn yarn(
    fields: &Fields<'_>,
    original_outside: Option<usize>,
    max_positions: usize,
) -> Result<(Yarn, Option<f64>), Error> {
    fields.require("rope_type", &json!("yarn"))?;
    fields.require("type", &json!("yarn"))?;
    if fields.present("rope_type").or(fields.present("type")).is_none() {
        return Err(
            fields.missing("rope_type", "\"yarn\": without it the rotation is plain, which no gpt-oss has")
        );
    }
    let original = match original_outside {
        Some(original) => original,
        None => fields.count("original_max_position_embeddings")?.unwrap_or(max_positions),
    };
    let factor = match fields.real("factor")? {
        Some(factor) => factor,
        // The library divides for a null and stops at a missing key.
        None if fields.object.contains_key("factor") => max_positions as f64 / original as f64,
        None => return Err(fields.missing("factor", "the number by which the context was stretched")),
    };
    // Zero counts as absent.
    let rotations = |key, default| Ok(fields.real(key)?.filter(|&beta| beta != 0.0).unwrap_or(default));
    let stretch = Yarn {
        factor,
        beta_fast: rotations("beta_fast", 32.0)?,
        beta_slow: rotations("beta_slow", 1.0)?,
        original_max_position_embeddings: original,
        // The ramp is cut to whole dimensions unless the object says otherwise.
        truncate: fields.flag("truncate")?.unwrap_or(true),
    };
    require_attention_factor(fields, stretch.factor)?;
    Ok((stretch, fields.real("rope_theta")?))
}

/// What cosines and sines are multiplied by can be given in two ways; only the value that gpt-oss computes
/// with is read.
///
/// `attention_factor` is that number itself. `mscale` and `mscale_all_dim` make one, and only together; one
/// alone, or beside an `attention_factor`, changes nothing. Source: the published model library's YaRN.
fn require_attention_factor(fields: &Fields<'_>, stretch: f64) -> Result<(), Error> {
    let magnitude = |scale: f64| if stretch > 1.0 { 0.1 * scale * stretch.ln() + 1.0 } else { 1.0 };
    let used = magnitude(1.0);
    let given = fields.real("attention_factor")?;
    let pair = (fields.real("mscale")?, fields.real("mscale_all_dim")?);
    let (field, factor) = match (given, pair) {
        (Some(factor), _) => ("attention_factor", factor),
        (None, (Some(over), Some(under))) if over != 0.0 && under != 0.0 => {
            ("mscale", magnitude(over) / magnitude(under))
        }
        _ => return Ok(()),
    };
    if (factor - used).abs() <= 1e-6 * used {
        return Ok(());
    }
    let expected = match field {
        "mscale" => format!(
            "absent or make a factor of {used} with mscale_all_dim: gpt-oss has 0.1 ln(factor) + 1, not {factor}"
        ),
        _ => format!("absent or {used}: gpt-oss has 0.1 ln(factor) + 1"),
    };
    Err(fields.broken(field, fields.object.get(field).unwrap_or(&Value::Null), &expected))
}

fn layer_types(fields: &Fields<'_>, num_layers: usize) -> Result<Vec<LayerKind>, Error> {
    let Some(value) = fields.present("layer_types") else {
        return Ok(alternating_layers(num_layers.min(crate::config::NUM_LAYERS_MAX)));
    };
    let rule = "a list of \"sliding_attention\" and \"full_attention\"";
    let entries = value.as_array().ok_or_else(|| fields.broken("layer_types", value, rule))?;
    let kind = |entry: &Value| match entry.as_str() {
        Some("sliding_attention") => Ok(LayerKind::Sliding),
        Some("full_attention") => Ok(LayerKind::Full),
        _ => Err(fields.broken("layer_types", entry, rule)),
    };
    entries.iter().map(kind).collect()
}

/// Reads optional fields of one JSON object; `null` counts as absent.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    fn present(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn broken(&self, field: &'static str, found: &Value, expected: &str) -> Error {
        let mut found = found.to_string();
        if found.len() > 80 {
            found = format!("{}...", found.chars().take(80).collect::<String>());
        }
        self.complaint(field, found, expected)
    }

    fn complaint(&self, field: &'static str, found: String, expected: &str) -> Error {
        let expected = match self.prefix {
            "" => expected.to_string(),
            prefix => format!("{expected} (inside {})", prefix.trim_end_matches('.')),
        };
        Error::BadConfig { path: self.path.to_path_buf(), field, found, expected }
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.present(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.broken(key, value, expected)),
        }
    }

    fn count(&self, key: &'static str) -> Result<Option<usize>, Error> {
        self.typed(key, "a whole number", |value| value.as_u64().and_then(|count| count.try_into().ok()))
    }

    fn required_count(&self, key: &'static str) -> Result<usize, Error> {
        self.count(key)?.ok_or_else(|| self.missing(key, "present"))
    }

    fn missing(&self, field: &'static str, expected: &str) -> Error {
        self.complaint(field, "missing".to_string(), expected)
    }

    fn real(&self, key: &'static str) -> Result<Option<f64>, Error> {
        self.typed(key, "a number", Value::as_f64)
    }

    fn flag(&self, key: &'static str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", Value::as_bool)
    }

    fn object(&self, key: &'static str) -> Result<Option<&'a Map<String, Value>>, Error> {
        self.typed(key, "an object", Value::as_object)
    }

    fn token_id(&self, key: &'static str) -> Result<Option<u32>, Error> {
        self.typed(key, "a token id", token_id)
    }

    /// One id or a list of ids.
    fn token_ids(&self, key: &'static str) -> Result<Option<Vec<u32>>, Error> {
        self.typed(key, "a token id or a list of token ids", |value| match value {
            Value::Array(ids) => ids.iter().map(token_id).collect(),
            one => token_id(one).map(|id| vec![id]),
        })
    }

    /// The key may be absent, but when it is there it has this one value.
    fn require(&self, key: &'static str, only: &Value) -> Result<(), Error> {
        match self.present(key) {
            Some(value) if value != only => {
                Err(self.broken(key, value, &format!("{only}: nothing else is part of gpt-oss")))
            }
            _ => Ok(()),
        }
    }
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| id.try_into().ok())
}
