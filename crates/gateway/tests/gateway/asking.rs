//! A gateway over scripted upstreams, and what comes out of it.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use gptoss_api::chat::chunks::ReasoningField;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::messages::signature::{KEY_BYTES, Signer};
use gptoss_api::{ApiError, NewId};
use gptoss_gateway::{
    Dialect, Ended, Gateway, Incoming, Label, LocalState, Outcome, Plan, RawObject, ReplyBody, Route,
    Sources, Told,
};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// A plan of a file without keys.
pub fn plan(text: &str) -> Plan {
    Plan::read(text, &Sources::none()).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

/// What came of a request.
#[derive(Debug)]
pub struct Got {
    /// The route.
    pub route: Option<Route>,
    /// The status; 0 when the local engine is to answer.
    pub status: u16,
    /// The body or the stream.
    pub text: String,
    /// What was told at the end.
    pub ended: Option<Ended>,
    /// Why there is none.
    pub error: Option<ApiError>,
}

impl Got {
    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The data of a stream's events, without the last word.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// What a chat's stream says.
    pub fn said(&self) -> String {
        let events = self.events();
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
    }
}

/// How a request is put.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The API.
    pub dialect: Dialect,
    /// The label of the key.
    pub label: Label,
    /// The client's headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// The local engine.
    pub local: LocalState,
    /// How much of the reasoning is seen.
    pub visibility: Visibility,
}

impl Ask<'_> {
    /// In an API, with nothing else.
    pub fn of(dialect: Dialect) -> Ask<'static> {
        let (label, local) = (Label::Any, LocalState::default());
        Ask { dialect, label, headers: &[], local, visibility: Visibility::Raw }
    }

    /// Puts it.
    pub async fn put(self, gateway: &Gateway, body: &str) -> Got {
        let new_id: NewId = |prefix| format!("{prefix}_1");
        let headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let told = Arc::new(Mutex::new(None));
        let end = Arc::clone(&told);
        let local = self.local;
        let incoming = Incoming {
            dialect: self.dialect,
            body: RawObject::parse(body.as_bytes()).unwrap(),
            headers: &headers,
            label: self.label,
            local: &move |_| local,
            told: Told {
                model: String::new(),
                visibility: self.visibility,
                reasoning_field: ReasoningField::Reasoning,
                signer: Signer::new(&[7; KEY_BYTES], "t"),
                new_id,
                now: 1,
            },
            admit: &|_| Box::pin(async { Ok(()) }),
            on_end: Arc::new(move |ended| *end.lock().unwrap() = Some(ended)),
            stay: None,
        };
        let outcome = gateway.answer(incoming).await;
        let (route, status, text, error) = match outcome {
            Err(error) => (None, error.row().status, String::new(), Some(error)),
            Ok(Outcome::NotOurs(_)) => (None, 0, String::new(), None),
            Ok(Outcome::Here(model, route)) => (Some(route), 0, model, None),
            Ok(Outcome::Refused(error, route)) => {
                (Some(route), error.row().status, String::new(), Some(error))
            }
            Ok(Outcome::Answered(reply, route)) => {
                let text = match reply.body {
                    ReplyBody::Whole(bytes) => bytes.to_vec(),
                    ReplyBody::Stream(stream) => stream.collect::<Vec<_>>().await.concat(),
                };
                (Some(route), reply.status, String::from_utf8(text).unwrap(), None)
            }
        };
        let ended = *told.lock().unwrap();
        Got { route, status, text, ended, error }
    }
}
