//! Root-mean-square normalization of rows.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// `out = x / sqrt(mean(x^2) + eps) * weight`, row by row: `gptoss_kernels::rmsnorm`.
pub struct RmsNorm<'a> {
    /// `[T, C]`
    pub out: &'a Slice,
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

impl RmsNorm<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let bytes = product([self.t, self.c]) * WORD_BYTES;
        assert_bytes("rmsnorm", "out", self.out, bytes);
        assert_bytes("rmsnorm", "x", self.x, bytes);
        assert_bytes("rmsnorm", "weight", self.weight, product([self.c]) * WORD_BYTES);
        let slices = [self.x, self.weight, self.out];
        recording.dispatch(&kernels.get("rmsnorm")?, &slices, &[self.c, self.eps.to_bits()], [self.t, 1, 1]);
        Ok(())
    }
}
