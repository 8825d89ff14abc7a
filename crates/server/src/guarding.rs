//! Who judges a text: the operator's guard, with the models that are served here and those elsewhere.
//!
//! A verdict is kept for as long as its policy, judge and text are the same, so a conversation that grows is
//! judged once; only digests and verdicts are held, and nothing of a text is ever told or logged.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::wire::moderations::{ModeratedPart, ModerationMode, ModerationSettings, ModerationVerb};
use gptoss_govern::Tokens;
use gptoss_guard::{
    Address, Check, CheckKind, Fails, Finding, Guard, Judge, JudgeUsage, Mode, Policy, Report, Stage,
    Verdict, judge_answer, judge_body,
};
use gptoss_turn::Tenant;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::asker::Asker;
use crate::bill::Bill;
use crate::held::HeldRoom;
use crate::model_host::{Lease, ModelHost};
use crate::roster::Keep;
use crate::ruling::named;

/// Verdicts that are kept.
const VERDICTS_MAX: usize = 4096;
/// How long one judgment may take, waiting included.
const JUDGE_TIME: Duration = Duration::from_secs(120);
/// How long a judgment waits before it asks a full queue again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Sends a body to a judge elsewhere and gives what comes back; why not, if nothing does.
pub type AskAddress = Arc<dyn Fn(Address, Value) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// The guard, and what stands by it.
pub(crate) struct Guarding {
    pub(crate) guard: Guard,
    ask: AskAddress,
    verdicts: Mutex<Verdicts>,
    /// Answers of other servers that wait for judges.
    pub(crate) held: HeldRoom,
}

/// Verdicts by the digest of tenant, policy, judge and text; the oldest leave first.
#[derive(Default)]
struct Verdicts {
    known: HashMap<[u8; 32], Verdict>,
    order: VecDeque<[u8; 32]>,
}

/// What a request wants judged, beyond what the operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The one policy that it wants.
    pub(crate) policy: Option<String>,
    /// What it calls the judge.
    pub(crate) model: String,
    pub(crate) input: Mode,
    pub(crate) output: Mode,
}

impl Asked {
    /// At a stage.
    pub(crate) fn mode(&self, stage: Stage) -> Mode {
        match stage {
            Stage::Input | Stage::Tools => self.input,
            Stage::Reasoning | Stage::Output => self.output,
        }
    }
}

/// For whom is judged.
#[derive(Clone)]
pub(crate) struct Judged {
    pub(crate) tenant: String,
    pub(crate) is_background: bool,
    /// The model that answers, which judges where no other is named; None: the first of this server does.
    pub(crate) model: Option<Arc<Lease>>,
    pub(crate) asked: Arc<Asked>,
    /// Whose bill the judges' work is on; None: it is charged otherwise, or nothing is counted.
    pub(crate) bill: Option<Arc<Bill>>,
    /// Whether nothing of what is judged may leave this machine.
    pub(crate) stays: bool,
}

impl Judged {
    /// Takes down what a judge took, a model of that name.
    fn charge(&self, model: &str, usage: JudgeUsage) {
        let JudgeUsage { input, cached, output } = usage;
        if let Some(bill) = &self.bill {
            bill.judged(model, Tokens { input, cached, output });
        }
    }

    /// For a request that wants nothing judged.
    pub(crate) fn unasked(model: &Arc<Lease>, tenant: &str) -> Judged {
        Judged {
            tenant: tenant.to_owned(),
            is_background: false,
            model: Some(Arc::clone(model)),
            asked: Arc::new(Asked::default()),
            bill: model.bill().cloned(),
            stays: model.stays(),
        }
    }
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { policy: None, model: DEFAULT.to_owned(), input: Mode::Off, output: Mode::Off }
    }
}

/// What was found in texts, and whether they may go on.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// Why they may not; None when they may.
    pub(crate) blocked: Option<String>,
}

impl Guarding {
    /// Of a guard, with a way to judges elsewhere.
    pub(crate) fn new(guard: Guard, ask: AskAddress) -> Guarding {
        Guarding { guard, ask, verdicts: Mutex::default(), held: HeldRoom::default() }
    }

