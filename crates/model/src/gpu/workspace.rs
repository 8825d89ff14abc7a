//! Buffers of a pass between its ops, and the recordings that are kept for the next one.
//!
//! Entry points: [`Workspace`], [`Buffers`]. The buffers are made once, by the first step, for the longest
//! pass; a shorter one uses the front of each. [`buffer_sizes`] is what is made and what the memory plan
//! counts. A recording belongs to the store whose rows it writes, and a step with another store begins anew.

use gptoss_formats::BLOCK_VALUES;
use gptoss_gpu as gpu;
use gptoss_gpu::ops::{AttentionSpans, BestTokens, Int8Rows, KvPlace, MiddleRows, SortExperts, TILE_ROWS};
use gptoss_gpu::{Buffer, Device, Place, Recorded, Slice};

use crate::config::{ModelConfig, Precision};
use crate::cpu::workspace::Widths;
use crate::gpu::pass::{PASS_ROWS_MAX, Pass, PassShape};
use crate::logit_buffer::{BEST_TOKENS, LogitBuffer, RowSummary};
use crate::step::LOGIT_ROWS_MAX;

/// Most recordings that are kept; the one that was used longest ago goes first.
const RECORDINGS_MAX: usize = 24;
/// Most rows times spans whose attention is taken by a workgroup a span; beyond that there are enough rows.
pub(crate) const SPANS_APART_MAX: u32 = 512;

/// Bytes of the best tokens of a row, each with its logit.
pub(crate) const BEST_BYTES: usize = BEST_TOKENS * 8;
/// Bytes of the sums of a row.
pub(crate) const SUMS_BYTES: usize = 16;

/// The working memory of steps on a card.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) logits: LogitBuffer,
    pub(crate) pass: Pass,
    /// Made by the first step of the model with this number.
    pub(crate) buffers: Option<(u64, Buffers)>,
    pub(crate) passes: Recordings<(u64, PassShape)>,
    /// Passes in pieces, one a layer and the rest, where experts stay on the host.
    pub(crate) pieces: Recordings<(u64, PassShape), Vec<Recorded>>,
    /// `[T, A]` u32 on the host, likewise: what routers chose.
    pub(crate) chosen: Option<Buffer>,
    pub(crate) tails: Recordings<TailShape>,
    /// A pass's input on the host, before it is written to where the card sees it.
    pub(crate) input: Vec<u8>,
}

/// What a recording of the unembedding is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailShape {
    /// Rows.
    pub(crate) rows: u32,
    /// Whether they are the first of the pass, or have been put together before.
    pub(crate) is_front: bool,
}

/// Recordings by what they are made for, the last used behind.
pub(crate) struct Recordings<K, R = Recorded> {
    kept: Vec<(K, R)>,
}

/// Buffers of a pass of `T` rows, at most [`PASS_ROWS_MAX`].
pub(crate) struct Buffers {
    /// `[T, C]` of embedding rows, `[T, D]` of angles and `[T]` of places, each at its place, on the host.
    pub(crate) input: Buffer,
    pub(crate) hidden: Slice,           // [T, C], the residual stream
    pub(crate) angles: Slice,           // [T, D / 2] of cosine and sine
    pub(crate) places: Slice,           // [T]
    pub(crate) normed: Slice,           // [T, C]
    pub(crate) normed_int8: Int8Rows,   // [2T, C] in two parts, for dense matrices in int8
    pub(crate) middles: MiddleRows,     // [T, C] for experts
    pub(crate) query: Slice,            // [T, H, D]
    pub(crate) key: Slice,              // [T, K, D]
    pub(crate) value: Slice,            // [T, K, D]
    pub(crate) partials: Slice,         // of attention by spans
    pub(crate) attended: Slice,         // [T, H, D]
    pub(crate) attended_int8: Int8Rows, // [T, H, D]
    pub(crate) router_logits: Slice,    // [T, E]
    pub(crate) experts: Slice,          // [T, A] u32
    pub(crate) weights: Slice,          // [T, A]
    pub(crate) gate_up: Slice,          // [T, A, 2F]
    pub(crate) activated_f32: Slice,    // [T, A, F], where experts take f32
    pub(crate) activated: MiddleRows,   // [T, A, F]
    pub(crate) outputs: Slice,          // [T, A, C]
    pub(crate) order: ExpertOrder,      // of many rows
    pub(crate) last_hidden: Slice,      // [rows, C], the rows that are unembedded
    pub(crate) last_normed: Slice,      // [rows, C]
    pub(crate) last_int8: Int8Rows,     // [2 rows, C]
    pub(crate) logits: Slice,           // [rows, V]
    pub(crate) best: BestRows,          // of logits
    /// `[rows, V]` on the host.
    pub(crate) host_logits: Buffer,
    /// The best tokens of all rows, then their sums, on the host.
    pub(crate) host_best: Buffer,
}

