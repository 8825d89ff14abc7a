//! Plain rows of floats: bf16, f16 and f32, and bf16 stored transposed, as bf16 experts are.

use std::ops::Range;

use gptoss_formats::widen_bf16;
use half::{bf16, f16};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::lanes::LANES;
use crate::pool::Pool;
use crate::products::float::{TASK_ROWS_MAX, Weights};
use crate::rows::RowTasks;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::scratch::with_scratch;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_f32;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_f32, avx2_gemv};
#[cfg(target_arch = "x86_64")]
use crate::tier::Avx2;

/// A bf16 matrix of N rows (outputs) by K columns (inputs) whose columns are stored one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Transposed<'a> {
    /// `[K, stride]`
    values: &'a [bf16],
    /// Rows of the whole matrix.
    stride: usize,
    /// The first row of this part.
    first: usize,
    /// N
    num_rows: usize,
}

impl<'a> Bf16Transposed<'a> {
    /// The whole of a matrix `[K, N]`.
    ///
    /// Panics: when `values` are not whole columns.
    pub fn new(values: &'a [bf16], n: usize) -> Bf16Transposed<'a> {
        assert!(values.len().is_multiple_of(n.max(1)), "bf16 transposed: values are [K, {n}]");
        Bf16Transposed { values, stride: n, first: 0, num_rows: n }
    }

    fn num_columns(self) -> usize {
        self.values.len() / self.stride.max(1)
    }

    /// Rows `rows` of a column, which lie side by side.
    pub(super) fn stored_column(self, column: usize, rows: Range<usize>) -> &'a [bf16] {
        &self.values[column * self.stride + self.first..][rows]
    }

    /// Some columns of the whole matrix, where the first row of this part stands in them, and their length.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn stored_columns(self, columns: Range<usize>) -> (&'a [bf16], usize, usize) {
        let values = &self.values[columns.start * self.stride..columns.end * self.stride];
        (values, self.first, self.stride)
    }
}

impl Weights for Bf16Transposed<'_> {
    const FEW_TOKENS: usize = 4;

    fn assert_shape(self, n: usize, k: usize) {
        assert_eq!((self.num_rows, self.values.len()), (n, k * self.stride), "bf16 transposed: w is [K, N]");
    }

    fn num_bytes(self) -> usize {
        self.num_rows * self.num_columns() * size_of::<bf16>()
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, _: usize) -> Self {
        assert!(first + rows <= self.num_rows, "bf16 transposed: rows outside");
        Bf16Transposed { first: self.first + first, num_rows: rows, ..self }
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = widen_bf16(self.values[i * self.stride + self.first + row]);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_avx2(self, _: Avx2, out: &mut [f32], k: usize) {
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_f32::unpack_bf16_transposed(out, self.values, self.first, self.stride, k) };
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn multiply_few_avx2(self, _: Avx2, out: &mut [f32], x: &[f32], _: usize) -> bool {
        let columns = self.first..self.first + self.num_rows;
        if !columns.len().is_multiple_of(LANES) {
            return false;
        }
        with_scratch(LANES * out.len(), |lanes: &mut [f32]| {
            // SAFETY: the token is the proof of the features.
            unsafe { avx2_gemv::products_transposed(out, lanes, self.values, x, columns, self.stride) };
        });
        true
    }

    #[cfg(target_arch = "aarch64")]
    fn multiply_few_neon(self, out: &mut [f32], x: &[f32], k: usize) -> bool {
        with_scratch(LANES * out.len(), |lanes: &mut [f32]| {
            let column = |i: usize| self.stored_column(i, 0..self.num_rows);
            neon_f32::products_transposed(out, lanes, column, x, k);
        });
        true
    }

    /// Four cache lines of every stored column.
    fn tasks_of_few(_: &Pool, n: usize) -> RowTasks {
        RowTasks::units(n, TASK_ROWS_MAX)
    }
}

impl Weights for &[bf16] {
    const FEW_TOKENS: usize = 4;

    fn assert_shape(self, n: usize, k: usize) {
        assert_eq!(self.len(), n * k, "bf16: w is [N, K]");
    }

    fn num_bytes(self) -> usize {
        size_of_val(self)
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        &self[first * k..][..rows * k]
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        convert(out, self, row, |value| widen_bf16(*value));
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_avx2(self, _: Avx2, out: &mut [f32], _: usize) {
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_f32::unpack_bf16(out, self) };
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn multiply_few_avx2(self, _: Avx2, out: &mut [f32], x: &[f32], k: usize) -> bool {
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_gemv::products_bf16(out, self, x, k) };
        true
    }

    #[cfg(target_arch = "aarch64")]
    fn multiply_few_neon(self, out: &mut [f32], x: &[f32], k: usize) -> bool {
        // SAFETY: NEON is part of the architecture.
        unsafe { neon_f32::products_bf16(out, self, x, k) };
        true
    }
}

impl Weights for &[f16] {
    fn assert_shape(self, n: usize, k: usize) {
        assert_eq!(self.len(), n * k, "f16: w is [N, K]");
    }

    fn num_bytes(self) -> usize {
        size_of_val(self)
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        &self[first * k..][..rows * k]
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        convert(out, self, row, |value| value.to_f32());
    }
}

impl Weights for &[f32] {
    fn assert_shape(self, n: usize, k: usize) {
        assert_eq!(self.len(), n * k, "f32: w is [N, K]");
    }

    fn num_bytes(self) -> usize {
        size_of_val(self)
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        &self[first * k..][..rows * k]
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        convert(out, self, row, |value| *value);
    }
}

/// `out[i] = convert(row[i])`.
#[inline(always)]
fn convert<T>(out: &mut [f32], values: &[T], row: usize, convert: impl Fn(&T) -> f32) {
    let k = out.len();
    for (out, value) in out.iter_mut().zip(&values[row * k..][..k]) {
        *out = convert(value);
    }
}
