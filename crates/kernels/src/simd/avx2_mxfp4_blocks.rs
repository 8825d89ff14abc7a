//! AVX2 forms of the int8 by MXFP4 product where every scale stands in front of its codes: rows for few
//! tokens, and the panel for many.
//!
//! Entry points: [`gemv`], and [`unpack`] with the tile of `avx2_q8.rs`. Everything but the loads is that of
//! `avx2_q8.rs`: two blocks, 17 bytes apart, come into the halves of a register, and the eight scales of a
//! group are gathered byte by byte. Activations are stored in the order that the nibbles have, so no nibble
//! is moved.

use std::arch::x86_64::*;

use gptoss_formats::Mxfp4Block;

use crate::prefetch::fetch_ahead;
use crate::q8::{GROUP_BLOCKS, Q8Row};
use crate::simd::avx2_f32::fold;
use crate::simd::avx2_q8::{BYTES_AHEAD, TILE_ROWS, Tables, group_scale, group_sums, unpack_blocks};

/// Twice the product of one row of weights with one row of activations.
///
/// Shapes: `row [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn gemv(x: Q8Row<'_>, row: &[Mxfp4Block]) -> f32 {
    let tables = Tables::new();
    let (groups, tail) = row.as_chunks::<GROUP_BLOCKS>();
    let mut lanes = _mm256_setzero_ps();
    for (g, group) in groups.iter().enumerate() {
        fetch_ahead(group, BYTES_AHEAD);
        let sums = group_sums(&tables, x, g, codes(group));
        lanes = _mm256_fmadd_ps(sums, group_scale(x, g, scales(group)), lanes);
    }
    if !tail.is_empty() {
        let mut group = [[0; 17]; GROUP_BLOCKS];
        group[..tail.len()].copy_from_slice(tail);
        let sums = group_sums(&tables, x, groups.len(), codes(&group));
        let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let used = _mm256_cmpgt_epi32(_mm256_set1_epi32(tail.len() as i32), index);
        let added = _mm256_fmadd_ps(sums, group_scale(x, groups.len(), scales(&group)), lanes);
        // Lanes without a block keep even the sign of their zero.
        lanes = _mm256_blendv_ps(lanes, added, _mm256_castsi256_ps(used));
    }
    fold(lanes)
}

/// The codes of eight blocks, two to a register.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn codes(group: &[Mxfp4Block; GROUP_BLOCKS]) -> [__m256i; 4] {
    // SAFETY: the codes of a block are its last 16 bytes.
    let load = |b: usize| unsafe { _mm_loadu_si128(group[b].as_ptr().add(1).cast()) };
    [0, 2, 4, 6].map(|b| _mm256_set_m128i(load(b + 1), load(b)))
}

/// The scale bytes of eight blocks, the first lowest.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn scales(group: &[Mxfp4Block; GROUP_BLOCKS]) -> u64 {
    u64::from_le_bytes(group.map(|block| block[0]))
}

/// Unpacks up to eight of `rows` rows, of which `row(r)` is the r-th; those that are missing repeat the last
/// one.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack<'b>(
    weights: &mut [u8],
    scales: &mut [[f32; TILE_ROWS]],
    rows: usize,
    row: impl Fn(usize) -> &'b [Mxfp4Block],
) {
    let rows: [&[Mxfp4Block]; TILE_ROWS] = std::array::from_fn(|r| row(r.min(rows - 1)));
    unpack_blocks(weights, scales, |r, b| {
        let [scale, codes @ ..] = &rows[r][b];
        (codes, *scale)
    });
}