    /// For whom a request's texts are judged.
    ///
    /// Errors: a policy that is not known.
    pub(crate) fn whose(
        &self,
        model: &Arc<Lease>,
        generation: &GenerationRequest,
    ) -> Result<Judged, ApiError> {
        Ok(Judged {
            tenant: generation.tenant.clone(),
            is_background: generation.is_background,
            model: Some(Arc::clone(model)),
            asked: Arc::new(self.asked(generation.moderation.as_ref())?),
            bill: model.bill().cloned(),
            stays: model.stays(),
        })
    }

    /// What a request wants judged.
    ///
    /// Errors: a policy that is not known.
    pub(crate) fn asked(&self, settings: Option<&ModerationSettings>) -> Result<Asked, ApiError> {
        let Some(settings) = settings else { return Ok(Asked::default()) };
        let mode = |mode: Option<&ModerationMode>| match mode.map(|mode| mode.mode) {
            Some(ModerationVerb::Block) => Mode::Block,
            Some(ModerationVerb::Score) | None => Mode::Score,
        };
        let policy = settings.policy.as_ref();
        Ok(Asked {
            policy: self.policy_of(settings.model.as_deref(), "moderation.model")?,
            model: settings.model.clone().unwrap_or_else(|| DEFAULT.to_owned()),
            input: mode(policy.and_then(|policy| policy.input.as_ref())),
            output: mode(policy.and_then(|policy| policy.output.as_ref())),
        })
    }

    /// The one policy that a model's name means; None means all.
    ///
    /// Errors: a name that is none.
    pub(crate) fn policy_of(&self, name: Option<&str>, param: &str) -> Result<Option<String>, ApiError> {
        let is_openais =
            |name: &str| name.starts_with("omni-moderation") || name.starts_with("text-moderation");
        match name {
            None => Ok(None),
            Some(name) if is_openais(name) => Ok(None),
            Some(name) if self.guard.checks.iter().any(|check| check.name == name) => {
                Ok(Some(name.to_owned()))
            }
            Some(name) => {
                let known: Vec<&str> = self.guard.checks.iter().map(|check| check.name.as_str()).collect();
                let message =
                    format!("{param} is {name:?}, but must be {DEFAULT}, or one of: {}", known.join(", "));
                Err(ApiError::invalid(param, message))
            }
        }
    }

    /// What follows at a stage for a request, at most.
    pub(crate) fn mode(&self, stage: Stage, asked: &Asked) -> Mode {
        self.checks(stage, asked).map(|(_, mode)| mode).max().unwrap_or_default()
    }

    /// Whether nothing is judged for a request.
    pub(crate) fn is_off(&self, asked: &Asked) -> bool {
        Stage::ALL.into_iter().all(|stage| self.mode(stage, asked) == Mode::Off)
    }

