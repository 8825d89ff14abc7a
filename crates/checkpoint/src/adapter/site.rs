//! Where an addition goes: shapes of sites, and what PEFT calls their modules.

use crate::adapter::AdapterSite;
use crate::{Config, LayerPart, Part};

/// A parameter of a layer's experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// `gate_up_proj`
    GateUp,
    /// `down_proj`
    Down,
}

impl Stack {
    /// `[N, K]` of each of its matrices.
    pub(super) fn shape(self, config: &Config) -> [usize; 2] {
        match self {
            Stack::GateUp => [2 * config.intermediate_size, config.hidden_size],
            Stack::Down => [config.hidden_size, config.intermediate_size],
        }
    }

    /// One of its matrices.
    pub(super) fn site(self, layer: usize, expert: usize) -> AdapterSite {
        match self {
            Stack::GateUp => AdapterSite::GateUp { layer, expert },
            Stack::Down => AdapterSite::Down { layer, expert },
        }
    }

    /// The parameter's own name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Stack::GateUp => "gate_up_proj",
            Stack::Down => "down_proj",
        }
    }
}

impl AdapterSite {
    /// `[N, K]` of the matrix; `None` where the model has no such matrix.
    pub fn shape(self, config: &Config) -> Option<[usize; 2]> {
        let experts = config.num_local_experts.max(1);
        let is_there = match self {
            AdapterSite::Embedding | AdapterSite::Unembedding => true,
            AdapterSite::Query(layer)
            | AdapterSite::Key(layer)
            | AdapterSite::Value(layer)
            | AdapterSite::Out(layer) => layer < config.num_hidden_layers,
            AdapterSite::GateUp { layer, expert } | AdapterSite::Down { layer, expert } => {
                layer < config.num_hidden_layers && expert < experts
            }
        };
        let kv_rows = config.num_key_value_heads * config.head_dim;
        let q_rows = config.num_attention_heads * config.head_dim;
        is_there.then_some(match self {
            AdapterSite::Embedding | AdapterSite::Unembedding => [config.vocab_size, config.hidden_size],
            AdapterSite::Query(_) => [q_rows, config.hidden_size],
            AdapterSite::Key(_) | AdapterSite::Value(_) => [kv_rows, config.hidden_size],
            AdapterSite::Out(_) => [config.hidden_size, q_rows],
            AdapterSite::GateUp { .. } => Stack::GateUp.shape(config),
            AdapterSite::Down { .. } => Stack::Down.shape(config),
        })
    }

    /// The part that holds the matrix alone; `None` for the matrices of experts, which lie in stacks.
    pub fn part(self) -> Option<Part> {
        match self {
            AdapterSite::Embedding => Some(Part::Embedding),
            AdapterSite::Unembedding => Some(Part::Unembedding),
            AdapterSite::Query(layer) => Some(Part::Layer(layer, LayerPart::QWeight)),
            AdapterSite::Key(layer) => Some(Part::Layer(layer, LayerPart::KWeight)),
            AdapterSite::Value(layer) => Some(Part::Layer(layer, LayerPart::VWeight)),
            AdapterSite::Out(layer) => Some(Part::Layer(layer, LayerPart::OutWeight)),
            AdapterSite::GateUp { .. } | AdapterSite::Down { .. } => None,
        }
    }
}

/// The module that holds a layer's experts: `model.layers.7.mlp.experts`.
pub(super) fn experts_module(config: &Config, layer: usize) -> String {
    let experts = if config.is_dense() { "" } else { ".experts" };
    format!("model.layers.{layer}.mlp{experts}")
}
