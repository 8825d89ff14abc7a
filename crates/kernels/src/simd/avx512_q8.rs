//! The AVX-512 VNNI tile of the int8 products.
//!
//! Entry point: [`products`]. `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to an
//! i32 in one instruction, in place of three of `avx2_q8.rs`; everything else is as there: panels are
//! unpacked by `avx512_unpack.rs`, tokens packed by `q8.rs`, and the order of summation is the one of
//! `products/int8.rs`. A tile is 16 rows by 8 tokens: what bounds it is the number of instructions, of which
//! the wide form needs half (158 GMAC/s a core at 64 tokens in place of the 118 of 256 bits with 8 rows by 4
//! tokens; Zen 4, 2026-11-23).

use std::arch::x86_64::*;

use half::f16;

use crate::lanes::LANES;
use crate::prefetch::StreamPrefetch;
use crate::q8::{TILE_FOURS, TILE_TOKENS, TileBlock, lane_range};
use crate::simd::panel::Q8Panel;

/// Rows of a tile.
pub(crate) const WIDE_ROWS: usize = 16;
/// Tokens of a tile: two packed tiles.
pub(crate) const WIDE_TOKENS: usize = 2 * TILE_TOKENS;
/// Bytes of four values of each row.
const FOUR_OF_ROWS: usize = 4 * WIDE_ROWS;

/// Writes the products of a panel's rows with the first `tokens` of one or two packed tiles of activations,
/// times a factor and with the bias of `finish`, to `out(token)`: as many rows as that has numbers. What is
/// `prefetch` is asked for meanwhile, a part with each block.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn products<'a, S: Scale>(
    panel: &Q8Panel<'_, WIDE_ROWS, S>,
    x: &[TileBlock],
    tokens: usize,
    finish: (f32, &[f32; WIDE_ROWS]),
    prefetch: &mut StreamPrefetch,
    out: impl Fn(usize) -> &'a mut [f32],
) {
    let (first, second) = x.split_at(panel.scales.len());
    let write = |token: usize, sums: __m512| {
        if token >= tokens {
            return;
        }
        let out = out(token);
        let rows = u16::MAX >> WIDE_ROWS.saturating_sub(out.len());
        // SAFETY: sixteen floats of bias, and a masked store touches no float after the rows.
        unsafe {
            let bias = _mm512_loadu_ps(finish.1.as_ptr());
            let sums = _mm512_fmadd_ps(sums, _mm512_set1_ps(finish.0), bias);
            _mm512_mask_storeu_ps(out.as_mut_ptr(), rows, sums);
        }
    };
    match tokens {
        1 => tile::<1, 1, S>(panel, [first], prefetch, write),
        2 => tile::<1, 2, S>(panel, [first], prefetch, write),
        3 => tile::<1, 3, S>(panel, [first], prefetch, write),
        4 => tile::<1, 4, S>(panel, [first], prefetch, write),
        _ => tile::<2, 4, S>(panel, [first, second], prefetch, write),
    }
}

/// The scales of a panel's rows, as they are kept.
pub(crate) trait Scale: Sized {
    /// Fours of bytes of a block of a row with such scales: with the sums of them for MXFP4.
    const FOURS: usize;

    /// As floats that `times` takes.
    ///
    /// # Safety
    /// The processor has AVX-512F.
    unsafe fn widen(scales: &[Self; WIDE_ROWS]) -> __m512;

    /// The scale of a token times those of the rows.
    ///
    /// # Safety
    /// The processor has AVX-512F.
    #[inline(always)]
    unsafe fn times(x: __m512, scales: __m512) -> __m512 {
        // SAFETY: by the caller's promise.
        unsafe { _mm512_mul_ps(x, scales) }
    }
}

impl Scale for f32 {
    const FOURS: usize = TILE_FOURS - 1;

    #[inline(always)]
    unsafe fn widen(scales: &[f32; WIDE_ROWS]) -> __m512 {
        // SAFETY: sixteen floats; the instruction is the caller's promise.
        unsafe { _mm512_loadu_ps(scales.as_ptr()) }
    }
}

impl Scale for f16 {
    const FOURS: usize = TILE_FOURS - 1;

    #[inline(always)]
    unsafe fn widen(scales: &[f16; WIDE_ROWS]) -> __m512 {
        // SAFETY: as above, of half the bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(scales.as_ptr().cast())) }
    }
}

/// The exponent of a power of two.
pub(crate) type Exponent = i8;

