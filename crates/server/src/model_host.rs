//! The one owner of the models in memory.
//!
//! [`ModelHost`] knows all models by name and gives leases of them: [`ModelHost::lease`] waits until the
//! model is loaded, and for as long as anybody holds the [`Lease`] it is not unloaded. Which model is loaded
//! or unloaded, and when, is decided by the roster (`roster`); a thread of its own does it, one thing at a
//! time, with what the composition root has given ([`Models`]). An adapter has an entry of its own and the
//! place of its model: who leases it holds that. So has one that is tuned while the server runs, which is its
//! tenant's alone, and is loaded from its folder when it is first asked for.
//!
//! Every request that waits hears of it once: a lease, why there is none, or that the server stops. One whose
//! client goes away leaves its place.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use gptoss_api::ApiError;
use gptoss_api::fine_tuning::words::TUNED;
use gptoss_api::usage::TokenUsage;
use gptoss_turn::{AdapterId, Assistant, EngineStats};
use tokio::sync::oneshot;

use crate::access_log::{AccessLog, LogFormat};
use crate::asker::Asker;
use crate::bill::Bill;
use crate::engine_health::EngineHealth;
use crate::error::Error;
use crate::limits::{LOAD_RETRY, LOAD_WAITING_MAX};
use crate::metrics::{LoadCounts, TurnMetrics};
use crate::model::{LoadModel, LoadedModel, Models, ServedModel};
use crate::queue_share::{QueueShares, Waiting};
use crate::roster::{Entered, Keep, ModelState, Roster, Step, Ticket};
use crate::tuned_adapters::{TunedAdapters, TunedUse};

/// How long a client should wait when others wait for models. Units: seconds.
const WAITING_RETRY_SECONDS: u64 = 10;

/// A model that is known by name.
pub(crate) struct Entry {
    index: usize,
    /// What requests have to know of it.
    pub(crate) served: ServedModel,
    /// Its name, for lines of log.
    pub(crate) name: Arc<str>,
    /// What its turns came to; those of adapters count as their model's.
    pub(crate) turns: Arc<TurnMetrics>,
    adapter: EntryAdapter,
}

impl Entry {
    /// Whether it means an adapter, not the model as it is.
    pub(crate) fn is_adapted(&self) -> bool {
        !matches!(self.adapter, EntryAdapter::None)
    }
}

/// What of a model's adapters an entry means.
enum EntryAdapter {
    /// The model as it is.
    None,
    /// One that is loaded with it.
    Loaded(AdapterId),
    /// One that was tuned here or that a request loaded, in its folder.
    Tuned(PathBuf),
}

/// What stands by a model as long as it is in memory.
struct InMemory {
    assistant: Assistant,
    health: EngineHealth,
    queue: Arc<QueueShares>,
    tuned: Arc<TunedAdapters>,
}

struct Loaded {
    memory: Arc<InMemory>,
    unload: Box<dyn FnOnce() + Send>,
}

/// The right to a model in memory, or to an adapter of it.
pub(crate) struct Lease {
    /// Which model.
    pub(crate) entry: Arc<Entry>,
    assistant: Assistant,
    hold: Hold,
    /// What keeps an adapter that was tuned here or that a request loaded.
    _tuned: Option<TunedUse>,
    /// What the request is charged that has it; None where nothing is counted.
    bill: Option<Arc<Bill>>,
    stays: bool,
}

/// What keeps a model in memory.
struct Hold {
    host: Arc<Shared>,
    index: usize,
    memory: Arc<InMemory>,
}

impl Lease {
    /// Errors: `NotLoaded`, when there is no such adapter any more, or it is damaged.
    async fn new(entry: &Arc<Entry>, hold: Hold, asker: Asker<'_>) -> Result<Arc<Lease>, ApiError> {
        let (adapter, tuned) = match &entry.adapter {
            EntryAdapter::None => (None, None),
            EntryAdapter::Loaded(id) => (Some(*id), None),
            EntryAdapter::Tuned(folder) => {
                let tuned = hold.tuned(entry, folder).await?;
                (Some(tuned.id), Some(tuned))
            }
        };
        let assistant = hold.memory.assistant.clone().with_adapter(adapter);
        let (bill, stays) = (asker.bill.cloned(), asker.stays);
        Ok(Arc::new(Lease { entry: Arc::clone(entry), assistant, hold, _tuned: tuned, bill, stays }))
    }

