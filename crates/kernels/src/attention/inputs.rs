//! What an attention call is given: queries, keys and values, and what its jobs share.

use std::ops::Range;

use half::bf16;

use crate::lanes::LANES;

/// The longest row of a head in bf16 or int8. With it, the integer dot product of an int8 cache stays below
/// 2^31. Units: numbers.
pub(crate) const HEAD_DIM_MAX: usize = 512;

/// Keys or values in the type of the cache.
#[derive(Clone, Copy, Debug)]
pub enum KvSlice<'a> {
    /// Exact mode. Shapes: `[len, K, D]`.
    F32(&'a [f32]),
    /// Fast mode, each number made by [`kv_bf16`](crate::kv_bf16). Shapes: `[len, K, D]`.
    Bf16(&'a [bf16]),
    /// Half the bytes of `Bf16`, written by [`quantize_kv`](crate::quantize_kv): number `d` of a head is
    /// `values[d] * scale`.
    Q8 {
        /// `[len, K, D]`
        values: &'a [i8],
        /// `[len, K]`
        scales: &'a [f32],
    },
}

/// Keys and values of consecutive positions, both in the same type.
#[derive(Clone, Copy, Debug)]
pub struct KvRun<'a> {
    /// `[len, K, D]`
    pub keys: KvSlice<'a>,
    /// `[len, K, D]`
    pub values: KvSlice<'a>,
    /// Absolute position of the first row.
    pub first_position: usize,
    /// Rows.
    pub len: usize,
}

/// The query rows of one sequence, at consecutive positions, and what they look at.
#[derive(Debug)]
pub struct AttentionJob<'a> {
    /// `[T, H, D]`
    pub out: &'a mut [f32],
    /// `[T, H, D]`
    pub q: &'a [f32],
    /// Any number of runs, each beginning where the one before ends; all of one type.
    pub runs: &'a [KvRun<'a>],
    /// Absolute position of the first query row.
    pub first_position: usize,
}

/// What the jobs of an attention call share.
#[derive(Clone, Copy, Debug)]
pub struct AttentionParams<'a> {
    /// Query heads H.
    pub num_query_heads: usize,
    /// Key and value heads K; query head `h` reads kv head `h / (H / K)`.
    pub num_kv_heads: usize,
    /// Values per head D.
    pub head_dim: usize,
    /// How many keys a row sees, its own among them; `None` sees all.
    pub window: Option<usize>,
    /// `[H]` sink logits, not scaled.
    pub sinks: &'a [f32],
    /// Factor on the scores, `1 / sqrt(D)`.
    pub scale: f32,
}

impl AttentionParams<'_> {
    /// Query heads that share a kv head.
    pub(super) fn group(&self) -> usize {
        self.num_query_heads / self.num_kv_heads
    }

    /// Groups of [`LANES`] query heads that a kv head's heads fill, the last one perhaps in part.
    pub(super) fn lane_groups(&self) -> usize {
        self.group().div_ceil(LANES)
    }

    /// Numbers of a query row.
    pub(super) fn row(&self) -> usize {
        self.num_query_heads * self.head_dim
    }

    /// Numbers of a cache row.
    pub(super) fn kv_row(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Elements of a head's row by pairs of numbers: an even count of them.
    pub(super) fn pair_width(&self) -> usize {
        self.head_dim.next_multiple_of(4) / 2
    }

    /// The positions that a query at `position` sees.
    #[inline(always)]
    pub(super) fn visible(&self, position: usize) -> Range<usize> {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))..position + 1
    }
}

impl KvSlice<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            KvSlice::F32(values) => values.len(),
            KvSlice::Bf16(values) => values.len(),
            KvSlice::Q8 { values, .. } => values.len(),
        }
    }
}
