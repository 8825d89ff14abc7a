//! How is a response read while it is being written, by whoever comes?
//!
//! A response is written by a task of its own into a [`Live`] log of events; streams read the log from any number on, a request without a
//! stream waits for its end, and a second client may take up where the first was cut off. So the writer never waits for a reader, and
//! what each reader sees is the same. [`LiveResponses`] knows those that are not finished and those just finished.
//!
//! It does not know what the events say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::wire::response_events::Numbered;
use crate::wire::responses::ResponseObject;

/// A response that is being written.
#[derive(Debug)]
pub(crate) struct Live {
    /// Whose it is.
    pub(crate) tenant: String,
    /// Whether it goes on when nobody reads.
    pub(crate) is_background: bool,
    events: Mutex<Log>,
    /// Number of events, and whether there will be more.
    progress: watch::Sender<(usize, bool)>,
    cancel: watch::Sender<bool>,
}

#[derive(Debug)]
struct Log {
    events: Vec<Arc<Numbered>>,
    /// The object after the last event.
    response: ResponseObject,
}

impl Live {
    /// Before the first event.
    pub(crate) fn new(tenant: String, response: ResponseObject) -> Live {
        Live {
            tenant,
            is_background: response.background,
            events: Mutex::new(Log { events: Vec::new(), response }),
            progress: watch::Sender::new((0, false)),
            cancel: watch::Sender::new(false),
        }
    }

    /// Appends events and the object as it is after them.
    pub(crate) fn append(&self, events: Vec<Numbered>, response: &ResponseObject) {
        let mut log = self.lock();
        log.events.extend(events.into_iter().map(Arc::new));
        if log.response.status != response.status || log.response.output.len() != response.output.len() {
            log.response = response.clone();
        }
        let count = log.events.len();
        drop(log);
        self.progress.send_modify(|progress| progress.0 = count);
    }

    /// No more events will come; `response` is the whole object.
    pub(crate) fn end(&self, response: ResponseObject) {
        self.lock().response = response;
        self.progress.send_modify(|progress| progress.1 = true);
    }

    /// Asks the writer to stop.
    pub(crate) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// Waits until somebody asks the writer to stop.
    pub(crate) async fn cancelled(&self) {
        let mut cancel = self.cancel.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = cancel.wait_for(|&is_cancelled| is_cancelled).await;
    }

    /// The object as it is.
    pub(crate) fn response(&self) -> ResponseObject {
        self.lock().response.clone()
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Arc<Numbered>> {
        self.lock().events.clone()
    }

    /// Waits for the end, and gives the whole object.
    pub(crate) async fn whole(&self) -> ResponseObject {
        let _ = self.progress.subscribe().wait_for(|progress| progress.1).await;
        self.response()
    }

    /// Event number `index`, when it is there; None when there is none and will be none.
    pub(crate) async fn event(&self, index: usize) -> Option<Arc<Numbered>> {
        let mut progress = self.progress.subscribe();
        let _ = progress.wait_for(|&(count, is_over)| index < count || is_over).await;
        self.lock().events.get(index).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the writer when the only reader goes away, unless it works in the background.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Arc<Live>);

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.0.is_background {
            self.0.cancel();
        }
    }
}

/// Responses that are being written.
#[derive(Debug, Default)]
pub(crate) struct LiveResponses(Mutex<HashMap<String, Arc<Live>>>);

impl LiveResponses {
    /// The tenant's response of that id.
    pub(crate) fn find(&self, tenant: &str, id: &str) -> Option<Arc<Live>> {
        self.lock().get(id).filter(|live| live.tenant == tenant).cloned()
    }

    /// One more.
    pub(crate) fn insert(&self, id: String, live: Arc<Live>) {
        self.lock().insert(id, live);
    }

    /// It is finished, and kept elsewhere if it is to be.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Those that nobody waits for.
    pub(crate) fn num_background(&self) -> usize {
        self.lock().values().filter(|live| live.is_background).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
