//! Root-mean-square normalization of rows, as f32 and at once as int8.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{Int8Rows, MiddleRows, WORD_BYTES, assert_bytes, num_blocks, product};
use crate::recording::Recording;

/// The rows that are normalized, and how.
#[derive(Clone, Copy, Debug)]
pub struct NormInputs<'a> {
    /// `[T, C]`
    pub x: &'a Slice,
    /// `[C]`
    pub weight: &'a Slice,
    /// T
    pub t: u32,
    /// C
    pub c: u32,
    /// Inside the root.
    pub eps: f32,
}

/// `out = x / sqrt(mean(x^2) + eps) * weight`, row by row: `gptoss_kernels::rmsnorm`.
pub struct RmsNorm<'a> {
    /// `[T, C]`
    pub out: &'a Slice,
    /// Of T rows.
    pub inputs: NormInputs<'a>,
}

/// [`RmsNorm`] and then [`Quantize`](crate::ops::Quantize), C a multiple of 32.
pub struct RmsNormInt8<'a> {
    /// T rows of C, or 2T in two parts.
    pub out: &'a Int8Rows,
    /// Of T rows.
    pub inputs: NormInputs<'a>,
    /// Whether in two parts.
    pub in_parts: bool,
}

/// [`RmsNorm`] and then [`QuantizeMiddles`](crate::ops::QuantizeMiddles), C a multiple of 32; both results
/// are kept.
pub struct RmsNormMiddles<'a> {
    /// T rows of C.
    pub out: &'a MiddleRows,
    /// `[T, C]`
    pub normed: &'a Slice,
    /// Of T rows.
    pub inputs: NormInputs<'a>,
}

impl NormInputs<'_> {
    fn assert_rooms(&self) {
        assert_bytes("rmsnorm", "x", self.x, self.bytes());
        assert_bytes("rmsnorm", "weight", self.weight, product([self.c]) * WORD_BYTES);
    }

    /// Bytes of the rows.
    fn bytes(&self) -> u64 {
        product([self.t, self.c]) * WORD_BYTES
    }
}

impl RmsNorm<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, or T is above the device's workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let NormInputs { x, weight, t, c, eps } = self.inputs;
        self.inputs.assert_rooms();
        assert_bytes("rmsnorm", "out", self.out, self.inputs.bytes());
        let slices = [x, weight, self.out];
        recording.dispatch(&kernels.get("rmsnorm")?, &slices, &[c, eps.to_bits()], [t, 1, 1]);
        Ok(())
    }
}

impl RmsNormInt8<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, C is not whole blocks, or T is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let NormInputs { x, weight, t, c, eps } = self.inputs;
        self.inputs.assert_rooms();
        let parts = 1 + u32::from(self.in_parts);
        self.out.assert_room("rmsnorm", t * parts, c);
        let slices = [&self.out.values, &self.out.scales, x, weight];
        let constants = [c, eps.to_bits(), t * num_blocks("rmsnorm", c), parts];
        recording.dispatch(&kernels.get("rmsnorm_int8")?, &slices, &constants, [t, 1, 1]);
        Ok(())
    }
}

impl RmsNormMiddles<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, C is not whole blocks, or T is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let NormInputs { x, weight, t, c, eps } = self.inputs;
        self.inputs.assert_rooms();
        self.out.assert_room("rmsnorm", t, c);
        assert_bytes("rmsnorm", "normed", self.normed, self.inputs.bytes());
        let slices = [&self.out.values, &self.out.beside, x, weight, self.normed];
        recording.dispatch(&kernels.get("rmsnorm_middles")?, &slices, &[c, eps.to_bits()], [t, 1, 1]);
        Ok(())
    }
}
