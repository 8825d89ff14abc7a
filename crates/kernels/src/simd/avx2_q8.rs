//! AVX2 forms of the int8 by MXFP4 product: a row-wise kernel for few tokens and a tile for many.
//!
//! Entry points: [`gemv`], [`unpack`] with [`products`]. Both follow the order of `products/int8.rs`: exact
//! integer sums per block, block `b` in lane `b % 8`.
//!
//! * [`gemv`] reads the published layout. 32 bytes are two blocks of a row; low nibbles are even elements,
//!   high ones odd. Weights are looked up with 12 added, so that they are unsigned for `vpmaddubsw`, and 12
//!   times the sum of the activations is taken off again. Eight blocks are folded into one register of block
//!   sums before anything is scaled.
//! * The tile unpacks 8 rows once, transposed so that a register holds 4 weights of each of the 8 rows, and
//!   multiplies them with broadcast activations of up to 4 tokens. It walks the blocks of lane 0, then of
//!   lane 1, and so on: one accumulator per output at a time, and the lanes are folded at the end.
//!
//! Sums of four products stay under 2^15: 2 * 24 * 127 * 4 = 24,384. What the middle of a
//! block adds, itself times the sum of the weights, is made in wider numbers.

use std::arch::x86_64::*;

use gptoss_formats::{BLOCK_VALUES, E2M1_DOUBLED, MXFP4_CODE_BYTES};

use crate::lanes::LANES;
use crate::prefetch::{StreamPrefetch, fetch_ahead};
use crate::q8::{
    BLOCK_WITH_SUMS, GROUP_BLOCKS, OFFSET, Q8Row, SECOND_HALVES, TILE_FOURS, TILE_TOKENS, TileBlock,
    lane_major, lane_range,
};
use crate::simd::avx2_f32::fold;
use crate::simd::panel::Q8Panel;

/// Bytes of a group of blocks, packed.
pub(crate) const GROUP_BYTES: usize = GROUP_BLOCKS * MXFP4_CODE_BYTES;
/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 8;
/// Bytes that four values of each of eight rows take, unpacked.
const FOURS_BYTES: usize = TILE_ROWS * 4;
/// Bytes of one block of eight rows of int8, unpacked.
const UNPACKED: usize = TILE_ROWS * BLOCK_VALUES;
/// Bytes of one block of eight rows of MXFP4, unpacked.
const UNPACKED_WITH_SUMS: usize = TILE_ROWS * BLOCK_WITH_SUMS;

/// Bytes to fetch ahead of a row-wise pass, from the row's codes on. The arithmetic leaves the processor too
/// little room to look ahead by itself: two threads read 18 GB/s with this and 8 without (beside other work,
/// plain reads 28; Zen 4, 2026-11-23).
pub(crate) const BYTES_AHEAD: usize = 2 << 10;

/// Constants in registers.
pub(crate) struct Tables {
    codes: __m256i,
    nibble: __m256i,
    ones: __m256i,
}

impl Tables {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn new() -> Tables {
        let mut shifted = E2M1_DOUBLED;
        for code in &mut shifted {
            *code += OFFSET;
        }
        // SAFETY: sixteen bytes from an array of sixteen.
        let codes = unsafe { _mm_loadu_si128(shifted.as_ptr().cast()) };
        Tables {
            codes: _mm256_broadcastsi128_si256(codes),
            nibble: _mm256_set1_epi8(15),
            ones: _mm256_set1_epi16(1),
        }
    }

    /// The unsigned weights of the low and of the high nibbles.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn look_up(&self, bytes: __m256i) -> (__m256i, __m256i) {
        let low = _mm256_and_si256(bytes, self.nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), self.nibble);
        (_mm256_shuffle_epi8(self.codes, low), _mm256_shuffle_epi8(self.codes, high))
    }
}

/// Twice the product of one row of weights with one row of activations.
///
/// Shapes: `blocks [K / 32, 16]`, `scales [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn gemv(x: Q8Row<'_>, (blocks, scales): (&[u8], &[u8])) -> f32 {
    let tables = Tables::new();
    let (groups, tail) = blocks.as_chunks::<GROUP_BYTES>();
    let (group_scales, tail_scales) = scales.as_chunks::<GROUP_BLOCKS>();
    let mut lanes = _mm256_setzero_ps();
    for (g, (blocks, scales)) in groups.iter().zip(group_scales).enumerate() {
        fetch_ahead(blocks, BYTES_AHEAD);
        let place = blocks.as_ptr();
        // SAFETY: a group has 4 * 32 bytes.
        let load = |p: usize| unsafe { _mm256_loadu_si256(place.add(p * 32).cast()) };
        let sums = group_sums(&tables, x, g, [load(0), load(1), load(2), load(3)]);
        lanes = _mm256_fmadd_ps(sums, group_scale(x, g, u64::from_le_bytes(*scales)), lanes);
    }
    if !tail.is_empty() {
        let bytes = load_tail(tail);
        let scale = tail_scales.iter().rev().fold(0, |bytes, scale| bytes << 8 | u64::from(*scale));
        let sums = group_sums(&tables, x, groups.len(), bytes);
        let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let used = _mm256_cmpgt_epi32(_mm256_set1_epi32(tail_scales.len() as i32), index);
        let added = _mm256_fmadd_ps(sums, group_scale(x, groups.len(), scale), lanes);
        // Lanes without a block keep even the sign of their zero.
        lanes = _mm256_blendv_ps(lanes, added, _mm256_castsi256_ps(used));
    }
    fold(lanes)
}

