//! Where the keys and values of the tokens so far are kept.
//!
//! Entry points: `Model::new_cache`, then [`KvCache::len`], [`KvCache::truncate`] and [`KvCache::reset`]; the forward
//! pass writes and reads rows. A layer with full attention keeps every position up to `max_context`, in memory that
//! is zeroed by the system and so costs nothing until it is touched. A windowed layer keeps a ring:
//!
//! ```text
//! position   0 … len-R      len-R+1 … len-1        slot of a position = position mod R
//!            overwritten    held                   R = window - 1 + chunk (or max_context, if smaller)
//! ```
//!
//! R is the window plus the longest chunk, because the first query of a chunk still looks `window - 1` positions
//! back after the chunk's last key is written. Keys reach the attention kernel in order of position, as one run or as
//! two when the ring wraps; the kernel's order of summation counts positions, so a wrap changes no bit.
//!
//! It does not know what the numbers mean, nor which tokens they belong to: the engine remembers that.

use std::ops::Range;

use gptoss_kernels::{KvRun, KvSlice};
use half::bf16;

use crate::Error;
use crate::config::{LayerKind, ModelConfig, Precision};

/// The keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    shape: CacheShape,
    layers: Vec<LayerCache>,
    len: usize,
    /// The lowest position that every ring still holds; it only grows until `reset`.
    held_from: usize,
}

/// What two caches must share to belong to the same model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheShape {
    layer_kinds: Vec<LayerKind>,
    /// Numbers of one position's keys: `K * D`.
    row: usize,
    window: usize,
    max_context: usize,
    chunk_tokens: usize,
    precision: Precision,
}

/// Bytes of a cache by kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvBytes {
    /// Layers that keep the whole context.
    pub full_layers: u64,
    /// Layers that keep a ring.
    pub windowed_layers: u64,
}

#[derive(Debug)]
struct LayerCache {
    /// `[slots, K, D]`.
    keys: Rows,
    /// `[slots, K, D]`.
    values: Rows,
}

/// Zeroed rows. bf16 is kept by its bits, because only integers are zeroed lazily by the allocator.
#[derive(Debug)]
enum Rows {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl CacheShape {
    pub(crate) fn new(
        config: &ModelConfig,
        precision: Precision,
        max_context: usize,
        chunk_tokens: usize,
    ) -> CacheShape {
        CacheShape {
            layer_kinds: config.layer_kinds.clone(),
            row: config.num_kv_heads * config.head_dim,
            window: config.sliding_window,
            max_context,
            chunk_tokens,
            precision,
        }
    }

    /// The number of rows a layer of this kind keeps.
    fn slots(&self, kind: LayerKind) -> usize {
        match kind {
            LayerKind::Full => self.max_context,
            LayerKind::Windowed => (self.window - 1 + self.chunk_tokens).min(self.max_context),
        }
    }

    /// The first position that a query at `position` sees.
    fn first_visible(&self, kind: LayerKind, position: usize) -> usize {
        match kind {
            LayerKind::Full => 0,
            LayerKind::Windowed => (position + 1).saturating_sub(self.window),
        }
    }
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> KvCache {
        let layers = shape
            .layer_kinds
            .iter()
            .map(|&kind| {
                let numbers = shape.slots(kind) * shape.row;
                LayerCache {
                    keys: Rows::zeroed(shape.precision, numbers),
                    values: Rows::zeroed(shape.precision, numbers),
                }
            })
            .collect();
        KvCache { shape, layers, len: 0, held_from: 0 }
    }

    /// The bytes that a cache of `max_context` tokens reserves, fed by chunks of at most `chunk_tokens`.
    pub fn bytes(
        config: &ModelConfig,
        precision: Precision,
        max_context: usize,
        chunk_tokens: usize,
    ) -> KvBytes {
        let shape = CacheShape::new(config, precision, max_context, chunk_tokens);
        let of_kind = |kind| {
            let layers = shape.layer_kinds.iter().filter(|&&k| k == kind).count();
            (2 * layers * shape.slots(kind) * shape.row * precision.kv_bytes()) as u64
        };
        KvBytes { full_layers: of_kind(LayerKind::Full), windowed_layers: of_kind(LayerKind::Windowed) }
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
        self.shape.max_context
    }

    /// Forgets every position.
    pub fn reset(&mut self) {
        self.len = 0;
        self.held_from = 0;
    }

    /// Whether [`truncate`](KvCache::truncate) to `len` would succeed.
    pub fn can_truncate(&self, len: usize) -> bool {
        let windowed = self.shape.layer_kinds.contains(&LayerKind::Windowed);
        let needed_from = self.shape.first_visible(LayerKind::Windowed, len);
        len <= self.len && (!windowed || len == 0 || needed_from >= self.held_from)
    }

    /// Forgets the positions from `len` on, so that the next token stands at position `len`.
    ///
    /// What is kept is exactly what a fresh cache would hold after `len` tokens, as far as any later query can see.
    ///
    /// Errors: `Rollback` when the windowed layers no longer hold the keys that the token at `len` would look at, or
    /// when fewer than `len` positions are filled. The cache is then unchanged.
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

