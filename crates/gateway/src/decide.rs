//! Where a request may go, and why: a pure function of rules, facts and the state of everybody.
//!
//! The order is fixed. Sensitivity first: what is labelled above an upstream's bound does not go there, and
//! `local_only` goes nowhere, whatever else is true. Then capability: API, model, tools, effort, context.
//! Then whoever is down or full is put away. What is left is sorted by the rule's strategy.

use gptoss_api::ApiError;

use crate::facts::Facts;
use crate::label::Label;
use crate::limits::ANSWER_TOKENS;
use crate::plan::{LOCAL, Plan};
use crate::rule::{Place, Rule, Strategy, Target};
use crate::upstream::Upstream;

/// How the local engine stands to one model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LocalState {
    /// Whether a model of that name is served.
    pub serves: bool,
    /// Whether it can be expected to answer.
    pub is_up: bool,
    /// How full it is, from 0 to 1 and beyond.
    pub load: f64,
    /// Tokens of a whole conversation; None is not known.
    pub context_window: Option<u64>,
}

/// How an upstream stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpstreamState {
    /// For how long it is left alone. Units: seconds, rounded up.
    pub closed_seconds: Option<u64>,
    /// Requests that it is answering.
    pub in_flight: usize,
}

/// How everybody stands.
pub struct States<'a> {
    /// The local engine, by the name of a model.
    pub local: &'a dyn Fn(&str) -> LocalState,
    /// The upstreams, in the plan's order.
    pub upstreams: &'a [UpstreamState],
}

/// One place that may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Who.
    pub place: Place,
    /// By which of clients' names it is asked for the model.
    pub model: String,
}

/// What is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The gateway knows nothing of the model: the server answers as it would without one.
    NotOurs,
    /// These in their order, the next when one has failed before its first byte.
    Go(Vec<Leg>),
    /// Nobody may, or nobody can.
    Refused(ApiError),
}

/// A decision with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to happen.
    pub verdict: Verdict,
    /// The rule that held; None is that of the upstreams' models.
    pub rule: Option<String>,
    /// Why, in words that hold nothing of a client's but a model's name.
    pub reason: String,
    /// Who was left out, and why.
    pub left_out: Vec<(String, String)>,
}

/// Why a place is left out.
enum Lack {
    /// By its label.
    Label(String),
    /// It cannot do what is asked.
    Capability(String),
    /// It could, but not now. Units of the wait: seconds.
    Now(String, u64),
}

/// What a client is told to wait when the local engine is down. Units: seconds.
const LOCAL_RETRY_SECONDS: u64 = 10;

/// Decides.
pub fn decide(plan: &Plan, facts: &Facts<'_>, states: &States<'_>) -> Decision {
    let rule = plan.rules.iter().find(|rule| rule.is_for(facts));
    let implied = match rule {
        Some(_) => None,
        None => implied(plan, facts, states),
    };
    let Some(held) = rule.or(implied.as_ref()) else {
        let reason = "no rule and no upstream names the model".to_owned();
        return Decision { verdict: Verdict::NotOurs, rule: None, reason, left_out: Vec::new() };
    };
    let mut legs = Vec::new();
    let mut lacks = Vec::new();
    for target in &targets(held, facts, states) {
        let leg = Leg {
            place: target.place,
            model: target.model.clone().unwrap_or_else(|| facts.model.to_owned()),
        };
        match lack(plan, facts, states, &leg) {
            None => legs.push(leg),
            Some(lack) => lacks.push((title(plan, target.place).to_owned(), lack)),
        }
    }
    let legs = sorted(legs, held.strategy, plan, facts, states);
    let left_out = lacks.iter().map(|(name, lack)| (name.clone(), lack.words().to_owned())).collect();
    let by = match rule {
        Some(rule) => format!("rule {}, label {}", rule.name, facts.label.name()),
        None => format!("the model's own upstream, label {}", facts.label.name()),
    };
    let (verdict, reason) = match legs.first() {
        Some(first) => {
            let title = title(plan, first.place);
            let how = match legs.len() {
                1 => format!("{title} alone can"),
                all => format!("{title} is first of {all} by {}", held.strategy.name()),
            };
            (Verdict::Go(legs), format!("{by}: {how}"))
        }
        None => {
            let error = refusal(facts, &lacks);
            (Verdict::Refused(error), format!("{by}: nobody may or can"))
        }
    };
    Decision { verdict, rule: rule.map(|rule| rule.name.clone()), reason, left_out }
}

