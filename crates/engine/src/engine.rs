//! The beat of a conversation: schedule, forward, sample, commit, for one sequence.
//!
//! Entry points: [`Engine::new`] and [`Engine::generate`]. A request's prompt is computed in chunks, then tokens are
//! chosen one by one and appended, until a stop id, the limit, the end of the context or the caller's flag. The flag
//! is looked at between chunks and between tokens, so a request ends within one step of asking.
//!
//! The KV cache outlives a request. If the next prompt begins with tokens that are still in it, they are not computed
//! again; the windowed layers keep only a ring, so going back works as far as the ring reaches and otherwise the cache
//! starts afresh. Both give the same bits, because a row depends on the tokens before it alone.
//!
//! It does not know text, messages or other sequences; scheduling of many is to come and keeps this beat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gptoss_model::{Batch, KvCache, LogitRows, Logits, Model};

use crate::Error;
use crate::limits::Sampling;
use crate::request::{Completion, Event, FinishReason, Request, Timings, Usage};
use crate::sampler::Sampler;

/// A model with the KV cache of one conversation.
pub struct Engine {
    model: Arc<Model>,
    cache: KvCache,
    /// The tokens whose keys and values the cache holds.
    history: Vec<u32>,
}

/// A request on its way.
struct Run<'a> {
    request: &'a Request,
    cancel: &'a AtomicBool,
    sampler: Sampler,
    completion: Completion,
}

impl Engine {
    /// An engine for contexts of up to `max_context` tokens, prompt and completion together.
    ///
    /// Units: tokens. The cache's memory is reserved, and touched as far as a conversation comes.
    pub fn new(model: Arc<Model>, max_context: usize) -> Engine {
        let cache = model.new_cache(max_context);
        Engine { model, cache, history: Vec::new() }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens that a prompt and its completion can have together.
    pub fn max_context(&self) -> usize {
        self.cache.max_context()
    }

    /// Continues a prompt. Events come as they happen, `Finished` last; the completion holds the same.
    ///
    /// A cancelled request is not an error: it ends with what it has and `FinishReason::Cancelled`.
    ///
    /// Errors: `Parameter`, `EmptyPrompt`, `PromptTooLong`, `TokenOutsideVocabulary` before anything is computed;
    /// `Model` when the forward pass fails. After an error no `Finished` is sent, and the engine takes the next
    /// request as if new.
    pub fn generate(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Completion, Error> {
        let sampling = self.accept(request)?;
        let usage = Usage { prompt_tokens: request.prompt.len(), ..Usage::default() };
        let mut run = Run {
            request,
            cancel,
            sampler: Sampler::new(sampling, &request.prompt),
            completion: Completion {
                tokens: Vec::new(),
                logprobs: Vec::new(),
                reason: FinishReason::Cancelled,
                usage,
            },
        };
        let start = Instant::now();
        let logits = self.prefill(&mut run, on_event)?;
        let prefill = start.elapsed();
        if let Some(logits) = logits {
            self.decode(&mut run, logits, on_event)?;
        }
        let mut completion = run.completion;
        completion.usage.completion_tokens = completion.tokens.len();
        let decode = if completion.tokens.is_empty() { Duration::ZERO } else { start.elapsed() - prefill };
        completion.usage.timings = Timings { prefill, decode };
        on_event(Event::Finished { reason: completion.reason, usage: completion.usage });
        Ok(completion)
    }

    /// Everything that can be wrong with a request, asked before it costs anything.
    fn accept(&self, request: &Request) -> Result<Sampling, Error> {
        let vocab_size = self.model.config().vocab_size;
        let sampling = Sampling::parse(&request.sampling, vocab_size)?;
        let prompt = &request.prompt;
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() > self.max_context() {
            return Err(Error::PromptTooLong {
                prompt_tokens: prompt.len(),
                max_context: self.max_context(),
            });
        }
        match prompt.iter().position(|&token| token as usize >= vocab_size) {
            Some(index) => Err(Error::TokenOutsideVocabulary { index, token: prompt[index], vocab_size }),
            None => Ok(sampling),
        }
    }

    /// Computes what of the prompt is not in the cache; the logits of its last token, or `None` when cancelled.
    fn prefill(
        &mut self,
        run: &mut Run<'_>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Option<Logits>, Error> {
        let prompt = &run.request.prompt;
        let total = prompt.len();
        let mut done = self.reuse(prompt);
        run.completion.usage.cached_tokens = done;
        on_event(Event::Prefill { done, total });
        loop {
            if run.cancel.load(Ordering::Relaxed) {
                run.completion.reason = FinishReason::Cancelled;
                return Ok(None);
            }
            let end = total.min(done + self.model.chunk_tokens());
            let wanted = if end == total { LogitRows::Last } else { LogitRows::None };
            let logits = self.append(&prompt[done..end], wanted)?;
            done = end;
            on_event(Event::Prefill { done, total });
            if done == total {
                return Ok(Some(logits));
            }
        }
    }

    fn decode(
        &mut self,
        run: &mut Run<'_>,
        mut logits: Logits,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let room = self.max_context() - run.request.prompt.len();
        let limit = run.request.max_new_tokens.min(room);
        run.completion.reason = loop {
            if run.cancel.load(Ordering::Relaxed) {
                break FinishReason::Cancelled;
            }
            if run.completion.tokens.len() == limit {
                break FinishReason::Length;
            }
            let token = run.choose(&logits, on_event);
            if run.request.stop_ids.contains(&token) {
                break FinishReason::Stop;
            }
            if run.completion.tokens.len() < limit {
                logits = self.append(&[token], LogitRows::Last)?;
            }
        };
        Ok(())
    }

    /// Appends tokens to cache and history, or empties both when that fails.
    fn append(&mut self, tokens: &[u32], logits: LogitRows) -> Result<Logits, Error> {
        match self.model.forward(&Batch { tokens, logits }, &mut self.cache) {
            Ok(logits) => {
                self.history.extend_from_slice(tokens);
                Ok(logits)
            }
            Err(error) => {
                self.forget();
                Err(error.into())
            }
        }
    }

    /// Makes the cache hold as long a beginning of `prompt` as it can without computing, but not all of it, because
    /// the logits of the last token are needed. Its length.
    fn reuse(&mut self, prompt: &[u32]) -> usize {
        // A panic in a forward pass can leave the two apart; then nothing is known about the cache.
        if self.history.len() != self.cache.len() {
            self.forget();
        }
        let shared = self.history.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let kept = shared.min(prompt.len() - 1);
        if self.cache.truncate(kept).is_err() {
            self.forget();
        }
        self.history.truncate(self.cache.len());
        self.history.len()
    }

    fn forget(&mut self) {
        self.cache.reset();
        self.history.clear();
    }
}

impl Run<'_> {
    /// Samples the next token and commits it: to the sampler, the completion and the listener.
    fn choose(&mut self, logits: &Logits, on_event: &mut dyn FnMut(Event)) -> u32 {
        let position = self.request.prompt.len() + self.completion.tokens.len();
        let sampled = self.sampler.sample(logits.row(logits.num_rows() - 1), position);
        self.sampler.commit(sampled.token);
        self.completion.tokens.push(sampled.token);
        self.completion.logprobs.push(sampled.logprob);
        let is_stop = self.request.stop_ids.contains(&sampled.token);
        on_event(Event::Token { id: sampled.token, logprob: sampled.logprob, is_stop });
        sampled.token
    }
}
