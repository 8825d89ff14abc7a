//! Rows of small integers as tiles take them, whatever the instructions.

use gptoss_formats::BLOCK_VALUES;

/// `R` rows of weights, a multiple of eight, unpacked for a tile; blocks in the order of
/// [`lane_major`](crate::q8::lane_major).
pub(crate) struct Q8Panel<'a, const R: usize, S = f32> {
    /// `[K / 32, 8, R, 4]` weights: four at a time in stored order of the activations. Of MXFP4 `[K / 32, 9,
    /// R, 4]`: behind the fours of a block are their sums, byte by byte. Unsigned where the tile wants that.
    pub(crate) weights: &'a [u8],
    /// `[K / 32, R]`
    pub(crate) scales: &'a [[S; R]],
}

impl<const R: usize> Q8Panel<'_, R> {
    /// Bytes of one block of all rows.
    pub(crate) const BLOCK: usize = R * BLOCK_VALUES;
}
