//! What does the assistant say next?
//!
//! [`start_turn`] is the one walk from a conversation to the next thing said: render, generate, listen. The terminal, the HTTP APIs,
//! batches and evaluations all take it, so that they cannot disagree about what a conversation means. A [`Turn`] runs on the engine's
//! thread; its events are read blocking ([`Turn::next_event`]) or async ([`Turn::next`]), and the last is `Finished` or `Failed`.
//! [`run_turn`] reads them all for a caller that has one conversation and a flag to stop it.
//!
//! A turn keeps nothing when it is over: the caller appends [`Outcome::messages`] to the conversation, and results of calls after them.
//! Dropping a turn cancels it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gptoss_engine::{
    Canceller, EngineHandle, Event, EventStream, FinishReason, Request, SamplingParams, TimedRecv, Token,
    Usage,
};
use gptoss_harmony::{Control, Conversation, Form, RenderOptions, Role, Vocab, render};

use crate::constraint::TurnConstraint;
use crate::error::Error;
use crate::event::{Outcome, TurnEnd, TurnEvent, TurnUsage};
use crate::listen::{Heard, Listener};
use crate::options::TurnOptions;

/// How long `run_turn` waits for an event before it looks at its flag.
const FLAG_PATIENCE: Duration = Duration::from_millis(20);
/// Between the seeds of several choices: an odd constant of splitmix64.
const CHOICE_STEP: u64 = 0xbf58_476d_1ce4_e5b9;

/// A turn on its way.
pub struct Turn {
    ticket: EventStream,
    /// None when all tokens were heard.
    listener: Option<Listener>,
    /// What is left to be told after the last token.
    last: VecDeque<TurnEvent>,
    tells_logprobs: bool,
    was_cancelled: Arc<AtomicBool>,
    cancelled_tokens: usize,
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

/// Begins a turn: the model reads `conversation` and writes until it has answered, called, or reached a limit.
///
/// Errors: the conversation cannot be rendered, its form cannot be held, or the engine refuses the request: the prompt does not fit the context, a parameter is
/// illegal, the queue is full, the engine stops. Nothing that the model writes is an error.
pub fn start_turn(
    engine: &EngineHandle,
    vocab: &Arc<Vocab>,
    conversation: &Conversation,
    options: &TurnOptions,
) -> Result<Turn, Error> {
    let start = Start::new(engine, vocab, conversation, options)?;
    start.submit(options.sampling.seed)
}

/// Begins `count` turns on the same conversation, each with its own seed made from the given one; the first has the seed itself. They
/// share the computation of the prompt.
///
/// Errors: as [`start_turn`]; then none of them runs.
pub fn start_turns(
    engine: &EngineHandle,
    vocab: &Arc<Vocab>,
    conversation: &Conversation,
    options: &TurnOptions,
    count: usize,
) -> Result<Vec<Turn>, Error> {
    let start = Start::new(engine, vocab, conversation, options)?;
    let seed = |index: usize| options.sampling.seed.wrapping_add((index as u64).wrapping_mul(CHOICE_STEP));
    (0..count).map(|index| start.submit(seed(index))).collect()
}

/// Takes one turn to its end.
///
/// `on_event` hears everything in order, except the end, which is returned. Setting `cancel` ends the turn at the next token with what
/// there is.
///
/// Errors: as [`start_turn`]; the engine failed.
pub fn run_turn(
    engine: &EngineHandle,
    vocab: &Arc<Vocab>,
    conversation: &Conversation,
    options: &TurnOptions,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(TurnEvent),
) -> Result<Outcome, Error> {
    let mut turn = start_turn(engine, vocab, conversation, options)?;
    loop {
        if cancel.load(Ordering::Relaxed) {
            turn.cancel();
        }
        match turn.next_event_within(FLAG_PATIENCE) {
            None => {}
            Some(TurnEvent::Finished(outcome)) => return Ok(outcome),
            Some(TurnEvent::Failed(failure)) => return Err(Error::Engine(failure.into())),
            Some(event) => on_event(event),
        }
    }
}

impl Turn {
    /// Waits for the next event, blocking the thread; None after the last one.
    pub fn next_event(&mut self) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            let event = self.ticket.next_event()?;
            self.hear(event);
        }
    }

    /// The next event, for any runtime; None after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            let event = self.ticket.next().await?;
            self.hear(event);
        }
    }

    /// Waits for the next event, but not longer than about `patience`; None when there is none yet, and after the last one.
    pub fn next_event_within(&mut self, patience: Duration) -> Option<TurnEvent> {
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            match self.ticket.next_event_within(patience) {
                TimedRecv::Event(event) => self.hear(event),
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
        TurnCanceller { canceller: self.ticket.canceller(), was_cancelled: Arc::clone(&self.was_cancelled) }
    }

    /// The number of its request in the engine.
    pub fn id(&self) -> u64 {
        self.ticket.id()
    }

    fn ready(&mut self) -> Option<TurnEvent> {
        match &mut self.listener {
            Some(listener) => listener.take(),
            None => self.last.pop_front(),
        }
    }

    fn hear(&mut self, event: Event) {
        let Some(listener) = &mut self.listener else { return };
        match event {
            Event::Prefill { done, total } => listener.tell(TurnEvent::Prefill { done, total }),
            Event::Token(token) => self.hear_token(token),
            Event::Finished { reason, usage } => self.finish(reason, usage),
            Event::Failed(failure) => {
                if let Some(listener) = self.listener.take() {
                    self.last = listener.finish().0;
                }
                self.last.push_back(TurnEvent::Failed(failure));
            }
        }
    }

    fn hear_token(&mut self, token: Token) {
        let Some(listener) = &mut self.listener else { return };
        if listener.is_over() {
            // The turn was over before the engine had heard of it.
            self.cancelled_tokens += 1;
            return;
        }
        let id = token.id;
        if let Some(voice) = listener.voice_of(id).filter(|_| self.tells_logprobs) {
            listener.tell(TurnEvent::Logprobs { voice, token });
        }
        listener.push(id);
        if listener.is_over() {
            self.ticket.cancel();
        }
    }

    fn finish(&mut self, reason: FinishReason, mut usage: Usage) {
        let Some(listener) = self.listener.take() else { return };
        let (events, heard) = listener.finish();
        // What nobody hears depends on how fast the engine heard of the end, so it is not counted.
        usage.completion_tokens -= self.cancelled_tokens;
        let end = end_of(&heard, reason, self.was_cancelled.load(Ordering::Relaxed));
        let usage = TurnUsage { engine: usage, reasoning_tokens: heard.reasoning_tokens };
        let outcome =
            Outcome { messages: heard.messages, calls: heard.calls, end, usage, warnings: heard.warnings };
        self.last = events;
        self.last.push_back(TurnEvent::Finished(outcome));
    }
}

