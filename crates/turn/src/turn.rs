//! A turn on its way, and how one is prepared.
//!
//! [`PreparedTurn`] is what the choices of a request share: the rendered prompt and the compiled rules. A
//! [`Turn`] runs on the engine's thread; its events are read blocking ([`Turn::next_event`]) or async
//! ([`Turn::next`]), and the last is `Finished` or `Failed`. A turn keeps nothing when it is over: the caller
//! appends [`Outcome::messages`] to the conversation, and results of calls after them. Dropping a turn
//! cancels it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gptoss_constrain::{Bounds, Cut, TokenTable};
use gptoss_engine::{
    AdapterId, Canceller, EngineHandle, Event, EventStream, FinishReason, Request, SamplingParams, TimedRecv,
    Token, Usage,
};
use gptoss_harmony::{Control, Conversation, Delta, Form, RenderOptions, Role, TurnEnd, Vocab, render};

use crate::constraint::{CutLog, Owed, TurnConstraint};
use crate::decode::{TurnDecoder, TurnOutput};
use crate::error::Error;
use crate::event::{Outcome, TurnEvent, TurnUsage};
use crate::options::TurnOptions;

/// A turn on its way.
pub struct Turn {
    events: EventStream,
    /// None when all tokens were decoded.
    decoder: Option<TurnDecoder>,
    /// What is left to be emitted after the last token.
    last: VecDeque<TurnEvent>,
    /// Units: tokens.
    max_new_tokens: usize,
    /// Units: tokens.
    max_context: usize,
    was_cancelled: Arc<AtomicBool>,
    cancelled_tokens: usize,
    /// Tokens that were heard.
    num_tokens: usize,
    owed: Owed,
    cut_log: CutLog,
    /// Those of the log that belong to tokens that were heard.
    cuts: Vec<Cut>,
}

/// Cancels a turn from anywhere.
#[derive(Debug, Clone)]
pub struct TurnCanceller {
    canceller: Canceller,
    was_cancelled: Arc<AtomicBool>,
}

impl TurnCanceller {
    /// Asks the turn to end: within one step, with what there is.
    pub fn cancel(&self) {
        self.was_cancelled.store(true, Ordering::Relaxed);
        self.canceller.cancel();
    }
}

