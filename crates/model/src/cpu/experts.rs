//! The MLP of a layer: which experts a token goes to, and what they make of it.
//!
//! Entry point: [`mlp_block`]. Tokens are sorted by expert, so that each expert's matrices are read once for all its
//! tokens in the chunk; results lie in that order until every token collects its own, always in the order in which
//! the router ranked its experts. So a token's sum does not depend on who else was in the chunk. A dense layer is one
//! expert that takes every token with weight 1.
//!
//! In fast precision the inputs of both products are int8 per 32 numbers, if the experts are MXFP4. Products with
//! bf16 experts are exact in either precision. Experts that are on disk come in the order in which they are in memory,
//! which changes no number: each writes the rows of its own places.
//!
//! It does not know attention, the cache or the layer's number.

use gptoss_kernels::{LinearDims, Rows, gather_q8, linear, quantize_q8, swiglu, swiglu_q8, top_k_softmax};

use crate::Error;
use crate::config::Precision;
use crate::cpu::activations::{self, Activations, int8_order};
use crate::cpu::block::{Step, Workspace, add, for_each_row, normalize};
use crate::cpu::weights::{Expert, MlpWeights};

/// Adds the MLP's result to `hidden [T, C]`.
///
/// Errors: what reading an expert from disk met; `hidden` is as before then.
///
/// Source: spec of the architecture, section 1.5.
pub(crate) fn mlp_block(
    step: &Step<'_>,
    weights: &MlpWeights,
    hidden: &mut [f32],
    work: &mut Workspace,
) -> Result<(), Error> {
    let width = step.config.hidden_size;
    let normed = &mut work.normed[..step.num_tokens * width];
    normalize(step.pool, normed, hidden, &weights.norm, step.config.rms_norm_eps);
    let routing = Routing::new(step, weights, &work.normed);
    if let (Some(order), Precision::Fast) = (weights.experts.activation_order(), step.precision) {
        // Once for all the experts that a token goes to.
        work.normed_q8.reset_for(order);
        quantize_q8(
            step.pool,
            &mut work.normed_q8,
            &work.normed[..step.num_tokens * width],
            step.num_tokens,
            width,
        );
    }
    weights.experts.for_each(&routing.active_experts(), step.num_tokens, |expert, matrices| {
        run_expert(step, weights, expert, matrices, &routing, work);
    })?;
    let active = step.config.active_experts();
    let expert_rows = &work.expert_rows;
    let update = &mut work.update[..step.num_tokens * width];
    for_each_row(step.pool, update, width, |token, update| {
        update.fill(0.0);
        for choice in token * active..(token + 1) * active {
            let weight = routing.weights[choice];
            let row = &expert_rows[routing.place_of_choice[choice] * width..][..width];
            for (update, number) in update.iter_mut().zip(row) {
                *update += weight * number;
            }
        }
    });
    add(step.pool, hidden, update, width);
    Ok(())
}

/// Who goes where. A choice is a token's a-th expert, `token * A + a`; places are choices sorted by expert, tokens
/// ascending.
struct Routing {
    /// `[T * A]`: the weight of each choice.
    weights: Vec<f32>,
    /// `[T * A]`: where each choice stands in the sorted order.
    place_of_choice: Vec<usize>,
    /// `[T * A]`: the token at each place.
    token_at_place: Vec<usize>,
    /// `[E + 1]`: the first place of each expert.
    first_place: Vec<usize>,
}

impl Routing {
    fn new(step: &Step<'_>, weights: &MlpWeights, normed: &[f32]) -> Routing {
        let active = step.config.active_experts();
        let num_choices = step.num_tokens * active;
        let mut experts = vec![0; num_choices];
        let mut gates = vec![1.0; num_choices];
        if let Some(router) = &weights.router {
            let num_experts = step.config.num_experts;
            let mut logits = vec![0.0; step.num_tokens * num_experts];
            // Never int8: a token near the edge between two experts would go to the other one.
            let x = Activations::exact(&normed[..step.num_tokens * step.config.hidden_size]);
            activations::linear(step.pool, &mut logits, &x, router);
            let choices = experts.chunks_exact_mut(active).zip(gates.chunks_exact_mut(active));
            for (logits, (experts, gates)) in logits.chunks_exact(num_experts).zip(choices) {
                top_k_softmax(logits, active, experts, gates);
            }
        }
        Routing::sorted(&experts, gates, step.config.expert_slots(), active)
    }

