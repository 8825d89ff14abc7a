//! The scale of an MXFP4 block that stands for NaN, and the search for it in a run of scales.
//!
//! Entry point: [`nan_scale`]. A block with this scale makes every number behind it NaN, so weights that hold
//! one are refused with the place, when they are loaded or when they are read from disk.

use gptoss_formats::NAN_SCALE;

/// The place of the first scale NaN.
pub(crate) fn nan_scale(scales: &[u8]) -> Option<usize> {
    // The largest byte first: that fold is vectorized, a search is not.
    let largest = scales.iter().copied().fold(0, u8::max);
    if largest == NAN_SCALE { scales.iter().position(|&scale| scale == NAN_SCALE) } else { None }
}
