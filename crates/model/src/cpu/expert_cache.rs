//! Experts on disk: those of them that are in memory, and the threads that fetch the others.
//!
//! Entry points: [`ExpertCache::new`] and [`ExpertCache::fetch`], which hands a layer's experts to the
//! computation one by one, those that are in memory first, while a few threads read the others into a fixed
//! number of slots. All that a router has named and that finds a slot is asked for at once; a slot that the
//! present fetch still needs is pinned, and of the others the one goes whose use is farthest away
//! (`reuse_predictor.rs`). The order in which experts come does not change a number: each writes rows of its
//! own, which are summed in the router's order afterwards.
//!
//! A failed read fails the fetch that waits for it and leaves the slot empty. Several may run at once: a
//! fetch never holds a pin while it waits for a slot, except on experts that are in memory and that it
//! computes first.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gptoss_checkpoint::ExpertReader;

use crate::Error;
use crate::config::ModelConfig;
use crate::cpu::expert_buffer::{ExpertBuffer, ReadScratch};
use crate::cpu::reuse_predictor::ReusePredictor;
use crate::nan_scale::nan_scale;

/// Threads that read. One fills the disk's queue while the other lays out or checks what it has; more made no
/// difference (2026-11-23: 2.4 GB/s with one, 2.5 with two, three, four or six).
pub(crate) const READ_THREADS: usize = 2;

/// Where the experts are that do not fit where they are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpertHome {
    /// On disk; they are used in memory.
    #[default]
    Disk,
    /// In the host's memory; they are used on a card.
    Host,
}

/// What went between there and here since the model was loaded: between disk and memory, or the host's memory
/// and the card's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpertTraffic {
    /// Where the others are.
    pub home: ExpertHome,
    /// Experts that there is room for.
    pub slots: usize,
    /// Experts of all layers.
    pub experts: usize,
    /// Experts that were there when a layer asked for them.
    pub hits: u64,
    /// Experts that were not.
    pub misses: u64,
    /// Bytes that came.
    pub bytes_read: u64,
    /// Time in which at least one expert was under way.
    pub read_time: Duration,
    /// Time in which the computation had nothing to do but wait for one.
    pub wait_time: Duration,
}

impl ExpertTraffic {
    /// Share of hits, 0 to 1; 0 when nothing was asked for.
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / ((self.hits + self.misses) as f64).max(1.0)
    }

    /// What was added since `earlier`, of the same model.
    pub fn since(&self, earlier: &ExpertTraffic) -> ExpertTraffic {
        ExpertTraffic {
            hits: self.hits - earlier.hits,
            misses: self.misses - earlier.misses,
            bytes_read: self.bytes_read - earlier.bytes_read,
            read_time: self.read_time.saturating_sub(earlier.read_time),
            wait_time: self.wait_time - earlier.wait_time,
            ..*self
        }
    }

    /// Of two models together.
    pub fn plus(&self, other: &ExpertTraffic) -> ExpertTraffic {
        ExpertTraffic {
            // What is gone or has not begun has no experts, and no home.
            home: if self.experts == 0 { other.home } else { self.home },
            slots: self.slots + other.slots,
            experts: self.experts + other.experts,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            bytes_read: self.bytes_read + other.bytes_read,
            read_time: self.read_time + other.read_time,
            wait_time: self.wait_time + other.wait_time,
        }
    }

    /// Speed of the reads. Units: bytes a second.
    pub fn read_bytes_per_second(&self) -> f64 {
        self.bytes_read as f64 / self.read_time.as_secs_f64().max(1e-9)
    }
}

/// The experts of a model of which memory holds only some.
pub(crate) struct ExpertCache {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    reader: ExpertReader,
    /// `E`.
    num_experts: usize,
    state: Mutex<State>,
    /// There is a job, or the end.
    work: Condvar,
    /// A read has come to its end.
    arrived: Condvar,
}

struct State {
    slots: Vec<Slot>,
    /// `[L * E]`: the slot that holds an expert or will.
    slot_of: Vec<Option<usize>>,
    jobs: VecDeque<Job>,
    predictor: ReusePredictor,
    traffic: ExpertTraffic,
    /// Reads under way, and since when without a pause.
    reading: usize,
    reading_since: Instant,
    /// Set when the cache is dropped.
    is_closing: bool,
    /// Set when a reading thread ended by itself, which is a bug; no fetch may wait for it.
    is_broken: bool,
}

/// Invariant: while a slot is pinned, its key stays, and it goes from `Reading` to `Ready` or `Failed` once.
struct Slot {
    key: usize,
    /// Fetches that need what it holds.
    pins: usize,
    contents: Contents,
}

enum Contents {
    /// With the memory it had, if it has been used.
    Empty(Option<ExpertBuffer>),
    Reading,
    Ready(Arc<ExpertBuffer>),
    /// The first fetch that sees it takes the error; the others ask again.
    Failed(Option<Error>),
}

/// A read to do.
struct Job {
    key: usize,
    slot: usize,
    buffer: Option<ExpertBuffer>,
}

