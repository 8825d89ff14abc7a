//! The one loop that writes a choice, whatever the API: stream, machine, sink.
//!
//! [`turn`] takes what a [`ChoiceStream`] gives, has a machine of the room `api` put it into events, and
//! hands them to a [`Sink`]. Chat, Completions and Ollama send them through a channel and stop when nobody
//! reads ([`ChannelSink`], [`spawn`]); Responses appends them to a log and finishes what it began
//! (`responses`), maybe over several turns (`tool_loop`).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::moderations::Moderated;
use gptoss_api::{ApiError, ChoiceEnd, Machine};
use gptoss_turn::{Delta, TurnEnd};
use tokio::sync::mpsc;

use crate::abroad_turn::AbroadTurn;
use crate::access_log::Spent;
use crate::blocking::apart;
use crate::limits::READER_PATIENCE;
use crate::metrics::TurnMetrics;
use crate::model_host::Lease;
use crate::opening::Opening;
use crate::state::{App, now};
use crate::stream_item::{ChoiceOutcome, StreamItem};
use crate::text_stream::TextStream;
use crate::trace::{ChoiceWork, Work, WorkKind};
use crate::turn_stream::TurnStream;
use crate::watch::Watch;

/// What writes a choice.
pub(crate) enum ChoiceStream {
    /// A turn of a conversation.
    Turn(Box<TurnStream>),
    /// A continuation of a text.
    Text(Box<TextStream>),
    /// A turn of an upstream's model.
    Abroad(Box<AbroadTurn>),
}

impl ChoiceStream {
    /// What comes next, whether it may leave or not.
    async fn next(&mut self) -> StreamItem {
        match self {
            ChoiceStream::Turn(turn) => turn.next().await,
            ChoiceStream::Text(text) => text.next().await,
            ChoiceStream::Abroad(turn) => turn.next().await,
        }
    }

    /// What holds it back.
    pub(crate) fn take_watch(&mut self) -> Option<Watch> {
        match self {
            ChoiceStream::Turn(turn) => turn.watch.take(),
            ChoiceStream::Text(text) => text.watch.take(),
            ChoiceStream::Abroad(turn) => turn.watch.take(),
        }
    }

    fn kind(&self) -> WorkKind {
        match self {
            ChoiceStream::Turn(_) | ChoiceStream::Abroad(_) => WorkKind::Chat,
            ChoiceStream::Text(_) => WorkKind::Text,
        }
    }

    /// Asks it to end: within one step, with what there is.
    pub(crate) fn cancel(&mut self) {
        match self {
            ChoiceStream::Turn(turn) => turn.cancel(),
            ChoiceStream::Text(text) => text.cancel(),
            ChoiceStream::Abroad(turn) => turn.cancel(),
        }
    }
}

/// Where the events of a choice go.
pub(crate) trait Sink<M: Machine>: Sync {
    /// Whether a choice is finished, as far as it was written, when nobody reads any more.
    const FINISHES: bool;

    /// Takes events that `machine` has made.
    ///
    /// Errors: `Reader`, when nobody reads any more.
    fn put(&self, events: Vec<M::Event>, machine: &M) -> impl Future<Output = Result<(), Abort>> + Send;

    /// Waits until nobody reads any more.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

/// Why a choice has no end.
#[derive(Debug)]
pub(crate) enum Abort {
    /// It failed.
    Failed(ApiError),
    /// Nobody reads any more.
    Reader,
}

/// For whom a choice is written.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Where it is counted.
    pub(crate) turns: &'a TurnMetrics,
    /// Whose it is.
    pub(crate) tenant: &'a str,
    /// Whether log-probabilities are told.
    pub(crate) tells_logprobs: bool,
    /// When it came and its model was in memory.
    pub(crate) begun: Instant,
}

/// A choice that has ended.
#[derive(Debug)]
pub(crate) struct Driven<E> {
    /// The last events, which no sink has had.
    pub(crate) last: Vec<E>,
    /// What it took.
    pub(crate) tokens: TokenUsage,
    /// What the model did.
    pub(crate) work: ChoiceWork,
    /// What was found in it.
    pub(crate) moderation: Option<Box<Moderated>>,
}

