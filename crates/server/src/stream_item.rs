//! What comes of a choice while it is written, whatever writes it.

use std::time::Instant;

use gptoss_api::ApiError;
use gptoss_api::usage::{PhaseTimes, TokenUsage};
use gptoss_api::wire::moderations::Moderated;
use gptoss_harmony::Message;
use gptoss_turn::{Delta, TurnEnd};

/// What comes next.
#[derive(Debug)]
pub(crate) enum StreamItem {
    /// The prompt begins to be read: how long it is, and how much of it was cached.
    Read(TokenUsage),
    /// More of the turn.
    Delta(Delta),
    /// More of a summary of the reasoning before.
    Summary(String),
    /// Nothing more.
    End(ChoiceOutcome),
    /// It failed.
    Failed(ApiError),
}

impl StreamItem {
    /// Takes `next` in, if it is more of the same; otherwise gives it back.
    pub(crate) fn join(&mut self, next: StreamItem) -> Option<StreamItem> {
        match (self, next) {
            (StreamItem::Delta(delta), StreamItem::Delta(next)) => delta.join(next).map(StreamItem::Delta),
            (StreamItem::Summary(text), StreamItem::Summary(more)) => {
                text.push_str(&more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// What is known when a choice has ended.
#[derive(Debug)]
pub(crate) struct ChoiceOutcome {
    /// Why.
    pub(crate) end: TurnEnd,
    /// What it took, summaries included.
    pub(crate) tokens: TokenUsage,
    /// What the assistant said, to be kept.
    pub(crate) messages: Vec<Message>,
    /// Text that was kept back to the end, as it might have become a stop string.
    pub(crate) rest: Vec<Delta>,
    /// The stop string that ended it, if one did.
    pub(crate) stop: Option<String>,
    /// When it was handed to the engine.
    pub(crate) begun: Instant,
    /// Where its own time went from then on.
    pub(crate) times: PhaseTimes,
    /// What was found in it and in what it answers; None where nobody looked.
    pub(crate) moderation: Option<Box<Moderated>>,
}
