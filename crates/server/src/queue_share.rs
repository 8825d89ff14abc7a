//! How much of a queue may one tenant take, the engine's or that of those who wait for a model?
//!
//! The engine lets tenants begin in turn, but its queue is one: whoever fills it keeps all others out. So a
//! tenant has a share of its places: the queue divided by the tenants that wait, itself among them, and one
//! more, who may come next. A request of a tenant of whom nothing waits is never refused here. Where
//! everybody is the same tenant there is nobody to keep room for, and no share.
//!
//! It does not know the queue itself, which has the last word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The turns that wait, by tenant.
#[derive(Debug)]
pub(crate) struct QueueShares {
    /// Of the queue; None shares nothing.
    num_places: Option<usize>,
    waiting: Mutex<HashMap<String, usize>>,
}

/// A turn that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    shares: Arc<QueueShares>,
    tenant: String,
}

/// The share is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{num_waiting} turns of this key's tenant wait already, and more are not in its share of the queue")]
pub(crate) struct ShareTaken {
    num_waiting: usize,
}

impl QueueShares {
    /// Of a queue with `num_places`; None: all is one tenant's.
    pub(crate) fn new(num_places: Option<usize>) -> QueueShares {
        QueueShares { num_places, waiting: Mutex::default() }
    }

    /// So many more turns of the tenant's wait.
    ///
    /// Errors: they are more than its share.
    pub(crate) fn enter(
        self: &Arc<QueueShares>,
        tenant: &str,
        num_turns: usize,
    ) -> Result<Vec<Waiting>, ShareTaken> {
        let mut waiting = self.lock();
        let num_waiting = waiting.get(tenant).copied().unwrap_or(0);
        let num_tenants = waiting.len() + usize::from(num_waiting == 0);
        if let Some(num_places) = self.num_places
            && num_waiting > 0
            && num_waiting + num_turns > num_places / (num_tenants + 1)
        {
            return Err(ShareTaken { num_waiting });
        }
        *waiting.entry(tenant.to_owned()).or_default() += num_turns;
        let one = || Waiting { shares: Arc::clone(self), tenant: tenant.to_owned() };
        Ok(std::iter::repeat_with(one).take(num_turns).collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.shares.lock();
        if let Some(count) = waiting.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(shares: &Arc<QueueShares>, tenant: &str) -> Vec<Waiting> {
        std::iter::from_fn(|| shares.enter(tenant, 1).ok()).take(100).flatten().collect()
    }

    #[test]
    fn a_tenant_leaves_room_for_the_next() {
        let shares = Arc::new(QueueShares::new(Some(12)));
        let (a, b, c) = (all(&shares, "a"), all(&shares, "b"), all(&shares, "c"));
        assert_eq!((a.len(), b.len(), c.len()), (6, 4, 3));
        drop((b, c));
        assert_eq!(shares.enter("a", 1).unwrap_err(), ShareTaken { num_waiting: 6 });
        drop(a);
        assert_eq!(all(&shares, "d").len(), 6, "what waits no more takes no place");
        assert!(shares.lock().is_empty());
        // Whoever has nothing there comes in, also with more at once than its share.
        let many: Vec<_> = (0..20).map(|n| shares.enter(&n.to_string(), 2).unwrap()).collect();
        assert!(shares.enter("0", 1).is_err());
        drop(many);
        assert!(shares.lock().is_empty());
    }

    #[test]
    fn one_tenant_alone_has_all() {
        assert_eq!(all(&Arc::new(QueueShares::new(None)), "a").len(), 100);
    }
}
