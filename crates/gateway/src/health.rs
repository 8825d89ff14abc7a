//! How an upstream stands: a circuit breaker, a budget of retries, places.
//!
//! After so many failures in a row the circuit opens, and nobody is sent there until the cooldown is over.
//! Then one request tries it, while all others still go elsewhere; how that one begins decides for all. A
//! `retry-after` keeps everybody out for as long as it says. [`Breaker`] is plain data that is given the
//! time; [`Standing`] is the same behind a lock, and [`Visit`] a place at it that is given back whatever
//! happens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gptoss_api::usage::TokenUsage;

use crate::limits::{RETRIES_SAVED_MAX, RETRY_AFTER_MAX, RETRY_SHARE};
use crate::tally::{Figures, Tally, TryEnd};

/// A circuit breaker.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    /// Failures in a row.
    fails: u32,
    /// Nobody goes there before that.
    closed_until: Option<Instant>,
    /// Whether one request is trying it after a cooldown.
    is_probing: bool,
}

impl Breaker {
    /// For how long nobody goes there; a probe that runs is a second.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = self.closed_until?;
        if until > now {
            return Some(until - now);
        }
        self.is_probing.then_some(Duration::from_secs(1))
    }

    /// Goes there, if one may; whether as the one that tries it.
    pub fn enter(&mut self, now: Instant) -> Option<bool> {
        if self.closed_for(now).is_some() {
            return None;
        }
        self.is_probing = self.closed_until.is_some();
        Some(self.is_probing)
    }

    /// An answer has begun.
    pub fn begun(&mut self, is_probe: bool) {
        if is_probe {
            self.is_probing = false;
            self.closed_until = None;
        }
    }

    /// An answer has ended well.
    pub fn ended(&mut self) {
        self.fails = 0;
    }

    /// There was none, or it broke off.
    pub fn failed(&mut self, is_probe: bool, allowed: u32, cooldown: Duration, now: Instant) {
        self.fails = self.fails.saturating_add(1);
        if is_probe || self.fails >= allowed {
            self.is_probing = false;
            self.closed_until = Some(now + cooldown);
        }
    }

    /// It asks to be left alone for a while.
    pub fn hold(&mut self, is_probe: bool, wait: Duration, now: Instant) {
        if is_probe {
            self.is_probing = false;
        }
        let until = now + wait.min(RETRY_AFTER_MAX);
        self.closed_until = Some(self.closed_until.map_or(until, |other| other.max(until)));
    }

    /// Nobody waits for the answer any more.
    pub fn abandoned(&mut self, is_probe: bool) {
        if is_probe {
            self.is_probing = false;
        }
    }
}

/// Retries that may be made: a share of the requests, and a few that are saved up.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    saved: f64,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget { saved: RETRIES_SAVED_MAX }
    }
}

impl RetryBudget {
    /// A request was sent for the first time.
    pub fn first(&mut self) {
        self.saved = (self.saved + RETRY_SHARE).min(RETRIES_SAVED_MAX);
    }

    /// Whether one may be sent again.
    pub fn take(&mut self) -> bool {
        let may = self.saved >= 1.0;
        if may {
            self.saved -= 1.0;
        }
        may
    }
}

/// How an upstream stands, for all requests together.
#[derive(Debug, Default)]
pub struct Standing {
    state: Mutex<(Breaker, RetryBudget)>,
    in_flight: AtomicUsize,
    tally: Tally,
}

/// Bounds by which an upstream is judged.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures in a row after which it is left alone.
    pub allowed_fails: u32,
    /// For how long it is.
    pub cooldown: Duration,
    /// Most requests at a time.
    pub max_parallel: usize,
}

impl Standing {
    fn with<T>(&self, change: impl FnOnce(&mut Breaker, &mut RetryBudget) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (breaker, budget) = &mut *state;
        change(breaker, budget)
    }

    /// For how long nobody goes there.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        self.with(|breaker, _| breaker.closed_for(now))
    }

    /// Requests that it is answering.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What came of the requests to it, the upstream of that name.
    pub fn figures(&self, name: &str, now: Instant) -> Figures {
        Figures {
            name: name.to_owned(),
            in_flight: self.in_flight(),
            is_open: self.closed_for(now).is_some(),
            ..self.tally.figures()
        }
    }

    /// Whether a request may be sent again.
    pub fn may_retry(&self) -> bool {
        self.with(|_, budget| budget.take())
    }

    /// A place at it, if there is one.
    pub fn enter(self: &Arc<Self>, patience: Patience, is_first: bool, now: Instant) -> Option<Visit> {
        let took = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
            (number < patience.max_parallel).then_some(number + 1)
        });
        took.ok()?;
        let entered = self.with(|breaker, budget| {
            let is_probe = breaker.enter(now)?;
            if is_first {
                budget.first();
            }
            Some(is_probe)
        });
        let Some(is_probe) = entered else {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        let standing = Arc::clone(self);
        Some(Visit { standing, patience, is_probe, is_settled: false, has_begun: false, since: now })
    }
}

