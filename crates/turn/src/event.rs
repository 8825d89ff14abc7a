//! What can be said about a turn while it runs, and what is left of it when it has ended.
//!
//! [`TurnEvent`] is for whoever shows the turn: text in the three voices of harmony (reasoning, preamble, answer), calls of functions as
//! they are written and when they are whole, warnings. [`Outcome`] is for whoever keeps the conversation: the messages to append, the
//! calls that wait for a result, why the turn ended and what it cost. Both are plain data, so that a terminal, a stream of server-sent
//! events and a batch file can each make of them what they want.
//!
//! They know nothing of tokens beyond their number.

use gptoss_engine::{Failure, Token, Usage};
use gptoss_harmony::Message;

/// Who says a text, of harmony's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Channel `analysis`.
    Reasoning,
    /// Channel `commentary`, addressed to nobody.
    Preamble,
    /// Channel `final`, or none.
    Answer,
    /// The arguments of a call.
    Call,
}

/// Something that happened in a running turn, in order. `Finished` or `Failed` comes last, exactly one of them, once.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    /// The prompt is being read.
    Prefill {
        /// Tokens read so far.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// More of the reasoning (channel `analysis`): not meant for the user by default.
    Reasoning(String),
    /// More of what the model says to the user before it calls a function (channel `commentary`, no recipient).
    Preamble(String),
    /// More of the answer (channel `final`).
    Answer(String),
    /// A call begins; its arguments follow.
    CallStarted {
        /// The function's name, without `functions.`.
        name: String,
    },
    /// More of the arguments of the call that has begun.
    CallArguments(String),
    /// The call is whole. The turn ends with it.
    Called(Call),
    /// The output was repaired, or says something that cannot be followed.
    Warning(String),
    /// A token of text, with its log-probabilities; only when they were asked for. It comes before the text it becomes, which can be
    /// later than one token when a character is split.
    Logprobs {
        /// Whose text it is.
        voice: Voice,
        /// The token; `Vocab` tells its bytes and those of the others.
        token: Token,
    },
    /// The turn is over.
    Finished(Outcome),
    /// The turn was begun and could not be carried out.
    Failed(Failure),
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
    /// With an answer.
    Answer,
    /// With a call; the conversation goes on when its result is there.
    Call,
    /// The limit of new tokens, or the context, was reached first.
    Length,
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
            TurnEnd::Length | TurnEnd::Deadline => "length",
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
    /// The assistant's messages, to be appended to the conversation. A message that was cut short by the limit or by cancelling is
    /// among them with what there was of it, except a call, which would be half an instruction.
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

    /// What was said before a call: the text on `commentary` that is addressed to nobody. None when there is none.
    pub fn preamble(&self) -> Option<String> {
        self.text_on(|channel| channel.is_some_and(|name| name != "analysis" && name != "final"))
    }

    fn text_on(&self, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
        let matching = self.messages.iter().filter(|m| m.recipient.is_none() && wanted(m.channel.as_deref()));
        let texts: Vec<String> = matching.map(Message::text).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }
}
