//! The line of log of a request, written when its answer has ended.
//!
//! An answer in one piece has ended when it is made; a stream when its last byte was taken or its reader went
//! away; a request whose client goes away before the answer ends without one. A line holds when, method,
//! route, status, how long, request id, tenant, the subject of the client's
//! certificate, model and numbers of tokens, and nothing that a client or the model has said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::thread;
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::http::{Method, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use gptoss_api::usage::TokenUsage;
use serde_json::json;

use crate::client_name::ClientName;
use crate::trace::{RequestTrace, TraceParent, Traces, Work};

/// Takes one line of log.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The status of a request whose client went away before there was an answer.
const CLIENT_GONE: u16 = 499;
/// The methods that are told by their names.
const METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"];
/// The status of a request whose handler broke off.
const BROKEN: u16 = 500;

/// How a line of log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// A line that is not a request's.
    pub fn notice(self, message: &str) -> String {
        match self {
            LogFormat::Text => format!("{} {message}", timestamp()),
            LogFormat::Json => json!({"time": timestamp(), "message": message}).to_string(),
        }
    }
}

/// Where lines go.
#[derive(Clone)]
pub(crate) struct AccessLog {
    /// What takes them.
    pub(crate) log: Log,
    /// How they look.
    pub(crate) format: LogFormat,
    /// Where the traces of the same requests go.
    pub(crate) traces: Option<Traces>,
}

impl AccessLog {
    /// Writes a line that is not a request's.
    pub(crate) fn notice(&self, message: &str) {
        (self.log)(&self.format.notice(message));
    }
}

/// Now, in RFC 3339 and UTC, to the millisecond.
pub(crate) fn timestamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// What a request took, known when it has ended. Handlers put it among the extensions of their response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent(Arc<OnceLock<Work>>);

impl Spent {
    /// Tells it; the first word counts.
    pub(crate) fn set(&self, work: Work) {
        let _ = self.0.set(work);
    }

    /// The tokens of what was told.
    pub(crate) fn tokens(&self) -> Option<TokenUsage> {
        self.0.get().map(|work| work.tokens)
    }

    /// The response, with this among its extensions.
    pub(crate) fn of(&self, mut response: Response) -> Response {
        response.extensions_mut().insert(self.clone());
        response
    }
}

/// The id of a request, for what goes on when its answer has ended.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// A line that is written when it is dropped.
pub(crate) struct Line {
    log: AccessLog,
    method: Method,
    /// The route from our own table, or the class of a path that is not there.
    path: String,
    id: String,
    begun: Instant,
    status: u16,
    /// Whose request it is, once that is known.
    pub(crate) tenant: Option<String>,
    /// Whose certificate its connection has.
    pub(crate) client: Option<ClientName>,
    /// The trace that it belongs to; None when it has none.
    pub(crate) trace: Option<TraceParent>,
    /// What it took.
    spent: Option<Spent>,
    /// Whether the answer is on its way, so that being dropped means that nobody takes it.
    is_open: Arc<AtomicBool>,
}

impl Line {
    /// Of a request that has just come.
    pub(crate) fn new(log: &AccessLog, method: Method, path: String, id: String, begun: Instant) -> Line {
        Line {
            log: log.clone(),
            method,
            path,
            id,
            begun,
            status: CLIENT_GONE,
            tenant: None,
            client: None,
            trace: None,
            spent: None,
            is_open: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The line of an answer that has ended.
    pub(crate) fn end(mut self, status: u16, spent: Option<Spent>) {
        self.status = status;
        self.spent = spent;
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// The response, which writes the line when it has ended.
    pub(crate) fn at_the_end_of(mut self, response: Response) -> Response {
        self.status = response.status().as_u16();
        self.spent = response.extensions().get::<Spent>().cloned();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        if !matches!(kind, Some(b"text/event-stream") | Some(b"application/x-ndjson")) {
            self.is_open.store(false, Ordering::Relaxed);
            return response;
        }
        response.map(|body| {
            let is_open = Arc::clone(&self.is_open);
            let end = stream::poll_fn(move |_| {
                is_open.store(false, Ordering::Relaxed);
                Poll::Ready(None)
            });
            Body::from_stream(body.into_data_stream().chain(end).map(move |frame| {
                let _held = &self;
                frame
            }))
        })
    }

    fn text(&self, method: &str, work: Option<&Work>, is_gone: bool) -> String {
        let Line { path, id, status, .. } = self;
        let millis = self.begun.elapsed().as_secs_f64() * 1e3;
        let mut text = format!("{} {method} {path} {status} {millis:.1} ms {id}", timestamp());
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !tenant.is_empty()) {
            text.push_str(&format!(" tenant={tenant}"));
        }
        if let Some(ClientName(subject)) = &self.client {
            text.push_str(&format!(" certificate={subject}"));
        }
        if let Some(Work { model, tokens, .. }) = work {
            let TokenUsage { prompt, cached, completion, .. } = tokens;
            text.push_str(&format!(
                " model={model} {prompt} tokens read ({cached} known), {completion} written"
            ));
        }
        if is_gone {
            text.push_str(" client gone");
        }
        text
    }

    fn json(&self, method: &str, work: Option<&Work>, is_gone: bool) -> String {
        let millis = (self.begun.elapsed().as_secs_f64() * 1e4).round() / 10.0;
        let mut line = json!({
            "time": timestamp(), "method": method, "path": self.path, "status": self.status,
            "duration_ms": millis, "request_id": self.id, "client_gone": is_gone,
        });
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !tenant.is_empty()) {
            line["tenant"] = json!(tenant);
        }
        if let Some(ClientName(subject)) = &self.client {
            line["certificate"] = json!(**subject);
        }
        if let Some(Work { model, tokens, .. }) = work {
            let TokenUsage { prompt, cached, completion, .. } = tokens;
            line["model"] = json!(**model);
            line["prompt_tokens"] = json!(prompt);
            line["cached_tokens"] = json!(cached);
            line["completion_tokens"] = json!(completion);
        }
        line.to_string()
    }

    fn traced(&self, parent: TraceParent, method: &'static str, is_client_gone: bool) -> RequestTrace {
        let duration = self.begun.elapsed();
        let now = SystemTime::now();
        RequestTrace {
            parent,
            method,
            route: self.path.clone(),
            status: self.status,
            id: self.id.clone(),
            tenant: self.tenant.clone().filter(|tenant| !tenant.is_empty()),
            began: now.checked_sub(duration).unwrap_or(now),
            begun: self.begun,
            duration,
            is_client_gone,
            work: self.spent.as_ref().and_then(|spent| spent.0.get()).cloned(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A method of a client's own making is the client's text.
        let method = METHODS.into_iter().find(|known| self.method == *known);
        let work = self.spent.as_ref().and_then(|spent| spent.0.get());
        let is_broken = thread::panicking();
        if is_broken {
            self.status = BROKEN;
        }
        // A client may close as soon as it has the last event, which it has when the tokens are known.
        let is_gone = self.is_open.load(Ordering::Relaxed) && work.is_none() && !is_broken;
        let name = method.unwrap_or("OTHER");
        let line = match self.log.format {
            LogFormat::Text => self.text(name, work, is_gone),
            LogFormat::Json => self.json(name, work, is_gone),
        };
        (self.log.log)(&line);
        if let Some(parent) = self.trace.take()
            && let Some(traces) = &self.log.traces
        {
            // OpenTelemetry's word for a method that it does not know.
            (traces.take)(self.traced(parent, method.unwrap_or("_OTHER"), is_gone));
        }
    }
}
