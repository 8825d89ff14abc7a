//! The choice of sequences that run in the next step, and how far.
//!
//! [`Scheduler::schedule`] makes a [`Plan`], [`Scheduler::commit`] takes it back with what became of it;
//! requests are added and removed in between. No clock, no tensor, no channel, so that a simulator can drive
//! it through a million steps. The rules, in the order of a step:
//!
//! 1. *Urgency.* A waiting request of a higher priority than a running one takes its place if there is no
//!    other.
//! 2. *Shares.* When all rings are taken, a tenant below its share gets one from the tenant with the most.
//! 3. *Admission* (`admission.rs`), while there is a ring and the blocks for its tokens: highest priority
//!    first, then the tenant that has had the least, then the one that came first. Waiting raises the
//!    priority by one in every [`AGING_STEPS`]. A request that begins like one being computed waits for it.
//! 4. *Decode.* Every sequence that needs one token computes it, before any prompt.
//! 5. *Prefill.* What is left of the budget goes to prompts in the order of rank, in chunks.
//!
//! When blocks run out, kept prefixes go first, then the running sequence of the lowest rank is preempted: it
//! waits again and is computed anew. A request that does not fit alone is never accepted, so one advances.

mod admission;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use gptoss_model::BLOCK_TOKENS;

use crate::block_pool::{BlockPool, SlotPool};
use crate::plan::{BlockCopy, Chunk, Committed, Ended, Outcome, Plan, Save};
use crate::prefix_cache::PrefixCache;
use crate::request::{Owner, Priority, Tenant};
use crate::sequence::{NewSequence, Sequence};

/// Steps after which a waiting request counts as one priority higher.
pub(crate) const AGING_STEPS: u64 = 500;

/// What the scheduler has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) blocks: usize,
    /// Sequences that run at a time.
    pub(crate) rings: usize,
    pub(crate) snapshots: usize,
    /// Tokens of one sequence in a step.
    pub(crate) chunk_tokens: usize,
    /// Tokens of a step, of all sequences.
    pub(crate) step_tokens: usize,
    /// Prompt tokens of a step in which others decode: what a long prompt adds to the time between their
    /// tokens.
    pub(crate) prefill_beside_decode: usize,
}

/// Every sequence there is, and every slot.
pub(crate) struct Scheduler {
    capacity: Capacity,
    /// By id, so by arrival.
    sequences: BTreeMap<u64, Sequence>,
    pool: BlockPool,
    rings: SlotPool,
    cache: PrefixCache,
    /// Tokens computed for each tenant that has sequences here.
    service: HashMap<Tenant, u64>,
    now: u64,
    counts: Counts,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) preemptions: u64,
    pub(crate) prefill_tokens: u64,
}

