//! MXFP4 matrices as published: codes and scales apart.

use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES};

/// A borrowed MXFP4 matrix of N rows (outputs) by K columns (inputs), laid out as published.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4<'a> {
    /// `[N, K / 32, 16]`, row after row.
    pub blocks: &'a [u8],
    /// `[N, K / 32]`; no byte is 255.
    pub scales: &'a [u8],
}

impl<'a> Mxfp4<'a> {
    /// Panics unless the lengths are those of N rows of K values.
    pub(crate) fn assert_shape(&self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "mxfp4: K = {k} is no multiple of 32");
        assert_eq!(self.blocks.len(), n * k / 2, "mxfp4: blocks are [N, K / 32, 16]");
        assert_eq!(self.scales.len(), n * k / BLOCK_VALUES, "mxfp4: scales are [N, K / 32]");
    }

    /// The blocks and scales of row `n`.
    #[inline(always)]
    pub(crate) fn row(&self, n: usize, num_blocks: usize) -> (&'a [u8], &'a [u8]) {
        let row = self.rows(n, 1, num_blocks);
        (row.blocks, row.scales)
    }

    /// `rows` rows from `first` on.
    #[inline(always)]
    pub(crate) fn rows(&self, first: usize, rows: usize, num_blocks: usize) -> Mxfp4<'a> {
        let (start, len) = (first * num_blocks, rows * num_blocks);
        Mxfp4 {
            blocks: &self.blocks[start * MXFP4_CODE_BYTES..][..len * MXFP4_CODE_BYTES],
            scales: &self.scales[start..][..len],
        }
    }
}
