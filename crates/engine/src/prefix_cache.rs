//! Which beginnings of prompts need not be computed again.
//!
//! Entry points: [`PrefixCache::find`] and [`PrefixCache::keep`]. An entry is a place in a text that the
//! engine can go on from: the blocks of the full layers before it, shared with whoever else holds them, and a
//! snapshot of what the windowed layers still see there. One without the other is of no use, so an entry is
//! exactly one snapshot slot, and the number of slots is the cache's budget.
//!
//! Entries are found by a chain of keyed hashes, one a full block, that begins with the owner: whom it is
//! kept for and the adapter. What is found is compared token by token, so a collision is a miss, one tenant
//! never meets another's text, and one adapter never goes on from another's numbers. When there is no slot
//! or no block left, the entry that was used longest ago goes. Every look-up is counted, a miss with its
//! reason.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use gptoss_model::BLOCK_TOKENS;

use crate::block_pool::{BlockPool, SlotPool};
use crate::kv_events::KvEvent;
use crate::kv_journal::KvJournal;
use crate::request::Owner;
use crate::stats::PrefixStats;

/// Shorter beginnings are not kept: computing them costs less than the snapshot is worth. Units: tokens.
pub(crate) const PREFIX_TOKENS_MIN: usize = 16;

/// Beginnings that can be gone on from.
pub(crate) struct PrefixCache {
    key: RandomState,
    slots: SlotPool,
    /// By snapshot slot.
    entries: Vec<Option<Entry>>,
    /// Entries by the hash of their full blocks.
    by_hash: HashMap<u64, Vec<u32>>,
    /// Every hash in the chain of an entry, with how many entries have it.
    known: HashMap<u64, u32>,
    /// Every block that is held here, with how many entries hold it.
    held: HashMap<u32, u32>,
    clock: u64,
    stats: PrefixStats,
    /// What is told of blocks that come and go, where somebody listens.
    journal: Option<KvJournal>,
}

struct Entry {
    owner: Owner,
    /// Whether its blocks are told of.
    is_told: bool,
    tokens: Box<[u32]>,
    blocks: Vec<u32>,
    /// The hash after 0, 1, 2, ... full blocks.
    chain: Vec<u64>,
    last_used: u64,
}

/// An entry that a prompt begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where to go on. Units: tokens.
    pub(crate) position: usize,
    /// The windowed layers' part.
    pub(crate) snapshot: u32,
}

impl PrefixCache {
    pub(crate) fn new(num_snapshots: usize) -> PrefixCache {
        PrefixCache {
            key: RandomState::new(),
            slots: SlotPool::new(num_snapshots),
            entries: (0..num_snapshots).map(|_| None).collect(),
            by_hash: HashMap::new(),
            known: HashMap::new(),
            held: HashMap::new(),
            clock: 0,
            stats: PrefixStats::default(),
            journal: None,
        }
    }

    /// Tells of blocks that come and go from now on, and of all that are here, in the order of their use.
    pub(crate) fn tell_all(&mut self) {
        let mut journal = KvJournal::default();
        let mut told: Vec<&Entry> = self.entries.iter().flatten().filter(|entry| entry.is_told).collect();
        told.sort_by_key(|entry| entry.last_used);
        told.iter().for_each(|entry| journal.kept(&entry.chain, &entry.tokens, &entry.owner.kept_for));
        self.journal = Some(journal);
    }

    /// What has happened to blocks since this was asked before.
    pub(crate) fn take_events(&mut self) -> Vec<KvEvent> {
        self.journal.as_mut().map(KvJournal::take).unwrap_or_default()
    }

    pub(crate) fn stats(&self) -> PrefixStats {
        self.stats
    }

    pub(crate) fn num_total(&self) -> usize {
        self.slots.total()
    }

    pub(crate) fn num_used(&self) -> usize {
        self.slots.total() - self.slots.num_free()
    }

    /// Blocks that are held here.
    pub(crate) fn num_blocks(&self) -> usize {
        self.held.len()
    }

    /// The longest entry that `tokens` begins with and that leaves at least one token to compute. Does not
    /// count.
    pub(crate) fn peek(&self, owner: &Owner, tokens: &[u32]) -> Option<Found> {
        self.search(owner, tokens).ok()
    }

