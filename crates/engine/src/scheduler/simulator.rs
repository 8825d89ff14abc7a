//! The scheduler against a store of hashes, through random days.
//!
//! A day is decided by its seed: how many slots there are, when requests come, how long they are, how they
//! begin alike, who cancels, which steps fail, which allocations are refused, which guesses are right, whose
//! beginning is fetched and when it comes. The store does what the real one does with rows, but a row is the
//! hash of its adapter and of all tokens up to its position. So before a token is computed the simulator sees
//! whether the sequence really has the rows it would have alone, whatever was shared, copied, kept, evicted
//! or preempted; and the tokens, which come from what the store holds, must be those of the request alone.
//!
//! Every request must end once, every slot must come back, and nobody may wait too long. A failure prints the
//! seed; `GPTOSS_SIMULATOR_SEED=n` replays it alone and `GPTOSS_SIMULATOR_SEEDS=n` runs that many.

use std::collections::HashMap;

use gptoss_checkpoint::{Adapter, AdapterRows};
use gptoss_model::AdapterId;

use super::*;
use crate::plan::Restore;
use crate::random::uniform;
use crate::request::KeptFor;

/// Days of a plain test run; the full one is 2,000.
const SEEDS: u64 = 200;
/// Steps after which a request that has not ended counts as starved.
const STEPS_MAX: u64 = 20_000;
const WINDOW: usize = 9;
const NOTHING: u64 = 0;

/// A row of a full layer is a row of a windowed one too: the hash of the tokens up to its position.
struct Store {
    blocks: Vec<[u64; BLOCK_TOKENS]>,
    rings: Vec<Vec<u64>>,
    snapshots: Vec<[u64; WINDOW]>,
}

impl Store {
    fn new(capacity: Capacity) -> Store {
        let ring_rows = WINDOW - 1 + capacity.chunk_tokens;
        Store {
            blocks: vec![[NOTHING; BLOCK_TOKENS]; capacity.blocks],
            rings: vec![vec![NOTHING; ring_rows]; capacity.rings],
            snapshots: vec![[NOTHING; WINDOW]; capacity.snapshots],
        }
    }

    fn copy(&mut self, copy: &BlockCopy) {
        let from = self.blocks[copy.from as usize];
        self.blocks[copy.to as usize][..copy.rows].copy_from_slice(&from[..copy.rows]);
    }

    fn restore(&mut self, restore: &Restore) {
        let ring = &mut self.rings[restore.ring as usize];
        let rows = ring.len();
        for position in window(restore.position) {
            ring[position % rows] = self.snapshots[restore.snapshot as usize][position % WINDOW];
        }
    }

    /// Fills a place that comes from elsewhere with what computing it would have given.
    fn fill(&mut self, (blocks, snapshot): (Vec<u32>, u32), hashes: &[u64]) {
        for (position, &hash) in hashes.iter().enumerate() {
            self.blocks[blocks[position / BLOCK_TOKENS] as usize][position % BLOCK_TOKENS] = hash;
        }
        for position in window(hashes.len()) {
            self.snapshots[snapshot as usize][position % WINDOW] = hashes[position];
        }
    }

    fn save(&mut self, save: &Save) {
        let ring = &self.rings[save.ring as usize];
        for position in window(save.position) {
            self.snapshots[save.snapshot as usize][position % WINDOW] = ring[position % ring.len()];
        }
    }

    /// Computes one token at `position`; the hash of the text with it.
    fn compute(&mut self, sequence: &Sequence, position: usize, token: u32, expected: &[u64]) -> u64 {
        let ring = sequence.ring.expect("it runs") as usize;
        let row =
            |position: usize| (sequence.blocks[position / BLOCK_TOKENS] as usize, position % BLOCK_TOKENS);
        let before = match position.checked_sub(1) {
            Some(last) => self.blocks[row(last).0][row(last).1],
            None => first_hash(&sequence.owner),
        };
        for (seen, hash) in expected.iter().enumerate().take(position) {
            let (block, row) = row(seen);
            assert_eq!(self.blocks[block][row], *hash, "full row {seen} of sequence {}", sequence.id);
        }
        for seen in window(position) {
            let rows = self.rings[ring].len();
            assert_eq!(self.rings[ring][seen % rows], expected[seen], "ring row {seen} of {}", sequence.id);
        }
        let hash = mix(before, token);
        let (block, row) = row(position);
        self.blocks[block][row] = hash;
        let rows = self.rings[ring].len();
        self.rings[ring][position % rows] = hash;
        hash
    }
}

