//! The whole pass: the loss of a batch, and what it says of every trained number.

use gptoss_kernels::{
    Head, HeadGradients, Pool, RopeAngles, Targets, embedding_backward, head_backward, scatter_rows,
};

use crate::attention::{self, Packing};
use crate::experts::{self, Choice};
use crate::linear::Pass;
use crate::network::Network;
use crate::trained::{Gradients, Trained};

/// Logits that are held at a time: 64 MB, and one row at least.
const LOGITS_MAX: usize = 1 << 24;

/// Some packed documents and what their rows should say.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[T]`
    pub tokens: &'a [u32],
    /// Tokens of each document, together T; a document sees itself alone and counts its positions from 0.
    pub documents: &'a [usize],
    /// `[T]` the token after each.
    pub targets: &'a [u32],
    /// `[T]` factors on the negative log-likelihoods; rows of weight 0 reach no logits.
    pub weights: &'a [f32],
}

/// What a layer keeps for its gradient.
struct Kept {
    /// `[T, C]` before attention.
    x: Vec<f32>,
    /// `[T, C]` after it.
    attended: Vec<f32>,
    choice: Choice,
}

/// Adds the gradients of the sum of `weights[t] * nll[t]`, and gives that sum, ascending.
///
/// Panics: when lengths do not fit together, or a token or target is not below V.
pub fn add_gradients(
    pool: &Pool,
    network: &Network<'_>,
    trained: &Trained,
    gradients: &mut Gradients,
    batch: Batch<'_>,
) -> f64 {
    let (shape, c) = (&network.shape, network.shape.hidden_size);
    assert_eq!(batch.documents.iter().sum::<usize>(), batch.tokens.len(), "train: documents have all tokens");
    assert_eq!(batch.targets.len(), batch.tokens.len(), "train: a target a token");
    assert_eq!(batch.weights.len(), batch.tokens.len(), "train: a weight a token");
    let pass = Pass { pool, trained };
    let angles: RopeAngles = shape.rope.angles(0, batch.documents.iter().copied().max().unwrap_or(0));
    let packing = Packing { documents: batch.documents, angles: &angles };
    let mut x = vec![0.0; batch.tokens.len() * c];
    let embedding = network.embedding.view(trained);
    pool.for_each_row(&mut x, c, |row, out| embedding.unpack_row(out, batch.tokens[row] as usize));
    let mut kept = Vec::with_capacity(network.layers.len());
    for layer in &network.layers {
        let attended = attention::forward(pass, shape, &layer.attention, packing, &x);
        let (out, choice) = experts::forward(pass, shape, layer, &attended);
        kept.push(Kept { x: std::mem::replace(&mut x, out), attended, choice });
    }
    let (loss, mut d) = add_head_gradients(pass, network, gradients, batch, &x);
    drop(x);
    for (layer, kept) in network.layers.iter().zip(kept).rev() {
        experts::backward(pass, (shape, layer, &kept.choice), gradients, &kept.attended, &mut d);
        attention::backward(pass, (shape, &layer.attention, packing), gradients, &kept.x, &mut d);
    }
    if let Some(span) = network.embedding.span() {
        embedding_backward(pool, gradients.of_mut(span), &d, batch.tokens);
    }
    loss
}

/// The loss, and the gradient of the rows `x [T, C]` behind the last layer.
fn add_head_gradients(
    pass: Pass<'_>,
    network: &Network<'_>,
    gradients: &mut Gradients,
    batch: Batch<'_>,
    x: &[f32],
) -> (f64, Vec<f32>) {
    let (shape, c) = (&network.shape, network.shape.hidden_size);
    let rows: Vec<usize> = (0..batch.tokens.len()).filter(|row| batch.weights[*row] != 0.0).collect();
    let tokens: Vec<u32> = rows.iter().map(|row| batch.targets[*row]).collect();
    let weights: Vec<f32> = rows.iter().map(|row| batch.weights[*row]).collect();
    let chosen = pass.gather(x, &rows, c);
    let normed = pass.norm(network.norm, &chosen, shape.rms_norm_eps);
    let (mut nll, mut dnormed) = (vec![0.0; rows.len()], vec![0.0; chosen.len()]);
    let v = shape.vocabulary;
    let mut logits = vec![0.0; v * (LOGITS_MAX / v.max(1)).clamp(1, rows.len().max(1))];
    let head = Head { w: network.head.view(pass.trained), vocabulary: v, hidden_size: c };
    let w = network.head.span().map(|span| gradients.of_mut(span));
    let to = HeadGradients { rows: &mut dnormed, w };
    let targets = Targets { tokens: &tokens, weights: &weights };
    head_backward(pass.pool, to, &mut nll, &normed, &head, targets, &mut logits);
    let (mut dchosen, mut d) = (vec![0.0; chosen.len()], vec![0.0; x.len()]);
    let norm = (network.norm, shape.rms_norm_eps);
    pass.add_norm_gradients(norm, gradients, &mut dchosen, &dnormed, &chosen);
    scatter_rows(pass.pool, &mut d, &dchosen, &rows, &vec![1.0; rows.len()]);
    let loss = nll.iter().zip(&weights).map(|(nll, weight)| f64::from(*nll) * f64::from(*weight)).sum();
    (loss, d)
}
