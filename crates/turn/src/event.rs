//! Events of a running turn, and what is left of it when it has ended.
//!
//! [`TurnEvent`] is for whoever shows the turn: text by channel (reasoning, preamble, answer), calls of
//! functions as they are written and when they are whole, warnings. [`Outcome`] is for whoever keeps the
//! conversation: the messages to append, the calls that wait for a result, why the turn ended and what it
//! cost. Both are plain data, so that a terminal, a stream of server-sent events and a batch file can each
//! make of them what they want.

use gptoss_engine::{Failure, Token, Usage};
use gptoss_harmony::{Message, Vocab};

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

/// Something that happened in a running turn, in order. `Finished` or `Failed` comes last, exactly one of
/// them, once.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    /// The prompt is being read.
    Prefill {
        /// Tokens read so far.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// More of what the model writes.
    Delta(Delta),
    /// The turn is over.
    Finished(Outcome),
    /// The turn was begun and could not be carried out.
    Failed(Failure),
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

impl Logprob {
    /// The engine's token, as bytes.
    pub fn new(vocab: &Vocab, token: &Token) -> Logprob {
        let bytes = |id: u32| vocab.decode(&[id]).unwrap_or_default();
        let top = token.top.iter().map(|other| TopLogprob { bytes: bytes(other.id), logprob: other.logprob });
        Logprob { bytes: bytes(token.id), logprob: token.logprob, top: top.collect() }
    }
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
        }
    }
}

/// What a turn cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TurnUsage {
    /// Tokens read and written, and the time for both.
    pub engine: Usage,
    /// The tokens written that belong to reasoning messages, headers included.
    pub reasoning_tokens: usize,
}

/// What is left of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The assistant's messages, to be appended to the conversation. A message that was cut short by a limit,
    /// a stop string or by cancelling is among them with what there was of it, except a call, which would be
    /// half an instruction.
    pub messages: Vec<Message>,
    /// Calls that wait for a result, in order. The format has one at most.
    pub calls: Vec<Call>,
    /// Why the turn ended.
    pub end: TurnEnd,
    /// What it cost.
    pub usage: TurnUsage,
    /// Every warning, also sent as events.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The answer: the text on `final`, or without a channel. None when there is no such message.
    pub fn answer(&self) -> Option<String> {
        self.text_on(|channel| matches!(channel, None | Some("final")))
    }

    /// The reasoning: the text on `analysis`. None when there is none.
    pub fn reasoning(&self) -> Option<String> {
        self.text_on(|channel| channel == Some("analysis"))
    }

    /// What was said before a call: the text on `commentary` that is addressed to nobody. None when there is
    /// none.
    pub fn preamble(&self) -> Option<String> {
        self.text_on(|channel| channel.is_some_and(|name| name != "analysis" && name != "final"))
    }

    fn text_on(&self, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
        let matching = self.messages.iter().filter(|m| m.recipient.is_none() && wanted(m.channel.as_deref()));
        let texts: Vec<String> = matching.map(Message::text).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }
}
