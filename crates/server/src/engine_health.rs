//! Whether the model still computes anything.
//!
//! Weights that were damaged while they serve (a file overwritten, a disk that fails) make every answer fail
//! with numbers that are not finite, and only a restart with whole ones helps. One failure may be the
//! request's; several in a row, with no turn between them that ended well, are the model's.

use std::sync::atomic::{AtomicU32, Ordering};

use gptoss_turn::Failure;

/// So many failures in a row are not by chance.
const FAILURES_MIN: u32 = 3;

/// What the last turns came to.
#[derive(Debug, Default)]
pub(crate) struct EngineHealth {
    /// Turns in a row whose numbers were not finite.
    num_failures: AtomicU32,
}

impl EngineHealth {
    /// A turn ended well.
    pub(crate) fn ended(&self) {
        self.num_failures.store(0, Ordering::Relaxed);
    }

    /// A turn failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        if matches!(failure, Failure::NotFinite { .. }) {
            self.num_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether no turn can be expected to end well.
    pub(crate) fn is_failing(&self) -> bool {
        self.num_failures.load(Ordering::Relaxed) >= FAILURES_MIN
    }
}
