//! What a trace tells of a request: when, what, how it ended, and where its time went.
//!
//! A [`RequestTrace`] is plain data, made where the line of log is made and when the answer has ended;
//! whoever takes it ([`Traces`]) knows which words a collector wants. As in the log there is no word of a
//! client or of the model in it, but for the two headers by which a client names the trace that it belongs
//! to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderMap;
use gptoss_api::usage::{PhaseTimes, TokenUsage};
use gptoss_turn::TurnEnd;

/// Longest `traceparent` that is read; W3C's has 55. Units: bytes.
const PARENT_BYTES_MAX: usize = 128;
/// Longest `tracestate` that is read, as W3C asks for. Units: bytes.
const STATE_BYTES_MAX: usize = 512;

/// Where traces go.
#[derive(Clone)]
pub struct Traces {
    /// Takes one and does not wait.
    pub take: Arc<dyn Fn(RequestTrace) + Send + Sync>,
    /// Those that never reached anybody.
    pub num_dropped: Arc<AtomicU64>,
}

impl Traces {
    /// Those that never reached anybody.
    pub(crate) fn num_dropped(&self) -> u64 {
        self.num_dropped.load(Ordering::Relaxed)
    }
}

/// A request that has ended.
#[derive(Debug, Clone)]
pub struct RequestTrace {
    /// The trace that the client says it belongs to.
    pub parent: TraceParent,
    /// The method, from our own list.
    pub method: &'static str,
    /// The route from our own table, or the class of a path that is not there.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// Its id, which the line of log has too.
    pub id: String,
    /// Whose it is, once that is known.
    pub tenant: Option<String>,
    /// When it came.
    pub began: SystemTime,
    /// The same, by the clock that choices are timed by.
    pub begun: Instant,
    /// How long it took.
    pub duration: Duration,
    /// Whether the client went away before the end.
    pub is_client_gone: bool,
    /// What the model did for it; None when it ran nothing.
    pub work: Option<Work>,
}

/// What the model did for a request.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// The served name of the model that did it.
    pub model: Arc<str>,
    /// What all choices took together.
    pub tokens: TokenUsage,
    /// Its choices, in their order.
    pub choices: Vec<ChoiceWork>,
}

/// What the model did for a choice.
#[derive(Debug, Clone, Copy)]
pub struct ChoiceWork {
    /// What was asked for.
    pub kind: WorkKind,
    /// When it was handed to the engine.
    pub begun: Instant,
    /// Where its time went from then on.
    pub times: PhaseTimes,
    /// Why it ended.
    pub end: TurnEnd,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// A turn of a conversation.
    Chat,
    /// A continuation of a text.
    Text,
}

/// The trace that a client says a request belongs to, in W3C's two headers, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceParent {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

impl TraceParent {
    /// That of a request with these headers.
    pub(crate) fn of(headers: &HeaderMap) -> TraceParent {
        let read = |name: &str, max: usize| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= max).then(|| value.to_owned())
        };
        TraceParent {
            parent: read("traceparent", PARENT_BYTES_MAX),
            state: read("tracestate", STATE_BYTES_MAX),
        }
    }
}
