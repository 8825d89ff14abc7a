//! How some columns of stored rows are read, for products with the transposed matrix.
//!
//! The forms of int8 are not among them: a gradient runs through weights as they are.

use std::ops::Range;

use gptoss_formats::{BLOCK_VALUES, widen_bf16};

use crate::products::chained::Columns;
use crate::products::float::Weights;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_f32;
use crate::stored::floats::Bf16Transposed;
use crate::stored::mxfp4::Mxfp4;
use crate::stored::mxfp4_blocks::Mxfp4Blocks;
#[cfg(target_arch = "x86_64")]
use crate::tier::Avx2;

/// Plain rows of floats: some columns of a row are a row too.
impl<'a, T> Columns for &'a [T]
where
    &'a [T]: Weights,
{
    #[inline(always)]
    fn unpack_columns(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize) {
        for (out, row) in out.chunks_exact_mut(columns.len()).zip(rows) {
            let part = &self[row * k..][columns.clone()];
            part.unpack_row(out, 0);
        }
    }
}

impl Columns for Bf16Transposed<'_> {
    #[inline(always)]
    fn unpack_columns(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, _: usize) {
        let width = columns.len();
        for (i, column) in columns.enumerate() {
            for (r, value) in self.stored_column(column, rows.clone()).iter().enumerate() {
                out[r * width + i] = widen_bf16(*value);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_columns_avx2(
        self,
        _: Avx2,
        out: &mut [f32],
        rows: Range<usize>,
        columns: Range<usize>,
        _: usize,
    ) {
        let (values, first, stride) = self.stored_columns(columns.clone());
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_f32::unpack_bf16_transposed(out, values, first + rows.start, stride, columns.len()) };
    }
}

/// `out` and the columns of each row as a row of whole blocks.
fn block_rows(
    out: &mut [f32],
    rows: Range<usize>,
    columns: Range<usize>,
    k: usize,
) -> impl Iterator<Item = (&mut [f32], Range<usize>)> {
    assert!(columns.start.is_multiple_of(BLOCK_VALUES), "columns begin with a block");
    let places = move |row| (row * k + columns.start) / BLOCK_VALUES..(row * k + columns.end) / BLOCK_VALUES;
    let width = (places(0).len() * BLOCK_VALUES).max(1);
    out.chunks_exact_mut(width).zip(rows.map(places))
}

impl Mxfp4<'_> {
    /// Blocks of the whole matrix as one row of their values.
    #[inline(always)]
    fn run_of_blocks(self, blocks: Range<usize>) -> Self {
        self.rows(blocks.start, blocks.len(), BLOCK_VALUES)
    }
}

impl Columns for Mxfp4<'_> {
    #[inline(always)]
    fn unpack_columns(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize) {
        for (out, blocks) in block_rows(out, rows, columns, k) {
            self.run_of_blocks(blocks).unpack_row(out, 0);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_columns_avx2(
        self,
        avx2: Avx2,
        out: &mut [f32],
        rows: Range<usize>,
        columns: Range<usize>,
        k: usize,
    ) {
        for (out, blocks) in block_rows(out, rows, columns, k) {
            self.run_of_blocks(blocks).unpack_avx2(avx2, out, BLOCK_VALUES);
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn unpack_columns_neon(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize) {
        for (out, blocks) in block_rows(out, rows, columns, k) {
            self.run_of_blocks(blocks).unpack_neon(out, BLOCK_VALUES);
        }
    }
}

impl Columns for Mxfp4Blocks<'_> {
    #[inline(always)]
    fn unpack_columns(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize) {
        for (row, out) in rows.zip(out.chunks_exact_mut(columns.len())) {
            let blocks = columns.start / BLOCK_VALUES..columns.end / BLOCK_VALUES;
            self.unpack_blocks(out, &self.row(row, k / BLOCK_VALUES)[blocks]);
        }
    }
}
