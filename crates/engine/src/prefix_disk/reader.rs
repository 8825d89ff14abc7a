//! The thread that reads kept places, so that no step waits for a disk.
//!
//! Entry points: [`Reader::order`], which never waits, and [`Reader::take`]. What is ordered is bounded, and
//! only one place is read ahead of the engine, because a place may be as large as its prompt. Every order
//! that is not forgotten is answered once, with nothing when reading fails in whatever way.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use super::{Files, OnDisk, PlaceBytes};
use crate::limits::FETCH_TIME_MAX;
use crate::request::Owner;

/// Orders that wait to be read at most; a request that finds no place computes its prompt.
const ORDERS_MAX: usize = 32;

/// A place to read.
#[derive(Debug)]
pub(super) struct Order {
    /// The request that waits for it.
    pub(super) id: u64,
    /// Whose place it is.
    pub(super) owner: Owner,
    pub(super) place: OnDisk,
    /// The tokens of the place.
    pub(super) tokens: Vec<u32>,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The request that waits for it.
    pub(crate) id: u64,
    /// Whose place it is.
    pub(crate) owner: Owner,
    /// The tokens of the place.
    pub(crate) tokens: Vec<u32>,
    /// None when a file was not what it should be.
    pub(crate) bytes: Option<PlaceBytes>,
}

/// The thread's end of the queue, and ours.
pub(super) struct Reader {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    reading: Option<Reading>,
    fetched: Option<Fetched>,
    is_over: bool,
    #[cfg(test)]
    is_paused: bool,
}

/// What the thread is at.
struct Reading {
    id: u64,
    since: Instant,
    /// Whether its request still waits.
    is_wanted: bool,
}

impl State {
    /// Whether the next order may be read.
    fn is_ready(&self) -> bool {
        #[cfg(test)]
        if self.is_paused {
            return false;
        }
        self.fetched.is_none() && !self.orders.is_empty()
    }
}

impl Reader {
    pub(super) fn start(files: Files) -> io::Result<Reader> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let work = move || {
            while let Some(order) = theirs.next() {
                let read = catch_unwind(AssertUnwindSafe(|| files.read(&order.place, &order.tokens)));
                let Order { id, owner, tokens, .. } = order;
                theirs.done(Fetched { id, owner, tokens, bytes: read.ok().flatten() });
            }
        };
        let thread = thread::Builder::new().name("kv disk reader".to_owned()).spawn(work)?;
        Ok(Reader { queue, thread: Some(thread) })
    }

    /// Orders a place. False when too many wait, or the disk is stuck.
    pub(super) fn order(&self, order: Order) -> bool {
        let mut state = self.queue.lock();
        let is_stuck = state.reading.as_ref().is_some_and(|reading| reading.since.elapsed() > FETCH_TIME_MAX);
        if is_stuck || state.orders.len() >= ORDERS_MAX {
            return false;
        }
        state.orders.push_back(order);
        self.queue.changed.notify_all();
        true
    }

    /// Forgets the orders of a request, and what was or is being read for it.
    pub(super) fn forget(&self, id: u64) {
        let mut state = self.queue.lock();
        state.orders.retain(|order| order.id != id);
        if let Some(reading) = state.reading.as_mut().filter(|reading| reading.id == id) {
            reading.is_wanted = false;
        }
        if state.fetched.as_ref().is_some_and(|fetched| fetched.id == id) {
            state.fetched = None;
            self.queue.changed.notify_all();
        }
    }

    /// The next place that was read; waits for it up to `patience`.
    pub(super) fn take(&self, patience: Duration) -> Option<Fetched> {
        let until = Instant::now() + patience;
        let mut state = self.queue.lock();
        loop {
            if let Some(fetched) = state.fetched.take() {
                self.queue.changed.notify_all();
                return Some(fetched);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether something was read that nobody has taken.
    #[cfg(test)]
    pub(super) fn has_fetched(&self) -> bool {
        self.queue.lock().fetched.is_some()
    }

    /// Reads nothing until it is told otherwise.
    #[cfg(test)]
    pub(super) fn pause(&self, is_paused: bool) {
        self.queue.lock().is_paused = is_paused;
        self.queue.changed.notify_all();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.lock().is_over = true;
        self.queue.changed.notify_all();
        if let Some(thread) = mem::take(&mut self.thread) {
            // Its panics were caught, and nobody waits for what it read.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an order that may be read; None when there will be no more.
    fn next(&self) -> Option<Order> {
        let mut state = self.lock();
        while !state.is_over && !state.is_ready() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let order = if state.is_over { None } else { state.orders.pop_front() }?;
        state.reading = Some(Reading { id: order.id, since: Instant::now(), is_wanted: true });
        Some(order)
    }

    /// An order was read; what nobody wants any more is dropped.
    fn done(&self, fetched: Fetched) {
        let mut state = self.lock();
        let is_wanted = state.reading.take().is_some_and(|reading| reading.is_wanted);
        state.fetched = Some(fetched).filter(|_| is_wanted);
        self.changed.notify_all();
    }
}