/// Decides about one more turn of an answer that an upstream has begun: it goes on there or nowhere.
pub fn stay(plan: &Plan, facts: &Facts<'_>, states: &States<'_>, (name, model): (&str, &str)) -> Decision {
    let index = plan.upstreams.iter().position(|upstream| upstream.name == name);
    let leg = index.map(|index| Leg { place: Place::Upstream(index), model: model.to_owned() });
    let lack = match &leg {
        Some(leg) => lack(plan, facts, states, leg),
        None => Some(Lack::Capability("it is not in the file any more".to_owned())),
    };
    let verdict = match (leg, lack) {
        (Some(leg), None) => Verdict::Go(vec![leg]),
        (_, Some(Lack::Label(_))) => {
            Verdict::Refused(ApiError::Label { label: facts.label.name(), model: facts.model.to_owned() })
        }
        (_, Some(Lack::Now(words, retry_seconds))) => {
            let what = format!("the upstream {name}, which has begun the answer: {words}");
            Verdict::Refused(ApiError::Overloaded { what, retry_seconds })
        }
        (_, lack) => {
            let problem = lack.map_or_else(String::new, |lack| lack.words().to_owned());
            Verdict::Refused(ApiError::Upstream { name: name.to_owned(), problem })
        }
    };
    let reason = format!("label {}: {name} has begun the answer", facts.label.name());
    Decision { verdict, rule: None, reason, left_out: Vec::new() }
}

/// What holds where no rule does: the local engine if it serves the model, then the upstreams that have it.
fn implied(plan: &Plan, facts: &Facts<'_>, states: &States<'_>) -> Option<Rule> {
    let has = |(_, upstream): &(usize, &Upstream)| upstream.model(facts.model).is_some();
    let of = |place| Target { place, model: None };
    let mut targets: Vec<Target> =
        plan.upstreams.iter().enumerate().filter(has).map(|(index, _)| of(Place::Upstream(index))).collect();
    if targets.is_empty() {
        return None;
    }
    if (states.local)(facts.model).serves {
        targets.insert(0, of(Place::Local));
    }
    Some(Rule { targets, ..Rule::default() })
}

/// The targets of a rule. What may not leave may also go to the local engine where the rule does not say so,
/// if that serves the model.
fn targets(rule: &Rule, facts: &Facts<'_>, states: &States<'_>) -> Vec<Target> {
    let mut targets = rule.targets.clone();
    let has_local = targets.iter().any(|target| target.place == Place::Local);
    if facts.label == Label::LocalOnly && !has_local && (states.local)(facts.model).serves {
        targets.push(Target { place: Place::Local, model: None });
    }
    targets
}

/// The name of a place.
pub fn title(plan: &Plan, place: Place) -> &str {
    match place {
        Place::Local => LOCAL,
        Place::Upstream(index) => plan.upstreams.get(index).map_or("?", |upstream| &upstream.name),
    }
}

impl Lack {
    fn words(&self) -> &str {
        match self {
            Lack::Label(words) | Lack::Capability(words) | Lack::Now(words, _) => words,
        }
    }
}

/// Why a place cannot answer; None when it can.
fn lack(plan: &Plan, facts: &Facts<'_>, states: &States<'_>, leg: &Leg) -> Option<Lack> {
    let index = match leg.place {
        Place::Local => return local_lack(facts, (states.local)(&leg.model), &leg.model),
        Place::Upstream(index) => index,
    };
    let (Some(upstream), Some(state)) = (plan.upstreams.get(index), states.upstreams.get(index)) else {
        return Some(Lack::Capability("it is not there".to_owned()));
    };
    // First of all, and before anything else is looked at.
    if facts.label == Label::LocalOnly || facts.label > upstream.label_max {
        let words = format!("it may have what is labelled {} at most", upstream.label_max.name());
        return Some(Lack::Label(words));
    }
    if let Some(words) = incapable(upstream, facts, &leg.model) {
        return Some(Lack::Capability(words));
    }
    if let Some(seconds) = state.closed_seconds {
        return Some(Lack::Now(format!("it is left alone for {seconds} s"), seconds));
    }
    (state.in_flight >= upstream.max_parallel)
        .then(|| Lack::Now(format!("it has {} requests at a time", state.in_flight), 1))
}

