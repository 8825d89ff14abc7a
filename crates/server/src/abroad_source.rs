//! An upstream's model as the writer of a response's turns.
//!
//! Each turn is a request of its own through the gateway: labelled by all that was said so far, what tools
//! brought among it, decided on by the rules, reserved and charged. The first turn may go wherever a request
//! may; the others go to the upstream that took it or nowhere, and a label is never lowered on the way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::HeaderMap;
use futures_util::future::BoxFuture;
use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::visibility::Visibility;
use gptoss_gateway::{
    Dialect, Ended, Gateway, Incoming, Label, LocalState, Outcome, RawObject, Reply, ReplyBody, Route, Told,
};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::abroad::Ruled;
use crate::abroad_body::{WireNames, body};
use crate::abroad_turn::{AbroadTurn, Answering, Later};
use crate::bill::Bill;
use crate::metrics::TurnMetrics;
use crate::model_host::Lease;
use crate::state::App;
use crate::watch::Watch;

/// How the engine here stands to a model of that name.
pub(crate) type Local = Box<dyn Fn(&str) -> LocalState + Send + Sync>;

/// An upstream's model.
pub(crate) struct AbroadSource {
    /// As the client calls it.
    pub(crate) model: Arc<str>,
    /// Where its turns are counted, which nobody reads: the gateway counts upstreams.
    pub(crate) turns: TurnMetrics,
    /// Who judges where nobody else is named; None where nothing is judged.
    pub(crate) judge: Option<Arc<Lease>>,
    gateway: Arc<Gateway>,
    asked: Asked,
    held: Mutex<Held>,
    later: Later,
}

/// What the client asks, by the rules.
pub(crate) struct Asked {
    /// Its body, narrowed.
    pub(crate) body: RawObject,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Tools of it that neither this server nor the client runs.
    pub(crate) foreign: Vec<Value>,
    /// What the rules say.
    pub(crate) ruled: Ruled,
    /// How the engine here stands.
    pub(crate) local: Local,
    /// What answers in other words are made with.
    pub(crate) told: Told,
    /// The upstream that it goes to first, as far as is known.
    pub(crate) upstream: Arc<str>,
}

/// What is known since the first turn.
#[derive(Default)]
struct Held {
    /// Who has begun the answer, and under which name it has the model.
    place: Option<(String, String)>,
    label: Label,
    /// Which way the first turn went.
    route: Option<Route>,
    /// The model here that is to answer, since no upstream did.
    here: Option<String>,
    /// Whether a turn was not taken, so that something of what was said has not left.
    is_refused: bool,
    /// Whether a tool has done something for the answer, or a part of it is written: who asks again would
    /// have it done twice.
    has_begun: bool,
}

