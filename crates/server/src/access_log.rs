//! The line of log of a request, written when its answer has ended.
//!
//! An answer in one piece has ended when it is made; a stream when its last byte was taken or its reader went
//! away. A line holds method, route, status, time, request id and numbers of tokens, and nothing that a
//! client or the model has said.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, header};
use axum::response::Response;
use futures_util::StreamExt;
use gptoss_api::usage::TokenUsage;

/// Takes one line of log.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What a request took, known when it has ended. Handlers put it among the extensions of their response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent(Arc<OnceLock<TokenUsage>>);

impl Spent {
    /// Tells it; the first word counts.
    pub(crate) fn set(&self, tokens: TokenUsage) {
        let _ = self.0.set(tokens);
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
    /// Where to.
    pub(crate) log: Log,
    /// The method.
    pub(crate) method: Method,
    /// The route, from our own table.
    pub(crate) route: String,
    /// The request's id.
    pub(crate) id: String,
    /// When the request came.
    pub(crate) begun: Instant,
    /// The status.
    pub(crate) status: u16,
    /// What it took.
    pub(crate) spent: Option<Spent>,
}

impl Line {
    /// The response, which writes the line when it has ended.
    pub(crate) fn at_the_end_of(mut self, response: Response) -> Response {
        self.spent = response.extensions().get::<Spent>().cloned();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        if !matches!(kind, Some(b"text/event-stream") | Some(b"application/x-ndjson")) {
            return response;
        }
        response.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |frame| {
                let _held = &self;
                frame
            }))
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Line { method, route, id, status, .. } = self;
        // A method of a client's own making is the client's text.
        let is_known = matches!(
            *method,
            Method::GET
                | Method::POST
                | Method::DELETE
                | Method::PUT
                | Method::HEAD
                | Method::OPTIONS
                | Method::PATCH
        );
        let method = if is_known { method.as_str() } else { "OTHER" };
        let millis = self.begun.elapsed().as_secs_f64() * 1e3;
        let tokens = self.spent.as_ref().and_then(|spent| spent.0.get());
        let tokens = tokens.map(|tokens| {
            let TokenUsage { prompt, cached, completion, .. } = tokens;
            format!(" {prompt} tokens read ({cached} known), {completion} written")
        });
        (self.log)(&format!("{method} {route} {status} {millis:.1} ms {id}{}", tokens.unwrap_or_default()));
    }
}
