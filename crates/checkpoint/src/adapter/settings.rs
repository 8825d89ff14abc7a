//! `adapter_config.json`: what an adapter's tensors mean, and which kinds are not read.
//!
//! Keys that are absent, null or of no consequence for what is computed are not looked at.

use std::path::Path;

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::adapter::TrainedFor;
use crate::{Error, ExpertFormat};

/// Patterns that a config may have, of ranks and of alphas each.
pub const ADAPTER_PATTERNS_MAX: usize = 4096;
/// What a pattern may take when it is compiled. Units: bytes.
const PATTERN_BYTES_MAX: usize = 1 << 18;

/// The key that says into which format of experts an adapter must be merged to be what was trained.
pub(super) const QUANTIZATION_AWARE: &str = "quantization_aware";
/// The key of the base's checksum, without which the other says little.
pub(super) const QUANTIZATION_AWARE_BASE: &str = "quantization_aware_base";

/// Keys that must be absent, null, false or empty, and what they would change.
const REFUSED: [(&str, &str); 11] = [
    ("lora_bias", "biases of the factors are not read: train without lora_bias"),
    ("fan_in_fan_out", "transposed weights are not read: no gpt-oss has them"),
    ("use_qalora", "QALoRA pools the inputs of A, which is not done here"),
    ("use_bdlora", "block-diagonal factors are not read"),
    ("alora_invocation_tokens", "activated LoRA begins in the middle of a prompt, which is not done here"),
    ("layer_replication", "the adapter is for a model with repeated layers"),
    ("kasa_config", "KaSA weights its factors by singular values, which is not done here"),
    ("arrow_config", "Arrow routes between adapters, which is not done here"),
    ("monteclora_config", "MonteCLoRA draws its factors at random, which is not done here"),
    ("megatron_config", "factors of Megatron's layers are not read"),
    ("layers_pattern", "layers of another name than `layers` are not read"),
];

/// Which column of B belongs to which expert, where the experts of a layer are one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorLayout {
    /// Column `j * E + e` is column j of expert e: PEFT's.
    RankMajor,
    /// Column `e * r + j` is column j of expert e: Unsloth's until September 2026.
    GroupedByExpert,
}

impl FactorLayout {
    /// The word for it in a config.
    pub fn name(self) -> &'static str {
        match self {
            FactorLayout::RankMajor => "rank_major",
            FactorLayout::GroupedByExpert => "grouped_by_expert",
        }
    }
}

/// What the config says.
#[derive(Debug)]
pub(super) struct Settings {
    rank: usize,
    alpha: f64,
    is_rank_stabilized: bool,
    rank_pattern: Vec<(Regex, f64)>,
    alpha_pattern: Vec<(Regex, f64)>,
    /// Whether rows are scaled to a trained length.
    pub(super) uses_dora: bool,
    pub(super) target_parameters: Vec<String>,
    /// Tokens whose rows are replaced, of the embedding and of the head.
    pub(super) tokens: [Option<Vec<u32>>; 2],
    pub(super) layout: Option<FactorLayout>,
    pub(super) base_model: Option<String>,
    pub(super) trained_for: Option<TrainedFor>,
}

/// A rank and the factor on the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) rank: usize,
    pub(super) scale: f32,
}

