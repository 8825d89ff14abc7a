//! What the machines of the APIs have in common.

use gptoss_harmony::{Delta, TurnEnd};

use crate::generation::tools::Tools;
use crate::generation::visibility::Visibility;
use crate::ids::NewId;
use crate::usage::TokenUsage;

/// How a machine is to write.
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// What may be called, and under which names.
    pub tools: Tools,
    /// How much of the reasoning is seen.
    pub visibility: Visibility,
    /// Whether log-probabilities are told.
    pub tells_logprobs: bool,
    /// Names what is new.
    pub new_id: NewId,
}

/// How a choice ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceEnd {
    /// Why.
    pub end: TurnEnd,
    /// What it took.
    pub usage: TokenUsage,
    /// What belongs into the last event: text that was kept back, as it might have become a stop string.
    pub rest: Vec<Delta>,
    /// When. Units: seconds since 1970.
    pub at: u64,
    /// The stop string that ended it, if one did.
    pub stop: Option<String>,
}

/// Puts the deltas of one choice into the events of an API.
///
/// Whatever way the model's text is cut into deltas, the events add up to the same body.
pub trait Machine {
    /// What it gives: a chunk, or a numbered event.
    type Event;

    /// The events before the first delta.
    fn begin(&mut self) -> Vec<Self::Event>;

    /// The events of a prompt that begins to be read: `read` says how long it is and how much of it was
    /// cached.
    fn read(&mut self, _read: TokenUsage) -> Vec<Self::Event> {
        Vec::new()
    }

    /// The events of a delta; none when it is not to be seen.
    fn push(&mut self, delta: Delta) -> Vec<Self::Event>;

    /// The events of more of a summary of the reasoning.
    fn push_summary(&mut self, text: String) -> Vec<Self::Event>;

    /// The last events of a choice that has ended.
    fn finish(&mut self, end: ChoiceEnd) -> Vec<Self::Event>;

    /// The id of the call that was begun last.
    fn last_call_id(&self) -> Option<&str>;

    /// What was repaired or left out so far.
    fn warnings(&self) -> &[String];
}
