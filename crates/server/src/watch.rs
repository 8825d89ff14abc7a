//! The one place where text leaves: what a guard has to judge first is held here, whatever the API.
//!
//! A [`Watch`] stands between a choice and its machine (`drive::next_allowed`). It judges what was said to
//! the model while the model writes, holds back what is written until it was judged (`guard`'s `Release`),
//! and lets the choice be read meanwhile, so that a slow judge makes no slow reader of the engine. What is
//! refused is dropped with what the choice would have kept: a refused answer ends as `Filtered`, refused
//! reasoning is left out and the answer goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::wire::moderations::Moderated;
use gptoss_guard::{Mode, Release, Report, Stage};
use gptoss_harmony::{Conversation, Role};
use gptoss_turn::{Channel, Delta, TurnEnd};

use crate::guarding::{Guarding, Judged, Outcome};
use crate::model_host::Lease;
use crate::state::App;
use crate::stream_item::{ChoiceOutcome, StreamItem};

/// What is judged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Everything that was said to the model.
    Input,
    /// A window of what is held.
    Window(Stage),
    /// All that has passed of a stage.
    Passed,
}

/// A choice that is watched.
pub(crate) struct Watch {
    app: Arc<App>,
    guarding: Arc<Guarding>,
    whose: Judged,
    /// Whether raw reasoning is seen.
    shows_reasoning: bool,
    /// What was said to the model and is not being judged yet.
    inputs: Vec<(Stage, String)>,
    /// Whether nothing leaves until that was judged.
    waits_for_input: bool,
    release: Release<StreamItem>,
    /// What passed at once and is judged at the end, by stage.
    passed: Vec<(Stage, String)>,
    judging: Option<(Subject, BoxFuture<'static, Outcome>)>,
    /// Warnings of what was held back.
    notes: VecDeque<String>,
    /// In what was said to the model, and in what it said.
    reports: (Report, Report),
    is_blocked: bool,
    end: Option<StreamItem>,
}

impl Watch {
    /// Of a request's choice; None where nothing is judged.
    ///
    /// Errors: the request wants a judgment and there is no guard, or none of that policy.
    pub(crate) fn of(
        app: &Arc<App>,
        model: &Arc<Lease>,
        generation: &GenerationRequest,
    ) -> Result<Option<Watch>, ApiError> {
        let Some(guarding) = &app.guard else {
            return match generation.moderation {
                None => Ok(None),
                Some(_) => {
                    let why = "This server judges nothing: its operator can start it with --guard.";
                    Err(ApiError::unsupported("moderation", why))
                }
            };
        };
        let whose = guarding.whose(model, generation)?;
        let shows_reasoning = generation.visibility == Visibility::Raw;
        Ok(Watch::new(app, guarding, whose, || said_to(&generation.conversation), shows_reasoning))
    }

    /// Of a choice that continues a text; None where nothing is judged.
    pub(crate) fn of_text(
        app: &Arc<App>,
        model: &Arc<Lease>,
        tenant: &str,
        prompt: impl FnOnce() -> String,
    ) -> Option<Watch> {
        let guarding = app.guard.as_ref()?;
        let whose = Judged::unasked(model, tenant);
        Watch::new(app, guarding, whose, || vec![(Stage::Input, prompt())], false)
    }

    fn new(
        app: &Arc<App>,
        guarding: &Arc<Guarding>,
        whose: Judged,
        inputs: impl FnOnce() -> Vec<(Stage, String)>,
        shows_reasoning: bool,
    ) -> Option<Watch> {
        if guarding.is_off(&whose.asked) {
            return None;
        }
        let mode = |stage| guarding.mode(stage, &whose.asked);
        let inputs: Vec<_> = inputs().into_iter().filter(|(stage, _)| mode(*stage) != Mode::Off).collect();
        Some(Watch {
            waits_for_input: inputs.iter().any(|(stage, _)| mode(*stage) == Mode::Block),
            app: Arc::clone(app),
            guarding: Arc::clone(guarding),
            whose,
            shows_reasoning,
            inputs,
            release: Release::default(),
            passed: Vec::new(),
            judging: None,
            notes: VecDeque::new(),
            reports: (Report::default(), Report::default()),
            is_blocked: false,
            end: None,
        })
    }

    /// Takes in what the choice says next.
    pub(crate) fn push(&mut self, item: StreamItem) {
        match item {
            StreamItem::End(mut outcome) => {
                for delta in outcome.rest.drain(..) {
                    self.push(StreamItem::Delta(delta));
                }
                self.release.end();
                self.end = Some(StreamItem::End(outcome));
            }
            StreamItem::Failed(_) => {
                self.release.end();
                self.end = Some(item);
            }
            // What a refused answer goes on with is nobody's.
            _ if self.is_blocked => {}
            item => match self.text_of(&item) {
                Some((stage, text)) => match self.guarding.mode(stage, &self.whose.asked) {
                    Mode::Block => {
                        let text = text.to_owned();
                        self.release.push(stage, &text, item);
                    }
                    Mode::Score => {
                        let text = text.to_owned();
                        match self.passed.iter_mut().find(|(of, _)| *of == stage) {
                            Some((_, all)) => all.push_str(&text),
                            None => self.passed.push((stage, text)),
                        }
                        self.release.pass(item);
                    }
                    Mode::Off => self.release.pass(item),
                },
                None => self.release.pass(item),
            },
        }
    }

