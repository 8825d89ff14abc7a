//! The way of one request's events from the engine to whoever waits for them.
//!
//! Entry points: [`Stream`], shared by the engine's `EventSender` and the caller's `EventStream`. It is a
//! bounded queue with one extra place that only the last event may take, so that the end always fits; what is
//! pushed after it is dropped. A reader can block, block for a while, or be a future: the standard library's
//! lock, condition and waker are all there is, so this room needs no runtime and the engine never waits for a
//! reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits::EVENTS_QUEUED_MAX;
use crate::request::Event;

/// The events of one request on their way.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    state: Mutex<State>,
    arrived: Condvar,
    is_cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    has_ended: bool,
    waker: Option<Waker>,
}

/// As many events wait as are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What a reader that waited for a while met.
#[derive(Debug, Clone, PartialEq)]
pub enum TimedRecv {
    /// An event.
    Event(Event),
    /// Nothing yet.
    Nothing,
    /// The last event was read before.
    End,
}

impl Stream {
    /// Adds an event that is not the last. After the end it is dropped.
    pub(crate) fn push(&self, event: Event) -> Result<(), Full> {
        let mut state = self.lock();
        if state.has_ended {
            return Ok(());
        }
        if state.events.len() >= EVENTS_QUEUED_MAX {
            return Err(Full);
        }
        state.events.push_back(event);
        self.wake(state);
        Ok(())
    }

    /// Adds the last event. False when there was one already: this one is dropped.
    pub(crate) fn end(&self, event: Event) -> bool {
        let mut state = self.lock();
        if state.has_ended {
            return false;
        }
        state.has_ended = true;
        state.events.push_back(event);
        self.wake(state);
        true
    }

    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// Waits for the next event; None after the last.
    pub(crate) fn next(&self) -> Option<Event> {
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            if state.has_ended {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next event, but not longer than `patience`.
    pub(crate) fn next_within(&self, patience: Duration) -> TimedRecv {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return TimedRecv::Event(event);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.has_ended {
                return TimedRecv::End;
            }
            if left.is_zero() {
                return TimedRecv::Nothing;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next event for a future; ready with None after the last.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.has_ended {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
