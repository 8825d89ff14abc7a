//! A model fitted into a card's memory: whole, or with some of its experts on the host.
//!
//! Entry point: [`plan_card`]. If the terms of `plan.rs` are within the budget, all is on the card. Otherwise
//! everything but the experts is, and as many experts of each layer as the rest has room for, at least one.

use gptoss_checkpoint::{LayerPart, Part};
use gptoss_gpu::buffer_bytes;

use crate::Error;
use crate::config::{KvFormat, LoadOptions, ModelConfig};
use crate::gpu::expert_slots::slots_of_layers;
use crate::gpu::host_experts::staging_bytes;
use crate::gpu::load::whole_words;
use crate::gpu::plan::{card_memory, vector_len};
use crate::gpu::workspace::chosen_bytes;
use crate::layout::StoreSizes;
use crate::memory::Term;
use crate::memory_plan::MemoryPlan;
use crate::parameters::mlp_part_name;

/// Fits a model, with the store that `sizes` has room for, into `budget` bytes of a card, as [`card_memory`]
/// counts them.
///
/// Errors: `CardTooSmall` with the smallest budget that would do.
pub fn plan_card(
    config: &ModelConfig,
    weights: &[(Part, u64)],
    (sizes, max_context): (StoreSizes, usize),
    kv_format: KvFormat,
    options: &LoadOptions,
    budget: u64,
) -> Result<MemoryPlan, Error> {
    let terms = card_memory(config, weights, sizes, max_context, kv_format, options);
    let whole = card_bytes(&terms);
    if whole <= budget {
        return Ok(MemoryPlan { terms, expert_slots: None });
    }
    let all = config.num_layers * config.expert_slots();
    let all_experts = expert_bytes(config, weights, all);
    let bytes = |slots| whole - all_experts + expert_bytes(config, weights, slots);
    let least = if whole_words(config) { config.num_layers } else { all };
    if bytes(least) > budget {
        return Err(Error::CardTooSmall { budget, smallest: bytes(least), whole });
    }
    let (mut slots, mut too_many) = (least, all);
    while too_many - slots > 1 {
        let middle = usize::midpoint(slots, too_many);
        if bytes(middle) <= budget { slots = middle } else { too_many = middle }
    }
    Ok(MemoryPlan { terms: with_slots(terms, config, weights, slots), expert_slots: Some(slots) })
}

/// What of a plan is the card's. Units: bytes.
pub fn card_bytes(terms: &[Term]) -> u64 {
    terms.iter().filter(|term| !is_host(term)).map(|term| term.bytes).sum()
}

fn is_host(term: &Term) -> bool {
    term.name.starts_with("host: ")
}

/// The terms with so many experts on the card.
fn with_slots(
    mut terms: Vec<Term>,
    config: &ModelConfig,
    weights: &[(Part, u64)],
    slots: usize,
) -> Vec<Term> {
    let name = format!("weights: {}", mlp_part_name(config));
    let all = config.num_layers * config.expert_slots();
    for term in &mut terms {
        if term.name == name {
            *term = Term {
                name: format!("{name}, {slots} of {all} on the card"),
                bytes: expert_bytes(config, weights, slots),
            };
        } else if is_host(term) {
            term.bytes += host_bytes(config, weights);
        }
    }
    terms
}

/// Bytes of the stacks of a layer's experts, as a card has them.
fn stacks(config: &ModelConfig, weights: &[(Part, u64)], layer: usize) -> Vec<u64> {
    use LayerPart::{DownBias, DownBlocks, DownScales, GateUpBias, GateUpBlocks, GateUpScales};
    let stacks = weights.iter().filter_map(|(part, bytes)| match part {
        Part::Layer(of, GateUpBlocks | GateUpScales | DownBlocks | DownScales) if *of == layer => {
            Some(*bytes)
        }
        Part::Layer(of, GateUpBias | DownBias) if *of == layer => {
            vector_len(config, *part).map(|count| 4 * count as u64)
        }
        _ => None,
    });
    stacks.collect()
}

/// Bytes of so many experts of all layers on the card.
fn expert_bytes(config: &ModelConfig, weights: &[(Part, u64)], slots: usize) -> u64 {
    let num_experts = config.expert_slots() as u64;
    let of_layer = |(layer, slots): (usize, usize)| {
        let stacks = stacks(config, weights, layer).into_iter();
        stacks.map(|bytes| buffer_bytes(bytes / num_experts * slots as u64)).sum::<u64>()
    };
    slots_of_layers(config.num_layers, slots).into_iter().enumerate().map(of_layer).sum()
}

/// Bytes of the host that the way to the card takes: two staging buffers, and what routers chose.
fn host_bytes(config: &ModelConfig, weights: &[(Part, u64)]) -> u64 {
    let of_layer = |layer| staging_bytes(stacks(config, weights, layer), config.expert_slots() as u64);
    let staging = (0..config.num_layers).map(of_layer).max().unwrap_or_default();
    2 * buffer_bytes(staging) + buffer_bytes(chosen_bytes(config))
}
