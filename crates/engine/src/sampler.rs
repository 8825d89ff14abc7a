//! From one row of logits to one token.
//!
//! Entry point: [`Sampler`], one per sequence: [`Sampler::sample`] chooses, [`Sampler::commit`] remembers
//! what was chosen, for the penalties. The steps and their order: repetition penalty (over prompt and
//! generated tokens, as in transformers), frequency and presence penalty (over generated tokens, as in the
//! OpenAI API), logit bias, the constraint's mask, temperature, top-k, top-p, min-p, one draw. At temperature
//! 0 the best token after the mask is taken. Log-probabilities are told of the row as the model gave it, and
//! of the allowed part of it.
//!
//! Each cut keeps the front of one and the same order: higher logit first, of equals the lower id. So all
//! three together are a single [`Cut`], the last token kept, and the draw walks the vocabulary once by id. No
//! step sorts the whole vocabulary of 201,088: a cut selects a growing front until it is long enough.
//!
//! The choice is a function of the row, the parameters, the tokens so far and the position.

use std::cmp::Ordering;
use std::collections::HashMap;

use gptoss_model::{SegmentLogits, argmax, log_sum_exp};

use crate::constraint::Mask;
use crate::limits::Sampling;
use crate::random::uniform;
use crate::request::{MaskedLogprobs, TokenLogprob};

/// Tokens selected first when looking for the end of top-p's nucleus; the front grows eightfold from there.
const NUCLEUS_FRONT: usize = 64;

/// A chosen token.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Its log-probability (nats) in the softmax of the row as the model gave it.
    pub logprob: f64,
    /// The most probable tokens of that row, as many as were asked for.
    pub top: Vec<TokenLogprob>,
    /// The same among the allowed tokens; None when all are allowed or nothing was asked for.
    pub masked: Option<MaskedLogprobs>,
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// Tokens of the prompt and generated ones, with how often each was generated. Empty when no penalty is
    /// on.
    seen: HashMap<u32, u32>,
    /// The adjusted row; kept to be allocated once.
    logits: Vec<f32>,
}

/// The last token that is kept, in the order of `rank`.
#[derive(Debug, Clone, Copy)]
struct Cut {
    logit: f32,
    token: u32,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Sampler {
        Sampler::continued(sampling, prompt, 0)
    }

    /// A sampler for a sequence that starts with `prompt`, whose last `num_continued` tokens were generated.
    pub fn continued(sampling: Sampling, prompt: &[u32], num_continued: usize) -> Sampler {
        let mut sampler = Sampler { sampling, seen: HashMap::new(), logits: Vec::new() };
        if sampler.has_penalties() {
            sampler.seen.extend(prompt.iter().map(|&token| (token, 0)));
        }
        let generated = &prompt[prompt.len() - num_continued.min(prompt.len())..];
        generated.iter().for_each(|&token| sampler.commit(token));
        sampler
    }

    /// Chooses the token that stands at `position` of the sequence, from the logits `[V]` before it and those
    /// tokens that `mask` allows. `top` is how many of the best to tell of. None when the mask allows
    /// nothing.
    ///
    /// Panics: if `row` is empty or shorter than a token that the sampling parameters or the prompt name.
    pub fn sample(
        &mut self,
        row: &[f32],
        position: usize,
        mask: Mask<'_>,
        top: Option<usize>,
    ) -> Option<Sampled> {
        self.choose(row, log_sum_exp(row), position, mask, top)
    }

    /// As [`sample`](Sampler::sample), from a row whose `ln Σ exp` is `sum`.
    fn choose(
        &mut self,
        row: &[f32],
        sum: f64,
        position: usize,
        mask: Mask<'_>,
        top: Option<usize>,
    ) -> Option<Sampled> {
        self.logits.clear();
        // Adding zero turns -0 into 0, so that the two orders of equal logits agree.
        self.logits.extend(row.iter().map(|logit| logit + 0.0));
        self.adjust();
        forbid(&mut self.logits, mask);
        let best = argmax(&self.logits);
        if self.logits[best as usize] == f32::NEG_INFINITY {
            return None;
        }
        let token = match self.sampling.params().temperature {
            0.0 => best,
            temperature => self.draw(temperature, position),
        };
        let masked = match (mask, top) {
            (Mask::Only(_), Some(count)) => {
                let mut allowed = row.to_vec();
                forbid(&mut allowed, mask);
                let sum = log_sum_exp(&allowed);
                let logprob = f64::from(row[token as usize]) - sum;
                Some(MaskedLogprobs { logprob, top: most_probable(&allowed, sum, count) })
            }
            _ => None,
        };
        let logprob = f64::from(row[token as usize]) - sum;
        Some(Sampled { token, logprob, top: most_probable(row, sum, top.unwrap_or(0)), masked })
    }

    /// As [`sample`](Sampler::sample), from a row of a step's logits, wherever that is: where the best token
    /// is all that is wanted, a device has the answer ready. Both ways give the same bits.
    pub(crate) fn sample_row(
        &mut self,
        logits: SegmentLogits<'_>,
        row: usize,
        position: usize,
        mask: Mask<'_>,
        top: Option<usize>,
    ) -> Option<Sampled> {
        let sum = logits.log_sum_exp(row);
        let allowed = match mask {
            Mask::Any => None,
            Mask::Only(words) => Some(words),
        };
        if !self.takes_the_best() || (allowed.is_some() && top.is_some()) {
            return self.choose(&logits.row(row), sum, position, mask, top);
        }
        let token = logits.argmax(row, allowed)?;
        let logprob = f64::from(logits.logit(row, token)) - sum;
        let top = with_logprobs(logits.top(row, top.unwrap_or(0)), sum);
        Some(Sampled { token, logprob, top, masked: None })
    }

