//! AVX2 forms of the int8 by MXFP4 product: a row-wise kernel for few tokens and a tile for many.
//!
//! Entry points: [`gemv`], [`Q8Panel::unpack`] with [`Q8Panel::products`]. Both follow the order of `linear_q8.rs`: exact integer
//! sums per block, block `b` in lane `b % 8`.
//!
//! * [`gemv`] reads the published layout. 32 bytes are two blocks of a row; low nibbles are even elements,
//!   high ones odd. Weights are looked up with 12 added, so that they are unsigned for `vpmaddubsw`, and 12 times
//!   the sum of the activations is taken off again. Eight blocks are folded into one register of block sums
//!   before anything is scaled.
//! * The tile unpacks 8 rows once, transposed so that a register holds 4 weights of each of the 8 rows, and
//!   multiplies them with broadcast activations of up to 4 tokens. It walks the blocks of lane 0, then of lane 1, and
//!   so on: one accumulator per output at a time, and the lanes are folded at the end.
//!
//! Sums of four products stay under 2^15: 2 * 24 * 127 * 4 = 24,384.
//!
//! This module does not know threads or output layouts.

use std::arch::x86_64::*;

use crate::lanes::LANES;
use crate::mxfp4::{BLOCK_BYTES, E2M1_DOUBLED};
use crate::q8::{GROUP_BLOCKS, Q8_BLOCK, Q8Row};
use crate::simd::avx2_f32::fold;

/// What is added to doubled weights to make them unsigned.
const OFFSET: i8 = 12;
/// Bytes of a group of blocks, packed.
const GROUP_BYTES: usize = GROUP_BLOCKS * BLOCK_BYTES;
/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 8;
/// Tokens of the widest tile.
pub(crate) const TILE_TOKENS: usize = 4;

/// Constants in registers.
struct Tables {
    codes: __m256i,
    nibble: __m256i,
    ones: __m256i,
    offset: __m256i,
}

impl Tables {
    #[target_feature(enable = "avx2,fma")]
    fn new() -> Tables {
        let shifted: [i8; 16] = std::array::from_fn(|code| E2M1_DOUBLED[code] + OFFSET);
        // SAFETY: sixteen bytes from an array of sixteen.
        let codes = unsafe { _mm_loadu_si128(shifted.as_ptr().cast()) };
        Tables {
            codes: _mm256_broadcastsi128_si256(codes),
            nibble: _mm256_set1_epi8(15),
            ones: _mm256_set1_epi16(1),
            offset: _mm256_set1_epi32(i32::from(OFFSET)),
        }
    }
}

/// Twice the product of one row of weights with one row of activations.
///
/// Shapes: `blocks [K / 32, 16]`, `scales [K / 32]`, `x` K values, padded to whole groups.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn gemv(x: Q8Row<'_>, blocks: &[u8], scales: &[u8]) -> f32 {
    let tables = Tables::new();
    let (groups, tail) = blocks.as_chunks::<GROUP_BYTES>();
    let (group_scales, tail_scales) = scales.as_chunks::<GROUP_BLOCKS>();
    assert!(x.values.len() >= blocks.len().next_multiple_of(GROUP_BYTES) * 2);
    let mut lanes = _mm256_setzero_ps();
    for (g, (blocks, scales)) in groups.iter().zip(group_scales).enumerate() {
        let (sums, scale) = (group_sums(&tables, x, g, blocks), group_scale(x, g, scales));
        lanes = _mm256_fmadd_ps(sums, scale, lanes);
    }
    if !tail.is_empty() {
        let (mut blocks, mut scales) = ([0; GROUP_BYTES], [0; GROUP_BLOCKS]);
        blocks[..tail.len()].copy_from_slice(tail);
        scales[..tail_scales.len()].copy_from_slice(tail_scales);
        let g = groups.len();
        let (sums, scale) = (group_sums(&tables, x, g, &blocks), group_scale(x, g, &scales));
        let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let used = _mm256_cmpgt_epi32(_mm256_set1_epi32(tail_scales.len() as i32), index);
        let added = _mm256_fmadd_ps(sums, scale, lanes);
        // Lanes without a block keep even the sign of their zero.
        lanes = _mm256_blendv_ps(lanes, added, _mm256_castsi256_ps(used));
    }
    fold(lanes)
}

