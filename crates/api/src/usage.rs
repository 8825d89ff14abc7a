//! What turns took, in the words of the APIs.
//!
//! [`TokenUsage`] is counted once and told in every API's own form.
//! A request with several choices counts its prompt once.

use std::time::Duration;

use gptoss_harmony::TurnEnd;

use crate::wire::chat::{ChatUsage, CompletionDetails, PromptDetails};
use crate::wire::responses::{InputDetails, OutputDetails, ResponseUsage};

/// What a client is told when its own words for the end do not say it.
pub fn notice(end: TurnEnd) -> Option<&'static str> {
    match end {
        TurnEnd::Context => Some("the answer was cut: the context is full"),
        TurnEnd::Deadline => Some("the answer was cut: the time of a request is up (--request-timeout)"),
        TurnEnd::Answer
        | TurnEnd::Call
        | TurnEnd::Length
        | TurnEnd::Cancelled
        | TurnEnd::Filtered
        | TurnEnd::NoAnswer => None,
    }
}

/// Tokens that were read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenUsage {
    /// Read.
    pub prompt: u64,
    /// Of those, computed before.
    pub cached: u64,
    /// Written.
    pub completion: u64,
    /// Of those, reasoning.
    pub reasoning: u64,
    /// Where the time went.
    pub times: PhaseTimes,
}

/// Time by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhaseTimes {
    /// Waiting for a place.
    pub queued: Duration,
    /// Reading the prompt.
    pub prefill: Duration,
    /// Writing.
    pub decode: Duration,
}

impl TokenUsage {
    /// Counts another turn's too.
    pub fn add(&mut self, other: TokenUsage) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.completion += other.completion;
        self.reasoning += other.reasoning;
        self.times.queued += other.times.queued;
        self.times.prefill += other.times.prefill;
        self.times.decode += other.times.decode;
    }

    /// Counts another choice's: they run at a time, and the prompt is the same and counts once.
    pub fn add_choice(&mut self, other: TokenUsage) {
        self.prompt = self.prompt.max(other.prompt);
        self.cached = self.cached.max(other.cached);
        self.completion += other.completion;
        self.reasoning += other.reasoning;
        self.times.queued = self.times.queued.max(other.times.queued);
        self.times.prefill = self.times.prefill.max(other.times.prefill);
        self.times.decode = self.times.decode.max(other.times.decode);
    }

    /// In the words of Chat Completions.
    pub fn chat_usage(self) -> ChatUsage {
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
    pub fn response_usage(self) -> ResponseUsage {
        ResponseUsage {
            input_tokens: self.prompt,
            input_tokens_details: InputDetails { cached_tokens: self.cached, cache_write_tokens: 0 },
            output_tokens: self.completion,
            output_tokens_details: OutputDetails { reasoning_tokens: self.reasoning },
            total_tokens: self.prompt + self.completion,
        }
    }
}
