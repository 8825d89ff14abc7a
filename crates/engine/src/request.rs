//! Requests to the engine and its answers: plain data.
//!
//! Entry points: [`Request`] goes in, [`Event`]s come out of its ticket; a request that is accepted gets
//! exactly one last event, [`Event::Finished`] or [`Event::Failed`], and nothing after it.
//!
//! A request is complete: its tokens, how to choose (with the seed), what ends it, whose it is. Nothing else
//! that the engine remembers changes the result. Several choices for one prompt are several requests with
//! different seeds; they share the prompt's blocks through the prefix cache.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gptoss_model::AdapterId;

use crate::constraint::Constraint;
use crate::error::Failure;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the best token without a draw.
    pub temperature: f32,
    /// The smallest set of best tokens with this probability is kept; 1 keeps all.
    pub top_p: f32,
    /// The number of best tokens that are kept; 0 keeps all.
    pub top_k: u32,
    /// Tokens less probable than this part of the best one's probability are cut; 0 keeps all.
    pub min_p: f32,
    /// Subtracted once from the logit of every token that was generated before.
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

/// Whose request it is: tenants share the machine fairly, and nothing in the cache unless they say so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(pub Arc<str>);

impl Default for Tenant {
    fn default() -> Tenant {
        Tenant(Arc::from(""))
    }
}

/// With whom what is kept of a request's prompt is shared. It changes nobody's share of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sharing {
    /// With the other requests of its tenant that say so.
    #[default]
    Tenant,
    /// With all requests that name this salt, whoever sends them.
    Salt(Arc<str>),
    /// With nobody: what is kept goes on with this request alone, and is private.
    Nobody,
}

/// Whom what is kept of a prompt is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeptFor {
    /// A tenant.
    Tenant(Tenant),
    /// Whoever names a salt.
    Salt(Arc<str>),
    /// One request, by its number in its engine.
    Request(u64),
}

/// Whose keys and values a sequence's are, as the adapter or the model alone makes them. What is kept of one
/// is nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) kept_for: KeptFor,
    pub(crate) adapter: Option<AdapterId>,
}

impl Owner {
    /// Whether nobody else will ever ask for what is kept, so that it goes when the request ends.
    pub(crate) fn is_one_request(&self) -> bool {
        matches!(self.kept_for, KeptFor::Request(_))
    }
}

impl KeptFor {
    /// Of the request of that number.
    pub(crate) fn of(sharing: &Sharing, tenant: &Tenant, number: u64) -> KeptFor {
        match sharing {
            Sharing::Tenant => KeptFor::Tenant(tenant.clone()),
            Sharing::Salt(salt) => KeptFor::Salt(Arc::clone(salt)),
            Sharing::Nobody => KeptFor::Request(number),
        }
    }
}

/// How urgent a request is. A waiting request rises with time, so none waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Whenever there is room: batches, evaluations.
    Background,
    /// The default.
    #[default]
    Normal,
    /// Somebody is waiting for it.
    Interactive,
}

/// One sequence to continue.
#[derive(Default)]
pub struct Request {
    /// The tokens so far; at least one.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens that end the generation.
    pub stop_ids: Vec<u32>,
    /// The most tokens to generate, the stop token included; the context may end it earlier.
    pub max_new_tokens: usize,
    /// Best tokens whose log-probabilities are told with each token: 0 to 20. None tells only the chosen
    /// token's own and nothing of what a mask left.
    pub top_logprobs: Option<usize>,
    /// What may be said; None is anything.
    pub constraint: Option<Box<dyn Constraint>>,
    /// Places in the prompt, as numbers of tokens before them, from which a later prompt is likely to part
    /// from this one: ends of messages. The engine can go on from these places (and from both ends) without
    /// computing again.
    pub cache_points: Vec<usize>,
    /// How many of the prompt's last tokens were generated by an engine before this one, which presence and
    /// frequency penalty count as its own.
    pub num_continued: usize,
    /// The adapter of the model that computes it; None is the model as it is.
    pub adapter: Option<AdapterId>,
    /// Whose it is.
    pub tenant: Tenant,
    /// With whom its kept prompt is shared.
    pub sharing: Sharing,
    /// How urgent it is.
    pub priority: Priority,
    /// When it ends with what it has; None is never.
    pub deadline: Option<Instant>,
    /// Whether nothing of it may be written to disk.
    pub is_private: bool,
}

impl fmt::Debug for Request {
    /// Lengths and not tokens: what was said stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("prompt_tokens", &self.prompt.len())
            .field("max_new_tokens", &self.max_new_tokens)
            .field("is_constrained", &self.constraint.is_some())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// A token and how probable it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Units: nats.
    pub logprob: f64,
}

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The token.
    pub id: u32,
    /// Its log-probability (nats) under the model's own distribution: the softmax of the logits before
    /// penalties, bias, mask, temperature and cuts.
    pub logprob: f64,
    /// Whether it is one of the stop ids; it is then the last token.
    pub is_stop: bool,
    /// The `top_logprobs` most probable tokens under the same distribution, best first.
    pub top: Vec<TokenLogprob>,
    /// The same under the distribution that the constraint leaves; None when it allowed every token, or when
    /// `top_logprobs` was not asked for.
    pub masked: Option<MaskedLogprobs>,
}

/// Log-probabilities under the softmax of the logits of the allowed tokens alone, before penalties and the
/// rest.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedLogprobs {
    /// The chosen token's. Units: nats.
    pub logprob: f64,
    /// The most probable tokens, best first.
    pub top: Vec<TokenLogprob>,
}

/// What happens while a request runs. After `Finished` or `Failed` nothing follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The prompt is being computed. Sent at the start and after every chunk.
    Prefill {
        /// Prompt tokens in the cache, those reused included.
        done: usize,
        /// Prompt tokens in all.
        total: usize,
    },
    /// A token was chosen.
    Token(Token),
    /// The request has ended well, early or late.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
    /// The request was accepted and could not be carried out.
    Failed(Failure),
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop id was chosen, or the constraint allows nothing more.
    Stop,
    /// `max_new_tokens` or the context is used up.
    Length,
    /// The caller cancelled, or nobody listens any more.
    Cancelled,
    /// Its deadline has passed.
    Deadline,
}

/// What a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were found in the prefix cache when the request began, and not computed.
    pub cached_tokens: usize,
    /// Tokens generated, a stop token included.
    pub completion_tokens: usize,
    /// Where the time went.
    pub timings: Timings,
}

/// Wall-clock time by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From being accepted to the first step.
    pub queued: Duration,
    /// From there to the prompt's last logits.
    pub prefill: Duration,
    /// From there to the end.
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

/// The whole answer to a request: its events, collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// One log-probability a token, as in [`Token::logprob`].
    pub logprobs: Vec<f64>,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}
