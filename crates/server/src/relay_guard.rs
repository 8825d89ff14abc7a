//! The guard beside what an upstream answers by itself.
//!
//! What users and tools say is judged before it leaves, once the rules let it and its budget has room.
//! Where a policy blocks what the upstream says, the whole answer is held until it was judged, a stream too,
//! whose client hears meanwhile that it is alive; what is refused ends as an answer that was filtered, in the
//! client's API. What is scored alone is judged when the answer has come, and only the end of a stream waits
//! for it. What was found is told where answers of models here tell it. Turns with tools of this server are
//! held by their own watch (`watch`), as those of our own models are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use gptoss_api::ApiError;
use gptoss_api::wire::moderations::{ChatModerated, Moderated, ModerationSettings};
use gptoss_gateway::{
    AskedTexts, Dialect, RawObject, Reply, ReplyBody, Tail, all_texts, answer_texts, asked_texts, moderated,
    tells,
};
use gptoss_guard::{Mode, Release, Report, Stage};
use serde_json::{Value, json};

use crate::asker::Asker;
use crate::blocking::apart;
use crate::guarding::{Asked, Guarding, Judged, Outcome};
use crate::held::Held;
use crate::keys::Caller;
use crate::model_host::Lease;
use crate::roster::Keep;
use crate::state::App;

/// Most texts of a request that are judged at a time.
const LOOKS_AT_ONCE: usize = 4;
/// From how many bytes on an answer is read apart from other requests' work. Units: bytes.
const MUCH_BYTES: usize = 1 << 18;

/// Who judges what goes to an upstream and comes from there.
#[derive(Clone)]
pub(crate) struct RelayGuard {
    app: Arc<App>,
    guarding: Arc<Guarding>,
    whose: Judged,
    dialect: Dialect,
    /// What was said to the model.
    asked: Arc<AskedTexts>,
    found: Arc<Mutex<Found>>,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// In what was said to the model, and in what it said.
    reports: (Report, Report),
    /// Whether what was asked may leave.
    is_admitted: bool,
    is_refused: bool,
}

impl RelayGuard {
    /// For a request, whose `moderation` it takes out of the body; None where nothing is judged.
    ///
    /// Errors: a policy that is not known; the request cannot be read.
    pub(crate) fn of(
        app: &Arc<App>,
        caller: &Caller,
        (dialect, body): (Dialect, &mut RawObject),
    ) -> Result<Option<RelayGuard>, ApiError> {
        let Some(guarding) = &app.guard else { return Ok(None) };
        let settings = settings(dialect, body)?;
        let whose = Judged {
            tenant: caller.tenant.clone(),
            is_background: caller.is_background,
            model: None,
            asked: Arc::new(guarding.asked(settings.as_ref())?),
            bill: caller.bill.clone(),
            stays: caller.must_stay(),
        };
        if guarding.is_off(&whose.asked) {
            return Ok(None);
        }
        Ok(Some(RelayGuard {
            app: Arc::clone(app),
            guarding: Arc::clone(guarding),
            whose,
            dialect,
            asked: Arc::new(asked_texts(dialect, body)?),
            found: Arc::default(),
        }))
    }