/// The integer sums of eight blocks, in order, as floats.
#[target_feature(enable = "avx2,fma")]
fn group_sums(tables: &Tables, x: Q8Row<'_>, g: usize, blocks: &[u8; GROUP_BYTES]) -> __m256 {
    let values = &x.values[g * GROUP_BLOCKS * Q8_BLOCK..][..GROUP_BLOCKS * Q8_BLOCK];
    let pairs: [__m256i; 4] = std::array::from_fn(|p| {
        // SAFETY: a group has 4 * 32 bytes of weights and 4 * 64 of activations.
        let (bytes, even, odd) = unsafe {
            (
                _mm256_loadu_si256(blocks.as_ptr().add(p * 32).cast()),
                _mm256_loadu_si256(values.as_ptr().add(p * 64).cast()),
                _mm256_loadu_si256(values.as_ptr().add(p * 64 + 32).cast()),
            )
        };
        let low = _mm256_and_si256(bytes, tables.nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), tables.nibble);
        let low = _mm256_maddubs_epi16(_mm256_shuffle_epi8(tables.codes, low), even);
        let high = _mm256_maddubs_epi16(_mm256_shuffle_epi8(tables.codes, high), odd);
        _mm256_madd_epi16(_mm256_add_epi16(low, high), tables.ones)
    });
    // Each register holds four partial sums of an even block and four of the odd block after it.
    let first = _mm256_hadd_epi32(pairs[0], pairs[1]);
    let second = _mm256_hadd_epi32(pairs[2], pairs[3]);
    let evens_then_odds = _mm256_hadd_epi32(first, second);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let raw = _mm256_permutevar8x32_epi32(evens_then_odds, order);
    let sums = &x.sums[g * GROUP_BLOCKS..][..GROUP_BLOCKS];
    // SAFETY: eight sums.
    let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_sub_epi32(raw, _mm256_mullo_epi32(sums, tables.offset)))
}

/// Activation scale times weight scale of eight blocks.
#[target_feature(enable = "avx2,fma")]
fn group_scale(x: Q8Row<'_>, g: usize, scales: &[u8; GROUP_BLOCKS]) -> __m256 {
    let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(*scales));
    let activations = &x.scales[g * GROUP_BLOCKS..][..GROUP_BLOCKS];
    // SAFETY: eight scales.
    let activations = unsafe { _mm256_loadu_ps(activations.as_ptr()) };
    _mm256_mul_ps(activations, scale_values(bytes))
}

/// `2^(s - 127)` of eight scale bytes; see [`crate::scale_value`].
#[target_feature(enable = "avx2,fma")]
fn scale_values(bytes: __m128i) -> __m256 {
    let shifted = _mm256_slli_epi32::<23>(_mm256_cvtepu8_epi32(bytes));
    _mm256_castsi256_ps(_mm256_max_epi32(shifted, _mm256_set1_epi32(1 << 22)))
}

/// Eight rows of weights, unpacked for [`Q8Panel::products`].
pub(crate) struct Q8Panel<'a> {
    num_blocks: usize,
    /// `[K / 32, 8, 8 rows, 4]` unsigned weights: four at a time in stored order of the activations.
    weights: &'a mut [u8],
    /// `[K / 32, 8 rows]`
    scales: &'a mut [f32],
}

impl<'a> Q8Panel<'a> {
    /// Bytes of `weights` for K values.
    pub(crate) const fn weight_bytes(k: usize) -> usize {
        k * TILE_ROWS
    }

    /// Floats of `scales` for K values.
    pub(crate) const fn num_scales(k: usize) -> usize {
        k / Q8_BLOCK * TILE_ROWS
    }