    /// What the request is charged that has it.
    pub(crate) fn bill(&self) -> Option<&Arc<Bill>> {
        self.bill.as_ref()
    }

    /// Whether nothing of the request may leave this machine.
    pub(crate) fn stays(&self) -> bool {
        self.stays
    }

    /// Charges what the request took, which has ended well.
    pub(crate) async fn settle(&self, tokens: TokenUsage) {
        if let Some(bill) = &self.bill {
            bill.settle(tokens).await;
        }
    }

    /// What requests have to know of the model.
    pub(crate) fn served(&self) -> &ServedModel {
        &self.entry.served
    }

    /// The way to it.
    pub(crate) fn assistant(&self) -> &Assistant {
        &self.assistant
    }

    /// Whether it still computes anything.
    pub(crate) fn health(&self) -> &EngineHealth {
        &self.hold.memory.health
    }

    /// Reads an adapter from a folder, beside the weights, where it stays until its model is removed.
    ///
    /// Errors: what is wrong with it, for its owner.
    pub(crate) async fn load_adapter(&self, folder: &Path) -> Result<TunedUse, String> {
        self.hold.memory.tuned.restore(folder)?;
        self.hold.take(folder).await
    }

    /// The shares of its queue.
    pub(crate) fn queue(&self) -> &Arc<QueueShares> {
        &self.hold.memory.queue
    }
}

impl Hold {
    async fn tuned(&self, entry: &Entry, folder: &Path) -> Result<TunedUse, ApiError> {
        self.take(folder).await.map_err(|problem| {
            let log = self.host.lock().log.clone();
            log.notice(&format!("{} cannot be loaded: {problem}", entry.name));
            ApiError::NotLoaded { model: entry.name.to_string(), retry_seconds: LOAD_RETRY.as_secs() }
        })
    }

    /// The adapter of a folder, read where waiting is allowed.
    async fn take(&self, folder: &Path) -> Result<TunedUse, String> {
        let (tuned, folder) = (Arc::clone(&self.memory.tuned), folder.to_owned());
        let taken = tokio::task::spawn_blocking(move || tuned.take(&folder)).await;
        taken.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Nobody counts the leases of a model that never leaves.
        if !self.host.unloads {
            return;
        }
        let mut inside = self.host.lock();
        inside.roster.leave(self.index, Instant::now());
        self.host.settle(inside);
    }
}

/// How a model is, for those who ask about all.
pub(crate) struct ModelFigures<'a> {
    /// Which.
    pub(crate) entry: &'a Entry,
    /// How far it is.
    pub(crate) state: ModelState,
    /// How long it stays if nobody uses it; None is until its room is needed.
    pub(crate) stays_for: Option<Duration>,
    /// What its engines have done so far, and how full the one in memory is.
    pub(crate) engine: EngineStats,
    /// How often it came.
    pub(crate) loads: LoadCounts,
    /// Requests that wait for it to be loaded.
    pub(crate) num_waiting: usize,
}

/// Sight of the engines in memory.
pub(crate) struct Engines(Arc<Shared>);

impl Engines {
    /// Wakes each, and says how often the thread of each came round, by the model's index; None has no thread
    /// any more, or has lost its card.
    pub(crate) fn knock(&self) -> Vec<(usize, Option<u64>)> {
        let inside = self.0.lock();
        let loaded = inside.loaded.iter().enumerate();
        let rounds = loaded.filter_map(|(index, loaded)| {
            let engine = loaded.as_ref()?.memory.assistant.engine();
            Some((index, engine.knock().filter(|_| !engine.stats().has_no_device)))
        });
        rounds.collect()
    }
}

/// The owner of all models.
pub(crate) struct ModelHost {
    shared: Arc<Shared>,
    /// How long a request waits for its model.
    patience: Duration,
}

