//! Steps of AdamW over all trained numbers, their gradients clipped by their common norm.

use gptoss_kernels::{AdamW, Moments, Pool, adamw, sum_of_squares};

use crate::error::Error;
use crate::trained::{Gradients, Trained};

/// What torch adds to the norm before it divides by it.
const NORM_EPS: f64 = 1e-6;

/// How steps go; the learning rate is each step's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// What is added to the root of the second moment.
    pub eps: f64,
    /// Of the tensors that decay.
    pub weight_decay: f64,
    /// Norm of all gradients beyond which they are made shorter.
    pub norm_max: f64,
}

/// The state of AdamW.
#[derive(Clone, Debug)]
pub struct Optimizer {
    settings: OptimizerSettings,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u32,
}

impl Optimizer {
    /// Before the first step.
    pub fn new(settings: OptimizerSettings, trained: &Trained) -> Optimizer {
        let zeros = || vec![0.0; trained.len()];
        Optimizer { settings, first: zeros(), second: zeros(), steps: 0 }
    }

    /// Both moments and the steps that were taken.
    pub(crate) fn state(&self) -> (&[f32], &[f32], u32) {
        (&self.first, &self.second, self.steps)
    }

    /// As it was after so many steps.
    pub(crate) fn restore(&mut self, first: Vec<f32>, second: Vec<f32>, steps: u32) {
        (self.first, self.second, self.steps) = (first, second, steps);
    }

    /// Moves everything trained, and gives the norm of the gradients before the clip.
    ///
    /// Errors: when a gradient is not finite; nothing has moved then. When what was moved is not finite: it
    /// is lost, and a state from before must be taken.
    pub fn step(
        &mut self,
        pool: &Pool,
        trained: &mut Trained,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<f64, Error> {
        let tensors = trained.tensors().to_vec();
        let squares = tensors.iter().map(|tensor| sum_of_squares(pool, gradients.of(tensor.span)));
        let norm = squares.sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Error::NotFinite { what: "gradient", step: self.steps + 1 });
        }
        self.steps += 1;
        let scale = (self.settings.norm_max / (norm + NORM_EPS)).min(1.0) as f32;
        for tensor in &tensors {
            let settings = AdamW {
                learning_rate,
                beta1: self.settings.beta1,
                beta2: self.settings.beta2,
                eps: self.settings.eps,
                weight_decay: if tensor.decays { self.settings.weight_decay } else { 0.0 },
            };
            let range = tensor.span.range();
            let moments = Moments { first: &mut self.first[range.clone()], second: &mut self.second[range] };
            let values = trained.of_mut(tensor.span);
            adamw(pool, values, gradients.of(tensor.span), moments, (&settings, self.steps), scale);
        }
        if !trained.is_finite() {
            return Err(Error::NotFinite { what: "update", step: self.steps });
        }
        Ok(norm)
    }
}
