//! The keys and values of one sequence: a store with one sequence in it.
//!
//! Entry points: `Model::new_cache`, then [`KvCache::len`], [`KvCache::truncate`] and [`KvCache::reset`]; the
//! forward pass writes and reads rows. It is what scoring a text or a test needs: one sequence, all its
//! blocks from the start, one ring. Going back works as far as the ring reaches:
//!
//! ```text
//! position   0 … len-R      len-R+1 … len-1        R = window - 1 + chunk (or max_context, if smaller)
//!            overwritten    held
//! ```

use crate::Error;
use crate::adapter::AdapterId;
use crate::kv_store::KvStore;
use crate::layout::{BLOCK_TOKENS, StoreShape, StoreSizes};
use crate::step::SequenceKv;

/// The keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    store: KvStore,
    /// Every block of the store, in order.
    blocks: Vec<u32>,
    max_context: usize,
    len: usize,
    /// The lowest position that the ring still holds; it only grows until `reset`.
    held_from: usize,
    /// The adapter under which they are computed.
    adapter: Option<AdapterId>,
}

impl KvCache {
    /// The slots of a cache for `max_context` tokens: all blocks and one ring.
    pub(crate) fn sizes(max_context: usize) -> StoreSizes {
        StoreSizes { blocks: max_context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 }
    }

    /// A cache in a store of these sizes.
    pub(crate) fn new(store: KvStore, max_context: usize) -> KvCache {
        let blocks = (0..store.sizes().blocks as u32).collect();
        KvCache { store, blocks, max_context, len: 0, held_from: 0, adapter: None }
    }

    /// The same cache, empty, for keys and values under an adapter.
    pub fn with_adapter(mut self, adapter: Option<AdapterId>) -> KvCache {
        self.reset();
        self.adapter = adapter;
        self
    }

    /// The adapter under which they are computed.
    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        self.adapter
    }

    /// Positions that are filled. Units: tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most positions there can be. Units: tokens.
    pub fn max_context(&self) -> usize {
        self.max_context
    }

    /// Forgets every position.
    pub fn reset(&mut self) {
        self.len = 0;
        self.held_from = 0;
    }

    /// Whether [`truncate`](KvCache::truncate) to `len` would succeed.
    pub fn can_truncate(&self, len: usize) -> bool {
        let shape = self.store.shape();
        let is_held = shape.window_start(len) >= self.held_from;
        len <= self.len && (len == 0 || is_held || !shape.has_windows())
    }

    /// Forgets the positions from `len` on, so that the next token is at position `len`.
    ///
    /// What is kept is exactly what a fresh cache would hold after `len` tokens, as far as any later query
    /// can see.
    ///
    /// Errors: `Rollback` when the windowed layers no longer hold the keys that the token at `len` would look
    /// at, or when fewer than `len` positions are filled. The cache is then unchanged.
    pub fn truncate(&mut self, len: usize) -> Result<(), Error> {
        if !self.can_truncate(len) {
            return Err(Error::Rollback { len: self.len, wanted: len, held_from: self.held_from });
        }
        match len {
            0 => self.reset(),
            _ => self.len = len,
        }
        Ok(())
    }

    pub(crate) fn shape(&self) -> &StoreShape {
        self.store.shape()
    }

    /// The store and this sequence's slots in it.
    pub(crate) fn parts(&mut self) -> (&mut KvStore, SequenceKv<'_>) {
        (&mut self.store, SequenceKv { blocks: &self.blocks, ring: 0 })
    }

    /// Announces that `num_tokens` rows will be written from `len` on: what the ring loses by it is lost now,
    /// also if the forward pass fails half-way.
    pub(crate) fn begin_chunk(&mut self, num_tokens: usize) {
        let ring_rows = self.store.shape().ring_rows;
        self.held_from = self.held_from.max((self.len + num_tokens).saturating_sub(ring_rows));
    }

    /// The chunk's rows are all written.
    pub(crate) fn end_chunk(&mut self, num_tokens: usize) {
        self.len += num_tokens;
    }
}
