//! The scale of an MXFP4 block that stands for NaN, and the search for it in a run of scales.
//!
//! Entry points: [`nan_scale`], and [`refuse_nan_scales`] for the scales of all experts. A block with this
//! scale makes every number behind it NaN, so weights that hold one are refused with the place, when they are
//! loaded or when they are read from disk.

use std::sync::atomic::{AtomicUsize, Ordering};

use gptoss_checkpoint::Tensor;
use gptoss_formats::NAN_SCALE;
use gptoss_kernels::Pool;

use crate::Error;

/// Bytes of scales that one task of the scan reads.
const SCAN_TASK_BYTES: usize = 1 << 18;

/// The place of the first scale NaN.
pub(crate) fn nan_scale(scales: &[u8]) -> Option<usize> {
    // The largest byte first: that fold is vectorized, a search is not.
    let largest = scales.iter().copied().fold(0, u8::max);
    if largest == NAN_SCALE { scales.iter().position(|&scale| scale == NAN_SCALE) } else { None }
}

/// Looks for the scale NaN in all experts' scales of a tensor; the first one in its order is reported.
///
/// Errors: `NanScale`.
pub(crate) fn refuse_nan_scales(scales: &Tensor, num_experts: usize, pool: &Pool) -> Result<(), Error> {
    let bytes: &[u8] = &scales.bytes;
    let first = AtomicUsize::new(usize::MAX);
    pool.run(bytes.len().div_ceil(SCAN_TASK_BYTES), |task| {
        let start = task * SCAN_TASK_BYTES;
        let piece = &bytes[start..bytes.len().min(start + SCAN_TASK_BYTES)];
        if let Some(found) = nan_scale(piece) {
            first.fetch_min(start + found, Ordering::Relaxed);
        }
    });
    let index = first.into_inner();
    if index == usize::MAX {
        return Ok(());
    }
    let blocks_per_row = scales.shape.last().copied().unwrap_or(1).max(1);
    let per_expert = (bytes.len() / num_experts).max(1);
    Err(Error::NanScale {
        tensor: scales.name.clone(),
        expert: index / per_expert,
        row: index % per_expert / blocks_per_row,
        block: index % blocks_per_row,
    })
}