    /// As [`peek`](PrefixCache::peek), for a sequence that begins now: counts the outcome and makes the entry
    /// young.
    pub(crate) fn find(&mut self, owner: &Owner, tokens: &[u32]) -> Option<Found> {
        match self.search(owner, tokens) {
            Ok(found) => {
                self.stats.hits += 1;
                self.touch(found.snapshot);
                Some(found)
            }
            Err(miss) => {
                let count = match miss {
                    Miss::Short => &mut self.stats.misses_short,
                    Miss::Unknown => &mut self.stats.misses_unknown,
                    Miss::NoSnapshot => &mut self.stats.misses_no_snapshot,
                    Miss::Collision => &mut self.stats.misses_collision,
                };
                *count += 1;
                None
            }
        }
    }

    fn search(&self, owner: &Owner, tokens: &[u32]) -> Result<Found, Miss> {
        // The logits of the last token are needed, so it is computed in any case.
        let usable = tokens.len().saturating_sub(1);
        if usable < PREFIX_TOKENS_MIN {
            return Err(Miss::Short);
        }
        let chain = self.chain(owner, &tokens[..usable]);
        let mut miss = Miss::Unknown;
        for hash in chain.iter().rev() {
            let mut best: Option<Found> = None;
            for &snapshot in self.by_hash.get(hash).into_iter().flatten() {
                let Some(entry) = &self.entries[snapshot as usize] else { continue };
                if entry.owner != *owner || !has_same_blocks(entry, tokens) {
                    miss = Miss::Collision;
                } else if entry.tokens.len() <= usable && tokens.starts_with(&entry.tokens) {
                    let found = Found { position: entry.tokens.len(), snapshot };
                    best = best.filter(|best| best.position > found.position).or(Some(found));
                }
            }
            if let Some(found) = best {
                return Ok(found);
            }
            let is_known = *hash != chain[0] && self.known.contains_key(hash);
            if is_known && matches!(miss, Miss::Unknown) {
                miss = Miss::NoSnapshot;
            }
        }
        Err(miss)
    }

    /// The blocks of an entry that was found.
    pub(crate) fn blocks(&self, snapshot: u32) -> &[u32] {
        self.entries[snapshot as usize].as_ref().map_or(&[], |entry| &entry.blocks)
    }

    /// Whose an entry is, its tokens and its blocks.
    pub(crate) fn entry(&self, snapshot: u32) -> Option<(&Owner, &[u32], &[u32])> {
        let entry = self.entries[snapshot as usize].as_ref()?;
        Some((&entry.owner, &entry.tokens, &entry.blocks))
    }

    /// Whether [`keep`](PrefixCache::keep) would take a slot for `tokens`: there is a slot, they are not too
    /// short, and they are not kept already.
    pub(crate) fn would_keep(&self, owner: &Owner, tokens: &[u32]) -> bool {
        self.slots.total() > 0
            && tokens.len() >= PREFIX_TOKENS_MIN
            && self.kept(owner, tokens, &self.chain(owner, tokens)).is_none()
    }

    /// The slot of the entry of just these tokens, whose hashes are `chain`.
    fn kept(&self, owner: &Owner, tokens: &[u32], chain: &[u64]) -> Option<u32> {
        let mut slots = self.by_hash.get(chain.last()?).into_iter().flatten().copied();
        slots.find(|&slot| {
            let entry = self.entries[slot as usize].as_ref();
            entry.is_some_and(|entry| entry.owner == *owner && *entry.tokens == *tokens)
        })
    }

    /// Keeps the beginning `tokens`, whose full layers are in `blocks`. The slot whose snapshot has to be
    /// taken now; None when it is kept already, too short, or there is no slot at all. What is private is
    /// told to nobody, and an adapter's neither: who listens knows adapters by names, which are above this
    /// room.
    pub(crate) fn keep(
        &mut self,
        owner: &Owner,
        tokens: &[u32],
        blocks: &[u32],
        pool: &mut BlockPool,
        is_private: bool,
    ) -> Option<u32> {
        if tokens.len() < PREFIX_TOKENS_MIN {
            return None;
        }
        let chain = self.chain(owner, tokens);
        let hash = *chain.last()?;
        if let Some(slot) = self.kept(owner, tokens, &chain) {
            self.touch(slot);
            return None;
        }
        let slot = match self.slots.take() {
            Some(slot) => slot,
            None => {
                self.evict(pool);
                self.slots.take()?
            }
        };
        let blocks = blocks[..tokens.len().div_ceil(BLOCK_TOKENS)].to_vec();
        for &block in &blocks {
            pool.share(block);
            *self.held.entry(block).or_insert(0) += 1;
        }
        self.by_hash.entry(hash).or_default().push(slot);
        chain.iter().for_each(|&hash| *self.known.entry(hash).or_insert(0) += 1);
        let is_told = !is_private && owner.adapter.is_none();
        if let Some(journal) = self.journal.as_mut().filter(|_| is_told) {
            journal.kept(&chain, tokens, &owner.kept_for);
        }
        let owner = owner.clone();
        self.entries[slot as usize] =
            Some(Entry { owner, is_told, tokens: tokens.into(), blocks, chain, last_used: 0 });
        self.touch(slot);
        Some(slot)
    }

