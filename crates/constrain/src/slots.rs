//! Who may compile now, and who waits.
//!
//! Compilations cost time and memory beyond what an ordinary request does, so few run at once:
//! [`Slots::take`] waits for one of a fixed number. Each tenant has part of the slots at most and part of the
//! line, so that one tenant's grammars never keep another's from being compiled. Among those that may go, the
//! one that came first goes first. A slot is given back when it is dropped, also by a panic.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The slots of a process.
pub(crate) struct Slots {
    counts: Counts,
    state: Mutex<State>,
    changed: Condvar,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// That are taken at once.
    pub(crate) taken: usize,
    /// Of them by one tenant.
    pub(crate) taken_of_tenant: usize,
    /// That wait in line.
    pub(crate) waiting: usize,
    /// Of them of one tenant.
    pub(crate) waiting_of_tenant: usize,
}

struct State {
    /// Tenants of the slots that are taken.
    taken: Vec<String>,
    /// Those that wait, by arrival.
    waiting: VecDeque<(u64, String)>,
    num_arrived: u64,
}

/// One of the slots, until it is dropped.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    tenant: String,
}

impl Slots {
    pub(crate) const fn new(counts: Counts) -> Self {
        let state = State { taken: Vec::new(), waiting: VecDeque::new(), num_arrived: 0 };
        Self { counts, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a slot, but not longer than `patience`; None when there is none by then, or the line is
    /// full.
    pub(crate) fn take(&self, tenant: &str, patience: Duration) -> Option<Slot<'_>> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        let ticket = state.num_arrived;
        state.num_arrived += 1;
        state.waiting.push_back((ticket, tenant.to_owned()));
        // Whoever can go at once was never in the line.
        if self.next(&state) != Some(ticket) && self.is_over_full(&state, tenant) {
            state.waiting.pop_back();
            return None;
        }
        loop {
            if self.next(&state) == Some(ticket) {
                state.waiting.retain(|(other, _)| *other != ticket);
                state.taken.push(tenant.to_owned());
                self.changed.notify_all();
                return Some(Slot { slots: self, tenant: tenant.to_owned() });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.waiting.retain(|(other, _)| *other != ticket);
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the line, with the last that came, is longer than it may be for the tenant.
    fn is_over_full(&self, state: &State, tenant: &str) -> bool {
        let of_tenant = state.waiting.iter().filter(|(_, other)| other == tenant).count();
        state.waiting.len() > self.counts.waiting || of_tenant > self.counts.waiting_of_tenant
    }

    /// The first in the line whose tenant may have another slot, if there is a slot.
    fn next(&self, state: &State) -> Option<u64> {
        if state.taken.len() >= self.counts.taken {
            return None;
        }
        let held = |tenant: &str| state.taken.iter().filter(|other| *other == tenant).count();
        let mut waiting = state.waiting.iter();
        waiting.find(|(_, tenant)| held(tenant) < self.counts.taken_of_tenant).map(|(ticket, _)| *ticket)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        if let Some(place) = state.taken.iter().position(|tenant| *tenant == self.tenant) {
            state.taken.swap_remove(place);
        }
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(600);

    fn slots(taken: usize, taken_of_tenant: usize, waiting: usize, waiting_of_tenant: usize) -> Slots {
        Slots::new(Counts { taken, taken_of_tenant, waiting, waiting_of_tenant })
    }

    /// All slots could be held by one tenant, whose requests then got everybody else's refused.
    #[test]
    fn one_tenant_cannot_hold_all_slots() {
        let slots = slots(3, 2, 8, 8);
        let (first, _second) = (slots.take("a", NOW), slots.take("a", NOW));
        assert!(first.is_some() && slots.take("a", NOW).is_none(), "its share is used up");
        let other = slots.take("b", NOW);
        assert!(other.is_some(), "another tenant still gets one");
        assert!(slots.take("c", NOW).is_none(), "all are taken");
        drop(first);
        assert!(slots.take("a", NOW).is_some());
    }

    /// Honest requests that came at the same moment were refused at once.
    #[test]
    fn who_finds_no_slot_waits_in_line() {
        let slots = slots(1, 1, 1, 1);
        let held = slots.take("a", NOW).expect("free");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| slots.take("a", LONG).is_some());
            while slots.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            assert!(slots.take("b", LONG).is_none(), "the line is full");
            drop(held);
            assert!(waits.join().expect("does not panic"));
        });
        let state = slots.lock();
        assert_eq!((state.taken.len(), state.waiting.len()), (0, 0));
    }

    /// One tenant's requests filled the line, and everybody else's were refused.
    #[test]
    fn one_tenant_cannot_fill_the_line() {
        let slots = slots(1, 1, 4, 2);
        let held = slots.take("a", NOW).expect("free");
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..2).map(|_| scope.spawn(|| slots.take("a", LONG).is_some())).collect();
            while slots.lock().waiting.len() < 2 {
                std::thread::yield_now();
            }
            assert!(slots.take("a", LONG).is_none(), "its part of the line is full");
            let other = scope.spawn(|| slots.take("b", LONG).is_some());
            while slots.lock().waiting.len() < 3 && !other.is_finished() {
                std::thread::yield_now();
            }
            drop(held);
            assert!(other.join().expect("does not panic"), "another tenant waits and gets its turn");
            assert!(waits.into_iter().all(|waits| waits.join().expect("does not panic")));
        });
    }
}
