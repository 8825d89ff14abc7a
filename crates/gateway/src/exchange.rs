//! One try at one upstream: a request out, and what comes back up to the first event or to the whole.
//!
//! Nothing has reached the client when a try fails here, so another may follow. No redirect is followed, and
//! no proxy of the environment is used: a key goes where its operator says. What an upstream says in a
//! refusal is only told where it is the request's own fault.

use std::error::Error;
use std::time::Duration;

use gptoss_api::usage::TokenUsage;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::limits::{
    ANSWER_BYTES_MAX, CONNECT_TIME_MAX, FIRST_BYTES_MAX, IDLE_CONNECTION, IDLE_CONNECTIONS_MAX,
    REFUSAL_BYTES_MAX,
};
use crate::outgoing::Outgoing;
use crate::piece::Fault;
use crate::pump::Pump;
use crate::sse::{Event, Splitter};

/// Connections to all upstreams.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Makes connections, and keeps idle ones for a while.
pub fn http_client() -> HttpClient {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_TIME_MAX));
    let https =
        HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(https)
}

/// Why a try brought no answer.
#[derive(Debug)]
pub struct Miss {
    /// In words of our own.
    pub words: String,
    /// What may follow.
    pub kind: MissKind,
    /// How long the upstream wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What may follow a try without an answer.
#[derive(Debug)]
pub enum MissKind {
    /// The same again, or another upstream.
    Again,
    /// Another upstream.
    Elsewhere,
    /// The upstream has too much to do; another, or later.
    Limited,
    /// Nothing: the request is at fault.
    Refused(Refusal),
}

/// A refusal of the request itself.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The body, JSON.
    pub body: Bytes,
    /// What it says, for a client of another API.
    pub message: String,
    /// Whether the context was too small, so that another upstream may have one.
    pub is_context: bool,
}

/// An answer that is a stream, or is read as one.
pub struct OpenStream {
    /// What is still to come.
    pub body: Incoming,
    /// What came and is no whole event.
    pub splitter: Splitter,
    /// What is done with it.
    pub pump: Pump,
    /// What the client gets first.
    pub first: Bytes,
}

impl Miss {
    fn again(words: impl Into<String>) -> Miss {
        Miss { words: words.into(), kind: MissKind::Again, retry_after: None }
    }

    fn elsewhere(words: impl Into<String>) -> Miss {
        Miss { words: words.into(), kind: MissKind::Elsewhere, retry_after: None }
    }
}

impl From<Fault> for Miss {
    fn from(_: Fault) -> Miss {
        Miss::again("its answer is no answer, or reports an error")
    }
}

/// Sends a request and reads the head of the answer.
async fn send(client: &HttpClient, outgoing: &Outgoing) -> Result<Response<Incoming>, Miss> {
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = outgoing.uri.parse().map_err(|_| Miss::elsewhere("its address is none"))?;
    *request.headers_mut() = outgoing.headers.clone();
    gptoss_egress::check("an upstream").map_err(|closed| Miss::elsewhere(closed.to_string()))?;
    let response = client.request(request).await.map_err(|error| Miss::again(lost(&error)))?;
    match response.status() {
        status if status.is_success() => Ok(response),
        _ => Err(refused(response).await),
    }
}

/// Words for a connection that was not made or that ended.
fn lost(error: &hyper_util::client::legacy::Error) -> String {
    if error.is_connect() {
        let mut cause = error.source();
        while let Some(inner) = cause.and_then(Error::source) {
            cause = Some(inner);
        }
        return cause.map_or("no connection".to_owned(), |cause| format!("no connection ({cause})"));
    }
    "the connection ended before an answer".to_owned()
}

/// Sorts an answer that is none.
async fn refused(response: Response<Incoming>) -> Miss {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let words = format!("status {}", status.as_u16());
    let kind = match status.as_u16() {
        429 => MissKind::Limited,
        // The key is this server's, so the client is not told what is said of it.
        300..=399 | 401 | 402 | 403 | 404 | 405 => MissKind::Elsewhere,
        408 | 409 | 425 | 500..=599 => MissKind::Again,
        _ => match read_refusal(response, status).await {
            Some(refusal) => MissKind::Refused(refusal),
            None => MissKind::Elsewhere,
        },
    };
    Miss { words, kind, retry_after }
}

