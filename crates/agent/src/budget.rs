//! How much a task may take.

use std::time::Duration;

/// The bounds of one run. Each is looked at before a turn, and the tokens and the time also end a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most turns of the model.
    pub steps_max: usize,
    /// Most tokens that it may write in all of them; None is no bound. Units: tokens.
    pub tokens_max: Option<usize>,
    /// Most time for turns and tools together; None is no bound.
    pub time_max: Option<Duration>,
}

impl Budget {
    /// Turns of the model where nobody says how many.
    pub const STEPS_DEFAULT: usize = 50;
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps_max: Budget::STEPS_DEFAULT, tokens_max: None, time_max: None }
    }
}