impl Turn {
    /// Waits for the next event, blocking the thread; None after the last one.
    pub fn next_event(&mut self) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            let event = self.events.next_event()?;
            self.on_event(event);
        }
    }

    /// The next event, for any runtime; None after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            let event = self.events.next().await?;
            self.on_event(event);
        }
    }

    /// Waits for the next event, but not longer than about `patience`; None when there is none yet, and after
    /// the last one.
    pub fn next_event_within(&mut self, patience: Duration) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            match self.events.next_event_within(patience) {
                TimedRecv::Event(event) => self.on_event(event),
                TimedRecv::Nothing | TimedRecv::End => return None,
            }
        }
    }

    /// Asks the turn to end: within one step, with what there is and `TurnEnd::Cancelled`.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// A way to cancel that outlives borrowing the turn.
    pub fn canceller(&self) -> TurnCanceller {
        TurnCanceller { canceller: self.events.canceller(), was_cancelled: Arc::clone(&self.was_cancelled) }
    }

    /// The number of its request in the engine.
    pub fn id(&self) -> u64 {
        self.events.id()
    }

    fn ready(&mut self) -> Option<TurnEvent> {
        match &mut self.decoder {
            Some(decoder) => decoder.take(),
            None => self.last.pop_front(),
        }
    }

    fn on_event(&mut self, event: Event) {
        let Some(decoder) = &mut self.decoder else { return };
        match event {
            Event::Prefill { done, total } => decoder.emit(TurnEvent::Prefill { done, total }),
            Event::Token(token) => self.on_token(&token),
            Event::Finished { reason, usage } => self.finish(reason, usage),
            Event::Failed(failure) => {
                if let Some(decoder) = self.decoder.take() {
                    self.last = decoder.finish().0;
                }
                self.last.push_back(TurnEvent::Failed(failure));
            }
        }
    }

    fn on_token(&mut self, token: &Token) {
        let Some(decoder) = &mut self.decoder else { return };
        if decoder.is_over() {
            // The turn was over before the engine had heard of it.
            self.cancelled_tokens += 1;
            return;
        }
        decoder.push(token);
        self.num_tokens += 1;
        for cut in self.cut_log.up_to(self.num_tokens, self.cuts.len()) {
            decoder.warn(cut.to_string());
            self.cuts.push(cut);
        }
        if decoder.is_over() {
            self.events.cancel();
        }
    }

    fn finish(&mut self, reason: FinishReason, mut usage: Usage) {
        let Some(decoder) = self.decoder.take() else { return };
        let place = decoder.place();
        let (events, mut output) = decoder.finish();
        let end = match end_of(&output, reason, self.was_cancelled.load(Ordering::Relaxed)) {
            TurnEnd::Length if usage.completion_tokens < self.max_new_tokens => TurnEnd::Context,
            end => end,
        };
        // What nobody hears depends on how fast the engine heard of the end, so it is not counted.
        usage.completion_tokens -= self.cancelled_tokens;
        let usage = TurnUsage { engine: usage, reasoning_tokens: output.reasoning_tokens };
        self.last = events;
        if let Some(missing) = self.missing(end, place) {
            output.warnings.push(missing.clone());
            self.last.push_back(TurnEvent::Delta(Delta::Warning(missing)));
        }
        let TurnOutput { messages, calls, warnings, stopped_by, .. } = output;
        let cuts = std::mem::take(&mut self.cuts);
        let outcome = Outcome { messages, calls, end, cuts, stopped_by, usage, warnings };
        self.last.push_back(TurnEvent::Finished(outcome));
    }

    /// What the turn owed and did not come to, and why.
    fn missing(&self, end: TurnEnd, place: &str) -> Option<String> {
        let limit = match end {
            TurnEnd::Length => format!("the limit of {} new tokens", self.max_new_tokens),
            TurnEnd::Context => format!("the end of the context of {} tokens", self.max_context),
            TurnEnd::Deadline => "the deadline".to_owned(),
            TurnEnd::Answer | TurnEnd::Call | TurnEnd::Cancelled | TurnEnd::Filtered | TurnEnd::NoAnswer => {
                return None;
            }
        };
        let what = match self.owed {
            Owed::Nothing => return None,
            Owed::Call => "the call that was asked for is missing",
            Owed::Format => "the answer is not whole in the format that was asked for",
        };
        Some(format!("{what}: {limit} came {place}"))
    }
}

/// Everything about a turn that its choices share.
pub(crate) struct PreparedTurn<'a> {
    engine: &'a EngineHandle,
    adapter: Option<AdapterId>,
    vocab: &'a Arc<Vocab>,
    conversation: &'a Conversation,
    options: &'a TurnOptions,
    prompt: Vec<u32>,
    cache_points: Vec<usize>,
    constraint: Option<TurnConstraint>,
}

impl<'a> PreparedTurn<'a> {
    /// Renders the conversation as tokens that end where the assistant begins, and compiles its rules.
    pub(crate) fn new(
        (engine, adapter): (&'a EngineHandle, Option<AdapterId>),
        table: &'a Arc<TokenTable>,
        conversation: &'a Conversation,
        options: &'a TurnOptions,
    ) -> Result<PreparedTurn<'a>, Error> {
        let form = RenderOptions { form: Form::Completion(Role::Assistant), analysis: options.analysis };
        let vocab = table.vocab();
        let prompt = render(vocab, conversation, form)?;
        let cache_points = cache_points(vocab, conversation, &prompt);
        let constraint = options.rules.compiled(table, conversation, &options.tenant)?;
        Ok(PreparedTurn { engine, adapter, vocab, conversation, options, prompt, cache_points, constraint })
    }