/// The product has the bits of the one with the power: both are exact but where they leave the range of f32,
/// and both are rounded once there. Products by `vscalefps` leave the units of `vpdpbusd` alone: 197 GMAC/s a
/// core in place of 181 (a tile of K = 2,880 in the caches, Zen 4, 2026-11-23).
impl Scale for Exponent {
    const FOURS: usize = TILE_FOURS;

    #[inline(always)]
    unsafe fn widen(scales: &[Exponent; WIDE_ROWS]) -> __m512 {
        // SAFETY: sixteen bytes; the instructions are the caller's promise.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(scales.as_ptr().cast()))) }
    }

    #[inline(always)]
    unsafe fn times(x: __m512, scales: __m512) -> __m512 {
        // SAFETY: by the caller's promise.
        unsafe { _mm512_scalef_ps(x, scales) }
    }
}

/// The first `T` tokens of each of `P` packed tiles, whose sums `write(token, sums)` takes.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const P: usize, const T: usize, S: Scale>(
    panel: &Q8Panel<'_, WIDE_ROWS, S>,
    x: [&[TileBlock]; P],
    prefetch: &mut StreamPrefetch,
    write: impl Fn(usize, __m512),
) {
    let num_blocks = panel.scales.len();
    let weights = panel.weights.as_chunks::<FOUR_OF_ROWS>().0;
    assert!(weights.len() == num_blocks * S::FOURS && x.iter().all(|x| x.len() == num_blocks));
    // In the order in which they lie: with one token this is a stream through memory.
    let lanes: [[[__m512; T]; P]; LANES] = std::array::from_fn(|lane| {
        let blocks = lane_range(num_blocks, lane);
        let mut parts = prefetch.parts(blocks.len());
        let mut sums = [[_mm512_setzero_ps(); T]; P];
        for b in blocks {
            parts.fetch();
            let weights = &weights[b * S::FOURS..][..S::FOURS];
            add_block(&mut sums, weights, &panel.scales[b], x.map(|x| &x[b]));
        }
        sums
    });
    let [l0, l1, l2, l3, l4, l5, l6, l7] = lanes;
    let sums = add(add(add(l0, l4), add(l2, l6)), add(add(l1, l5), add(l3, l7)));
    for (p, sums) in sums.into_iter().enumerate() {
        for (t, sums) in sums.into_iter().enumerate() {
            write(p * TILE_TOKENS + t, sums);
        }
    }
}

/// The sums of both.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const P: usize, const T: usize>(mut a: [[__m512; T]; P], b: [[__m512; T]; P]) -> [[__m512; T]; P] {
    for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
        *a = _mm512_add_ps(*a, *b);
    }
    a
}

/// Adds one block of sixteen rows for all tokens. The ninth four of MXFP4 are sums of weights, and meet the
/// middle of each token.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_block<const P: usize, const T: usize, S: Scale>(
    sums: &mut [[__m512; T]; P],
    weights: &[[u8; FOUR_OF_ROWS]],
    scales: &[S; WIDE_ROWS],
    x: [&TileBlock; P],
) {
    let mut wide = [[_mm512_setzero_si512(); T]; P];
    for (wide, x) in wide.iter_mut().zip(x) {
        for (wide, correction) in wide.iter_mut().zip(x.corrections) {
            *wide = _mm512_set1_epi32(correction);
        }
    }
    // A loop of known length is unrolled.
    if let Some((fours, sums_of_weights)) = weights.split_first_chunk::<{ TILE_FOURS - 1 }>() {
        for (c, weights) in fours.iter().enumerate() {
            add_four(&mut wide, weights, x, c);
        }
        if S::FOURS == TILE_FOURS {
            add_four(&mut wide, &sums_of_weights[0], x, TILE_FOURS - 1);
        }
    }
    // SAFETY: inlined into a function that has the features.
    let scales = unsafe { S::widen(scales) };
    for ((sums, wide), x) in sums.iter_mut().zip(wide).zip(x) {
        for ((sum, wide), x_scale) in sums.iter_mut().zip(wide).zip(x.scales) {
            // SAFETY: as above.
            let scale = unsafe { S::times(_mm512_set1_ps(x_scale), scales) };
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), scale, *sum);
        }
    }
}

/// Adds the products of four `c` of a block.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
fn add_four<const P: usize, const T: usize>(
    wide: &mut [[__m512i; T]; P],
    weights: &[u8; FOUR_OF_ROWS],
    x: [&TileBlock; P],
    c: usize,
) {
    // SAFETY: 64 bytes.
    let w = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
    for (wide, x) in wide.iter_mut().zip(x) {
        for (wide, four) in wide.iter_mut().zip(x.fours[c]) {
            let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|v| v as u8)));
            *wide = _mm512_dpbusd_epi32(*wide, w, four);
        }
    }
}
