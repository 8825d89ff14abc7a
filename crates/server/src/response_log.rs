//! Responses that are being written, and their logs of events.
//!
//! A response is written by a task of its own into a [`ResponseLog`] of events; streams read the log from any
//! number on, a request without a stream waits for its end, and a second client may take up where the first
//! was cut off. The writer never waits for a reader, and what each reader sees is the same. An event is put
//! into its bytes once, whoever reads it and how often. A log that grows too long loses its oldest events; a
//! reader that has not had them is told so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::history::Entry;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::wire::responses::ResponseObject;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::access_log::Spent;
use crate::limits::EVENT_LOG_BYTES_MAX;
use crate::narrowing::{narrowed_event, text};
use crate::sse::framed;

/// A response that is being written.
#[derive(Debug)]
pub(crate) struct ResponseLog {
    /// Whose it is.
    pub(crate) tenant: String,
    /// Whether it goes on when nobody reads.
    pub(crate) is_background: bool,
    /// What it took.
    pub(crate) spent: Spent,
    /// Why it failed.
    failure: OnceLock<ApiError>,
    /// Everything said up to its end, if it is not stored.
    entries: Mutex<Option<Vec<Entry>>>,
    events: Mutex<Log>,
    /// Number of events, and whether there will be more.
    progress: watch::Sender<(usize, bool)>,
    cancel: watch::Sender<bool>,
}

/// An event as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    bytes: Bytes,
    /// Where the JSON begins.
    json_at: usize,
}

impl Line {
    /// The bytes of an event.
    pub(crate) fn new(event: &Numbered) -> Line {
        Line::of(event.event.name(), event)
    }

    fn of(name: &str, event: &impl Serialize) -> Line {
        let (bytes, json_at) = framed(name, event);
        Line { bytes: bytes.into(), json_at }
    }

    /// The event as a reader may see it who sees no more than `visibility`; None when it sees nothing of it.
    pub(crate) fn narrowed(self, visibility: Visibility) -> Option<Line> {
        if visibility == Visibility::Raw {
            return Some(self);
        }
        let event: Value = serde_json::from_slice(self.json()).ok()?;
        let event = narrowed_event(event, visibility)?;
        Some(Line::of(text(&event, "type").unwrap_or_default(), &event))
    }

    /// For a stream.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// For the store.
    pub(crate) fn json(&self) -> &[u8] {
        &self.bytes[self.json_at..self.bytes.len() - 2]
    }
}

/// What a reader of the log finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// An event.
    Event(Line),
    /// It was there, and is no more.
    Dropped,
    /// There is none and will be none.
    End,
}

#[derive(Debug)]
struct Log {
    /// Number of the oldest event that is there.
    first: usize,
    lines: VecDeque<Line>,
    /// Of all lines.
    num_bytes: usize,
    /// The object after the last event.
    response: ResponseObject,
}

impl Log {
    /// Makes room: what is appended next stays whole, whatever its size, so that a reader who keeps up loses
    /// nothing.
    fn drop_oldest(&mut self, bytes_max: usize) {
        while self.num_bytes > bytes_max
            && let Some(line) = self.lines.pop_front()
        {
            self.num_bytes -= line.bytes.len();
            self.first += 1;
        }
    }
}

impl ResponseLog {
    /// Before the first event; what it took will be told in `spent`.
    pub(crate) fn new(tenant: String, response: ResponseObject, spent: Spent) -> ResponseLog {
        ResponseLog {
            tenant,
            is_background: response.background,
            spent,
            failure: OnceLock::new(),
            entries: Mutex::new(None),
            events: Mutex::new(Log { first: 0, lines: VecDeque::new(), num_bytes: 0, response }),
            progress: watch::Sender::new((0, false)),
            cancel: watch::Sender::new(false),
        }
    }

    /// Appends events and the object as it is after them.
    pub(crate) fn append(&self, events: &[Numbered], response: &ResponseObject) {
        let lines: Vec<Line> = events.iter().map(Line::new).collect();
        let mut log = self.lock();
        log.drop_oldest(EVENT_LOG_BYTES_MAX);
        log.num_bytes += lines.iter().map(|line| line.bytes.len()).sum::<usize>();
        log.lines.extend(lines);
        if log.response.status != response.status || log.response.output.len() != response.output.len() {
            log.response = response.clone();
        }
        let count = log.first + log.lines.len();
        drop(log);
        self.progress.send_modify(|progress| progress.0 = count);
    }

    /// No more events will come; `response` is the whole object.
    pub(crate) fn end(&self, response: ResponseObject) {
        self.lock().response = response;
        self.progress.send_modify(|progress| progress.1 = true);
    }

    /// It has failed; the end comes yet.
    pub(crate) fn fail(&self, error: ApiError) {
        let _ = self.failure.set(error);
    }