    /// Forgets the entry that was used longest ago; its blocks are given back. False when there is none.
    pub(crate) fn evict(&mut self, pool: &mut BlockPool) -> bool {
        let entries = self.entries.iter().enumerate();
        let aged = entries.filter_map(|(slot, entry)| Some((entry.as_ref()?.last_used, slot)));
        let Some((_, slot)) = aged.min() else { return false };
        self.stats.evictions += 1;
        self.remove(slot as u32, pool);
        true
    }

    /// Blocks that would be free if everything here were forgotten: those that nobody else holds.
    pub(crate) fn num_evictable(&self, held: impl Fn(u32) -> u32) -> usize {
        self.held.iter().filter(|&(&block, &count)| held(block) == count).count()
    }

    /// Every block that is held here, as often as it is.
    pub(crate) fn held_blocks(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().flatten().flat_map(|entry| entry.blocks.iter().copied())
    }

    /// Forgets every entry of an owner.
    pub(crate) fn forget(&mut self, owner: &Owner, pool: &mut BlockPool) {
        let of_owner = |(slot, entry): (usize, &Option<Entry>)| {
            entry.as_ref().is_some_and(|entry| entry.owner == *owner).then_some(slot as u32)
        };
        let slots: Vec<u32> = self.entries.iter().enumerate().filter_map(of_owner).collect();
        slots.into_iter().for_each(|slot| self.remove(slot, pool));
    }

    /// Forgets an entry; its blocks are given back.
    pub(crate) fn remove(&mut self, slot: u32, pool: &mut BlockPool) {
        let Some(entry) = self.entries[slot as usize].take() else { return };
        for &block in &entry.blocks {
            pool.give_back(block);
            uncount(&mut self.held, block);
        }
        if let Some(hash) = entry.chain.last()
            && let Some(slots) = self.by_hash.get_mut(hash)
        {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.by_hash.remove(hash);
            }
        }
        entry.chain.iter().for_each(|&hash| uncount(&mut self.known, hash));
        if let Some(journal) = self.journal.as_mut().filter(|_| entry.is_told) {
            journal.removed(&entry.chain);
        }
        self.slots.give_back(slot);
    }

    fn touch(&mut self, slot: u32) {
        self.clock += 1;
        if let Some(entry) = &mut self.entries[slot as usize] {
            entry.last_used = self.clock;
        }
    }

    /// The hash after 0, 1, 2, ... full blocks of `tokens`.
    fn chain(&self, owner: &Owner, tokens: &[u32]) -> Vec<u64> {
        let mut hash = self.key.hash_one(owner);
        let mut chain = vec![hash];
        for block in tokens.chunks_exact(BLOCK_TOKENS) {
            let mut hasher = self.key.build_hasher();
            hash.hash(&mut hasher);
            block.hash(&mut hasher);
            hash = hasher.finish();
            chain.push(hash);
        }
        chain
    }
}

/// Why nothing was found, the weakest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Miss {
    Short,
    Unknown,
    NoSnapshot,
    Collision,
}

