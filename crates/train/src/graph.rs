//! The whole pass: the loss of a batch, and what it says of every trained number.

use std::borrow::Cow;
use std::iter::Sum;

use gptoss_kernels::{
    Document, Head, HeadGradients, HeadRows, Pool, RopeAngles, Targets, TokenLoss, embedding_backward,
    head_backward, head_nll, scatter_rows,
};
use half::bf16;

use crate::attention::{self, Packing};
use crate::experts::{self, Choice};
use crate::network::Network;
use crate::seen::{Pass, SeenMatrix};
use crate::trained::{Gradients, Trained};

/// Logits that are held at a time: 64 MB, and one row at least.
pub(crate) const LOGITS_MAX: usize = 1 << 24;

/// Some packed documents and what their rows should say.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[T]`
    pub tokens: &'a [u32],
    /// Whose rows they are, one document after the other, together T.
    pub documents: &'a [Document],
    /// `[T]` the token after each.
    pub targets: &'a [u32],
    /// `[T]` factors on the negative log-likelihoods; rows of weight 0 reach no logits.
    pub weights: &'a [f32],
    /// What the uneven use of experts weighs beside them, the mean of all layers; 0 leaves it out.
    pub balance_weight: f64,
}

/// What was made of some targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// The sum of `weights[t] * nll[t]`, ascending.
    pub sum: f64,
    /// How many targets there are: rows that weigh anything.
    pub targets: usize,
    /// Those of them than which no other token was likelier.
    pub likeliest: usize,
    /// How unevenly experts were used, times what it weighs: 1 where all are used alike.
    pub balance: f64,
}

impl Loss {
    /// The share of targets that were likeliest; none of none.
    pub fn accuracy(&self) -> Option<f64> {
        (self.targets > 0).then(|| self.likeliest as f64 / self.targets as f64)
    }
}

impl Sum for Loss {
    fn sum<I: Iterator<Item = Loss>>(losses: I) -> Loss {
        losses.fold(Loss::default(), |all, loss| Loss {
            sum: all.sum + loss.sum,
            targets: all.targets + loss.targets,
            likeliest: all.likeliest + loss.likeliest,
            balance: all.balance + loss.balance,
        })
    }
}

/// What a layer keeps for its gradient.
struct Kept {
    /// `[T, C]` before attention.
    x: Vec<f32>,
    /// `[T, C]` after it.
    attended: Vec<f32>,
    choice: Choice,
}

/// Adds the gradients of the sum of `weights[t] * nll[t]` and of the balance of experts, where it weighs
/// anything, and gives what was made of the targets.
///
/// Panics: when lengths do not fit together, or a token or target is not below V.
pub fn add_gradients(
    pool: &Pool,
    network: &Network<'_>,
    trained: &Trained,
    gradients: &mut Gradients,
    batch: Batch<'_>,
) -> Loss {
    let (pass, shape) = (Pass::new(pool, network, trained), &network.shape);
    let angles = angles(network, batch);
    let packing = Packing { documents: batch.documents, angles: &angles };
    let mut kept = Vec::with_capacity(network.layers.len());
    let x = forward(pass, network, packing, batch, |layer| kept.push(layer));
    let (mut loss, mut d) = add_head_gradients(pass, network, gradients, batch, &x);
    drop(x);
    let of_layer = batch.balance_weight / network.layers.len().max(1) as f64;
    for (layer, kept) in network.layers.iter().zip(kept).rev() {
        let choice = (shape, layer, &kept.choice);
        let unbalanced = experts::backward(pass, choice, gradients, &kept.attended, &mut d, of_layer);
        loss.balance += of_layer * unbalanced.unwrap_or_default();
        attention::backward(pass, (shape, &layer.attention, packing), gradients, &kept.x, &mut d);
    }
    if let Some(span) = network.embedding.span() {
        embedding_backward(pool, gradients.of_mut(span), &d, batch.tokens);
    }
    if let Some(rows) = &network.rows {
        let places = batch.tokens.iter().map(|token| rows.tokens.binary_search(token));
        let (at, places): (Vec<usize>, Vec<u32>) =
            places.enumerate().filter_map(|(row, place)| Some((row, place.ok()? as u32))).unzip();
        let d = pass.gather(&d, &at, shape.hidden_size);
        embedding_backward(pool, gradients.of_mut(rows.embedding), &d, &places);
    }
    loss
}

