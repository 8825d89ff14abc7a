//! The clamped SwiGLU of gpt-oss, as f32 or at once as int8.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{BLOCKS_PER_GROUP, MiddleRows, WORD_BYTES, assert_bytes, num_blocks, product};
use crate::recording::Recording;

/// Invocations of a workgroup of the f32 form.
const GROUP: u32 = 64;

/// T rows of F outputs: `gptoss_kernels::swiglu`.
pub struct SwiGlu<'a> {
    /// `[T, F]`
    pub out: &'a Slice,
    /// `[T, 2F]`, gate at even and up at odd places.
    pub gate_up: &'a Slice,
    /// T
    pub t: u32,
    /// F
    pub f: u32,
    /// Where gate and up are cut.
    pub limit: f32,
    /// The sigmoid's factor.
    pub alpha: f32,
}

impl SwiGlu<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, or T is above the device's workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let bytes = product([self.t, self.f]) * WORD_BYTES;
        assert_bytes("swiglu", "out", self.out, bytes);
        assert_bytes("swiglu", "gate_up", self.gate_up, 2 * bytes);
        let constants = [self.f, self.limit.to_bits(), self.alpha.to_bits()];
        let groups = [self.f.div_ceil(GROUP), self.t, 1];
        recording.dispatch(&kernels.get("swiglu")?, &[self.gate_up, self.out], &constants, groups);
        Ok(())
    }
}

/// T rows of F outputs as int8 for MXFP4: `gptoss_kernels::swiglu_q8`.
pub struct SwiGluMiddles<'a> {
    /// T rows of F.
    pub out: &'a MiddleRows,
    /// `[T, 2F]`, gate at even and up at odd places.
    pub gate_up: &'a Slice,
    /// T
    pub t: u32,
    /// F, a multiple of 32.
    pub f: u32,
    /// Where gate and up are cut.
    pub limit: f32,
    /// The sigmoid's factor.
    pub alpha: f32,
}

impl SwiGluMiddles<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, F is not whole blocks, or T is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        self.out.assert_room("swiglu", self.t, self.f);
        assert_bytes("swiglu", "gate_up", self.gate_up, 2 * product([self.t, self.f]) * WORD_BYTES);
        let blocks = num_blocks("swiglu", self.f);
        let slices = [&self.out.values, &self.out.beside, self.gate_up];
        let constants = [blocks, self.limit.to_bits(), self.alpha.to_bits()];
        let groups = [blocks.div_ceil(BLOCKS_PER_GROUP), self.t, 1];
        recording.dispatch(&kernels.get("swiglu_middles")?, &slices, &constants, groups);
        Ok(())
    }
}
