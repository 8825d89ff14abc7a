//! Tokens that are continued as they are, without any format: no conversation, no channels.
//!
//! It is what the old Completions API wants, and what evaluation harnesses score likelihoods with. For the
//! latter, [`TextOptions::forced_tokens`] are not chosen but given to the model one after another, each with
//! the log-probability that the model gave it; then it goes on by itself. That costs a step a token, where
//! reading a prompt costs one for many.

use std::time::Instant;

use gptoss_engine::{Constraint, EngineHandle, Event, EventStream, Mask, Request, SamplingParams, Tenant};
use gptoss_harmony::Vocab;

use crate::error::Error;

/// How tokens are to be continued.
#[derive(Debug, Clone, Default)]
pub struct TextOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens that the model is given after the prompt, before it chooses.
    pub forced_tokens: Vec<u32>,
    /// Most tokens that the model chooses; None is as many as the context holds.
    pub max_new_tokens: Option<usize>,
    /// Whether a stop token ends the text.
    pub ignores_stop_tokens: bool,
    /// Best tokens whose log-probabilities are told with each token, 0 to 20; None tells none.
    pub logprobs: Option<usize>,
    /// Whose text it is.
    pub tenant: Tenant,
    /// When it ends with what it has; None is never.
    pub deadline: Option<Instant>,
}

/// A text on its way: tokens, the forced ones first, and one end.
pub struct Text {
    events: EventStream,
}

impl Text {
    /// The next event, for any runtime; None after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Asks the text to end: within one step, with what there is.
    pub fn cancel(&self) {
        self.events.cancel();
    }
}

/// Begins to continue `prompt`.
pub(crate) fn start_text(
    engine: &EngineHandle,
    vocab: &Vocab,
    prompt: Vec<u32>,
    options: TextOptions,
) -> Result<Text, Error> {
    let limits = engine.limits();
    let beyond =
        |(index, &token): (usize, &u32)| (token as usize >= limits.vocab_size).then_some((index, token));
    if let Some((index, token)) = options.forced_tokens.iter().enumerate().find_map(beyond) {
        let vocab_size = limits.vocab_size;
        return Err(gptoss_engine::Error::TokenOutsideVocabulary { index, token, vocab_size }.into());
    }
    let num_forced = options.forced_tokens.len();
    let prompt_tokens = prompt.len() + num_forced;
    if prompt_tokens > limits.max_context {
        let max_context = limits.max_context;
        return Err(gptoss_engine::Error::PromptTooLong { prompt_tokens, max_context }.into());
    }
    let stop_ids = if options.ignores_stop_tokens { Vec::new() } else { vocab.stop_ids().to_vec() };
    let constraint: Option<Box<dyn Constraint>> = match num_forced {
        0 => None,
        _ => Some(Box::new(ForcedPrefix::new(options.forced_tokens, options.max_new_tokens == Some(0)))),
    };
    let request = Request {
        prompt,
        sampling: options.sampling,
        stop_ids,
        max_new_tokens: options.max_new_tokens.map_or(usize::MAX, |count| count.saturating_add(num_forced)),
        top_logprobs: options.logprobs,
        constraint,
        tenant: options.tenant,
        deadline: options.deadline,
        ..Request::default()
    };
    Ok(Text { events: engine.submit(request)? })
}

/// Allows one token after another, then all.
struct ForcedPrefix {
    tokens: Vec<u32>,
    next: usize,
    words: Vec<u32>,
    ends: bool,
}

impl ForcedPrefix {
    fn new(tokens: Vec<u32>, ends: bool) -> ForcedPrefix {
        let most = tokens.iter().copied().max().unwrap_or(0);
        let mut prefix = ForcedPrefix { tokens, next: 0, words: vec![0; most as usize / 32 + 1], ends };
        prefix.allow();
        prefix
    }

    fn allow(&mut self) {
        self.words.fill(0);
        if let Some(&token) = self.tokens.get(self.next) {
            self.words[token as usize / 32] |= 1 << (token % 32);
        }
    }
}

impl Constraint for ForcedPrefix {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        Ok(if self.next < self.tokens.len() { Mask::Only(&self.words) } else { Mask::Any })
    }

    fn commit(&mut self, _token: u32) -> Result<(), String> {
        self.next += 1;
        self.allow();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ends && self.next >= self.tokens.len()
    }
}
