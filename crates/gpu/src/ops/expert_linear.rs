//! Products of rows with the experts that were chosen for them.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{
    BLOCK_VALUES, MiddleRows, ROWS_PER_GROUP, WORD_BYTES, assert_bytes, assert_experts, num_blocks, product,
};
use crate::recording::Recording;

/// In the place of an expert: the row's product is made elsewhere, and what is there stays.
pub const EXPERT_ELSEWHERE: u32 = u32::MAX;

/// Activations that experts in MXFP4 take.
#[derive(Clone, Copy, Debug)]
pub enum ExpertRows<'a> {
    /// `[R / share, K]`
    F32(&'a Slice),
    /// int8 about middles.
    Int8(&'a MiddleRows),
}

/// `out [R, N]`: row r is expert `experts[r]` of MXFP4 matrices `[E, N, K]` times input `r / share`, plus its
/// bias, or that added to `out`: `gptoss_kernels::linear` with `Mxfp4`.
pub struct ExpertLinear<'a> {
    /// `[R, N]`
    pub out: &'a Slice,
    /// R / share rows.
    pub x: ExpertRows<'a>,
    /// `[E, N, K / 32, 16]`, as published.
    pub codes: &'a Slice,
    /// `[E, N, K / 32]`, as published; no byte is 255.
    pub code_scales: &'a Slice,
    /// `[R]` u32, each below E or [`EXPERT_ELSEWHERE`].
    pub experts: &'a Slice,
    /// `[E, N]`
    pub bias: &'a Slice,
    /// Whether `out` is added to.
    pub adds: bool,
    /// E
    pub num_experts: u32,
    /// R
    pub rows: u32,
    /// How many rows in turn take one input: the experts of a token, or 1.
    pub share: u32,
    /// N
    pub n: u32,
    /// K, a multiple of 32.
    pub k: u32,
}

impl ExpertLinear<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, K is not whole blocks, or R is above the device's workgroups of a
    /// dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let blocks = num_blocks("expert_linear", self.k);
        self.assert_rooms(blocks);
        let mut slices = vec![self.out, self.codes, self.code_scales];
        let kernel = match self.x {
            ExpertRows::F32(x) => {
                slices.push(x);
                "gemv_mxfp4_f32"
            }
            ExpertRows::Int8(x) => {
                slices.extend([&x.values, &x.beside]);
                "gemv_mxfp4_int8"
            }
        };
        slices.extend([self.experts, self.bias]);
        let constants = [self.n, blocks, self.share, u32::from(self.adds)];
        let groups = [self.n.div_ceil(ROWS_PER_GROUP), self.rows, 1];
        recording.dispatch(&kernels.get(kernel)?, &slices, &constants, groups);
        Ok(())
    }

    fn assert_rooms(&self, blocks: u32) {
        let op = "expert_linear";
        let ExpertLinear { num_experts, rows, share, n, .. } = *self;
        assert!(share > 0 && rows.is_multiple_of(share), "{op}: {rows} rows by {share}");
        let num_inputs = rows / share;
        match self.x {
            ExpertRows::F32(x) => {
                assert_bytes(op, "x", x, product([num_inputs, blocks, BLOCK_VALUES]) * WORD_BYTES);
            }
            ExpertRows::Int8(x) => x.assert_room(op, num_inputs, self.k),
        }
        assert_bytes(op, "out", self.out, product([rows, n]) * WORD_BYTES);
        assert_experts(op, [self.codes, self.code_scales, self.bias], [num_experts, n, blocks]);
        assert_bytes(op, "experts", self.experts, product([rows]) * WORD_BYTES);
    }
}
