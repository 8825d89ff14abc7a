//! The router and the experts of a layer, forward and backward.
//!
//! Experts are taken in ascending order, each with the rows that chose it, ascending too; that is the order
//! in which a row's update and its gradient are added up.

use gptoss_kernels::{
    LinearDims, Matrix, Rows, linear, row_dots, scatter_rows, swiglu_backward, swiglu_on, top_k_softmax,
    top_k_softmax_backward,
};

use crate::balance::balance;
use crate::network::{Expert, Layer, Shape};
use crate::seen::{Pass, Seen};
use crate::trained::Gradients;

/// Which experts each row chose, kept between forward and backward.
pub(crate) struct Choice {
    /// `[T, A]`
    experts: Vec<u32>,
    /// `[T, A]`
    weights: Vec<f32>,
    active: usize,
}

impl Choice {
    /// The rows of an expert, and where in the choice of each it stands.
    fn rows_of(&self, expert: usize) -> (Vec<usize>, Vec<usize>) {
        let places = self.experts.iter().enumerate().filter(|(_, chosen)| **chosen as usize == expert);
        places.map(|(place, _)| (place / self.active, place)).unzip()
    }

    /// The weights at some places.
    fn weights_at(&self, places: &[usize]) -> Vec<f32> {
        places.iter().map(|place| self.weights[*place]).collect()
    }
}

/// `x [T, C]` and what the experts add to it.
pub(crate) fn forward<'a>(pass: Pass<'a>, shape: &Shape, layer: &Layer<'a>, x: &[f32]) -> (Vec<f32>, Choice) {
    let (c, active) = (shape.hidden_size, shape.active_experts);
    let normed = pass.norm(layer.norm, x, shape.rms_norm_eps);
    let logits = pass.linear(&pass.dense(&layer.router), &normed);
    let mut choice =
        Choice { experts: vec![0; x.len() / c * active], weights: vec![0.0; x.len() / c * active], active };
    let rows = choice.experts.chunks_exact_mut(active).zip(choice.weights.chunks_exact_mut(active));
    for (logits, (experts, weights)) in logits.chunks_exact(layer.router.num_outputs).zip(rows) {
        top_k_softmax(logits, active, experts, weights);
    }
    let mut out = x.to_vec();
    for (index, expert) in layer.experts.iter().enumerate() {
        let (rows, places) = choice.rows_of(index);
        if !rows.is_empty() {
            let gate_up = pass.expert(&expert.gate_up);
            let [_, activated] = activate(pass, shape, &gate_up, &pass.gather(&normed, &rows, c));
            let update = pass.linear(&pass.expert(&expert.down), &activated);
            scatter_rows(pass.pool, &mut out, &update, &rows, &choice.weights_at(&places));
        }
    }
    (out, choice)
}

/// Turns the gradient of what [`forward`] gave into that of `x`, in place. Where the balance of experts
/// weighs anything its gradient is part of it, and its loss is given.
pub(crate) fn backward<'a>(
    pass: Pass<'a>,
    (shape, layer, choice): (&Shape, &Layer<'a>, &Choice),
    gradients: &mut Gradients,
    x: &[f32],
    d: &mut [f32],
    balance_weight: f64,
) -> Option<f64> {
    let c = shape.hidden_size;
    let normed = pass.norm(layer.norm, x, shape.rms_norm_eps);
    let mut dnormed = vec![0.0; x.len()];
    let mut dweights = vec![0.0; choice.weights.len()];
    for (index, expert) in layer.experts.iter().enumerate() {
        let (rows, places) = choice.rows_of(index);
        if rows.is_empty() {
            continue;
        }
        let (inputs, douts) = (pass.gather(&normed, &rows, c), pass.gather(d, &rows, c));
        let weights = choice.weights_at(&places);
        let (dinputs, dchosen) =
            expert_backward(pass, (shape, expert), gradients, (&inputs, douts), &weights);
        scatter_rows(pass.pool, &mut dnormed, &dinputs, &rows, &vec![1.0; rows.len()]);
        places.iter().zip(dchosen).for_each(|(place, dweight)| dweights[*place] = dweight);
    }
    let num_experts = layer.router.num_outputs;
    let mut dlogits = vec![0.0; x.len() / c * num_experts];
    for (row, dlogits) in dlogits.chunks_exact_mut(num_experts).enumerate() {
        let chosen = row * choice.active..(row + 1) * choice.active;
        let (experts, weights) = (&choice.experts[chosen.clone()], &choice.weights[chosen.clone()]);
        top_k_softmax_backward(dlogits, experts, weights, &dweights[chosen]);
    }
    let (sizes, router) = ((num_experts, choice.active), pass.dense(&layer.router));
    let unbalanced = (balance_weight != 0.0).then(|| {
        let logits = pass.linear(&router, &normed);
        balance(&mut dlogits, &logits, &choice.experts, sizes, balance_weight)
    });
    pass.add_weight_gradients(&layer.router, gradients, &dlogits, &normed);
    pass.add_input_gradient(&router, &mut dnormed, &dlogits);
    pass.add_norm_gradients((layer.norm, shape.rms_norm_eps), gradients, d, &dnormed, x);
    unbalanced
}