/// The best tokens of rows of logits and the sums of their softmax.
pub(crate) struct BestRows {
    pub(crate) tokens: Slice,  // [rows, BEST_TOKENS] of two words
    pub(crate) sums: Slice,    // [rows, 4]
    pub(crate) found: Slice,   // of spans
    pub(crate) softmax: Slice, // of spans
}

/// The order in which experts take the rows of a pass, where they are many.
pub(crate) struct ExpertOrder {
    pub(crate) slots: Slice,      // [T, A] u32
    pub(crate) tokens: Slice,     // [T * A] u32
    pub(crate) tiles: Slice,      // of four u32
    pub(crate) dispatches: Slice, // [2, 3] u32
}

/// Which products take int8 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int8Forms {
    pub(crate) attention: bool,
    pub(crate) unembedding: bool,
    pub(crate) experts: bool,
}

impl Int8Forms {
    /// Of a model some of whose matrices of attention are int8, and whose unembedding is.
    pub(crate) fn of(precision: Precision, attention: bool, unembedding: bool) -> Int8Forms {
        let experts = precision == Precision::Fast;
        Int8Forms { attention: attention && experts, unembedding: unembedding && experts, experts }
    }
}

/// Where the parts of a pass's input begin. Units: bytes.
pub(crate) struct InputPlaces {
    pub(crate) angles: u64,
    pub(crate) places: u64,
    pub(crate) end: u64,
}

impl InputPlaces {
    pub(crate) fn of(config: &ModelConfig) -> InputPlaces {
        let rows = PASS_ROWS_MAX as u64;
        let angles = rows * 4 * config.hidden_size as u64;
        let places = angles + rows * 4 * config.head_dim as u64;
        InputPlaces { angles, places, end: places + rows * KvPlace::BYTES }
    }
}

/// What the buffers are, where they lie and their bytes, in the order in which they are made.
pub(crate) fn buffer_sizes(config: &ModelConfig, forms: Int8Forms) -> Vec<(&'static str, Place, u64)> {
    let Widths { hidden, query, kv, inner } = Widths::of(config);
    let (t, rows) = (PASS_ROWS_MAX, LOGIT_ROWS_MAX);
    let active = config.active_experts();
    let mut sizes = vec![("the input of a pass", Place::Host, InputPlaces::of(config).end)];
    let mut words = |what, count: usize| sizes.push((what, Place::Card, 4 * count as u64));
    words("the residual stream", t * hidden);
    words("angles", t * config.head_dim);
    words("places", t * 4);
    words("normed rows", t * hidden);
    words("queries", t * query);
    words("keys of a pass", t * kv);
    words("values of a pass", t * kv);
    words("attended rows", t * query);
    words("the router's logits", t * config.num_experts);
    words("chosen experts", t * active);
    words("weights of experts", t * active);
    words("gate and up rows", t * active * 2 * inner);
    words("the experts' rows", t * active * hidden);
    words("last rows", rows * hidden);
    words("last normed rows", rows * hidden);
    words("logits", rows * config.vocab_size);
    words("activated rows in f32", if forms.experts { 0 } else { t * active * inner });
    words("slots of experts' rows", t * active);
    words("tokens of experts' rows", t * active);
    words("workgroups of experts", 6);
    words("best tokens", rows * BEST_TOKENS * 2);
    words("sums of logits", rows * 4);
    let [heads, kv_heads, dim] =
        [config.num_query_heads, config.num_kv_heads, config.head_dim].map(|size| size as u32);
    let mut more = |what, bytes: u64| sizes.push((what, Place::Card, bytes));
    more("attention by spans", AttentionSpans::bytes(1, heads, kv_heads, dim, SPANS_APART_MAX));
    let tiles = SortExperts::tiles_bytes((t * active) as u32, config.expert_slots() as u32, TILE_ROWS);
    more("tiles of experts' rows", tiles);
    let [found, softmax] = BestTokens::bytes(rows as u32, config.vocab_size as u32, BEST_TOKENS as u32);
    more("best tokens of spans", found);
    more("sums of spans", softmax);
    let int8 = |is_taken: bool, rows: usize, width: usize| {
        // What is not whole blocks meets no int8 matrix.
        let is_taken = is_taken && width.is_multiple_of(BLOCK_VALUES);
        if is_taken { Int8Rows::bytes(rows as u32, width as u32) } else { [0; 2] }
    };
    let middles = |rows: usize, width: usize| match forms.experts {
        true => MiddleRows::bytes(rows as u32, width as u32),
        false => [0; 2],
    };
    let pairs = [
        ("int8 rows", int8(forms.attention, 2 * t, hidden)),
        ("int8 rows of attention", int8(forms.attention, t, query)),
        ("last int8 rows", int8(forms.unembedding, 2 * rows, hidden)),
        ("rows of experts", middles(t, hidden)),
        ("activated rows", middles(t * active, inner)),
    ];
    for (what, [values, beside]) in pairs {
        more(what, values);
        more(what, beside);
    }
    sizes.push(("logits", Place::Host, (4 * rows * config.vocab_size) as u64));
    sizes.push(("best tokens", Place::Host, Buffers::BEST_SUMS_AT + (rows * SUMS_BYTES) as u64));
    sizes
}