    /// What is looked for at a stage. A policy that a request names comes to what is looked for anyway.
    fn checks<'a>(&'a self, stage: Stage, asked: &'a Asked) -> impl Iterator<Item = (&'a Check, Mode)> {
        let wish = move |check: &Check| match &asked.policy {
            Some(name) if *name != check.name => Mode::Off,
            _ => asked.mode(stage),
        };
        let checks = self.guard.checks.iter().map(move |check| (check, check.mode(stage, wish(check))));
        checks.filter(|(_, mode)| *mode != Mode::Off)
    }

    /// Looks at a text of a stage.
    pub(crate) async fn look(&self, models: &ModelHost, stage: Stage, text: &str, whose: &Judged) -> Outcome {
        let checks: Vec<(&Check, Mode)> = self.checks(stage, &whose.asked).collect();
        self.find(models, &checks, text, whose).await
    }

    /// Looks at a text for what the one policy, or all, look for, and blocks nothing.
    pub(crate) async fn score(&self, models: &ModelHost, text: &str, whose: &Judged) -> Report {
        let named = |check: &&Check| whose.asked.policy.as_ref().is_none_or(|name| *name == check.name);
        let checks: Vec<_> =
            self.guard.checks.iter().filter(named).map(|check| (check, Mode::Score)).collect();
        self.find(models, &checks, text, whose).await.report
    }

    async fn find(
        &self,
        models: &ModelHost,
        checks: &[(&Check, Mode)],
        text: &str,
        whose: &Judged,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if text.trim().is_empty() {
            return outcome;
        }
        let found = join_all(checks.iter().map(|(check, _)| self.one(models, check, text, whose))).await;
        for (&(check, mode), found) in checks.iter().zip(found) {
            let name = &check.name;
            let why = match found {
                Ok(finding) => {
                    let is_flagged = finding.is_flagged;
                    outcome.report.push(finding);
                    is_flagged.then(|| format!("it violates the policy {name:?}"))
                }
                Err(problem) => {
                    outcome.report.errors.push(problem);
                    let is_closed = self.guard.fails == Fails::Closed;
                    is_closed.then(|| {
                        format!("the policy {name:?} could not be judged, and the guard fails closed")
                    })
                }
            };
            outcome.blocked = outcome.blocked.or(why.filter(|_| mode == Mode::Block));
        }
        outcome
    }

    /// What one check finds.
    async fn one(
        &self,
        models: &ModelHost,
        check: &Check,
        text: &str,
        whose: &Judged,
    ) -> Result<Finding, String> {
        let (score, is_flagged, verdict) = match &check.kind {
            CheckKind::Policy(policy) => {
                let verdict = self.verdict(models, policy, text, whose).await?;
                (verdict.probability, verdict.probability >= policy.threshold, Some(verdict))
            }
            CheckKind::Keywords(words) => of_filter(words.is_in(text)),
            CheckKind::Urls(filter) => of_filter(filter.refuses(text)),
            CheckKind::Secrets(keys) => of_filter(keys.are_in(text)),
            CheckKind::Personal(data) => of_filter(data.is_in(text)),
        };
        let (name, category) = (check.name.clone(), check.category.clone());
        Ok(Finding { name, category, score, is_flagged, verdict })
    }

    async fn verdict(
        &self,
        models: &ModelHost,
        policy: &Policy,
        text: &str,
        whose: &Judged,
    ) -> Result<Verdict, String> {
        let judge = match &policy.judge {
            Judge::Served(None) => {
                let entry = whose.model.as_ref().map_or(models.first(), |model| &model.entry);
                entry.name.to_string()
            }
            Judge::Served(Some(name)) => name.clone(),
            Judge::Elsewhere(address) => format!("{address:?}"),
        };
        // Two guardrails of a kind have one name: what they say tells them apart. How soon a verdict is there
        // must not tell a tenant what another has said.
        let key = digest(&[&whose.tenant, &policy.name, &policy.text, &judge, text]);
        if let Some(verdict) = self.kept().known.get(&key) {
            return Ok(verdict.clone());
        }
        let judging = async {
            match &policy.judge {
                Judge::Served(name) => served(models, name.as_deref(), policy, text, whose).await,
                // Nobody else knows of a key's or a client's label.
                Judge::Elsewhere(_) if whose.stays => {
                    let name = &policy.name;
                    Err(format!(
                        "the policy {name:?} is judged elsewhere, and what is local_only does not leave"
                    ))
                }
                Judge::Elsewhere(address) => {
                    let answer = (self.ask)(address.clone(), judge_body(address, policy, text)).await;
                    let answer =
                        answer.map_err(|problem| format!("the policy {:?}: {problem}", policy.name))?;
                    whose.charge(&address.model, JudgeUsage::of_answer(&answer));
                    judge_answer(address, policy, &answer).map_err(|error| error.to_string())
                }
            }
        };
        let late = |_| format!("the policy {:?} was not judged in {} s", policy.name, JUDGE_TIME.as_secs());
        let verdict = tokio::time::timeout(JUDGE_TIME, judging).await.map_err(late)??;
        self.kept().keep(key, verdict.clone());
        Ok(verdict)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client is told of what was found in its input or its output.
    pub(crate) fn told(&self, report: &Report, asked: &Asked) -> ModeratedPart {
        if !report.errors.is_empty() && !report.is_flagged() {
            let message = format!("{}; {}", report.errors.join("; "), self.failure());
            return ModeratedPart::Error { code: "moderation_failed".to_owned(), message };
        }
        let text = || vec!["text".to_owned()];
        ModeratedPart::Result {
            model: asked.model.clone(),
            flagged: report.is_flagged(),
            categories: report.flags.clone(),
            category_scores: report.scores.clone(),
            category_applied_input_types: report.flags.keys().map(|name| (name.clone(), text())).collect(),
        }
    }

    /// What is told of a part when nobody could judge it.
    fn failure(&self) -> &'static str {
        match self.guard.fails {
            Fails::Closed => "the guard fails closed: where it blocks, this counted as a violation",
            Fails::Open => "the guard fails open: this passed without being judged",
        }
    }
}

