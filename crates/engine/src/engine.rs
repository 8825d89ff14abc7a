//! The beat: schedule, forward, sample, commit.
//!
//! Entry points: [`Engine::run`] answers the requests of an inbox on the calling thread until there will be
//! no more, and [`Engine::spawn`] does so on a thread of its own; [`Engine::accept`] and [`Engine::step`] are
//! what both are made of, without a thread, for tests; [`Engine::generate`] answers a single request.
//!
//! All rows of a step go through the weights together, and a sequence's numbers are those it would have
//! alone, so what runs beside it, how its prompt was cut, what was kept of earlier prompts, a preemption or a
//! guess change no bit of its tokens and log-probabilities. What a prompt begins with may come from the disk;
//! its request waits for that while others step.
//!
//! A step that breaks is carried out again for each sequence alone: who panics or has no finite numbers fails
//! alone, and the others go on as if nothing had happened, since a step writes only what it would write
//! again.
//!
//! A card that is lost or hangs ends every request there is, once, with the reason; so it goes with those
//! that come later, until `worker.rs` has made the engine again. Where copies between slots have failed, rows
//! are missing: every request ends too, and keys and values begin anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gptoss_model::{
    BLOCK_TOKENS, KvMove, KvStore, LogitRows, Model, Pool, Segment, SegmentLogits, SequenceKv, StoreSizes,
    Workspace,
};

use crate::Error;
use crate::active_request::{ActiveRequest, words};
use crate::error::Failure;
use crate::handle::{ChannelLimits, QueuedRequest};
use crate::kv_events::{KvEventSender, KvTap};
use crate::kv_plan::{EngineOptions, KvPlan};
use crate::limits::{CACHE_POINTS_MAX, FETCH_TIME_MAX, FORCED_TOKENS_MAX};
use crate::plan::{Chunk, Ended, Outcome, Plan, Save};
use crate::prefix_disk::{Fetched, PrefixDisk};
use crate::request::{FinishReason, KeptFor, Owner, Sharing};
use crate::scheduler::{Capacity, Scheduler};
use crate::sequence::NewSequence;
use crate::speculation::Drafter;
use crate::stats::EngineStats;

/// How long a step waits for the disk when there is nothing else to do: as long as a request that comes then
/// may wait.
const FETCH_PATIENCE: Duration = Duration::from_millis(5);

/// A model with the keys and values of many sequences.
pub struct Engine {
    model: Arc<Model>,
    options: EngineOptions,
    plan: KvPlan,
    store: KvStore,
    workspace: Workspace,
    /// Threads that sample; the model has its own.
    pool: Pool,
    scheduler: Scheduler,
    active: BTreeMap<u64, ActiveRequest>,
    drafter: Drafter,
    disk: Option<PrefixDisk>,
    /// Who is told of blocks that are kept and forgotten.
    kv_events: Option<KvTap>,
    /// Requests that wait for the disk, each with the moment at which it computes instead.
    fetching: BTreeMap<u64, Instant>,
    /// [`FETCH_TIME_MAX`]; tests are less patient.
    fetch_time_max: Duration,
    stats: EngineStats,
    /// Requests that were taken in, from whatever inbox: each has a number of its own here.
    num_taken: u64,
    /// Why the device is of no use any more, if it is not.
    lost: Option<Failure>,
    /// A token whose computation panics.
    #[cfg(test)]
    poison: Option<u32>,
}