    /// Judges what was asked, before it leaves and after `admitted`; once, to however many it goes.
    ///
    /// Errors: those of `admitted`; it is refused, [`RelayGuard::is_refused`] then; nobody can judge tokens.
    pub(crate) fn admit(
        &self,
        admitted: BoxFuture<'static, Result<(), ApiError>>,
    ) -> BoxFuture<'static, Result<(), ApiError>> {
        let guard = self.clone();
        Box::pin(async move {
            admitted.await?;
            if guard.found().is_admitted {
                return Ok(());
            }
            if guard.asked.has_tokens && guard.mode(Stage::Input) == Mode::Block {
                let why = "tokens cannot be judged by this server's policies, which block; give the text";
                return Err(ApiError::invalid("prompt", why));
            }
            if let Some(why) = guard.look_at_asked(Mode::Block).await {
                guard.refuse("what was asked", &why);
                return Err(ApiError::Ruled { reason: why });
            }
            guard.found().is_admitted = true;
            Ok(())
        })
    }

    /// Whether something was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.found().is_refused
    }

    /// The answer as its client gets it, which is `refused` where it may not be had.
    pub(crate) fn answer(&self, reply: Reply, refused: Reply) -> BoxFuture<'static, Reply> {
        let guard = self.clone();
        Box::pin(async move {
            if reply.status != 200 {
                return guard.error(reply).await;
            }
            let blocks = guard.blocks_answers();
            let body = match (reply.body, blocks) {
                (ReplyBody::Whole(bytes), _) => {
                    let bytes = match guard.judge(&bytes, false).await {
                        true => bytes,
                        false => ours(refused.body).await,
                    };
                    ReplyBody::Whole(guard.tell(&bytes, false).await)
                }
                (ReplyBody::Stream(mut stream), true) => {
                    let judged = async move {
                        let held = guard.guarding.held.stream(&mut stream).await;
                        let passes = match held.lack() {
                            None => guard.judge(held.bytes(), true).await,
                            // What cannot be judged is not let through.
                            Some(why) => {
                                guard.refuse("the answer", why);
                                false
                            }
                        };
                        match passes {
                            true => guard.tell(held.bytes(), true).await,
                            false => guard.tell(&ours(refused.body).await, true).await,
                        }
                    };
                    ReplyBody::Stream(stream::once(judged).boxed())
                }
                (ReplyBody::Stream(stream), false) => ReplyBody::Stream(scored(guard, stream)),
            };
            Reply { status: 200, body }
        })
    }

    /// What was asked and refused, with what was found in it.
    pub(crate) async fn refusal(&self, refused: Reply) -> Reply {
        let is_stream = matches!(refused.body, ReplyBody::Stream(_));
        let bytes = self.tell(&ours(refused.body).await, is_stream).await;
        let body = match is_stream {
            true => ReplyBody::Stream(stream::iter([bytes]).boxed()),
            false => ReplyBody::Whole(bytes),
        };
        Reply { status: refused.status, body }
    }

    /// Judges an answer; whether it may be had.
    async fn judge(&self, bytes: &[u8], is_stream: bool) -> bool {
        let texts = match apart(is_much(bytes), || answer_texts(self.dialect, bytes, is_stream)) {
            Ok(texts) => texts,
            Err(why) => {
                self.found().reports.1.errors.push(why.to_owned());
                if self.blocks_answers() {
                    self.refuse("the answer", why);
                }
                return !self.is_refused();
            }
        };
        self.judge_texts(texts).await
    }

    /// An error of the upstream's, some of which tell what its model wrote; in words of ours where that may
    /// not be had.
    async fn error(&self, reply: Reply) -> Reply {
        let held = self.guarding.held.body(reply.body).await;
        let passes = match held.lack() {
            None => {
                let text = apart(is_much(held.bytes()), || all_texts(held.bytes()));
                self.judge_texts(vec![(false, text)]).await
            }
            Some(_) => !self.blocks_answers(),
        };
        let said = "the upstream refused the request, in words that a policy of this server holds back";
        let bytes = match (passes, self.dialect) {
            (true, _) => Bytes::copy_from_slice(held.bytes()),
            (false, Dialect::Messages) => {
                let error = json!({"type": "api_error", "message": said});
                json!({"type": "error", "error": error}).to_string().into()
            }
            (false, _) => {
                let error = json!({"message": said, "type": "upstream_error", "param": null, "code": null});
                json!({"error": error}).to_string().into()
            }
        };
        self.log_findings();
        Reply { status: reply.status, body: ReplyBody::Whole(bytes) }
    }

    fn blocks_answers(&self) -> bool {
        [Stage::Reasoning, Stage::Output].map(|stage| self.mode(stage) == Mode::Block).contains(&true)
    }

    /// Judges what is said, and (true) thought; whether it may be had.
    async fn judge_texts(&self, texts: Vec<(bool, String)>) -> bool {
        for (is_reasoning, text) in texts {
            let stage = if is_reasoning { Stage::Reasoning } else { Stage::Output };
            let mut release = Release::default();
            release.push(stage, &text, ());
            release.end();
            while let Some(window) = release.window() {
                let Outcome { report, blocked } = self.look(stage, &window.text).await;
                self.found().reports.1.add(report);
                if let Some(why) = blocked {
                    self.refuse("the answer", &why);
                    return false;
                }
                release.judged(true);
            }
        }
        true
    }

    /// An answer with what was found, where its API has a place for that.
    async fn tell(&self, bytes: &[u8], is_stream: bool) -> Bytes {
        if !self.is_refused() {
            self.look_at_asked(Mode::Score).await;
        }
        let (input, output) = {
            let found = self.found();
            let told = |report: &Report| self.guarding.told(report, &self.whose.asked);
            (told(&found.reports.0), told(&found.reports.1))
        };
        let found = told(self.dialect, Moderated { input, output });
        let told = apart(is_much(bytes), || moderated(self.dialect, bytes, is_stream, &found));
        told.unwrap_or_else(|| {
            self.log_findings();
            Bytes::copy_from_slice(bytes)
        })
    }

    /// Logs what was found or could not be judged, where the answer has no place for it.
    fn log_findings(&self) {
        let found = self.found();
        if found.is_refused {
            return;
        }
        let reports = [&found.reports.0, &found.reports.1];
        let findings = reports.iter().flat_map(|report| &report.findings);
        let policies: Vec<&str> = findings.map(|finding| finding.name.as_str()).collect();
        if !policies.is_empty() {
            let policies = policies.join(", ");
            self.app
                .log
                .notice(&format!("what an upstream was asked or answered violates {policies}, and passes"));
        }
        let errors: Vec<&str> =
            reports.iter().flat_map(|report| &report.errors).map(|error| error.as_str()).collect();
        if let Some(first) = errors.first() {
            let more = errors.len() - 1;
            self.app.log.notice(&format!(
                "what an upstream was asked or answered passes and was not judged: {first} (and {more} more)"
            ));
        }
    }

    /// Looks at what was asked where the mode is that; why it is refused.
    async fn look_at_asked(&self, mode: Mode) -> Option<String> {
        let stage = |is_tool| if is_tool { Stage::Tools } else { Stage::Input };
        let texts = self.asked.texts.iter().map(|(is_tool, text)| (stage(*is_tool), text.as_str()));
        let looks: Vec<_> = texts
            .filter(|(stage, _)| self.mode(*stage) == mode)
            .map(|(stage, text)| self.look(stage, text))
            .collect();
        let mut looked = stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some(Outcome { report, blocked }) = looked.next().await {
            self.found().reports.0.add(report);
            if blocked.is_some() {
                return blocked;
            }
        }
        if mode == Mode::Score && self.asked.has_tokens && self.mode(Stage::Input) == mode {
            self.found().reports.0.errors.push("tokens cannot be judged".to_owned());
        }
        None
    }

    async fn look(&self, stage: Stage, text: &str) -> Outcome {
        self.guarding.look(&self.app.models, stage, text, &self.whose).await
    }

    fn mode(&self, stage: Stage) -> Mode {
        self.guarding.mode(stage, &self.whose.asked)
    }

    fn refuse(&self, what: &str, why: &str) {
        self.app.log.notice(&format!("{what} is held back: {why}"));
        self.found().is_refused = true;
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request wants judged, taken out of its body, since no upstream has policies of ours.
///
/// Errors: it is none.
fn settings(dialect: Dialect, body: &mut RawObject) -> Result<Option<ModerationSettings>, ApiError> {
    if !tells(dialect) {
        return Ok(None);
    }
    let Some(raw) = body.remove("moderation") else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| ApiError::invalid("moderation", error.to_string()))
}