struct Shared {
    /// Of all models, and behind them of their adapters.
    entries: Vec<Arc<Entry>>,
    num_models: usize,
    /// Models that were tuned here or that requests loaded, each with its tenant.
    tuned: RwLock<Vec<(String, Arc<Entry>)>>,
    /// Whether any model ever leaves.
    unloads: bool,
    /// Whether a tenant has only a share of any queue.
    shares_queues: bool,
    /// Of the places where requests wait for models.
    waiting: Arc<QueueShares>,
    inside: Mutex<Inside>,
    changed: Condvar,
}

struct Inside {
    roster: Roster,
    loaded: Vec<Option<Loaded>>,
    /// What engines that are gone have done, and how often models came.
    past: Vec<(EngineStats, LoadCounts)>,
    waiters: HashMap<Ticket, oneshot::Sender<Result<Hold, ApiError>>>,
    log: AccessLog,
    /// No new requests; those that wait have been told.
    is_aborting: bool,
    /// No model is loaded any more.
    is_over: bool,
    /// The model on its way out, whose engine still counts.
    leaving: Option<(usize, Arc<InMemory>)>,
}

impl ModelHost {
    /// Takes the models over; `shares_queues` says whether there are several tenants.
    ///
    /// Errors: `System`, when there is no thread to be had.
    pub(crate) fn start(
        models: Models,
        shares_queues: bool,
        patience: Duration,
        log: AccessLog,
    ) -> Result<ModelHost, Error> {
        let Models { offers, budget, idle, adapters, loaded } = models;
        let bytes: Vec<u64> = offers.iter().map(|offer| offer.planned_bytes).collect();
        let (mut entries, mut loads) = (Vec::new(), Vec::new());
        for (index, offer) in offers.into_iter().enumerate() {
            let name = Arc::from(offer.served.name.as_str());
            entries.push(Arc::new(Entry {
                index,
                served: offer.served,
                name,
                turns: Arc::default(),
                adapter: EntryAdapter::None,
            }));
            loads.push(offer.load);
        }
        let num_models = entries.len();
        for (index, served, id) in adapters {
            let (name, turns) = (Arc::from(served.name.as_str()), Arc::clone(&entries[index].turns));
            entries.push(Arc::new(Entry { index, served, name, turns, adapter: EntryAdapter::Loaded(id) }));
        }
        let mut inside = Inside {
            roster: Roster::new(&bytes, budget, idle),
            loaded: (0..num_models).map(|_| None).collect(),
            past: vec![Default::default(); num_models],
            waiters: HashMap::new(),
            log,
            is_aborting: false,
            is_over: false,
            leaving: None,
        };
        if let Some(first) = loaded {
            inside.loaded[0] = Some(Loaded::new(first, own_adapters(&entries, 0), shares_queues));
            inside.roster.loaded(0, Instant::now(), Duration::ZERO);
        }
        let shared = Arc::new(Shared {
            unloads: num_models > 1 || idle.is_some(),
            entries,
            num_models,
            tuned: RwLock::default(),
            shares_queues,
            waiting: Arc::new(QueueShares::new(shares_queues.then_some(LOAD_WAITING_MAX))),
            inside: Mutex::new(inside),
            changed: Condvar::new(),
        });
        let driven = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("models".to_owned()).spawn(move || driven.drive(&loads));
        spawned.map_err(|source| Error::System { doing: "cannot start the thread of models", source })?;
        Ok(ModelHost { shared, patience })
    }

    /// For a watchdog.
    pub(crate) fn engines(&self) -> Engines {
        Engines(Arc::clone(&self.shared))
    }

