//! AVX-512 VNNI forms of the int8 by MXFP4 product.
//!
//! Entry points: [`gemv`], [`gemv_many`] and [`products`]. `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to
//! an i32 in one instruction, in place of three of `avx2_q8.rs`; everything else is as there: panels are unpacked by
//! that file, tokens packed by `q8.rs`, and the order of summation is the one of `linear_q8.rs`. The row-wise form
//! takes four blocks in a 512-bit register, the tile 16 rows by 8 tokens: what bounds a tile is the number of
//! instructions, of which the wide form needs half (158 GMAC/s a core at 64 tokens in place of the 118 of 256 bits
//! with 8 rows by 4 tokens; Zen 4, 2026-11-23).
//!
//! This module does not know threads or output layouts.

use std::arch::x86_64::*;

use half::f16;

use crate::lanes::LANES;
use crate::mxfp4::E2M1_DOUBLED;
use crate::q8::{GROUP_BLOCKS, GROUP_VALUES, OFFSET, Q8Group, Q8Row, SECOND_HALVES, TILE_TOKENS, TileBlock};
use crate::simd::avx2_f32::fold;
use crate::simd::avx2_q8::{GROUP_BYTES, Q8Panel, scale_values};

/// Rows of a tile.
pub(crate) const WIDE_ROWS: usize = 16;
/// Tokens that a row of weights meets while its values are in registers; even.
pub(crate) const GEMV_TOKENS: usize = 4;
/// Tokens of a tile: two packed tiles.
pub(crate) const WIDE_TOKENS: usize = 2 * TILE_TOKENS;

/// Twice the product of one row of weights with one row of activations.
///
/// One row after the other is one stream through memory, which the processor fetches ahead by itself. Two rows at a time
/// fold in fewer instructions, and read a fifth slower (Zen 4, 2026-11-23).
///
/// Shapes: `blocks [K / 32, 16]`, `scales [K / 32]`, `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn gemv(x: Q8Row<'_>, (blocks, scales): (&[u8], &[u8])) -> f32 {
    let codes = codes();
    let (groups, tail) = blocks.as_chunks::<GROUP_BYTES>();
    let (group_scales, tail_scales) = scales.as_chunks::<GROUP_BLOCKS>();
    let mut x = x.groups();
    let mut lanes = _mm256_setzero_ps();
    for ((blocks, scales), x) in groups.iter().zip(group_scales).zip(&mut x) {
        // SAFETY: a group has 2 * 64 bytes.
        let bytes = unsafe {
            [_mm512_loadu_si512(blocks.as_ptr().cast()), _mm512_loadu_si512(blocks.as_ptr().add(64).cast())]
        };
        let scale = group_scale(&x, u64::from_le_bytes(*scales));
        lanes = _mm256_fmadd_ps(group_sums(codes, &x, bytes), scale, lanes);
    }
    if let (false, Some(x)) = (tail.is_empty(), x.next()) {
        let (bytes, scales, used) = load_tail(tail, tail_scales);
        let scale = group_scale(&x, scales);
        // Lanes without a block keep even the sign of their zero.
        lanes = _mm256_mask3_fmadd_ps(group_sums(codes, &x, bytes), scale, lanes, used);
    }
    fold(lanes)
}

/// The unsigned weight of each code, four times over: a look-up by six bits then ignores the two above a nibble.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn codes() -> __m512i {
    let mut shifted = E2M1_DOUBLED;
    for code in &mut shifted {
        *code += OFFSET;
    }
    // SAFETY: sixteen bytes from an array of sixteen.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(shifted.as_ptr().cast()) })
}