    /// Unpacks up to eight rows; those that are missing repeat the last one.
    ///
    /// Shapes: `blocks [rows, K / 32, 16]`, `scales [rows, K / 32]`.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn unpack(
        weights: &'a mut [u8],
        scales: &'a mut [f32],
        blocks: &[u8],
        block_scales: &[u8],
        num_blocks: usize,
    ) -> Q8Panel<'a> {
        let tables = Tables::new();
        let rows = block_scales.len() / num_blocks;
        let row: [usize; TILE_ROWS] = std::array::from_fn(|r| r.min(rows - 1) * num_blocks);
        for b in 0..num_blocks {
            let bytes = row.map(|row| &blocks[(row + b) * BLOCK_BYTES..][..BLOCK_BYTES]);
            unpack_block(&tables, &mut weights[b * 256..][..256], bytes);
            let bytes = row.map(|row| block_scales[row + b]);
            let values = scale_values(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
            let scales = &mut scales[b * TILE_ROWS..][..TILE_ROWS];
            // SAFETY: eight scales.
            unsafe { _mm256_storeu_ps(scales.as_mut_ptr(), values) };
        }
        Q8Panel { num_blocks, weights, scales }
    }

    /// Twice the products of the eight rows with up to four rows of activations.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn products(&self, x: &[Q8Row<'_>]) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
        match *x {
            [a, b, c, d] => self.tile([a, b, c, d]),
            [a, b, c] => self.tile([a, b, c]),
            [a, b] => self.tile([a, b]),
            [a] => self.tile([a]),
            _ => unreachable!("1 to {TILE_TOKENS} tokens"),
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn tile<const T: usize>(&self, x: [Q8Row<'_>; T]) -> [[f32; TILE_ROWS]; TILE_TOKENS] {
        for x in x {
            assert!(x.scales.len() >= self.num_blocks && x.sums.len() >= self.num_blocks);
            assert!(x.values.len() >= self.num_blocks.next_multiple_of(2) * Q8_BLOCK);
        }
        assert!(self.weights.len() >= self.num_blocks * 256 && self.scales.len() >= self.num_blocks * 8);
        let mut lanes = [[_mm256_setzero_ps(); T]; LANES];
        for (lane, sums) in lanes.iter_mut().enumerate() {
            for b in (lane..self.num_blocks).step_by(LANES) {
                // SAFETY: `b` is below the number of blocks that every slice holds (asserted).
                unsafe { self.add_block(b, &x, sums) };
            }
        }
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

    /// Adds block `b` of eight rows for T tokens.
    ///
    /// # Safety
    /// Panel and activations hold block `b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add_block<const T: usize>(&self, b: usize, x: &[Q8Row<'_>; T], sums: &mut [__m256; T]) {
        let (offset, ones) = (_mm256_set1_epi32(i32::from(OFFSET)), _mm256_set1_epi16(1));
        // Evens of block b begin here, odds 32 bytes on; see `q8::stored_at`.
        let place = b / 2 * 64 + b % 2 * 16;
        let mut wide = [_mm256_setzero_si256(); T];
        for half in 0..2 {
            let mut narrow = [_mm256_setzero_si256(); T];
            for c in 0..4 {
                // SAFETY: block b of the panel is bytes `b * 256 .. + 256`.
                let w = unsafe {
                    _mm256_loadu_si256(self.weights.as_ptr().add(b * 256 + half * 128 + c * 32).cast())
                };
                for t in 0..T {
                    // SAFETY: four bytes inside the pair of blocks that b belongs to.
                    let four = unsafe {
                        x[t].values.as_ptr().add(place + half * 32 + c * 4).cast::<i32>().read_unaligned()
                    };
                    let product = _mm256_maddubs_epi16(w, _mm256_set1_epi32(four));
                    narrow[t] = _mm256_add_epi16(narrow[t], product);
                }
            }
            for t in 0..T {
                wide[t] = _mm256_add_epi32(wide[t], _mm256_madd_epi16(narrow[t], ones));
            }
        }
        // SAFETY: block b has eight scales.
        let scales = unsafe { _mm256_loadu_ps(self.scales.as_ptr().add(b * TILE_ROWS)) };
        for t in 0..T {
            // SAFETY: every row of activations has block b.
            let (sum, scale) = unsafe { (*x[t].sums.get_unchecked(b), *x[t].scales.get_unchecked(b)) };
            let correction = _mm256_mullo_epi32(_mm256_set1_epi32(sum), offset);
            let value = _mm256_cvtepi32_ps(_mm256_sub_epi32(wide[t], correction));
            sums[t] = _mm256_fmadd_ps(value, _mm256_mul_ps(_mm256_set1_ps(scale), scales), sums[t]);
        }
    }
}

/// Transposes one block of eight rows by groups of four values, and looks the values up.
#[target_feature(enable = "avx2,fma")]
fn unpack_block(tables: &Tables, out: &mut [u8], rows: [&[u8]; TILE_ROWS]) {
    assert!(out.len() == 256 && rows.iter().all(|row| row.len() == BLOCK_BYTES));
    let half = |r: usize| {
        // SAFETY: sixteen bytes each (asserted).
        let (low, high) = unsafe {
            (_mm_loadu_si128(rows[r].as_ptr().cast()), _mm_loadu_si128(rows[r + 4].as_ptr().cast()))
        };
        _mm256_set_m128i(high, low)
    };
    let r = [half(0), half(1), half(2), half(3)];
    let (low01, high01) = (_mm256_unpacklo_epi32(r[0], r[1]), _mm256_unpackhi_epi32(r[0], r[1]));
    let (low23, high23) = (_mm256_unpacklo_epi32(r[2], r[3]), _mm256_unpackhi_epi32(r[2], r[3]));
    let fours = [
        _mm256_unpacklo_epi64(low01, low23),
        _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23),
        _mm256_unpackhi_epi64(high01, high23),
    ];
    for (c, bytes) in fours.into_iter().enumerate() {
        let even = _mm256_shuffle_epi8(tables.codes, _mm256_and_si256(bytes, tables.nibble));
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), tables.nibble);
        let odd = _mm256_shuffle_epi8(tables.codes, high);
        // SAFETY: `c < 4`, so both 32-byte stores end within 256.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().add(c * 32).cast(), even);
            _mm256_storeu_si256(out.as_mut_ptr().add(128 + c * 32).cast(), odd);
        }
    }
}