impl Settings {
    /// Reads the file; `path` only labels errors.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Settings, Error> {
        let damaged = |detail: String| Error::BadJson { path: path.to_path_buf(), detail };
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        from_object(&object).map_err(|detail| Error::BadAdapter { path: path.to_path_buf(), detail })
    }

    /// Rank and scale of a module, by the name that patterns know it by.
    pub(super) fn scaling(&self, module: &str) -> Result<Scaling, String> {
        let found = |patterns: &[(Regex, f64)]| {
            patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
        };
        let rank = found(&self.rank_pattern).map_or(self.rank, |rank| rank as usize);
        let alpha = found(&self.alpha_pattern).unwrap_or(self.alpha);
        let divisor = if self.is_rank_stabilized { (rank as f64).sqrt() } else { rank as f64 };
        let scale = (alpha / divisor) as f32;
        if rank == 0 || !scale.is_finite() {
            return Err(format!("{module} has rank {rank} and alpha {alpha}, which give no scale"));
        }
        Ok(Scaling { rank, scale })
    }

    /// Whether this parameter, by its whole name, is among the targeted ones.
    pub(super) fn targets(&self, parameter: &str) -> bool {
        self.target_parameters.iter().any(|target| {
            parameter == target
                || parameter.strip_suffix(target.as_str()).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

fn from_object(object: &Map<String, Value>) -> Result<Settings, String> {
    refuse(object)?;
    let rank = whole(object, "r")?.ok_or("`r` is missing, the rank of the factors")?;
    let alpha = match object.get("lora_alpha") {
        Some(value) => value.as_f64().ok_or("`lora_alpha` is not a number")?,
        None => {
            return Err("`lora_alpha` is missing: without it the scale of the addition is unknown".to_owned());
        }
    };
    let layout =
        match object.get("lora_B_layout").and_then(Value::as_str) {
            Some(word) => {
                let known = [FactorLayout::RankMajor, FactorLayout::GroupedByExpert];
                let found = known.into_iter().find(|layout| layout.name() == word);
                Some(found.ok_or_else(|| {
                    format!("`lora_B_layout` is {word:?}, not rank_major or grouped_by_expert")
                })?)
            }
            None => None,
        };
    let base_model = object.get("base_model_name_or_path").and_then(Value::as_str);
    Ok(Settings {
        rank,
        alpha,
        is_rank_stabilized: flag(object, "use_rslora"),
        rank_pattern: patterns(object, "rank_pattern")?,
        alpha_pattern: patterns(object, "alpha_pattern")?,
        uses_dora: flag(object, "use_dora"),
        target_parameters: names(object, "target_parameters"),
        tokens: tokens(object)?,
        layout,
        base_model: base_model.map(str::to_owned),
        trained_for: trained_for(object)?,
    })
}

/// What quantization-aware training was for.
fn trained_for(object: &Map<String, Value>) -> Result<Option<TrainedFor>, String> {
    // A checksum in another form is that of no base.
    let base = object.get(QUANTIZATION_AWARE_BASE).and_then(Value::as_str).unwrap_or_default();
    match object.get(QUANTIZATION_AWARE) {
        None | Some(Value::Null) => Ok(None),
        Some(word) => {
            let mut known = [ExpertFormat::Mxfp4, ExpertFormat::Bf16].into_iter();
            let found = known.find(|format| word.as_str() == Some(format.name()));
            let wrong = || format!("`{QUANTIZATION_AWARE}` is {word}, not mxfp4 or bf16");
            found.map(|format| Some(TrainedFor::new(format, base))).ok_or_else(wrong)
        }
    }
}

fn refuse(object: &Map<String, Value>) -> Result<(), String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    if let Some(kind) = text("peft_type").filter(|kind| *kind != "LORA") {
        return Err(format!("`peft_type` is {kind:?}; LORA is read"));
    }
    if let Some(bias) = text("bias").filter(|bias| *bias != "none") {
        return Err(format!("`bias` is {bias:?}: trained biases are not read; train with bias \"none\""));
    }
    for (key, reason) in REFUSED {
        let is_unset = match object.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(items)) => items.is_empty(),
            Some(_) => false,
        };
        if !is_unset {
            return Err(format!("`{key}` is set: {reason}"));
        }
    }
    // These begin by taking the first factors out of the base: what is left of it is in no file.
    let changing = ["pissa", "olora", "loftq", "corda", "lora_ga"];
    let start = text("init_lora_weights").map(str::to_lowercase).unwrap_or_default();
    if changing.iter().any(|name| start.starts_with(name)) {
        return Err(format!(
            "`init_lora_weights` is {start:?}, which changes the base before training: save it with PEFT's \
             `path_initial_model_for_weight_conversion`, as an adapter of the base that was published"
        ));
    }
    Ok(())
}

fn flag(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn whole(object: &Map<String, Value>, key: &str) -> Result<Option<usize>, String> {
    let number = |value: &Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => number(value).map(Some).ok_or(format!("`{key}` is {value}, not a whole number")),
    }
}

/// A list of words, or one; what is no word is left out.
fn names(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let words = match object.get(key) {
        Some(Value::Array(items)) => items.as_slice(),
        Some(word) => std::slice::from_ref(word),
        None => &[],
    };
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Regular expressions that a module's name must end with, in the order of the file.
fn patterns(object: &Map<String, Value>, key: &str) -> Result<Vec<(Regex, f64)>, String> {
    let Some(Value::Object(entries)) = object.get(key) else { return Ok(Vec::new()) };
    if entries.len() > ADAPTER_PATTERNS_MAX {
        return Err(format!("`{key}` has {} entries, above {ADAPTER_PATTERNS_MAX}", entries.len()));
    }
    let compiled = entries.iter().map(|(pattern, value)| {
        let value = value.as_f64().ok_or(format!("`{key}` gives {pattern:?} no number"))?;
        let whole = format!(r"^(?:.*\.)?(?:{pattern})$");
        let regex = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build();
        regex
            .map(|regex| (regex, value))
            .map_err(|_| format!("`{key}` has a pattern that is not read: {pattern:?}"))
    });
    compiled.collect()
}

fn tokens(object: &Map<String, Value>) -> Result<[Option<Vec<u32>>; 2], String> {
    let list = |value: &Value| -> Result<Vec<u32>, String> {
        let token = |token: &Value| token.as_u64().and_then(|token| u32::try_from(token).ok());
        let tokens = value.as_array().and_then(|items| items.iter().map(token).collect());
        tokens.ok_or("`trainable_token_indices` holds what is not a token".to_owned())
    };
    match object.get("trainable_token_indices") {
        None | Some(Value::Null) => Ok([None, None]),
        Some(Value::Object(modules)) => {
            let mut tokens = [None, None];
            for (name, value) in modules {
                let which = match name.rsplit('.').next() {
                    Some("embed_tokens") => 0,
                    Some("lm_head") => 1,
                    _ => {
                        return Err(format!("`trainable_token_indices` names {name:?}, which gpt-oss lacks"));
                    }
                };
                tokens[which] = Some(list(value)?);
            }
            Ok(tokens)
        }
        Some(value) => Ok([Some(list(value)?), None]),
    }
}