/// The integer sums of eight blocks, in order, as floats.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn group_sums(codes: __m512i, x: &Q8Group<'_>, bytes: [__m512i; 2]) -> __m256 {
    let twos = partial_sums(look_up(codes, bytes), x.values);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    let next = _mm512_add_epi32(order, _mm512_set1_epi32(1));
    let raw = _mm256_add_epi32(
        _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, twos)),
        _mm512_castsi512_si256(_mm512_permutexvar_epi32(next, twos)),
    );
    // SAFETY: eight corrections.
    let corrections = unsafe { _mm256_loadu_si256(x.corrections.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_sub_epi32(raw, corrections))
}

/// The unsigned weights of four blocks: those of the low and of the high nibbles.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn look_up(codes: __m512i, bytes: [__m512i; 2]) -> [[__m512i; 2]; 2] {
    bytes.map(|bytes| {
        let high = _mm512_srli_epi16::<4>(bytes);
        [_mm512_permutexvar_epi8(bytes, codes), _mm512_permutexvar_epi8(high, codes)]
    })
}

/// Sums of eight blocks: each quarter of the register holds two partial ones of block q and two of block q + 4.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn partial_sums(weights: [[__m512i; 2]; 2], values: &[i8; GROUP_VALUES]) -> __m512i {
    let mut fours = [_mm512_setzero_si512(); 2];
    for (i, (fours, [low, high])) in fours.iter_mut().zip(weights).enumerate() {
        // SAFETY: a group has 2 * 128 activations.
        let (low_half, high_half) = unsafe {
            let place = values.as_ptr().add(i * 128);
            (_mm512_loadu_si512(place.cast()), _mm512_loadu_si512(place.add(SECOND_HALVES).cast()))
        };
        *fours = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(*fours, low, low_half), high, high_half);
    }
    _mm512_add_epi32(_mm512_unpacklo_epi64(fours[0], fours[1]), _mm512_unpackhi_epi64(fours[0], fours[1]))
}

/// Twice the products of one row of weights with up to [`GEMV_TOKENS`] rows of activations: the bits of [`gemv`]. Weights are looked up
/// once, and two tokens share a register from their block sums on.
///
/// Shapes: `blocks [K / 32, 16]`, `scales [K / 32]`, each of `x` K values, padded to whole groups.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn gemv_many<const T: usize>(x: [Q8Row<'_>; T], (blocks, scales): (&[u8], &[u8])) -> [f32; T] {
    const { assert!(T <= GEMV_TOKENS) };
    let codes = codes();
    let (groups, tail) = blocks.as_chunks::<GROUP_BYTES>();
    let (group_scales, tail_scales) = scales.as_chunks::<GROUP_BLOCKS>();
    let mut x = x.map(Q8Row::groups);
    let mut lanes = [_mm512_setzero_ps(); GEMV_TOKENS / 2];
    for (blocks, scales) in groups.iter().zip(group_scales) {
        // SAFETY: a group has 2 * 64 bytes.
        let bytes = unsafe {
            [_mm512_loadu_si512(blocks.as_ptr().cast()), _mm512_loadu_si512(blocks.as_ptr().add(64).cast())]
        };
        add_group(&mut lanes, codes, &mut x, bytes, scale_values(u64::from_le_bytes(*scales)), u8::MAX);
    }
    if !tail.is_empty() {
        let (bytes, scales, used) = load_tail(tail, tail_scales);
        add_group(&mut lanes, codes, &mut x, bytes, scale_values(scales), used);
    }
    let halves = lanes.map(|lanes| {
        let upper = _mm512_castps_pd(lanes);
        [_mm512_castps512_ps256(lanes), _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(upper))]
    });
    std::array::from_fn(|t| fold(halves[t / 2][t % 2]))
}

