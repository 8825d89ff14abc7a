//! A run in the making: a network, what is trained of it, and the optimizer's state.

use gptoss_kernels::Pool;

use crate::error::Error;
use crate::graph::{Loss, add_gradients, loss};
use crate::network::Network;
use crate::optimizer::{Optimizer, OptimizerSettings};
use crate::packing::{PackedTexts, Text, pack};
use crate::trained::{Gradients, Trained};

/// A run in the making.
pub struct Trainer<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) network: &'a Network<'a>,
    pub(crate) trained: Trained,
    pub(crate) optimizer: Optimizer,
    pub(crate) gradients: Gradients,
    pub(crate) rows_max: usize,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss of its targets, before the step.
    pub loss: f64,
    /// The share of its targets than which no other token was likelier, before the step.
    pub accuracy: Option<f64>,
    /// Norm of all gradients, before the clip.
    pub gradient_norm: f64,
    /// Rows that went through the network.
    pub rows: usize,
}

impl<'a> Trainer<'a> {
    /// Before the first step. `rows_max` bounds the rows that go through the network together.
    pub fn new(
        pool: &'a Pool,
        network: &'a Network<'a>,
        trained: Trained,
        settings: OptimizerSettings,
        rows_max: usize,
    ) -> Trainer<'a> {
        let optimizer = Optimizer::new(settings, &trained);
        let gradients = Gradients::zeros(&trained);
        Trainer { pool, network, trained, optimizer, gradients, rows_max }
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        u64::from(self.optimizer.state().2)
    }

    /// Whether everything trained is finite.
    pub fn is_finite(&self) -> bool {
        self.trained.is_finite()
    }

    /// Learns from some texts, all together a step.
    ///
    /// Errors: as [`Optimizer::step`], and when the loss is not finite, before anything moved.
    ///
    /// Panics: as [`PackedTexts::push`], and when a token is not below V.
    pub fn step(&mut self, texts: &[Text<'_>], learning_rate: f64) -> Result<StepReport, Error> {
        self.gradients.clear();
        let batches = batches(texts, self.rows_max);
        let (pool, network, gradients) = (self.pool, self.network, &mut self.gradients);
        let losses = batches.iter();
        let losses =
            losses.map(|batch| add_gradients(pool, network, &self.trained, gradients, batch.batch()));
        let loss: Loss = losses.sum();
        if !loss.sum.is_finite() {
            return Err(Error::NotFinite { what: "loss", step: self.optimizer.state().2 + 1 });
        }
        let gradient_norm =
            self.optimizer.step(self.pool, &mut self.trained, &self.gradients, learning_rate)?;
        let rows = batches.iter().map(|batch| batch.batch().tokens.len()).sum();
        Ok(StepReport { loss: loss.sum, accuracy: loss.accuracy(), gradient_norm, rows })
    }

    /// The mean loss of some texts' targets and how many were likeliest, learning nothing.
    pub fn loss(&self, texts: &[Text<'_>]) -> Loss {
        let losses = batches(texts, self.rows_max);
        losses.iter().map(|batch| loss(self.pool, self.network, &self.trained, batch.batch())).sum()
    }

    /// What is trained, as it is by now.
    pub fn trained(&self) -> &Trained {
        &self.trained
    }

    /// What was trained; everything else of the run is given back.
    pub fn into_trained(self) -> Trained {
        self.trained
    }
}

/// Some texts in batches of at most `rows_max` rows; the sum of all their losses is a mean.
pub(crate) fn batches(texts: &[Text<'_>], rows_max: usize) -> Vec<PackedTexts> {
    let weights = texts.iter().flat_map(|text| text.weights.iter().skip(1));
    let sum: f64 = weights.map(|weight| f64::from(weight.abs())).sum();
    let scale = (1.0 / sum) as f32;
    let rows: Vec<usize> = texts.iter().map(Text::num_rows).collect();
    let packed = pack(&rows, rows_max).into_iter().map(|members| {
        let mut packed = PackedTexts::default();
        members.into_iter().for_each(|text| packed.push(texts[text], scale));
        packed
    });
    packed.collect()
}
