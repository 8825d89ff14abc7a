//! How many requests are received, read and compiled at a time, before the engine's queue bounds them.
//!
//! A place is taken before the message is received and kept until the request is handed in, also when its
//! client has gone meanwhile. One whose form has to be compiled, which may wait for others, gives it back for
//! a place of another kind, so that forms never keep plain requests from being read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Error;
use crate::limits::Limits;

/// The places.
pub(crate) struct Reading {
    reading: Arc<Semaphore>,
    wait: Duration,
    compiling: Arc<Semaphore>,
    limits: Limits,
}

/// A request is read, until it is dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Reading {
    pub(crate) fn new(limits: Limits) -> Reading {
        let places = |count| Arc::new(Semaphore::new(count));
        let (reading, compiling) = (places(limits.reading), places(limits.compiling));
        Reading { reading, wait: limits.reading_wait, compiling, limits }
    }

    /// A place to be read in; waits for one.
    ///
    /// Errors: `Busy`.
    pub(crate) async fn enter(&self) -> Result<Place, Error> {
        let permit = timeout(self.wait, Arc::clone(&self.reading).acquire_owned()).await;
        let busy = || Error::Busy { num: self.limits.reading, what: "requests are being read" };
        Ok(Place { _permit: permit.ok().and_then(Result::ok).ok_or_else(busy)? })
    }

    /// A place to be compiled in, instead of one to be read in.
    ///
    /// Errors: `Busy`.
    pub(crate) fn compile(&self, _read: Place) -> Result<Place, Error> {
        let permit = Arc::clone(&self.compiling).try_acquire_owned();
        let busy = |_| Error::Busy { num: self.limits.compiling, what: "forms are being compiled" };
        Ok(Place { _permit: permit.map_err(busy)? })
    }
}