    /// All models, the first in front, and behind them their adapters.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.shared.entries
    }

    /// The model that requests mean which name none.
    pub(crate) fn first(&self) -> &Arc<Entry> {
        &self.shared.entries[0]
    }

    /// A model that was tuned here from `base` or loaded beside it, whose adapter is in `folder`, is known to
    /// its tenant from now on. False: there is no such base.
    pub(crate) fn add_tuned(
        &self,
        tenant: &str,
        (name, base): (&str, &str),
        folder: PathBuf,
        created: u64,
    ) -> bool {
        let models = &self.entries()[..self.shared.num_models];
        let Some(base) = models.iter().find(|entry| entry.served.name == base) else { return false };
        let entry = Entry {
            index: base.index,
            served: base.served.tuned(name, created),
            name: Arc::from(name),
            turns: Arc::clone(&base.turns),
            adapter: EntryAdapter::Tuned(folder),
        };
        let mut tuned = self.shared.tuned.write().unwrap_or_else(PoisonError::into_inner);
        tuned.retain(|(owner, other)| owner != tenant || *other.name != *name);
        tuned.push((tenant.to_owned(), Arc::new(entry)));
        true
    }

    /// It is known no more, and leaves the memory with the last that uses it, if no other is in its folder.
    pub(crate) fn remove_tuned(&self, tenant: &str, name: &str) {
        let mut tuned = self.shared.tuned.write().unwrap_or_else(PoisonError::into_inner);
        let place = tuned.iter().position(|(owner, entry)| owner == tenant && *entry.name == *name);
        let Some((_, entry)) = place.map(|place| tuned.remove(place)) else { return };
        let EntryAdapter::Tuned(folder) = &entry.adapter else { return };
        let is_same = |other: &EntryAdapter| matches!(other, EntryAdapter::Tuned(other) if other == folder);
        if tuned.iter().any(|(_, other)| is_same(&other.adapter)) {
            return;
        }
        drop(tuned);
        let memory = {
            let inside = self.shared.lock();
            inside.loaded[entry.index].as_ref().map(|loaded| Arc::clone(&loaded.memory))
        };
        if let Some(memory) = memory {
            memory.tuned.delete(folder);
        }
    }

    /// The models that were tuned here for a tenant, and those that it loaded.
    pub(crate) fn tuned(&self, tenant: &str) -> Vec<Arc<Entry>> {
        let tuned = self.shared.tuned.read().unwrap_or_else(PoisonError::into_inner);
        tuned.iter().filter(|(owner, _)| owner == tenant).map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// The model that a request of a tenant means.
    ///
    /// Errors: `Model`, with the names there are.
    pub(crate) fn find(&self, tenant: &str, name: Option<&str>) -> Result<Arc<Entry>, ApiError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Arc::clone(self.first())) };
        let tuned = self.shared.tuned.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = tuned.iter().find(|(owner, entry)| owner == tenant && *entry.name == *name)
        {
            return Ok(Arc::clone(found));
        }
        drop(tuned);
        let find = |is_meant: &dyn Fn(&ServedModel) -> bool| {
            self.entries().iter().find(|entry| is_meant(&entry.served)).cloned()
        };
        // A name that means an adapter which is not there is not one of those that mean any model.
        let has_adapters = |served: &ServedModel| {
            self.entries().iter().any(|entry| entry.served.parent.as_ref() == Some(&served.name))
        };
        let is_of_adapter =
            |served: &ServedModel| name.starts_with(TUNED) || (has_adapters(served) && served.begins(name));
        // A model's own name goes before an alias of another.
        find(&|served| served.name == name)
            .or_else(|| find(&|served| served.is_called(name)))
            .or_else(|| find(&|served| served.has_any_name() && !is_of_adapter(served)))
            .ok_or_else(|| {
                let tuned = self.tuned(tenant);
                let names = self.entries().iter().chain(&tuned).flat_map(|entry| entry.served.names());
                let known: Vec<&str> = names.map(String::as_str).collect();
                ApiError::Model { model: name.to_owned(), known: known.join(", ") }
            })
    }

    /// A lease of a model, once it is in memory.
    ///
    /// Errors: `Busy`, when too many wait; `Overloaded`, when it takes too long; `NotLoaded`; `ShuttingDown`.
    pub(crate) async fn lease(&self, entry: &Arc<Entry>, asker: Asker<'_>) -> Result<Arc<Lease>, ApiError> {
        let keep = if self.shared.unloads { asker.keep } else { Keep::Usual };
        let waiter = match self.shared.enter(entry, Asker { keep, ..asker })? {
            Ok(hold) => return Lease::new(entry, hold, asker).await,
            Err(waiter) => waiter,
        };
        let begun = Instant::now();
        let hold = waiter.hold(&entry.name, self.patience).await?;
        self.shared.has_waited(entry.index, begun.elapsed());
        Lease::new(entry, hold, asker).await
    }

    /// Says how long a model stays, without a use of it.
    pub(crate) fn keep(&self, entry: &Entry, keep: Keep) {
        if self.shared.unloads {
            let mut inside = self.shared.lock();
            inside.roster.keep(entry.index, keep);
            self.shared.settle(inside);
        }
    }

    /// How far a model is.
    pub(crate) fn state(&self, entry: &Entry) -> ModelState {
        self.shared.lock().roster.state(entry.index, Instant::now())
    }

    /// How all are.
    pub(crate) fn figures(&self) -> Vec<ModelFigures<'_>> {
        let (inside, now) = (self.shared.lock(), Instant::now());
        let all = self.entries()[..self.shared.num_models].iter().map(|entry| {
            let index = entry.index;
            let (past, loads) = inside.past[index];
            let leaving = inside.leaving.as_ref().filter(|(leaving, _)| *leaving == index);
            let memory = inside.loaded[index].as_ref().map(|loaded| &loaded.memory);
            let memory = memory.or(leaving.map(|(_, memory)| memory));
            let engine = memory.map(|memory| memory.assistant.engine().stats()).unwrap_or_default();
            ModelFigures {
                entry,
                state: inside.roster.state(index, now),
                stays_for: inside.roster.stays_for(index, now),
                engine: engine.plus(&past),
                loads,
                num_waiting: inside.roster.num_waiting(index),
            }
        });
        all.collect()
    }

    /// Whether a model in memory does what `is_so` says.
    pub(crate) fn any_loaded(&self, is_so: impl Fn(&Assistant, &EngineHealth) -> bool) -> bool {
        let inside = self.shared.lock();
        inside.loaded.iter().flatten().any(|loaded| is_so(&loaded.memory.assistant, &loaded.memory.health))
    }

    /// Lines of log look so from now on.
    pub(crate) fn set_log_format(&self, format: LogFormat) {
        self.shared.lock().log.format = format;
    }

    /// Nobody gets a lease any more, and what runs ends now.
    pub(crate) fn abort(&self) {
        let mut inside = self.shared.lock();
        inside.is_aborting = true;
        for (ticket, sender) in std::mem::take(&mut inside.waiters) {
            inside.roster.give_up(ticket);
            // Whoever has gone need not know.
            let _ = sender.send(Err(ApiError::ShuttingDown));
        }
        inside.loaded.iter().flatten().for_each(|loaded| loaded.memory.assistant.engine().abort());
    }

    /// Unloads all, after what runs, and returns when their memory is free. A model that is just being loaded
    /// is not waited for.
    pub(crate) fn end(&self) {
        self.abort_waiters_and_close();
        let leaving: Vec<Loaded> = self.shared.lock().loaded.iter_mut().filter_map(Option::take).collect();
        for loaded in leaving {
            loaded.unload();
        }
        let mut inside = self.shared.lock();
        while inside.leaving.is_some() {
            inside = self.shared.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn abort_waiters_and_close(&self) {
        let mut inside = self.shared.lock();
        (inside.is_aborting, inside.is_over) = (true, true);
        inside.waiters.clear();
        drop(inside);
        self.shared.changed.notify_all();
    }
}

impl Drop for ModelHost {
    fn drop(&mut self) {
        self.end();
    }
}

/// The adapters that come with a model.
fn own_adapters(entries: &[Arc<Entry>], index: usize) -> Vec<AdapterId> {
    let of_model = entries.iter().filter(|entry| entry.index == index);
    let id = |entry: &Arc<Entry>| match entry.adapter {
        EntryAdapter::Loaded(id) => Some(id),
        EntryAdapter::None | EntryAdapter::Tuned(_) => None,
    };
    of_model.filter_map(id).collect()
}

impl Loaded {
    /// `own` are the adapters that came with it.
    fn new(
        LoadedModel { assistant, unload, adapters }: LoadedModel,
        own: Vec<AdapterId>,
        shares_queues: bool,
    ) -> Loaded {
        let places = shares_queues.then(|| assistant.engine().limits().queue_requests_max);
        let queue = Arc::new(QueueShares::new(places));
        let (health, tuned) = (EngineHealth::default(), TunedAdapters::new(adapters, own));
        Loaded { memory: Arc::new(InMemory { assistant, health, queue, tuned }), unload }
    }

    /// Frees its memory; what its engine has done.
    fn unload(self) -> EngineStats {
        let engine = self.memory.assistant.engine();
        engine.drain();
        // A panic of the other room's is told by its own thread; the model is gone either way.
        let _ = catch_unwind(AssertUnwindSafe(self.unload));
        self.memory.assistant.engine().stats()
    }
}

/// A place among the requests that wait.
struct Waiter {
    shared: Arc<Shared>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Result<Hold, ApiError>>,
    _share: Waiting,
}

impl Waiter {
    async fn hold(mut self, name: &str, patience: Duration) -> Result<Hold, ApiError> {
        match tokio::time::timeout(patience, &mut self.receiver).await {
            Ok(Ok(granted)) => granted,
            // The sender goes only when the server does.
            Ok(Err(_)) => Err(ApiError::ShuttingDown),
            Err(_) => Err(ApiError::Overloaded {
                what: format!(
                    "the model '{name}' was not in memory after {} s (--load-timeout)",
                    patience.as_secs()
                ),
                retry_seconds: WAITING_RETRY_SECONDS,
            }),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut inside = self.shared.lock();
        if inside.waiters.remove(&self.ticket).is_some() {
            inside.roster.give_up(self.ticket);
        }
        self.shared.settle(inside);
        // A lease that came too late ends with the receiver, behind the lock.
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has waited for a model so long.
    fn has_waited(&self, index: usize, time: Duration) {
        let counts = &mut self.lock().past[index].1;
        (counts.waits, counts.waited_seconds) =
            (counts.waits + 1, counts.waited_seconds + time.as_secs_f64());
    }

    /// A lease at once, or a place to wait.
    fn enter(
        self: &Arc<Shared>,
        entry: &Arc<Entry>,
        asker: Asker<'_>,
    ) -> Result<Result<Hold, Waiter>, ApiError> {
        let mut inside = self.lock();
        if inside.is_aborting {
            return Err(ApiError::ShuttingDown);
        }
        let Asker { tenant, is_background, keep, .. } = asker;
        let full = |what: String| ApiError::Busy { what, retry_seconds: WAITING_RETRY_SECONDS };
        let ticket = match inside.roster.enter(entry.index, is_background, keep, Instant::now()) {
            Entered::Leased => {
                return self.granted(&inside, entry.index).ok_or(ApiError::ShuttingDown).map(Ok);
            }
            Entered::Waits(ticket) => ticket,
            Entered::Failed(retry) => {
                let retry_seconds = retry.as_secs() + 1;
                return Err(ApiError::NotLoaded { model: entry.name.to_string(), retry_seconds });
            }
            Entered::Full(count) => {
                return Err(full(format!("{count} requests wait for models to be loaded")));
            }
        };
        let mut shares = match self.waiting.enter(tenant, 1) {
            Ok(shares) => shares,
            Err(taken) => {
                inside.roster.give_up(ticket);
                return Err(full(taken.to_string()));
            }
        };
        let Some(share) = shares.pop() else { return Err(ApiError::ShuttingDown) };
        let (sender, receiver) = oneshot::channel();
        inside.waiters.insert(ticket, sender);
        drop(inside);
        self.changed.notify_all();
        Ok(Err(Waiter { shared: Arc::clone(self), ticket, receiver, _share: share }))
    }

    /// A lease that the roster knows of; None when the server ends.
    fn granted(self: &Arc<Shared>, inside: &Inside, index: usize) -> Option<Hold> {
        let memory = Arc::clone(&inside.loaded[index].as_ref()?.memory);
        Some(Hold { host: Arc::clone(self), index, memory })
    }

    /// Hands a lease to whoever waits with a ticket; gives it back when there is nobody.
    fn deliver(self: &Arc<Shared>, inside: &mut Inside, index: usize, ticket: Ticket) -> Option<Hold> {
        let hold = self.granted(inside, index)?;
        match inside.waiters.remove(&ticket) {
            Some(sender) => sender.send(Ok(hold)).err().and_then(Result::ok),
            None => Some(hold),
        }
    }

    /// Grants what can be granted now, and wakes the thread.
    fn settle(self: &Arc<Shared>, mut inside: MutexGuard<'_, Inside>) {
        let granted = inside.roster.granted(Instant::now());
        let undelivered: Vec<_> = granted
            .into_iter()
            .filter_map(|(index, ticket)| self.deliver(&mut inside, index, ticket))
            .collect();
        // A lease takes the lock when it ends.
        drop(inside);
        self.changed.notify_all();
        drop(undelivered);
    }

    /// Does what the roster says, until the host ends.
    fn drive(self: &Arc<Shared>, loads: &[LoadModel]) {
        let mut inside = self.lock();
        while !inside.is_over {
            match inside.roster.next(Instant::now()) {
                Step::Load(index) => {
                    drop(inside);
                    self.load(index, &loads[index]);
                }
                Step::Unload(index) => {
                    let leaving = inside.loaded[index].take();
                    inside.leaving = leaving.as_ref().map(|loaded| (index, Arc::clone(&loaded.memory)));
                    drop(inside);
                    self.unload(index, leaving);
                }
                Step::Wait(None) => {
                    inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Step::Wait(Some(until)) => {
                    let time = until.saturating_duration_since(Instant::now());
                    let waited = self.changed.wait_timeout(inside, time);
                    inside = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            }
            inside = self.lock();
        }
    }

    fn load(self: &Arc<Shared>, index: usize, load: &LoadModel) {
        let begun = Instant::now();
        let loaded =
            catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| Err("its loading broke off".into()));
        let took = begun.elapsed();
        let name = &self.entries[index].name;
        let mut inside = self.lock();
        let notice = match loaded {
            Ok(loaded) if inside.is_over => {
                drop(inside);
                Loaded::new(loaded, Vec::new(), self.shares_queues).unload();
                return;
            }
            Ok(loaded) => {
                let own = own_adapters(&self.entries, index);
                inside.loaded[index] = Some(Loaded::new(loaded, own, self.shares_queues));
                let counts = &mut inside.past[index].1;
                (counts.loads, counts.seconds) = (counts.loads + 1, counts.seconds + took.as_secs_f64());
                let tickets = inside.roster.loaded(index, Instant::now(), took);
                let undelivered: Vec<_> = tickets
                    .into_iter()
                    .filter_map(|ticket| self.deliver(&mut inside, index, ticket))
                    .collect();
                let log = inside.log.clone();
                self.settle(inside);
                drop(undelivered);
                (log, format!("{name} was loaded in {:.2} s", took.as_secs_f64()))
            }
            Err(problem) => {
                inside.past[index].1.failures += 1;
                let retry_seconds = LOAD_RETRY.as_secs();
                for ticket in inside.roster.failed(index, Instant::now()) {
                    if let Some(sender) = inside.waiters.remove(&ticket) {
                        let error = ApiError::NotLoaded { model: name.to_string(), retry_seconds };
                        // Whoever has gone need not know.
                        let _ = sender.send(Err(error));
                    }
                }
                let log = inside.log.clone();
                self.settle(inside);
                (log, format!("{name} cannot be loaded: {problem}"))
            }
        };
        notice.0.notice(&notice.1);
    }

    fn unload(self: &Arc<Shared>, index: usize, leaving: Option<Loaded>) {
        let begun = Instant::now();
        let done = leaving.map(Loaded::unload).unwrap_or_default();
        let mut inside = self.lock();
        let (past, counts) = &mut inside.past[index];
        *past = past.plus(&done.counters());
        counts.unloads += 1;
        let _gone = inside.leaving.take();
        inside.roster.unloaded(index);
        let log = inside.log.clone();
        self.settle(inside);
        let (name, took) = (&self.entries[index].name, begun.elapsed().as_secs_f64());
        log.notice(&format!("{name} was unloaded in {took:.2} s"));
    }
}