impl ExpertCache {
    /// A cache of `num_slots` experts, at least 1, all empty.
    ///
    /// Errors: `NoThread`.
    pub(crate) fn new(
        reader: ExpertReader,
        config: &ModelConfig,
        num_slots: usize,
    ) -> Result<ExpertCache, Error> {
        let num_experts = config.expert_slots();
        let num_keys = config.num_layers * num_experts;
        let num_slots = num_slots.clamp(1, num_keys);
        let slot = || Slot { key: 0, pins: 0, contents: Contents::Empty(None) };
        let state = State {
            slots: std::iter::repeat_with(slot).take(num_slots).collect(),
            slot_of: vec![None; num_keys],
            jobs: VecDeque::new(),
            predictor: ReusePredictor::new(config.num_layers, num_experts, config.active_experts()),
            traffic: ExpertTraffic { slots: num_slots, experts: num_keys, ..ExpertTraffic::default() },
            reading: 0,
            reading_since: Instant::now(),
            is_closing: false,
            is_broken: false,
        };
        let shared = Arc::new(Shared {
            reader,
            num_experts,
            state: Mutex::new(state),
            work: Condvar::new(),
            arrived: Condvar::new(),
        });
        let mut cache = ExpertCache { shared, threads: Vec::new() };
        for index in 0..READ_THREADS {
            let shared = Arc::clone(&cache.shared);
            let thread = thread::Builder::new().name(format!("gptoss-reader-{index}"));
            cache.threads.push(thread.spawn(move || shared.read_all()).map_err(Error::NoThread)?);
        }
        Ok(cache)
    }

    /// Begins a layer's turn: `active_experts` are the experts that some of `num_tokens` tokens go to, with
    /// how many. Of no tokens no note is taken: that is a measurement, not a model at work.
    pub(crate) fn fetch(
        &self,
        layer: usize,
        active_experts: &[(usize, usize)],
        num_tokens: usize,
    ) -> LayerFetch<'_> {
        let shared = &*self.shared;
        let mut fetch =
            LayerFetch { shared, layer, pending: VecDeque::new(), asked: Vec::new(), current: None };
        let mut state = shared.lock();
        if num_tokens > 0 {
            state.predictor.visit(layer, active_experts, num_tokens);
        }
        for &(expert, _) in active_experts {
            let slot = state.slot_of[layer * shared.num_experts + expert];
            match slot {
                None => {
                    state.traffic.misses += 1;
                    fetch.pending.push_back(expert);
                }
                Some(slot) => {
                    state.traffic.hits += 1;
                    state.slots[slot].pins += 1;
                    fetch.asked.push((expert, slot));
                }
            }
        }
        fetch.ask(&mut state);
        drop(state);
        fetch
    }

    /// Bytes of all experts of one layer.
    pub(crate) fn layer_bytes(&self) -> u64 {
        self.shared.reader.expert_bytes() * self.shared.num_experts as u64
    }

    /// What has been read so far.
    pub(crate) fn traffic(&self) -> ExpertTraffic {
        let state = self.shared.lock();
        let mut traffic = state.traffic;
        if state.reading > 0 {
            traffic.read_time += state.reading_since.elapsed();
        }
        traffic
    }
}

impl Drop for ExpertCache {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in it has been reported where somebody waited.
            let _ = thread.join();
        }
    }
}

/// The experts of one layer's turn, handed out one by one.
pub(crate) struct LayerFetch<'a> {
    shared: &'a Shared,
    layer: usize,
    /// Experts without a slot.
    pending: VecDeque<usize>,
    /// Experts with a slot, which is pinned.
    asked: Vec<(usize, usize)>,
    /// What was handed out last, with its slot.
    current: Option<(usize, Arc<ExpertBuffer>)>,
}

impl LayerFetch<'_> {
    /// The next expert that is in memory, waiting for one if it must; `None` when all have been.
    ///
    /// Errors: what its read met.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &ExpertBuffer)>, Error> {
        let mut state = self.shared.lock();
        if let Some((slot, buffer)) = self.current.take() {
            drop(buffer);
            state.slots[slot].pins -= 1;
        }
        loop {
            self.ask(&mut state);
            let is_settled =
                |(_, slot): &(usize, usize)| !matches!(state.slots[*slot].contents, Contents::Reading);
            if let Some(index) = self.asked.iter().position(is_settled) {
                let (expert, slot) = self.asked.remove(index);
                match state.take(slot)? {
                    Some(buffer) => {
                        let (_, buffer) = self.current.insert((slot, buffer));
                        return Ok(Some((expert, buffer)));
                    }
                    None => self.pending.push_front(expert),
                }
                continue;
            }
            if self.asked.is_empty() && self.pending.is_empty() {
                return Ok(None);
            }
            assert!(!state.is_broken, "a thread that reads experts has ended");
            let start = Instant::now();
            state = self.shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.traffic.wait_time += start.elapsed();
        }
    }

    /// Asks for as many of the pending experts as slots can be had for.
    fn ask(&mut self, state: &mut State) {
        while let Some(&expert) = self.pending.front() {
            let key = self.layer * self.shared.num_experts + expert;
            let slot = match state.slot_of[key] {
                Some(slot) => slot,
                None => {
                    let Some(slot) = state.free_slot() else { return };
                    state.begin(key, slot);
                    self.shared.work.notify_one();
                    slot
                }
            };
            state.slots[slot].pins += 1;
            self.asked.push((expert, slot));
            self.pending.pop_front();
        }
    }
}

