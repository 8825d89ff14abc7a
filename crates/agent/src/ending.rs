//! What is left of a run.

use gptoss_harmony::Message;
use gptoss_turn::{Call, TurnUsage};

/// How a run ended, and what it left.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Why.
    pub end: AgentEnd,
    /// All that was said, to be appended to the conversation: the model's messages and the results of its
    /// calls.
    pub messages: Vec<Message>,
    /// The answer, where there is one.
    pub answer: Option<String>,
    /// What it took.
    pub usage: AgentUsage,
    /// Every warning of its turns.
    pub warnings: Vec<String>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnd {
    /// The model answered.
    Answer,
    /// The model called a function of the caller's, whose result goes behind the messages.
    Call(Call),
    /// Somebody has to approve of this call first. A run of the conversation with these messages begins with
    /// it.
    Approval(Call),
    /// All turns were taken.
    Steps,
    /// All tokens were written.
    Tokens,
    /// The time was over.
    Time,
    /// The context is full.
    Context,
    /// It was cancelled.
    Cancelled,
    /// The model stopped without an answer.
    NoAnswer,
}

/// What the turns of a run took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentUsage {
    /// Turns of the model.
    pub steps: usize,
    /// Tokens read, of all turns: what a later turn reads again counts again.
    pub prompt_tokens: usize,
    /// Those of them that were kept of earlier turns.
    pub cached_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
    /// Those of them that are reasoning.
    pub reasoning_tokens: usize,
}

impl AgentUsage {
    /// One more turn.
    pub(crate) fn add(&mut self, turn: &TurnUsage) {
        self.steps += 1;
        self.prompt_tokens += turn.engine.prompt_tokens;
        self.cached_tokens += turn.engine.cached_tokens;
        self.completion_tokens += turn.engine.completion_tokens;
        self.reasoning_tokens += turn.reasoning_tokens;
    }
}