/// What was found, in the API's form.
fn told(dialect: Dialect, found: Moderated) -> Value {
    match dialect {
        Dialect::Chat => json!(ChatModerated::from(found)),
        _ => json!(found),
    }
}

/// A stream of which nothing is held but its end, until that tells what was found.
fn scored(guard: RelayGuard, stream: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes> {
    let tail = Tail::new(guard.dialect);
    let held = guard.guarding.held.place();
    let begun = (guard, stream, held, Some(tail));
    type State = (RelayGuard, BoxStream<'static, Bytes>, Held, Option<Tail>);
    let more = |(guard, mut stream, mut held, tail): State| async move {
        let mut tail = tail?;
        while let Some(bytes) = stream.next().await {
            held.push(&bytes);
            let passes = tail.push(&bytes);
            if !passes.is_empty() {
                return Some((Bytes::from(passes), (guard, stream, held, Some(tail))));
            }
        }
        match held.lack() {
            Some(why) => guard.found().reports.1.errors.push(why.to_owned()),
            None => {
                guard.judge(held.bytes(), true).await;
            }
        }
        let last = guard.tell(&tail.finish(), true).await;
        Some((last, (guard, stream, held, None)))
    };
    stream::unfold(begun, more).boxed()
}

/// The model that judges turns elsewhere with tools of this server where no other is named: the first of this
/// server. None where nothing is judged.
///
/// Errors: as a lease of it.
pub(crate) async fn judge(
    app: &Arc<App>,
    caller: &Caller,
    body: &RawObject,
) -> Result<Option<Arc<Lease>>, ApiError> {
    let Some(guarding) = &app.guard else { return Ok(None) };
    let is_asked = body.raw("moderation").is_some_and(|raw| raw.get() != "null");
    if guarding.is_off(&Asked::default()) && !is_asked {
        return Ok(None);
    }
    Ok(Some(app.models.lease(app.models.first(), Asker::of(caller, Keep::Usual)).await?))
}

/// All of an answer that this server gives in another's place.
async fn ours(body: ReplyBody) -> Bytes {
    match body {
        ReplyBody::Whole(bytes) => bytes,
        ReplyBody::Stream(stream) => stream.collect::<Vec<Bytes>>().await.concat().into(),
    }
}

fn is_much(bytes: &[u8]) -> bool {
    bytes.len() > MUCH_BYTES
}
