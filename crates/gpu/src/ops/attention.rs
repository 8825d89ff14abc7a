//! Attention over keys and values in slots.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{KvPlace, KvRows, KvSlots, WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// The longest row of a head.
pub const HEAD_DIM_MAX: u32 = 128;
/// Positions that are reduced on their own.
pub const ATTENTION_SPAN: u32 = 512;
/// Query heads of a workgroup.
const LANES: u32 = 8;

/// Softmax attention of T rows, each over what it sees of its own sequence, with a sink in the denominator:
/// `gptoss_kernels::attention`, over a cache of any format.
pub struct Attention<'a> {
    /// `[T, H, D]`
    pub out: &'a Slice,
    /// `[T, H, D]`
    pub q: &'a Slice,
    /// What is looked at.
    pub kv: KvRows<'a>,
    /// `[T]` of [`KvPlace`]; rows of one sequence are as good as rows of many.
    pub places: &'a Slice,
    /// Which slots those places mean.
    pub slots: KvSlots<'a>,
    /// `[H]`
    pub sinks: &'a Slice,
    /// How the spans of a row are taken.
    pub spans: AttentionSpans<'a>,
    /// T
    pub t: u32,
    /// H
    pub num_heads: u32,
    /// K, which divides H.
    pub num_kv_heads: u32,
    /// D, a multiple of 4, at most [`HEAD_DIM_MAX`].
    pub head_dim: u32,
    /// How many positions a row sees, its own among them; `None` sees all.
    pub window: Option<u32>,
}

/// Who takes the spans of a row. Both ways give the same bits.
#[derive(Clone, Copy, Debug)]
pub enum AttentionSpans<'a> {
    /// One workgroup a row and kv head, one span after the other: for many rows, and for windows.
    InTurn,
    /// A workgroup a span, joined by a dispatch behind it: for few rows with much in sight.
    Apart {
        /// At least [`AttentionSpans::bytes`].
        partials: &'a Slice,
        /// The most spans that any row sees.
        spans_max: u32,
    },
}

impl AttentionSpans<'_> {
    /// Bytes of the partial results of T rows that see up to `spans_max` spans.
    pub fn bytes(t: u32, num_heads: u32, num_kv_heads: u32, head_dim: u32, spans_max: u32) -> u64 {
        let lane_groups = (num_heads / num_kv_heads).div_ceil(LANES);
        product([t, num_kv_heads, lane_groups, spans_max]) * product([LANES, 2 + head_dim]) * WORD_BYTES
    }
}

impl Attention<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernels.
    /// Panics: when a slice is too short, heads do not fit together, or T is above the device's workgroups of
    /// a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        self.assert_shapes();
        let group = self.num_heads / self.num_kv_heads;
        let lane_groups = group.div_ceil(LANES);
        let (ring_rows, table) = self.slots.parts(self.places);
        let (format, mut slices) = match self.kv {
            KvRows::F32 { keys, values } => ("f32", vec![self.q, keys, values, self.places, table]),
            KvRows::Bf16 { keys, values } => ("bf16", vec![self.q, keys, values, self.places, table]),
            KvRows::Int8 { keys, values, key_scales, value_scales } => {
                ("int8", vec![self.q, keys, values, self.places, table, key_scales, value_scales])
            }
        };
        let factor = (1.0 / (self.head_dim as f32).sqrt()).to_bits();
        let window = self.window.unwrap_or(0);
        let constants = |spans_max: u32| {
            [self.head_dim, self.num_kv_heads, group, lane_groups, window, ring_rows, spans_max, factor]
        };
        let heads = self.num_kv_heads * lane_groups;
        match self.spans {
            AttentionSpans::InTurn => {
                slices.extend([self.sinks, self.out]);
                let kernel = kernels.get(&format!("attention_rows_{format}"))?;
                recording.dispatch(&kernel, &slices, &constants(0), [heads, self.t, 1]);
            }
            AttentionSpans::Apart { partials, spans_max } => {
                slices.push(partials);
                let kernel = kernels.get(&format!("attention_spans_{format}"))?;
                recording.dispatch(&kernel, &slices, &constants(spans_max), [spans_max, heads, self.t]);
                let slices = [partials, self.places, self.sinks, self.out];
                let constants = [self.head_dim, self.num_kv_heads, group, lane_groups, window, spans_max];
                let groups = [self.num_heads, self.t, 1];
                recording.dispatch(&kernels.get("attention_join")?, &slices, &constants, groups);
            }
        }
        Ok(())
    }

    fn assert_shapes(&self) {
        let op = "attention";
        let Attention { t, num_heads, num_kv_heads, head_dim, .. } = *self;
        assert!(num_kv_heads > 0 && num_heads.is_multiple_of(num_kv_heads), "{op}: {num_heads} heads");
        assert!(head_dim.is_multiple_of(4) && head_dim <= HEAD_DIM_MAX, "{op}: heads of {head_dim}");
        assert_ne!(self.window, Some(0), "{op}: a window holds the row's own position at least");
        let bytes = product([t, num_heads, head_dim]) * WORD_BYTES;
        assert_bytes(op, "out", self.out, bytes);
        assert_bytes(op, "q", self.q, bytes);
        assert_bytes(op, "places", self.places, u64::from(t) * KvPlace::BYTES);
        assert_bytes(op, "sinks", self.sinks, u64::from(num_heads) * WORD_BYTES);
        self.kv.assert_shape(op, num_kv_heads, head_dim);
        if let AttentionSpans::Apart { partials, spans_max } = self.spans {
            let bytes = AttentionSpans::bytes(t, num_heads, num_kv_heads, head_dim, spans_max);
            assert_bytes(op, "partials", partials, bytes);
        }
    }
}
