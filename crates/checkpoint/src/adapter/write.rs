//! Adapters as PEFT writes them.
//!
//! Experts of a layer are one pair of tensors: A has them one after the other, `[E * r, K]`; B has them side
//! by side in each column of the rank, `[N, E * r]` with column `j * E + e`. The module of the experts is
//! wrapped once for each parameter: `gate_up_proj` is the inner one, `base_layer`. Both are always written,
//! because servers ask for both; the one that was not tuned is zeros. What PEFT has one number of (the rank,
//! the scale) stands at the top of the config where most modules agree, the others in its patterns.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use crate::adapter::settings::{QUANTIZATION_AWARE, QUANTIZATION_AWARE_BASE};
use crate::adapter::site::{Stack, experts_module};
use crate::adapter::{Adapter, AdapterPair, AdapterSite, CONFIG_FILE, FactorLayout, WEIGHTS_FILE};
use crate::names::hugging_face;
use crate::write::{Outline, Partial, write_safetensors};
use crate::{Config, Dtype, Error, Part};

/// The release of PEFT whose form is written.
const PEFT_VERSION: &str = "0.21.2";
/// What PEFT puts before every name.
const PREFIX: &str = "base_model.model.";

/// The element type of the factors in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorDtype {
    /// As they are.
    F32,
    /// Rounded to half the size.
    Bf16,
}

/// Writes a folder that PEFT, and what reads its files, loads; files of an adapter that is there are
/// replaced.
///
/// `base_model` is the name that the base goes by elsewhere. The config goes into place last, each file
/// whole.
///
/// Errors: [`Error::BadAdapter`] for an addition that the model has no place for or the form has no words
/// for, and those of writing.
pub fn write_adapter(
    folder: &Path,
    adapter: &Adapter,
    config: &Config,
    base_model: &str,
    dtype: FactorDtype,
) -> Result<(), Error> {
    adapter.check(config, folder)?;
    let modules = modules(adapter, config);
    let mut tensors = factors(&modules, dtype);
    let mut settings = settings(adapter, config, &modules, base_model);
    // Rounded factors are other ones than those that were trained for it.
    if let Some(trained) = adapter.trained_for.filter(|_| dtype == FactorDtype::F32) {
        settings[QUANTIZATION_AWARE] = json!(trained.format.name());
        settings[QUANTIZATION_AWARE_BASE] = json!(trained.base());
    }
    for (name, rows) in
        [("model.embed_tokens", &adapter.rows.embedding), ("lm_head", &adapter.rows.unembedding)]
    {
        if !rows.is_empty() {
            let name = format!("{PREFIX}{name}.token_adapter.trainable_tokens_delta");
            tensors.push(tensor(name, vec![adapter.rows.tokens.len(), config.hidden_size], rows, dtype));
        }
    }
    for (part, values) in &adapter.replaced {
        let name = format!("{PREFIX}{}", hugging_face(config, *part));
        tensors.push(tensor(name, crate::shape(config, *part), values, dtype));
    }
    fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
    let borrowed: Vec<(Outline, &[u8])> =
        tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    let partial = Partial::file(&folder.join(CONFIG_FILE))?;
    fs::write(partial.path(), format!("{settings:#}\n"))
        .map_err(Error::io(partial.path(), "write the file"))?;
    write_safetensors(&folder.join(WEIGHTS_FILE), &borrowed, &mut |_, _| {})?;
    partial.finish()
}

/// One module of PEFT's: a pair of tensors.
struct Module {
    /// What its tensors are called, without the factor: `model.layers.0.mlp.experts.base_layer`.
    name: String,
    /// What patterns call it: `model.layers.0.mlp.experts.gate_up_proj`.
    key: String,
    target: Target,
    rank: usize,
    scale: f32,
    /// `[E * r, K]`, `[r, K]`; of an embedding `[r, V]`.
    a: (Vec<usize>, Vec<f32>),
    /// `[N, E * r]`, `[N, r]`; of an embedding `[C, r]`.
    b: (Vec<usize>, Vec<f32>),
}

/// How the config names what is tuned.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// In `target_modules`, by this suffix.
    Module(&'static str),
    /// In `target_parameters`.
    Parameter(Stack),
}