/// Gates and ups `[R, 2F]` of some rows, and what comes of them `[R, F]`.
fn activate(pass: Pass<'_>, shape: &Shape, gate_up: &Seen<'_>, inputs: &[f32]) -> [Vec<f32>; 2] {
    let f = shape.intermediate_size;
    let gate_up = pass.linear(gate_up, inputs);
    let mut activated = vec![0.0; gate_up.len() / 2];
    pass.pool.for_each_row(&mut activated, f, |row, out| {
        let gate_up = &gate_up[row * 2 * f..][..2 * f];
        swiglu_on(pass.pool.tier(), out, gate_up, shape.swiglu_limit, shape.swiglu_alpha);
    });
    [gate_up, activated]
}

/// Gradients of an expert's inputs `[R, C]` and of the weights by which its rows were multiplied `[R]`.
fn expert_backward<'a>(
    pass: Pass<'a>,
    (shape, expert): (&Shape, &Expert<'a>),
    gradients: &mut Gradients,
    (inputs, mut douts): (&[f32], Vec<f32>),
    weights: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (c, f, pool) = (shape.hidden_size, shape.intermediate_size, pass.pool);
    let [seen_gate_up, seen_down] = [&expert.gate_up, &expert.down].map(|layer| pass.expert(layer));
    let [gate_up, activated] = activate(pass, shape, &seen_gate_up, inputs);
    // Before the weight, so that its own gradient is a product with it and the expert's output is not made.
    let mut dactivated = vec![0.0; activated.len()];
    pass.add_input_gradient(&seen_down, &mut dactivated, &douts);
    let mut dweights = vec![0.0; weights.len()];
    row_dots(pool, &mut dweights, &dactivated, &activated);
    if let Some(bias) = &seen_down.bias {
        let (mut of_bias, dims) = (vec![0.0; weights.len()], LinearDims { t: weights.len(), n: 1, k: c });
        linear(pool, &mut of_bias, Rows::F32(&douts), Matrix::F32(bias), None, dims);
        dweights.iter_mut().zip(of_bias).for_each(|(dweight, of_bias)| *dweight += of_bias);
    }
    scale_rows(&mut douts, weights, c);
    scale_rows(&mut dactivated, weights, f);
    pass.add_weight_gradients(&expert.down, gradients, &douts, &activated);
    let mut dgate_up = vec![0.0; gate_up.len()];
    pool.for_each_row(&mut dgate_up, 2 * f, |row, out| {
        let (dy, gate_up) = (&dactivated[row * f..][..f], &gate_up[row * 2 * f..][..2 * f]);
        swiglu_backward(pool.tier(), out, dy, gate_up, (shape.swiglu_limit, shape.swiglu_alpha));
    });
    pass.add_weight_gradients(&expert.gate_up, gradients, &dgate_up, inputs);
    let mut dinputs = vec![0.0; inputs.len()];
    pass.add_input_gradient(&seen_gate_up, &mut dinputs, &dgate_up);
    (dinputs, dweights)
}

fn scale_rows(rows: &mut [f32], factors: &[f32], width: usize) {
    for (row, factor) in rows.chunks_exact_mut(width).zip(factors) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
}
