//! AVX-512 VNNI form of the int8 by Q8_0 product for few tokens.
//!
//! Entry point: [`gemv`]. As in `avx2_q8_0.rs`, with `vpdpbusd` in place of three instructions: the weights
//! become unsigned by flipping their highest bit, which adds 128, and 128 times the sum of the activations is
//! taken off again. Many tokens take the tile of `avx512_q8.rs`, which knows only unsigned weights and
//! corrections.

use std::arch::x86_64::*;

use gptoss_formats::{BLOCK_VALUES, Q8_0Block};

use crate::prefetch::fetch_ahead;
use crate::q8::{GROUP_BLOCKS, Q8Row};
use crate::simd::avx2_f32::fold;
use crate::simd::avx2_q8_0::{fold_parts, scales, used_lanes};

/// Bytes to fetch ahead of a row: two rows of 2,880. Worth a twentieth; of MXFP4 rows the same costs a third
/// (two threads, Zen 4, 2026-11-23).
const BYTES_AHEAD: usize = 4 << 10;

/// The product of one row of weights with one row of activations.
///
/// Shapes: `row [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn gemv(x: Q8Row<'_>, row: &[Q8_0Block]) -> f32 {
    let (groups, tail) = row.as_chunks::<GROUP_BLOCKS>();
    let mut lanes = _mm256_setzero_ps();
    for (g, blocks) in groups.iter().enumerate() {
        let first = g * GROUP_BLOCKS;
        fetch_ahead(blocks, BYTES_AHEAD);
        lanes = _mm256_fmadd_ps(sums(x, first, blocks), scales(x, first, blocks), lanes);
    }
    if !tail.is_empty() {
        let first = row.len() - tail.len();
        let added = _mm256_fmadd_ps(sums(x, first, tail), scales(x, first, tail), lanes);
        // Lanes without a block keep even the sign of their zero.
        lanes = _mm256_blendv_ps(lanes, added, used_lanes(tail.len()));
    }
    fold(lanes)
}

/// The integer sums of up to eight blocks from `first` on, in order, as floats.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums(x: Q8Row<'_>, first: usize, blocks: &[Q8_0Block]) -> __m256 {
    let flip = _mm256_set1_epi8(i8::MIN);
    let values = &x.values[first * BLOCK_VALUES..][..GROUP_BLOCKS * BLOCK_VALUES];
    let corrections = &x.corrections[first..][..GROUP_BLOCKS];
    let mut parts = [_mm256_setzero_si256(); GROUP_BLOCKS];
    for (i, (part, block)) in parts.iter_mut().zip(blocks).enumerate() {
        // SAFETY: 32 weights after the scale, and eight times 32 activations.
        let (w, x) = unsafe {
            (
                _mm256_loadu_si256(block.as_ptr().add(2).cast()),
                _mm256_loadu_si256(values.as_ptr().add(i * BLOCK_VALUES).cast()),
            )
        };
        *part = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_xor_si256(w, flip), x);
    }
    // SAFETY: eight corrections.
    let corrections = unsafe { _mm256_loadu_si256(corrections.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_sub_epi32(fold_parts(parts), corrections))
}
