//! Tokens that are continued as they are, without any format: no conversation, no channels.
//!
//! It is what the old Completions API wants, and what evaluation harnesses score likelihoods with. For the
//! latter, [`TextOptions::forced_tokens`] are not chosen but given to the model one after another, each with
//! the log-probability that the model gave it; then it goes on by itself. That costs a step a token, where
//! reading a prompt costs one for many.

use std::time::Instant;

use gptoss_engine::{
    AdapterId, Constraint, EngineHandle, Event, EventStream, Mask, Priority, Request, SamplingParams, Tenant,
};
use gptoss_harmony::Vocab;

use crate::constraint::forbid;
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
    /// Tokens, after the forced ones, before which none ends the text; `usize::MAX` lets none at all. Units:
    /// tokens.
    pub min_new_tokens: usize,
    /// Tokens that end the text, besides the model's own.
    pub stop_ids: Vec<u32>,
    /// Best tokens whose log-probabilities are told with each token, 0 to 20; None tells none.
    pub logprobs: Option<usize>,
    /// Whose text it is.
    pub tenant: Tenant,
    /// How urgent it is.
    pub priority: Priority,
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
    adapter: Option<AdapterId>,
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
    let mut stop_ids = Vec::new();
    // Where nothing ever ends the text the model may well say a stop token, and goes on.
    let mut min_new_tokens = 0;
    if options.min_new_tokens < usize::MAX {
        stop_ids = vocab.stop_ids().iter().copied().chain(options.stop_ids).collect();
        min_new_tokens = options.min_new_tokens;
    }
    let constraint: Option<Box<dyn Constraint>> = match (num_forced, min_new_tokens) {
        (0, 0) => None,
        _ => {
            let ends = options.max_new_tokens == Some(0);
            let mut prefix = ForcedPrefix::new(options.forced_tokens, ends);
            prefix.go_on(min_new_tokens, &stop_ids, limits.vocab_size);
            Some(Box::new(prefix))
        }
    };
    let request = Request {
        prompt,
        sampling: options.sampling,
        stop_ids,
        max_new_tokens: options.max_new_tokens.map_or(usize::MAX, |count| count.saturating_add(num_forced)),
        top_logprobs: options.logprobs,
        constraint,
        adapter,
        tenant: options.tenant,
        priority: options.priority,
        deadline: options.deadline,
        ..Request::default()
    };
    Ok(Text { events: engine.submit(request)? })
}

/// Allows one token after another, then those that do not end the text, then all.
struct ForcedPrefix {
    tokens: Vec<u32>,
    next: usize,
    words: Vec<u32>,
    ends: bool,
    /// Tokens after the forced ones that may not end the text.
    num_going_on: usize,
    /// What may be said of them.
    going_on: Vec<u32>,
}

impl ForcedPrefix {
    fn new(tokens: Vec<u32>, ends: bool) -> ForcedPrefix {
        let most = tokens.iter().copied().max().unwrap_or(0);
        let mut prefix = ForcedPrefix {
            tokens,
            next: 0,
            words: vec![0; most as usize / 32 + 1],
            ends,
            num_going_on: 0,
            going_on: Vec::new(),
        };
        prefix.allow();
        prefix
    }

    /// Has `count` tokens of a vocabulary, none of `stop_ids` among them, follow.
    fn go_on(&mut self, count: usize, stop_ids: &[u32], vocab_size: usize) {
        if count == 0 {
            return;
        }
        self.num_going_on = count;
        self.going_on = vec![0; vocab_size.div_ceil(32)];
        for id in 0..vocab_size {
            self.going_on[id / 32] |= 1 << (id % 32);
        }
        forbid(&mut self.going_on, stop_ids);
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
        let num_forced = self.tokens.len();
        Ok(if self.next < num_forced {
            Mask::Only(&self.words)
        } else if self.next < num_forced.saturating_add(self.num_going_on) {
            Mask::Only(&self.going_on)
        } else {
            Mask::Any
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stop_token_may_come_before_its_time() {
        let mut prefix = ForcedPrefix::new(vec![7], false);
        prefix.go_on(2, &[3, 33], 40);
        let allowed = |prefix: &mut ForcedPrefix| match prefix.mask().unwrap() {
            Mask::Only(words) => Some(
                (0..64)
                    .filter(|id| words.get(id / 32).is_some_and(|word| word >> (id % 32) & 1 == 1))
                    .collect::<Vec<_>>(),
            ),
            Mask::Any => None,
        };
        let going_on: Vec<usize> = (0..40).filter(|id| *id != 3 && *id != 33).collect();
        let mut next = || {
            let mask = allowed(&mut prefix);
            prefix.commit(7).unwrap();
            mask
        };
        assert_eq!(
            [next(), next(), next(), next()],
            [Some(vec![7]), Some(going_on.clone()), Some(going_on), None]
        );
    }
}
