//! From a request to an answer: label, decision, tries.
//!
//! [`Gateway`] holds the plan that is in force, how the upstreams stand, and the connections. A plan is
//! swapped whole; upstreams that are in both keep how they stand.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gptoss_api::ApiError;
use gptoss_api::usage::TokenUsage;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use rand::Rng;

use crate::decide::{Decision, Leg, LocalState, States, UpstreamState, Verdict, decide, stay};
use crate::detect::detect;
use crate::dialect::Dialect;
use crate::exchange::{self, HttpClient, Miss, MissKind, OpenStream, Refusal, http_client};
use crate::facts::{self, Facts};
use crate::health::{Patience, Standing, Visit};
use crate::label::Label;
use crate::limits::{BYTES_PER_TOKEN, PAUSE_FIRST, PAUSE_MAX, REASON_BYTES_MAX, RETRY_AFTER_WAIT_MAX};
use crate::observer::{self, Observer};
use crate::outgoing::{Asked, Outgoing, outgoing};
use crate::piece::Reader;
use crate::plan::{LOCAL, Plan};
use crate::pump::Pump;
use crate::raw_object::RawObject;
use crate::relay::{Ended, OnEnd, Relay, counted, relay};
use crate::reply::{Reply, ReplyBody};
use crate::rule::Place;
use crate::tally::Figures;
use crate::upstream::Upstream;
use crate::writer::{Told, Writer};

/// The header by which a client raises the label of a request.
pub const LABEL_HEADER: &str = "x-gptoss-sensitivity";
/// What an upstream is left alone for when its refusal does not say.
const LIMITED_PAUSE: Duration = Duration::from_secs(1);

/// The plan in force, and how the upstreams stand.
pub struct Gateway {
    force: RwLock<Arc<InForce>>,
    client: HttpClient,
}

/// A plan, and how its upstreams stand.
struct InForce {
    plan: Arc<Plan>,
    standings: Vec<Arc<Standing>>,
}

/// A request, and everything that an answer takes besides it.
pub struct Incoming<'a> {
    /// The API it came in.
    pub dialect: Dialect,
    /// Its body.
    pub body: RawObject,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The label of its key.
    pub label: Label,
    /// How the local engine stands to a model.
    pub local: &'a (dyn Fn(&str) -> LocalState + Send + Sync),
    /// What an answer in another API's words is made with; its model is filled in.
    pub told: Told,
    /// Asked before it leaves, for each upstream that is tried.
    pub admit: Admit<'a>,
    /// Told what an upstream's answer took.
    pub on_end: OnEnd,
    /// Who has begun the answer that this is one more turn of, and under which of clients' names it has the
    /// model; None may go anywhere.
    pub stay: Option<Stay<'a>>,
}

/// An upstream's name, and the client's name of its model.
pub type Stay<'a> = (&'a str, &'a str);

/// Asked whether a request may leave, with the upstream's name; each upstream that is tried is named once.
///
/// Errors: why not; nobody gets it then.
pub type Admit<'a> = &'a (dyn Fn(&str) -> BoxFuture<'static, Result<(), ApiError>> + Send + Sync);

/// Which way a request went, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// `local`, or the upstream's name; empty where nobody answered.
    pub name: String,
    /// The model, as the client's name of it is there.
    pub model: String,
    /// The rule that held.
    pub rule: Option<String>,
    /// How sensitive the request is.
    pub label: Label,
    /// Why, in printable ASCII without a word of the client's but a model's name.
    pub reason: String,
}

/// What became of a request.
pub enum Outcome {
    /// The gateway knows nothing of its model; how sensitive the request is.
    NotOurs(Label),
    /// The local engine is to answer, as the model of that name.
    Here(String, Route),
    /// An upstream answers.
    Answered(Reply, Route),
    /// Nobody does.
    Refused(ApiError, Route),
}