    /// The experts that some token goes to, ascending, each with its number of tokens.
    fn active_experts(&self) -> Vec<(usize, usize)> {
        let counts = self.first_place.windows(2).map(|places| places[1] - places[0]);
        counts.enumerate().filter(|(_, tokens)| *tokens > 0).collect()
    }

    /// Sorts choices by expert, by counting.
    fn sorted(experts: &[u32], weights: Vec<f32>, num_experts: usize, active: usize) -> Routing {
        let mut first_place = vec![0; num_experts + 1];
        for &expert in experts {
            first_place[expert as usize + 1] += 1;
        }
        for expert in 0..num_experts {
            first_place[expert + 1] += first_place[expert];
        }
        let mut next = first_place.clone();
        let mut token_at_place = vec![0; experts.len()];
        let place_of_choice = experts
            .iter()
            .enumerate()
            .map(|(choice, &expert)| {
                let place = next[expert as usize];
                next[expert as usize] += 1;
                token_at_place[place] = choice / active;
                place
            })
            .collect();
        Routing { weights, place_of_choice, token_at_place, first_place }
    }
}

/// Computes one expert for all its tokens; the results go to its places in `work.expert_rows`.
fn run_expert(
    step: &Step<'_>,
    weights: &MlpWeights,
    expert: usize,
    matrices: Expert<'_>,
    routing: &Routing,
    work: &mut Workspace,
) {
    let [width, inner] = [step.config.hidden_size, step.config.intermediate_size];
    let places = routing.first_place[expert]..routing.first_place[expert + 1];
    let tokens = &routing.token_at_place[places.clone()];
    let rows = tokens.len();
    let gate_up = &mut work.gate_up[..rows * 2 * inner];
    let gate_up_bias = &weights.gate_up_bias[expert * 2 * inner..][..2 * inner];
    let x = match int8_order(step.precision, matrices.gate_up) {
        Some(_) => {
            gather_q8(step.pool, &mut work.gathered_q8, &work.normed_q8, tokens);
            Rows::Q8(&work.gathered_q8)
        }
        None => Rows::F32(gather(step, &mut work.gathered, &work.normed, tokens)),
    };
    let dims = LinearDims { t: rows, n: 2 * inner, k: width };
    linear(step.pool, gate_up, x, matrices.gate_up, Some(gate_up_bias), dims);
    let x = match int8_order(step.precision, matrices.down) {
        Some(order) => {
            let (limit, alpha) = (step.config.swiglu_limit, step.config.swiglu_alpha);
            work.activated_q8.reset_for(order);
            swiglu_q8(step.pool, &mut work.activated_q8, gate_up, rows, limit, alpha);
            Rows::Q8(&work.activated_q8)
        }
        None => {
            let activated = &mut work.activated[..rows * inner];
            activate(step, activated, gate_up);
            Rows::F32(activated)
        }
    };
    let out = &mut work.expert_rows[places.start * width..places.end * width];
    let down_bias = &weights.down_bias[expert * width..][..width];
    let dims = LinearDims { t: rows, n: width, k: inner };
    linear(step.pool, out, x, matrices.down, Some(down_bias), dims);
}

/// The rows of `normed [T, C]` that belong to `tokens`, in their order.
fn gather<'a>(step: &Step<'_>, gathered: &'a mut [f32], normed: &[f32], tokens: &[usize]) -> &'a [f32] {
    let width = step.config.hidden_size;
    let gathered = &mut gathered[..tokens.len() * width];
    for_each_row(step.pool, gathered, width, |row, out| {
        out.copy_from_slice(&normed[tokens[row] * width..][..width]);
    });
    gathered
}

/// SwiGLU of every row: `out [T, F]`, `gate_up [T, 2F]`.
fn activate(step: &Step<'_>, out: &mut [f32], gate_up: &[f32]) {
    let inner = step.config.intermediate_size;
    let (limit, alpha) = (step.config.swiglu_limit, step.config.swiglu_alpha);
    for_each_row(step.pool, out, inner, |row, out| {
        swiglu(out, &gate_up[row * 2 * inner..][..2 * inner], limit, alpha);
    });
}