/// Up to seven blocks, zero after the last.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_tail(tail: &[u8]) -> [__m256i; 4] {
    let mut bytes = [_mm256_setzero_si256(); 4];
    let (pairs, last) = tail.as_chunks::<32>();
    for (bytes, pair) in bytes.iter_mut().zip(pairs) {
        // SAFETY: 32 bytes.
        *bytes = unsafe { _mm256_loadu_si256(pair.as_ptr().cast()) };
    }
    if let (Some(bytes), true) = (bytes.get_mut(pairs.len()), last.len() == MXFP4_CODE_BYTES) {
        // SAFETY: 16 bytes, as just compared.
        *bytes = _mm256_zextsi128_si256(unsafe { _mm_loadu_si128(last.as_ptr().cast()) });
    }
    bytes
}

/// The integer sums of eight blocks, in order, as floats.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn group_sums(tables: &Tables, x: Q8Row<'_>, g: usize, bytes: [__m256i; 4]) -> __m256 {
    let values = &x.values[g * GROUP_BLOCKS * BLOCK_VALUES..][..GROUP_BLOCKS * BLOCK_VALUES];
    let corrections = &x.corrections[g * GROUP_BLOCKS..][..GROUP_BLOCKS];
    let middles = &x.middles[g * GROUP_BLOCKS..][..GROUP_BLOCKS];
    let mut pairs = [_mm256_setzero_si256(); 4];
    let mut weights = [_mm256_setzero_si256(); 4];
    for (p, ((pair, weights), bytes)) in pairs.iter_mut().zip(&mut weights).zip(bytes).enumerate() {
        // SAFETY: a group has 2 * 128 activations, and the second pair stands 32 behind the first.
        let (even, odd) = unsafe {
            let place = values.as_ptr().add(p / 2 * 128 + p % 2 * 32);
            (_mm256_loadu_si256(place.cast()), _mm256_loadu_si256(place.add(SECOND_HALVES).cast()))
        };
        let (low, high) = tables.look_up(bytes);
        *pair = _mm256_add_epi16(_mm256_maddubs_epi16(low, even), _mm256_maddubs_epi16(high, odd));
        // Sums of eight bytes, in every other of eight integers.
        *weights = _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
    }
    // Each half of a register has eight partial sums of one block. Fold two registers into one, twice.
    let fours = |a: __m256i, b: __m256i| {
        let sums = _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        _mm256_madd_epi16(sums, tables.ones)
    };
    let evens_then_odds = _mm256_hadd_epi32(fours(pairs[0], pairs[1]), fours(pairs[2], pairs[3]));
    let eights =
        |a: __m256i, b: __m256i| _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let sums = _mm256_hadd_epi32(eights(weights[0], weights[1]), eights(weights[2], weights[3]));
    // SAFETY: eight corrections and eight middles.
    let (corrections, middles) = unsafe {
        let middles = _mm_loadl_epi64(middles.as_ptr().cast());
        (_mm256_loadu_si256(corrections.as_ptr().cast()), _mm256_cvtepi8_epi32(middles))
    };
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let raw = _mm256_permutevar8x32_epi32(evens_then_odds, order);
    let of_middles = _mm256_mullo_epi32(_mm256_permutevar8x32_epi32(sums, order), middles);
    _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_add_epi32(raw, of_middles), corrections))
}

/// Activation scale times weight scale of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn group_scale(x: Q8Row<'_>, g: usize, scales: u64) -> __m256 {
    let activations = &x.scales[g * GROUP_BLOCKS..][..GROUP_BLOCKS];
    // SAFETY: eight scales.
    let activations = unsafe { _mm256_loadu_ps(activations.as_ptr()) };
    _mm256_mul_ps(activations, scale_values(scales))
}

