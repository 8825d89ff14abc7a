//! What the tasks of batches share: the places for lines, and the signals by which they look up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What the tasks of batches share.
#[derive(Debug)]
pub(crate) struct BatchTasks {
    places: Arc<Semaphore>,
    /// Somebody changed the row of a batch.
    changed: watch::Sender<()>,
    /// What comes now is not kept.
    is_abandoned: watch::Sender<bool>,
    num_running: Arc<AtomicUsize>,
}

/// A place for a line; the line runs until it is dropped.
#[derive(Debug)]
pub(crate) struct LinePlace {
    num_running: Arc<AtomicUsize>,
    is_running: bool,
    /// None is a place that is never there.
    _place: Option<OwnedSemaphorePermit>,
}

impl BatchTasks {
    /// For so many lines at a time.
    pub(crate) fn new(lines_max: usize) -> BatchTasks {
        BatchTasks {
            places: Arc::new(Semaphore::new(lines_max)),
            changed: watch::Sender::new(()),
            is_abandoned: watch::Sender::new(false),
            num_running: Arc::default(),
        }
    }

    /// Has every task look at its row.
    pub(crate) fn have_changed(&self) {
        self.changed.send_replace(());
    }

    /// Sees when some row has changed.
    pub(crate) fn watch_changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Ends all tasks as they are: what their lines come to now is not kept.
    pub(crate) fn abandon(&self) {
        self.is_abandoned.send_replace(true);
    }

    /// Whether they are ended.
    pub(crate) fn is_abandoned(&self) -> bool {
        *self.is_abandoned.borrow()
    }

    /// Waits until they are.
    pub(crate) async fn abandoned(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.is_abandoned.subscribe().wait_for(|&is_abandoned| is_abandoned).await;
    }

    /// A place, in turn.
    pub(crate) async fn place(&self) -> LinePlace {
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        LinePlace { num_running: Arc::clone(&self.num_running), is_running: false, _place: place }
    }

    /// Lines that run.
    pub(crate) fn num_running(&self) -> usize {
        self.num_running.load(Ordering::Relaxed)
    }
}

impl LinePlace {
    /// The line begins.
    pub(crate) fn run(mut self) -> LinePlace {
        if !std::mem::replace(&mut self.is_running, true) {
            self.num_running.fetch_add(1, Ordering::Relaxed);
        }
        self
    }
}

impl Drop for LinePlace {
    fn drop(&mut self) {
        if self.is_running {
            self.num_running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
