//! MXFP4 as GGUF files have it: every scale in front of its codes.
//!
//! Which two values share a byte decides how the activations are stored ([`Q8Order`]) and nothing else. The
//! gate and the up projection are two stacks of rows there, where the published layout has their rows in
//! turn; [`Mxfp4Blocks`] takes two stacks for one matrix whose rows alternate, so that outputs come in the
//! published order. The products are those of the published layout, to the bit: a block's sum is an integer,
//! whatever the order in it.

use gptoss_formats::{BLOCK_VALUES, Mxfp4Block, NibbleOrder, mxfp4_dequantize, neighbors_from_halves};

use crate::products::float::Weights;
use crate::products::int8::Int8Weights;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::products::int8::Panel;
#[cfg(target_arch = "aarch64")]
use crate::q8::TILE_FOURS;
use crate::q8::{BLOCK_WITH_SUMS, Q8Order, Q8Row};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::q8::{Q8Rows, TILE_TOKENS, TileBlock};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_mxfp4::BlockRow;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_q8::WIDE_TOKENS;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_q8;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_mxfp4_blocks, avx512_unpack};
use crate::stored::mxfp4::{dot_codes, tile_tokens};
use crate::tier::Instructions;
#[cfg(target_arch = "aarch64")]
use crate::tier::Neon;
#[cfg(target_arch = "x86_64")]
use crate::tier::{Avx2, Avx512};

/// A borrowed MXFP4 matrix of N rows (outputs) by K columns (inputs) in whole blocks.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4Blocks<'a> {
    /// `[N, K / 32]`, or the rows 0, 2, 4, ... of them; no scale is 255.
    pub even: &'a [Mxfp4Block],
    /// The rows 1, 3, 5, ...; empty when all rows are in `even`.
    pub odd: &'a [Mxfp4Block],
    /// Which two values share a byte.
    pub nibbles: NibbleOrder,
}

impl<'a> Mxfp4Blocks<'a> {
    /// Row `n`.
    #[inline(always)]
    pub(super) fn row(self, n: usize, num_blocks: usize) -> &'a [Mxfp4Block] {
        let (stack, place) = match (self.odd.is_empty(), n % 2) {
            (true, _) => (self.even, n),
            (false, 0) => (self.even, n / 2),
            (false, _) => (self.odd, n / 2),
        };
        &stack[place * num_blocks..][..num_blocks]
    }

    /// Row `n`, neighbors sharing a byte.
    pub(crate) fn blocks_of(self, out: &mut [Mxfp4Block], n: usize) {
        out.copy_from_slice(self.row(n, out.len()));
        if self.nibbles == NibbleOrder::Halves {
            for [_, codes @ ..] in out {
                *codes = neighbors_from_halves(codes);
            }
        }
    }

    /// The values of some blocks of one row.
    #[inline(always)]
    pub(super) fn unpack_blocks(self, out: &mut [f32], blocks: &[Mxfp4Block]) {
        for (out, [scale, codes @ ..]) in out.chunks_exact_mut(BLOCK_VALUES).zip(blocks) {
            let codes = match self.nibbles {
                NibbleOrder::Halves => neighbors_from_halves(codes),
                NibbleOrder::Neighbors => *codes,
            };
            mxfp4_dequantize(out, &codes, &[*scale]);
        }
    }
}

impl<'a> Weights for Mxfp4Blocks<'a> {
    fn assert_shape(self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "mxfp4: K = {k} is not a multiple of 32");
        let blocks = n * k / BLOCK_VALUES;
        match self.odd.is_empty() {
            true => assert_eq!(self.even.len(), blocks, "mxfp4: blocks are [N, K / 32]"),
            false => assert_eq!([self.even.len(), self.odd.len()].map(|len| 2 * len), [blocks; 2]),
        }
    }

    fn num_bytes(self) -> usize {
        size_of_val(self.even) + size_of_val(self.odd)
    }

    /// `first` is even where rows alternate.
    #[inline(always)]
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        let num_blocks = k / BLOCK_VALUES;
        if self.odd.is_empty() {
            return Mxfp4Blocks { even: &self.even[first * num_blocks..][..rows * num_blocks], ..self };
        }
        let part =
            |stack: &'a [Mxfp4Block], rows: usize| &stack[first / 2 * num_blocks..][..rows * num_blocks];
        Mxfp4Blocks { even: part(self.even, rows.div_ceil(2)), odd: part(self.odd, rows / 2), ..self }
    }

    #[inline(always)]
    fn unpack_row(self, out: &mut [f32], row: usize) {
        self.unpack_blocks(out, self.row(row, out.len() / BLOCK_VALUES));
    }
}

impl Int8Weights for Mxfp4Blocks<'_> {
    const FACTOR: f32 = 0.5;
    const UNPACKED_BYTES: usize = BLOCK_WITH_SUMS;

    fn order(self) -> Q8Order {
        match self.nibbles {
            NibbleOrder::Neighbors => Q8Order::Mxfp4,
            NibbleOrder::Halves => Q8Order::Mxfp4Halves,
        }
    }

    fn memory(&self) -> [&[u8]; 2] {
        [self.even.as_flattened(), self.odd.as_flattened()]
    }

    #[inline(always)]
    fn dot(self, x: Q8Row<'_>, row: usize, num_blocks: usize) -> f32 {
        dot_codes(x, self.row(row, num_blocks).iter().map(|[scale, codes @ ..]| (codes, *scale)))
    }

    /// One stack after the other.
    #[inline(always)]
    fn nth_in_memory(self, place: usize, rows: usize) -> usize {
        let even = rows.div_ceil(2);
        match (self.odd.is_empty(), place < even) {
            (true, _) => place,
            (false, true) => 2 * place,
            (false, false) => 2 * (place - even) + 1,
        }
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
fn multiply_neon(panel: &Panel<'_, Mxfp4Blocks<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| neon_q8::gemv_blocks(x, w.row(row, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            let row = |r: usize| w.row(rows.start + r.min(rows.len() - 1), num_blocks);
            neon_q8::unpack(weights, scales, |r, b| {
                let [scale, codes @ ..] = &row(r)[b];
                (codes, *scale)
            });
        },
        |tile, x, rows, tokens, prefetch| panel.tile_neon::<TILE_FOURS>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_avx2(panel: &Panel<'_, Mxfp4Blocks<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row(x, |x, row| avx2_mxfp4_blocks::gemv(x, w.row(row, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        TILE_TOKENS,
        |weights, scales, rows| {
            let row = |r| w.row(rows.start + r, num_blocks);
            avx2_mxfp4_blocks::unpack(weights, scales, rows.len(), row);
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx2::<false>(tile, x, rows, tokens, prefetch),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn multiply_avx512(panel: &Panel<'_, Mxfp4Blocks<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    if tiles.is_empty() {
        return panel.by_row_for_many(x, |row| BlockRow::new(w.row(row, num_blocks)));
    }
    panel.by_tile(
        tiles,
        x.t(),
        WIDE_TOKENS,
        |weights, exponents, rows| {
            let row = |r| w.row(rows.start + r, num_blocks);
            avx512_unpack::unpack_blocks(weights, exponents, rows.len(), row);
        },
        |tile, x, rows, tokens, prefetch| panel.tile_avx512(tile, x, rows, tokens, prefetch),
    );
}