/// `2^(s - 127)` of eight scale bytes; see [`gptoss_formats::scale_value`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn scale_values(bytes: u64) -> __m256 {
    let shifted = _mm256_slli_epi32::<23>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64)));
    _mm256_castsi256_ps(_mm256_max_epi32(shifted, _mm256_set1_epi32(1 << 22)))
}

/// Unpacks up to eight rows as published; those that are missing repeat the last one.
///
/// Shapes: `weights [K / 32, 9, 8, 4]`, `scales [K / 32, 8]`, both in the order of [`lane_major`].
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack(
    weights: &mut [u8],
    scales: &mut [[f32; TILE_ROWS]],
    (blocks, scale_bytes): (&[u8], &[u8]),
) {
    let num_blocks = scales.len();
    let blocks = blocks.as_chunks::<MXFP4_CODE_BYTES>().0;
    let last = blocks.len() / num_blocks - 1;
    let first: [usize; TILE_ROWS] = std::array::from_fn(|r| r.min(last) * num_blocks);
    unpack_blocks(weights, scales, |r, b| (&blocks[first[r] + b], scale_bytes[first[r] + b]));
}

/// Unpacks eight rows; `block(r, b)` is the codes and the scale of block `b` of row `r`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack_blocks<'b>(
    weights: &mut [u8],
    scales: &mut [[f32; TILE_ROWS]],
    block: impl Fn(usize, usize) -> (&'b [u8; MXFP4_CODE_BYTES], u8),
) {
    let tables = Tables::new();
    let num_blocks = scales.len();
    let places = weights.as_chunks_mut().0.iter_mut().zip(scales);
    for ((weights, scales), b) in places.zip(lane_major(num_blocks)) {
        let mut bytes = [_mm_setzero_si128(); TILE_ROWS];
        let mut scale_bytes = 0;
        for (r, bytes) in bytes.iter_mut().enumerate() {
            let (codes, scale) = block(r, b);
            // SAFETY: a block is 16 bytes.
            *bytes = unsafe { _mm_loadu_si128(codes.as_ptr().cast()) };
            scale_bytes |= u64::from(scale) << (r * 8);
        }
        unpack_block(&tables, weights, bytes);
        // SAFETY: eight scales.
        unsafe { _mm256_storeu_ps(scales.as_mut_ptr(), scale_values(scale_bytes)) };
    }
}

/// The products of a panel's eight rows with the first `tokens` of a tile of activations; twice them for
/// MXFP4. What `prefetch` covers is asked for meanwhile, a part with each block. `SIGNED` weights are int8 as
/// they are, the others have the offset that the corrections of `x` take off.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn products<const SIGNED: bool>(
    panel: &Q8Panel<'_, TILE_ROWS>,
    x: &[TileBlock],
    tokens: usize,
    prefetch: &mut StreamPrefetch,
) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
    match tokens {
        4 => tile::<4, SIGNED>(panel, x, prefetch),
        3 => tile::<3, SIGNED>(panel, x, prefetch),
        2 => tile::<2, SIGNED>(panel, x, prefetch),
        _ => tile::<1, SIGNED>(panel, x, prefetch),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile<const T: usize, const SIGNED: bool>(
    panel: &Q8Panel<'_, TILE_ROWS>,
    x: &[TileBlock],
    prefetch: &mut StreamPrefetch,
) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
    let block_bytes = if SIGNED { UNPACKED } else { UNPACKED_WITH_SUMS };
    let scales = panel.scales;
    assert!(panel.weights.len() == x.len() * block_bytes && scales.len() == x.len());
    let mut lanes = [[_mm256_setzero_ps(); T]; LANES];
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let blocks = lane_range(x.len(), lane);
        let mut kept = [_mm256_setzero_ps(); T];
        let mut parts = prefetch.parts(blocks.len());
        for b in blocks {
            let (weights, scales, x) = (&panel.weights[b * block_bytes..][..block_bytes], &scales[b], &x[b]);
            parts.fetch();
            let added: [__m256i; T] =
                if SIGNED { sums_signed(weights, x) } else { sums_unsigned(weights, x) };
            // SAFETY: eight scales.
            let scales = unsafe { _mm256_loadu_ps(scales.as_ptr()) };
            for (t, (kept, sum)) in kept.iter_mut().zip(added).enumerate() {
                let scale = _mm256_mul_ps(_mm256_set1_ps(x.scales[t]), scales);
                *kept = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, *kept);
            }
        }
        *sums = kept;
    }
    fold_tile(&lanes)
}

/// The tree over lanes, for T tokens of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_tile<const T: usize>(lanes: &[[__m256; T]; LANES]) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
    let mut out = [[0.0; TILE_ROWS]; TILE_TOKENS];
    for (t, out) in out.iter_mut().enumerate().take(T) {
        let l = |lane: usize| lanes[lane][t];
        let even = _mm256_add_ps(_mm256_add_ps(l(0), l(4)), _mm256_add_ps(l(2), l(6)));
        let odd = _mm256_add_ps(_mm256_add_ps(l(1), l(5)), _mm256_add_ps(l(3), l(7)));
        // SAFETY: eight floats into an array of eight.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(even, odd)) };
    }
    out
}