/// Bytes of the choice of the longest pass.
pub(crate) fn chosen_bytes(config: &ModelConfig) -> u64 {
    4 * (PASS_ROWS_MAX * config.active_experts()) as u64
}

impl Buffers {
    /// Errors: the card's.
    pub(crate) fn new(
        device: &Device,
        config: &ModelConfig,
        forms: Int8Forms,
    ) -> Result<Buffers, gpu::Error> {
        let made = buffer_sizes(config, forms).into_iter();
        let made = made.map(|(what, place, bytes)| device.buffer(what, bytes, place));
        let mut made = made.collect::<Result<Vec<Buffer>, _>>()?.into_iter();
        // Invariant: as many as `buffer_sizes` has, in its order.
        let mut next = || made.next().unwrap_or_else(|| unreachable!("a buffer without a size"));
        let input = next();
        let mut slice = || next().all();
        let [hidden, angles, places, normed] = [(); 4].map(|()| slice());
        let [query, key, value, attended] = [(); 4].map(|()| slice());
        let [router_logits, experts, weights, gate_up, outputs] = [(); 5].map(|()| slice());
        let [last_hidden, last_normed, logits, activated_f32] = [(); 4].map(|()| slice());
        let [slots, tokens, dispatches, best_tokens, sums] = [(); 5].map(|()| slice());
        let [partials, tiles, found, softmax] = [(); 4].map(|()| slice());
        let [normed_int8, attended_int8, last_int8] =
            [(); 3].map(|()| Int8Rows { values: slice(), scales: slice() });
        let [middles, activated] = [(); 2].map(|()| MiddleRows { values: slice(), beside: slice() });
        Ok(Buffers {
            input,
            hidden,
            angles,
            places,
            normed,
            normed_int8,
            middles,
            query,
            key,
            value,
            partials,
            attended,
            attended_int8,
            router_logits,
            experts,
            weights,
            gate_up,
            activated_f32,
            activated,
            outputs,
            order: ExpertOrder { slots, tokens, tiles, dispatches },
            last_hidden,
            last_normed,
            last_int8,
            logits,
            best: BestRows { tokens: best_tokens, sums, found, softmax },
            host_logits: next(),
            host_best: next(),
        })
    }

    /// Where the sums begin in `host_best`.
    pub(crate) const BEST_SUMS_AT: u64 = (LOGIT_ROWS_MAX * BEST_BYTES) as u64;

    /// What was found in a row of logits that came to the host.
    pub(crate) fn summary(&self, row: usize) -> RowSummary {
        let (mut best, mut sums) = ([[0_u32; 2]; BEST_TOKENS], [0_f32; 4]);
        self.host_best.read((row * BEST_BYTES) as u64, bytemuck::cast_slice_mut(best.as_flattened_mut()));
        let at = Buffers::BEST_SUMS_AT + (row * SUMS_BYTES) as u64;
        self.host_best.read(at, bytemuck::cast_slice_mut(&mut sums));
        // The other two are of what a mask allows, and there is none.
        RowSummary { best, softmax: [sums[0], sums[1]] }
    }
}

impl<K: Copy + PartialEq, R> Recordings<K, R> {
    /// The recording for `key`, made now if there is none.
    ///
    /// Errors: those of `record`.
    pub(crate) fn of(
        &mut self,
        key: K,
        record: impl FnOnce() -> Result<R, gpu::Error>,
    ) -> Result<&mut R, gpu::Error> {
        let entry = match self.kept.iter().position(|(kept, _)| *kept == key) {
            Some(place) => self.kept.remove(place),
            None => {
                if self.kept.len() == RECORDINGS_MAX {
                    self.kept.remove(0);
                }
                (key, record()?)
            }
        };
        self.kept.push(entry);
        let last = self.kept.len() - 1;
        Ok(&mut self.kept[last].1)
    }

    /// Forgets those whose key is not wanted.
    pub(crate) fn keep(&mut self, is_wanted: impl Fn(&K) -> bool) {
        self.kept.retain(|(key, _)| is_wanted(key));
    }
}

impl<K, R> Default for Recordings<K, R> {
    fn default() -> Recordings<K, R> {
        Recordings { kept: Vec::new() }
    }
}
