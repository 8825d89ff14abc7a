//! Which blocks of prompts are kept, told to whoever sends requests to where their beginnings are.
//!
//! Entry point: [`kv_event_channel`]. The engine's end never waits: when [`KV_EVENT_BATCHES_MAX`] batches lie
//! there, further ones are lost and counted, their numbers with them, so that a gap is seen; when the queue
//! is empty again everything is told anew, after [`KvEvent::Cleared`], by an engine without requests too.
//! What an engine owes that is gone, that nothing is kept any more, the other end says in its stead. Batches
//! are numbered from 0 over all engines that have been made of one sender.
//!
//! Only blocks of the layers that see everything are told. Those before which no place is kept cannot be gone
//! on from, so what a reader finds of a prompt is what is found here wherever the prompt parts from others at
//! a kept place, and more elsewhere.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{KV_EVENT_BATCH_BYTES, KV_EVENT_BATCHES_MAX};
use crate::request::KeptFor;

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
        /// Whom they are kept for.
        kept_for: KeptFor,
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
    /// Whether an engine is gone whose end nobody was told of.
    owes_end: Mutex<bool>,
    subscribers: Arc<KvSubscribers>,
}

impl Shared {
    fn owes_end(&self) -> MutexGuard<'_, bool> {
        self.owes_end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends of a queue of at most [`KV_EVENT_BATCHES_MAX`] batches.
pub fn kv_event_channel() -> (KvEventSender, KvEventReceiver) {
    channel_of(KV_EVENT_BATCHES_MAX)
}

/// As [`kv_event_channel`], of so many batches.
pub(crate) fn channel_of(batches_max: usize) -> (KvEventSender, KvEventReceiver) {
    let (sender, receiver) = sync_channel(batches_max);
    let shared = Arc::new(Shared::default());
    let ours = KvEventSender { batches: sender, shared: Arc::clone(&shared) };
    (ours, KvEventReceiver { batches: receiver, shared })
}

impl KvEventSender {
    pub(crate) fn tap(self) -> KvTap {
        // An engine begins with everything being forgotten, so nothing is owed for the one before.
        *self.shared.owes_end() = false;
        KvTap { sender: self, is_behind: false }
    }
}

impl KvTap {
    /// Whether something was lost since all was told.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether something was lost and there is room to tell everything.
    pub(crate) fn may_begin_anew(&mut self) -> bool {
        let may = self.is_behind && self.sender.shared.waiting.load(Ordering::Acquire) == 0;
        self.is_behind &= !may;
        may
    }

    /// Hands over what has happened, in batches that reach a subscriber; never waits.
    pub(crate) fn send(&mut self, events: Vec<KvEvent>) {
        cut(events).into_iter().for_each(|events| self.send_batch(events));
    }

    fn send_batch(&mut self, events: Vec<KvEvent>) {
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

/// Events in batches of about [`KV_EVENT_BATCH_BYTES`]; where there are several, everything being forgotten
/// is the first, by itself.
fn cut(events: Vec<KvEvent>) -> Vec<Vec<KvEvent>> {
    let is_large = events.iter().map(told_bytes).sum::<usize>() > KV_EVENT_BATCH_BYTES;
    let mut batches: Vec<Vec<KvEvent>> = Vec::new();
    let mut room = 0;
    for event in events {
        let bytes = told_bytes(&event);
        let ends = is_large && event == KvEvent::Cleared;
        match batches.last_mut().filter(|_| bytes <= room) {
            Some(batch) => batch.push(event),
            None => {
                batches.push(vec![event]);
                room = KV_EVENT_BATCH_BYTES;
            }
        }
        room = if ends { 0 } else { room.saturating_sub(bytes) };
    }
    batches
}

/// What an event takes in a message, at most.
fn told_bytes(event: &KvEvent) -> usize {
    const HEAD: usize = 512;
    match event {
        KvEvent::Stored { hashes, tokens, .. } => HEAD + hashes.len() * 10 + tokens.len() * 5,
        KvEvent::Removed { hashes } => HEAD + hashes.len() * 9,
        KvEvent::Cleared => HEAD,
    }
}

impl Drop for KvTap {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.sender.shared);
        // Held meanwhile: the other end looks only when its queue is empty, and then there is room.
        let mut owed = shared.owes_end();
        // It means something after a loss too.
        self.is_behind = false;
        self.send(vec![KvEvent::Cleared]);
        *owed = self.is_behind;
    }
}

impl KvEventReceiver {
    /// The next batch; None when no engine is left that could send one.
    pub fn recv(&self) -> Option<KvEventBatch> {
        let batch = match self.batches.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => match self.owed_end() {
                Some(batch) => return Some(batch),
                None => self.batches.recv().ok()?,
            },
        };
        Some(self.taken(batch))
    }