    /// What somebody will see of an item.
    fn text_of<'a>(&self, item: &'a StreamItem) -> Option<(Stage, &'a str)> {
        match item {
            StreamItem::Summary(text) => Some((Stage::Reasoning, text)),
            StreamItem::Delta(Delta::Text { channel: Channel::Analysis, text, .. }) => {
                self.shows_reasoning.then_some((Stage::Reasoning, text))
            }
            StreamItem::Delta(Delta::Text { text, .. } | Delta::CallArguments { text, .. }) => {
                Some((Stage::Output, text))
            }
            _ => None,
        }
    }

    /// Judges what was said to the model, where nothing of it may leave before; whether it is refused.
    pub(crate) async fn refuses_input(&mut self) -> bool {
        if !self.waits_for_input {
            return false;
        }
        let Some((judging, _)) = self.judging() else { return false };
        let outcome = judging.await;
        self.judged(outcome)
    }

    /// The judgment that runs, begun if one is due and none did; None when there is nothing to wait for. And
    /// whether the choice has ended, so that this alone is left.
    pub(crate) fn judging(&mut self) -> Option<(&mut BoxFuture<'static, Outcome>, bool)> {
        self.begin();
        let (_, judging) = self.judging.as_mut()?;
        Some((judging, self.end.is_some()))
    }

    /// Whether nothing is judged, and the choice goes on.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.begin();
        self.judging.is_none() && self.end.is_none()
    }

    /// Begins the next judgment, if one is due and none runs.
    fn begin(&mut self) {
        if self.judging.is_some() || self.is_blocked {
            return;
        }
        let (subject, texts) = if !self.inputs.is_empty() {
            (Subject::Input, std::mem::take(&mut self.inputs))
        } else if let Some(window) = self.release.window() {
            (Subject::Window(window.stage), vec![(window.stage, window.text)])
        } else if self.end.is_some() && !self.passed.is_empty() {
            (Subject::Passed, std::mem::take(&mut self.passed))
        } else {
            return;
        };
        let (app, guarding, whose) = (Arc::clone(&self.app), Arc::clone(&self.guarding), self.whose.clone());
        let judging = async move {
            let mut all = Outcome::default();
            for (stage, text) in texts {
                let Outcome { report, blocked } = guarding.look(&app.models, stage, &text, &whose).await;
                all.report.add(report);
                all.blocked = all.blocked.or(blocked);
                if all.blocked.is_some() {
                    break;
                }
            }
            all
        };
        self.judging = Some((subject, judging.boxed()));
    }

    /// Takes in what was judged; whether the choice is to end.
    pub(crate) fn judged(&mut self, outcome: Outcome) -> bool {
        let Some((subject, _)) = self.judging.take() else { return false };
        let Outcome { report, blocked } = outcome;
        match subject {
            Subject::Input => self.reports.0.add(report),
            Subject::Window(_) | Subject::Passed => self.reports.1.add(report),
        }
        match (subject, blocked) {
            (Subject::Input, None) => self.waits_for_input = false,
            (Subject::Window(_), None) => self.release.judged(true),
            (Subject::Passed, _) => {}
            (Subject::Window(Stage::Reasoning), Some(why)) => {
                self.release.judged(false);
                self.note(format!("the reasoning is left out: {why}"));
            }
            (Subject::Input | Subject::Window(_), Some(why)) => {
                let what = if subject == Subject::Input { "what was asked" } else { "the answer" };
                self.note(format!("{what} is held back: {why}"));
                self.release.clear();
                self.passed.clear();
                (self.is_blocked, self.waits_for_input) = (true, false);
                return true;
            }
        }
        false
    }

    fn note(&mut self, note: String) {
        self.app.log.notice(&note);
        self.notes.push_back(note);
    }

    /// What may leave now.
    pub(crate) fn take(&mut self) -> Option<StreamItem> {
        if self.waits_for_input {
            return None;
        }
        if let Some(item) = self.release.take() {
            return Some(item);
        }
        let is_done = self.judging.is_none() && self.inputs.is_empty() && self.passed.is_empty();
        if !is_done || !self.release.is_empty() || self.end.is_none() {
            return None;
        }
        if let Some(note) = self.notes.pop_front() {
            return Some(StreamItem::Delta(Delta::Warning(note)));
        }
        self.end.take().map(|end| self.ended(end))
    }

    /// The end, with what was found.
    fn ended(&mut self, end: StreamItem) -> StreamItem {
        let StreamItem::End(outcome) = end else { return end };
        let part = |report: &Report| self.guarding.told(report, &self.whose.asked);
        let found = Moderated { input: part(&self.reports.0), output: part(&self.reports.1) };
        let moderation = Some(Box::new(found));
        let outcome = ChoiceOutcome { moderation, ..outcome };
        StreamItem::End(match self.is_blocked {
            false => outcome,
            true => ChoiceOutcome { end: TurnEnd::Filtered, messages: Vec::new(), stop: None, ..outcome },
        })
    }
}

/// What users and tools said, in order.
fn said_to(conversation: &Conversation) -> Vec<(Stage, String)> {
    let said = conversation.messages.iter().filter_map(|message| match message.author.role {
        Role::User => Some((Stage::Input, message.text())),
        Role::Tool => Some((Stage::Tools, message.text())),
        Role::System | Role::Developer | Role::Assistant => None,
    });
    said.collect()
}
