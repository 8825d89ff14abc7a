//! Which blocks of prompts are kept, told to whoever sends requests to where their beginnings are.
//!
//! Entry point: [`kv_event_channel`]. The engine's end never waits: when [`KV_EVENT_BATCHES_MAX`] batches lie
//! there, further ones are lost and counted, their numbers with them, so that a gap is seen; when the queue
//! is empty again everything is told anew, after [`KvEvent::Cleared`]. Batches are numbered from 0 over all
//! engines that have been made of one sender.
//!
//! Only blocks of the layers that see everything are told. Those before which no place is kept cannot be gone
//! on from, so what a reader finds of a prompt is what is found here wherever the prompt parts from others at
//! a kept place, and more elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::limits::KV_EVENT_BATCHES_MAX;
use crate::request::Tenant;

/// What has happened to kept blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    /// Blocks are kept that were not.
    Stored {
        /// Of the new blocks, each of everything up to its end. Unique within an engine's life.
        hashes: Vec<u64>,
        /// The block before them; None at the beginning.
        parent: Option<u64>,
        /// The tokens of the new blocks, all of which are full.
        tokens: Vec<u32>,
        /// Whose they are.
        tenant: Tenant,
    },
    /// Blocks are not kept any more.
    Removed {
        /// Which, the last first.
        hashes: Vec<u64>,
    },
    /// Nothing is kept.
    Cleared,
}

/// What has happened within a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEventBatch {
    /// One more than that of the batch before, lost ones counted.
    pub number: u64,
    /// In order.
    pub events: Vec<KvEvent>,
}

/// What became of batches. Counters, and who listens now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvEventCounts {
    /// Batches that were handed over.
    pub batches: u64,
    /// Batches that were lost because the queue was full.
    pub lost: u64,
    /// Messages that a subscriber did not get because it read too slowly.
    pub late: u64,
    /// Subscribers that are connected.
    pub subscribers: usize,
}

impl KvEventCounts {
    /// Of two engines together.
    pub(crate) fn plus(&self, other: &KvEventCounts) -> KvEventCounts {
        KvEventCounts {
            batches: self.batches + other.batches,
            lost: self.lost + other.lost,
            late: self.late + other.late,
            subscribers: self.subscribers + other.subscribers,
        }
    }
}

/// What is counted beyond the engine, by whoever sends the batches on.
#[derive(Debug, Default)]
pub struct KvSubscribers {
    /// Messages that a subscriber did not get because it read too slowly.
    pub late: AtomicU64,
    /// Subscribers that are connected.
    pub connected: AtomicUsize,
}

/// The engines' end. Clones are for engines that are made one after the other: the numbers go on.
#[derive(Debug, Clone)]
pub struct KvEventSender {
    batches: SyncSender<KvEventBatch>,
    shared: Arc<Shared>,
}

/// The end of one engine; what it kept is gone when this is dropped, and that is told.
#[derive(Debug)]
pub(crate) struct KvTap {
    sender: KvEventSender,
    /// Whether something was lost since all was told.
    is_behind: bool,
}

/// The other end.
#[derive(Debug)]
pub struct KvEventReceiver {
    batches: Receiver<KvEventBatch>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    handed_over: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicUsize,
    subscribers: Arc<KvSubscribers>,
}

/// Both ends of a queue of at most [`KV_EVENT_BATCHES_MAX`] batches.
pub fn kv_event_channel() -> (KvEventSender, KvEventReceiver) {
    let (sender, receiver) = sync_channel(KV_EVENT_BATCHES_MAX);
    let shared = Arc::new(Shared::default());
    let ours = KvEventSender { batches: sender, shared: Arc::clone(&shared) };
    (ours, KvEventReceiver { batches: receiver, shared })
}

impl KvEventSender {
    pub(crate) fn tap(self) -> KvTap {
        KvTap { sender: self, is_behind: false }
    }
}

impl KvTap {
    /// Whether something was lost and there is room to tell everything.
    pub(crate) fn may_begin_anew(&mut self) -> bool {
        let may = self.is_behind && self.sender.shared.waiting.load(Ordering::Acquire) == 0;
        self.is_behind &= !may;
        may
    }

    /// Hands a batch over, unless it is empty; never waits.
    pub(crate) fn send(&mut self, events: Vec<KvEvent>) {
        if events.is_empty() {
            return;
        }
        let KvEventSender { batches, shared } = &self.sender;
        let batch = KvEventBatch { number: shared.next.fetch_add(1, Ordering::Relaxed), events };
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        // After a loss nothing that follows means anything before all is told anew.
        if !self.is_behind && batches.try_send(batch).is_ok() {
            shared.handed_over.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.waiting.fetch_sub(1, Ordering::AcqRel);
            shared.lost.fetch_add(1, Ordering::Relaxed);
            self.is_behind = true;
        }
    }

    pub(crate) fn counts(&self) -> KvEventCounts {
        let shared = &self.sender.shared;
        KvEventCounts {
            batches: shared.handed_over.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            late: shared.subscribers.late.load(Ordering::Relaxed),
            subscribers: shared.subscribers.connected.load(Ordering::Relaxed),
        }
    }
}

impl Drop for KvTap {
    fn drop(&mut self) {
        self.send(vec![KvEvent::Cleared]);
    }
}

impl KvEventReceiver {
    /// The next batch; None when no engine is left that could send one.
    pub fn recv(&self) -> Option<KvEventBatch> {
        let batch = self.batches.recv().ok()?;
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(batch)
    }

    /// Where the subscribers are counted, so that the engine's numbers have them.
    pub fn subscribers(&self) -> Arc<KvSubscribers> {
        Arc::clone(&self.shared.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_batches_with_their_numbers_and_begins_anew_when_it_is_empty() {
        let (sender, receiver) = kv_event_channel();
        let mut sender = sender.tap();
        sender.send(Vec::new());
        for _ in 0..KV_EVENT_BATCHES_MAX + 2 {
            assert!(!sender.may_begin_anew());
            sender.send(vec![KvEvent::Cleared]);
        }
        let counts = sender.counts();
        assert_eq!((counts.batches, counts.lost), (KV_EVENT_BATCHES_MAX as u64, 2));
        assert_eq!(receiver.recv().map(|batch| batch.number), Some(0));
        // There is room for this one, and it would mean nothing.
        assert!(!sender.may_begin_anew());
        sender.send(vec![KvEvent::Cleared]);
        for number in 1..KV_EVENT_BATCHES_MAX as u64 {
            assert_eq!(receiver.recv().map(|batch| batch.number), Some(number));
        }
        assert!(sender.may_begin_anew() && !sender.may_begin_anew());
        sender.send(vec![KvEvent::Cleared]);
        let next = receiver.recv().map(|batch| batch.number);
        assert_eq!(next, Some(KV_EVENT_BATCHES_MAX as u64 + 3));
        assert_eq!(sender.counts().lost, 3);
        drop(sender);
        assert_eq!(receiver.recv().map(|batch| batch.events), Some(vec![KvEvent::Cleared]));
        assert_eq!(receiver.recv(), None);
    }
}