/// What a windowed layer still sees before `position`.
fn window(position: usize) -> std::ops::Range<usize> {
    (position + 1).saturating_sub(WINDOW)..position
}

fn mix(hash: u64, token: u32) -> u64 {
    (uniform(hash, u64::from(token)) * (1_u64 << 53) as f64) as u64 + 1
}

/// The hash before the first token.
fn first_hash(owner: &Owner) -> u64 {
    owner.adapter.map_or(1, |adapter| 2 + u64::from(adapter.bytes()[0]))
}

/// One of two adapters, or none.
fn adapter(number: usize) -> Option<AdapterId> {
    let rows = AdapterRows { tokens: vec![number as u32], ..AdapterRows::default() };
    (number > 0).then(|| AdapterId::of(&Adapter { rows, ..Adapter::default() }))
}

/// The token that the model chooses after a text, and whether it is a stop.
fn chosen(hash: u64) -> (u32, bool) {
    let token = (hash % 40) as u32;
    (token, token == 39)
}

/// Numbers of one day.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.thrown += 1;
        (uniform(self.seed, self.thrown) * end as f64) as usize
    }

    fn happens(&mut self, one_in: usize) -> bool {
        one_in > 0 && self.below(one_in) == 0
    }
}

/// A request as the day knows it.
struct Client {
    /// What it gets alone.
    alone: Vec<u32>,
    hashes: Vec<u64>,
    arrived: u64,
    owner: Owner,
}

struct Day {
    dice: Dice,
    scheduler: Scheduler,
    store: Store,
    clients: HashMap<u64, Client>,
    /// How often things go wrong: one in so many, 0 is never.
    cancels: usize,
    failures: usize,
    refusals: usize,
    preemptions: usize,
    fetches: usize,
    steps: u64,
    idle_steps: u64,
}

fn capacity(dice: &mut Dice) -> Capacity {
    let chunk_tokens = [1, 3, 7, 20, 64][dice.below(5)];
    let blocks = [4, 6, 12, 40, 200][dice.below(5)];
    Capacity {
        blocks,
        rings: 1 + dice.below(10),
        snapshots: [0, 1, 3, 30][dice.below(4)],
        chunk_tokens,
        step_tokens: chunk_tokens + dice.below(40),
        prefill_beside_decode: 1 + dice.below(chunk_tokens),
    }
}

impl Day {
    fn new(seed: u64) -> Day {
        let mut dice = Dice { seed, thrown: 0 };
        let capacity = capacity(&mut dice);
        Day {
            scheduler: Scheduler::new(capacity),
            store: Store::new(capacity),
            clients: HashMap::new(),
            cancels: [0, 60, 15][dice.below(3)],
            failures: [0, 100][dice.below(2)],
            refusals: [0, 30, 5][dice.below(3)],
            // A prompt of 260 tokens needs that many chunks of one; sent back in every fortieth step it would
            // never end.
            preemptions: [0, 40 * (1 + 60 / capacity.chunk_tokens)][dice.below(2)],
            fetches: [0, 3][dice.below(2)],
            dice,
            steps: 0,
            idle_steps: 0,
        }
    }

    /// Runs the day to its end: every request that comes has ended.
    fn run(mut self) -> u64 {
        let total = 5 + self.dice.below(60) as u64;
        let mut arrived = 0;
        let burst = 1 + self.dice.below(12);
        while arrived < total || !self.scheduler.is_empty() {
            if arrived < total && self.dice.happens(burst) {
                for _ in 0..1 + self.dice.below(burst) {
                    self.arrive(arrived);
                    arrived += 1;
                }
            }
            self.cancel();
            self.deliver();
            self.step();
            self.scheduler.check().expect("adds up");
        }
        assert!(self.clients.is_empty(), "a request was forgotten");
        while self.scheduler.cache.evict(&mut self.scheduler.pool) {}
        assert_eq!(self.scheduler.pool.num_free(), self.scheduler.pool.total(), "blocks leak");
        assert_eq!(self.scheduler.cache.num_used(), 0, "snapshots leak");
        self.steps
    }

