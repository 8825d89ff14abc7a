//! Q8_0: blocks of an f16 scale and 32 int8, row by row.

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_dequantize, q8_0_scale, q8_0_values};

use crate::products::float::Weights;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::products::int8::Panel;
use crate::products::int8::{Int8Weights, dot_blocks, int8_sum};
#[cfg(target_arch = "aarch64")]
use crate::q8::TILE_FOURS;
use crate::q8::{Q8Order, Q8Row};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::q8::{Q8Rows, TILE_TOKENS, TileBlock};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_q8::WIDE_TOKENS;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_q8_0;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_q8_0, avx512_q8_0};
use crate::tier::Instructions;
#[cfg(target_arch = "aarch64")]
use crate::tier::Neon;
#[cfg(target_arch = "x86_64")]
use crate::tier::{Avx2, Avx512};

/// Tokens from which on a wide tier unpacks rows for a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const TILE_FROM_TOKENS: usize = 3;

impl Weights for &[Q8_0Block] {
    fn assert_shape(self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "q8_0: K = {k} is not a multiple of 32");
        assert_eq!(self.len(), n * k / BLOCK_VALUES, "q8_0: blocks are [N, K / 32]");
    }

    fn num_bytes(self) -> usize {
        size_of_val(self)
    }

    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        let num_blocks = k / BLOCK_VALUES;
        &self[first * num_blocks..][..rows * num_blocks]
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        let (outs, rest) = out.as_chunks_mut::<BLOCK_VALUES>();
        assert!(rest.is_empty(), "q8_0: K is a multiple of 32");
        let num_blocks = outs.len();
        for (out, block) in outs.iter_mut().zip(&self[row * num_blocks..][..num_blocks]) {
            q8_0_dequantize(out, block);
        }
    }
}

impl Int8Weights for &[Q8_0Block] {
    const FACTOR: f32 = 1.0;

    fn order(self) -> Q8Order {
        Q8Order::Q8_0
    }

    fn memory(&self) -> [&[u8]; 2] {
        [self.as_flattened(), &[]]
    }

    #[inline(always)]
    fn dot(self, x: Q8Row<'_>, row: usize, num_blocks: usize) -> f32 {
        let blocks = self[row * num_blocks..][..num_blocks].iter().enumerate();
        dot_blocks(
            x,
            blocks.map(|(b, block)| (q8_0_scale(block).to_f32(), int8_sum(x, b, &q8_0_values(block)))),
        )
    }

    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(unused_variables, reason = "no tier here has a tile")
    )]
    fn tile_tokens(instructions: Instructions) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        if instructions.avx2().is_some() {
            return Some(TILE_FROM_TOKENS);
        }
        #[cfg(target_arch = "aarch64")]
        if instructions.neon().is_some() {
            return Some(TILE_FROM_TOKENS);
        }
        None
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
fn multiply_neon(panel: &Panel<'_, &[Q8_0Block]>, x: &Q8Rows, tiles: &[TileBlock]) {
    const FOURS: usize = TILE_FOURS - 1;
    let (w, k) = (panel.w, panel.num_blocks * BLOCK_VALUES);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| neon_q8_0::gemv(x, w.rows(row, 1, k)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            neon_q8_0::unpack(weights, scales, w.rows(rows.start, rows.len(), k));
        },
        |tile, x, rows, tokens, prefetch| panel.tile_neon::<FOURS>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_avx2(panel: &Panel<'_, &[Q8_0Block]>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, k) = (panel.w, panel.num_blocks * BLOCK_VALUES);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| avx2_q8_0::gemv(x, w.rows(row, 1, k)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            avx2_q8_0::unpack(weights, scales, w.rows(rows.start, rows.len(), k), false);
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx2::<true>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn multiply_avx512(panel: &Panel<'_, &[Q8_0Block]>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, k) = (panel.w, panel.num_blocks * BLOCK_VALUES);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| avx512_q8_0::gemv(x, w.rows(row, 1, k)));
    }
    panel.by_tile::<_, f32>(
        tiles,
        x.t(),
        WIDE_TOKENS,
        |weights, scales, rows| {
            avx2_q8_0::unpack(weights, scales, w.rows(rows.start, rows.len(), k), true);
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx512(tile, x, rows, tokens, prefetch),
    );
}
