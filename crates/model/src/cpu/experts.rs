//! The MLP of a layer: what its experts make of each token.
//!
//! Entry point: [`mlp_block`]. `routing.rs` sorts tokens by expert, so that each expert's matrices are read
//! once for all its tokens in the chunk; results lie in that order until every token collects its own, always
//! in the order in which the router ranked its experts. So a token's sum does not depend on who else was in
//! the chunk.
//!
//! In fast precision the inputs of both products are int8 per 32 numbers, if the experts are MXFP4. Products
//! with bf16 experts are exact in either precision, and so are those of adapters, whose rows are gathered and
//! activated once more as f32. Experts that are on disk come in the order in which they
//! are in memory, which changes no number: each writes the rows of its own slots.

use gptoss_checkpoint::AdapterSite;
use gptoss_kernels::{LinearDims, Rows, gather_q8, linear, quantize_q8, swiglu, swiglu_q8};

use crate::Error;
use crate::config::Precision;
use crate::cpu::activations::int8_order;
use crate::cpu::adapters::ranges;
use crate::cpu::block::{StepInputs, add, normalize};
use crate::cpu::routing::Routing;
use crate::cpu::weights::{Expert, MlpWeights};
use crate::cpu::workspace::Workspace;

/// Adds the result of the MLP of layer `layer` to `hidden [T, C]`.
///
/// Errors: what reading an expert from disk met; `hidden` is as before then.
///
/// Source: spec of the architecture, section 1.5.
pub(crate) fn mlp_block(
    step: &StepInputs<'_>,
    layer: usize,
    weights: &MlpWeights,
    hidden: &mut [f32],
    work: &mut Workspace,
) -> Result<(), Error> {
    let width = step.config.hidden_size;
    let normed = &mut work.normed[..step.num_tokens * width];
    normalize(step.pool, normed, hidden, &weights.norm, step.config.rms_norm_eps);
    let mut routing = std::mem::take(&mut work.routing);
    let router = (layer, weights.router.as_ref());
    routing.route(step.pool, step.config, router, normed, step.adapted);
    if let (Some(order), Precision::Fast) = (weights.experts.activation_order(), step.precision) {
        // Once for all the experts that a token goes to.
        work.normed_q8.reset_for(order);
        quantize_q8(step.pool, &mut work.normed_q8, normed, step.num_tokens, width);
    }
    let outcome = weights.experts.for_each(&routing.active_experts, step.num_tokens, |expert, matrices| {
        run_expert(step, weights, (layer, expert), matrices, &routing, work);
    });
    if outcome.is_ok() {
        collect(step, &routing, hidden, work);
    }
    work.routing = routing;
    outcome
}

/// Adds each token's experts to its row of `hidden [T, C]`, in the order in which the router ranked them.
fn collect(step: &StepInputs<'_>, routing: &Routing, hidden: &mut [f32], work: &mut Workspace) {
    let (width, active) = (step.config.hidden_size, step.config.active_experts());
    let expert_rows = &work.expert_rows;
    let update = &mut work.update[..step.num_tokens * width];
    step.pool.for_each_row(update, width, |token, update| {
        update.fill(0.0);
        for assignment in token * active..(token + 1) * active {
            let weight = routing.weights[assignment];
            let row = &expert_rows[routing.slot_of_assignment[assignment] * width..][..width];
            for (update, number) in update.iter_mut().zip(row) {
                *update += weight * number;
            }
        }
    });
    add(step.pool, hidden, update, width);
}

/// Computes one expert of a layer for all its tokens; the results go to its slots in `work.expert_rows`.
fn run_expert(
    step: &StepInputs<'_>,
    weights: &MlpWeights,
    (layer, expert): (usize, usize),
    matrices: Expert<'_>,
    routing: &Routing,
    work: &mut Workspace,
) {
    let [width, inner] = [step.config.hidden_size, step.config.intermediate_size];
    let slots = routing.first_slot[expert]..routing.first_slot[expert + 1];
    let tokens = &routing.token_of_slot[slots.clone()];
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
    for (range, adapter) in ranges(step.adapted, tokens) {
        if let Some(pair) = adapter.pair(AdapterSite::GateUp { layer, expert }) {
            let x = gather(step, &mut work.gathered, &work.normed, &tokens[range.clone()]);
            let gate_up = &mut gate_up[range.start * 2 * inner..range.end * 2 * inner];
            pair.add(step.pool, gate_up, x, &mut work.shrunk);
        }
    }
    let x = match int8_order(step.precision, matrices.down) {
        Some(order) => {
            let (limit, alpha) = (step.config.swiglu_limit, step.config.swiglu_alpha);
            work.activated_q8.reset_for(order);
            swiglu_q8(step.pool, &mut work.activated_q8, gate_up, rows, limit, alpha);
            Rows::Q8(&work.activated_q8)
        }
        None => Rows::F32(activate(step, &mut work.activated, gate_up)),
    };
    let out = &mut work.expert_rows[slots.start * width..slots.end * width];
    let down_bias = &weights.down_bias[expert * width..][..width];
    let dims = LinearDims { t: rows, n: width, k: inner };
    linear(step.pool, out, x, matrices.down, Some(down_bias), dims);
    for (range, adapter) in ranges(step.adapted, tokens) {
        if let Some(pair) = adapter.pair(AdapterSite::Down { layer, expert }) {
            let gate_up = &gate_up[range.start * 2 * inner..range.end * 2 * inner];
            let x = activate(step, &mut work.activated, gate_up);
            pair.add(step.pool, &mut out[range.start * width..range.end * width], x, &mut work.shrunk);
        }
    }
}

/// The rows of `normed [T, C]` that belong to `tokens`, in their order.
fn gather<'a>(step: &StepInputs<'_>, gathered: &'a mut [f32], normed: &[f32], tokens: &[usize]) -> &'a [f32] {
    let width = step.config.hidden_size;
    let gathered = &mut gathered[..tokens.len() * width];
    step.pool.for_each_row(gathered, width, |row, out| {
        out.copy_from_slice(&normed[tokens[row] * width..][..width]);
    });
    gathered
}

/// SwiGLU of every row of `gate_up [T, 2F]`: `[T, F]`.
fn activate<'a>(step: &StepInputs<'_>, activated: &'a mut [f32], gate_up: &[f32]) -> &'a [f32] {
    let inner = step.config.intermediate_size;
    let (limit, alpha) = (step.config.swiglu_limit, step.config.swiglu_alpha);
    let activated = &mut activated[..gate_up.len() / 2];
    step.pool.for_each_row(activated, inner, |row, out| {
        swiglu(out, &gate_up[row * 2 * inner..][..2 * inner], limit, alpha);
    });
    activated
}