    fn arrive(&mut self, id: u64) {
        let dice = &mut self.dice;
        let most = (self.scheduler.capacity.blocks * BLOCK_TOKENS).min(260);
        let tenant = Tenant(["a", "b", "c"][dice.below(3)].into());
        let kept_for = KeptFor::Tenant(tenant.clone());
        let owner = Owner { kept_for, adapter: adapter(dice.below(3)) };
        // Many begin alike, and part somewhere; some go on from what an earlier one has said.
        let earlier = self
            .clients
            .values()
            .filter(|client| client.owner.kept_for == owner.kept_for)
            .map(|client| &client.alone);
        let mut stems: Vec<&Vec<u32>> = earlier.collect();
        stems.sort_unstable();
        let mut prompt: Vec<u32> = match stems.len() {
            0 => Vec::new(),
            count => stems[dice.below(count)].clone(),
        };
        prompt.truncate(dice.below(prompt.len() + 1));
        let longer = 1 + dice.below(most / 2);
        prompt.extend((0..longer).map(|_| dice.below(40) as u32));
        prompt.truncate(most - 1);
        let tokens_max = (prompt.len() + 1 + dice.below(80)).min(most);
        let cache_points = (0..dice.below(4)).map(|_| dice.below(prompt.len() + 1)).collect();
        let priority = [Priority::Background, Priority::Normal, Priority::Interactive][dice.below(3)];
        let (alone, hashes) = alone(&prompt, tokens_max, first_hash(&owner));
        self.clients.insert(id, Client { alone, hashes, arrived: self.steps, owner: owner.clone() });
        let is_private = false;
        let is_fetching = self.dice.happens(self.fetches);
        let job = NewSequence {
            id,
            prompt,
            tokens_max,
            cache_points,
            tenant,
            owner,
            priority,
            is_private,
            is_fetching,
        };
        self.scheduler.add(job);
    }

    /// Something that was fetched comes, whole, shorter than hoped for, or not at all.
    fn deliver(&mut self) {
        let fetching = |id: &u64| self.scheduler.sequence(*id).is_some_and(|sequence| sequence.is_fetching);
        let mut ids: Vec<u64> = self.clients.keys().copied().filter(fetching).collect();
        ids.sort_unstable();
        if ids.is_empty() || !self.dice.happens(4) {
            return;
        }
        let id = ids[self.dice.below(ids.len())];
        let comes = self.dice.below(3) > 0;
        self.scheduler.end_fetch(id);
        let Some(sequence) = self.scheduler.sequence(id) else { return };
        let position = self.dice.below(sequence.tokens.len());
        let (owner, tokens) = (sequence.owner.clone(), sequence.tokens[..position].to_vec());
        if comes
            && position > 0
            && let Some(place) = self.scheduler.adopt(&owner, &tokens)
        {
            self.store.fill(place, &self.clients[&id].hashes[..position]);
        }
    }

    /// Somebody goes away, or is out of time, waiting or running; now and then a running one is sent back.
    fn cancel(&mut self) {
        if self.dice.happens(self.cancels) {
            let mut ids: Vec<u64> = self.clients.keys().copied().collect();
            ids.sort_unstable();
            if !ids.is_empty() {
                let id = ids[self.dice.below(ids.len())];
                let saves = self.scheduler.remove(id);
                saves.iter().for_each(|save| self.store.save(save));
                self.clients.remove(&id);
            }
        }
        if self.dice.happens(self.preemptions) {
            let running = self.scheduler.running(|_| true);
            if !running.is_empty() {
                self.scheduler.preempt(running[self.dice.below(running.len())]);
            }
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        let refused = self.dice.happens(self.refusals);
        if refused {
            self.scheduler.refuse_blocks(1 + self.dice.below(3));
        }
        let (clients, dice) = (&self.clients, &mut self.dice);
        let mut draft = |sequence: &Sequence| {
            let right = clients[&sequence.id].alone[sequence.tokens.len()..].iter().copied();
            let mut guesses: Vec<u32> = right.take(dice.below(5)).collect();
            if let Some(last) = guesses.last_mut() {
                *last = (*last + dice.below(2) as u32) % 40;
            }
            guesses
        };
        let plan = self.scheduler.schedule(&mut draft);
        self.scheduler.refuse_blocks(0);
        plan.copies.iter().for_each(|copy| self.store.copy(copy));
        plan.restores.iter().for_each(|restore| self.store.restore(restore));
        let has_work = !self.scheduler.is_empty() && !self.scheduler.is_only_fetching();
        let is_idle = plan.chunks.is_empty() && has_work && !refused;
        self.idle_steps = if is_idle { self.idle_steps + 1 } else { 0 };
        assert!(self.idle_steps < 3, "requests wait and nothing runs");
        let capacity = self.scheduler.capacity;
        let planned: usize =
            plan.chunks.iter().map(|chunk| chunk.end - chunk.start + chunk.draft.len()).sum();
        assert!(planned <= capacity.step_tokens.max(capacity.rings), "{planned} tokens in a step");
        let outcomes = plan.chunks.clone().iter().map(|chunk| self.carry_out(chunk)).collect();
        let committed = self.scheduler.commit(plan, outcomes);
        committed.saves.iter().for_each(|save| self.store.save(save));
        let mut slots: Vec<u32> = committed.saves.iter().map(|save| save.snapshot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), committed.saves.len(), "a slot is saved to twice");
        for (id, ended) in committed.ended {
            let client = self.clients.remove(&id).expect("ends once");
            let _ = (client, ended);
        }
        for (id, client) in &self.clients {
            assert!(self.steps - client.arrived < STEPS_MAX, "request {id} starves");
        }
    }

