//! A stream from its first event to its last word.
//!
//! A task reads the upstream and hands whole events on through a bounded channel. When nobody reads any more
//! the task ends and with it the connection, so that the upstream stops too. A stream that breaks off ends in
//! the API's own form of an error, never in another upstream's words.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use gptoss_api::ApiError;
use gptoss_api::usage::TokenUsage;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::exchange::{OpenStream, next_event};
use crate::health::Visit;
use crate::limits::{DRAIN_TIME, STREAM_PIECES_MAX};
use crate::piece::Fault;
use crate::secret::Secret;

/// What an answer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What it took.
    pub usage: TokenUsage,
    /// Whether that is a guess, since the upstream did not say.
    pub is_guess: bool,
    /// Why it did not come to its end; None: it did.
    pub cut: Option<Cut>,
}

/// Why an answer did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The upstream broke it off.
    Broken,
    /// Nobody waited for its end.
    Unread,
}

/// Told once, when an answer has ended.
pub type OnEnd = Arc<dyn Fn(Ended) + Send + Sync>;

/// What a relay has to know.
pub struct Relay {
    /// The upstream's name.
    pub name: String,
    /// Its key, which is not to be told.
    pub secret: Option<Secret>,
    /// The place at it.
    pub visit: Visit,
    /// How long it may be silent.
    pub idle: Duration,
    /// Tokens of the prompt, as a guess.
    pub prompt_tokens: u64,
    /// Who is told the end.
    pub on_end: OnEnd,
}

/// The stream as the client gets it.
pub fn relay(open: OpenStream, relay: Relay) -> BoxStream<'static, Bytes> {
    let (sender, mut receiver) = mpsc::channel(STREAM_PIECES_MAX);
    tokio::spawn(run(open, relay, sender));
    stream::poll_fn(move |context| receiver.poll_recv(context)).boxed()
}

async fn run(mut open: OpenStream, relay: Relay, sender: mpsc::Sender<Bytes>) {
    let first = std::mem::take(&mut open.first);
    let written = tokio::select! {
        written = write(&mut open, &relay, first, &sender) => written,
        () = sender.closed() => Written::Unread,
    };
    let last = match written {
        Written::Ended(last) => {
            end(&open, &relay, None);
            relay.visit.ended();
            last
        }
        Written::Broke(fault) => {
            end(&open, &relay, Some(Cut::Broken));
            let words = relay.secret.as_ref().map_or(fault.0.clone(), |secret| secret.redacted(&fault.0));
            let problem = format!("the answer broke off: {words}");
            let error = ApiError::Upstream { name: relay.name, problem };
            relay.visit.failed();
            let last = open.pump.fail(&error);
            let _ = sender.send(last).await;
            return;
        }
        Written::Unread => {
            // The visit goes without a word: nothing is known of the upstream.
            end(&open, &relay, Some(Cut::Unread));
            return;
        }
    };
    if !last.is_empty() {
        let _ = sender.send(last).await;
    }
    drop(sender);
    drain(open.body).await;
}

/// How a stream went.
enum Written {
    /// To its end, but for the last bytes.
    Ended(Bytes),
    Broke(Fault),
    /// Nobody reads any more.
    Unread,
}

async fn write(open: &mut OpenStream, relay: &Relay, first: Bytes, sender: &mpsc::Sender<Bytes>) -> Written {
    let mut held = first;
    loop {
        if open.pump.is_over() {
            return match open.pump.close() {
                Some(last) => Written::Ended([held, last].concat().into()),
                None => Written::Broke(Fault::new("it did not end well")),
            };
        }
        if !held.is_empty() && sender.send(held).await.is_err() {
            return Written::Unread;
        }
        let next = timeout(relay.idle, next_event(&mut open.body, &mut open.splitter)).await;
        let silent = || Fault::new(format!("nothing came for {} ms", relay.idle.as_millis()));
        held = match next.unwrap_or_else(|_| Err(silent())) {
            Ok(Some(event)) => match open.pump.take(&event) {
                Ok(bytes) => bytes,
                Err(fault) => return Written::Broke(fault),
            },
            Ok(None) => match open.pump.close() {
                Some(last) => return Written::Ended(last),
                None => return Written::Broke(Fault::new("the stream ended before its last word")),
            },
            Err(fault) => return Written::Broke(fault),
        };
    }
}

fn end(open: &OpenStream, relay: &Relay, cut: Option<Cut>) {
    let (mut usage, is_guess) = counted(open.pump.usage(), relay.prompt_tokens, open.pump.num_words());
    if cut.is_some() {
        // What was told before the end is of its beginning.
        usage.completion = usage.completion.max(open.pump.num_words());
    }
    relay.visit.took(usage);
    (relay.on_end)(Ended { usage, is_guess, cut });
}

/// What an answer took, and whether that is a guess.
pub fn counted(usage: Option<TokenUsage>, prompt: u64, completion: u64) -> (TokenUsage, bool) {
    let guess = TokenUsage { prompt, completion, ..TokenUsage::default() };
    match usage {
        // What begins with the prompt's figures and breaks off has not counted its words.
        Some(usage) => (TokenUsage { completion: usage.completion.max(completion.min(1)), ..usage }, false),
        None => (guess, true),
    }
}

/// Reads what is left of a connection, so that it can be used again.
async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DRAIN_TIME, rest).await;
}
