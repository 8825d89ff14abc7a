//! Products of rows with one dense matrix, read once for up to eight rows and again for eight others; of int8
//! with int8, many rows go by tiles, for which it is read once for thirty-two.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{
    FEW_ROWS_MAX, Int8Rows, ROWS_PER_GROUP, TILE_OUTPUTS, TILE_ROWS, WORD_BYTES, assert_bytes, num_blocks,
    product,
};
use crate::recording::Recording;

/// Bytes of an IEEE half and of a bf16.
const HALF_BYTES: u64 = 2;

/// A matrix `[N, K]` on the card.
#[derive(Clone, Copy, Debug)]
pub enum DenseMatrix<'a> {
    /// f32.
    F32(&'a Slice),
    /// bf16.
    Bf16(&'a Slice),
    /// The numbers of Q8_0, values and scales apart.
    Int8 {
        /// `[N, K]` int8
        values: &'a Slice,
        /// `[N, K / 32]` IEEE halves
        scales: &'a Slice,
    },
}

/// Activations of T tokens.
#[derive(Clone, Copy, Debug)]
pub enum DenseRows<'a> {
    /// `[T, K]`
    F32(&'a Slice),
    /// For matrices of int8.
    Int8(&'a Int8Rows),
    /// 2T rows, for matrices of int8.
    Int8Parts(&'a Int8Rows),
}

/// `out [T, N] = x [T, K] * weight [N, K]^T + bias [N]`, or that added to `out`: `gptoss_kernels::linear`.
/// Every token's numbers are the same in any place and number of tokens.
pub struct Linear<'a> {
    /// `[T, N]`
    pub out: &'a Slice,
    /// T tokens.
    pub x: DenseRows<'a>,
    /// `[N, K]`
    pub weight: DenseMatrix<'a>,
    /// `[N]`
    pub bias: Option<&'a Slice>,
    /// Whether `out` is added to, as a residual stream is.
    pub adds: bool,
    /// T
    pub t: u32,
    /// N
    pub n: u32,
    /// K
    pub k: u32,
}

impl Linear<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles a kernel.
    /// Panics: when a slice is too short, K is not whole blocks of int8, int8 rows meet another matrix, or
    /// chunks of T are more than the device's workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        self.assert_rooms();
        let in_parts = matches!(self.x, DenseRows::Int8Parts(_));
        let parts = 1 + u32::from(in_parts);
        let (kernel, inputs) = self.kernel_and_inputs();
        // Without a bias its binding holds something that is only read, and not even that.
        let mut slices = vec![self.out, self.bias.unwrap_or(inputs[0])];
        slices.extend(inputs);
        let [has_bias, adds] = [self.bias.is_some(), self.adds].map(u32::from);
        let Linear { t, n, k, .. } = *self;
        if kernel == "gemv_int8_int8" && t * parts > FEW_ROWS_MAX {
            let constants = [n, num_blocks("linear", k), t, parts, has_bias, adds];
            // Neighbors take the same outputs, so that weights come from memory once.
            let groups = [(t * parts).div_ceil(TILE_ROWS), n.div_ceil(TILE_OUTPUTS), 1];
            recording.dispatch(&kernels.get("tile_int8_int8")?, &slices, &constants, groups);
            return Ok(());
        }
        // All chunks in one dispatch: each writes `out` in part, and between dispatches barriers would stand.
        let count = t.min(FEW_ROWS_MAX / parts);
        let kernel = kernels.get(&format!("{kernel}_{}", (count * parts).next_power_of_two()))?;
        let constants = [n, k, t, parts, has_bias, adds];
        let groups = [n.div_ceil(ROWS_PER_GROUP), t.div_ceil(FEW_ROWS_MAX / parts), 1];
        recording.dispatch(&kernel, &slices, &constants, groups);
        Ok(())
    }

    /// The kernel without the number of its rows, and what it binds behind output and bias.
    fn kernel_and_inputs(&self) -> (&'static str, Vec<&Slice>) {
        match (self.x, self.weight) {
            (DenseRows::F32(x), DenseMatrix::F32(values)) => ("gemv_f32_f32", vec![x, values]),
            (DenseRows::F32(x), DenseMatrix::Bf16(values)) => ("gemv_bf16_f32", vec![x, values]),
            (DenseRows::F32(x), DenseMatrix::Int8 { values, scales }) => {
                ("gemv_int8_f32", vec![x, values, scales])
            }
            (DenseRows::Int8(x) | DenseRows::Int8Parts(x), DenseMatrix::Int8 { values, scales }) => {
                ("gemv_int8_int8", vec![values, scales, &x.values, &x.scales])
            }
            (x, weight) => panic!("linear: {x:?} and {weight:?} do not go together"),
        }
    }

    fn assert_rooms(&self) {
        let Linear { t, n, k, .. } = *self;
        assert_bytes("linear", "out", self.out, product([t, n]) * WORD_BYTES);
        if let Some(bias) = self.bias {
            assert_bytes("linear", "bias", bias, product([n]) * WORD_BYTES);
        }
        match self.x {
            DenseRows::F32(x) => assert_bytes("linear", "x", x, product([t, k]) * WORD_BYTES),
            DenseRows::Int8(x) => x.assert_room("linear", t, k),
            DenseRows::Int8Parts(x) => x.assert_room("linear", 2 * t, k),
        }
        match self.weight {
            DenseMatrix::F32(values) => {
                assert_bytes("linear", "weight", values, product([n, k]) * WORD_BYTES)
            }
            DenseMatrix::Bf16(values) => {
                assert_bytes("linear", "weight", values, product([n, k]) * HALF_BYTES)
            }
            DenseMatrix::Int8 { values, scales } => {
                assert_bytes("linear", "weight", values, product([n, k]));
                assert_bytes("linear", "scales", scales, product([n, num_blocks("linear", k)]) * HALF_BYTES);
            }
        }
    }
}
