//! MXFP4 as published: codes and scales apart.

use gptoss_formats::{
    BLOCK_VALUES, E2M1_DOUBLED, MXFP4_CODE_BYTES, Mxfp4Block, mxfp4_dequantize, scale_value,
};

use crate::products::float::Weights;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::products::int8::Panel;
use crate::products::int8::{Int8Weights, dot_blocks};
#[cfg(target_arch = "aarch64")]
use crate::q8::TILE_FOURS;
use crate::q8::{BLOCK_WITH_SUMS, Q8Order, Q8Row, SECOND_HALVES};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::q8::{Q8Rows, TILE_TOKENS, TileBlock};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_mxfp4::SplitRow;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_q8::WIDE_TOKENS;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_f32, avx2_gemv, avx2_q8, avx512_unpack};
#[cfg(target_arch = "aarch64")]
use crate::simd::{neon_f32, neon_q8};
use crate::tier::Instructions;
#[cfg(target_arch = "aarch64")]
use crate::tier::Neon;
#[cfg(target_arch = "x86_64")]
use crate::tier::{Avx2, Avx512};

/// A borrowed MXFP4 matrix of N rows (outputs) by K columns (inputs), laid out as published.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4<'a> {
    /// `[N, K / 32, 16]`, row after row.
    pub blocks: &'a [u8],
    /// `[N, K / 32]`; no byte is 255.
    pub scales: &'a [u8],
}

impl<'a> Mxfp4<'a> {
    /// The blocks and scales of some rows.
    #[inline(always)]
    fn parts(self, first: usize, rows: usize, num_blocks: usize) -> (&'a [u8], &'a [u8]) {
        let (start, len) = (first * num_blocks, rows * num_blocks);
        (&self.blocks[start * MXFP4_CODE_BYTES..][..len * MXFP4_CODE_BYTES], &self.scales[start..][..len])
    }

    /// Row `n`, every scale in front of its codes.
    pub(crate) fn blocks_of(self, out: &mut [Mxfp4Block], n: usize) {
        let (codes, scales) = self.parts(n, 1, out.len());
        for ((out, codes), scale) in out.iter_mut().zip(codes.as_chunks::<MXFP4_CODE_BYTES>().0).zip(scales) {
            let [first, rest @ ..] = out;
            (*first, *rest) = (*scale, *codes);
        }
    }
}

impl Weights for Mxfp4<'_> {
    const FEW_TOKENS: usize = 1;

    fn assert_shape(self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "mxfp4: K = {k} is not a multiple of 32");
        assert_eq!(self.blocks.len(), n * k / 2, "mxfp4: blocks are [N, K / 32, 16]");
        assert_eq!(self.scales.len(), n * k / BLOCK_VALUES, "mxfp4: scales are [N, K / 32]");
    }

    fn num_bytes(self) -> usize {
        self.blocks.len() + self.scales.len()
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        let (blocks, scales) = self.parts(first, rows, k / BLOCK_VALUES);
        Mxfp4 { blocks, scales }
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        let (blocks, scales) = self.parts(row, 1, out.len() / BLOCK_VALUES);
        mxfp4_dequantize(out, blocks, scales);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_avx2(self, _: Avx2, out: &mut [f32], _: usize) {
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_f32::unpack_mxfp4(out, self.blocks, self.scales) };
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn multiply_few_avx2(self, _: Avx2, out: &mut [f32], x: &[f32], _: usize) -> bool {
        // SAFETY: the token is the proof of the features.
        unsafe { avx2_gemv::products_mxfp4(out, self.blocks, self.scales, x) };
        true
    }

    #[cfg(target_arch = "aarch64")]
    fn unpack_neon(self, out: &mut [f32], _: usize) {
        // SAFETY: NEON is part of the architecture.
        unsafe { neon_f32::unpack_mxfp4(out, self.blocks, self.scales) };
    }

    #[cfg(target_arch = "aarch64")]
    fn multiply_few_neon(self, out: &mut [f32], x: &[f32], _: usize) -> bool {
        // SAFETY: NEON is part of the architecture.
        unsafe { neon_f32::products_mxfp4(out, self.blocks, self.scales, x) };
        true
    }
}