    /// Why it has failed, if it has.
    pub(crate) fn failure(&self) -> Option<ApiError> {
        self.failure.get().cloned()
    }

    /// Keeps everything said for who goes on from it without the store.
    pub(crate) fn keep(&self, entries: Vec<Entry>) {
        *self.entries.lock().unwrap_or_else(PoisonError::into_inner) = Some(entries);
    }

    /// Everything said, if it is not stored and was not taken.
    pub(crate) fn take_entries(&self) -> Option<Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether no more events will come.
    pub(crate) fn is_over(&self) -> bool {
        self.progress.borrow().1
    }

    /// Asks the writer to stop.
    pub(crate) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// Whether somebody has asked the writer to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
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

    /// All events so far; None when some of them are no longer there.
    pub(crate) fn events(&self) -> Option<Vec<Line>> {
        let log = self.lock();
        (log.first == 0).then(|| log.lines.iter().cloned().collect())
    }

    /// Waits for the end, and gives the whole object.
    pub(crate) async fn whole(&self) -> ResponseObject {
        let _ = self.progress.subscribe().wait_for(|progress| progress.1).await;
        self.response()
    }

    /// Event number `index`, when it is there.
    pub(crate) async fn event(&self, index: usize) -> Found {
        let mut progress = self.progress.subscribe();
        let _ = progress.wait_for(|&(count, is_over)| index < count || is_over).await;
        let log = self.lock();
        match index.checked_sub(log.first) {
            None => Found::Dropped,
            Some(index) => log.lines.get(index).map_or(Found::End, |line| Found::Event(line.clone())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the writer when the only reader goes away, unless it works in the background.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(pub(crate) Arc<ResponseLog>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if !self.0.is_background {
            self.0.cancel();
        }
    }
}

/// Responses that are being written.
#[derive(Debug)]
pub(crate) struct LiveResponses {
    by_id: Mutex<HashMap<String, Arc<ResponseLog>>>,
    background_places: Arc<Semaphore>,
}

impl LiveResponses {
    /// None yet, and places for `background_max` in the background.
    pub(crate) fn new(background_max: usize) -> LiveResponses {
        let places = Semaphore::new(background_max.min(Semaphore::MAX_PERMITS));
        LiveResponses { by_id: Mutex::default(), background_places: Arc::new(places) }
    }

    /// A place for a response in the background, to be held until it has ended; None when there is none.
    pub(crate) fn background_place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so an error is that all places are taken.
        Arc::clone(&self.background_places).try_acquire_owned().ok()
    }

    /// The tenant's response of that id.
    pub(crate) fn find(&self, tenant: &str, id: &str) -> Option<Arc<ResponseLog>> {
        self.lock().get(id).filter(|live| live.tenant == tenant).cloned()
    }

    /// One more.
    pub(crate) fn insert(&self, id: String, live: Arc<ResponseLog>) {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<ResponseLog>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use gptoss_api::wire::response_events::Event;

    fn object() -> ResponseObject {
        ResponseObject { id: "resp_1".to_owned(), ..ResponseObject::default() }
    }

    fn event(number: u64, bytes: usize) -> Numbered {
        let event =
            Event::ArgumentsDelta { item_id: "fc_1".into(), output_index: 0, delta: "x".repeat(bytes) };
        Numbered { event, sequence_number: number }
    }

    fn found(live: &ResponseLog, index: usize) -> Found {
        futures_util::FutureExt::now_or_never(live.event(index)).expect("it is there")
    }

    /// A log had no bound: twenty alternatives for each of 4096 tokens were hundreds of mebibytes of JSON
    /// trees.
    #[test]
    fn a_log_that_is_too_long_loses_its_oldest_events() {
        let live = ResponseLog::new("a".into(), object(), Spent::default());
        let half = EVENT_LOG_BYTES_MAX / 2;
        for number in 0..4 {
            live.append(&[event(number, half)], &object());
        }
        assert!(matches!((found(&live, 0), found(&live, 1)), (Found::Dropped, Found::Dropped)));
        assert!(matches!((found(&live, 2), found(&live, 3)), (Found::Event(_), Found::Event(_))));
        assert!(live.events().is_none());
        live.end(object());
        assert!(matches!(found(&live, 4), Found::End));
    }

    #[test]
    fn an_event_is_its_json_between_the_words_of_a_stream() {
        let live = ResponseLog::new("a".into(), object(), Spent::default());
        live.append(&[event(0, 1)], &object());
        let line = live.events().expect("all are there").remove(0);
        let text = String::from_utf8(line.bytes().to_vec()).unwrap();
        assert!(
            text.starts_with("event: response.function_call_arguments.delta\ndata: {")
                && text.ends_with("}\n\n")
        );
        let json: serde_json::Value = serde_json::from_slice(line.json()).unwrap();
        assert_eq!((&json["delta"], &json["sequence_number"]), (&json!("x"), &json!(0)));
    }
}
