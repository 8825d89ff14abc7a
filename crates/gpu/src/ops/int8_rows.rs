//! Activations as int8 with a scale for 32 values, and for MXFP4 a middle.

use crate::Error;
use crate::description::Way;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{BLOCK_VALUES, BLOCKS_PER_GROUP, WORD_BYTES, assert_bytes, num_blocks, product};
use crate::recording::Recording;

/// Bytes that stand beside a block that has a middle: its scale; its corrected sum and middle.
const BESIDE_BYTES: u64 = 8;

/// Rows for products with int8, T of K values, or 2T in two parts.
#[derive(Clone, Debug)]
pub struct Int8Rows {
    /// `[T, K]`
    pub values: Slice,
    /// `[T, K / 32]` f32
    pub scales: Slice,
}

/// Rows for products with MXFP4, T of K values.
#[derive(Clone, Debug)]
pub struct MiddleRows {
    /// `[T, K / 32, 32]`, as [`MiddleRows::stored`] has them.
    pub values: Slice,
    /// `[T, K / 32]` of two words: the scale; 12 times the sum of values and middles, and in the low byte
    /// the middle.
    pub beside: Slice,
}

impl Int8Rows {
    /// Bytes of the two buffers.
    pub fn bytes(t: u32, k: u32) -> [u64; 2] {
        [product([t, k]), product([t, num_blocks("int8 rows", k)]) * WORD_BYTES]
    }

    pub(crate) fn assert_room(&self, op: &str, t: u32, k: u32) {
        let [values, scales] = Int8Rows::bytes(t, k);
        assert_bytes(op, "int8 rows", &self.values, values);
        assert_bytes(op, "scales of int8 rows", &self.scales, scales);
    }
}

impl MiddleRows {
    /// Bytes of the two buffers.
    pub fn bytes(t: u32, k: u32) -> [u64; 2] {
        [product([t, k]), product([t, num_blocks("int8 rows", k)]) * BESIDE_BYTES]
    }

    /// Values as they lie on a card: by Vulkan the even elements of a block and then the odd ones, by CUDA as
    /// they come.
    pub fn stored(way: Way, values: &[i8]) -> Vec<i8> {
        match way {
            Way::Vulkan => {
                let parted = |block: &[i8]| {
                    let half = |first| block.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
                    [half(0), half(1)].concat()
                };
                values.chunks(BLOCK_VALUES as usize).flat_map(parted).collect()
            }
            Way::Cuda => values.to_vec(),
        }
    }

    pub(crate) fn assert_room(&self, op: &str, t: u32, k: u32) {
        let [values, beside] = MiddleRows::bytes(t, k);
        assert_bytes(op, "int8 rows", &self.values, values);
        assert_bytes(op, "scales and middles of int8 rows", &self.beside, beside);
    }
}

/// T rows of K values as int8 for products with int8: `gptoss_kernels::quantize_q8` in the order of Q8_0. In
/// two parts `out` is 2T rows, the second T of what rounding took from the first:
/// `gptoss_kernels::quantize_q8_parts`.
pub struct Quantize<'a> {
    /// T or 2T rows.
    pub out: &'a Int8Rows,
    /// `[T, K]`
    pub x: &'a Slice,
    /// T
    pub t: u32,
    /// K, a multiple of 32.
    pub k: u32,
    /// Whether in two parts.
    pub in_parts: bool,
}

impl Quantize<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, K is not whole blocks, or T is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let parts = 1 + u32::from(self.in_parts);
        self.out.assert_room("quantize", self.t * parts, self.k);
        assert_bytes("quantize", "x", self.x, product([self.t, self.k]) * WORD_BYTES);
        let blocks = num_blocks("quantize", self.k);
        let slices = [&self.out.values, &self.out.scales, self.x];
        let groups = [blocks.div_ceil(BLOCKS_PER_GROUP), self.t, 1];
        let constants = [blocks, self.t * blocks, parts];
        recording.dispatch(&kernels.get("quantize_int8")?, &slices, &constants, groups);
        Ok(())
    }
}

/// T rows of K values as int8 for products with MXFP4: `gptoss_kernels::quantize_q8` in the order of MXFP4.
pub struct QuantizeMiddles<'a> {
    /// T rows.
    pub out: &'a MiddleRows,
    /// `[T, K]`
    pub x: &'a Slice,
    /// T
    pub t: u32,
    /// K, a multiple of 32.
    pub k: u32,
}

impl QuantizeMiddles<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, K is not whole blocks, or T is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        self.out.assert_room("quantize", self.t, self.k);
        assert_bytes("quantize", "x", self.x, product([self.t, self.k]) * WORD_BYTES);
        let blocks = num_blocks("quantize", self.k);
        let slices = [&self.out.values, &self.out.beside, self.x];
        let groups = [blocks.div_ceil(BLOCKS_PER_GROUP), self.t, 1];
        recording.dispatch(&kernels.get("quantize_middles")?, &slices, &[blocks], groups);
        Ok(())
    }
}