    fn taken(&self, batch: KvEventBatch) -> KvEventBatch {
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        batch
    }

    /// That nothing is kept any more, where an engine could not say so; but first what it still said.
    fn owed_end(&self) -> Option<KvEventBatch> {
        // Numbered while the lock is held: an engine that begins now counts on behind it.
        let mut owed = self.shared.owes_end();
        // An engine may have sent and gone since the queue was found empty.
        if let Ok(batch) = self.batches.try_recv() {
            return Some(self.taken(batch));
        }
        std::mem::take(&mut *owed).then(|| {
            self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            KvEventBatch { number, events: vec![KvEvent::Cleared] }
        })
    }

    /// Where the subscribers are counted, so that the engine's numbers have them.
    pub fn subscribers(&self) -> Arc<KvSubscribers> {
        Arc::clone(&self.shared.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full cache told anew was one message, which no subscriber's queue had room for.
    #[test]
    fn what_is_told_is_cut_into_batches() {
        let stored = |blocks: usize| KvEvent::Stored {
            hashes: vec![u64::MAX; blocks],
            parent: None,
            tokens: vec![u32::MAX; blocks * gptoss_model::BLOCK_TOKENS],
            kept_for: KeptFor::Salt("".into()),
        };
        let sizes = |events| cut(events).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(Vec::new()), [0; 0]);
        assert_eq!(sizes(vec![KvEvent::Cleared, stored(100)]), [2]);
        // 1 MiB holds four of these.
        let many = std::iter::once(KvEvent::Cleared).chain((0..10).map(|_| stored(1500)));
        assert_eq!(sizes(many.collect()), [1, 4, 4, 2]);
        assert_eq!(sizes(vec![stored(10_000), stored(1)]), [1, 1], "one alone is not cut");
        let (sender, receiver) = kv_event_channel();
        let mut tap = sender.tap();
        tap.send(vec![KvEvent::Cleared, stored(10_000)]);
        for number in 0..2 {
            assert_eq!(receiver.recv().map(|batch| (batch.number, batch.events.len())), Some((number, 1)));
        }
    }

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

    /// The end of an engine whose queue was full was lost, and readers believed in its blocks for ever.
    #[test]
    fn the_end_of_an_engine_is_told_also_when_the_queue_was_full() {
        let (sender, receiver) = kv_event_channel();
        let mut tap = sender.clone().tap();
        (0..KV_EVENT_BATCHES_MAX).for_each(|_| tap.send(vec![KvEvent::Removed { hashes: vec![1] }]));
        drop(tap);
        for number in 0..KV_EVENT_BATCHES_MAX as u64 {
            assert_eq!(receiver.recv().map(|batch| batch.number), Some(number));
        }
        let cleared = |number| Some(KvEventBatch { number, events: vec![KvEvent::Cleared] });
        // One number is that of the batch that was lost.
        assert_eq!(receiver.recv(), cleared(KV_EVENT_BATCHES_MAX as u64 + 1));
        // After a loss there may be room for it.
        let mut tap = sender.clone().tap();
        (0..=KV_EVENT_BATCHES_MAX).for_each(|_| tap.send(vec![KvEvent::Removed { hashes: vec![1] }]));
        assert!(tap.is_behind());
        (0..KV_EVENT_BATCHES_MAX).for_each(|_| drop(receiver.recv()));
        drop(tap);
        assert_eq!(receiver.recv(), cleared(2 * KV_EVENT_BATCHES_MAX as u64 + 3));
        // The next engine says so itself.
        let mut tap = sender.clone().tap();
        (0..KV_EVENT_BATCHES_MAX).for_each(|_| tap.send(vec![KvEvent::Removed { hashes: vec![1] }]));
        drop(tap);
        drop(sender.tap());
        (0..KV_EVENT_BATCHES_MAX).for_each(|_| drop(receiver.recv()));
        assert_eq!(receiver.recv().map(|batch| batch.events), cleared(0).map(|batch| batch.events));
        assert_eq!(receiver.recv(), None);
    }
}