impl Engine {
    /// An engine for one sequence at a time of up to `max_context` tokens, prompt and completion together.
    ///
    /// Units: tokens. The memory is reserved, and touched as far as a conversation comes.
    pub fn new(model: Arc<Model>, max_context: usize) -> Engine {
        let options = EngineOptions { max_sequences: 1, ..EngineOptions::new(max_context) };
        // Without a number of bytes there is nothing that can be too little.
        Engine::with_options(model, options).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// An engine for many sequences.
    ///
    /// Errors: `KvMemory`.
    pub fn with_options(model: Arc<Model>, options: EngineOptions) -> Result<Engine, Error> {
        let plan = KvPlan::new(model.config(), model.kv_format(), model.chunk_tokens(), &options)?;
        let scheduler = Scheduler::new(capacity(&model, &options, &plan));
        // One sequence at a time has nothing to share.
        let threads = if plan.sizes.rings > 1 { model.pool().threads() } else { 1 };
        Ok(Engine {
            store: model.new_store(plan.sizes, options.max_context),
            workspace: model.new_workspace(),
            pool: Pool::new(threads),
            model,
            options,
            plan,
            scheduler,
            active: BTreeMap::new(),
            drafter: Drafter::new(options.speculation),
            disk: None,
            kv_events: None,
            fetching: BTreeMap::new(),
            fetch_time_max: FETCH_TIME_MAX,
            stats: EngineStats::default(),
            num_taken: 0,
            lost: None,
            #[cfg(test)]
            poison: None,
        })
    }

    /// The same engine with a folder in which kept places outlive it.
    pub fn with_disk(self, disk: PrefixDisk) -> Engine {
        Engine { disk: Some(disk), ..self }
    }

    /// The same engine, which tells of blocks that the prefix cache keeps and forgets.
    pub fn with_kv_events(mut self, events: KvEventSender) -> Engine {
        self.scheduler.cache_mut().tell_all();
        Engine { kv_events: Some(events.tap()), ..self }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens that a prompt and its completion can have together.
    pub fn max_context(&self) -> usize {
        self.options.max_context
    }

    /// The memory of keys and values.
    pub fn kv_plan(&self) -> &KvPlan {
        &self.plan
    }

    /// What a channel to this engine must hold requests against.
    pub fn limits(&self) -> ChannelLimits {
        ChannelLimits::new(self.model.config().vocab_size, self.max_context())
    }

    /// What was done so far, and how full it is. The channel counts what it accepted and refused.
    pub fn stats(&self) -> EngineStats {
        let counts = self.scheduler.counts();
        EngineStats {
            preemptions: self.stats.preemptions + counts.preemptions,
            prefill_tokens: self.stats.prefill_tokens + counts.prefill_tokens,
            prefix: self.stats.prefix.plus(&self.scheduler.cache().stats()),
            disk: self.disk.as_ref().map(PrefixDisk::stats).unwrap_or_default(),
            experts: self.model.expert_traffic().unwrap_or_default(),
            running: self.scheduler.num_running(),
            sequences_max: self.options.max_sequences,
            block_tokens: BLOCK_TOKENS,
            blocks_total: self.scheduler.pool().total(),
            blocks_free: self.scheduler.pool().num_free(),
            blocks_cached: self.scheduler.cache().num_blocks(),
            snapshots_used: self.scheduler.cache().num_used(),
            snapshots_total: self.scheduler.cache().num_total(),
            has_no_device: self.lost.is_some(),
            kv_events: self.kv_events.as_ref().map(KvTap::counts).unwrap_or_default(),
            ..self.stats
        }
    }

    /// Whether no request is there.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Why the device is of no use any more, if it was lost or hangs.
    pub(crate) fn lost(&self) -> Option<&Failure> {
        self.lost.as_ref()
    }

    /// Takes a request in. One that may generate nothing ends at once, and so does one for a device that is
    /// lost.
    pub fn accept(&mut self, accepted: QueuedRequest) {
        let id = accepted.id;
        let forced_max = if self.options.forced_drafts { FORCED_TOKENS_MAX } else { 0 };
        let (mut active, prompt) = ActiveRequest::new(accepted, forced_max);
        if let Some(lost) = &self.lost {
            active.begin(0);
            active.fail(lost.clone());
            self.end(active, FinishReason::Cancelled);
            return;
        }
        let request = active.request();
        let tokens_max = prompt.len().saturating_add(request.max_new_tokens).min(self.max_context());
        if tokens_max == prompt.len() {
            active.begin(0);
            self.end(active, FinishReason::Length);
            return;
        }
        let cache_points = request.cache_points.iter().copied().take(CACHE_POINTS_MAX).collect();
        let tenant = request.tenant.clone();
        self.num_taken += 1;
        let kept_for = KeptFor::of(&request.sharing, &tenant, self.num_taken);
        let owner = Owner { kept_for, adapter: request.adapter };
        let is_private = request.is_private || request.sharing == Sharing::Nobody;
        let priority = request.priority;
        let is_fetching = self.fetch(id, &owner, &prompt);
        if is_fetching {
            self.fetching.insert(id, Instant::now() + self.fetch_time_max);
        }
        self.scheduler.add(NewSequence {
            id,
            prompt,
            tokens_max,
            cache_points,
            tenant,
            owner,
            priority,
            is_private,
            is_fetching,
        });
        self.active.insert(id, active);
    }

    /// One beat. False when there was nothing to do.
    pub fn step(&mut self) -> bool {
        self.retire_cancelled();
        self.take_fetched();
        if self.active.is_empty() {
            return false;
        }
        let plan = self.schedule();
        // What was forgotten is told before its blocks are written to.
        self.tell_kv_events();
        self.announce(&plan);
        self.store.apply(&plan.moves());
        let started = Instant::now();
        let logits = match self.forward(&plan) {
            Ok(logits) => logits,
            Err(lost) => {
                self.lose(lost);
                return true;
            }
        };
        let outcomes = self.sample(&plan, logits);
        self.learn(&plan, &outcomes, started.elapsed());
        self.commit(plan, outcomes);
        self.tell_kv_events();
        true
    }

    /// Sends every running sequence back to wait, so that it is computed again: for tests.
    #[doc(hidden)]
    pub fn preempt_all(&mut self) {
        let ids: Vec<u64> = self.scheduler.ids().collect();
        ids.into_iter().for_each(|id| {
            self.scheduler.preempt(id);
        });
    }

    /// Compares every count of slots with those who hold them. Cheap; done whenever the engine falls idle.
    ///
    /// Errors: in words, what does not add up.
    pub fn check(&self) -> Result<(), String> {
        self.scheduler.check()
    }

    /// Forgets everything that is kept, and whose slot is whose. For an idle engine whose books are wrong.
    pub(crate) fn start_afresh(&mut self) {
        // Invariant: nobody is there who holds a slot.
        assert!(self.active.is_empty(), "an engine starts afresh when it is idle");
        self.forget_all();
        self.stats.integrity_resets += 1;
    }

    /// Ends every request with `failure`.
    pub fn fail_all(&mut self, failure: &Failure) {
        for id in self.active.keys().copied().collect::<Vec<_>>() {
            self.end_early(id, FinishReason::Cancelled, Some(failure.clone()));
        }
    }

    /// Ends every request with the reason for which no step can succeed any more. Nothing of them is kept,
    /// and nothing that was kept before.
    fn lose(&mut self, lost: Lost) {
        let (Lost::Device(failure) | Lost::Rows(failure)) = &lost;
        for id in self.active.keys().copied().collect::<Vec<_>>() {
            self.give_up_fetch(id);
            if let Some(mut active) = self.active.remove(&id) {
                active.fail(failure.clone());
                self.end(active, FinishReason::Cancelled);
            }
        }
        self.forget_all();
        match lost {
            Lost::Device(failure) => {
                self.stats.device_losses += 1;
                self.lost = Some(failure);
            }
            Lost::Rows(_) => {
                // The old rows go first, and the recordings that hold them: there may be no room for both.
                self.workspace = self.model.new_workspace();
                self.store = self.model.new_store(StoreSizes { blocks: 0, rings: 0, snapshots: 0 }, 1);
                self.store = self.model.new_store(self.plan.sizes, self.options.max_context);
            }
        }
    }

    /// Forgets everything that is kept, and whose slot is whose. What was counted stays.
    fn forget_all(&mut self) {
        let EngineStats { preemptions, prefill_tokens, prefix, .. } = self.stats();
        self.stats = EngineStats { preemptions, prefill_tokens, prefix, ..self.stats };
        self.scheduler = Scheduler::new(capacity(&self.model, &self.options, &self.plan));
        if self.kv_events.is_some() {
            self.scheduler.cache_mut().tell_all();
            self.tell_kv_events();
        }
    }

    /// Whether some of that was lost and is still to be told anew.
    pub(crate) fn owes_kv_events(&self) -> bool {
        self.kv_events.as_ref().is_some_and(KvTap::is_behind)
    }

    /// Hands over what has happened to kept blocks. When some of it was lost, everything is told anew as soon
    /// as there is room.
    pub(crate) fn tell_kv_events(&mut self) {
        let Some(sender) = &mut self.kv_events else { return };
        let cache = self.scheduler.cache_mut();
        if sender.may_begin_anew() {
            cache.tell_all();
        }
        sender.send(cache.take_events());
    }

    /// Plans the next step, with drafts.
    fn schedule(&mut self) -> Plan {
        let (drafter, active) = (&mut self.drafter, &self.active);
        self.scheduler.schedule(&mut |sequence| {
            let forced = active.get(&sequence.id).map(ActiveRequest::forced);
            drafter.draft(sequence, forced.unwrap_or_default())
        })
    }

    /// Tells the requests that begin, and counts what the plan holds.
    fn announce(&mut self, plan: &Plan) {
        for &(id, cached_tokens) in &plan.begun {
            if let Some(request) = self.active.get_mut(&id) {
                request.begin(cached_tokens);
                self.stats.cached_tokens += cached_tokens as u64;
                self.stats.prompt_tokens += self.scheduler.sequence(id).map_or(0, |s| s.prompt_len) as u64;
            }
        }
        let forced = plan.chunks.iter().filter_map(|chunk| {
            Some(self.active.get(&chunk.id)?.forced().len().min(chunk.draft.len()) as u64)
        });
        self.stats.forced_drafts += forced.sum::<u64>();
        self.stats.steps += u64::from(!plan.chunks.is_empty());
    }

    /// Ends requests whose caller is gone or whose time is over.
    fn retire_cancelled(&mut self) {
        let now = Instant::now();
        let over = self.active.iter().filter_map(|(&id, active)| Some((id, active.is_called_off(now)?)));
        for (id, reason) in over.collect::<Vec<_>>() {
            self.end_early(id, reason, None);
        }
    }

    fn end_early(&mut self, id: u64, reason: FinishReason, failure: Option<Failure>) {
        self.give_up_fetch(id);
        let saves = self.scheduler.remove(id);
        self.save(&saves);
        if let Some(mut active) = self.active.remove(&id) {
            failure.into_iter().for_each(|failure| active.fail(failure));
            self.end(active, reason);
        }
    }

    /// Where in the workspace the logits of every chunk are: of all together if that succeeds, or else of
    /// each alone.
    ///
    /// Errors: no step can succeed any more.
    fn forward(&mut self, plan: &Plan) -> Result<Vec<Result<usize, Failure>>, Lost> {
        self.workspace.clear();
        if plan.chunks.is_empty() {
            return Ok(Vec::new());
        }
        match self.try_forward(&plan.chunks) {
            Ok(()) => Ok((0..plan.chunks.len()).map(Ok).collect()),
            Err(Broken::Step(failure)) if plan.chunks.len() == 1 => Ok(vec![Err(failure)]),
            Err(Broken::Step(_)) => plan.chunks.iter().map(|chunk| self.forward_alone(chunk)).collect(),
            Err(Broken::Engine(lost)) => Err(lost),
        }
    }

    fn forward_alone(&mut self, chunk: &Chunk) -> Result<Result<usize, Failure>, Lost> {
        match self.try_forward(std::slice::from_ref(chunk)) {
            Ok(()) => Ok(Ok(self.workspace.num_segments() - 1)),
            Err(Broken::Step(failure)) => Ok(Err(failure)),
            Err(Broken::Engine(lost)) => Err(lost),
        }
    }

    fn try_forward(&mut self, chunks: &[Chunk]) -> Result<(), Broken> {
        let mut tokens: Vec<Vec<u32>> = Vec::with_capacity(chunks.len());
        let mut sequences = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            // Invariant: a plan names sequences that run.
            let sequence = self.scheduler.sequence(chunk.id).filter(|sequence| sequence.ring.is_some());
            let Some(sequence) = sequence else {
                let message = format!("sequence {} does not run", chunk.id);
                return Err(Broken::Step(Failure::Forward { message }));
            };
            tokens.push([&sequence.tokens[chunk.start..chunk.end], &chunk.draft].concat());
            sequences.push(sequence);
        }
        let segments: Vec<Segment<'_>> = chunks
            .iter()
            .zip(&tokens)
            .zip(&sequences)
            .map(|((chunk, tokens), sequence)| Segment {
                tokens,
                first_position: chunk.start,
                kv: SequenceKv { blocks: &sequence.blocks, ring: sequence.ring.unwrap_or(0) },
                logits: match (chunk.is_chosen, chunk.draft.is_empty()) {
                    (false, _) => LogitRows::None,
                    (true, true) => LogitRows::Last,
                    (true, false) => LogitRows::All,
                },
                adapter: sequence.owner.adapter,
            })
            .collect();
        let (model, store, workspace) = (&self.model, &mut self.store, &mut self.workspace);
        #[cfg(test)]
        let poison = self.poison;
        let answer = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!tokens.iter().flatten().any(|&token| Some(token) == poison), "a poisoned token");
            model.forward_segments(&segments, store, workspace)
        }));
        match answer {
            Ok(outcome) => outcome.map_err(Broken::of),
            Err(panic) => Err(Broken::Step(Failure::Panicked { message: words(panic.as_ref()) })),
        }
    }

    /// Chooses tokens from the logits, each sequence for itself and all at once: choosing reads the whole
    /// vocabulary several times, and a mask may cost more than that.
    fn sample(&mut self, plan: &Plan, logits: Vec<Result<usize, Failure>>) -> Vec<Outcome> {
        let workspace = &self.workspace;
        let choices: Vec<Mutex<Choice<'_>>> = plan
            .chunks
            .iter()
            .zip(logits)
            .map(|(chunk, logits)| {
                let sequence = self.scheduler.sequence(chunk.id);
                let ends = sequence.map_or((0, 0), |sequence| (sequence.tokens.len(), sequence.tokens_max));
                let request = self.active.remove(&chunk.id);
                let room = ends.1 - ends.0;
                let logits = logits.and_then(|segment| Ok(workspace.logits(segment)?));
                Mutex::new(Choice {
                    request,
                    chunk,
                    logits,
                    position: ends.0,
                    room,
                    outcome: Outcome::Failed,
                })
            })
            .collect();
        // Each lock is taken once: it is what lets tasks change their own choice without unsafe code.
        self.pool.run(choices.len(), |index| {
            choices[index].lock().unwrap_or_else(PoisonError::into_inner).make();
        });
        let mut outcomes = Vec::with_capacity(choices.len());
        for choice in choices {
            let Choice { request, chunk, outcome, .. } =
                choice.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(request) = request {
                self.active.insert(chunk.id, request);
            }
            if let Outcome::Chosen { tokens, .. } = &outcome {
                self.stats.generated_tokens += tokens.len() as u64;
                self.stats.drafted_tokens += chunk.draft.len() as u64;
                self.stats.accepted_drafts += tokens.len() as u64 - 1;
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Tells the drafter what a step of decoding alone took.
    fn learn(&mut self, plan: &Plan, outcomes: &[Outcome], time: Duration) {
        let is_decode = !plan.chunks.is_empty()
            && plan.chunks.iter().all(|chunk| chunk.is_chosen && chunk.end - chunk.start == 1);
        if !is_decode {
            return self.drafter.skip();
        }
        let chosen = outcomes.iter().map(|outcome| match outcome {
            Outcome::Chosen { tokens, .. } => tokens.len(),
            Outcome::Computed | Outcome::Failed => 0,
        });
        let had_guesses = plan.chunks.iter().any(|chunk| !chunk.draft.is_empty());
        self.drafter.learn(had_guesses, chosen.sum(), time);
    }

    fn commit(&mut self, plan: Plan, outcomes: Vec<Outcome>) {
        let committed = self.scheduler.commit(plan, outcomes);
        self.save(&committed.saves);
        for (id, ended) in committed.ended {
            let Some(mut active) = self.active.remove(&id) else { continue };
            let reason = match ended {
                Ended::Stop => FinishReason::Stop,
                Ended::Length => FinishReason::Length,
                Ended::Failed => {
                    active.fail(Failure::Forward { message: "no reason was given".to_owned() });
                    FinishReason::Cancelled
                }
            };
            self.end(active, reason);
        }
    }

    fn save(&mut self, saves: &[Save]) {
        for save in saves {
            let Save { ring, position, snapshot, .. } = *save;
            self.store.apply(&[KvMove::SaveWindow { ring, position, snapshot }]);
            let Some(disk) = self.disk.as_ref().filter(|_| !save.is_private) else { continue };
            let Some((owner, tokens, blocks)) = self.scheduler.cache().entry(save.snapshot) else {
                continue;
            };
            let store = &self.store;
            let last_block = blocks.get(tokens.len() / BLOCK_TOKENS).copied();
            disk.write(
                owner,
                tokens,
                |number| store.block_bytes(blocks[number]),
                || store.place_bytes(save.snapshot, tokens.len(), last_block),
            );
        }
    }

    /// Orders a place that a prompt begins with from the disk, if it is longer than what is in memory.
    /// Whether it comes.
    fn fetch(&self, id: u64, owner: &Owner, prompt: &[u32]) -> bool {
        let Some(disk) = self.disk.as_ref().filter(|_| !owner.is_one_request()) else {
            return false;
        };
        let here = self.scheduler.cache().peek(owner, prompt).map_or(0, |found| found.position);
        disk.fetch(id, owner, prompt, here)
    }

    /// Takes what came from the disk; waits for it a moment when there is nothing else to do. Who has waited
    /// too long computes.
    fn take_fetched(&mut self) {
        let mut patience = if self.scheduler.is_only_fetching() { FETCH_PATIENCE } else { Duration::ZERO };
        while let Some(fetched) = self.disk.as_ref().and_then(|disk| disk.fetched(patience)) {
            patience = Duration::ZERO;
            self.fetching.remove(&fetched.id);
            self.scheduler.end_fetch(fetched.id);
            self.load_from_disk(fetched);
        }
        let now = Instant::now();
        let late = self.fetching.iter().filter(|&(_, until)| *until <= now).map(|(&id, _)| id);
        for id in late.collect::<Vec<_>>() {
            self.give_up_fetch(id);
        }
    }

    /// Lets a request wait no longer for what was ordered from the disk.
    fn give_up_fetch(&mut self, id: u64) {
        if self.fetching.remove(&id).is_some() {
            self.disk.iter().for_each(|disk| disk.forget(id));
            self.scheduler.end_fetch(id);
        }
    }

    /// Puts a place from the disk into the prefix cache, if it is longer than what is there by now.
    fn load_from_disk(&mut self, fetched: Fetched) {
        let Fetched { id, owner, tokens, bytes } = fetched;
        let (Some(bytes), Some(sequence)) = (bytes, self.scheduler.sequence(id)) else { return };
        let here = self.scheduler.cache().peek(&sequence.owner, &sequence.tokens);
        if here.is_some_and(|found| found.position >= tokens.len()) {
            return;
        }
        let Some((blocks, snapshot)) = self.scheduler.adopt(&owner, &tokens) else { return };
        let last_block = blocks.get(tokens.len() / BLOCK_TOKENS).copied();
        let mut full = blocks.iter().zip(&bytes.blocks);
        let mut fits = full.all(|(&block, bytes)| self.store.set_block(block, bytes));
        fits &= self.store.set_place(snapshot, tokens.len(), last_block, &bytes.tail);
        if !fits {
            self.scheduler.forget(snapshot);
        }
    }

    /// The one way out: counts the ending and tells it.
    fn end(&mut self, active: ActiveRequest, reason: FinishReason) {
        let stats = &mut self.stats;
        let count = match reason {
            _ if active.has_failed() => &mut stats.ended_failed,
            FinishReason::Stop => &mut stats.ended_stop,
            FinishReason::Length => &mut stats.ended_length,
            FinishReason::Cancelled => &mut stats.ended_cancelled,
            FinishReason::Deadline => &mut stats.ended_deadline,
        };
        *count += 1;
        active.end(reason);
    }
}

/// Why no step can succeed any more.
enum Lost {
    /// The device was lost or hangs.
    Device(Failure),
    /// Rows of the store are missing.
    Rows(Failure),
}

/// What a step's failure breaks.
enum Broken {
    /// This step.
    Step(Failure),
    /// All that follow too.
    Engine(Lost),
}

impl Broken {
    fn of(error: gptoss_model::Error) -> Broken {
        let failure = Failure::from(&error);
        match error {
            gone if gone.ends_device() => Broken::Engine(Lost::Device(failure)),
            gptoss_model::Error::LostRows(_) => Broken::Engine(Lost::Rows(failure)),
            _ => Broken::Step(failure),
        }
    }
}

fn capacity(model: &Model, options: &EngineOptions, plan: &KvPlan) -> Capacity {
    Capacity {
        blocks: plan.sizes.blocks,
        rings: plan.sizes.rings,
        snapshots: plan.sizes.snapshots,
        chunk_tokens: model.chunk_tokens(),
        step_tokens: model.chunk_tokens().max(plan.sizes.rings),
        prefill_beside_decode: options.prefill_beside_decode.max(1),
    }
}

/// One sequence's part of sampling.
struct Choice<'a> {
    request: Option<ActiveRequest>,
    chunk: &'a Chunk,
    logits: Result<SegmentLogits<'a>, Failure>,
    /// Of the first token to choose.
    position: usize,
    /// Most tokens to choose.
    room: usize,
    outcome: Outcome,
}

impl Choice<'_> {
    fn make(&mut self) {
        let Some(request) = &mut self.request else { return };
        self.outcome = match &self.logits {
            Err(failure) => {
                request.fail(failure.clone());
                Outcome::Failed
            }
            Ok(logits) => {
                request.tell_prefill(self.chunk.end);
                match self.chunk.is_chosen {
                    _ if request.has_failed() => Outcome::Failed,
                    true => request.choose(*logits, self.position, &self.chunk.draft, self.room),
                    false => Outcome::Computed,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests;