/// OpenAI's name of the judge, which means all policies.
pub(crate) const DEFAULT: &str = "omni-moderation-latest";

impl Verdicts {
    fn keep(&mut self, key: [u8; 32], verdict: Verdict) {
        if self.known.insert(key, verdict).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > VERDICTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn of_filter(is_found: bool) -> (f64, bool, Option<Verdict>) {
    (if is_found { 1.0 } else { 0.0 }, is_found, None)
}

/// Of words that cannot run into each other.
fn digest(words: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    hash.finalize().into()
}

/// A verdict of a model that is served here. Dropped before it is there, the judgment is cancelled, and what
/// was computed until then is charged.
async fn served(
    models: &ModelHost,
    name: Option<&str>,
    policy: &Policy,
    text: &str,
    whose: &Judged,
) -> Result<Verdict, String> {
    let failed = |error: ApiError| format!("the policy {:?} was not judged: {error}", policy.name);
    let model = match (name, &whose.model) {
        (None, Some(model)) => Arc::clone(model),
        (name, _) => {
            let found =
                name.map(|name| models.find(&whose.tenant, Some(name))).transpose().map_err(failed)?;
            let Judged { tenant, is_background, .. } = whose;
            let asker =
                Asker { tenant, is_background: *is_background, keep: Keep::Usual, bill: None, stays: true };
            models.lease(found.as_ref().unwrap_or(models.first()), asker).await.map_err(failed)?
        }
    };
    let (waits, gone) = oneshot::channel::<()>();
    let judging = judged(model, policy.clone(), text.to_owned(), whose.clone(), gone);
    let verdict = tokio::spawn(judging).await.map_err(|error| error.to_string())?;
    drop(waits);
    verdict
}

/// The same, until `gone` says that nobody waits for it.
async fn judged(
    model: Arc<Lease>,
    policy: Policy,
    text: String,
    whose: Judged,
    mut gone: oneshot::Receiver<()>,
) -> Result<Verdict, String> {
    let tenant = Tenant(Arc::from(whose.tenant.as_str()));
    let deadline = Instant::now() + JUDGE_TIME;
    let judging = loop {
        let (model, policy, text, tenant) =
            (Arc::clone(&model), policy.clone(), text.clone(), tenant.clone());
        let begin = move || gptoss_guard::judge(model.assistant(), &policy, &text, &tenant, deadline);
        match spawn_blocking(begin).await.map_err(|error| error.to_string())? {
            // A server that is full for the moment refuses no answer that it has begun.
            Err(error) if error.is_for_now() => tokio::select! {
                () = tokio::time::sleep(BUSY_PAUSE) => {}
                _ = &mut gone => return Err(error.to_string()),
            },
            judging => break judging,
        }
    };
    let judging = judging.map_err(|error| error.to_string())?;
    let canceller = judging.canceller();
    let mut verdict = pin!(judging.verdict());
    let (verdict, usage) = tokio::select! {
        told = &mut verdict => told,
        _ = gone => {
            canceller.cancel();
            verdict.await
        }
    };
    whose.charge(named(&model.entry).0, usage);
    // The model stays in memory until here.
    drop(model);
    verdict.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_kept_up_to_a_bound() {
        let verdict = Verdict {
            is_violation: false,
            probability: 0.0,
            category: None,
            rule_ids: Vec::new(),
            confidence: None,
            rationale: None,
        };
        let mut verdicts = Verdicts::default();
        for number in 0..=VERDICTS_MAX {
            verdicts.keep(digest(&["p", "m", &number.to_string()]), verdict.clone());
        }
        assert_eq!((verdicts.known.len(), verdicts.order.len()), (VERDICTS_MAX, VERDICTS_MAX));
        assert!(!verdicts.known.contains_key(&digest(&["p", "m", "0"])));
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
    }
}
