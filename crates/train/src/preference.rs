//! Direct preference optimization: of two answers to a prompt the chosen one becomes likelier than the
//! rejected one.
//!
//! With `p` the log-probability of an answer's targets, each times its weight, and `r` the same under the
//! reference, the margin of a pair is `h = beta ((p - r of the chosen) - (p - r of the rejected))`, and its
//! loss `-log sigmoid(h)`. The gradient is that of weighted likelihoods: the targets of the chosen answer
//! weigh `beta sigmoid(-h)`, those of the rejected one as much below zero. So a step goes through the network
//! twice, once for `h` and once with the weights, by the kernels that all losses share.
//!
//! The reference is what a run starts from: a trainer before its first step, since pairs beside frozen
//! matrices begin with nothing.
//!
//! **Source** Rafailov et al., Direct Preference Optimization, 2023, equations 6 and 7.

use gptoss_kernels::Pool;

use crate::error::Error;
use crate::graph::{add_gradients, document_losses};
use crate::network::Network;
use crate::packing::{Text, packed};
use crate::trained::Trained;
use crate::trainer::{StepReport, Trainer};

/// Two answers to one prompt.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The better one, behind its prompt.
    pub chosen: Text<'a>,
    /// The worse one, behind the same.
    pub rejected: Text<'a>,
    /// What the reference makes of them.
    pub reference: PairLogProbs,
}

/// The log-probabilities of both answers. Units: nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairLogProbs {
    /// Of the better one.
    pub chosen: f64,
    /// Of the worse one.
    pub rejected: f64,
}

/// How well some pairs are told apart: means over them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Preference {
    /// `-log sigmoid(h)`; 0.693 before anything is learned.
    pub loss: f64,
    /// The share whose margin is above 0.
    pub accuracy: f64,
    /// `h`
    pub margin: f64,
}

impl<'a> Pair<'a> {
    fn texts(&self) -> [Text<'a>; 2] {
        [self.chosen, self.rejected]
    }

    fn margin(&self, now: PairLogProbs, beta: f64) -> f64 {
        let reference = self.reference;
        beta * ((now.chosen - reference.chosen) - (now.rejected - reference.rejected))
    }
}

