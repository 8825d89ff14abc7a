//! The seam between those who have requests and the one who computes them.
//!
//! Entry point: [`channel`] gives both sides. [`EngineHandle`] is cloned freely: it refuses what cannot be
//! computed, bounds the queue and gives an [`EventStream`] per request. [`Inbox`] belongs to the engine's
//! thread, or to a test that plays the engine with tokens of its own: it takes each [`QueuedRequest`] and
//! answers it.
//!
//! Every accepted request ends exactly once, by construction: the last event has a place that nothing else
//! can take, and a `QueuedRequest` that is dropped without an end (a panic, a thread that stopped, a test
//! that forgot) ends as `Failed(Stopped)`. Dropping a ticket cancels its request.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::Error;
use crate::error::Failure;
use crate::limits::{LOGPROBS_TOP_MAX, QUEUE_REQUESTS_MAX, Sampling};
use crate::request::{Event, FinishReason, Request, Token, Usage};
use crate::stats::EngineStats;
use crate::stream::{Stream, TimedRecv};

/// What a handle holds requests against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Ids of the model's vocabulary.
    pub vocab_size: usize,
    /// Tokens of a prompt and its completion together.
    pub max_context: usize,
    /// Requests that may wait.
    pub queue_requests_max: usize,
}

impl ChannelLimits {
    /// The default queue for a model of these sizes.
    pub fn new(vocab_size: usize, max_context: usize) -> ChannelLimits {
        ChannelLimits { vocab_size, max_context, queue_requests_max: QUEUE_REQUESTS_MAX }
    }
}

/// Makes both sides of the seam.
pub fn channel(limits: ChannelLimits) -> (EngineHandle, Inbox) {
    let state = State { num_handles: 1, ..State::default() };
    let shared = Arc::new(Shared { limits, state: Mutex::new(state), changed: Condvar::new() });
    (EngineHandle { shared: Arc::clone(&shared) }, Inbox { shared })
}

struct Shared {
    limits: ChannelLimits,
    state: Mutex<State>,
    changed: Condvar,
}

