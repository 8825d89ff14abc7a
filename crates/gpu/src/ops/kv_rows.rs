//! Keys and values on a card, and where the rows of a step find theirs.

use crate::device::Slice;
use crate::ops::{WORD_BYTES, assert_bytes, product};

/// Keys and values of a layer: rows `[K, D]` in slots as the CPU's store has them.
#[derive(Clone, Copy, Debug)]
pub enum KvRows<'a> {
    /// As they were computed, but for numbers below 2^-126, which may be zero.
    F32 {
        /// `[rows, K, D]`
        keys: &'a Slice,
        /// `[rows, K, D]`
        values: &'a Slice,
    },
    /// Two numbers a word.
    Bf16 {
        /// `[rows, K, D]`
        keys: &'a Slice,
        /// `[rows, K, D]`
        values: &'a Slice,
    },
    /// With a scale a head.
    Int8 {
        /// `[rows, K, D]`
        keys: &'a Slice,
        /// `[rows, K, D]`
        values: &'a Slice,
        /// `[rows, K]` f32
        key_scales: &'a Slice,
        /// `[rows, K]` f32
        value_scales: &'a Slice,
    },
}

/// The slots of a layer's sequences.
#[derive(Clone, Copy, Debug)]
pub enum KvSlots<'a> {
    /// Blocks of 32 positions, numbered in a table that holds those of all sequences; u32. A row begins its
    /// own at [`KvPlace::first_block`].
    Blocks(&'a Slice),
    /// Rings of so many rows; position p is in row p modulo that.
    Rings(u32),
}

/// Where one row of a step is, as the kernels read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvPlace {
    /// Its position in its sequence.
    pub position: u32,
    /// Where the blocks of its sequence begin in the table.
    pub first_block: u32,
    /// The ring of its sequence.
    pub ring: u32,
}

impl KvPlace {
    /// Of a row that is nobody's, as a recording for more rows than there are has them: it writes no keys and
    /// values, and its attention is zero.
    pub const IDLE: KvPlace = KvPlace { position: u32::MAX, first_block: 0, ring: 0 };
    /// Bytes of one.
    pub const BYTES: u64 = 4 * WORD_BYTES;

    /// As it lies in a buffer.
    pub fn words(self) -> [u32; 4] {
        [self.position, self.first_block, self.ring, 0]
    }
}

impl<'a> KvRows<'a> {
    /// Panics unless every buffer holds at least one whole row and all hold as many.
    pub(crate) fn assert_shape(self, op: &str, num_kv_heads: u32, head_dim: u32) {
        let row = product([num_kv_heads, head_dim]);
        match self {
            KvRows::F32 { keys, values } => {
                assert_bytes(op, "keys", keys, row * WORD_BYTES);
                assert_bytes(op, "values", values, keys.len());
            }
            KvRows::Bf16 { keys, values } => {
                assert_bytes(op, "keys", keys, 2 * row);
                assert_bytes(op, "values", values, keys.len());
            }
            KvRows::Int8 { keys, values, key_scales, value_scales } => {
                assert_bytes(op, "keys", keys, row);
                assert_bytes(op, "values", values, keys.len());
                let bytes = keys.len() / row * u64::from(num_kv_heads) * WORD_BYTES;
                assert_bytes(op, "scales of keys", key_scales, bytes);
                assert_bytes(op, "scales of values", value_scales, bytes);
            }
        }
    }
}

impl<'a> KvSlots<'a> {
    /// The constant that tells kernels of rings, and the buffer that they read of blocks: `any` where there
    /// are none.
    pub(crate) fn parts(self, any: &'a Slice) -> (u32, &'a Slice) {
        match self {
            KvSlots::Blocks(table) => (0, table),
            KvSlots::Rings(rows) => {
                assert!(rows > 0, "a ring has rows");
                (rows, any)
            }
        }
    }
}