/// What is made of the targets: as [`add_gradients`].
///
/// Panics: as [`add_gradients`].
pub fn loss(pool: &Pool, network: &Network<'_>, trained: &Trained, batch: Batch<'_>) -> Loss {
    let pass = Pass::new(pool, network, trained);
    let asked = asked(pass, network, batch);
    asked.loss(&asked.losses(pass, network))
}

/// The sum of `weights[t] * nll[t]` over each document's own rows.
///
/// Panics: as [`add_gradients`].
pub(crate) fn document_losses(
    pool: &Pool,
    network: &Network<'_>,
    trained: &Trained,
    batch: Batch<'_>,
) -> Vec<f64> {
    let pass = Pass::new(pool, network, trained);
    let asked = asked(pass, network, batch);
    let of_rows = asked.losses(pass, network);
    let ends = batch.documents.iter().scan(0, |end, document| {
        *end += document.rows;
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let mut losses = vec![0.0; ends.len()];
    for ((row, loss), weight) in asked.rows.iter().zip(&of_rows).zip(&asked.weights) {
        losses[ends.partition_point(|end| end <= row)] += f64::from(loss.nll) * f64::from(*weight);
    }
    losses
}

/// The rows that something is asked of, behind the last layer.
pub(crate) fn asked(pass: Pass<'_>, network: &Network<'_>, batch: Batch<'_>) -> Asked {
    let angles = angles(network, batch);
    let packing = Packing { documents: batch.documents, angles: &angles };
    let x = forward(pass, network, packing, batch, drop);
    Asked::of(pass, network, batch, &x)
}

/// The rotations of a batch.
fn angles(network: &Network<'_>, batch: Batch<'_>) -> RopeAngles {
    let rows: usize = batch.documents.iter().map(|document| document.rows).sum();
    assert_eq!(rows, batch.tokens.len(), "train: documents have all tokens");
    assert_eq!(batch.targets.len(), batch.tokens.len(), "train: a target a token");
    assert_eq!(batch.weights.len(), batch.tokens.len(), "train: a weight a token");
    network.shape.rope.angles(0, batch.documents.iter().map(Document::positions).max().unwrap_or(0))
}

/// The rows `x [T, C]` behind the last layer; `keep` takes what each layer's gradient needs.
fn forward<'a>(
    pass: Pass<'a>,
    network: &Network<'a>,
    packing: Packing<'_>,
    batch: Batch<'_>,
    mut keep: impl FnMut(Kept),
) -> Vec<f32> {
    let (shape, c) = (&network.shape, network.shape.hidden_size);
    let mut x = vec![0.0; batch.tokens.len() * c];
    pass.pool.for_each_row(&mut x, c, |row, out| embed(pass, network, batch.tokens[row], out));
    for layer in &network.layers {
        let attended = attention::forward(pass, shape, &layer.attention, packing, &x);
        let (out, choice) = experts::forward(pass, shape, layer, &attended);
        keep(Kept { x: std::mem::replace(&mut x, out), attended, choice });
    }
    x
}

/// The row of a token in the embedding, as a pass sees it.
pub(crate) fn embed(pass: Pass<'_>, network: &Network<'_>, token: u32, out: &mut [f32]) {
    let rows = network.rows.as_ref();
    match rows.and_then(|rows| Some((rows, rows.tokens.binary_search(&token).ok()?))) {
        Some((rows, place)) => {
            out.copy_from_slice(&pass.trained.of(rows.embedding)[place * out.len()..][..out.len()]);
        }
        None => network.embedding.view(pass.trained).unpack_row(out, token as usize),
    }
    if pass.stored.is_some() {
        out.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
    }
}

/// The rows that something is asked of.
pub(crate) struct Asked {
    /// Which of T.
    rows: Vec<usize>,
    /// What they should say.
    tokens: Vec<u32>,
    weights: Vec<f32>,
    /// `[rows, C]` behind the last layer.
    x: Vec<f32>,
    /// The same, as the head takes them.
    pub(crate) normed: Vec<f32>,
}

impl Asked {
    fn of(pass: Pass<'_>, network: &Network<'_>, batch: Batch<'_>, x: &[f32]) -> Asked {
        let shape = &network.shape;
        let rows: Vec<usize> = (0..batch.tokens.len()).filter(|row| batch.weights[*row] != 0.0).collect();
        let tokens = rows.iter().map(|row| batch.targets[*row]).collect();
        let weights = rows.iter().map(|row| batch.weights[*row]).collect();
        let x = pass.gather(x, &rows, shape.hidden_size);
        let normed = pass.norm(network.norm, &x, shape.rms_norm_eps);
        Asked { rows, tokens, weights, x, normed }
    }

    fn room_for_logits(&self, network: &Network<'_>) -> Vec<f32> {
        let v = network.shape.vocabulary;
        vec![0.0; v * (LOGITS_MAX / v.max(1)).clamp(1, self.rows.len().max(1))]
    }

    /// What is made of each.
    fn losses(&self, pass: Pass<'_>, network: &Network<'_>) -> Vec<TokenLoss> {
        let mut losses = vec![TokenLoss::default(); self.rows.len()];
        let (seen, mut logits) = (SeenHead::of(pass, network), self.room_for_logits(network));
        let head = seen.view();
        head_nll(pass.pool, &mut losses, &self.normed, &head, &self.tokens, &mut logits);
        losses
    }

    fn loss(&self, losses: &[TokenLoss]) -> Loss {
        let weighed = losses.iter().zip(&self.weights);
        Loss {
            sum: weighed.map(|(loss, weight)| f64::from(loss.nll) * f64::from(*weight)).sum(),
            targets: losses.len(),
            likeliest: losses.iter().filter(|loss| loss.is_likeliest).count(),
            balance: 0.0,
        }
    }
}

/// The head as a pass sees it.
pub(crate) struct SeenHead<'a> {
    matrix: SeenMatrix<'a>,
    rows: Option<(&'a [u32], Cow<'a, [f32]>)>,
    vocabulary: usize,
    hidden_size: usize,
}

