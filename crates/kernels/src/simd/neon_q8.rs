//! NEON forms of the int8 by MXFP4 product, in either layout: rows for few tokens, a tile for many.
//!
//! Entry points: [`gemv`], [`gemv_blocks`], [`unpack`] with [`products`]. All follow the order of
//! `products/int8.rs`: exact integer sums per block, block `b` in lane `b % 8`. `sdot` takes signed bytes on
//! both sides, so weights are looked up as they are, nothing is added to them and no correction taken off.
//! The middle of a block times the sum of its weights is one more `sdot`: of the two looked-up halves added
//! up byte by byte, at most 24, with the middle in every byte.
//!
//! The tile unpacks 8 rows once, four weights of each row side by side, and multiplies them with four
//! activations of one token, chosen by the instruction's index: eight sums of 4 tokens by 8 rows beside eight
//! kept ones, two registers of weights and one of activations.

use std::arch::aarch64::*;

use gptoss_formats::{E2M1_DOUBLED, MXFP4_CODE_BYTES, Mxfp4Block};

use crate::lanes::LANES;
use crate::prefetch::{StreamPrefetch, fetch_ahead};
use crate::q8::{
    GROUP_BLOCKS, Q8Group, Q8Row, SECOND_HALVES, TILE_FOURS, TILE_TOKENS, TileBlock, lane_major, lane_range,
};
use crate::simd::neon::{Eight, add_product, dot, dot_by, fold, fold_eight, load, splat, store, transpose};
use crate::simd::panel::Q8Panel;

/// Bytes of the codes of a group of blocks.
const GROUP_BYTES: usize = GROUP_BLOCKS * MXFP4_CODE_BYTES;
/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 8;
/// Bytes that four values of each of eight rows take, unpacked.
pub(crate) const FOURS_BYTES: usize = TILE_ROWS * 4;
/// Bytes to fetch ahead of a row-wise pass; as on the AVX2 tier, for want of a measurement.
const BYTES_AHEAD: usize = 2 << 10;

/// Twice the product of one row of weights, codes and scales apart, with one row of activations.
///
/// Shapes: `codes [K / 32, 16]`, `scales [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn gemv(x: Q8Row<'_>, (codes, scales): (&[u8], &[u8])) -> f32 {
    let (groups, tail) = codes.as_chunks::<GROUP_BYTES>();
    let (group_scales, tail_scales) = scales.as_chunks::<GROUP_BLOCKS>();
    let (mut lanes, mut x) = (splat(0.0), x.groups());
    for ((codes, scales), x) in groups.iter().zip(group_scales).zip(&mut x) {
        fetch_ahead(codes, BYTES_AHEAD);
        lanes = add_product(lanes, sums(&x, codes.as_chunks().0), scale(&x, *scales));
    }
    if let (false, Some(x)) = (tail.is_empty(), x.next()) {
        let (mut codes, mut scales) = ([0; GROUP_BYTES], [0; GROUP_BLOCKS]);
        codes[..tail.len()].copy_from_slice(tail);
        scales[..tail_scales.len()].copy_from_slice(tail_scales);
        let added = [sums(&x, codes.as_chunks().0), scale(&x, scales)];
        lanes = add_first(lanes, added, tail_scales.len());
    }
    fold(lanes)
}

/// [`gemv`] of a row whose scales stand in front of their codes.
///
/// Shapes: `row [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn gemv_blocks(x: Q8Row<'_>, row: &[Mxfp4Block]) -> f32 {
    let (groups, tail) = row.as_chunks::<GROUP_BLOCKS>();
    let (mut lanes, mut x) = (splat(0.0), x.groups());
    for (group, x) in groups.iter().zip(&mut x) {
        fetch_ahead(group, BYTES_AHEAD);
        let (codes, scales) = parts(group);
        lanes = add_product(lanes, sums(&x, &codes), scale(&x, scales));
    }
    if let (false, Some(x)) = (tail.is_empty(), x.next()) {
        let mut group = [[0; 1 + MXFP4_CODE_BYTES]; GROUP_BLOCKS];
        group[..tail.len()].copy_from_slice(tail);
        let (codes, scales) = parts(&group);
        lanes = add_first(lanes, [sums(&x, &codes), scale(&x, scales)], tail.len());
    }
    fold(lanes)
}

