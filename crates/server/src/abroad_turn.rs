//! One turn of an upstream's model on its way, in the words of our own model's turns.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use gptoss_api::ApiError;
use gptoss_api::usage::{PhaseTimes, TokenUsage};
use gptoss_gateway::{TurnPart, TurnReader};
use gptoss_turn::TurnEnd;
use tokio::sync::oneshot;

use crate::abroad_body::WireNames;
use crate::call_split::CallSplit;
use crate::stream_item::{ChoiceOutcome, StreamItem};
use crate::watch::Watch;

/// What follows the call at which a turn was cut.
pub(crate) type Later = Arc<Mutex<Vec<TurnPart>>>;

/// A turn of an upstream's model.
pub(crate) struct AbroadTurn {
    /// Its events; None when nothing more is to come.
    stream: Option<BoxStream<'static, Bytes>>,
    reader: TurnReader,
    split: CallSplit,
    later: Later,
    upstream: String,
    /// What the gateway says that it took.
    taken: Option<oneshot::Receiver<TokenUsage>>,
    tokens: TokenUsage,
    ready: VecDeque<StreamItem>,
    end: Option<TurnEnd>,
    failed: Option<ApiError>,
    begun: Instant,
    deadline: Option<Instant>,
    /// Whether summaries of the reasoning are told.
    shows_summary: bool,
    /// What holds it back until it was judged; None lets it go.
    pub(crate) watch: Option<Watch>,
}

/// What an upstream has begun to answer.
pub(crate) struct Answering {
    /// The upstream's name.
    pub(crate) upstream: String,
    /// Its events, in Responses.
    pub(crate) stream: BoxStream<'static, Bytes>,
    /// Told what it took, when it has ended.
    pub(crate) taken: oneshot::Receiver<TokenUsage>,
}

impl AbroadTurn {
    /// Of an answer; what follows a call that runs here comes to `later`.
    pub(crate) fn new(
        answering: Answering,
        names: WireNames,
        later: Later,
        deadline: Option<Instant>,
        shows_summary: bool,
    ) -> AbroadTurn {
        let Answering { upstream, stream, taken } = answering;
        AbroadTurn {
            stream: Some(stream),
            reader: TurnReader::default(),
            split: CallSplit::new(names),
            later,
            upstream,
            taken: Some(taken),
            tokens: TokenUsage::default(),
            ready: VecDeque::new(),
            end: None,
            failed: None,
            begun: Instant::now(),
            deadline,
            shows_summary,
            watch: None,
        }
    }

    /// Of what followed a call in the turn before, which has been paid for.
    pub(crate) fn replayed(
        parts: Vec<TurnPart>,
        names: WireNames,
        later: Later,
        shows_summary: bool,
    ) -> AbroadTurn {
        let (_, taken) = oneshot::channel();
        let stream = futures_util::stream::empty().boxed();
        let answering = Answering { upstream: String::new(), stream, taken };
        let mut turn = AbroadTurn::new(answering, names, later, None, shows_summary);
        (turn.stream, turn.taken, turn.end) = (None, None, Some(TurnEnd::Answer));
        turn.take(parts);
        turn
    }

    /// Held back by a watch.
    pub(crate) fn watched(self, watch: Option<Watch>) -> AbroadTurn {
        AbroadTurn { watch, ..self }
    }

    /// What comes next; after `End` or `Failed` nothing does. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> StreamItem {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return item;
            }
            if let Some(error) = self.failed.take() {
                return StreamItem::Failed(error);
            }
            if let Some(end) = self.end {
                if let Some(taken) = &mut self.taken {
                    // It is told before the last word, and when nobody reads any more.
                    let told = taken.await;
                    self.taken = None;
                    self.tokens = told.ok().or(self.reader.usage).unwrap_or_default();
                }
                return StreamItem::End(self.ending(end));
            }
            let Some(stream) = &mut self.stream else {
                self.end = Some(TurnEnd::NoAnswer);
                continue;
            };
            let deadline = self.deadline;
            tokio::select! {
                bytes = stream.next() => self.on_bytes(bytes),
                () = until(deadline) => self.stop(TurnEnd::Deadline),
            }
        }
    }

    fn on_bytes(&mut self, bytes: Option<Bytes>) {
        let read = match &bytes {
            Some(bytes) => self.reader.push(bytes),
            None => Err("the stream ended before its last word".to_owned()),
        };
        match read {
            Ok(parts) => self.take(parts),
            Err(problem) => {
                let name = self.upstream.clone();
                // What the gateway says of a stream that broke off names the upstream already.
                let words = ApiError::Upstream { name: name.clone(), problem: String::new() }.to_string();
                let problem = problem.strip_prefix(&words).map_or(problem.clone(), str::to_owned);
                self.failed = Some(ApiError::Upstream { name, problem });
                self.stream = None;
            }
        }
        if let Some(end) = self.reader.end {
            self.stop(end);
        }
    }

    fn take(&mut self, parts: Vec<TurnPart>) {
        for part in parts {
            if !self.shows_summary && matches!(part, TurnPart::Summary(_)) {
                continue;
            }
            self.ready.extend(self.split.take(part));
        }
    }

    fn stop(&mut self, end: TurnEnd) {
        self.stream = None;
        self.end.get_or_insert(end);
    }

    /// Asks the turn to end with what there is.
    pub(crate) fn cancel(&mut self) {
        self.stop(TurnEnd::Cancelled);
    }

    fn ending(&mut self, end: TurnEnd) -> ChoiceOutcome {
        self.split.close();
        let is_whole = end == TurnEnd::Answer;
        if is_whole {
            *self.later.lock().unwrap_or_else(PoisonError::into_inner) =
                std::mem::take(&mut self.split.later);
        }
        ChoiceOutcome {
            end: if is_whole && self.split.ends_with_call() { TurnEnd::Call } else { end },
            tokens: self.tokens,
            messages: std::mem::take(&mut self.split.messages),
            rest: Vec::new(),
            stop: None,
            begun: self.begun,
            times: PhaseTimes::default(),
            moderation: None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