fn modules(adapter: &Adapter, config: &Config) -> Vec<Module> {
    let mut modules = Vec::new();
    let mut layers: BTreeMap<usize, [BTreeMap<usize, &AdapterPair>; 2]> = BTreeMap::new();
    for (&site, pair) in &adapter.pairs {
        let (layer, name) = match site {
            AdapterSite::Embedding => {
                modules.push(embedding(pair, config));
                continue;
            }
            AdapterSite::GateUp { layer, expert } => {
                layers.entry(layer).or_default()[0].insert(expert, pair);
                continue;
            }
            AdapterSite::Down { layer, expert } => {
                layers.entry(layer).or_default()[1].insert(expert, pair);
                continue;
            }
            AdapterSite::Query(layer) => (layer, "q_proj"),
            AdapterSite::Key(layer) => (layer, "k_proj"),
            AdapterSite::Value(layer) => (layer, "v_proj"),
            AdapterSite::Out(layer) => (layer, "o_proj"),
            AdapterSite::Unembedding => {
                modules.push(plain("lm_head".to_owned(), "lm_head", pair));
                continue;
            }
        };
        modules.push(plain(format!("model.layers.{layer}.self_attn.{name}"), name, pair));
    }
    for (layer, [gate_up, down]) in &layers {
        let rank = |of: &BTreeMap<usize, &AdapterPair>| of.values().map(|pair| pair.rank).max();
        let like = gate_up.values().chain(down.values()).next().map_or(1.0, |pair| pair.scale);
        for (stack, pairs, other) in [(Stack::GateUp, gate_up, down), (Stack::Down, down, gate_up)] {
            let rank = rank(pairs).or(rank(other)).unwrap_or(1);
            modules.push(stacked(config, (*layer, stack), pairs, rank, like));
        }
    }
    modules
}

fn plain(name: String, suffix: &'static str, pair: &AdapterPair) -> Module {
    let (rank, rows, columns) = (pair.rank, pair.b.len() / pair.rank, pair.a.len() / pair.rank);
    Module {
        key: name.clone(),
        name,
        target: Target::Module(suffix),
        rank,
        scale: pair.scale,
        a: (vec![rank, columns], pair.a.clone()),
        b: (vec![rows, rank], pair.b.clone()),
    }
}

/// The factors of an embedding change places: its module looks rows up.
fn embedding(pair: &AdapterPair, config: &Config) -> Module {
    let (rank, rows, columns) = (pair.rank, config.vocab_size, config.hidden_size);
    Module {
        a: (vec![rank, rows], turned(&pair.b, rank)),
        b: (vec![columns, rank], turned(&pair.a, columns)),
        ..plain("model.embed_tokens".to_owned(), "embed_tokens", pair)
    }
}

/// The transposed of `x [n, k]`.
pub(super) fn turned(x: &[f32], k: usize) -> Vec<f32> {
    let n = x.len() / k;
    (0..x.len()).map(|i| x[i % n * k + i / n]).collect()
}

/// All experts' factors of a parameter in one pair; experts of a lower rank are filled up with zeros, and
/// what another scale would have done is done to their B.
fn stacked(
    config: &Config,
    (layer, stack): (usize, Stack),
    pairs: &BTreeMap<usize, &AdapterPair>,
    rank: usize,
    like: f32,
) -> Module {
    let [rows, columns] = stack.shape(config);
    let experts = config.num_local_experts.max(1);
    let scale = pairs.values().next().map_or(like, |pair| pair.scale);
    let mut a = vec![0.0; experts * rank * columns];
    let mut b = vec![0.0; rows * rank * experts];
    for (&expert, pair) in pairs {
        a[expert * rank * columns..][..pair.a.len()].copy_from_slice(&pair.a);
        let factor = pair.scale / scale;
        for (row, values) in pair.b.chunks(pair.rank).enumerate() {
            for (j, value) in values.iter().enumerate() {
                b[(row * rank + j) * experts + expert] = value * factor;
            }
        }
    }
    let module = experts_module(config, layer);
    let inner = if stack == Stack::GateUp { ".base_layer" } else { "" };
    Module {
        name: format!("{module}{inner}"),
        key: format!("{module}.{}", stack.name()),
        target: Target::Parameter(stack),
        rank,
        scale,
        a: (vec![experts * rank, columns], a),
        b: (vec![rows, experts * rank], b),
    }
}

fn factors(modules: &[Module], dtype: FactorDtype) -> Vec<(Outline, Vec<u8>)> {
    let both = |module: &Module| {
        let [a, b] = match module.target {
            Target::Module("embed_tokens") => ["lora_embedding_A", "lora_embedding_B"],
            _ => ["lora_A.weight", "lora_B.weight"],
        };
        let one = |factor: &str, (shape, values): &(Vec<usize>, Vec<f32>)| {
            tensor(format!("{PREFIX}{}.{factor}", module.name), shape.clone(), values, dtype)
        };
        [one(a, &module.a), one(b, &module.b)]
    };
    modules.iter().flat_map(both).collect()
}