/// A turn that has ended; the machine has not been told.
#[derive(Debug)]
pub(crate) struct Turned {
    /// What is known of it.
    pub(crate) outcome: ChoiceOutcome,
    /// What the model did.
    pub(crate) work: ChoiceWork,
}

/// Writes a choice to its end, but for its first events and its last.
///
/// Errors: the choice failed, or nobody reads and the sink does not finish.
async fn drive<M: Machine, S: Sink<M>>(
    app: &App,
    request: Request<'_>,
    choice: ChoiceStream,
    machine: &mut M,
    sink: &S,
) -> Result<Driven<M::Event>, Abort> {
    let Turned { outcome, work } = turn(request, choice, machine, sink).await?;
    let ChoiceOutcome { end, tokens, messages, rest, stop, moderation, .. } = outcome;
    let is_call = messages.last().is_some_and(|message| message.recipient.is_some());
    if let Some(id) = machine.last_call_id().filter(|_| is_call) {
        // It was said here.
        app.calls.keep((request.tenant, id), messages, None, Instant::now());
    }
    let end = ChoiceEnd { end, usage: tokens, rest, at: now(), stop };
    let last = apart(request.tells_logprobs, || machine.finish(end));
    Ok(Driven { last, tokens, work, moderation })
}

/// Writes a turn to its end, but for the events that its end makes.
///
/// Errors: the turn failed, or nobody reads and the sink does not finish.
pub(crate) async fn turn<M: Machine, S: Sink<M>>(
    request: Request<'_>,
    mut choice: ChoiceStream,
    machine: &mut M,
    sink: &S,
) -> Result<Turned, Abort> {
    let turns = request.turns;
    let mut watch = choice.take_watch();
    let mut is_cancelled = false;
    let mut last_output: Option<Instant> = None;
    let mut on_output = || match last_output.replace(Instant::now()) {
        None => turns.first_token(request.begun.elapsed()),
        Some(last) => turns.next_token(last.elapsed()),
    };
    loop {
        let step = tokio::select! {
            step = next_allowed(&mut watch, &mut choice) => step,
            () = sink.closed(), if !is_cancelled => {
                if !S::FINISHES {
                    turns.finished(TurnEnd::Cancelled);
                    return Err(Abort::Reader);
                }
                is_cancelled = true;
                choice.cancel();
                continue;
            }
        };
        let events = match step {
            StreamItem::Delta(delta) => {
                on_output();
                // Only the end of a text has all its log-probabilities at once.
                let is_much = request.tells_logprobs && !matches!(delta, Delta::Text { .. });
                apart(is_much, || machine.push(delta))
            }
            StreamItem::Read(read) => machine.read(read),
            StreamItem::Summary(text) => {
                on_output();
                machine.push_summary(text)
            }
            StreamItem::End(outcome) => {
                let ChoiceOutcome { end, begun, times, .. } = outcome;
                turns.finished(end);
                turns.phases(outcome.tokens.times);
                return Ok(Turned { outcome, work: ChoiceWork { kind: choice.kind(), begun, times, end } });
            }
            StreamItem::Failed(error) => {
                turns.failed();
                return Err(Abort::Failed(error));
            }
        };
        sink.put(events, machine).await?;
    }
}

/// What comes next of a choice and may leave. Dropping the future loses nothing.
pub(crate) async fn next_allowed(watch: &mut Option<Watch>, choice: &mut ChoiceStream) -> StreamItem {
    let Some(watch) = watch else { return choice.next().await };
    loop {
        let outcome = match watch.judging() {
            Some((judging, true)) => Some(judging.await),
            // A slow judge makes no slow reader of the engine.
            Some((judging, false)) => tokio::select! {
                outcome = judging => Some(outcome),
                item = choice.next() => {
                    watch.push(item);
                    None
                }
            },
            None => None,
        };
        if let Some(outcome) = outcome
            && watch.judged(outcome)
        {
            choice.cancel();
        }
        if let Some(item) = watch.take() {
            return item;
        }
        if watch.is_idle() {
            watch.push(choice.next().await);
        }
    }
}