impl Preference {
    /// Of what the reference itself makes of some pairs: nothing is computed again.
    pub fn of_reference(pairs: &[Pair<'_>], beta: f64) -> Preference {
        let reference: Vec<PairLogProbs> = pairs.iter().map(|pair| pair.reference).collect();
        Preference::of(pairs, &reference, beta)
    }

    /// Of what is made of some pairs now.
    pub(crate) fn of(pairs: &[Pair<'_>], now: &[PairLogProbs], beta: f64) -> Preference {
        Preference::of_margins(&margins(pairs, now, beta))
    }

    fn of_margins(margins: &[f64]) -> Preference {
        let mean = |of: fn(f64) -> f64| {
            margins.iter().map(|margin| of(*margin)).sum::<f64>() / margins.len().max(1) as f64
        };
        Preference {
            loss: mean(loss),
            accuracy: mean(|margin| f64::from(u8::from(margin > 0.0))),
            margin: mean(|margin| margin),
        }
    }
}

impl Trainer<'_> {
    /// What is made of the answers of some pairs, learning nothing.
    ///
    /// Panics: as [`Trainer::step`].
    pub fn log_probs(&self, pairs: &[Pair<'_>]) -> Vec<PairLogProbs> {
        log_probs(self.pool, (self.network, &self.trained), pairs, self.rows_max)
    }

    /// How well some pairs are told apart, learning nothing.
    ///
    /// Panics: as [`Trainer::step`].
    pub fn preference(&self, pairs: &[Pair<'_>], beta: f64) -> Preference {
        Preference::of(pairs, &self.log_probs(pairs), beta)
    }

    /// Learns from some pairs, all together a step.
    ///
    /// Errors, Panics: as [`Trainer::step`].
    pub fn prefer(
        &mut self,
        pairs: &[Pair<'_>],
        beta: f64,
        learning_rate: f64,
    ) -> Result<(StepReport, Preference), Error> {
        let network = self.seen_network();
        let now = log_probs(self.pool, (&network, &self.trained), pairs, self.rows_max);
        let margins = margins(pairs, &now, beta);
        let preference = Preference::of_margins(&margins);
        if !preference.loss.is_finite() {
            return Err(Error::NotFinite { what: "loss", step: self.optimizer.state().2 + 1 });
        }
        let slope = |margin: &f64| (beta * slope(*margin) / pairs.len() as f64) as f32;
        let weights: Vec<f32> = margins.iter().map(slope).flat_map(|slope| [slope, -slope]).collect();
        self.gradients.clear();
        let mut rows = 0;
        for (_, packed) in packed(&texts(pairs), |text| weights[text], self.rows_max) {
            let batch = packed.batch();
            rows += batch.tokens.len();
            add_gradients(self.pool, &network, &self.trained, &mut self.gradients, batch);
        }
        let gradient_norm =
            self.optimizer.step(self.pool, &mut self.trained, &self.gradients, learning_rate)?;
        let (loss, accuracy) = (preference.loss, Some(preference.accuracy));
        Ok((StepReport { loss, accuracy, balance: None, gradient_norm, rows }, preference))
    }
}

/// What a network makes of the answers of some pairs.
pub(crate) fn log_probs(
    pool: &Pool,
    (network, trained): (&Network<'_>, &Trained),
    pairs: &[Pair<'_>],
    rows_max: usize,
) -> Vec<PairLogProbs> {
    let texts = texts(pairs);
    let mut losses = vec![0.0; texts.len()];
    for (members, packed) in packed(&texts, |_| 1.0, rows_max) {
        let of_batch = document_losses(pool, network, trained, packed.batch());
        members.into_iter().zip(of_batch).for_each(|(text, loss)| losses[text] = loss);
    }
    let pair = |losses: &[f64; 2]| PairLogProbs { chosen: -losses[0], rejected: -losses[1] };
    losses.as_chunks().0.iter().map(pair).collect()
}

fn margins(pairs: &[Pair<'_>], now: &[PairLogProbs], beta: f64) -> Vec<f64> {
    pairs.iter().zip(now).map(|(pair, now)| pair.margin(*now, beta)).collect()
}

/// Both answers of each pair, one after the other.
fn texts<'a>(pairs: &[Pair<'a>]) -> Vec<Text<'a>> {
    pairs.iter().flat_map(Pair::texts).collect()
}

/// `-log sigmoid(margin)`, without overflow.
fn loss(margin: f64) -> f64 {
    (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
}

/// `sigmoid(-margin)`, by which the loss falls.
fn slope(margin: f64) -> f64 {
    let small = (-margin.abs()).exp();
    (if margin > 0.0 { small } else { 1.0 }) / (1.0 + small)
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};

    use super::*;
    use crate::optimizer::OptimizerSettings;
    use crate::tuning::{LowRankTuning, Tuning};
    use crate::weights::Weights;

    const BETA: f64 = 0.3;

    /// Values of scipy: `-log_expit(h)` and `expit(-h)`.
    #[test]
    fn the_loss_and_its_slope_are_those_of_the_logistic_function() {
        let check = |margin: f64, expected: f64, falls: f64| {
            assert!(
                (loss(margin) - expected).abs() <= 1e-12 * (1.0 + expected),
                "{margin}: {}",
                loss(margin)
            );
            assert!((slope(margin) - falls).abs() <= 1e-12, "{margin}: {}", slope(margin));
            let step = 1e-6;
            let difference = (loss(margin + step) - loss(margin - step)) / (2.0 * step);
            assert!((difference + slope(margin)).abs() < 1e-8, "{margin}: {difference}");
        };
        check(0.0, std::f64::consts::LN_2, 0.5);
        check(1.0, 0.313_261_687_518_222_9, 0.268_941_421_369_995_1);
        check(-2.5, 2.578_889_734_292_548, 0.924_141_819_978_756_5);
        check(40.0, 4.248_354_255_291_589e-18, 4.248_354_255_291_589e-18);
        assert_eq!((loss(-1e4), slope(-1e4), loss(1e4), slope(1e4)), (1e4, 1.0, 0.0, 0.0));
    }

    /// Two pairs of answers of which the second is longer than a batch.
    fn answers() -> Vec<[Tokens; 2]> {
        let text = |n: u32, count: u32| {
            let tokens: Vec<u32> =
                (0..count).map(|i| (3 + i * 11 + u32::from(i > 3) * n * 37) % 500).collect();
            let weights = (0..count).map(|i| if i < 4 { 0.0 } else { 1.0 + f32::from(i == 6) }).collect();
            (tokens, weights)
        };
        vec![[text(1, 9), text(2, 12)], [text(3, 30), text(4, 8)], [text(5, 10), text(6, 10)]]
    }

    type Tokens = (Vec<u32>, Vec<f32>);

    fn pair([chosen, rejected]: &[Tokens; 2]) -> Pair<'_> {
        let [chosen, rejected] = [chosen, rejected].map(|(tokens, weights)| Text { tokens, weights });
        Pair { chosen, rejected, reference: PairLogProbs::default() }
    }

    fn pairs(answers: &[[Tokens; 2]]) -> Vec<Pair<'_>> {
        answers.iter().map(pair).collect()
    }

    fn tuning() -> [Tuning; 2] {
        let (attention_rank, expert_rank, tokens) = (Some(2), Some(2), vec![3, 37, 74]);
        [Tuning::LowRank(LowRankTuning { attention_rank, expert_rank, scale: 2.0, tokens }), Tuning::Full]
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        const STEP: f64 = 1e-3;
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let (pool, answers) = (Pool::new(2), answers());
        let settings =
            OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
        for tuning in tuning() {
            let (network, begin) = weights.network(&tuning, 1);
            let mut trainer = Trainer::new(&pool, &network, begin, settings, 16);
            let mut pairs = pairs(&answers);
            let reference = trainer.log_probs(&pairs);
            pairs.iter_mut().zip(&reference).for_each(|(pair, reference)| pair.reference = *reference);
            assert_eq!(trainer.preference(&pairs, BETA).margin, 0.0, "nothing is learned yet");
            // Beside the reference, so that no factor of a pair is zero.
            for _ in 0..3 {
                trainer.prefer(&pairs, BETA, 1e-4).expect("finite");
            }
            let at = trainer.trained.values().to_vec();
            let (report, _) = trainer.prefer(&pairs, BETA, 1e-9).expect("finite");
            let tensors = trainer.trained.tensors().to_vec();
            let mut compared = 0.0;
            for tensor in &tensors {
                let slopes: Vec<f64> =
                    trainer.gradients.of(tensor.span).iter().map(|slope| f64::from(*slope)).collect();
                let norm = slopes.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
                if norm < 0.05 * report.gradient_norm {
                    continue;
                }
                let mut moved = |sign: f64| {
                    let mut values = at.clone();
                    let range = tensor.span.range();
                    for (value, slope) in values[range].iter_mut().zip(&slopes) {
                        *value = (f64::from(*value) + sign * STEP * slope / norm) as f32;
                    }
                    trainer.trained.restore(values);
                    trainer.preference(&pairs, BETA).loss
                };
                let difference = (moved(1.0) - moved(-1.0)) / (2.0 * STEP);
                assert!((difference / norm - 1.0).abs() < 2e-2, "{}: {difference}, not {norm}", tensor.name);
                compared += norm * norm;
            }
            assert!(compared.sqrt() > 0.8 * report.gradient_norm, "{compared}");
        }
    }

    #[test]
    fn chosen_answers_become_likelier_than_rejected_ones() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        let (pool, answers) = (Pool::new(1), answers());
        let (network, begin) = weights.network(&tuning()[0], 1);
        let settings =
            OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
        let losses = |rows_max: usize| {
            let mut trainer = Trainer::new(&pool, &network, begin.clone(), settings, rows_max);
            let mut pairs = pairs(&answers);
            let reference = trainer.log_probs(&pairs);
            pairs.iter_mut().zip(reference).for_each(|(pair, reference)| pair.reference = reference);
            let steps = (0..6).map(|_| trainer.prefer(&pairs, BETA, 1e-2).expect("finite"));
            let told: Vec<(StepReport, Preference)> = steps.collect();
            (told, trainer.preference(&pairs, BETA))
        };
        let (told, learned) = losses(16);
        assert_eq!((told[0].1.loss, told[0].1.accuracy), (std::f64::consts::LN_2, 0.0));
        assert_eq!(told[0].0.rows, 9 + 12 + 30 + 8 + 10 + 10 - 6);
        assert!(learned.loss < 0.5 && learned.accuracy == 1.0 && learned.margin > 0.5, "{learned:?}");
        // How answers are packed changes the order in which gradients are added, and nothing else.
        let (_, alone) = losses(1);
        assert!((alone.loss - learned.loss).abs() < 1e-3, "{alone:?}, {learned:?}");
    }
}