async fn read_refusal(response: Response<Incoming>, status: StatusCode) -> Option<Refusal> {
    let body = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await.ok()?.to_bytes();
    // Of a proxy before it, which may answer with a page.
    let is_the_clients = matches!(status.as_u16(), 400 | 413 | 422);
    let page = || serde_json::json!({"error": {"message": "the upstream refuses the request"}});
    let (said, body) = match serde_json::from_slice::<Value>(&body) {
        Ok(said) => (said, body),
        Err(_) if is_the_clients => (page(), page().to_string().into()),
        Err(_) => return None,
    };
    let error = if said["error"].is_object() { &said["error"] } else { &said };
    let message = error["message"].as_str().unwrap_or("the upstream refuses the request").to_owned();
    let is_context = error["code"] == "context_length_exceeded"
        || message.starts_with("prompt is too long")
        || message.contains("maximum context length");
    Some(Refusal { status: status.as_u16(), body, message, is_context })
}

/// In milliseconds or seconds; a date is as good as no header.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let millis = number("retry-after-ms").map(|millis| millis / 1000.0);
    let seconds = millis.or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A whole answer in the client's own API.
///
/// Errors: none came in time, or none that can be used.
pub async fn whole(client: &HttpClient, outgoing: &Outgoing, time: Duration) -> Result<Bytes, Miss> {
    let read = async {
        let response = send(client, outgoing).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|_| Miss::again("its answer broke off or is too long"))?.to_bytes())
    };
    timeout_at(Instant::now() + time, read).await.unwrap_or_else(|_| Err(late(time)))
}

fn late(time: Duration) -> Miss {
    Miss::again(format!("no answer in {} ms", time.as_millis()))
}

/// A stream up to its first event that says something.
///
/// Errors: none came in time, or none that can be used.
pub async fn stream(
    client: &HttpClient,
    outgoing: &Outgoing,
    mut pump: Pump,
    time: Duration,
) -> Result<OpenStream, Miss> {
    let read = async move {
        let response = send(client, outgoing).await?;
        let mut body = response.into_body();
        let mut splitter = Splitter::default();
        let mut first = Vec::new();
        loop {
            let Some(event) = next_event(&mut body, &mut splitter).await? else {
                return Err(Miss::again("its stream ended before anything was said"));
            };
            first.extend(pump.take(&event)?);
            if first.len() > FIRST_BYTES_MAX {
                return Err(Miss::again("its stream says too much before its first event"));
            }
            if event.data.is_some() {
                return Ok(OpenStream { body, splitter, pump, first: first.into() });
            }
        }
    };
    timeout_at(Instant::now() + time, read).await.unwrap_or_else(|_| Err(late(time)))
}

/// The next event; None when the stream has ended.
///
/// Errors: it broke off, or is none.
pub async fn next_event(body: &mut Incoming, splitter: &mut Splitter) -> Result<Option<Event>, Fault> {
    loop {
        if let Some(event) = splitter.next().map_err(Fault::new)? {
            return Ok(Some(event));
        }
        let Some(frame) = body.frame().await else {
            return match splitter.is_open() {
                true => Err(Fault::new("the stream ended within an event")),
                false => Ok(None),
            };
        };
        let frame = frame.map_err(|_| Fault::new("the stream broke off"))?;
        if let Some(bytes) = frame.data_ref() {
            splitter.push(bytes);
        }
    }
}

/// Reads an answer in another API to its end.
///
/// Errors: it broke off, or did not end in time.
pub async fn translated(
    client: &HttpClient,
    outgoing: &Outgoing,
    pump: Pump,
    time: Duration,
) -> Result<(Bytes, Option<TokenUsage>, u64), Miss> {
    let until = Instant::now() + time;
    let mut open = stream(client, outgoing, pump, time).await?;
    let read = async {
        let mut num_bytes = 0;
        while !open.pump.is_over() {
            let Some(event) = next_event(&mut open.body, &mut open.splitter).await? else { break };
            num_bytes += event.raw.len();
            if num_bytes > ANSWER_BYTES_MAX {
                return Err(Miss::again("its answer is too long"));
            }
            open.pump.take(&event)?;
        }
        match open.pump.close() {
            Some(_) => Ok(()),
            None => Err(Miss::again("its answer broke off")),
        }
    };
    timeout_at(until, read).await.unwrap_or_else(|_| Err(late(time)))?;
    let (usage, words) = (open.pump.usage(), open.pump.num_words());
    match open.pump {
        Pump::Translate(translation) => Ok((translation.whole(), usage, words)),
        Pump::Pass(_) => Err(Miss::elsewhere("its answer cannot be put together")),
    }
}