/// What the task of a request sends.
#[derive(Debug)]
pub(crate) enum ChoiceEvent<C> {
    /// Something new in a choice.
    Chunk(Box<C>),
    /// All choices have ended.
    End {
        /// What they took.
        tokens: TokenUsage,
        /// What was changed, repaired or left out.
        warnings: Vec<String>,
        /// What was found in them; None where nobody looked.
        moderation: Option<Box<Moderated>>,
    },
    /// A choice failed.
    Failed(ApiError),
}

/// A bounded channel to whoever answers the request.
#[derive(Debug, Clone)]
pub(crate) struct ChannelSink<C>(pub(crate) mpsc::Sender<ChoiceEvent<C>>);

impl<C: Send, M: Machine<Event = C> + Sync> Sink<M> for ChannelSink<C> {
    const FINISHES: bool = false;

    async fn put(&self, events: Vec<C>, _: &M) -> Result<(), Abort> {
        for event in events {
            let sending = self.0.send(ChoiceEvent::Chunk(Box::new(event)));
            match tokio::time::timeout(READER_PATIENCE, sending).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(Abort::Reader),
            }
        }
        Ok(())
    }

    async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A choice that was written to its end.
#[derive(Debug)]
pub(crate) struct Written {
    tokens: TokenUsage,
    warnings: Vec<String>,
    work: ChoiceWork,
    moderation: Option<Box<Moderated>>,
}

/// Writes a choice into a channel, from its first event to its last.
///
/// Errors: as [`drive`].
pub(crate) async fn write<M: Machine + Sync>(
    app: &App,
    request: Request<'_>,
    choice: ChoiceStream,
    mut machine: M,
    sink: &ChannelSink<M::Event>,
) -> Result<Written, Abort>
where
    M::Event: Send,
{
    let first = machine.begin();
    sink.put(first, &machine).await?;
    let driven = drive(app, request, choice, &mut machine, sink).await?;
    let Driven { last, tokens, work, moderation } = driven;
    sink.put(last, &machine).await?;
    Ok(Written { tokens, warnings: machine.warnings().to_vec(), work, moderation })
}

/// The choices of a request.
pub(crate) struct Choices {
    /// The model that writes them, which stays until all have ended.
    pub(crate) model: Arc<Lease>,
    /// Each of them, on its way to its end.
    pub(crate) list: Vec<BoxFuture<'static, Result<Written, Abort>>>,
    /// How many are written at a time.
    pub(crate) at_once: usize,
    /// Counts what another choice took.
    pub(crate) count: fn(&mut TokenUsage, TokenUsage),
    /// What was changed or left out before any was begun.
    pub(crate) warnings: Vec<String>,
    /// When the request came and its model was in memory.
    pub(crate) begun: Instant,
    /// Where it is told what they took.
    pub(crate) spent: Spent,
}