    /// Counts a token as generated.
    pub fn commit(&mut self, token: u32) {
        if self.has_penalties() {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    fn has_penalties(&self) -> bool {
        let params = self.sampling.params();
        params.presence_penalty != 0.0 || params.frequency_penalty != 0.0 || params.repetition_penalty != 1.0
    }

    /// Whether the token with the largest logit of the row as it is will be chosen.
    fn takes_the_best(&self) -> bool {
        let params = self.sampling.params();
        params.temperature == 0.0 && params.logit_bias.is_empty() && !self.has_penalties()
    }

    /// Penalties and bias.
    fn adjust(&mut self) {
        let params = self.sampling.params();
        for (&token, &count) in &self.seen {
            let logit = &mut self.logits[token as usize];
            *logit = match *logit > 0.0 {
                true => *logit / params.repetition_penalty,
                false => *logit * params.repetition_penalty,
            };
            if count > 0 {
                *logit -= params.frequency_penalty * count as f32 + params.presence_penalty;
            }
        }
        for &(token, bias) in &params.logit_bias {
            self.logits[token as usize] += bias;
        }
    }

    fn draw(&self, temperature: f32, position: usize) -> u32 {
        let logits = &self.logits;
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from(((logit - largest) / temperature).exp());
        let cut = self.cut(&weight);
        let kept = || {
            let all = logits.iter().enumerate();
            all.filter(|&(token, &logit)| cut.is_none_or(|cut| cut.keeps(logit, token as u32)))
        };
        let total: f64 = kept().map(|(_, &logit)| weight(logit)).sum();
        let mut left = uniform(self.sampling.params().seed, position as u64) * total;
        let mut last = argmax(logits);
        for (token, &logit) in kept() {
            let weight = weight(logit);
            if weight > 0.0 {
                last = token as u32;
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        // Rounding can leave a crumb after the last token: that token is then meant.
        last
    }

    /// Where top-k, top-p and min-p, one after the other, end; `None` when all are off.
    fn cut(&self, weight: &dyn Fn(f32) -> f64) -> Option<Cut> {
        let params = self.sampling.params();
        let top_k = match params.top_k as usize {
            0 => self.logits.len(),
            k => k.min(self.logits.len()),
        };
        let all_k = top_k == self.logits.len();
        if all_k && params.top_p >= 1.0 && params.min_p == 0.0 {
            return None;
        }
        let mut order: Vec<u32> = (0..self.logits.len() as u32).collect();
        if !all_k {
            order.select_nth_unstable_by(top_k - 1, |&a, &b| self.rank(a, b));
            order.truncate(top_k);
        }
        if params.top_p < 1.0 {
            let total: f64 = order.iter().map(|&token| weight(self.logits[token as usize])).sum();
            let kept = self.nucleus(&mut order, weight, total * f64::from(params.top_p));
            order.truncate(kept);
        }
        // The best token has weight 1, so a token's weight is its probability relative to the best.
        order.retain(|&token| weight(self.logits[token as usize]) >= f64::from(params.min_p));
        let last = order.into_iter().max_by(|&a, &b| self.rank(a, b));
        last.map(|token| Cut { logit: self.logits[token as usize], token })
    }

    /// The number of front tokens of `order` whose weights first reach `wanted`, at least 1; they are sorted
    /// to the front.
    fn nucleus(&self, order: &mut [u32], weight: &dyn Fn(f32) -> f64, wanted: f64) -> usize {
        let mut sorted = 0;
        let mut sum = 0.0;
        let mut front = NUCLEUS_FRONT;
        while sorted < order.len() {
            let end = front.min(order.len());
            if end < order.len() {
                order[sorted..].select_nth_unstable_by(end - 1 - sorted, |&a, &b| self.rank(a, b));
            }
            order[sorted..end].sort_unstable_by(|&a, &b| self.rank(a, b));
            for (index, &token) in order[sorted..end].iter().enumerate() {
                sum += weight(self.logits[token as usize]);
                if sum >= wanted {
                    return sorted + index + 1;
                }
            }
            sorted = end;
            front *= 8;
        }
        order.len()
    }

    /// The order of all cuts: higher logit first, of equals the lower id.
    fn rank(&self, a: u32, b: u32) -> Ordering {
        let by_logit = self.logits[b as usize].total_cmp(&self.logits[a as usize]);
        by_logit.then(a.cmp(&b))
    }
}

/// Takes the forbidden tokens out of a row.
fn forbid(row: &mut [f32], mask: Mask<'_>) {
    let Mask::Only(words) = mask else { return };
    for (index, logits) in row.chunks_mut(u32::BITS as usize).enumerate() {
        let word = words.get(index).copied().unwrap_or(0);
        if word == u32::MAX {
            continue;
        }
        for (bit, logit) in logits.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

/// The `count` best tokens of a row, in the order of the cuts, with log-probabilities under `log_sum`. Tokens
/// that cannot come are left out.
fn most_probable(row: &[f32], log_sum: f64, count: usize) -> Vec<TokenLogprob> {
    with_logprobs(gptoss_model::most_probable(row, count), log_sum)
}

fn with_logprobs(best: Vec<(u32, f32)>, log_sum: f64) -> Vec<TokenLogprob> {
    let logprob = |(id, logit)| TokenLogprob { id, logprob: f64::from(logit) - log_sum };
    best.into_iter().map(logprob).collect()
}

impl Cut {
    fn keeps(self, logit: f32, token: u32) -> bool {
        logit > self.logit || (logit == self.logit && token <= self.token)
    }
}

#[cfg(test)]
mod tests;