impl Gateway {
    /// With a plan.
    pub fn new(plan: Plan) -> Gateway {
        let standings = plan.upstreams.iter().map(|_| Arc::default()).collect();
        let force = InForce { plan: Arc::new(plan), standings };
        Gateway { force: RwLock::new(Arc::new(force)), client: http_client() }
    }

    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.in_force().plan)
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another plan into force; what runs goes on under the old one.
    pub fn replace(&self, plan: Plan) {
        let mut force = self.force.write().unwrap_or_else(PoisonError::into_inner);
        let standing = |upstream: &Upstream| {
            let same = |(other, _): &(&Upstream, &Arc<Standing>)| {
                other.name == upstream.name && other.base_url == upstream.base_url
            };
            let found = force.plan.upstreams.iter().zip(&force.standings).find(same);
            found.map_or_else(Arc::default, |(_, standing)| Arc::clone(standing))
        };
        let standings = plan.upstreams.iter().map(standing).collect();
        *force = Arc::new(InForce { plan: Arc::new(plan), standings });
    }

    /// What came of the requests to each upstream of the plan in force.
    pub fn figures(&self) -> Vec<Figures> {
        let (force, now) = (self.in_force(), Instant::now());
        let upstreams = force.plan.upstreams.iter().zip(&force.standings);
        upstreams.map(|(upstream, standing)| standing.figures(&upstream.name, now)).collect()
    }

    /// The upstream that a request would go to first; None where it would not leave, or nobody may have it.
    ///
    /// Errors: as [`Gateway::answer`].
    pub async fn foresee(&self, incoming: &Incoming<'_>) -> Result<Option<Arc<str>>, ApiError> {
        let force = self.in_force();
        let model = facts::model(&incoming.body)?;
        let mut facts = Facts::of(incoming.dialect, &incoming.body, &model);
        facts.label = label(&force.plan, incoming).await?.0;
        let Verdict::Go(legs) = force.decide(&facts, incoming).verdict else { return Ok(None) };
        Ok(legs.first().and_then(|leg| match leg.place {
            Place::Local => None,
            Place::Upstream(index) => Some(force.plan.upstreams[index].name.as_str().into()),
        }))
    }

    /// The label of a text that is not a request: the highest of `from`, what nobody says anything of, and
    /// what detectors find.
    ///
    /// Errors: a detector broke off.
    pub async fn label_of(&self, text: String, from: Label) -> Result<Label, ApiError> {
        let plan = self.plan();
        Ok(found(&plan, vec![text], plan.default_label.max(from)).await?.0)
    }

    /// Answers a request, or says who else is to.
    ///
    /// Errors: a body that names no model or that cannot be looked at, a label that is none.
    pub async fn answer(&self, incoming: Incoming<'_>) -> Result<Outcome, ApiError> {
        let force = self.in_force();
        let model = facts::model(&incoming.body)?;
        let mut facts = Facts::of(incoming.dialect, &incoming.body, &model);
        let (label, detector) = label(&force.plan, &incoming).await?;
        facts.label = label;
        let decision = force.decide(&facts, &incoming);
        let mut reason = decision.reason;
        if let Some(detector) = detector {
            reason.push_str(&format!(" (by the detector {detector})"));
        }
        for (name, why) in &decision.left_out {
            reason.push_str(&format!("; not {name}: {why}"));
        }
        let route = Route { name: String::new(), model: String::new(), rule: decision.rule, label, reason };
        match decision.verdict {
            Verdict::NotOurs => Ok(Outcome::NotOurs(label)),
            Verdict::Refused(error) => Ok(Outcome::Refused(error, route.printable())),
            Verdict::Go(legs) => {
                let tour = Tour { force: &force, client: &self.client, incoming: &incoming, facts: &facts };
                Ok(tour.go(&legs, route).await)
            }
        }
    }
}

