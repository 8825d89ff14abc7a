//! Do the engines turn? What a service manager's watchdog is fed with.
//!
//! A [`Pulse`] knocks at the engines in memory and looks whether each came round since it knocked before: an
//! engine that waits comes round because of the knock, one that computes at the end of its step. Nothing here
//! is alive by itself, so a process whose engine stands still, whose lock is never given back or whose
//! runtime has no thread to spare is not.

use tokio::sync::watch;

use crate::model_host::Engines;
use crate::state::App;

/// How often the thread of each model's engine came round; None has none, or no card.
type Rounds = Vec<(usize, Option<u64>)>;

/// Whether the engines turn, seen from one look to the next.
pub struct Pulse {
    engines: Engines,
    is_stopping: watch::Receiver<bool>,
    before: Rounds,
}

impl Pulse {
    /// Whether each engine came round since the look before. While the server stops engines end, and whoever
    /// waits for that has a limit of its own: it is alive.
    pub fn beats(&mut self) -> bool {
        let now = self.engines.knock();
        let beats = all_turn(&self.before, &now) || *self.is_stopping.borrow();
        self.before = now;
        beats
    }
}

/// A model that was not in memory before has until the next look.
fn all_turn(before: &[(usize, Option<u64>)], now: &[(usize, Option<u64>)]) -> bool {
    now.iter().all(|at| at.1.is_some() && !before.contains(at))
}

impl App {
    /// For a watchdog outside.
    pub fn pulse(&self) -> Pulse {
        Pulse { engines: self.models.engines(), is_stopping: self.watch_stop(), before: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_engine_that_stands_still_is_enough() {
        let check = |before: &[(usize, Option<u64>)], now: &[(usize, Option<u64>)], expected: bool| {
            assert_eq!(all_turn(before, now), expected, "{before:?} {now:?}");
        };
        check(&[], &[], true);
        check(&[], &[(0, Some(7))], true);
        check(&[(0, Some(7))], &[(0, Some(8))], true);
        check(&[(0, Some(7))], &[(0, Some(7))], false);
        check(&[(0, Some(7)), (2, Some(1))], &[(0, Some(7)), (2, Some(4))], false);
        check(&[(0, Some(7))], &[(2, Some(7))], true);
        check(&[(0, Some(7))], &[(0, None)], false);
        check(&[], &[(0, None)], false);
        check(&[(0, Some(7))], &[], true);
    }
}