/// The codes and the scales of a group.
#[inline]
#[target_feature(enable = "neon")]
fn parts(group: &[Mxfp4Block; GROUP_BLOCKS]) -> ([[u8; MXFP4_CODE_BYTES]; GROUP_BLOCKS], [u8; GROUP_BLOCKS]) {
    (group.map(|[_, codes @ ..]| codes), group.map(|[scale, ..]| scale))
}

/// Adds products to the first `count` lanes. The others have no block and keep even the sign of their zero.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn add_first(lanes: Eight, [sums, scales]: [Eight; 2], count: usize) -> Eight {
    let (mut kept, mut added) = ([0.0; LANES], [0.0; LANES]);
    store(&mut kept, lanes);
    store(&mut added, add_product(lanes, sums, scales));
    kept[..count].copy_from_slice(&added[..count]);
    load(&kept)
}

/// The integer sums of eight blocks, in order, as floats.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sums(x: &Q8Group<'_>, codes: &[[u8; MXFP4_CODE_BYTES]]) -> Eight {
    let table = table();
    let mut parts = [vdupq_n_s32(0); GROUP_BLOCKS];
    for (b, (part, codes)) in parts.iter_mut().zip(codes).enumerate() {
        // SAFETY: a block is sixteen bytes of codes; a group has two times 128 activations, of which sixteen
        // of a block stand where the low nibbles meet them and sixteen `SECOND_HALVES` behind.
        let (codes, low, high) = unsafe {
            let place = x.values.as_ptr().add(b / 4 * 128 + b % 4 * MXFP4_CODE_BYTES);
            (vld1q_u8(codes.as_ptr()), vld1q_s8(place), vld1q_s8(place.add(SECOND_HALVES)))
        };
        let [evens, odds] = look_up(table, codes);
        let both = vaddq_s8(evens, odds);
        let products = dot(dot(vdupq_n_s32(0), evens, low), odds, high);
        *part = dot(products, both, vdupq_n_s8(x.middles[b]));
    }
    fold_eight(parts).map(|sums| vcvtq_f32_s32(sums))
}

/// Twice the value of each code.
#[inline]
#[target_feature(enable = "neon")]
fn table() -> int8x16_t {
    // SAFETY: sixteen bytes.
    unsafe { vld1q_s8(E2M1_DOUBLED.as_ptr()) }
}

/// The weights of the low and of the high nibbles.
#[inline]
#[target_feature(enable = "neon")]
fn look_up(table: int8x16_t, codes: uint8x16_t) -> [int8x16_t; 2] {
    [vqtbl1q_s8(table, vandq_u8(codes, vdupq_n_u8(15))), vqtbl1q_s8(table, vshrq_n_u8::<4>(codes))]
}

/// Activation scale times weight scale of eight blocks.
#[inline]
#[target_feature(enable = "neon")]
fn scale(x: &Q8Group<'_>, scales: [u8; GROUP_BLOCKS]) -> Eight {
    let (x, scales) = (load(x.scales), scale_values(scales));
    [vmulq_f32(x[0], scales[0]), vmulq_f32(x[1], scales[1])]
}

/// `2^(s - 127)` of eight scale bytes; see [`gptoss_formats::scale_value`].
#[inline]
#[target_feature(enable = "neon")]
fn scale_values(bytes: [u8; GROUP_BLOCKS]) -> Eight {
    // SAFETY: eight bytes.
    let wide = unsafe { vmovl_u8(vld1_u8(bytes.as_ptr())) };
    [vmovl_u16(vget_low_u16(wide)), vmovl_high_u16(wide)]
        .map(|exponents| vreinterpretq_f32_u32(vmaxq_u32(vshlq_n_u32::<23>(exponents), vdupq_n_u32(1 << 22))))
}

/// Unpacks eight rows; `block(r, b)` is the codes and the scale of block `b` of row `r`.
///
/// Shapes: `weights [K / 32, 9, 8, 4]`, the ninth four the sums of the others byte by byte, at most 96;
/// `scales [K / 32, 8]`; blocks in the order of [`lane_major`].
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn unpack<'b>(
    weights: &mut [u8],
    scales: &mut [[f32; TILE_ROWS]],
    block: impl Fn(usize, usize) -> (&'b [u8; MXFP4_CODE_BYTES], u8),
) {
    let num_blocks = scales.len();
    let places = weights.as_chunks_mut::<{ TILE_FOURS * FOURS_BYTES }>().0.iter_mut().zip(scales);
    for ((weights, scales), b) in places.zip(lane_major(num_blocks)) {
        let rows: [_; TILE_ROWS] = std::array::from_fn(|r| block(r, b));
        store(scales, scale_values(rows.map(|(_, scale)| scale)));
        let codes = rows.map(|(codes, _)| {
            // SAFETY: a block is sixteen bytes.
            unsafe { vreinterpretq_u32_u8(vld1q_u8(codes.as_ptr())) }
        });
        let (first, second) = codes.split_at(4);
        for (half, rows) in [first, second].into_iter().enumerate() {
            unpack_four_rows(weights, half, std::array::from_fn(|r| rows[r]));
        }
    }
}

