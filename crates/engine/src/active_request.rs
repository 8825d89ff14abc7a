//! State of an active request outside the scheduler: sampler, constraint, event sink, timings.
//!
//! Entry points: [`ActiveRequest::choose`] turns the rows of one step into tokens, told one by one;
//! [`ActiveRequest::end`] is the one way out. The sampler, the constraint and the listener see exactly the
//! tokens that are committed: guesses are tried by choosing, one after the other, what would have been chosen
//! without them, and the first that was not guessed is the last of the step. So a guess can make a step
//! longer and never another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use gptoss_model::SegmentLogits;

use crate::constraint::Mask;
use crate::error::Failure;
use crate::handle::{EventSender, QueuedRequest};
use crate::plan::Outcome;
use crate::request::{FinishReason, Request, Timings, Token, Usage};
use crate::sampler::Sampler;

/// An accepted request.
pub(crate) struct ActiveRequest {
    request: Request,
    events: EventSender,
    sampler: Sampler,
    prompt_len: usize,
    num_generated: usize,
    cached_tokens: usize,
    accepted_at: Instant,
    begun_at: Option<Instant>,
    prefilled_at: Option<Instant>,
    /// Tokens that its constraint leaves no choice about, after those that were chosen.
    forced: Vec<u32>,
    /// Most of them to ask for at once.
    forced_max: usize,
    /// Why it ends, once that is decided.
    failure: Option<Failure>,
}

impl ActiveRequest {
    /// The prompt is moved out: the scheduler has it.
    pub(crate) fn new(accepted: QueuedRequest, forced_max: usize) -> (ActiveRequest, Vec<u32>) {
        let QueuedRequest { mut request, sampling, accepted_at, events, .. } = accepted;
        let sampler = Sampler::continued(sampling, &request.prompt, request.num_continued);
        let prompt = std::mem::take(&mut request.prompt);
        let request = ActiveRequest {
            request,
            events,
            sampler,
            prompt_len: prompt.len(),
            num_generated: 0,
            cached_tokens: 0,
            accepted_at,
            begun_at: None,
            prefilled_at: None,
            forced: Vec::new(),
            forced_max,
            failure: None,
        };
        (request, prompt)
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The tokens that must follow those chosen so far, as far as they were looked for.
    pub(crate) fn forced(&self) -> &[u32] {
        &self.forced
    }

    /// The first step is about to run.
    pub(crate) fn begin(&mut self, cached_tokens: usize) {
        self.events.begin();
        self.begun_at = Some(Instant::now());
        self.cached_tokens = cached_tokens;
        self.tell_prefill(cached_tokens);
    }

    /// Tells how far the prompt has come. Nothing when it was all computed before, as after a preemption.
    pub(crate) fn tell_prefill(&mut self, done: usize) {
        if self.prefilled_at.is_none() {
            let told = self.events.prefill(done.min(self.prompt_len), self.prompt_len);
            self.failure = self.failure.take().or(told.err());
        }
    }

    /// The reason to end it before the next step, if there is one.
    pub(crate) fn is_called_off(&self, now: Instant) -> Option<FinishReason> {
        if self.events.is_cancelled() {
            return Some(FinishReason::Cancelled);
        }
        let is_late = self.request.deadline.is_some_and(|deadline| now >= deadline);
        is_late.then_some(FinishReason::Deadline)
    }

    /// Chooses the next token from the first row, and one more from each row after it as long as the guess
    /// before it was right. `position` is that of the first chosen token, `room` the most that may be chosen.
    ///
    /// A panic of the sampler or the constraint is this request's failure.
    pub(crate) fn choose(
        &mut self,
        logits: SegmentLogits<'_>,
        position: usize,
        draft: &[u32],
        room: usize,
    ) -> Outcome {
        if self.failure.is_some() {
            return Outcome::Failed;
        }
        let chosen = catch_unwind(AssertUnwindSafe(|| self.choose_rows(logits, position, draft, room)));
        let chosen = chosen.unwrap_or_else(|panic| Err(Failure::Panicked { message: words(panic.as_ref()) }));
        chosen.unwrap_or_else(|failure| {
            self.failure = Some(failure);
            Outcome::Failed
        })
    }

    fn choose_rows(
        &mut self,
        logits: SegmentLogits<'_>,
        position: usize,
        draft: &[u32],
        room: usize,
    ) -> Result<Outcome, Failure> {
        let mut tokens = Vec::new();
        let mut guesses = draft.iter();
        self.forced.clear();
        let mut is_stop = false;
        for row in 0..logits.num_rows() {
            let token = self.choose_one(logits, row, position + row)?;
            tokens.push(token);
            let is_over = self.request.constraint.as_ref().is_some_and(|constraint| constraint.is_over());
            is_stop = is_over || self.request.stop_ids.contains(&token);
            if is_stop || tokens.len() == room || guesses.next() != Some(&token) {
                break;
            }
        }
        // The last token that there is room for is chosen from the row before it and never computed.
        let max = self.forced_max.min((room - tokens.len()).saturating_sub(1));
        if let Some(constraint) = self.request.constraint.as_mut().filter(|_| !is_stop && max > 0) {
            self.forced = constraint.forced(max);
        }
        Ok(Outcome::Chosen { tokens, is_stop })
    }

    /// Samples a token and commits it: to the sampler, the constraint and the listener.
    fn choose_one(&mut self, logits: SegmentLogits<'_>, row: usize, position: usize) -> Result<u32, Failure> {
        let failed = |message: String| Failure::Constraint { message };
        let mask = match &mut self.request.constraint {
            Some(constraint) => constraint.mask().map_err(failed)?,
            None => Mask::Any,
        };
        let sampled = self.sampler.sample_row(logits, row, position, mask, self.request.top_logprobs);
        let sampled = sampled.ok_or_else(|| failed("it forbids every token".to_owned()))?;
        let id = sampled.token;
        self.sampler.commit(id);
        if let Some(constraint) = &mut self.request.constraint {
            constraint.commit(id).map_err(failed)?;
        }
        self.num_generated += 1;
        self.prefilled_at.get_or_insert_with(Instant::now);
        let is_stop = self.request.stop_ids.contains(&id);
        self.events.token(Token {
            id,
            logprob: sampled.logprob,
            is_stop,
            top: sampled.top,
            masked: sampled.masked,
        })?;
        Ok(id)
    }

    /// Notes why the request fails, if nothing was noted before.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Whether it is bound to fail.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Ends the request, well with `reason` unless something was noted against it.
    pub(crate) fn end(self, reason: FinishReason) {
        let usage = self.usage();
        match self.failure {
            Some(failure) => self.events.fail(failure),
            None => self.events.finish(reason, usage),
        }
    }

    fn usage(&self) -> Usage {
        let now = Instant::now();
        let begun_at = self.begun_at.unwrap_or(now);
        let prefilled_at = self.prefilled_at.unwrap_or(now);
        Usage {
            prompt_tokens: self.prompt_len,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.num_generated,
            timings: Timings {
                queued: begun_at.saturating_duration_since(self.accepted_at),
                prefill: prefilled_at.saturating_duration_since(begun_at),
                decode: if self.num_generated == 0 { Duration::ZERO } else { now - prefilled_at },
            },
        }
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}