/// Starts the task of a request, which runs all its choices and says at last what they took.
pub(crate) fn spawn<C: Send + 'static>(
    app: &Arc<App>,
    choices: Choices,
    sender: mpsc::Sender<ChoiceEvent<C>>,
) {
    let app = Arc::clone(app);
    let Choices { model, list, at_once, count, mut warnings, begun, spent } = choices;
    let numbered: Vec<_> = list
        .into_iter()
        .enumerate()
        .map(|(index, choice)| choice.map_ok(move |written| (index, written)).boxed())
        .collect();
    tokio::spawn(async move {
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        // The first choice that fails ends the request, and with it the others.
        let ended: Result<Vec<(usize, Written)>, Abort> =
            stream::iter(numbered).buffer_unordered(at_once).try_collect().await;
        app.metrics.running.fetch_sub(1, Ordering::Relaxed);
        let mut ended = match ended {
            Ok(ended) => ended,
            Err(Abort::Failed(error)) => {
                if let Some(bill) = model.bill() {
                    bill.failed(&error);
                }
                let _ = sender.send(ChoiceEvent::Failed(error)).await;
                return;
            }
            Err(Abort::Reader) => {
                app.metrics.disconnects.fetch_add(1, Ordering::Relaxed);
                if let Some(bill) = model.bill() {
                    bill.left();
                }
                return;
            }
        };
        ended.sort_by_key(|(index, _)| *index);
        let (mut tokens, mut choices) = (TokenUsage::default(), Vec::new());
        let mut moderation: Option<Box<Moderated>> = None;
        for (_, written) in ended {
            count(&mut tokens, written.tokens);
            warnings.extend(written.warnings);
            choices.push(written.work);
            moderation = joined(moderation, written.moderation);
        }
        spent.set(Work { model: Arc::clone(&model.entry.name), tokens, choices });
        model.settle(tokens).await;
        model.entry.turns.ended(tokens, begun.elapsed());
        app.metrics.warnings.fetch_add(warnings.len() as u64, Ordering::Relaxed);
        let _ = sender.send(ChoiceEvent::End { tokens, warnings, moderation }).await;
    });
}

/// What was found in two of a request's choices or turns.
pub(crate) fn joined(left: Option<Box<Moderated>>, right: Option<Box<Moderated>>) -> Option<Box<Moderated>> {
    match (left, right) {
        (Some(mut left), Some(right)) => {
            left.add(*right);
            Some(left)
        }
        (left, right) => left.or(right),
    }
}

/// What all choices of a request came to, but for what they say.
#[derive(Debug)]
pub(crate) struct Collected {
    /// What they took.
    pub(crate) tokens: TokenUsage,
    /// What there is to warn of.
    pub(crate) warnings: Vec<String>,
    /// What was found in them.
    pub(crate) moderation: Option<Box<Moderated>>,
}

/// Hands every chunk to `push` until the end.
///
/// Errors: a choice failed.
pub(crate) async fn collect<C>(
    mut events: mpsc::Receiver<ChoiceEvent<C>>,
    mut push: impl FnMut(C),
) -> Result<Collected, ApiError> {
    loop {
        match next(&mut events).await {
            ChoiceEvent::Chunk(chunk) => push(*chunk),
            ChoiceEvent::End { tokens, warnings, moderation } => {
                return Ok(Collected { tokens, warnings, moderation });
            }
            ChoiceEvent::Failed(error) => return Err(error),
        }
    }
}

/// The lines of a stream: those that `write` makes of each event, to the last.
pub(crate) fn lines<C: Send + 'static, L: Send + 'static>(
    opening: Opening<mpsc::Receiver<ChoiceEvent<C>>>,
    mut write: impl FnMut(ChoiceEvent<C>) -> Vec<L> + Send + 'static,
) -> impl Stream<Item = L> + Send {
    let events = stream::once(opening.begun()).flat_map(|begun| match begun {
        Ok(events) => all(events).left_stream(),
        Err(error) => stream::iter([ChoiceEvent::Failed(error)]).right_stream(),
    });
    events.flat_map(move |event| stream::iter(write(event)))
}

/// The events to the last.
fn all<C: Send + 'static>(
    events: mpsc::Receiver<ChoiceEvent<C>>,
) -> impl Stream<Item = ChoiceEvent<C>> + Send {
    stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        let event = next(&mut events).await;
        let is_last = !matches!(event, ChoiceEvent::Chunk(_));
        Some((event, (!is_last).then_some(events)))
    })
}

async fn next<C>(events: &mut mpsc::Receiver<ChoiceEvent<C>>) -> ChoiceEvent<C> {
    // Only a task that panicked leaves without an end.
    let broken = || ChoiceEvent::Failed(ApiError::Internal { problem: "the answer broke off".to_owned() });
    events.recv().await.unwrap_or_else(broken)
}