/// What both sides see, under one lock.
#[derive(Default)]
struct State {
    submissions: VecDeque<QueuedRequest>,
    /// Requests that were accepted and have not begun.
    num_queued: usize,
    num_handles: usize,
    next_id: u64,
    phase: Phase,
    stats: EngineStats,
    refused_full: u64,
    accepted: u64,
    /// Streams of requests that may still be running, for ending them from outside.
    streams: HashMap<u64, Weak<Stream>>,
    last_progress: Option<Instant>,
    /// How often the engine's thread came round.
    rounds: u64,
    /// Somebody wants to see it come round although there is nothing to do.
    is_knocked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Phase {
    #[default]
    Open,
    /// No new requests; those there are go on.
    Draining,
    /// No new requests; those there are end now.
    Aborting,
    /// There is no inbox any more.
    Stopped,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the engine, for anybody who has requests.
pub struct EngineHandle {
    shared: Arc<Shared>,
}

impl Clone for EngineHandle {
    fn clone(&self) -> EngineHandle {
        self.shared.lock().num_handles += 1;
        EngineHandle { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.shared.lock().num_handles -= 1;
        self.shared.changed.notify_all();
    }
}

impl EngineHandle {
    /// Hands a request in; its ticket tells how it goes. Never waits.
    ///
    /// Errors: `Parameter`, `EmptyPrompt`, `PromptTooLong`, `TokenOutsideVocabulary` for a request that can
    /// never run; `QueueFull` now; `ShuttingDown`, `Stopped`.
    pub fn submit(&self, request: Request) -> Result<EventStream, Error> {
        let sampling = self.check(&request)?;
        let mut state = self.shared.lock();
        match state.phase {
            Phase::Open => {}
            Phase::Draining | Phase::Aborting => return Err(Error::ShuttingDown),
            Phase::Stopped => return Err(Error::Stopped),
        }
        if state.num_queued >= self.shared.limits.queue_requests_max {
            state.refused_full += 1;
            return Err(Error::QueueFull { queued: state.num_queued });
        }
        let id = state.next_id;
        state.next_id += 1;
        state.num_queued += 1;
        state.accepted += 1;
        let stream = Arc::new(Stream::default());
        if state.streams.is_empty() {
            state.last_progress = Some(Instant::now());
        }
        state.streams.insert(id, Arc::downgrade(&stream));
        let events = EventSender {
            id,
            stream: Arc::clone(&stream),
            shared: Arc::clone(&self.shared),
            is_queued: true,
        };
        state.submissions.push_back(QueuedRequest {
            id,
            request,
            sampling,
            accepted_at: Instant::now(),
            events,
        });
        self.shared.changed.notify_all();
        Ok(EventStream { id, stream })
    }

    /// Sizes that requests are held against.
    pub fn limits(&self) -> ChannelLimits {
        self.shared.limits
    }

    /// What the engine has done, as of its last step.
    pub fn stats(&self) -> EngineStats {
        self.shared.lock().stats()
    }

    /// How long the engine has had requests and finished no step; None when it has nothing to do.
    pub fn stalled_for(&self) -> Option<Duration> {
        self.shared.lock().stalled_for()
    }

    /// Wakes the engine if it waits, and says how often its thread has come round so far: at the end of each
    /// step, and once for having been woken. Whoever finds the same number again after a while knows that it
    /// does not turn. None when there is no thread any more.
    pub fn knock(&self) -> Option<u64> {
        let mut state = self.shared.lock();
        state.is_knocked = true;
        self.shared.changed.notify_all();
        (state.phase != Phase::Stopped).then_some(state.rounds)
    }

    /// For a watchdog: sees what a handle sees and does not count as one.
    pub(crate) fn watched(&self) -> Watched {
        Watched { shared: Arc::clone(&self.shared) }
    }

    /// Takes no new requests from now on; those there are go on, and the engine stops after the last.
    pub fn drain(&self) {
        self.shared.advance(Phase::Draining);
    }

    /// Takes no new requests and ends those there are with `Failed(ShuttingDown)` at the next step.
    pub fn abort(&self) {
        self.shared.advance(Phase::Aborting);
    }

    /// Ends every request from outside with `failure`, without the engine's help: for a watchdog. Their
    /// number.
    pub fn fail_all(&self, failure: &Failure) -> usize {
        self.shared.fail_all(failure)
    }

    fn check(&self, request: &Request) -> Result<Sampling, Error> {
        let limits = self.shared.limits;
        let sampling = Sampling::parse(&request.sampling, limits.vocab_size)?;
        if let Some(top) = request.top_logprobs.filter(|&top| top > LOGPROBS_TOP_MAX) {
            return Err(Error::Parameter {
                parameter: "top_logprobs",
                found: top.to_string(),
                expected: format!("from 0 to {LOGPROBS_TOP_MAX}"),
            });
        }
        let prompt = &request.prompt;
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() > limits.max_context {
            return Err(Error::PromptTooLong {
                prompt_tokens: prompt.len(),
                max_context: limits.max_context,
            });
        }
        match prompt.iter().position(|&token| token as usize >= limits.vocab_size) {
            Some(index) => Err(Error::TokenOutsideVocabulary {
                index,
                token: prompt[index],
                vocab_size: limits.vocab_size,
            }),
            None => Ok(sampling),
        }
    }
}

impl Shared {
    fn fail_all(&self, failure: &Failure) -> usize {
        let streams: Vec<_> = self.lock().streams.values().filter_map(Weak::upgrade).collect();
        let ended = streams.iter().filter(|stream| {
            stream.cancel();
            stream.end(Event::Failed(failure.clone()))
        });
        ended.count()
    }

    fn advance(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = state.phase.max(phase);
        self.changed.notify_all();
    }
}

/// A handle's eyes without its claim on the engine.
pub(crate) struct Watched {
    shared: Arc<Shared>,
}

impl Watched {
    /// How long the engine has been busy without finishing a step; None when there is nothing to watch any
    /// more.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let is_over = state.phase == Phase::Stopped || (state.num_handles == 0 && state.streams.is_empty());
        (!is_over).then(|| state.stalled_for().unwrap_or_default())
    }

    pub(crate) fn fail_all(&self, failure: &Failure) -> usize {
        self.shared.fail_all(failure)
    }
}

impl State {
    /// Whether no request comes any more.
    fn is_closed(&self) -> bool {
        self.num_handles == 0 || self.phase != Phase::Open
    }

    /// Nor is there one.
    fn is_over(&self) -> bool {
        self.is_closed() && self.submissions.is_empty()
    }

    fn stalled_for(&self) -> Option<Duration> {
        if self.streams.is_empty() {
            return None;
        }
        self.last_progress.map(|at| at.elapsed())
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            accepted: self.accepted,
            refused_full: self.refused_full,
            queued: self.num_queued,
            ..self.stats
        }
    }
}

/// The caller's side of an accepted request. Dropping it cancels the request.
#[derive(Debug)]
pub struct EventStream {
    id: u64,
    stream: Arc<Stream>,
}

/// Cancels a request from anywhere.
#[derive(Debug, Clone)]
pub struct Canceller {
    stream: Arc<Stream>,
}

impl Canceller {
    /// Asks the request to end: within one step, with what it has.
    pub fn cancel(&self) {
        self.stream.cancel();
    }
}

impl EventStream {
    /// The request's number: in the order of acceptance, from 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the next event, blocking the thread; None after the last one.
    pub fn next_event(&mut self) -> Option<Event> {
        self.stream.next()
    }

    /// Waits for the next event, but not longer than `patience`.
    pub fn next_event_within(&mut self, patience: Duration) -> TimedRecv {
        self.stream.next_within(patience)
    }