impl Scheduler {
    pub(crate) fn new(capacity: Capacity) -> Scheduler {
        Scheduler {
            capacity,
            sequences: BTreeMap::new(),
            pool: BlockPool::new(capacity.blocks),
            rings: SlotPool::new(capacity.rings),
            cache: PrefixCache::new(capacity.snapshots),
            service: HashMap::new(),
            now: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a request in. It must fit alone: `tokens_max` is at most the tokens of all blocks.
    pub(crate) fn add(&mut self, job: NewSequence) {
        // Invariant: what does not fit alone would never run.
        assert!(job.tokens_max <= self.capacity.blocks * BLOCK_TOKENS, "a request is larger than the pool");
        // A tenant that comes anew has no claim from the time it was away.
        let least = self.service.values().copied().min().unwrap_or(0);
        self.service.entry(job.tenant.clone()).or_insert(least);
        self.sequences.insert(job.id, Sequence::new(job, self.now));
    }

    pub(crate) fn sequence(&self, id: u64) -> Option<&Sequence> {
        self.sequences.get(&id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.sequences.keys().copied()
    }

    /// What was fetched for a sequence is there, or will not come: it waits for a slot now.
    pub(crate) fn end_fetch(&mut self, id: u64) {
        if let Some(sequence) = self.sequences.get_mut(&id) {
            sequence.is_fetching = false;
        }
    }

    /// Whether there is nothing to do but to wait for what is fetched.
    pub(crate) fn is_only_fetching(&self) -> bool {
        !self.sequences.is_empty() && self.sequences.values().all(|sequence| sequence.is_fetching)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    pub(crate) fn num_running(&self) -> usize {
        self.rings.total() - self.rings.num_free()
    }

    pub(crate) fn pool(&self) -> &BlockPool {
        &self.pool
    }

    pub(crate) fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    pub(crate) fn cache_mut(&mut self) -> &mut PrefixCache {
        &mut self.cache
    }

    /// Makes room for a place that comes from elsewhere: its blocks and its snapshot, to be filled before the
    /// next step. None, and nothing has been forgotten for it, when it would not be kept or there is no room
    /// to give without taking it from a running sequence.
    pub(crate) fn adopt(&mut self, owner: &Owner, tokens: &[u32]) -> Option<(Vec<u32>, u32)> {
        let needed = tokens.len().div_ceil(BLOCK_TOKENS);
        let free = self.pool.num_free();
        let has_room =
            needed <= free || needed <= free + self.cache.num_evictable(|block| self.pool.num_holders(block));
        if !has_room || !self.cache.would_keep(owner, tokens) {
            return None;
        }
        let mut blocks = Vec::with_capacity(needed);
        while blocks.len() < needed {
            match self.pool.take() {
                Some(block) => blocks.push(block),
                None if self.cache.evict(&mut self.pool) => {}
                None => break,
            }
        }
        let is_whole = blocks.len() == needed;
        let kept = is_whole.then(|| self.cache.keep(owner, tokens, &blocks, &mut self.pool, false)).flatten();
        // The cache holds them now, or nobody.
        blocks.iter().for_each(|&block| self.pool.give_back(block));
        kept.map(|snapshot| (blocks, snapshot))
    }

    /// Forgets a kept place, as if it had been the oldest.
    pub(crate) fn forget(&mut self, snapshot: u32) {
        self.cache.remove(snapshot, &mut self.pool);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Plans the next step. `draft` says which tokens of a sequence that decodes are worth computing before
    /// they are chosen.
    pub(crate) fn schedule(&mut self, draft: &mut dyn FnMut(&Sequence) -> Vec<u32>) -> Plan {
        self.now += 1;
        let mut plan = Plan::default();
        self.make_way();
        self.share_out(&mut plan);
        self.admit(&mut plan);
        let mut budget = self.capacity.step_tokens;
        for id in self.running(Sequence::is_decoding) {
            let Some(sequence) = self.sequences.get(&id).filter(|sequence| sequence.ring.is_some()) else {
                continue;
            };
            let room = (sequence.tokens_max - sequence.tokens.len()).saturating_sub(1);
            let room = room.min(self.capacity.chunk_tokens - 1).min(budget.saturating_sub(1));
            let mut guesses = draft(sequence);
            guesses.truncate(room);
            let used = self.plan_chunk(&mut plan, id, 1, guesses);
            budget = budget.saturating_sub(used);
        }
        if !plan.chunks.is_empty() {
            budget = budget.min(self.capacity.prefill_beside_decode);
        }
        for id in self.running(|sequence| !sequence.is_decoding()) {
            let Some(sequence) = self.sequences.get(&id).filter(|sequence| sequence.ring.is_some()) else {
                continue;
            };
            let tokens = sequence.num_missing().min(self.capacity.chunk_tokens).min(budget);
            if tokens > 0 {
                budget -= self.plan_chunk(&mut plan, id, tokens, Vec::new());
            }
        }
        // Rows of one adapter side by side share the reading of it. The order changes no number.
        let adapter = |chunk: &Chunk| self.sequences[&chunk.id].owner.adapter;
        if plan.chunks.iter().any(|chunk| adapter(chunk).is_some()) {
            plan.chunks.sort_by_key(adapter);
        }
        plan
    }

    /// Settles a step: `outcomes` are those of the plan's chunks, in their order.
    pub(crate) fn commit(&mut self, plan: Plan, outcomes: Vec<Outcome>) -> Committed {
        // Invariant: whoever carries a plan out answers for all of it.
        assert_eq!(plan.chunks.len(), outcomes.len(), "every chunk has an outcome");
        let mut committed = Committed::default();
        for (chunk, outcome) in plan.chunks.into_iter().zip(outcomes) {
            let Some(sequence) = self.sequences.get_mut(&chunk.id) else { continue };
            let is_prefill = chunk.end < sequence.prompt_len || !sequence.is_decoding();
            self.counts.prefill_tokens += if is_prefill { (chunk.end - chunk.start) as u64 } else { 0 };
            *self.service.entry(sequence.tenant.clone()).or_insert(0) += (chunk.end - chunk.start) as u64;
            sequence.num_computed = chunk.end;
            let ended = match outcome {
                Outcome::Computed => None,
                Outcome::Failed => Some(Ended::Failed),
                Outcome::Chosen { tokens, is_stop } => {
                    sequence.num_computed += tokens.len() - 1;
                    sequence.tokens.extend(tokens);
                    let is_full = sequence.tokens.len() >= sequence.tokens_max;
                    if is_stop { Some(Ended::Stop) } else { is_full.then_some(Ended::Length) }
                }
            };
            if ended != Some(Ended::Failed) {
                let ends = ended.map(|_| self.sequences[&chunk.id].num_computed);
                self.keep(chunk.id, chunk.start..chunk.end, ends, &mut committed.saves);
            }
            if let Some(ended) = ended {
                self.release(chunk.id);
                committed.ended.push((chunk.id, ended));
            }
        }
        committed
    }

    /// Lets a sequence go that somebody else has ended; what it had computed may be kept.
    pub(crate) fn remove(&mut self, id: u64) -> Vec<Save> {
        let mut saves = Vec::new();
        if let Some(sequence) = self.sequences.get(&id) {
            let computed = sequence.num_computed;
            if sequence.ring.is_some() {
                self.keep(id, computed..computed, Some(computed), &mut saves);
            }
            self.release(id);
        }
        saves
    }

    /// Sends a running sequence back to wait; it will be computed again. False when it does not run.
    pub(crate) fn preempt(&mut self, id: u64) -> bool {
        let now = self.now;
        let Some(sequence) = self.sequences.get_mut(&id) else { return false };
        let Some(ring) = sequence.ring.take() else { return false };
        sequence.waits_since = now;
        sequence.num_computed = 0;
        let blocks = std::mem::take(&mut sequence.blocks);
        blocks.into_iter().for_each(|block| self.pool.give_back(block));
        self.rings.give_back(ring);
        self.counts.preemptions += 1;
        true
    }

    /// Compares every count with what it counts.
    ///
    /// Errors: in words, what does not add up.
    pub(crate) fn check(&self) -> Result<(), String> {
        let of_sequences = self.sequences.values().flat_map(|sequence| sequence.blocks.iter().copied());
        self.pool.check(of_sequences.chain(self.cache.held_blocks()))?;
        let running = self.sequences.values().filter(|sequence| sequence.ring.is_some()).count();
        if running != self.num_running() {
            return Err(format!("{running} sequences run and {} rings are used", self.num_running()));
        }
        let waits =
            self.sequences.values().find(|sequence| sequence.ring.is_none() && !sequence.blocks.is_empty());
        if let Some(sequence) = waits {
            return Err(format!("sequence {} waits and holds {} blocks", sequence.id, sequence.blocks.len()));
        }
        match self.is_empty() && !self.service.is_empty() {
            true => Err("a tenant without sequences is remembered".to_owned()),
            false => Ok(()),
        }
    }

    /// Makes the next allocations of blocks fail.
    #[cfg(test)]
    pub(crate) fn refuse_blocks(&mut self, allocations: usize) {
        self.pool.refuse(allocations);
    }

    /// Running sequences that `wanted` says, in the order of rank.
    fn running(&self, wanted: impl Fn(&Sequence) -> bool) -> Vec<u64> {
        let running = self.sequences.values().filter(|sequence| sequence.ring.is_some() && wanted(sequence));
        let mut ranked: Vec<_> = running.map(Sequence::rank).collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, id)| id).collect()
    }

    /// Plans the next `tokens` of a sequence, and guesses after them, if there are blocks. The tokens
    /// planned.
    fn plan_chunk(&mut self, plan: &mut Plan, id: u64, tokens: usize, draft: Vec<u32>) -> usize {
        let sequence = &self.sequences[&id];
        let (start, len) = (sequence.num_computed, sequence.tokens.len());
        let end = start + tokens;
        let mut draft = draft;
        // Guesses are worth no preemption, nor a kept prefix.
        let free = self.pool.num_free() + sequence.blocks.len();
        draft.truncate((free * BLOCK_TOKENS).saturating_sub(end + BLOCK_TOKENS));
        if !self.make_room(plan, id, end + draft.len()) {
            return 0;
        }
        let planned = tokens + draft.len();
        plan.chunks.push(Chunk { id, start, end, is_chosen: end == len, draft });
        planned
    }

    /// Gives a sequence blocks of its own for all positions from its first missing one up to `end`, taking
    /// them from kept prefixes and from lower ranks. False when there are not enough; it then keeps what it
    /// got.
    fn make_room(&mut self, plan: &mut Plan, id: u64, end: usize) -> bool {
        loop {
            let sequence = &self.sequences[&id];
            let first = sequence.num_computed / BLOCK_TOKENS;
            let shared = sequence.blocks.get(first).copied().filter(|&block| self.pool.is_shared(block));
            if shared.is_none() && sequence.blocks.len() * BLOCK_TOKENS >= end {
                return true;
            }
            let rows = sequence.num_computed % BLOCK_TOKENS;
            let Some(block) = self.pool.take() else {
                if self.cache.evict(&mut self.pool) || self.preempt_below(plan, id) {
                    continue;
                }
                return false;
            };
            let Some(sequence) = self.sequences.get_mut(&id) else { return false };
            match shared {
                Some(from) => {
                    plan.copies.push(BlockCopy { from, to: block, rows });
                    sequence.blocks[first] = block;
                    self.pool.give_back(from);
                }
                None => sequence.blocks.push(block),
            }
        }
    }

    /// Preempts the running sequence of the lowest rank, if that is below `id` and not in the plan.
    fn preempt_below(&mut self, plan: &Plan, id: u64) -> bool {
        let rank = self.sequences[&id].rank();
        let lowest = self.running(|sequence| sequence.rank() > rank).pop();
        // Decodes are planned in the order of rank before prompts, so a lower rank may be in the plan
        // already.
        lowest
            .is_some_and(|lowest| !plan.chunks.iter().any(|chunk| chunk.id == lowest) && self.preempt(lowest))
    }

    /// Keeps the cache_points of a sequence that lie in `computed`, and its end; at the end of what is kept
    /// for one request, nothing.
    fn keep(&mut self, id: u64, computed: std::ops::Range<usize>, end: Option<usize>, saves: &mut Vec<Save>) {
        let Some(sequence) = self.sequences.get(&id) else { return };
        let Some(ring) = sequence.ring else { return };
        if end.is_some() && sequence.owner.is_one_request() {
            return;
        }
        let inside = sequence.cache_points.iter().copied();
        let inside = inside.filter(|&place| computed.start < place && place <= computed.end);
        for position in inside.chain(end) {
            let tokens = &sequence.tokens[..position];
            let (owner, is_private) = (&sequence.owner, sequence.is_private);
            if let Some(snapshot) =
                self.cache.keep(owner, tokens, &sequence.blocks, &mut self.pool, is_private)
            {
                // A slot that is given away twice in a commit holds what got it last, and nothing else may be
                // written to the disk under that entry.
                saves.retain(|save: &Save| save.snapshot != snapshot);
                saves.push(Save { ring, position, snapshot, is_private });
            }
        }
    }

    fn release(&mut self, id: u64) {
        let Some(sequence) = self.sequences.remove(&id) else { return };
        sequence.blocks.into_iter().for_each(|block| self.pool.give_back(block));
        if let Some(ring) = sequence.ring {
            self.rings.give_back(ring);
        }
        if sequence.owner.is_one_request() {
            self.cache.forget(&sequence.owner, &mut self.pool);
        }
        if !self.sequences.values().any(|other| other.tenant == sequence.tenant) {
            self.service.remove(&sequence.tenant);
        }
    }

    /// The priority that waiting has given a sequence.
    fn aged(&self, sequence: &Sequence) -> Priority {
        let raised = (self.now - sequence.waits_since) / AGING_STEPS;
        match (sequence.priority, raised) {
            (priority, 0) => priority,
            (Priority::Background, 1) => Priority::Normal,
            _ => Priority::Interactive,
        }
    }
}
