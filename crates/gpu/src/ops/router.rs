//! The choice of a router.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// Most experts of a layer.
pub const EXPERTS_MAX: u32 = 256;
/// Most experts of a token.
pub const ACTIVE_MAX: u32 = 8;

/// The `active` largest logits of each row in descending order, ties to the lowest index and NaN as the
/// lowest, with the softmax over them: `gptoss_kernels::top_k_softmax`.
pub struct RouterTopK<'a> {
    /// `[T, A]` u32
    pub experts: &'a Slice,
    /// `[T, A]`
    pub weights: &'a Slice,
    /// `[T, E]`
    pub logits: &'a Slice,
    /// T
    pub t: u32,
    /// E, at most [`EXPERTS_MAX`].
    pub num_experts: u32,
    /// A, at most [`ACTIVE_MAX`] and E.
    pub active: u32,
}

impl RouterTopK<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, there are too many experts, or T is above the device's workgroups
    /// of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let RouterTopK { t, num_experts, active, .. } = *self;
        let fits = active > 0 && active <= num_experts.min(ACTIVE_MAX) && num_experts <= EXPERTS_MAX;
        assert!(fits, "router: {active} of {num_experts} experts");
        assert_bytes("router", "experts", self.experts, product([t, active]) * WORD_BYTES);
        assert_bytes("router", "weights", self.weights, product([t, active]) * WORD_BYTES);
        assert_bytes("router", "logits", self.logits, product([t, num_experts]) * WORD_BYTES);
        let slices = [self.logits, self.experts, self.weights];
        recording.dispatch(&kernels.get("router_top_k")?, &slices, &[num_experts, active], [t, 1, 1]);
        Ok(())
    }
}