impl Int8Weights for Mxfp4<'_> {
    const FACTOR: f32 = 0.5;
    const UNPACKED_BYTES: usize = BLOCK_WITH_SUMS;

    fn order(self) -> Q8Order {
        Q8Order::Mxfp4
    }

    fn memory(&self) -> [&[u8]; 2] {
        [self.blocks, self.scales]
    }

    #[inline(always)]
    fn dot(self, x: Q8Row<'_>, row: usize, num_blocks: usize) -> f32 {
        let (blocks, scales) = self.parts(row, 1, num_blocks);
        dot_codes(x, blocks.as_chunks().0.iter().zip(scales.iter().copied()))
    }

    fn tile_tokens(instructions: Instructions) -> Option<usize> {
        tile_tokens(instructions)
    }

    #[cfg(target_arch = "x86_64")]
    fn multiply_avx2(_: Avx2, panel: &Panel<'_, Self>, x: &Q8Rows, tiles: &[TileBlock]) {
        // SAFETY: the token is the proof of the features.
        unsafe { multiply_avx2(panel, x, tiles) }
    }

    #[cfg(target_arch = "x86_64")]
    fn multiply_avx512(_: Avx512, panel: &Panel<'_, Self>, x: &Q8Rows, tiles: &[TileBlock]) {
        // SAFETY: the token is the proof of the features.
        unsafe { multiply_avx512(panel, x, tiles) }
    }

    #[cfg(target_arch = "aarch64")]
    fn multiply_neon(_: Neon, panel: &Panel<'_, Self>, x: &Q8Rows, tiles: &[TileBlock]) {
        // SAFETY: the token is the proof of the features.
        unsafe { multiply_neon(panel, x, tiles) }
    }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn multiply_neon(panel: &Panel<'_, Mxfp4<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| neon_q8::gemv(x, w.parts(row, 1, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            let (codes, scale_bytes) = w.parts(rows.start, rows.len(), num_blocks);
            let codes = codes.as_chunks().0;
            neon_q8::unpack(weights, scales, |r, b| {
                let place = r.min(rows.len() - 1) * num_blocks + b;
                (&codes[place], scale_bytes[place])
            });
        },
        |tile, x, rows, tokens, prefetch| panel.tile_neon::<TILE_FOURS>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_avx2(panel: &Panel<'_, Mxfp4<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| avx2_q8::gemv(x, w.parts(row, 1, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            avx2_q8::unpack(weights, scales, w.parts(rows.start, rows.len(), num_blocks));
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx2::<false>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn multiply_avx512(panel: &Panel<'_, Mxfp4<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row_for_many(x, |row| SplitRow::new(w.parts(row, 1, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        WIDE_TOKENS,
        |weights, exponents, rows| {
            avx512_unpack::unpack(weights, exponents, w.parts(rows.start, rows.len(), num_blocks));
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx512(tile, x, rows, tokens, prefetch),
    );
}

/// Tokens from which on the AVX-512 tier unpacks MXFP4 for a tile: 151 GMAC/s with 4 tokens from memory, row
/// by row 124; with 3 it is 113 and 117 (two threads of Zen 4, 2026-11-24).
#[cfg(target_arch = "x86_64")]
const WIDE_TILE_TOKENS: usize = 4;
/// The same of the AVX2 tier, and, for want of a measurement, of NEON.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const NARROW_TILE_TOKENS: usize = 3;

/// [`Int8Weights::tile_tokens`] of both layouts.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(unused_variables, reason = "no tier here has a tile")
)]
pub(crate) fn tile_tokens(instructions: Instructions) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if instructions.avx512().is_some() {
        return Some(WIDE_TILE_TOKENS);
    } else if instructions.avx2().is_some() {
        return Some(NARROW_TILE_TOKENS);
    }
    #[cfg(target_arch = "aarch64")]
    if instructions.neon().is_some() {
        return Some(NARROW_TILE_TOKENS);
    }
    None
}

/// Twice the product of one row of activations and one of weights, given as codes with a scale.
#[inline(always)]
pub(crate) fn dot_codes<'a>(
    x: Q8Row<'_>,
    row: impl Iterator<Item = (&'a [u8; MXFP4_CODE_BYTES], u8)>,
) -> f32 {
    dot_blocks(x, row.enumerate().map(|(b, (codes, scale))| (scale_value(scale), code_sum(x, b, codes))))
}

/// The sum of a block, its middle in each value: where activations meet the low nibbles first, in either
/// order of MXFP4.
#[inline(always)]
fn code_sum(x: Q8Row<'_>, b: usize, block: &[u8; MXFP4_CODE_BYTES]) -> i32 {
    let first = Q8Order::Mxfp4.stored_at(b * BLOCK_VALUES);
    let (low, high) = (&x.values[first..][..16], &x.values[first + SECOND_HALVES..][..16]);
    let middle = i32::from(x.middles[b]);
    let mut sum = 0;
    for ((byte, low), high) in block.iter().zip(low).zip(high) {
        sum += (i32::from(*low) + middle) * i32::from(E2M1_DOUBLED[usize::from(byte & 15)]);
        sum += (i32::from(*high) + middle) * i32::from(E2M1_DOUBLED[usize::from(byte >> 4)]);
    }
    sum
}