fn local_lack(facts: &Facts<'_>, state: LocalState, model: &str) -> Option<Lack> {
    if !state.serves {
        return Some(Lack::Capability(format!("it does not serve {model}")));
    }
    if !fits(facts, state.context_window) {
        return Some(Lack::Capability("its context is too small".to_owned()));
    }
    (!state.is_up).then(|| Lack::Now("it is down".to_owned(), LOCAL_RETRY_SECONDS))
}

fn incapable(upstream: &Upstream, facts: &Facts<'_>, model: &str) -> Option<String> {
    if upstream.model(model).is_none() {
        return Some(format!("it does not have {model}"));
    }
    if upstream.spoken(facts.dialect).is_none() {
        return Some(format!("it does not speak {}", facts.dialect.title()));
    }
    if facts.has_tools && !upstream.tools {
        return Some("it takes no tools".to_owned());
    }
    if let (Some(effort), Some(efforts)) = (&facts.effort, &upstream.efforts)
        && !efforts.contains(effort)
    {
        return Some(format!("its efforts are {}", efforts.join(", ")));
    }
    (!fits(facts, upstream.context_window)).then(|| "its context is too small".to_owned())
}

fn fits(facts: &Facts<'_>, context_window: Option<u64>) -> bool {
    let asked = facts.prompt_tokens.saturating_add(facts.output_tokens.unwrap_or(0));
    context_window.is_none_or(|window| asked <= window)
}

fn sorted(
    legs: Vec<Leg>,
    strategy: Strategy,
    plan: &Plan,
    facts: &Facts<'_>,
    states: &States<'_>,
) -> Vec<Leg> {
    let key = |leg: &Leg| match strategy {
        Strategy::Order => 0.0,
        Strategy::Cost => cost(plan, facts, leg.place),
        Strategy::Load => load(plan, states, leg),
    };
    // A load is another at each look.
    let mut keyed: Vec<(f64, Leg)> = legs.into_iter().map(|leg| (key(&leg), leg)).collect();
    // Stable: those that are equal stay in the rule's order.
    keyed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    keyed.into_iter().map(|(_, leg)| leg).collect()
}

/// What a request is expected to cost at a place; what has no price is dearest, but for the local engine,
/// which costs what it costs anyway.
fn cost(plan: &Plan, facts: &Facts<'_>, place: Place) -> f64 {
    let price = match place {
        Place::Local if plan.local_price.is_none() => return 0.0,
        Place::Local => plan.local_price,
        Place::Upstream(index) => plan.upstreams[index].price,
    };
    let output = facts.output_tokens.unwrap_or(ANSWER_TOKENS).min(ANSWER_TOKENS);
    price.map_or(f64::INFINITY, |price| price.of(facts.prompt_tokens, output))
}

fn load(plan: &Plan, states: &States<'_>, leg: &Leg) -> f64 {
    match leg.place {
        Place::Local => (states.local)(&leg.model).load,
        Place::Upstream(index) => {
            states.upstreams[index].in_flight as f64 / plan.upstreams[index].max_parallel as f64
        }
    }
}

/// What the client is told when nobody answers.
fn refusal(facts: &Facts<'_>, lacks: &[(String, Lack)]) -> ApiError {
    let waits = lacks.iter().filter_map(|(_, lack)| match lack {
        Lack::Now(_, seconds) => Some(*seconds),
        Lack::Label(_) | Lack::Capability(_) => None,
    });
    let wait = waits.min();
    let is_kept = lacks.iter().any(|(_, lack)| matches!(lack, Lack::Label(_)));
    let label = facts.label.name();
    if facts.label == Label::LocalOnly {
        return ApiError::KeptHere { label, retry_seconds: wait.unwrap_or(LOCAL_RETRY_SECONDS) };
    }
    if let Some(retry_seconds) = wait {
        let what = format!("nobody who has the model {:?} can answer now", facts.model);
        return ApiError::Overloaded { what, retry_seconds };
    }
    if is_kept {
        return ApiError::Label { label, model: facts.model.to_owned() };
    }
    let why = lacks.iter().map(|(name, lack)| format!("{name}: {}", lack.words()));
    let why = why.collect::<Vec<_>>().join("; ");
    let message = format!("nobody who has the model {:?} can do what is asked ({why})", facts.model);
    ApiError::Invalid { param: Some("model".to_owned()), message }
}