/// Counts one less; what nobody has is forgotten.
fn uncount<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Whether the tokens that a hash stands for are those of the entry.
fn has_same_blocks(entry: &Entry, tokens: &[u32]) -> bool {
    let hashed = entry.tokens.len() / BLOCK_TOKENS * BLOCK_TOKENS;
    tokens.starts_with(&entry.tokens[..hashed])
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::Adapter;
    use gptoss_model::AdapterId;

    use super::*;
    use crate::request::{KeptFor, Tenant};

    struct Fixture {
        cache: PrefixCache,
        pool: BlockPool,
    }

    fn fixture(snapshots: usize) -> Fixture {
        Fixture { cache: PrefixCache::new(snapshots), pool: BlockPool::new(100) }
    }

    fn tokens(len: u32) -> Vec<u32> {
        (0..len).map(|i| i * 7 % 31).collect()
    }

    fn owner(name: &str) -> Owner {
        Owner { kept_for: KeptFor::Tenant(Tenant(name.into())), adapter: None }
    }

    impl Fixture {
        fn keep(&mut self, name: &str, tokens: &[u32]) -> Option<u32> {
            let blocks: Vec<u32> =
                (0..tokens.len().div_ceil(BLOCK_TOKENS)).map(|_| self.pool.take().expect("free")).collect();
            let slot = self.cache.keep(&owner(name), tokens, &blocks, &mut self.pool, false);
            blocks.iter().for_each(|&block| self.pool.give_back(block));
            self.pool.check(self.cache.held_blocks()).expect("all are accounted for");
            assert_eq!(self.pool.num_free() + self.cache.num_blocks(), self.pool.total());
            slot
        }

        fn find(&mut self, name: &str, tokens: &[u32]) -> Option<usize> {
            self.cache.find(&owner(name), tokens).map(|found| found.position)
        }
    }

    #[test]
    fn the_longest_beginning_is_found_and_leaves_a_token() {
        let mut fixture = fixture(8);
        for len in [20, 40, 70, 100] {
            assert!(fixture.keep("a", &tokens(len)).is_some());
        }
        assert_eq!(fixture.keep("a", &tokens(70)), None, "kept already");
        let mut check = |len: u32, expect| assert_eq!(fixture.find("a", &tokens(len)), expect, "{len}");
        check(16, None);
        check(20, None);
        check(21, Some(20));
        check(70, Some(40));
        check(71, Some(70));
        check(400, Some(100));
        let parted = [&tokens(90)[..], &[99; 40]].concat();
        assert_eq!(fixture.find("a", &parted), Some(70));
        let stats = fixture.cache.stats();
        assert_eq!((stats.hits, stats.misses_short, stats.misses_unknown), (5, 1, 1));
    }

    #[test]
    fn tenants_do_not_meet() {
        let mut fixture = fixture(8);
        fixture.keep("a", &tokens(64));
        assert_eq!(fixture.find("b", &tokens(80)), None);
        assert_eq!(fixture.find("", &tokens(80)), None);
        assert_eq!(fixture.find("a", &tokens(80)), Some(64));
        assert_eq!(fixture.cache.stats().misses_unknown, 2);
    }

    #[test]
    fn adapters_do_not_meet() {
        let mut fixture = fixture(8);
        let adapted = Owner { adapter: Some(AdapterId::of(&Adapter::default())), ..owner("a") };
        fixture.keep("a", &tokens(64));
        assert_eq!(fixture.cache.find(&adapted, &tokens(80)), None);
        assert!(
            fixture.cache.would_keep(&adapted, &tokens(64))
                && !fixture.cache.would_keep(&owner("a"), &tokens(64))
        );
        assert_eq!(fixture.find("a", &tokens(80)), Some(64));
    }

    #[test]
    fn a_miss_after_a_known_block_says_that_a_snapshot_was_missing() {
        let mut fixture = fixture(8);
        fixture.keep("a", &tokens(100));
        let parted = [&tokens(50)[..], &[99; 60]].concat();
        assert_eq!(fixture.find("a", &parted), None);
        assert_eq!(fixture.cache.stats().misses_no_snapshot, 1);
    }

    /// Two texts whose hashes are made the same by hand: a miss, never the other text's rows.
    #[test]
    fn a_collision_is_a_miss() {
        let mut fixture = fixture(8);
        let slot = fixture.keep("a", &tokens(64)).expect("kept");
        let other: Vec<u32> = tokens(64).iter().map(|token| token + 1).collect();
        let chain = fixture.cache.chain(&owner("a"), &other);
        fixture.cache.by_hash.insert(*chain.last().expect("three"), vec![slot]);
        assert_eq!(fixture.find("a", &[&other[..], &[1]].concat()), None);
        assert_eq!(fixture.cache.stats().misses_collision, 1);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut fixture = fixture(2);
        fixture.keep("a", &tokens(40));
        let other: Vec<u32> = tokens(40).iter().map(|token| token + 1).collect();
        fixture.keep("a", &other);
        assert_eq!(fixture.find("a", &tokens(41)), Some(40));
        fixture.keep("b", &tokens(50));
        assert_eq!(fixture.find("a", &[&other[..], &[1]].concat()), None);
        assert_eq!(fixture.find("a", &tokens(41)), Some(40));
        assert_eq!(fixture.cache.stats().evictions, 1);
        while fixture.cache.evict(&mut fixture.pool) {}
        let (free, used, held) =
            (fixture.pool.num_free(), fixture.cache.num_used(), fixture.cache.num_blocks());
        assert_eq!((free, used, held), (100, 0, 0));
        assert!(fixture.cache.by_hash.is_empty() && fixture.cache.known.is_empty());
    }
}
