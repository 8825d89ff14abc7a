//! The MLP of a layer: what its experts make of each row.
//!
//! Entry point: [`add_mlp`]. Rows are sorted by expert, so that an expert's matrices are read once for all of
//! them; each row then adds up its experts in the order in which the router ranked them, so its sum does not
//! depend on the others. The reference divides the router's weights by their number and multiplies the sum by
//! it, which is left out here.

use gptoss_kernels::{LinearDims, Pool, Rows, gather_rows, linear, swiglu, top_k_softmax};

use crate::config::FilterConfig;
use crate::rows::{add, normalized, product};
use crate::weights::Layer;

/// Slope of the sigmoid.
const SWIGLU_ALPHA: f32 = 1.702;

/// Adds the result of the layer's MLP to `hidden [T, C]`.
pub(crate) fn add_mlp(pool: &Pool, config: &FilterConfig, layer: &Layer, hidden: &mut [f32]) {
    let (c, active) = (config.hidden_size, config.experts_per_token);
    let normed = normalized(pool, config, hidden, &layer.mlp_norm);
    let routing = Routing::of(pool, config, layer, &normed);
    let mut outputs = vec![0.0; routing.token_of_slot.len() * c];
    for expert in 0..config.num_experts {
        let slots = routing.first_slot[expert]..routing.first_slot[expert + 1];
        if slots.is_empty() {
            continue;
        }
        let mut x = vec![0.0; slots.len() * c];
        gather_rows(pool, &mut x, &normed, &routing.token_of_slot[slots.clone()]);
        run_expert(pool, config, layer, expert, &x, &mut outputs[slots.start * c..slots.end * c]);
    }
    let mut update = vec![0.0; hidden.len()];
    pool.for_each_row(&mut update, c, |token, update| {
        for assignment in token * active..(token + 1) * active {
            let weight = routing.weights[assignment];
            let row = &outputs[routing.slot_of_assignment[assignment] * c..][..c];
            update.iter_mut().zip(row).for_each(|(update, number)| *update += weight * number);
        }
    });
    add(pool, hidden, &update, c);
}

fn run_expert(pool: &Pool, config: &FilterConfig, layer: &Layer, expert: usize, x: &[f32], out: &mut [f32]) {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let t = x.len() / c;
    let mut gate_up = vec![0.0; t * 2 * f];
    let (matrix, bias) = layer.gate_up.of(expert);
    linear(pool, &mut gate_up, Rows::F32(x), matrix, Some(bias), LinearDims { t, n: 2 * f, k: c });
    let mut activated = vec![0.0; t * f];
    pool.for_each_row(&mut activated, f, |row, out| {
        let (gates, ups) = gate_up[row * 2 * f..][..2 * f].split_at(f);
        // The op takes pairs, and here all gates come before all ups.
        let pairs: Vec<f32> = gates.iter().zip(ups).flat_map(|(&gate, &up)| [gate, up]).collect();
        swiglu(out, &pairs, config.swiglu_limit, SWIGLU_ALPHA);
    });
    let (matrix, bias) = layer.down.of(expert);
    linear(pool, out, Rows::F32(&activated), matrix, Some(bias), LinearDims { t, n: c, k: f });
}

/// Who goes where; a slot is a place among the rows of an expert.
struct Routing {
    /// `[T * A]`: the weight of each assignment.
    weights: Vec<f32>,
    /// `[T * A]`: the slot of each assignment.
    slot_of_assignment: Vec<usize>,
    /// `[T * A]`: the row of each slot.
    token_of_slot: Vec<usize>,
    /// `[E + 1]`: the first slot of each expert.
    first_slot: Vec<usize>,
}

impl Routing {
    fn of(pool: &Pool, config: &FilterConfig, layer: &Layer, normed: &[f32]) -> Routing {
        let (e, active) = (config.num_experts, config.experts_per_token);
        let logits = product(pool, &layer.router, normed, config.hidden_size);
        let num_tokens = logits.len() / e;
        let (mut experts, mut weights) = (vec![0; num_tokens * active], vec![0.0; num_tokens * active]);
        let chosen = experts.chunks_exact_mut(active).zip(weights.chunks_exact_mut(active));
        for (logits, (experts, weights)) in logits.chunks_exact(e).zip(chosen) {
            top_k_softmax(logits, active, experts, weights);
        }
        let mut order: Vec<usize> = (0..experts.len()).collect();
        order.sort_by_key(|&assignment| experts[assignment]);
        let mut slot_of_assignment = vec![0; order.len()];
        order.iter().enumerate().for_each(|(slot, &assignment)| slot_of_assignment[assignment] = slot);
        let before = |expert: usize| order.partition_point(|&a| (experts[a] as usize) < expert);
        Routing {
            first_slot: (0..=e).map(before).collect(),
            token_of_slot: order.iter().map(|&assignment| assignment / active).collect(),
            slot_of_assignment,
            weights,
        }
    }
}