impl InForce {
    fn decide(&self, facts: &Facts<'_>, incoming: &Incoming<'_>) -> Decision {
        let now = Instant::now();
        let state = |standing: &Arc<Standing>| UpstreamState {
            closed_seconds: standing.closed_for(now).map(|left| left.as_secs_f64().ceil() as u64),
            in_flight: standing.in_flight(),
        };
        let upstreams: Vec<UpstreamState> = self.standings.iter().map(state).collect();
        let states = States { local: incoming.local, upstreams: &upstreams };
        match incoming.stay {
            Some(place) => stay(&self.plan, facts, &states, place),
            None => decide(&self.plan, facts, &states),
        }
    }
}

/// The label of a request: the highest of all that name one; and the detector that named it, if one did.
///
/// Errors: the header names none, or the body cannot be looked at.
async fn label(plan: &Arc<Plan>, incoming: &Incoming<'_>) -> Result<(Label, Option<String>), ApiError> {
    let label = plan.default_label.max(incoming.label).max(header_label(incoming.headers)?);
    if plan.detectors.iter().all(|detector| detector.label <= label) {
        return Ok((label, None));
    }
    found(plan, incoming.body.texts()?, label).await
}

/// The label that headers name.
///
/// Errors: one names none.
pub fn header_label(headers: &HeaderMap) -> Result<Label, ApiError> {
    let mut label = Label::Any;
    for value in headers.get_all(LABEL_HEADER) {
        let named = value.to_str().ok().and_then(|text| Label::from_name(text.trim()));
        let unknown = || {
            let message = format!("{LABEL_HEADER} is any, internal, confidential or local_only");
            ApiError::invalid(LABEL_HEADER, message)
        };
        label = label.max(named.ok_or_else(unknown)?);
    }
    Ok(label)
}

/// The highest of a label and those of what detectors find in texts, and the detector that named it.
async fn found(
    plan: &Arc<Plan>,
    texts: Vec<String>,
    label: Label,
) -> Result<(Label, Option<String>), ApiError> {
    // A long text takes a while.
    let plan = Arc::clone(plan);
    let find = move || {
        let (label, name) = detect(&plan.detectors, &texts, label);
        (label, name.map(str::to_owned))
    };
    let failed = |_| ApiError::Internal { problem: "a detector broke off".to_owned() };
    tokio::task::spawn_blocking(find).await.map_err(failed)
}

impl Route {
    fn printable(mut self) -> Route {
        self.reason.retain(|letter| letter.is_ascii_graphic() || letter == ' ');
        self.reason.truncate(REASON_BYTES_MAX);
        self
    }

    fn at(mut self, name: &str, leg: &Leg, misses: &[(String, Miss)]) -> Route {
        name.clone_into(&mut self.name);
        self.model.clone_from(&leg.model);
        self.after(misses)
    }

    fn after(mut self, misses: &[(String, Miss)]) -> Route {
        for (name, miss) in misses {
            self.reason.push_str(&format!("; {name} gave none: {}", miss.words));
        }
        self.printable()
    }
}

/// A request on its way through its legs.
struct Tour<'a> {
    force: &'a InForce,
    client: &'a HttpClient,
    incoming: &'a Incoming<'a>,
    facts: &'a Facts<'a>,
}

/// What a try brought.
enum Taken {
    /// An answer, what the upstream says that it took, and a count of its words.
    Whole(Bytes, Option<TokenUsage>, u64),
    /// The beginning of a stream.
    Stream(OpenStream),
}

