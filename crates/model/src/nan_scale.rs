//! The scale of an MXFP4 block that stands for NaN, and the search for it in a run of scales.

use gptoss_formats::NAN_SCALE;

/// The place of the first scale NaN.
pub(crate) fn nan_scale(scales: &[u8]) -> Option<usize> {
    // The largest byte first: that fold is vectorised, a search is not.
    let largest = scales.iter().copied().fold(0, u8::max);
    if largest == NAN_SCALE { scales.iter().position(|&scale| scale == NAN_SCALE) } else { None }
}