/// The integer sums of one block of eight rows for T tokens; weights with an offset, and their sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sums_unsigned<const T: usize>(weights: &[u8], x: &TileBlock) -> [__m256i; T] {
    let ones = _mm256_set1_epi16(1);
    let load = |c: usize| {
        let four: &[u8; FOURS_BYTES] = &weights.as_chunks().0[c];
        // SAFETY: 32 bytes of weights.
        unsafe { _mm256_loadu_si256(four.as_ptr().cast()) }
    };
    // At most 768 in each integer, the other half of it zero, so that pairs of 16 bits multiply them.
    let of_row = _mm256_madd_epi16(_mm256_maddubs_epi16(load(TILE_FOURS - 1), _mm256_set1_epi8(1)), ones);
    let mut wide = [_mm256_setzero_si256(); T];
    for (wide, middles) in wide.iter_mut().zip(&x.fours[TILE_FOURS - 1]) {
        *wide = _mm256_madd_epi16(of_row, _mm256_set1_epi32(i32::from(middles[0])));
    }
    for half in 0..2 {
        let mut narrow = [_mm256_setzero_si256(); T];
        for c in half * 4..half * 4 + 4 {
            let w = load(c);
            for (narrow, four) in narrow.iter_mut().zip(&x.fours[c]) {
                let product =
                    _mm256_maddubs_epi16(w, _mm256_set1_epi32(i32::from_le_bytes(four.map(|v| v as u8))));
                // No sum saturates; the saturating add keeps the compiler from reordering the additions,
                // which made it load a whole block at once and spill most of it (70 GMAC/s a core in place of
                // 77, Zen 4).
                *narrow = _mm256_adds_epi16(*narrow, product);
            }
        }
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = _mm256_add_epi32(*wide, _mm256_madd_epi16(narrow, ones));
        }
    }
    for (wide, correction) in wide.iter_mut().zip(x.corrections) {
        *wide = _mm256_add_epi32(*wide, _mm256_set1_epi32(correction));
    }
    wide
}

/// As `sums_unsigned` for int8 weights; see `avx2_q8_0.rs` for the signs.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sums_signed<const T: usize>(weights: &[u8], x: &TileBlock) -> [__m256i; T] {
    let ones = _mm256_set1_epi16(1);
    let mut wide = [_mm256_setzero_si256(); T];
    for (weights, fours) in weights.as_chunks::<32>().0.iter().zip(&x.fours) {
        // SAFETY: 32 bytes.
        let w = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
        let magnitude = _mm256_abs_epi8(w);
        for (wide, four) in wide.iter_mut().zip(fours) {
            let four = _mm256_set1_epi32(i32::from_le_bytes(four.map(|v| v as u8)));
            let products = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four, w));
            *wide = _mm256_add_epi32(*wide, _mm256_madd_epi16(products, ones));
        }
    }
    wide
}

/// Transposes one block of eight rows by groups of four values, looks the values up, and adds them up by
/// bytes: at most 192.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn unpack_block(tables: &Tables, out: &mut [u8; UNPACKED_WITH_SUMS], rows: [__m128i; TILE_ROWS]) {
    let half = |r: usize| _mm256_set_m128i(rows[r + 4], rows[r]);
    let r = [half(0), half(1), half(2), half(3)];
    let (low01, high01) = (_mm256_unpacklo_epi32(r[0], r[1]), _mm256_unpackhi_epi32(r[0], r[1]));
    let (low23, high23) = (_mm256_unpacklo_epi32(r[2], r[3]), _mm256_unpackhi_epi32(r[2], r[3]));
    let fours = [
        _mm256_unpacklo_epi64(low01, low23),
        _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23),
        _mm256_unpackhi_epi64(high01, high23),
    ];
    let mut sums = _mm256_setzero_si256();
    for (c, bytes) in fours.into_iter().enumerate() {
        let (even, odd) = tables.look_up(bytes);
        sums = _mm256_add_epi8(sums, _mm256_add_epi8(even, odd));
        // SAFETY: `c < 4`, and a block has eight fours of all rows.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().add(c * FOURS_BYTES).cast(), even);
            _mm256_storeu_si256(out.as_mut_ptr().add((4 + c) * FOURS_BYTES).cast(), odd);
        }
    }
    // SAFETY: the ninth four is the last.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().add((TILE_FOURS - 1) * FOURS_BYTES).cast(), sums) };
}