/// Adds eight blocks for all tokens, to the lanes that `used` names.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn add_group<'a, const T: usize>(
    lanes: &mut [__m512; GEMV_TOKENS / 2],
    codes: __m512i,
    x: &mut [impl Iterator<Item = Q8Group<'a>>; T],
    bytes: [__m512i; 2],
    scales: __m256,
    used: u8,
) {
    let weights = look_up(codes, bytes);
    let scales = _mm512_castps256_ps512(scales);
    let scales = _mm512_shuffle_f32x4::<0x44>(scales, scales);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 16, 20, 24, 28, 18, 22, 26, 30);
    let next = _mm512_add_epi32(order, _mm512_set1_epi32(1));
    let mut groups = x.iter_mut();
    for lanes in &mut lanes[..T.div_ceil(2)] {
        let Some(first) = groups.next().and_then(Iterator::next) else { return };
        let twos = partial_sums(weights, first.values);
        // An odd token is its own neighbour.
        let (second, second_twos) = match groups.next().and_then(Iterator::next) {
            Some(second) => {
                let twos = partial_sums(weights, second.values);
                (second, twos)
            }
            None => (Q8Group { ..first }, twos),
        };
        let raw = _mm512_add_epi32(
            _mm512_permutex2var_epi32(twos, order, second_twos),
            _mm512_permutex2var_epi32(twos, next, second_twos),
        );
        // SAFETY: eight corrections and eight scales of each.
        let (corrections, activations) = unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(first.corrections.as_ptr().cast()));
            let high = _mm256_loadu_si256(second.corrections.as_ptr().cast());
            let low_scales = _mm512_castpd256_pd512(_mm256_loadu_pd(first.scales.as_ptr().cast()));
            let high_scales = _mm256_loadu_pd(second.scales.as_ptr().cast());
            (_mm512_inserti64x4::<1>(low, high), _mm512_insertf64x4::<1>(low_scales, high_scales))
        };
        let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(raw, corrections));
        let scale = _mm512_mul_ps(_mm512_castpd_ps(activations), scales);
        let used = u16::from(used) << 8 | u16::from(used);
        // Lanes without a block keep even the sign of their zero.
        *lanes = _mm512_mask3_fmadd_ps(sums, scale, *lanes, used);
    }
}

/// Up to seven blocks, zero after the last: codes, scales, and which lanes they go to.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn load_tail(tail: &[u8], tail_scales: &[u8]) -> ([__m512i; 2], u64, u8) {
    let first = |count: usize| u64::MAX.checked_shr(64_u32.saturating_sub(count as u32)).unwrap_or(0);
    let used = first(tail_scales.len()) as u8;
    // SAFETY: a masked load touches no byte outside the mask, and the masks end with the tail; the second
    // place is inside or one past the slice.
    unsafe {
        let second = tail.as_ptr().add(tail.len().min(64));
        let bytes = [
            _mm512_maskz_loadu_epi8(first(tail.len()), tail.as_ptr().cast()),
            _mm512_maskz_loadu_epi8(first(tail.len().saturating_sub(64)), second.cast()),
        ];
        let scales = _mm_maskz_loadu_epi8(u16::from(used), tail_scales.as_ptr().cast());
        (bytes, _mm_cvtsi128_si64(scales) as u64, used)
    }
}

/// Activation scale times weight scale of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn group_scale(x: &Q8Group<'_>, scales: u64) -> __m256 {
    // SAFETY: eight scales.
    let activations = unsafe { _mm256_loadu_ps(x.scales.as_ptr()) };
    _mm256_mul_ps(activations, scale_values(scales))
}

/// Twice the products of a panel's rows with the first `tokens` of one or two packed tiles of activations. What stands in
/// `out` for more tokens is arbitrary.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn products<S: Scale>(
    out: &mut [[f32; WIDE_ROWS]; WIDE_TOKENS],
    panel: &Q8Panel<'_, WIDE_ROWS, S>,
    x: &[TileBlock],
    tokens: usize,
) {
    let (first, second) = x.split_at(panel.scales.len());
    match tokens {
        1 => tile::<1, 1, S>(out, panel, [first]),
        2 => tile::<1, 2, S>(out, panel, [first]),
        3 => tile::<1, 3, S>(out, panel, [first]),
        4 => tile::<1, 4, S>(out, panel, [first]),
        _ => tile::<2, 4, S>(out, panel, [first, second]),
    }
}