impl AbroadSource {
    /// Of a request for a model.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        model: Arc<str>,
        asked: Asked,
        judge: Option<Arc<Lease>>,
    ) -> AbroadSource {
        let (turns, held, later) = (TurnMetrics::default(), Mutex::default(), Later::default());
        AbroadSource { model, turns, judge, gateway, asked, held, later }
    }

    /// What the request is charged.
    pub(crate) fn bill(&self) -> Option<&Arc<Bill>> {
        self.asked.ruled.bill_of()
    }

    /// Narrows what is asked to what the rules let be had elsewhere.
    ///
    /// Errors: `Unscoped`, `Ruled`; what an upstream's turns cannot tell, or nobody judges.
    pub(crate) fn narrow(&self, app: &App, generation: &mut GenerationRequest) -> Result<(), ApiError> {
        self.asked.ruled.decide()?;
        generation.visibility = match generation.visibility.min(self.asked.ruled.visibility) {
            Visibility::Raw => Visibility::Raw,
            // Nobody writes a summary of it here: what is not raw is not shown.
            Visibility::Summary | Visibility::Hidden => Visibility::Hidden,
        };
        if generation.top_logprobs.is_some() {
            let why = "turns of an upstream's model with tools of this server tell none";
            return Err(ApiError::unsupported("top_logprobs", why));
        }
        if generation.moderation.is_some() && app.guard.is_none() {
            let why = "This server judges nothing: its operator can start it with --guard.";
            return Err(ApiError::unsupported("moderation", why));
        }
        Ok(())
    }

    /// The label under which everything that was said has left; None where something has not.
    pub(crate) fn left(&self) -> Option<Label> {
        let held = self.held();
        held.place.as_ref().filter(|_| !held.is_refused).map(|_| held.label)
    }

    /// The label of what is known to have been said.
    pub(crate) fn label(&self) -> Label {
        self.held().label.max(self.asked.ruled.label)
    }

    /// Goes on from what was kept under a label.
    pub(crate) fn raise(&self, label: Label) {
        let mut held = self.held();
        held.label = held.label.max(label);
    }

    /// From now on something has been done for this answer.
    pub(crate) fn goes_on(&self) {
        self.held().has_begun = true;
    }

    /// Which way the first turn went, if it went any, and the model here that is to answer instead.
    pub(crate) fn route(&self) -> (Option<Route>, Option<String>) {
        let held = self.held();
        (held.route.clone(), held.here.clone())
    }

    /// Begins a turn.
    ///
    /// Errors: what the rules or the gateway refuse; that no upstream answers.
    pub(crate) async fn begin(
        &self,
        app: &Arc<App>,
        generation: &Arc<GenerationRequest>,
        deadline: Option<Instant>,
    ) -> Result<AbroadTurn, ApiError> {
        let names = WireNames::of(&generation.tools)?;
        let shows_summary = generation.visibility == Visibility::Raw;
        let mut watch = self.watch(app, generation)?;
        let before = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        let later = Arc::clone(&self.later);
        if !before.is_empty() {
            return Ok(AbroadTurn::replayed(before, names, later, shows_summary).watched(watch));
        }
        let refuses = match &mut watch {
            Some(watch) => watch.refuses_input().await,
            None => false,
        };
        if refuses {
            // It does not leave, and the watch ends the turn.
            return Ok(AbroadTurn::replayed(before, names, later, shows_summary).watched(watch));
        }
        let body = body(&self.asked.body, generation, &names, &self.asked.foreign, self.sends_reasoning())?;
        let answering = self.ask(body).await?;
        Ok(AbroadTurn::new(answering, names, later, deadline, shows_summary).watched(watch))
    }

    /// What holds a turn back until it was judged.
    ///
    /// Errors: the request wants a judgment and there is no guard, or none of that policy.
    fn watch(&self, app: &Arc<App>, generation: &GenerationRequest) -> Result<Option<Watch>, ApiError> {
        match &self.judge {
            Some(judge) => Watch::of(app, judge, generation),
            None => Ok(None),
        }
    }

    /// Whether the upstream gets the reasoning between calls back.
    fn sends_reasoning(&self) -> bool {
        let place = self.held().place.as_ref().map(|(name, _)| name.clone());
        let name = place.unwrap_or_else(|| self.asked.upstream.to_string());
        let plan = self.gateway.plan();
        plan.upstreams.iter().any(|upstream| upstream.name == name && upstream.send_reasoning)
    }

    async fn ask(&self, body: RawObject) -> Result<Answering, ApiError> {
        let (place, label) = {
            let mut held = self.held();
            held.is_refused = true;
            (held.place.clone(), held.label)
        };
        let Asked { headers, ruled, local, told, .. } = &self.asked;
        let (sender, taken) = oneshot::channel();
        let (sender, bill) = (Mutex::new(Some(sender)), ruled.bill());
        let bytes = body.prompt_bytes();
        let admit =
            |upstream: &str| -> BoxFuture<'static, Result<(), ApiError>> { ruled.admit(upstream, bytes) };
        let incoming = Incoming {
            dialect: Dialect::Responses,
            body,
            headers,
            label: label.max(ruled.label),
            local,
            told: Told { visibility: Visibility::Raw, ..told.clone() },
            admit: &admit,
            on_end: Arc::new(move |ended: Ended| {
                let tokens = ended.usage;
                if let Some(bill) = &bill {
                    bill.computed(tokens.prompt as usize, tokens.cached as usize, tokens.completion as usize);
                }
                if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = sender.send(tokens);
                }
            }),
            stay: place.as_ref().map(|(name, model)| (name.as_str(), model.as_str())),
        };
        match self.gateway.answer(incoming).await? {
            Outcome::Answered(Reply { body: ReplyBody::Stream(stream), .. }, route) => {
                let upstream = route.name.clone();
                let mut held = self.held();
                held.place = Some((upstream.clone(), route.model.clone()));
                (held.label, held.is_refused) = (route.label, false);
                held.route.get_or_insert(route);
                Ok(Answering { upstream, stream, taken })
            }
            Outcome::Answered(Reply { body: ReplyBody::Whole(said), .. }, route) => {
                self.held().route.get_or_insert(route);
                Err(ApiError::Invalid { param: None, message: refusal(&said) })
            }
            Outcome::Refused(error, route) => {
                self.held().route.get_or_insert(route);
                Err(match (error, place) {
                    (ApiError::Label { label, .. }, Some((name, _))) => held_back(label, &name),
                    (error, _) => error,
                })
            }
            Outcome::Here(model, route) => {
                let mut held = self.held();
                if held.has_begun {
                    held.route.get_or_insert(Route { name: String::new(), ..route });
                    return Err(self.gone("it does not answer, and no model here goes on with what it began"));
                }
                (held.here, held.route) = (Some(model), Some(route));
                Err(ApiError::Overloaded { what: "no upstream answers".to_owned(), retry_seconds: 1 })
            }
            Outcome::NotOurs(_) if self.held().has_begun => {
                Err(self.gone("the gateway's file names nobody who has the model any more"))
            }
            Outcome::NotOurs(_) => {
                let what = format!("nobody has the model {:?} any more", self.model);
                Err(ApiError::Overloaded { what, retry_seconds: 1 })
            }
        }
    }

    /// That the answer ends in the middle.
    fn gone(&self, problem: &str) -> ApiError {
        ApiError::Upstream { name: self.asked.upstream.to_string(), problem: problem.to_owned() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response that ends since what a tool brought may not go on.
fn held_back(label: &str, name: &str) -> ApiError {
    let reason = format!(
        "what a tool brought raises the label of this response to {label}, and the upstream {name}, which has begun it, \
         may not have that"
    );
    ApiError::Ruled { reason }
}

/// What an upstream says in its refusal.
fn refusal(said: &[u8]) -> String {
    let said: Value = serde_json::from_slice(said).unwrap_or_default();
    let message = said.pointer("/error/message").or(said.get("message")).and_then(Value::as_str);
    message.unwrap_or("the upstream refuses the request").to_owned()
}
