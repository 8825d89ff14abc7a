//! What a model writes in one turn, as it is written: deltas, calls, and why it ended.
//!
//! The words that the room which reads a model's tokens and the room which speaks the APIs' dialects have in
//! common: plain data, with no trace of an engine or of HTTP.

/// The channel of a text that is no call's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The reasoning: not meant for the user by default.
    Analysis,
    /// A preamble: what the model says to the user before it calls a function.
    Commentary,
    /// The answer; also a text without a channel.
    Final,
}

/// More of what the model writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// More text.
    Text {
        /// Where it stands.
        channel: Channel,
        /// What is new.
        text: String,
        /// Of the tokens that begin in it; empty unless they were asked for.
        logprobs: Vec<Logprob>,
    },
    /// A call begins; its arguments follow.
    CallStarted {
        /// The function's name, without `functions.`.
        name: String,
    },
    /// More of the arguments of the call that has begun.
    CallArguments {
        /// What is new.
        text: String,
        /// Of the tokens that begin in it; empty unless they were asked for.
        logprobs: Vec<Logprob>,
    },
    /// The call is whole. The turn ends with it.
    Called(Call),
    /// The output was repaired, or says something that cannot be followed.
    Warning(String),
}

impl Delta {
    /// Takes `next` in, if it is more of the same; otherwise gives it back. A reader that is behind gets
    /// several as one.
    pub fn join(&mut self, next: Delta) -> Option<Delta> {
        match (self, next) {
            (
                Delta::Text { channel, text, logprobs },
                Delta::Text { channel: other, text: more, logprobs: others },
            ) if *channel == other => {
                text.push_str(&more);
                logprobs.extend(others);
                None
            }
            (
                Delta::CallArguments { text, logprobs },
                Delta::CallArguments { text: more, logprobs: others },
            ) => {
                text.push_str(&more);
                logprobs.extend(others);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// A token of text with its log-probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprob {
    /// Its bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Units: nats.
    pub logprob: f64,
    /// The most probable tokens in its place, best first.
    pub top: Vec<TopLogprob>,
}

/// A token that might have been chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct TopLogprob {
    /// Its bytes; a control token's are its literal name.
    pub bytes: Vec<u8>,
    /// Units: nats.
    pub logprob: f64,
}

/// A call that the model makes and that waits for a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function's name, without `functions.`; the whole recipient for anything that is not a function.
    pub name: String,
    /// The recipient as it belongs into the header of the result: `functions.NAME`, or a built-in tool.
    pub recipient: String,
    /// The channel the call came on, which is also the channel of its result.
    pub channel: Option<String>,
    /// What the model wrote, JSON if it kept to the format.
    pub arguments: String,
}

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// With an answer, or at a stop string in what is said to the user.
    Answer,
    /// With a call; the conversation goes on when its result is there.
    Call,
    /// The limit of new tokens was reached first.
    Length,
    /// The context was full first.
    Context,
    /// It was cancelled.
    Cancelled,
    /// Its deadline passed first.
    Deadline,
    /// A policy holds it back, or what it was asked.
    Filtered,
    /// The model stopped, but neither answered nor called.
    NoAnswer,
}

impl TurnEnd {
    /// The word of the OpenAI API where it has one.
    pub fn finish_reason(self) -> &'static str {
        match self {
            TurnEnd::Answer | TurnEnd::NoAnswer => "stop",
            TurnEnd::Call => "tool_calls",
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => "length",
            TurnEnd::Cancelled => "cancelled",
            TurnEnd::Filtered => "content_filter",
        }
    }
}
