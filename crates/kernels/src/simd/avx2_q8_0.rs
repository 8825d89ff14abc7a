//! AVX2 forms of the int8 by Q8_0 product: rows for few tokens, and the panel for many.
//!
//! Entry points: [`gemv`], and [`unpack`] with the tile of `avx2_q8.rs`. Both follow the order of
//! `products/int8.rs`: exact integer sums per block, block `b` in lane `b % 8`.
//!
//! `vpmaddubsw` wants one unsigned factor, so it is given the magnitude of the weight and the activation with
//! the weight's sign. Files of others may hold the weight -128: its magnitude is 128 as an unsigned byte, and
//! activations are at least -127, so every product is right, and a sum of two is at most 2 * 128 * 127 =
//! 32,512. That leaves no room to add two such sums in 16 bits.
//!
//! Blocks are 34 bytes, so nothing is aligned, and still a row-wise pass over them reads as fast as plain
//! loads do; a GGUF file is used in place. Rows are taken one at a time, so that memory is read from one end
//! to the other and the processor's own prefetching runs far ahead: two or four rows together, each a stream
//! of 3 KB, read 10 to 13 GB/s in place of 25 to 30, with and without prefetch instructions (one thread, Zen
//! 4, 2026-11-23).

use std::arch::x86_64::*;

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_scale};

use crate::q8::{GROUP_BLOCKS, Q8Row, lane_major};
use crate::simd::avx2_f32::{fold, transpose};
use crate::simd::avx2_q8::TILE_ROWS;
use crate::simd::panel::Q8Panel;

/// The product of one row of weights with one row of activations.
///
/// Shapes: `row [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn gemv(x: Q8Row<'_>, row: &[Q8_0Block]) -> f32 {
    let (groups, tail) = row.as_chunks::<GROUP_BLOCKS>();
    let mut lanes = _mm256_setzero_ps();
    for (g, blocks) in groups.iter().enumerate() {
        let first = g * GROUP_BLOCKS;
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

/// All bits of the first `count` lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn used_lanes(count: usize) -> __m256 {
    let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), index))
}

/// The integer sums of up to eight blocks from `first` on, in order, as floats.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sums(x: Q8Row<'_>, first: usize, blocks: &[Q8_0Block]) -> __m256 {
    let ones = _mm256_set1_epi16(1);
    let values = &x.values[first * BLOCK_VALUES..][..GROUP_BLOCKS * BLOCK_VALUES];
    let mut parts = [_mm256_setzero_si256(); GROUP_BLOCKS];
    for (i, (part, block)) in parts.iter_mut().zip(blocks).enumerate() {
        // SAFETY: 32 weights after the scale, and eight times 32 activations.
        let (w, x) = unsafe {
            (
                _mm256_loadu_si256(block.as_ptr().add(2).cast()),
                _mm256_loadu_si256(values.as_ptr().add(i * BLOCK_VALUES).cast()),
            )
        };
        let products = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        *part = _mm256_madd_epi16(products, ones);
    }
    _mm256_cvtepi32_ps(fold_parts(parts))
}

/// Eight times eight partial sums to eight sums, in order.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn fold_parts(p: [__m256i; GROUP_BLOCKS]) -> __m256i {
    let fours = |i: usize| {
        _mm256_hadd_epi32(_mm256_hadd_epi32(p[i], p[i + 1]), _mm256_hadd_epi32(p[i + 2], p[i + 3]))
    };
    let (low, high) = (fours(0), fours(4));
    let first_halves = _mm256_permute2x128_si256::<0x20>(low, high);
    let second_halves = _mm256_permute2x128_si256::<0x31>(low, high);
    _mm256_add_epi32(first_halves, second_halves)
}

/// Activation scale times weight scale of up to eight blocks from `first` on; zero after the last.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn scales(x: Q8Row<'_>, first: usize, blocks: &[Q8_0Block]) -> __m256 {
    let activations = &x.scales[first..][..GROUP_BLOCKS];
    // SAFETY: eight scales.
    let activations = unsafe { _mm256_loadu_ps(activations.as_ptr()) };
    let mut bits = [0_i16; GROUP_BLOCKS];
    for (bits, block) in bits.iter_mut().zip(blocks) {
        *bits = q8_0_scale(block).to_bits() as i16;
    }
    let [a, b, c, d, e, f, g, h] = bits;
    _mm256_mul_ps(activations, _mm256_cvtph_ps(_mm_setr_epi16(a, b, c, d, e, f, g, h)))
}

/// Lays up to `R` rows out for a tile; those that are missing repeat the last one. Weights become unsigned by
/// adding 128 where the tile wants that.
///
/// Shapes: `weights [K / 32, 8, R, 4]`, `scales [K / 32, R]`, both in the order of [`lane_major`], `blocks
/// [rows, K / 32]`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn unpack<const R: usize>(
    weights: &mut [u8],
    scales: &mut [[f32; R]],
    blocks: &[Q8_0Block],
    unsigned: bool,
) {
    let flip = _mm256_set1_epi8(if unsigned { i8::MIN } else { 0 });
    let num_blocks = scales.len();
    let last = blocks.len() / num_blocks - 1;
    for eight in (0..R).step_by(TILE_ROWS) {
        let places = weights.chunks_exact_mut(Q8Panel::<R>::BLOCK).zip(scales.iter_mut());
        for ((weights, scales), b) in places.zip(lane_major(num_blocks)) {
            let mut rows = [_mm256_setzero_ps(); TILE_ROWS];
            for (r, row) in rows.iter_mut().enumerate() {
                let block = &blocks[(eight + r).min(last) * num_blocks + b];
                // SAFETY: 32 weights after the scale.
                let values = unsafe { _mm256_loadu_si256(block.as_ptr().add(2).cast()) };
                *row = _mm256_castsi256_ps(_mm256_xor_si256(values, flip));
                scales[eight + r] = q8_0_scale(block).to_f32();
            }
            for (c, four) in transpose(rows).into_iter().enumerate() {
                let out = &mut weights[(c * R + eight) * 4..][..TILE_ROWS * 4];
                // SAFETY: 32 bytes.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr().cast(), four) };
            }
        }
    }
}
