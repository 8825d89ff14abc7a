//! MXFP4 rows laid out for the AVX-512 tile, sixteen at a time.
//!
//! Entry points: [`unpack`] for the published layout, [`unpack_blocks`] for that of GGUF files. Sixteen bytes
//! of each of sixteen rows are four registers, which a transposition by fours of bytes turns into what the
//! tile reads: four values of each row side by side. Values are looked up after it, because codes are half as
//! many bytes. Scales go the same way and stay the exponents that they are. Behind the fours of a block
//! stand their sums, byte by byte, for the middles of activations.

use std::arch::x86_64::*;

use gptoss_formats::{MXFP4_CODE_BYTES, Mxfp4Block};

use crate::q8::{GROUP_BLOCKS, TILE_FOURS, lane_major, lane_range};
use crate::simd::avx512_mxfp4::{codes, look_up};
use crate::simd::avx512_q8::{Exponent, WIDE_ROWS};

/// Bytes of four values of all rows.
const FOURS: usize = WIDE_ROWS * 4;

/// Unpacks up to sixteen rows as published; those that are missing repeat the last one.
///
/// Shapes: `weights [K / 32, 9, 16, 4]`, `exponents [K / 32, 16]`, both in the order of [`lane_major`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn unpack(
    weights: &mut [u8],
    exponents: &mut [[Exponent; WIDE_ROWS]],
    (blocks, scales): (&[u8], &[u8]),
) {
    let num_blocks = exponents.len();
    let last = scales.len() / num_blocks - 1;
    let first: [usize; WIDE_ROWS] = std::array::from_fn(|r| r.min(last) * num_blocks);
    let blocks = blocks.as_chunks::<MXFP4_CODE_BYTES>().0;
    unpack_codes(weights, num_blocks, first.map(|first| &blocks[first..][..num_blocks]), 0);
    let first_of_lane: [usize; GROUP_BLOCKS] = std::array::from_fn(|lane| lane_range(num_blocks, lane).start);
    for from in (0..num_blocks).step_by(MXFP4_CODE_BYTES) {
        let count = (num_blocks - from).min(MXFP4_CODE_BYTES);
        let fours = transpose(|r| {
            let scales = &scales[first[r] + from..][..count];
            // SAFETY: a masked load touches no byte outside the mask, which ends with the slice.
            unsafe { _mm_maskz_loadu_epi8(u16::MAX >> (MXFP4_CODE_BYTES - count), scales.as_ptr().cast()) }
        });
        for (b, byte) in (from..from + count).zip((0..4).cycle()) {
            let bytes = _mm512_srlv_epi32(fours[(b - from) / 4], _mm512_set1_epi32(8 * byte));
            let place = first_of_lane[b % GROUP_BLOCKS] + b / GROUP_BLOCKS;
            store_exponents(&mut exponents[place], _mm512_cvtepi32_epi8(bytes));
        }
    }
}

/// As [`unpack`], of which `row(r)` is the r-th of `rows` rows.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn unpack_blocks<'b>(
    weights: &mut [u8],
    exponents: &mut [[Exponent; WIDE_ROWS]],
    rows: usize,
    row: impl Fn(usize) -> &'b [Mxfp4Block],
) {
    let num_blocks = exponents.len();
    let rows: [&[Mxfp4Block]; WIDE_ROWS] = std::array::from_fn(|r| row(r.min(rows - 1)));
    unpack_codes(weights, num_blocks, rows, 1);
    for (exponents, b) in exponents.iter_mut().zip(lane_major(num_blocks)) {
        let bytes = rows.map(|row| row[b][0]);
        // SAFETY: sixteen bytes.
        store_exponents(exponents, unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    }
}

/// The weights of all blocks, whose codes begin at byte `codes_at` of `B`.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn unpack_codes<const B: usize>(
    weights: &mut [u8],
    num_blocks: usize,
    rows: [&[[u8; B]]; WIDE_ROWS],
    codes_at: usize,
) {
    assert!(rows.iter().all(|row| row.len() == num_blocks) && codes_at + MXFP4_CODE_BYTES <= B);
    // What is checked once is not checked for every block of every row, which took longer than the rest.
    let rows = rows.map(|row| row.as_ptr().cast::<u8>().wrapping_add(codes_at));
    let codes = codes();
    let weights = weights.as_chunks_mut::<{ TILE_FOURS * FOURS }>().0;
    for (weights, b) in weights.iter_mut().zip(lane_major(num_blocks)) {
        // SAFETY: `b` is below the number of blocks, which all rows have.
        let fours = transpose(|r| unsafe { _mm_loadu_si128(rows[r].add(b * B).cast()) });
        let mut sums = _mm512_setzero_si512();
        for (c, fours) in fours.into_iter().enumerate() {
            let [low, high] = look_up(codes, fours);
            // At most 192.
            sums = _mm512_add_epi8(sums, _mm512_add_epi8(low, high));
            // SAFETY: `c < 4`, and a block has eight fours of all rows.
            unsafe {
                _mm512_storeu_si512(weights.as_mut_ptr().add(c * FOURS).cast(), low);
                _mm512_storeu_si512(weights.as_mut_ptr().add((4 + c) * FOURS).cast(), high);
            }
        }
        // SAFETY: the ninth four is the last.
        unsafe { _mm512_storeu_si512(weights.as_mut_ptr().add((TILE_FOURS - 1) * FOURS).cast(), sums) };
    }
}

/// Sixteen bytes of sixteen rows, of which `load(r)` are the r-th: four bytes of all rows in each register.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn transpose(load: impl Fn(usize) -> __m128i) -> [__m512i; 4] {
    let every_fourth = |first: usize| {
        let rows = _mm512_castsi128_si512(load(first));
        let rows = _mm512_inserti32x4::<1>(rows, load(first + 4));
        let rows = _mm512_inserti32x4::<2>(rows, load(first + 8));
        _mm512_inserti32x4::<3>(rows, load(first + 12))
    };
    let r = [every_fourth(0), every_fourth(1), every_fourth(2), every_fourth(3)];
    let (low01, high01) = (_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[0], r[1]));
    let (low23, high23) = (_mm512_unpacklo_epi32(r[2], r[3]), _mm512_unpackhi_epi32(r[2], r[3]));
    [
        _mm512_unpacklo_epi64(low01, low23),
        _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23),
        _mm512_unpackhi_epi64(high01, high23),
    ]
}

/// The exponents of sixteen scale bytes.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn store_exponents(out: &mut [Exponent; WIDE_ROWS], bytes: __m128i) {
    let exponents = _mm_sub_epi8(bytes, _mm_set1_epi8(127));
    // SAFETY: sixteen bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), exponents) };
}
