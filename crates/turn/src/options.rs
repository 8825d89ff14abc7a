//! Options of a turn: everything about it that is not the conversation.
//!
//! [`TurnOptions`] is plain data with a default for all of it, so that a caller names what matters:
//! `TurnOptions { sampling, ..TurnOptions::default() }`.

use std::time::Instant;

use gptoss_engine::{Priority, SamplingParams, Tenant};
use gptoss_harmony::Analysis;

use crate::constraint::OutputRules;

/// How a turn is to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Most tokens that may be written; None is as many as the context holds. Units: tokens.
    pub max_new_tokens: Option<usize>,
    /// Tokens before which nothing ends the turn, if anything else may be said; `usize::MAX` never lets it.
    /// It holds unless the rules are [`OutputRules::None`]. Units: tokens.
    pub min_new_tokens: usize,
    /// Most tokens of reasoning, preambles included; 0 lets the turn begin with its answer or call. None
    /// leaves it to the rules. It holds unless the rules are [`OutputRules::None`]. Units: tokens.
    pub reasoning_budget: Option<u32>,
    /// Tokens that reasoning leaves to the answer or call, of those that there is room for; None is a quarter
    /// of them, at least 16 and at most 512 ([`gptoss_constrain::Bounds::answer_tokens`]). Units: tokens.
    pub answer_tokens: Option<usize>,
    /// Whether reasoning that repeats itself word for word is ended.
    pub breaks_loops: bool,
    /// Whether the reasoning of finished turns is rendered; by the format it is not.
    pub analysis: Analysis,
    /// Best tokens whose log-probabilities are told with each token of text, 0 to 20; None tells no
    /// log-probabilities.
    pub logprobs: Option<usize>,
    /// What every token of the turn is held to.
    pub rules: OutputRules,
    /// Strings that end the turn where one of them stands in what is said to the user; none of them is part
    /// of the answer.
    pub stop: Vec<String>,
    /// Whose turn it is: tenants share the machine fairly and nothing in the cache.
    pub tenant: Tenant,
    /// How urgent it is.
    pub priority: Priority,
    /// When it ends with what it has; None is never.
    pub deadline: Option<Instant>,
    /// Whether nothing of it may be written to disk.
    pub is_private: bool,
}

impl Default for TurnOptions {
    fn default() -> TurnOptions {
        TurnOptions {
            sampling: SamplingParams::default(),
            max_new_tokens: None,
            min_new_tokens: 0,
            reasoning_budget: None,
            answer_tokens: None,
            breaks_loops: true,
            analysis: Analysis::DropOld,
            logprobs: None,
            rules: OutputRules::default(),
            stop: Vec::new(),
            tenant: Tenant::default(),
            priority: Priority::default(),
            deadline: None,
            is_private: false,
        }
    }
}