/// A request at an upstream. What is dropped without a word was abandoned by its client.
#[derive(Debug)]
pub struct Visit {
    standing: Arc<Standing>,
    patience: Patience,
    is_probe: bool,
    is_settled: bool,
    has_begun: bool,
    since: Instant,
}

impl Visit {
    /// An answer has begun.
    pub fn begun(&mut self) {
        self.standing.with(|breaker, _| breaker.begun(self.is_probe));
        self.is_probe = false;
        self.has_begun = true;
        self.standing.tally.began(self.since.elapsed());
    }

    /// It took so much.
    pub fn took(&self, tokens: TokenUsage) {
        self.standing.tally.took(tokens);
    }

    /// It ended well.
    pub fn ended(mut self) {
        if !self.has_begun {
            self.standing.tally.began(self.since.elapsed());
        }
        self.well(TryEnd::Answered);
    }

    /// The request itself was refused, which is an answer.
    pub fn refused(mut self) {
        self.well(TryEnd::Refused);
    }

    fn well(&mut self, end: TryEnd) {
        self.is_settled = true;
        self.standing.tally.ended(end);
        let is_probe = self.is_probe;
        self.standing.with(|breaker, _| {
            breaker.begun(is_probe);
            breaker.ended();
        });
    }

    /// There was none, or it broke off.
    pub fn failed(mut self) {
        self.is_settled = true;
        self.standing.tally.ended(if self.has_begun { TryEnd::Broken } else { TryEnd::Failed });
        let Patience { allowed_fails, cooldown, .. } = self.patience;
        let is_probe = self.is_probe;
        self.standing.with(|breaker, _| breaker.failed(is_probe, allowed_fails, cooldown, Instant::now()));
    }

    /// It asks to be left alone for a while.
    pub fn held(mut self, wait: Duration) {
        self.is_settled = true;
        self.standing.tally.ended(TryEnd::Limited);
        let is_probe = self.is_probe;
        self.standing.with(|breaker, _| breaker.hold(is_probe, wait, Instant::now()));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.standing.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.is_settled {
            self.standing.tally.ended(TryEnd::Abandoned);
            self.standing.with(|breaker, _| breaker.abandoned(self.is_probe));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(30);

    #[test]
    fn a_circuit_opens_and_one_tries_it_again() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(breaker.enter(start), Some(false));
            breaker.failed(false, 3, COOLDOWN, start);
        }
        assert_eq!(breaker.enter(start), None);
        assert_eq!(breaker.closed_for(start), Some(COOLDOWN));
        let later = start + COOLDOWN;
        assert_eq!(breaker.enter(later), Some(true), "one tries");
        assert_eq!(breaker.enter(later), None, "and nobody else");
        breaker.failed(true, 3, COOLDOWN, later);
        assert_eq!(breaker.enter(later + COOLDOWN / 2), None);
        let again = later + COOLDOWN;
        assert_eq!(breaker.enter(again), Some(true));
        breaker.begun(true);
        assert_eq!(breaker.enter(again), Some(false));
        breaker.ended();
        breaker.failed(false, 3, COOLDOWN, again);
        assert_eq!(breaker.enter(again), Some(false), "one failure of three");
    }

    #[test]
    fn a_probe_that_nobody_waits_for_lets_another_try() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        breaker.hold(false, Duration::from_secs(2), start);
        assert_eq!(breaker.enter(start), None);
        let later = start + Duration::from_secs(2);
        assert_eq!(breaker.enter(later), Some(true));
        breaker.abandoned(true);
        assert_eq!(breaker.enter(later), Some(true));
    }

    #[test]
    fn a_tenth_may_be_sent_again() {
        let mut budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..1000 {
            budget.first();
            retries += u32::from(budget.take());
        }
        assert!((100..=111).contains(&retries), "{retries}");
    }

    #[test]
    fn places_come_back() {
        let standing = Arc::new(Standing::default());
        let patience = Patience { allowed_fails: 1, cooldown: COOLDOWN, max_parallel: 1 };
        let visit = standing.enter(patience, true, Instant::now()).unwrap();
        assert!(standing.enter(patience, true, Instant::now()).is_none());
        drop(visit);
        assert_eq!(standing.in_flight(), 0);
        standing.enter(patience, true, Instant::now()).unwrap().failed();
        assert!(standing.enter(patience, true, Instant::now()).is_none());
        assert_eq!(standing.in_flight(), 0);
    }
}
