//! The router's choice: which experts each token goes to, and where their results are put.
//!
//! Entry point: [`Routing::route`]. An assignment is a token's a-th expert, `token * A + a`; slots are
//! assignments sorted by expert, tokens ascending, so that an expert's tokens lie together. A dense layer is
//! one expert that takes every token with weight 1. The lists are kept from layer to layer.

use gptoss_kernels::{Pool, top_k_softmax};

use crate::config::ModelConfig;
use crate::cpu::activations::{Activations, linear};
use crate::cpu::adapters::AdaptedRows;
use crate::cpu::weights::Linear;

/// Who goes where.
#[derive(Default)]
pub(crate) struct Routing {
    /// `[T * A]`: the weight of each assignment.
    pub(crate) weights: Vec<f32>,
    /// `[T * A]`: the slot of each assignment.
    pub(crate) slot_of_assignment: Vec<usize>,
    /// `[T * A]`: the token of each slot.
    pub(crate) token_of_slot: Vec<usize>,
    /// `[E + 1]`: the first slot of each expert.
    pub(crate) first_slot: Vec<usize>,
    /// The experts that some token goes to, ascending, each with its number of tokens.
    pub(crate) active_experts: Vec<(usize, usize)>,
    logits: Vec<f32>,      // [T, E]
    experts: Vec<u32>,     // [T * A]
    next_slot: Vec<usize>, // [E]
}

impl Routing {
    /// Sends each row of `normed [T, C]` to the experts that the router of a layer chooses, or that of the
    /// row's adapter.
    pub(crate) fn route(
        &mut self,
        pool: &Pool,
        config: &ModelConfig,
        (layer, router): (usize, Option<&Linear>),
        normed: &[f32],
        adapted: &[AdaptedRows],
    ) {
        let num_tokens = normed.len() / config.hidden_size;
        let active = config.active_experts();
        self.experts.clear();
        self.experts.resize(num_tokens * active, 0);
        self.weights.clear();
        self.weights.resize(num_tokens * active, 1.0);
        if let Some(router) = router {
            let num_experts = config.num_experts;
            self.logits.resize(num_tokens * num_experts, 0.0);
            let logits = &mut self.logits[..];
            // Never int8: a token near the edge between two experts would go to the other one.
            linear(pool, logits, &Activations::exact(normed), router);
            for AdaptedRows { rows, adapter } in adapted {
                let logits = &mut logits[rows.start * num_experts..rows.end * num_experts];
                let width = config.hidden_size;
                adapter.route(pool, layer, logits, &normed[rows.start * width..rows.end * width]);
            }
            let chosen = self.experts.chunks_exact_mut(active).zip(self.weights.chunks_exact_mut(active));
            for (logits, (experts, weights)) in logits.chunks_exact(num_experts).zip(chosen) {
                top_k_softmax(logits, active, experts, weights);
            }
        }
        self.sort(config.expert_slots(), active);
    }

    /// Sorts assignments by expert, by counting.
    fn sort(&mut self, num_experts: usize, active: usize) {
        self.first_slot.clear();
        self.first_slot.resize(num_experts + 1, 0);
        for &expert in &self.experts {
            self.first_slot[expert as usize + 1] += 1;
        }
        self.active_experts.clear();
        for expert in 0..num_experts {
            let count = self.first_slot[expert + 1];
            if count > 0 {
                self.active_experts.push((expert, count));
            }
            self.first_slot[expert + 1] += self.first_slot[expert];
        }
        self.next_slot.clear();
        self.next_slot.extend_from_slice(&self.first_slot[..num_experts]);
        self.token_of_slot.clear();
        self.token_of_slot.resize(self.experts.len(), 0);
        self.slot_of_assignment.clear();
        for (assignment, &expert) in self.experts.iter().enumerate() {
            let slot = self.next_slot[expert as usize];
            self.next_slot[expert as usize] += 1;
            self.token_of_slot[slot] = assignment / active;
            self.slot_of_assignment.push(slot);
        }
    }
}
