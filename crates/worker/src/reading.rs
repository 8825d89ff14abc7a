//! How many requests are received, read and compiled at a time, before the engine's queue bounds them.
//!
//! A place is taken before the message is received and kept until the request is handed in, also when its
//! client has gone meanwhile. One whose form has to be compiled, which may wait for others, gives it back for
//! a place of another kind, so that forms never keep plain requests from being read. A tenant has at most
//! half of each kind, rounded up, so that others get in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gptoss_engine::Tenant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::limits::Limits;

/// The places.
pub(crate) struct Reading {
    all: Kinds,
    shares: Mutex<HashMap<Tenant, Arc<Kinds>>>,
    limits: Limits,
}

/// Places of both kinds.
struct Kinds {
    reading: Arc<Semaphore>,
    compiling: Arc<Semaphore>,
}

/// A request is read, until it is dropped.
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    share: Arc<Kinds>,
}

impl Kinds {
    fn new(reading: usize, compiling: usize) -> Kinds {
        let places = |count| Arc::new(Semaphore::new(count));
        Kinds { reading: places(reading), compiling: places(compiling) }
    }
}

/// What one tenant may have of so many places.
fn half(places: usize) -> usize {
    places.div_ceil(2)
}

impl Reading {
    pub(crate) fn new(limits: Limits) -> Reading {
        Reading { all: Kinds::new(limits.reading, limits.compiling), shares: Mutex::default(), limits }
    }

    /// A tenant's share, which is forgotten when nobody has or waits for a place of it.
    fn share(&self, tenant: &Tenant) -> Arc<Kinds> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = || Arc::new(Kinds::new(half(self.limits.reading), half(self.limits.compiling)));
        Arc::clone(shares.entry(tenant.clone()).or_insert_with(share))
    }

    /// A place of a tenant's to be read in; waits for one.
    ///
    /// Errors: `Busy`.
    pub(crate) async fn enter(&self, tenant: &Tenant) -> Result<Place, Error> {
        let until = Instant::now() + self.limits.reading_wait;
        let place = async |places: &Arc<Semaphore>, num, what| {
            let permit = timeout_at(until, Arc::clone(places).acquire_owned()).await;
            permit.ok().and_then(Result::ok).ok_or(Error::Busy { num, what })
        };
        let share = self.share(tenant);
        let own = place(&share.reading, half(self.limits.reading), "requests of this router are being read");
        let own = own.await?;
        let of_all = place(&self.all.reading, self.limits.reading, "requests are being read").await?;
        Ok(Place { _own: own, _of_all: of_all, share })
    }

    /// A place to be compiled in, instead of one to be read in.
    ///
    /// Errors: `Busy`.
    pub(crate) fn compile(&self, read: Place) -> Result<Place, Error> {
        let place = |places: &Arc<Semaphore>, num, what| {
            Arc::clone(places).try_acquire_owned().map_err(|_| Error::Busy { num, what })
        };
        let (share, num) = (read.share, self.limits.compiling);
        let own = place(&share.compiling, half(num), "forms of this router are being compiled")?;
        let of_all = place(&self.all.compiling, num, "forms are being compiled")?;
        Ok(Place { _own: own, _of_all: of_all, share })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One router that sent nothing in all places kept every other out.
    #[tokio::test]
    async fn a_tenant_has_half_and_others_get_in() {
        let limits = Limits { reading: 4, compiling: 2, reading_wait: Duration::ZERO, ..Limits::default() };
        let reading = Reading::new(limits);
        let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
        let is_busy = |place: Result<Place, Error>| matches!(place, Err(Error::Busy { .. }));
        let first = reading.enter(&a).await.expect("a place");
        let second = reading.enter(&a).await.expect("a place");
        assert!(is_busy(reading.enter(&a).await));
        let other = reading.enter(&b).await.expect("the other's place");
        let compiled = reading.compile(first).expect("a place");
        assert!(is_busy(reading.compile(second)), "its half");
        let other = reading.compile(other).expect("the other's place");
        assert!(is_busy(reading.compile(reading.enter(&b).await.expect("a place"))));
        drop((compiled, other));
        let again = reading.enter(&a).await.expect("all are free");
        reading.compile(again).expect("all are free");
        reading.share(&b);
        assert_eq!(reading.shares.lock().expect("no panic").len(), 1, "shares of nobody are forgotten");
    }
}