    fn carry_out(&mut self, chunk: &Chunk) -> Outcome {
        let sequence = self.scheduler.sequence(chunk.id).expect("is there");
        let client = &self.clients[&chunk.id];
        let capacity = self.scheduler.capacity;
        assert!(chunk.end - chunk.start + chunk.draft.len() <= capacity.chunk_tokens, "a chunk is too long");
        assert!(chunk.start == sequence.num_computed && chunk.start < chunk.end);
        let mut hash = NOTHING;
        for position in chunk.start..chunk.end {
            hash = self.store.compute(sequence, position, sequence.tokens[position], &client.hashes);
        }
        if self.dice.happens(self.failures) {
            return Outcome::Failed;
        }
        if !chunk.is_chosen {
            return Outcome::Computed;
        }
        let mut tokens = Vec::new();
        let mut guesses = chunk.draft.iter();
        loop {
            let (token, is_stop) = chosen(hash);
            assert_eq!(
                Some(&token),
                client.alone.get(sequence.tokens.len() + tokens.len()),
                "not as if alone"
            );
            tokens.push(token);
            let is_full = sequence.tokens.len() + tokens.len() >= sequence.tokens_max;
            if is_stop || is_full || guesses.next() != Some(&token) {
                return Outcome::Chosen { tokens, is_stop };
            }
            let position = sequence.tokens.len() + tokens.len() - 1;
            hash = self.store.compute(sequence, position, token, &client.hashes);
        }
    }
}

/// What a request gets alone: its tokens, and the hash after each.
fn alone(prompt: &[u32], tokens_max: usize, first_hash: u64) -> (Vec<u32>, Vec<u64>) {
    let (mut tokens, mut hashes) = (prompt.to_vec(), Vec::new());
    let mut hash = first_hash;
    for &token in prompt {
        hash = mix(hash, token);
        hashes.push(hash);
    }
    while tokens.len() < tokens_max {
        let (token, is_stop) = chosen(hash);
        tokens.push(token);
        hash = mix(hash, token);
        hashes.push(hash);
        if is_stop {
            break;
        }
    }
    (tokens, hashes)
}

#[cfg(test)]
mod tests {
    use super::{Day, SEEDS};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "which days to replay is told by the environment")]
    fn days_go_by_and_every_request_ends() {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        if let Some(seed) = number("GPTOSS_SIMULATOR_SEED") {
            println!("seed {seed}: {} steps", Day::new(seed).run());
            return;
        }
        let seeds = number("GPTOSS_SIMULATOR_SEEDS").unwrap_or(SEEDS);
        let mut steps = 0;
        for seed in 0..seeds {
            let day = std::panic::catch_unwind(|| Day::new(seed).run());
            steps += day.unwrap_or_else(|_| panic!("GPTOSS_SIMULATOR_SEED={seed} replays this failure"));
        }
        println!("simulator: {seeds} seeds, {steps} steps");
    }
}