/// Four rows of a block, into the first or the second half of each four.
#[inline]
#[target_feature(enable = "neon")]
fn unpack_four_rows(weights: &mut [u8; TILE_FOURS * FOURS_BYTES], half: usize, rows: [uint32x4_t; 4]) {
    let (table, mut sums) = (table(), vdupq_n_s8(0));
    let halves = weights.as_chunks_mut::<16>().0;
    let mut put = |four: usize, bytes: int8x16_t| {
        // SAFETY: sixteen bytes.
        unsafe { vst1q_s8(halves[2 * four + half].as_mut_ptr().cast(), bytes) };
    };
    for (word, codes) in transpose(rows).into_iter().enumerate() {
        let [evens, odds] = look_up(table, codes);
        sums = vaddq_s8(sums, vaddq_s8(evens, odds));
        put(word, evens);
        put(4 + word, odds);
    }
    put(TILE_FOURS - 1, sums);
}

/// The products of a panel's eight rows with a tile of activations, twice them for MXFP4; tokens that the
/// tile lacks are zero. `FOURS` is how many a block has: nine with the sums of weights, else eight. What
/// `prefetch` covers is asked for meanwhile, a part with each block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn products<const FOURS: usize>(
    panel: &Q8Panel<'_, TILE_ROWS>,
    x: &[TileBlock],
    prefetch: &mut StreamPrefetch,
) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
    const { assert!(FOURS <= TILE_FOURS) };
    let (weights, scales) = (panel.weights.as_chunks::<FOURS_BYTES>().0, panel.scales);
    assert!(weights.len() == x.len() * FOURS && scales.len() == x.len());
    let mut lanes = [[splat(0.0); TILE_TOKENS]; LANES];
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let blocks = lane_range(x.len(), lane);
        let (mut kept, mut parts) = ([splat(0.0); TILE_TOKENS], prefetch.parts(blocks.len()));
        for b in blocks {
            parts.fetch();
            let (x, scales) = (&x[b], load(&scales[b]));
            let added = block_sums(&weights[b * FOURS..][..FOURS], x);
            for ((sum, added), x_scale) in kept.iter_mut().zip(added).zip(x.scales) {
                let scales = scales.map(|scales| vmulq_n_f32(scales, x_scale));
                *sum = add_product(*sum, added.map(|added| vcvtq_f32_s32(added)), scales);
            }
        }
        *sums = kept;
    }
    std::array::from_fn(|t| {
        let mut out = [0.0; TILE_ROWS];
        let half = |h: usize| {
            let lane = |lane: usize| lanes[lane][t][h];
            let even = vaddq_f32(vaddq_f32(lane(0), lane(4)), vaddq_f32(lane(2), lane(6)));
            let odd = vaddq_f32(vaddq_f32(lane(1), lane(5)), vaddq_f32(lane(3), lane(7)));
            vaddq_f32(even, odd)
        };
        store(&mut out, [half(0), half(1)]);
        out
    })
}

/// The integer sums of one block of eight rows for four tokens.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn block_sums(weights: &[[u8; FOURS_BYTES]], x: &TileBlock) -> [[int32x4_t; 2]; TILE_TOKENS] {
    let mut sums = [[vdupq_n_s32(0); 2]; TILE_TOKENS];
    for (weights, fours) in weights.iter().zip(&x.fours) {
        // SAFETY: 32 bytes of weights, four times four of activations.
        let (w, x) = unsafe {
            let place = weights.as_ptr().cast::<i8>();
            ([vld1q_s8(place), vld1q_s8(place.add(16))], vld1q_s8(fours.as_ptr().cast()))
        };
        for (half, w) in w.into_iter().enumerate() {
            sums[0][half] = dot_by::<0>(sums[0][half], w, x);
            sums[1][half] = dot_by::<1>(sums[1][half], w, x);
            sums[2][half] = dot_by::<2>(sums[2][half], w, x);
            sums[3][half] = dot_by::<3>(sums[3][half], w, x);
        }
    }
    sums
}
