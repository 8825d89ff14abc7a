//! What the turns of one model came to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gptoss_api::usage::{PhaseTimes, TokenUsage};
use gptoss_turn::TurnEnd;

use super::Row;
use super::histogram::Histogram;

/// Ends of requests, by vLLM's word for them.
pub(super) const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// What the time to the first token says, under either name.
pub(super) const FIRST_TOKEN: &str =
    "From a request, its model in memory, to its first token: without the wait for a model to be loaded.";
/// The same of the time to the end.
pub(super) const WHOLE: &str =
    "From a request, its model in memory, to its end: without the wait for a model to be loaded.";

/// All that is counted of turns.
#[derive(Debug, Default)]
pub(crate) struct TurnMetrics {
    pub(super) prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    pub(super) completion_tokens: AtomicU64,
    reasoning_tokens: AtomicU64,
    /// Choices that have ended, in the order of [`REASONS`].
    pub(super) finished: [AtomicU64; REASONS.len()],
    pub(super) first_token: Histogram,
    pub(super) between_tokens: Histogram,
    pub(super) whole: Histogram,
    pub(super) queued: Histogram,
    pub(super) prefill: Histogram,
    pub(super) decode: Histogram,
    pub(super) inference: Histogram,
}

impl TurnMetrics {
    /// A turn wrote its first token.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.observe(after);
    }

    /// A turn wrote another, so long after the one before.
    pub(crate) fn next_token(&self, after: Duration) {
        self.between_tokens.observe(after);
    }

    /// A choice that has ended took so long, phase by phase.
    pub(crate) fn phases(&self, times: PhaseTimes) {
        self.queued.observe(times.queued);
        self.prefill.observe(times.prefill);
        self.decode.observe(times.decode);
        self.inference.observe(times.prefill + times.decode);
    }

    /// A choice has ended.
    pub(crate) fn finished(&self, end: TurnEnd) {
        let reason = match end {
            TurnEnd::Answer | TurnEnd::Call | TurnEnd::NoAnswer => 0,
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => 1,
            TurnEnd::Cancelled | TurnEnd::Filtered => 2,
        };
        self.finished[reason].fetch_add(1, Ordering::Relaxed);
    }

    /// A choice failed.
    pub(crate) fn failed(&self) {
        self.finished[3].fetch_add(1, Ordering::Relaxed);
    }

    /// A turn ended.
    pub(crate) fn ended(&self, tokens: TokenUsage, after: Duration) {
        self.prompt_tokens.fetch_add(tokens.prompt, Ordering::Relaxed);
        self.cached_tokens.fetch_add(tokens.cached, Ordering::Relaxed);
        self.completion_tokens.fetch_add(tokens.completion, Ordering::Relaxed);
        self.reasoning_tokens.fetch_add(tokens.reasoning, Ordering::Relaxed);
        self.whole.observe(after);
    }

    /// Takes in what another model's turns came to, as far as `rows` and `write` tell it.
    pub(super) fn add(&self, other: &TurnMetrics) {
        let counters = |all: &TurnMetrics| {
            let own = [&all.prompt_tokens, &all.cached_tokens, &all.completion_tokens, &all.reasoning_tokens];
            own.map(|counter| counter.load(Ordering::Relaxed))
        };
        let [prompt, cached, completion, reasoning] = counters(other);
        self.prompt_tokens.fetch_add(prompt, Ordering::Relaxed);
        self.cached_tokens.fetch_add(cached, Ordering::Relaxed);
        self.completion_tokens.fetch_add(completion, Ordering::Relaxed);
        self.reasoning_tokens.fetch_add(reasoning, Ordering::Relaxed);
        self.first_token.add(&other.first_token);
        self.whole.add(&other.whole);
    }

    /// Its counters under our own names.
    pub(super) fn rows(&self) -> [Row; 4] {
        let counter =
            |name, help, value: &AtomicU64| (name, "counter", help, value.load(Ordering::Relaxed) as f64);
        let cached = "Tokens read that had been computed before.";
        [
            counter("prompt_tokens_total", "Tokens read.", &self.prompt_tokens),
            counter("cached_prompt_tokens_total", cached, &self.cached_tokens),
            counter("completion_tokens_total", "Tokens written.", &self.completion_tokens),
            counter("reasoning_tokens_total", "Tokens written that are reasoning.", &self.reasoning_tokens),
        ]
    }

    /// Its times under our own names.
    pub(super) fn write(&self, page: &mut String) {
        let times = [
            ("gptoss_time_to_first_token_seconds", FIRST_TOKEN, &self.first_token),
            ("gptoss_turn_seconds", WHOLE, &self.whole),
        ];
        for (name, help, histogram) in times {
            Histogram::write_head(page, name, help);
            histogram.write(page, name, "");
        }
    }
}
