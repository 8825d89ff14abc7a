//! How is a turn to be taken?
//!
//! [`TurnOptions`] is everything about a turn that is not the conversation: how tokens are chosen, how many, what form the answer must
//! have, whether functions may or must be called, and whose turn it is. It is plain data with a default for all of it, so that a caller
//! names what matters: `TurnOptions { sampling, ..TurnOptions::default() }`.
//!
//! It does not know the names that an HTTP API or a command line has for these things.

use std::time::Instant;

use gptoss_engine::{Priority, SamplingParams, Tenant};
use gptoss_harmony::Analysis;

use crate::constraint::TurnForm;

/// How a turn is to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Most tokens that may be written; None is as many as the context holds. Units: tokens.
    pub max_new_tokens: Option<usize>,
    /// Whether the reasoning of finished turns is rendered; by the format it is not.
    pub analysis: Analysis,
    /// Best tokens whose log-probabilities are told with each token of text, 0 to 20; None tells no log-probabilities.
    pub logprobs: Option<usize>,
    /// Which form the turn must have.
    pub form: TurnForm,
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
            analysis: Analysis::DropOld,
            logprobs: None,
            form: TurnForm::default(),
            tenant: Tenant::default(),
            priority: Priority::default(),
            deadline: None,
            is_private: false,
        }
    }
}
