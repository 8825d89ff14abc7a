//! What comes out of a running turn, before any API has put it into its own words?
//!
//! [`Piece`] is a turn's event with its tokens' log-probabilities beside the text, and [`Ending`] is what is known when there are no more.
//! The machines that write Chat Completions and Responses take these and nothing else, so that a test can push any pieces it likes, cut
//! wherever it likes.

use gptoss_turn::{TurnEnd, TurnEvent};

use crate::wire::chat::{ChatUsage, CompletionDetails, PromptDetails, TokenLogprob};
use crate::wire::responses::{InputDetails, OutputDetails, ResponseUsage};

/// Who the model speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Itself.
    Reasoning,
    /// The user, before it calls something.
    Preamble,
    /// The user.
    Answer,
}

/// Something that came out of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// More text.
    Text {
        /// To whom.
        voice: Voice,
        /// What is new.
        text: String,
        /// Of the tokens that it is made of, if they are told.
        logprobs: Vec<TokenLogprob>,
    },
    /// More of a summary of the reasoning before.
    Summary(String),
    /// A call begins.
    CallStarted {
        /// The tool's name in harmony.
        name: String,
    },
    /// More of its arguments.
    CallArguments(String),
    /// It is whole.
    Called,
    /// Something was repaired.
    Warning(String),
}

impl Piece {
    /// The piece that an event is; progress and the end are none.
    pub(crate) fn from_event(event: TurnEvent, logprobs: Vec<TokenLogprob>) -> Option<Piece> {
        let said = |voice, text| Some(Piece::Text { voice, text, logprobs });
        match event {
            TurnEvent::Prefill { .. }
            | TurnEvent::Logprobs { .. }
            | TurnEvent::Finished(_)
            | TurnEvent::Failed(_) => None,
            TurnEvent::Reasoning(text) => said(Voice::Reasoning, text),
            TurnEvent::Preamble(text) => said(Voice::Preamble, text),
            TurnEvent::Answer(text) => said(Voice::Answer, text),
            TurnEvent::CallStarted { name } => Some(Piece::CallStarted { name }),
            TurnEvent::CallArguments(text) => Some(Piece::CallArguments(text)),
            TurnEvent::Called(_) => Some(Piece::Called),
            TurnEvent::Warning(warning) => Some(Piece::Warning(warning)),
        }
    }

    /// Takes `next` in, if it is more of the same; otherwise gives it back. Under load several pieces go out as one.
    pub(crate) fn join(&mut self, next: Piece) -> Option<Piece> {
        match (self, next) {
            (
                Piece::Text { voice, text, logprobs },
                Piece::Text { voice: other, text: more, logprobs: odds },
            ) if *voice == other => {
                text.push_str(&more);
                logprobs.extend(odds);
                None
            }
            (Piece::Summary(text), Piece::Summary(more))
            | (Piece::CallArguments(text), Piece::CallArguments(more)) => {
                text.push_str(&more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// Why there are no more pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// There is an answer.
    Answer,
    /// There is a call.
    Call,
    /// The tokens that the request allows were written first.
    Length,
    /// The context was full first.
    Context,
    /// Its time was up first.
    Deadline,
    /// It was cancelled.
    Cancelled,
    /// The model stopped, but said nothing.
    NoAnswer,
}

impl End {
    /// What a client is told when its own words for the end do not say it.
    pub(crate) fn notice(self) -> Option<&'static str> {
        match self {
            End::Context => Some("the answer was cut: the context is full"),
            End::Deadline => Some("the answer was cut: the time of a request is up (--request-timeout)"),
            End::Answer | End::Call | End::Length | End::Cancelled | End::NoAnswer => None,
        }
    }
}

impl From<TurnEnd> for End {
    fn from(end: TurnEnd) -> End {
        match end {
            TurnEnd::Answer => End::Answer,
            TurnEnd::Call => End::Call,
            TurnEnd::Length => End::Length,
            TurnEnd::Deadline => End::Deadline,
            TurnEnd::Cancelled => End::Cancelled,
            TurnEnd::NoAnswer => End::NoAnswer,
        }
    }
}

/// Tokens that were read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tokens {
    /// Read.
    pub(crate) prompt: u64,
    /// Of those, computed before.
    pub(crate) cached: u64,
    /// Written.
    pub(crate) completion: u64,
    /// Of those, reasoning.
    pub(crate) reasoning: u64,
}

impl Tokens {
    /// Counts another turn's too.
    pub(crate) fn add(&mut self, other: Tokens) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.completion += other.completion;
        self.reasoning += other.reasoning;
    }

    /// Counts another choice's: the prompt is the same and counts once.
    pub(crate) fn add_choice(&mut self, other: Tokens) {
        self.prompt = self.prompt.max(other.prompt);
        self.cached = self.cached.max(other.cached);
        self.completion += other.completion;
        self.reasoning += other.reasoning;
    }

    /// In the words of Chat Completions.
    pub(crate) fn chat_usage(self) -> ChatUsage {
        ChatUsage {
            prompt_tokens: self.prompt,
            completion_tokens: self.completion,
            total_tokens: self.prompt + self.completion,
            prompt_tokens_details: PromptDetails { cached_tokens: self.cached, audio_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: self.reasoning,
                ..CompletionDetails::default()
            },
        }
    }

    /// In the words of Responses.
    pub(crate) fn response_usage(self) -> ResponseUsage {
        ResponseUsage {
            input_tokens: self.prompt,
            input_tokens_details: InputDetails { cached_tokens: self.cached },
            output_tokens: self.completion,
            output_tokens_details: OutputDetails { reasoning_tokens: self.reasoning },
            total_tokens: self.prompt + self.completion,
        }
    }
}
