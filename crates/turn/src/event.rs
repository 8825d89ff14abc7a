//! Events of a running turn, and what is left of it when it has ended.
//!
//! [`TurnEvent`] is for whoever shows the turn: [`Delta`]s of text, calls and warnings as they are written.
//! [`Outcome`] is for whoever keeps the conversation: the messages to append, the calls that wait for a
//! result, why the turn ended and what it cost. Both are plain data, so that a terminal, a stream of
//! server-sent events and a batch file can each make of them what they want.

use gptoss_constrain::Cut;
use gptoss_engine::{Failure, Token, Usage};
use gptoss_harmony::{Call, Delta, Logprob, Message, TopLogprob, TurnEnd, Vocab};

/// The engine's token with its log-probability, as bytes.
pub fn logprob_of(vocab: &Vocab, token: &Token) -> Logprob {
    let bytes = |id: u32| vocab.decode(&[id]).unwrap_or_default();
    let top = token.top.iter().map(|other| TopLogprob { bytes: bytes(other.id), logprob: other.logprob });
    Logprob { bytes: bytes(token.id), logprob: token.logprob, top: top.collect() }
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
    /// What was ended before the model had ended it, in order: reasoning, or a body that had to fit. Each is
    /// told as a warning too.
    pub cuts: Vec<Cut>,
    /// The stop string that ended it, if one did.
    pub stopped_by: Option<String>,
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
