//! The requests that run, by the ids that routers gave them, and how far the worker has stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gptoss_engine::{Canceller, Tenant};
use tokio::sync::watch;

/// How far the worker has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// No new requests; those there are go on.
    Draining,
    /// Those there are end now, to be gone on with elsewhere.
    Ended,
}

/// A router's own name for a request: another router may give the same.
type Key = (Tenant, String);

/// All requests that run.
pub(crate) struct Running {
    known: Arc<Mutex<Known>>,
    phase: watch::Sender<Phase>,
    /// How many there are.
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Known {
    next: u64,
    /// A router may try a request again before it is known here that the first try is over.
    by_id: HashMap<Key, Vec<(u64, Canceller)>>,
}

impl Default for Running {
    fn default() -> Running {
        let (phase, count) = (watch::Sender::new(Phase::Open), watch::Sender::new(0));
        Running { known: Arc::default(), phase, count }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Keeps a request until what is given is dropped.
    pub(crate) fn enter(&self, tenant: &Tenant, id: &str, canceller: Canceller) -> Entered {
        let key = (tenant.clone(), id.to_owned());
        let mut known = lock(&self.known);
        let number = known.next;
        known.next += 1;
        known.by_id.entry(key.clone()).or_default().push((number, canceller));
        self.count.send_modify(|count| *count += 1);
        let (known, count) = (Arc::clone(&self.known), self.count.clone());
        Entered { known, count, key, number, phase: self.phase.subscribe() }
    }

    /// Ends a tenant's requests of an id with what they have. Those without an id are nobody's to end.
    pub(crate) fn abort(&self, tenant: &Tenant, id: &str) {
        if id.is_empty() {
            return;
        }
        let known = lock(&self.known);
        known
            .by_id
            .get(&(tenant.clone(), id.to_owned()))
            .into_iter()
            .flatten()
            .for_each(|(_, canceller)| canceller.cancel());
    }

    /// Goes on to a phase; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.phase.borrow() > Phase::Open
    }

    /// Tells of each phase.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Ready when none runs.
    pub(crate) async fn all_ended(&self) {
        // The sender is ours, so it never fails.
        let _ = self.count.subscribe().wait_for(|&count| count == 0).await;
    }
}

/// A request that runs.
pub(crate) struct Entered {
    known: Arc<Mutex<Known>>,
    count: watch::Sender<usize>,
    key: Key,
    number: u64,
    phase: watch::Receiver<Phase>,
}

impl Entered {
    /// Ready when the worker ends what still runs.
    pub(crate) async fn ended(&mut self) {
        if self.phase.wait_for(|&phase| phase == Phase::Ended).await.is_err() {
            // The worker is gone without having ended: then the engine says so.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        if let Some(entries) = known.by_id.get_mut(&self.key) {
            entries.retain(|(number, _)| *number != self.number);
            if entries.is_empty() {
                known.by_id.remove(&self.key);
            }
        }
        self.count.send_modify(|count| *count -= 1);
    }
}