    /// Appends `num_tokens` positions of random keys and values (from a seed), as if a text had been read: for measuring at
    /// a depth that would take minutes to compute. Numbers are even in -1..1. The tokens that follow mean nothing.
    ///
    /// Errors: `ContextExceeded` when they do not fit; the cache is then unchanged.
    pub fn append_random(&mut self, num_tokens: usize, seed: u64) -> Result<(), Error> {
        let needed = self.len + num_tokens;
        if needed > self.shape.max_context {
            return Err(Error::ContextExceeded { needed, max_context: self.shape.max_context });
        }
        let width = self.shape.row;
        let rows = random_rows(width, seed);
        let row = |number: usize| &rows[number % RANDOM_ROWS * width..][..width];
        while self.len < needed {
            let chunk = self.shape.chunk_tokens.min(needed - self.len);
            self.begin_chunk(chunk);
            for layer in 0..self.layers.len() {
                for position in self.len..self.len + chunk {
                    let number = position * 2 * self.layers.len() + 2 * layer;
                    self.write(layer, position, row(number), row(number + 1));
                }
            }
            self.end_chunk(chunk);
        }
        Ok(())
    }

    pub(crate) fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// Announces that `num_tokens` rows will be written from `len` on: what the rings lose by it is lost now, also if
    /// the forward pass fails half-way.
    pub(crate) fn begin_chunk(&mut self, num_tokens: usize) {
        let slots = self.shape.slots(LayerKind::Windowed);
        assert!(num_tokens <= self.shape.chunk_tokens, "a chunk is at most chunk_tokens long");
        self.held_from = self.held_from.max((self.len + num_tokens).saturating_sub(slots));
    }

    /// The chunk's rows are all written.
    pub(crate) fn end_chunk(&mut self, num_tokens: usize) {
        self.len += num_tokens;
    }

    /// Writes the keys and values `[K, D]` of one position.
    pub(crate) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let slot = position % self.shape.slots(self.shape.layer_kinds[layer]);
        let place = slot * self.shape.row..(slot + 1) * self.shape.row;
        self.layers[layer].keys.write(place.clone(), keys);
        self.layers[layer].values.write(place, values);
    }

    /// The keys and values that queries at the `positions` of a layer see, their own included, in order of position.
    pub(crate) fn visible(&self, layer: usize, positions: Range<usize>) -> [KvRun<'_>; 2] {
        let kind = self.shape.layer_kinds[layer];
        let slots = self.shape.slots(kind);
        let first = self.shape.first_visible(kind, positions.start);
        let count = positions.end - first;
        // The two runs must not overlap; a chunk is short enough for its ring.
        assert!(count <= slots, "a ring holds the window and the chunk");
        let start = first % slots;
        let before_wrap = count.min(slots - start);
        let run = |slots: Range<usize>, first_position| KvRun {
            keys: self.layers[layer].keys.slice(slots.clone(), self.shape.row),
            values: self.layers[layer].values.slice(slots.clone(), self.shape.row),
            first_position,
            len: slots.len(),
        };
        [run(start..start + before_wrap, first), run(0..count - before_wrap, first + before_wrap)]
    }

    /// The window that a layer's attention is limited to. Units: tokens.
    pub(crate) fn window(&self, layer: usize) -> Option<usize> {
        match self.shape.layer_kinds[layer] {
            LayerKind::Full => None,
            LayerKind::Windowed => Some(self.shape.window),
        }
    }
}

/// Different rows that `append_random` writes; a prime, so that layers and positions do not fall into step.
const RANDOM_ROWS: usize = 1021;

/// `[RANDOM_ROWS, row]`, even in -1..1.
fn random_rows(row: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        // Steps of a 64-bit linear congruential generator; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..RANDOM_ROWS * row).map(next).collect()
}

impl Rows {
    fn zeroed(precision: Precision, numbers: usize) -> Rows {
        match precision {
            Precision::Exact => Rows::F32(vec![0.0; numbers]),
            Precision::Fast => Rows::Bf16(vec![0; numbers]),
        }
    }

    fn write(&mut self, place: Range<usize>, row: &[f32]) {
        match self {
            Rows::F32(numbers) => numbers[place].copy_from_slice(row),
            Rows::Bf16(bits) => {
                for (bits, &number) in bits[place].iter_mut().zip(row) {
                    *bits = bf16::from_f32(number).to_bits();
                }
            }
        }
    }

    fn slice(&self, slots: Range<usize>, row: usize) -> KvSlice<'_> {
        let place = slots.start * row..slots.end * row;
        match self {
            Rows::F32(numbers) => KvSlice::F32(&numbers[place]),
            Rows::Bf16(bits) => KvSlice::Bf16(bytemuck::cast_slice(&bits[place])),
        }
    }
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};
    use gptoss_kernels::Pool;

    use crate::{Batch, Error, LogitRows, Model, Precision};

    #[test]
    fn random_positions_are_the_seeds_alone() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| ()).expect("loads");
        let model = model.with_chunk_tokens(48);
        let logits = |parts: &[usize], seed| {
            let mut cache = model.new_cache(301);
            parts.iter().for_each(|&part| cache.append_random(part, seed).expect("fits"));
            assert_eq!(cache.len(), 300);
            assert!(matches!(cache.append_random(2, seed), Err(Error::ContextExceeded { needed: 302, .. })));
            model.forward(&Batch { tokens: &[7], logits: LogitRows::Last }, &mut cache).expect("finite").rows
        };
        assert_eq!(logits(&[300], 1), logits(&[1, 200, 99], 1));
        assert_ne!(logits(&[300], 1), logits(&[300], 2));
    }
}