    /// Tokens of the prompt.
    pub(crate) fn num_tokens(&self) -> usize {
        self.prompt.len()
    }

    pub(crate) fn submit(&self, seed: u64) -> Result<Turn, Error> {
        let (options, vocab) = (self.options, self.vocab);
        let max_new_tokens = options.max_new_tokens.unwrap_or(usize::MAX);
        let max_context = self.engine.limits().max_context;
        let room = max_context.saturating_sub(self.prompt.len());
        let bounds = Bounds {
            tokens_max: Some(max_new_tokens.min(room)),
            reasoning_budget: options.reasoning_budget,
            answer_tokens: options.answer_tokens,
            breaks_loops: options.breaks_loops,
        };
        let owed = self.constraint.as_ref().map_or(Owed::Nothing, TurnConstraint::owed);
        let (constraint, cut_log) = self
            .constraint
            .as_ref()
            .map(|constraint| constraint.start(bounds, options.min_new_tokens))
            .unzip();
        let request = Request {
            prompt: self.prompt.clone(),
            cache_points: self.cache_points.clone(),
            sampling: SamplingParams { seed, ..options.sampling.clone() },
            stop_ids: vocab.stop_ids().to_vec(),
            max_new_tokens,
            top_logprobs: options.logprobs,
            constraint,
            adapter: self.adapter,
            tenant: options.tenant.clone(),
            priority: options.priority,
            deadline: options.deadline,
            is_private: options.is_private,
            ..Request::default()
        };
        let is_constrained = self.constraint.is_some();
        let decoder = TurnDecoder::new(Arc::clone(vocab), self.conversation, options, is_constrained);
        Ok(Turn {
            events: self.engine.submit(request)?,
            decoder: Some(decoder),
            last: VecDeque::new(),
            max_new_tokens,
            max_context,
            was_cancelled: Arc::new(AtomicBool::new(false)),
            cancelled_tokens: 0,
            num_tokens: 0,
            owed,
            cut_log: cut_log.unwrap_or_default(),
            cuts: Vec::new(),
        })
    }
}

/// Where later prompts are likely to part from this one: behind the first developer message (a second one
/// holds what changes from request to request), before the first message of the user (what stands before it
/// is the same in many conversations), before the last message, and before the assistant begins. Only the
/// renderer writes `<|start|>`, so every one begins a message.
fn cache_points(vocab: &Vocab, conversation: &Conversation, prompt: &[u32]) -> Vec<usize> {
    let start = vocab.control(Control::Start);
    let starts: Vec<usize> = (0..prompt.len()).filter(|&index| prompt[index] == start).collect();
    let messages = &conversation.messages;
    let head = messages.iter().take_while(|message| message.author.role != Role::User).count();
    let staying = head.min(2);
    let mut cache_points: Vec<usize> =
        [starts.get(staying), starts.get(head), starts.iter().rev().nth(1), starts.last()]
            .into_iter()
            .flatten()
            .copied()
            .filter(|&cache_point| cache_point > 0)
            .collect();
    cache_points.sort_unstable();
    cache_points.dedup();
    cache_points
}

/// A turn that has answered or called has ended well, whatever else happened in the same moment.
fn end_of(output: &TurnOutput, reason: FinishReason, cancelled: bool) -> TurnEnd {
    match reason {
        _ if !output.calls.is_empty() => TurnEnd::Call,
        _ if output.has_whole_answer || output.is_stopped() => TurnEnd::Answer,
        FinishReason::Length => TurnEnd::Length,
        FinishReason::Deadline => TurnEnd::Deadline,
        FinishReason::Cancelled if cancelled => TurnEnd::Cancelled,
        FinishReason::Stop | FinishReason::Cancelled => TurnEnd::NoAnswer,
    }
}