/// Everything about a turn that its choices share.
struct Start<'a> {
    engine: &'a EngineHandle,
    vocab: &'a Arc<Vocab>,
    conversation: &'a Conversation,
    options: &'a TurnOptions,
    prompt: Vec<u32>,
    cache_points: Vec<usize>,
    form: Option<TurnConstraint>,
}

impl<'a> Start<'a> {
    /// Renders the conversation as tokens that end where the assistant begins, and compiles its form.
    fn new(
        engine: &'a EngineHandle,
        vocab: &'a Arc<Vocab>,
        conversation: &'a Conversation,
        options: &'a TurnOptions,
    ) -> Result<Start<'a>, Error> {
        let (vocabulary, model) = (vocab.len(), engine.limits().vocab_size);
        if vocabulary > model {
            return Err(Error::ForeignVocabulary { vocabulary, model });
        }
        let form = RenderOptions { form: Form::Completion(Role::Assistant), analysis: options.analysis };
        let prompt = render(vocab, conversation, form)?;
        let cache_points = cache_points(vocab, conversation, &prompt);
        let form = options.form.compiled(vocab, conversation, &options.tenant)?;
        Ok(Start { engine, vocab, conversation, options, prompt, cache_points, form })
    }

    fn submit(&self, seed: u64) -> Result<Turn, Error> {
        let options = self.options;
        let request = Request {
            prompt: self.prompt.clone(),
            cache_points: self.cache_points.clone(),
            sampling: SamplingParams { seed, ..options.sampling.clone() },
            stop_ids: self.vocab.stop_ids().to_vec(),
            max_new_tokens: options.max_new_tokens.unwrap_or(usize::MAX),
            top_logprobs: options.logprobs,
            constraint: self.form.as_ref().map(TurnConstraint::start),
            tenant: options.tenant.clone(),
            priority: options.priority,
            deadline: options.deadline,
            is_private: options.is_private,
        };
        Ok(Turn {
            ticket: self.engine.submit(request)?,
            listener: Some(Listener::new(Arc::clone(self.vocab), self.conversation, self.form.is_some())),
            last: VecDeque::new(),
            tells_logprobs: options.logprobs.is_some(),
            was_cancelled: Arc::new(AtomicBool::new(false)),
            cancelled_tokens: 0,
        })
    }
}

/// Where later prompts are likely to part from this one: before the first message of the user (what stands before it is the same in
/// many conversations), before the last message, and before the assistant begins. Only the renderer writes `<|start|>`, so every one
/// begins a message.
fn cache_points(vocab: &Vocab, conversation: &Conversation, prompt: &[u32]) -> Vec<usize> {
    let start = vocab.control(Control::Start);
    let starts: Vec<usize> = (0..prompt.len()).filter(|&index| prompt[index] == start).collect();
    let messages = &conversation.messages;
    let head = messages.iter().take_while(|message| message.author.role != Role::User).count();
    let mut cache_points: Vec<usize> = [starts.get(head), starts.iter().rev().nth(1), starts.last()]
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
fn end_of(heard: &Heard, reason: FinishReason, cancelled: bool) -> TurnEnd {
    match reason {
        _ if !heard.calls.is_empty() => TurnEnd::Call,
        _ if heard.has_whole_answer => TurnEnd::Answer,
        FinishReason::Length => TurnEnd::Length,
        FinishReason::Deadline => TurnEnd::Deadline,
        FinishReason::Cancelled if cancelled => TurnEnd::Cancelled,
        FinishReason::Stop | FinishReason::Cancelled => TurnEnd::NoAnswer,
    }
}