fn tensor(name: String, shape: Vec<usize>, values: &[f32], dtype: FactorDtype) -> (Outline, Vec<u8>) {
    let (dtype, bytes) = match dtype {
        FactorDtype::F32 => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        FactorDtype::Bf16 => {
            let rounded = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes());
            (Dtype::Bf16, rounded.collect())
        }
    };
    (Outline { name, dtype, shape }, bytes)
}

fn settings(adapter: &Adapter, config: &Config, modules: &[Module], base_model: &str) -> Value {
    let (rank, scale) = most_frequent(modules);
    let alpha = |rank: usize, scale: f32| number(f64::from(scale) * rank as f64);
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for module in modules {
        if module.rank != rank {
            ranks.insert(module.key.clone(), json!(module.rank));
        }
        if alpha(module.rank, module.scale) != alpha(rank, scale) {
            alphas.insert(module.key.clone(), alpha(module.rank, module.scale));
        }
    }
    let layers = config.num_hidden_layers;
    let mut settings = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "peft_version": PEFT_VERSION,
        "base_model_name_or_path": base_model,
        "inference_mode": true,
        "r": rank,
        "lora_alpha": alpha(rank, scale),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": targets(modules, layers, |target| matches!(target, Target::Module(_))),
        "target_parameters": targets(modules, layers, |target| matches!(target, Target::Parameter(_))),
        "lora_B_layout": FactorLayout::RankMajor.name(),
    });
    let saved = saved_modules(adapter, config);
    let tokens = token_indices(adapter);
    for (key, value, is_empty) in [
        ("modules_to_save", json!(saved), saved.is_empty()),
        ("trainable_token_indices", json!(tokens), tokens.is_empty()),
        ("rank_pattern", json!(ranks), ranks.is_empty()),
        ("alpha_pattern", json!(alphas), alphas.is_empty()),
    ] {
        if !is_empty {
            settings[key] = value;
        }
    }
    settings
}

/// The rank and scale that most modules have; without modules, those of nothing.
fn most_frequent(modules: &[Module]) -> (usize, f32) {
    let mut counts: Vec<(usize, f32, usize)> = Vec::new();
    for module in modules {
        let known = counts.iter_mut().find(|(rank, scale, _)| (*rank, *scale) == (module.rank, module.scale));
        match known {
            Some((_, _, count)) => *count += 1,
            None => counts.push((module.rank, module.scale, 1)),
        }
    }
    // Of equally frequent ones the first.
    counts.iter().rev().max_by_key(|(_, _, count)| *count).map_or((1, 1.0), |&(rank, scale, _)| (rank, scale))
}

/// A whole number without its point, as people write alphas.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}

/// What the config targets: a suffix where every layer is tuned there, else each module by its whole name.
fn targets(modules: &[Module], layers: usize, wanted: impl Fn(Target) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for module in modules.iter().filter(|module| wanted(module.target)) {
        let count = modules.iter().filter(|other| other.target == module.target).count();
        let name = match module.target {
            Target::Module(suffix @ ("lm_head" | "embed_tokens")) => suffix.to_owned(),
            Target::Module(suffix) if count == layers => suffix.to_owned(),
            // Without the layer.
            Target::Parameter(_) if count == layers => {
                module.key[module.key.find("mlp").unwrap_or_default()..].to_owned()
            }
            _ => module.key.clone(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The modules of the parts that are replaced, each once.
fn saved_modules(adapter: &Adapter, config: &Config) -> Vec<String> {
    let mut modules = Vec::new();
    for (part, _) in &adapter.replaced {
        let name = hugging_face(config, *part);
        let module = module_of(&name).unwrap_or(&name).to_owned();
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    modules
}

/// The module of a tensor's name: without `.weight` or `.bias`.
fn module_of(name: &str) -> Option<&str> {
    name.strip_suffix(".weight").or(name.strip_suffix(".bias"))
}

fn token_indices(adapter: &Adapter) -> Map<String, Value> {
    let rows = &adapter.rows;
    let both = [("embed_tokens", &rows.embedding), ("lm_head", &rows.unembedding)];
    let tuned = both.into_iter().filter(|(_, values)| !values.is_empty());
    tuned.map(|(name, _)| (name.to_owned(), json!(rows.tokens))).collect()
}

/// Whether a part can be saved whole: it belongs to a module of its own.
pub(super) fn is_saved_whole(config: &Config, part: Part) -> bool {
    module_of(&hugging_face(config, part)).is_some()
}