impl<'a> SeenHead<'a> {
    pub(crate) fn of(pass: Pass<'a>, network: &'a Network<'_>) -> SeenHead<'a> {
        let [vocabulary, hidden_size] = [network.shape.vocabulary, network.shape.hidden_size];
        let matrix = pass.end(network.head, [vocabulary, hidden_size]);
        let rows = network.rows.as_ref();
        let rows = rows.map(|rows| (&rows.tokens[..], pass.rounded(pass.trained.of(rows.head))));
        SeenHead { matrix, rows, vocabulary, hidden_size }
    }

    /// What a token's logit is the product with.
    pub(crate) fn row(&self, token: u32, out: &mut [f32]) {
        let rows = self.rows.as_ref();
        match rows.and_then(|(tokens, values)| Some((values, tokens.binary_search(&token).ok()?))) {
            Some((values, place)) => out.copy_from_slice(&values[place * out.len()..][..out.len()]),
            None => self.matrix.view().unpack_row(out, token as usize),
        }
    }

    pub(crate) fn view(&self) -> Head<'_> {
        Head {
            w: self.matrix.view(),
            vocabulary: self.vocabulary,
            hidden_size: self.hidden_size,
            replaced: self.rows.as_ref().map(|(tokens, values)| HeadRows { tokens, values }),
        }
    }
}

/// The loss, and the gradient of the rows `x [T, C]` behind the last layer.
fn add_head_gradients(
    pass: Pass<'_>,
    network: &Network<'_>,
    gradients: &mut Gradients,
    batch: Batch<'_>,
    x: &[f32],
) -> (Loss, Vec<f32>) {
    let shape = &network.shape;
    let asked = Asked::of(pass, network, batch, x);
    let (mut losses, mut dnormed) = (vec![TokenLoss::default(); asked.rows.len()], vec![0.0; asked.x.len()]);
    let mut logits = asked.room_for_logits(network);
    // Never both: rows stand beside a frozen matrix.
    let [w, replaced] = match (network.head.span(), &network.rows) {
        (Some(span), _) => [Some(gradients.of_mut(span)), None],
        (None, Some(rows)) => [None, Some(gradients.of_mut(rows.head))],
        (None, None) => [None, None],
    };
    let to = HeadGradients { rows: &mut dnormed, w, replaced };
    let targets = Targets { tokens: &asked.tokens, weights: &asked.weights };
    head_backward(
        pass.pool,
        to,
        &mut losses,
        &asked.normed,
        &SeenHead::of(pass, network).view(),
        targets,
        &mut logits,
    );
    let (mut dasked, mut d) = (vec![0.0; asked.x.len()], vec![0.0; x.len()]);
    let norm = (network.norm, shape.rms_norm_eps);
    pass.add_norm_gradients(norm, gradients, &mut dasked, &dnormed, &asked.x);
    scatter_rows(pass.pool, &mut d, &dasked, &asked.rows, &vec![1.0; asked.rows.len()]);
    (asked.loss(&losses), d)
}
