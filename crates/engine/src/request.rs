//! What is asked of the engine and what it answers: plain data.
//!
//! Entry points: [`Request`] in, [`Event`]s and a [`Completion`] out. A request names everything that its result
//! depends on (tokens, sampling with its seed, stop ids, the most new tokens), so the same request gives the same
//! tokens and log-probabilities whatever ran before. Fields are public because a request is only checked when it is
//! accepted, by `Engine::generate`.
//!
//! Tokens are `u32`; this room does not know text, channels or messages.

use std::time::Duration;

/// How the next token is chosen. `Default` is the recommended sampling: temperature 1, nothing cut off, seed 0.
///
/// Steps, in this order: repetition, frequency and presence penalty, logit bias, temperature, top-k, top-p, min-p,
/// then one draw. Ranges are in `limits.rs`.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most likely token (of equals the lowest id); higher is more varied.
    pub temperature: f32,
    /// Keep the most likely tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Subtracted once from the logit of every token generated before.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for every time it was generated before.
    pub frequency_penalty: f32,
    /// Divides positive and multiplies negative logits of tokens in the prompt or generated before; 1 is off.
    pub repetition_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// With the position, decides every draw.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> SamplingParams {
        SamplingParams {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// One sequence to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The tokens so far; at least one.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens that end the generation.
    pub stop_ids: Vec<u32>,
    /// The most tokens to generate, the stop token included; the context may end it earlier.
    pub max_new_tokens: usize,
}

/// What happens while a request runs. After the last event, `Finished`, nothing follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The prompt is being computed. Sent at the start and after every chunk.
    Prefill {
        /// Prompt tokens in the cache, those reused from the previous request included.
        done: usize,
        /// Prompt tokens in all.
        total: usize,
    },
    /// A token was chosen.
    Token {
        /// The token.
        id: u32,
        /// Its log-probability (nats) under the model's own distribution: the softmax of the logits before
        /// penalties, bias, temperature and cuts.
        logprob: f64,
        /// Whether it is one of the stop ids; it is then the last token.
        is_stop: bool,
    },
    /// The request has ended.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop id was chosen.
    Stop,
    /// `max_new_tokens` or the context is used up.
    Length,
    /// The caller's flag was seen.
    Cancelled,
}

/// What a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were still in the cache and not computed again.
    pub cached_tokens: usize,
    /// Tokens generated, a stop token included.
    pub completion_tokens: usize,
    /// Where the time went.
    pub timings: Timings,
}

/// Wall-clock time by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From the start to the prompt's last logits.
    pub prefill: Duration,
    /// From there to the end: sampling, and one forward pass per token but the last.
    pub decode: Duration,
}

impl Usage {
    /// Prompt tokens computed per second; `None` when the clock saw no time pass.
    pub fn prefill_tokens_per_second(&self) -> Option<f64> {
        rate(self.prompt_tokens - self.cached_tokens, self.timings.prefill)
    }

    /// Generated tokens per second of decoding; `None` when the clock saw no time pass.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        rate(self.completion_tokens, self.timings.decode)
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| tokens as f64 / seconds)
}

/// The whole answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// One log-probability a token, as in [`Event::Token`].
    pub logprobs: Vec<f64>,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}
