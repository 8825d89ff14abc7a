//! Rotary positions, with the write into the cache.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::attention::HEAD_DIM_MAX;
use crate::ops::{KvPlace, KvRows, KvSlots, WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// Quads of numbers that a workgroup takes.
const QUADS_PER_GROUP: u32 = 64;

/// Rotates `q` in place and `k` on its way into the cache, where `v` goes too:
/// `gptoss_kernels::RopeAngles::apply`, then `kv_bf16`, `quantize_kv` or nothing. Where a row's keys and
/// values go is the place of its own position.
pub struct Rope<'a> {
    /// `[T, H, D]`
    pub q: &'a Slice,
    /// `[T, K, D]`
    pub k: &'a Slice,
    /// `[T, K, D]`
    pub v: &'a Slice,
    /// `[T, D / 2]` of cosine and sine, the attention factor in both, as the host makes them.
    pub angles: &'a Slice,
    /// `[T]` of [`KvPlace`], no two of one row of the cache.
    pub places: &'a Slice,
    /// Which slots those places mean.
    pub slots: KvSlots<'a>,
    /// What is written.
    pub kv: KvRows<'a>,
    /// T
    pub t: u32,
    /// H
    pub num_heads: u32,
    /// K
    pub num_kv_heads: u32,
    /// D, a multiple of 4.
    pub head_dim: u32,
}

impl Rope<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, D is not a multiple of 4 or above 128, or T is above the device's
    /// workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let Rope { t, num_heads, num_kv_heads, head_dim, .. } = *self;
        assert!(head_dim.is_multiple_of(4) && head_dim <= HEAD_DIM_MAX, "rope: heads of {head_dim}");
        assert_bytes("rope", "q", self.q, product([t, num_heads, head_dim]) * WORD_BYTES);
        let bytes = product([t, num_kv_heads, head_dim]) * WORD_BYTES;
        assert_bytes("rope", "k", self.k, bytes);
        assert_bytes("rope", "v", self.v, bytes);
        assert_bytes("rope", "angles", self.angles, product([t, head_dim]) * WORD_BYTES);
        assert_bytes("rope", "places", self.places, u64::from(t) * KvPlace::BYTES);
        self.kv.assert_shape("rope", num_kv_heads, head_dim);
        let (ring_rows, table) = self.slots.parts(self.places);
        let heads = num_heads + 2 * num_kv_heads;
        let by_quads = (heads * (head_dim / 4)).div_ceil(QUADS_PER_GROUP);
        let mut slices = vec![self.q, self.k, self.v, self.angles, self.places, table];
        let (kernel, groups) = match self.kv {
            KvRows::F32 { keys, values } => {
                slices.extend([keys, values]);
                ("rope_f32", by_quads)
            }
            KvRows::Bf16 { keys, values } => {
                slices.extend([keys, values]);
                ("rope_bf16", by_quads)
            }
            KvRows::Int8 { keys, values, key_scales, value_scales } => {
                slices.extend([keys, values, key_scales, value_scales]);
                ("rope_int8", heads)
            }
        };
        let constants = [head_dim, num_heads, num_kv_heads, ring_rows];
        recording.dispatch(&kernels.get(kernel)?, &slices, &constants, [groups, t, 1]);
        Ok(())
    }
}
