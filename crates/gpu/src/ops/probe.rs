//! Single numbers, by which a device's arithmetic is known.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// Invocations of a workgroup.
const GROUP: u32 = 64;

/// Of N fours (a, b, c, d): a / b, the root of a, e to the power of a, and a * b + c. The first two begin
/// with an estimate that is off by the bits of d, as an integer, and must not end so.
pub struct FloatProbe<'a> {
    /// `[N, 4]`
    pub out: &'a Slice,
    /// `[N, 4]`
    pub numbers: &'a Slice,
    /// N
    pub count: u32,
}

impl FloatProbe<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let bytes = product([self.count, 4]) * WORD_BYTES;
        assert_bytes("float_probe", "out", self.out, bytes);
        assert_bytes("float_probe", "numbers", self.numbers, bytes);
        let groups = [self.count.div_ceil(GROUP), 1, 1];
        recording.dispatch(&kernels.get("probe_floats")?, &[self.out, self.numbers], &[self.count], groups);
        Ok(())
    }
}