/// The scales of a panel's rows, as they are kept.
pub(crate) trait Scale: Sized {
    /// As floats.
    ///
    /// # Safety
    /// The processor has AVX-512F.
    unsafe fn widen(scales: &[Self; WIDE_ROWS]) -> __m512;
}

impl Scale for f32 {
    #[inline(always)]
    unsafe fn widen(scales: &[f32; WIDE_ROWS]) -> __m512 {
        // SAFETY: sixteen floats; the instruction is the caller's promise.
        unsafe { _mm512_loadu_ps(scales.as_ptr()) }
    }
}

impl Scale for f16 {
    #[inline(always)]
    unsafe fn widen(scales: &[f16; WIDE_ROWS]) -> __m512 {
        // SAFETY: as above, of half the bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(scales.as_ptr().cast())) }
    }
}

/// The first `T` tokens of each of `P` packed tiles.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const P: usize, const T: usize, S: Scale>(
    out: &mut [[f32; WIDE_ROWS]; WIDE_TOKENS],
    panel: &Q8Panel<'_, WIDE_ROWS, S>,
    x: [&[TileBlock]; P],
) {
    let num_blocks = panel.scales.len();
    let weights = panel.weights.as_chunks::<{ Q8Panel::<WIDE_ROWS>::BLOCK }>().0;
    assert!(weights.len() == num_blocks && x.iter().all(|x| x.len() == num_blocks));
    let mut lanes = [[[_mm512_setzero_ps(); T]; P]; LANES];
    let mut first = 0;
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let end = first + (num_blocks + LANES - 1 - lane) / LANES;
        let mut kept = [[_mm512_setzero_ps(); T]; P];
        for b in first..end {
            add_block(&mut kept, &weights[b], &panel.scales[b], x.map(|x| &x[b]));
        }
        *sums = kept;
        first = end;
    }
    for p in 0..P {
        for t in 0..T {
            let l = |lane: usize| lanes[lane][p][t];
            let even = _mm512_add_ps(_mm512_add_ps(l(0), l(4)), _mm512_add_ps(l(2), l(6)));
            let odd = _mm512_add_ps(_mm512_add_ps(l(1), l(5)), _mm512_add_ps(l(3), l(7)));
            let out = &mut out[p * TILE_TOKENS + t];
            // SAFETY: sixteen floats into an array of sixteen.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(even, odd)) };
        }
    }
}

/// Adds one block of sixteen rows for all tokens.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_block<const P: usize, const T: usize, S: Scale>(
    sums: &mut [[__m512; T]; P],
    weights: &[u8; Q8Panel::<WIDE_ROWS>::BLOCK],
    scales: &[S; WIDE_ROWS],
    x: [&TileBlock; P],
) {
    let mut wide = [[_mm512_setzero_si512(); T]; P];
    for (wide, x) in wide.iter_mut().zip(x) {
        for (wide, correction) in wide.iter_mut().zip(x.corrections) {
            *wide = _mm512_set1_epi32(correction);
        }
    }
    for (c, weights) in weights.as_chunks::<64>().0.iter().enumerate() {
        // SAFETY: 64 bytes.
        let w = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
        for (wide, x) in wide.iter_mut().zip(x) {
            for (wide, four) in wide.iter_mut().zip(x.fours[c]) {
                let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|v| v as u8)));
                *wide = _mm512_dpbusd_epi32(*wide, w, four);
            }
        }
    }
    // SAFETY: inlined into a function that has the features.
    let scales = unsafe { S::widen(scales) };
    for ((sums, wide), x) in sums.iter_mut().zip(wide).zip(x) {
        for ((sum, wide), x_scale) in sums.iter_mut().zip(wide).zip(x.scales) {
            let scale = _mm512_mul_ps(_mm512_set1_ps(x_scale), scales);
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), scale, *sum);
        }
    }
}
