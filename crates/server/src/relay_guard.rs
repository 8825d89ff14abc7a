//! The guard beside what an upstream answers by itself.
//!
//! What users and tools say is judged before it leaves, and what the upstream says before it reaches the
//! client: where a policy blocks, the whole answer is held until it was judged, a stream too. What is refused
//! ends as an answer that was filtered, in the client's API. Turns with tools of this server are held by
//! their own watch (`watch`), as those of our own models are.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use gptoss_api::ApiError;
use gptoss_gateway::{Dialect, RawObject, Reply, ReplyBody, answer_texts, asked_texts};
use gptoss_guard::{Mode, Release, Stage};

use crate::guarding::{Guarding, Judged};
use crate::keys::Caller;
use crate::model_host::Asker;
use crate::roster::Keep;
use crate::state::App;

/// Most of an answer that is held. Units: bytes.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Who judges what goes to an upstream and comes from there.
#[derive(Clone)]
pub(crate) struct RelayGuard {
    app: Arc<App>,
    guarding: Arc<Guarding>,
    whose: Judged,
    dialect: Dialect,
    /// What was said to the model, by stage.
    asked: Arc<Vec<(Stage, String)>>,
    /// Why it was refused, when it was.
    refused: Arc<Mutex<Option<String>>>,
}

impl RelayGuard {
    /// For a request; None where nothing is judged.
    ///
    /// Errors: the model that judges cannot be had; the request cannot be read.
    pub(crate) async fn of(
        app: &Arc<App>,
        caller: &Caller,
        (dialect, body): (Dialect, &RawObject),
    ) -> Result<Option<RelayGuard>, ApiError> {
        let Some(guarding) = &app.guard else { return Ok(None) };
        let judge = judge(app, caller).await?;
        let whose = Judged::unasked(&judge, &caller.tenant);
        if Stage::ALL.into_iter().all(|stage| guarding.mode(stage, &whose.asked) == Mode::Off) {
            return Ok(None);
        }
        let texts = asked_texts(dialect, body)?.into_iter();
        let asked = texts.map(|(is_tool, text)| (if is_tool { Stage::Tools } else { Stage::Input }, text));
        Ok(Some(RelayGuard {
            app: Arc::clone(app),
            guarding: Arc::clone(guarding),
            whose,
            dialect,
            asked: Arc::new(asked.collect()),
            refused: Arc::default(),
        }))
    }

    /// Judges what was asked, before it leaves.
    ///
    /// Errors: it is refused; [`RelayGuard::is_refused`] then.
    pub(crate) fn admit(&self) -> BoxFuture<'static, Result<(), ApiError>> {
        let guard = self.clone();
        Box::pin(async move {
            for (stage, text) in guard.asked.iter() {
                if let Some(why) = guard.look(*stage, text).await {
                    guard.refuse("what was asked", &why);
                    return Err(ApiError::Ruled { reason: why });
                }
            }
            Ok(())
        })
    }

    /// Whether something was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn refuse(&self, what: &str, why: &str) {
        self.app.log.notice(&format!("{what} is held back: {why}"));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// Why a text is refused.
    async fn look(&self, stage: Stage, text: &str) -> Option<String> {
        if self.guarding.mode(stage, &self.whose.asked) == Mode::Off {
            return None;
        }
        self.guarding.look(&self.app.models, stage, text, &self.whose).await.blocked
    }

    /// The answer, if it may be had; None where it is refused.
    pub(crate) async fn answer(&self, reply: Reply) -> Option<Reply> {
        let blocks = |stage| self.guarding.mode(stage, &self.whose.asked) == Mode::Block;
        if reply.status != 200 || !(blocks(Stage::Output) || blocks(Stage::Reasoning)) {
            return Some(reply);
        }
        let (bytes, is_stream) = match reply.body {
            ReplyBody::Whole(bytes) => (bytes, false),
            ReplyBody::Stream(stream) => (held(stream).await, true),
        };
        // What cannot be judged is not let through.
        let texts = match bytes.len() > HELD_BYTES_MAX && is_stream {
            true => Err("it is longer than what is held until it was judged"),
            false => answer_texts(self.dialect, &bytes, is_stream),
        };
        let texts = match texts {
            Ok(texts) => texts,
            Err(why) => {
                self.refuse("the answer", why);
                return None;
            }
        };
        for (is_reasoning, text) in texts {
            let stage = if is_reasoning { Stage::Reasoning } else { Stage::Output };
            let mut release = Release::default();
            release.push(stage, &text, ());
            release.end();
            while let Some(window) = release.window() {
                if let Some(why) = self.look(stage, &window.text).await {
                    self.refuse("the answer", &why);
                    return None;
                }
                release.judged(true);
            }
        }
        let body = match is_stream {
            true => ReplyBody::Stream(stream::iter([bytes]).boxed()),
            false => ReplyBody::Whole(bytes),
        };
        Some(Reply { status: reply.status, body })
    }
}

/// The model that judges where no other is named: the first of this server.
///
/// Errors: as a lease of it.
pub(crate) async fn judge(
    app: &Arc<App>,
    caller: &Caller,
) -> Result<Arc<crate::model_host::Lease>, ApiError> {
    let asker = Asker { tenant: &caller.tenant, is_background: false, keep: Keep::Usual, bill: None };
    app.models.lease(app.models.first(), asker).await
}

/// All of a stream, or the beginning of one that is longer than what is held.
async fn held(mut stream: BoxStream<'static, Bytes>) -> Bytes {
    let mut bytes = Vec::new();
    while let Some(more) = stream.next().await {
        bytes.extend_from_slice(&more);
        if bytes.len() > HELD_BYTES_MAX {
            break;
        }
    }
    bytes.into()
}