impl Tour<'_> {
    async fn go(&self, legs: &[Leg], route: Route) -> Outcome {
        let mut misses: Vec<(String, Miss)> = Vec::new();
        let mut unsupported = None;
        for (number, leg) in legs.iter().enumerate() {
            let index = match leg.place {
                Place::Local => return Outcome::Here(leg.model.clone(), route.at(LOCAL, leg, &misses)),
                Place::Upstream(index) => index,
            };
            let upstream = &self.force.plan.upstreams[index];
            let asked = Asked {
                dialect: self.incoming.dialect,
                body: &self.incoming.body,
                headers: self.incoming.headers,
            };
            let theirs = upstream.model(&leg.model).unwrap_or(&leg.model);
            let outgoing = match outgoing(upstream, asked, theirs) {
                Ok(outgoing) => outgoing,
                Err(error) => {
                    unsupported.get_or_insert(error);
                    continue;
                }
            };
            if let Err(error) = (self.incoming.admit)(&upstream.name).await {
                return Outcome::Refused(error, route.after(&misses));
            }
            let is_last = number + 1 == legs.len();
            if let Some(reply) = self.leg(index, &outgoing, is_last, &mut misses).await {
                return Outcome::Answered(reply, route.at(&upstream.name, leg, &misses));
            }
        }
        let error = self.nobody(&misses, unsupported);
        Outcome::Refused(error, route.after(&misses))
    }

    /// Tries one upstream, and again as far as that is allowed; what the client gets, unless another may be
    /// tried.
    async fn leg(
        &self,
        index: usize,
        outgoing: &Outgoing,
        is_last: bool,
        misses: &mut Vec<(String, Miss)>,
    ) -> Option<Reply> {
        let upstream = &self.force.plan.upstreams[index];
        let standing = &self.force.standings[index];
        let patience = Patience {
            allowed_fails: upstream.allowed_fails,
            cooldown: upstream.cooldown_time,
            max_parallel: upstream.max_parallel,
        };
        for tries in 0..=upstream.num_retries {
            let Some(visit) = standing.enter(patience, tries == 0, Instant::now()) else {
                let miss =
                    Miss { words: "it is left alone".to_owned(), kind: MissKind::Limited, retry_after: None };
                misses.push((upstream.name.clone(), miss));
                return None;
            };
            let miss = match self.attempt(upstream, outgoing).await {
                Ok(taken) => return Some(self.reply(taken, upstream, visit)),
                Err(miss) => miss,
            };
            let may_retry = tries < upstream.num_retries;
            let pause = match &miss.kind {
                MissKind::Refused(refusal) => {
                    visit.refused();
                    if !refusal.is_context || is_last {
                        return Some(self.refusal(upstream, refusal, outgoing));
                    }
                    None
                }
                MissKind::Limited => {
                    let wait = miss.retry_after.unwrap_or(LIMITED_PAUSE);
                    visit.held(wait);
                    // Another upstream is better than to wait.
                    (is_last && wait <= RETRY_AFTER_WAIT_MAX).then_some(wait)
                }
                MissKind::Again => {
                    visit.failed();
                    let wait = miss.retry_after.unwrap_or_default();
                    (wait <= RETRY_AFTER_WAIT_MAX).then(|| wait.max(jittered(tries)))
                }
                MissKind::Elsewhere => {
                    visit.failed();
                    None
                }
            };
            misses.push((upstream.name.clone(), miss));
            match pause.filter(|_| may_retry && standing.may_retry()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return None,
            }
        }
        None
    }

    /// One try.
    async fn attempt(&self, upstream: &Upstream, outgoing: &Outgoing) -> Result<Taken, Miss> {
        let is_passed = outgoing.spoken == self.incoming.dialect;
        let time = upstream.timeout;
        if is_passed && !outgoing.is_stream {
            let bytes = exchange::whole(self.client, outgoing, time).await?;
            let (bytes, usage) = observer::whole(outgoing.spoken, bytes, self.incoming.told.visibility)?;
            let words = bytes.len() as u64 / BYTES_PER_TOKEN;
            return Ok(Taken::Whole(bytes, usage, words));
        }
        let pump = self.pump(outgoing)?;
        if !outgoing.is_stream {
            let (bytes, usage, words) = exchange::translated(self.client, outgoing, pump, time).await?;
            return Ok(Taken::Whole(bytes, usage, words));
        }
        exchange::stream(self.client, outgoing, pump, time).await.map(Taken::Stream)
    }

    /// What the client gets of it.
    fn reply(&self, taken: Taken, upstream: &Upstream, mut visit: Visit) -> Reply {
        let body = match taken {
            Taken::Whole(bytes, usage, words) => {
                let (usage, is_guess) = counted(usage, self.facts.prompt_tokens, words);
                (self.incoming.on_end)(Ended { usage, is_guess, cut: None });
                visit.took(usage);
                visit.ended();
                ReplyBody::Whole(bytes)
            }
            Taken::Stream(open) => {
                visit.begun();
                let passed_on = Relay {
                    name: upstream.name.clone(),
                    secret: upstream.secret.clone(),
                    visit,
                    idle: upstream.idle_timeout,
                    prompt_tokens: self.facts.prompt_tokens,
                    on_end: Arc::clone(&self.incoming.on_end),
                };
                ReplyBody::Stream(relay(open, passed_on))
            }
        };
        Reply { status: 200, body }
    }

    fn pump(&self, outgoing: &Outgoing) -> Result<Pump, Miss> {
        let (dialect, told) = (self.incoming.dialect, &self.incoming.told);
        if outgoing.spoken == dialect {
            let observer = Observer::new(dialect, outgoing.wants_usage, told.visibility);
            return Ok(Pump::Pass(Box::new(observer)));
        }
        let words = "an answer of its cannot be put into the client's API";
        let miss = || Miss { words: words.to_owned(), kind: MissKind::Elsewhere, retry_after: None };
        let reader = Reader::of(outgoing.spoken).ok_or_else(miss)?;
        let told = Told { model: self.facts.model.to_owned(), ..told.clone() };
        let form = (outgoing.is_stream, outgoing.wants_usage);
        let writer = Writer::new(dialect, &self.incoming.body, told, form).map_err(|_| miss())?;
        Ok(Pump::translate(reader, writer))
    }

    /// A refusal of the request itself, as the client's API has it.
    fn refusal(&self, upstream: &Upstream, refusal: &Refusal, outgoing: &Outgoing) -> Reply {
        let redacted = |text: &str| match &upstream.secret {
            Some(secret) => secret.redacted(text),
            None => text.to_owned(),
        };
        let body = match outgoing.spoken == self.incoming.dialect {
            true => redacted(&String::from_utf8_lossy(&refusal.body)).into(),
            false => {
                let message = redacted(&refusal.message);
                let error = ApiError::Invalid { param: None, message };
                let made = match self.incoming.dialect {
                    Dialect::Messages => {
                        serde_json::to_vec(&gptoss_api::messages::errors::body(&error, None))
                    }
                    _ => serde_json::to_vec(&error.body()),
                };
                Bytes::from(made.unwrap_or_default())
            }
        };
        Reply { status: refusal.status, body: ReplyBody::Whole(body) }
    }

    /// What a client is told whom nobody answered.
    fn nobody(&self, misses: &[(String, Miss)], unsupported: Option<ApiError>) -> ApiError {
        if misses.is_empty() {
            let what = "nobody can answer now".to_owned();
            return unsupported.unwrap_or(ApiError::Overloaded { what, retry_seconds: 1 });
        }
        // That one is left alone now is what came of it, and not the reason.
        let is_reason = |(_, miss): &&(String, Miss)| !matches!(miss.kind, MissKind::Limited);
        let Some((name, miss)) = misses.iter().rfind(is_reason) else {
            let waits = misses.iter().filter_map(|(_, miss)| miss.retry_after).min();
            let retry_seconds = waits.map_or(1, |wait| wait.as_secs_f64().ceil().max(1.0) as u64);
            let what = format!("every upstream of {:?} has too much to do", self.facts.model);
            return ApiError::Busy { what, retry_seconds };
        };
        ApiError::Upstream { name: name.clone(), problem: miss.words.clone() }
    }
}

/// A pause that doubles with each try, of which any part may be taken.
fn jittered(tries: u32) -> Duration {
    let longest = PAUSE_FIRST.saturating_mul(2u32.saturating_pow(tries.min(16))).min(PAUSE_MAX);
    longest.mul_f64(rand::rng().random_range(0.1..=1.0))
}