impl Drop for LayerFetch<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let current = self.current.take().map(|(slot, _)| slot);
        for slot in self.asked.drain(..).map(|(_, slot)| slot).chain(current) {
            state.unpin(slot);
        }
        drop(state);
        // Another fetch may wait for a slot.
        self.shared.arrived.notify_all();
    }
}

impl State {
    /// An empty slot, or else the one whose expert will be missed least; `None` when all are needed.
    fn free_slot(&self) -> Option<usize> {
        let mut best = None;
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.pins == 0) {
            let wait = match slot.contents {
                Contents::Empty(_) => return Some(index),
                Contents::Ready(_) => self.predictor.layers_until_use(slot.key),
                Contents::Reading | Contents::Failed(_) => continue,
            };
            if best.is_none_or(|(_, longest)| wait > longest) {
                best = Some((index, wait));
            }
        }
        best.map(|(index, _)| index)
    }

    /// Gives a free slot to an expert and queues its read.
    fn begin(&mut self, key: usize, slot: usize) {
        let buffer = match std::mem::replace(&mut self.slots[slot].contents, Contents::Reading) {
            Contents::Ready(buffer) => {
                self.slot_of[self.slots[slot].key] = None;
                // Invariant: who holds a clone has the slot pinned, and this one is free.
                Arc::into_inner(buffer)
            }
            Contents::Empty(buffer) => buffer,
            Contents::Reading | Contents::Failed(_) => unreachable!("the slot is not free"),
        };
        self.slots[slot].key = key;
        self.slot_of[key] = Some(slot);
        self.jobs.push_back(Job { key, slot, buffer });
    }

    /// What a settled slot holds, whose pin is then the caller's; `None`, without a pin, when another fetch
    /// took its error.
    fn take(&mut self, slot: usize) -> Result<Option<Arc<ExpertBuffer>>, Error> {
        match &mut self.slots[slot].contents {
            Contents::Ready(buffer) => Ok(Some(Arc::clone(buffer))),
            Contents::Failed(error) => {
                let error = error.take();
                self.unpin(slot);
                error.map_or(Ok(None), Err)
            }
            Contents::Empty(_) | Contents::Reading => unreachable!("the slot is not settled"),
        }
    }

    fn unpin(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        slot.pins -= 1;
        if slot.pins == 0 && matches!(slot.contents, Contents::Failed(_)) {
            slot.contents = Contents::Empty(None);
        }
    }

    /// Puts the outcome of a read into its slot.
    fn settle(&mut self, key: usize, slot: usize, outcome: Result<(ExpertBuffer, u64), Error>) {
        self.slots[slot].contents = match outcome {
            Ok((buffer, num_bytes)) => {
                self.traffic.bytes_read += num_bytes;
                Contents::Ready(Arc::new(buffer))
            }
            Err(error) => {
                self.slot_of[key] = None;
                match self.slots[slot].pins {
                    0 => Contents::Empty(None),
                    _ => Contents::Failed(Some(error)),
                }
            }
        };
        self.reading -= 1;
        if self.reading == 0 {
            self.traffic.read_time += self.reading_since.elapsed();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a reading thread.
    fn read_all(&self) {
        let _alarm = Alarm(self);
        let mut scratch = ReadScratch::default();
        while let Some(Job { key, slot, buffer }) = self.next_job() {
            let outcome = self.read(key, buffer, &mut scratch);
            self.lock().settle(key, slot, outcome);
            self.arrived.notify_all();
        }
    }

    /// Waits for a read to do; `None` at the end.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_closing {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                if state.reading == 0 {
                    state.reading_since = Instant::now();
                }
                state.reading += 1;
                return Some(job);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads an expert, and refuses one whose scales hold a NaN.
    fn read(
        &self,
        key: usize,
        buffer: Option<ExpertBuffer>,
        scratch: &mut ReadScratch,
    ) -> Result<(ExpertBuffer, u64), Error> {
        let (layer, expert) = (key / self.num_experts, key % self.num_experts);
        let mut buffer = match buffer {
            Some(buffer) => buffer,
            None => ExpertBuffer::new(&self.reader)?,
        };
        let num_bytes = buffer.read(&self.reader, layer, expert, scratch)?;
        for &(part, blocks_per_row) in self.reader.scales() {
            if let Some(index) = nan_scale(buffer.part(part)) {
                return Err(Error::NanScale {
                    tensor: self.reader.name(layer, part).to_owned(),
                    expert,
                    row: index / blocks_per_row,
                    block: index % blocks_per_row,
                });
            }
        }
        Ok((buffer, num_bytes))
    }
}

/// Tells those who wait when a reading thread ends by a panic.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().is_broken = true;
            self.0.arrived.notify_all();
        }
    }
}
