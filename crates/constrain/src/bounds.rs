//! How far one sequence may go, and what is ended so that it comes to its answer or call.
//!
//! [`Bounds`] stands beside the [`crate::Spec`]: the spec says what a turn looks like and is compiled, the
//! bounds are of one sequence. Reasoning is ended when its budget is used up, when the room behind it is
//! needed for what comes next, or when it repeats itself; a body that is owed is closed while it still can
//! be. All of it is a function of the tokens and of the bounds: neither time nor neighbors move it.

use std::fmt;

use crate::limits::{ANSWER_SHARE, ANSWER_TOKENS_MAX, ANSWER_TOKENS_MIN};

/// How far one sequence may go. The default bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Tokens that there is room for; the engine ends the sequence there. None is without an end. Units:
    /// tokens.
    pub tokens_max: Option<usize>,
    /// Most tokens of reasoning, as [`crate::Reasoning::budget`], of which the smaller counts. Units: tokens.
    pub reasoning_budget: Option<u32>,
    /// Tokens of `tokens_max` that reasoning leaves to the body of the answer or call. None is a part of
    /// them: a quarter, at least [`ANSWER_TOKENS_MIN`] and at most [`ANSWER_TOKENS_MAX`]. Units: tokens.
    pub answer_tokens: Option<usize>,
    /// Whether reasoning that repeats itself is ended.
    pub breaks_loops: bool,
}

/// What was ended before the model had ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Reasoning: its budget was used up.
    Budget,
    /// Reasoning, or it never began: the tokens that were left are needed for the answer or call.
    KeptBack,
    /// Reasoning: it repeated itself.
    Loop,
    /// The answer or call: it was brought to its end because the room was.
    Closed,
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Budget => "the reasoning was ended: its budget of tokens was used up",
            Self::KeptBack => {
                "the reasoning was ended: the tokens that were left are kept for what comes after"
            }
            Self::Loop => "the reasoning was ended: it repeated itself",
            Self::Closed => "the text was closed early, so that it is whole within the limit of tokens",
        })
    }
}

impl Bounds {
    /// Tokens that are left after so many; None when there is no end.
    pub(crate) fn left(&self, num_tokens: usize) -> Option<usize> {
        self.tokens_max.map(|max| max.saturating_sub(num_tokens))
    }

    /// Tokens that reasoning leaves to what comes after it. Units: tokens.
    pub(crate) fn kept_back(&self) -> usize {
        let share = self.tokens_max.map_or(0, |max| max / ANSWER_SHARE);
        self.answer_tokens.unwrap_or(share.clamp(ANSWER_TOKENS_MIN, ANSWER_TOKENS_MAX))
    }
}