    /// The next event, for any runtime; None after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](EventStream::next), for a stream written by hand.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.stream.poll_next(context)
    }

    /// Asks the request to end: within one step, with what it has and `FinishReason::Cancelled`.
    pub fn cancel(&self) {
        self.stream.cancel();
    }

    /// A way to cancel that outlives borrowing the ticket.
    pub fn canceller(&self) -> Canceller {
        Canceller { stream: Arc::clone(&self.stream) }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.stream.cancel();
    }
}

/// The engine's side of the seam.
pub struct Inbox {
    shared: Arc<Shared>,
}

impl Inbox {
    /// Waits for the next request. None when there will be no more: every handle is gone, or they were told
    /// to drain.
    pub fn recv(&mut self) -> Option<QueuedRequest> {
        let mut state = self.shared.lock();
        loop {
            if std::mem::take(&mut state.is_knocked) {
                state.rounds += 1;
            }
            if let Some(accepted) = state.submissions.pop_front() {
                state.last_progress = Some(Instant::now());
                return Some(accepted);
            }
            if state.is_closed() {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a request as `recv` does, and no longer than `time`: whether none came and one may come.
    pub(crate) fn is_quiet_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.shared.lock();
        loop {
            if std::mem::take(&mut state.is_knocked) {
                state.rounds += 1;
            }
            if !state.submissions.is_empty() || state.is_closed() {
                return false;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            state = self.shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next request if there is one.
    pub fn try_recv(&mut self) -> Option<QueuedRequest> {
        self.shared.lock().submissions.pop_front()
    }

    /// Whether there is no request, and will be none.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.lock().is_over()
    }

    /// Waits, unless everything is to end now or nothing is left to do.
    pub(crate) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.shared.lock();
        while state.phase < Phase::Aborting && !state.is_over() {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            state = self.shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether everything that runs is to end now.
    pub fn is_aborting(&self) -> bool {
        self.shared.lock().phase >= Phase::Aborting
    }

    /// Publishes what `EngineHandle::stats` says, and that a step has come to its end. `accepted`,
    /// `refused_full` and `queued` are counted here and not taken from `stats`.
    pub fn publish(&mut self, stats: &EngineStats) {
        let mut state = self.shared.lock();
        state.stats = *stats;
        state.rounds += 1;
        state.last_progress = Some(Instant::now());
    }

    /// Sizes that requests were held against.
    pub fn limits(&self) -> ChannelLimits {
        self.shared.limits
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.lock();
            state.phase = Phase::Stopped;
            std::mem::take(&mut state.submissions)
        };
        // Outside the lock: dropping an accepted request ends it, which takes the lock.
        drop(left);
    }
}

/// A request that was accepted and must end.
pub struct QueuedRequest {
    /// Its number: in the order of acceptance, from 0.
    pub id: u64,
    /// What is asked for. The handle has checked it.
    pub request: Request,
    /// The request's sampling parameters, found legal.
    pub sampling: Sampling,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// Where its events go.
    pub events: EventSender,
}

/// The engine's side of one request's events. Dropped without an end, it ends the request as
/// `Failed(Stopped)`.
pub struct EventSender {
    id: u64,
    stream: Arc<Stream>,
    shared: Arc<Shared>,
    is_queued: bool,
}

impl EventSender {
    /// The request has begun: it no longer counts as queued.
    pub fn begin(&mut self) {
        if std::mem::take(&mut self.is_queued) {
            self.shared.lock().num_queued -= 1;
        }
    }

    /// Tells how far the prompt has come.
    ///
    /// Errors: `SlowReader`: the caller should end the request with it.
    pub fn prefill(&self, done: usize, total: usize) -> Result<(), Failure> {
        self.push(Event::Prefill { done, total })
    }

    /// Tells a token.
    ///
    /// Errors: `SlowReader`: the caller should end the request with it.
    pub fn token(&self, token: Token) -> Result<(), Failure> {
        self.push(Event::Token(token))
    }

    /// Whether the request should end: it was cancelled, nobody listens, or somebody else has ended it.
    pub fn is_cancelled(&self) -> bool {
        self.stream.is_cancelled()
    }

    /// Ends the request well.
    pub fn finish(self, reason: FinishReason, usage: Usage) {
        self.stream.end(Event::Finished { reason, usage });
    }

    /// Ends the request badly.
    pub fn fail(self, failure: Failure) {
        self.stream.end(Event::Failed(failure));
    }

    fn push(&self, event: Event) -> Result<(), Failure> {
        let full = |_| Failure::SlowReader { events: crate::limits::EVENTS_QUEUED_MAX };
        self.stream.push(event).map_err(full)
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.begin();
        self.shared.lock().streams.remove(&self.id);
        if !self.stream.has_ended() {
            self.stream.end(Event::Failed(Failure::Stopped));
        }
    }
}
