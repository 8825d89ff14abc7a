//! A run in the making: a network, what is trained of it, and the optimizer's state.

use std::borrow::Cow;

use gptoss_kernels::Pool;

use crate::error::Error;
use crate::graph::{Loss, add_gradients, loss};
use crate::network::Network;
use crate::optimizer::{Optimizer, OptimizerSettings};
use crate::packing::{PackedTexts, Text, packed};
use crate::trained::{Gradients, Trained};

/// A run in the making.
pub struct Trainer<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) network: &'a Network<'a>,
    pub(crate) trained: Trained,
    pub(crate) optimizer: Optimizer,
    pub(crate) gradients: Gradients,
    pub(crate) rows_max: usize,
    balance: f64,
    /// The first step whose pass sees the weights as they will be stored, where the network asks for it.
    stored_from: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss of its targets, before the step.
    pub loss: f64,
    /// The share of its targets than which no other token was likelier, before the step.
    pub accuracy: Option<f64>,
    /// How unevenly experts were used, the mean of layers and rows: 1 where all are used alike; `None` where
    /// it does not weigh anything.
    pub balance: Option<f64>,
    /// Norm of all gradients, before the clip.
    pub gradient_norm: f64,
    /// Rows that went through the network; those that texts share went once.
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
        Trainer { pool, network, trained, optimizer, gradients, rows_max, balance: 0.0, stored_from: 0 }
    }

    /// The same, and the uneven use of experts weighs so much beside the mean loss of a step's texts.
    pub fn with_balance(self, weight: f64) -> Trainer<'a> {
        Trainer { balance: weight, ..self }
    }

    /// Lets the steps before this one, counted from 0, see the weights as they are. Losses that nothing is
    /// learned from are of what will be stored all the same.
    pub fn stored_from(mut self, step: u64) -> Trainer<'a> {
        self.stored_from = step;
        self
    }

    /// Whether a step was taken that saw the weights as they will be stored.
    pub fn has_seen_stored(&self) -> bool {
        self.network.stored.is_some() && self.steps() > self.stored_from
    }

    /// The network of the step to come.
    pub(crate) fn seen_network(&self) -> Cow<'a, Network<'a>> {
        match self.steps() < self.stored_from {
            true => Cow::Owned(Network { stored: None, ..self.network.clone() }),
            false => Cow::Borrowed(self.network),
        }
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
        let mut batches = batches(texts, self.rows_max);
        let rows: usize = batches.iter().map(|batch| batch.batch().tokens.len()).sum();
        for batch in &mut batches {
            batch.balance_weight = self.balance * batch.batch().tokens.len() as f64 / rows as f64;
        }
        let network = self.seen_network();
        let (pool, gradients) = (self.pool, &mut self.gradients);
        let losses = batches.iter();
        let losses =
            losses.map(|batch| add_gradients(pool, &network, &self.trained, gradients, batch.batch()));
        let loss: Loss = losses.sum();
        if !loss.sum.is_finite() {
            return Err(Error::NotFinite { what: "loss", step: self.optimizer.state().2 + 1 });
        }
        let gradient_norm =
            self.optimizer.step(self.pool, &mut self.trained, &self.gradients, learning_rate)?;
        let balance = (self.balance != 0.0).then(|| loss.balance / self.balance);
        Ok(StepReport { loss: loss.sum, accuracy: loss.accuracy(), balance, gradient_norm, rows })
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
    packed(texts, |_| scale, rows_max).into_iter().map(|(_, packed)| packed).collect()
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};

    use super::*;
    use crate::tuning::Tuning;
    use crate::weights::Weights;

    /// Nothing is asked of the rows, so that the balance of experts alone has a slope.
    #[test]
    fn the_slope_of_the_balance_is_that_of_finite_differences() {
        const STEP: f64 = 2e-4;
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let (network, mut trained) = weights.network(&Tuning::Full, 0);
        let (pool, tokens) = (Pool::new(2), (0..24).map(|t| t * 37 % 500).collect::<Vec<u32>>());
        let nothing = vec![0.0; tokens.len()];
        let mut packed = PackedTexts::default();
        packed.push(Text { tokens: &tokens, weights: &nothing }, 1.0);
        packed.balance_weight = 0.5;
        let mut gradients = Gradients::zeros(&trained);
        let loss = add_gradients(&pool, &network, &trained, &mut gradients, packed.batch());
        assert!(loss.balance > 0.5 && loss.sum == 0.0, "{loss:?}");
        let (at, tensors) = (trained.values().to_vec(), trained.tensors().to_vec());
        let norm_of = |tensor: &crate::trained::TrainedTensor| {
            gradients.of(tensor.span).iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt()
        };
        let most = tensors.iter().map(norm_of).fold(0.0, f64::max);
        let (mut routers, mut compared) = (0, 0);
        for tensor in &tensors {
            let norm = norm_of(tensor);
            if norm < 0.1 * most {
                continue;
            }
            let moved = |trained: &mut Trained, sign: f64| {
                let mut values = at.clone();
                let slopes = gradients.of(tensor.span);
                for (value, slope) in values[tensor.span.range()].iter_mut().zip(slopes) {
                    *value = (f64::from(*value) + sign * STEP * f64::from(*slope) / norm) as f32;
                }
                trained.restore(values);
                let mut nobody = Gradients::zeros(trained);
                add_gradients(&pool, &network, trained, &mut nobody, packed.batch()).balance
            };
            let difference = (moved(&mut trained, 1.0) - moved(&mut trained, -1.0)) / (2.0 * STEP);
            assert!((difference / norm - 1.0).abs() < 3e-2, "{}: {difference}, not {norm}", tensor.name);
            routers += usize::from(tensor.name.contains("router"));
            compared += 1;
        }
        assert!(routers > 0 && compared > routers, "{routers} of {compared} tensors");
    }

    #[test]
    fn experts_are_used_more_evenly_when_it_weighs() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let (network, begin) = weights.network(&Tuning::Full, 0);
        let (pool, tokens) = (Pool::new(2), (0..24).map(|t| t * 37 % 500).collect::<Vec<u32>>());
        let ones = vec![1.0; tokens.len()];
        let texts =
            [Text { tokens: &tokens, weights: &ones }, Text { tokens: &tokens[3..9], weights: &ones[3..9] }];
        let settings =
            OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
        let mut trainer = Trainer::new(&pool, &network, begin.clone(), settings, 16).with_balance(3.0);
        let balances: Vec<f64> =
            (0..12).filter_map(|_| trainer.step(&texts, 5e-3).expect("finite").balance).collect();
        assert!(balances[11] - 1.0 < 0.5 * (balances[0] - 1.0), "{balances:?}");
        let report = Trainer::new(&pool, &network, begin, settings, 16).step(&texts, 5e-3).expect("finite");
        assert_eq!(report.balance, None);
    }

    /// Until a step has seen them, an adapter was not trained for the weights that a merge stores.
    #[test]
    fn stored_weights_are_seen_from_their_first_step_on() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let (mut network, trained) = weights.network(&Tuning::Full, 0);
        network.stored = Some(checkpoint.expert_format());
        let (pool, tokens, ones) = (Pool::new(1), [1, 2, 3, 4], [1.0; 4]);
        let texts = [Text { tokens: &tokens, weights: &ones }];
        let settings =
            OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
        let mut trainer = Trainer::new(&pool, &network, trained, settings, 16).stored_from(1);
        let seen: Vec<bool> = (0..2)
            .map(|_| {
                trainer.step(&texts, 1e-6).expect("finite");
                trainer.has_seen_stored()
            })
            .collect();
        assert_eq!(seen, [false, true]);
    }
    /// What texts have in common is computed once, and the loss and its slopes are those of each text alone.
    #[test]
    fn a_tree_of_turns_is_its_turns() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let pool = Pool::new(2);
        let said = |seed: u32, count: u32| (0..count).map(move |i| (seed * 71 + i * 37) % 500);
        let turns: Vec<(Vec<u32>, Vec<f32>)> = (0..4)
            .map(|turn| {
                let history = (0..turn).flat_map(|before| said(before, 21).chain(said(20 + before, 9)));
                let mut tokens: Vec<u32> = history.chain(said(turn, 21)).collect();
                let read = tokens.len();
                tokens.extend(said(40 + turn, 12).chain(said(20 + turn, 9)));
                let weights = (0..tokens.len()).map(|place| f32::from(u8::from(place >= read))).collect();
                (tokens, weights)
            })
            .collect();
        let texts: Vec<Text<'_>> = turns.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
        let low_rank = crate::tuning::LowRankTuning {
            attention_rank: Some(2),
            expert_rank: Some(2),
            scale: 2.0,
            tokens: vec![3, 37, 74],
        };
        for tuning in [Tuning::Full, Tuning::LowRank(low_rank)] {
            let (network, trained) = weights.network(&tuning, 1);
            let taken = |rows_max: usize| {
                let mut gradients = Gradients::zeros(&trained);
                let batches = batches(&texts, rows_max);
                let rows: usize = batches.iter().map(|batch| batch.batch().tokens.len()).sum();
                let losses = batches.iter();
                let losses = losses
                    .map(|batch| add_gradients(&pool, &network, &trained, &mut gradients, batch.batch()));
                (rows, losses.sum::<Loss>(), gradients)
            };
            let ((rows, loss, tree), (all_rows, of_each, alone)) = (taken(1000), taken(1));
            // The longest text, and of the others what they learn and the row before it.
            assert_eq!((rows, all_rows), (131 + 20 + 20 + 21, 131 + 101 + 71 + 41), "rows");
            assert_eq!((loss.targets, loss.likeliest), (of_each.targets, of_each.likeliest));
            assert!((loss.sum - of_each.sum).abs() < 1e-6 * of_each.sum, "{loss:?}, {of_each:?}");
            for tensor in trained.tensors() {
                let (tree, alone) = (tree.of(tensor.span), alone.of(tensor.span));
                let largest = alone.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                let error = tree.iter().zip(alone).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
                assert!(error <= 1e-5 * largest, "{}: off by {error} of {largest}", tensor.name);
            }
        }
    }
}
