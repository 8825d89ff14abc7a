//! The names that tensors of adapters have, in every stack, and what they mean.

use std::collections::HashMap;

use crate::adapter::AdapterSite;
use crate::adapter::site::Stack;
use crate::adapter::write::is_saved_whole;
use crate::names::{hugging_face, parts};
use crate::{Config, ExpertFormat, Part};

/// What has factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Module {
    /// One matrix.
    Site(AdapterSite),
    /// The gates or the ups of one expert.
    Half { layer: usize, expert: usize, is_up: bool },
    /// All experts of a layer as PEFT has them; the inner one is wrapped by the other.
    Packed { layer: usize, is_inner: bool },
    /// All experts of a layer with one factor in common, as Tinker has them.
    Shared { layer: usize, weight: SharedWeight },
}

/// Tinker's names: w1, w3, w2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SharedWeight {
    Gate,
    Up,
    Down,
}

/// What a tensor is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    A,
    B,
    /// A and B of an embedding, which change places.
    EmbeddingA,
    EmbeddingB,
    /// The lengths of DoRA's rows.
    Magnitude,
}

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A factor of a module.
    Factor(Module, Factor),
    /// A copy of a part of the base, for comparison.
    BaseCopy(Part),
    /// A part in place of the base's.
    Whole(Part),
    /// Rows in place of the base's: of the embedding, or of the head.
    Rows { is_head: bool },
}

/// Names of factors at the end of a tensor's name.
const FACTORS: [(&str, Factor); 6] = [
    (".lora_A.weight", Factor::A),
    (".lora_B.weight", Factor::B),
    (".lora_embedding_A", Factor::EmbeddingA),
    (".lora_embedding_B", Factor::EmbeddingB),
    (".lora_magnitude_vector", Factor::Magnitude),
    (".lora_magnitude_vector.weight", Factor::Magnitude),
];

/// The names of one model.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    config: &'a Config,
    /// Parts that can be saved whole, by name.
    whole: HashMap<String, Part>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(config: &'a Config) -> Keys<'a> {
        let whole =
            parts(config, ExpertFormat::Bf16).into_iter().filter(|part| is_saved_whole(config, *part));
        let named = whole.map(|part| (bare(&hugging_face(config, part)).to_owned(), part));
        Keys { config, whole: named.collect() }
    }

    /// What a tensor of this name is, or why it is none that is read.
    pub(super) fn meaning(&self, name: &str) -> Result<Meaning, String> {
        let bare = bare(name);
        for (suffix, factor) in FACTORS {
            if let Some(path) = bare.strip_suffix(suffix) {
                return self.module(path).map(|module| Meaning::Factor(module, factor));
            }
        }
        if let Some(path) = bare.strip_suffix(".token_adapter.trainable_tokens_delta") {
            return match path {
                "embed_tokens" => Ok(Meaning::Rows { is_head: false }),
                "lm_head" => Ok(Meaning::Rows { is_head: true }),
                _ => Err("rows are replaced in a matrix that is not the embedding or the head".to_owned()),
            };
        }
        if bare.ends_with(".bias") && bare.contains(".lora_B.") {
            return Err("biases of the factors are not read: train without lora_bias".to_owned());
        }
        let copy = bare.strip_suffix(".base_layer.weight").map(|module| format!("{module}.weight"));
        let part = self.whole.get(copy.as_deref().unwrap_or(bare));
        match (part, copy.is_some()) {
            (Some(part), true) => Ok(Meaning::BaseCopy(*part)),
            (Some(part), false) => Ok(Meaning::Whole(*part)),
            (None, _) => Err("no part of this model has such a tensor".to_owned()),
        }
    }

    fn module(&self, path: &str) -> Result<Module, String> {
        let unknown = || "no part of this model takes such a factor".to_owned();
        match path {
            "embed_tokens" => return Ok(Module::Site(AdapterSite::Embedding)),
            "lm_head" | "unembed_tokens" => return Ok(Module::Site(AdapterSite::Unembedding)),
            _ => {}
        }
        let (layer, rest) =
            path.strip_prefix("layers.").and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
        let layer = index(layer, self.config.num_hidden_layers).ok_or_else(|| {
            format!("the model has {} layers, and not this one", self.config.num_hidden_layers)
        })?;
        if let Some(name) = rest.strip_prefix("self_attn.").or(rest.strip_prefix("attn.")) {
            let site = match name {
                "q_proj" => AdapterSite::Query(layer),
                "k_proj" => AdapterSite::Key(layer),
                "v_proj" => AdapterSite::Value(layer),
                "o_proj" => AdapterSite::Out(layer),
                _ => return Err(unknown()),
            };
            return Ok(Module::Site(site));
        }
        if rest == "mlp.router" || rest.starts_with("mlp.router.") {
            return Err(
                "factors beside the router are not read: it can be saved whole (modules_to_save)".to_owned()
            );
        }
        let mlp = if self.config.is_dense() { "mlp" } else { "mlp.experts" };
        let rest = rest.strip_prefix(mlp).ok_or_else(unknown)?;
        self.expert_module(layer, rest)
    }

    /// What follows the name of a layer's experts.
    fn expert_module(&self, layer: usize, rest: &str) -> Result<Module, String> {
        let unknown = || "no part of this model takes such a factor".to_owned();
        let shared = |weight| Ok(Module::Shared { layer, weight });
        match rest {
            "" => return Ok(Module::Packed { layer, is_inner: false }),
            ".base_layer" => return Ok(Module::Packed { layer, is_inner: true }),
            ".w1" => return shared(SharedWeight::Gate),
            ".w2" => return shared(SharedWeight::Down),
            ".w3" => return shared(SharedWeight::Up),
            _ => {}
        }
        let (first, second) =
            rest.strip_prefix('.').and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
        let experts = self.config.num_local_experts.max(1);
        let (expert, name) = match index(first, experts) {
            Some(expert) => (expert, second),
            None => {
                let missing = || format!("a layer has {experts} experts, and not this one");
                let stack = matches!(first, "gate_up_projs" | "down_projs");
                let expert =
                    stack.then(|| index(second, experts)).ok_or_else(unknown)?.ok_or_else(missing)?;
                (expert, first)
            }
        };
        match name {
            "gate_up_projs" | "gate_up_proj" => Ok(Module::Site(Stack::GateUp.site(layer, expert))),
            "down_projs" | "down_proj" | "w2" => Ok(Module::Site(Stack::Down.site(layer, expert))),
            "gate_proj" | "w1" => Ok(Module::Half { layer, expert, is_up: false }),
            "up_proj" | "w3" => Ok(Module::Half { layer, expert, is_up: true }),
            _ => Err(unknown()),
        }
    }
}

/// A name without the wrappers that stacks put around it.
fn bare(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("base_model.").or(name.strip_prefix("model.")) {
        name = rest;
    }
    name
}

/// A number below `count`, written in the one way that it is.
fn index(text: &str, count: usize) -> Option<usize> {
    text.parse().ok().filter(|index: &usize| *index < count && index.to_string() == text)
}
