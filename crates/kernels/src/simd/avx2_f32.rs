//! AVX2 forms of the f32 product: tiles of dot products, and the unpacking of weight panels.
//!
//! Entry points: [`products`], [`unpack_bf16`], [`unpack_bf16_transposed`], [`unpack_mxfp4`]. The eight lanes
//! of [`crate::lanes`] are the eight floats of a register, so a tile of 4 rows by 3 tokens keeps twelve
//! accumulators and needs seven loads for twelve fused multiply-adds.

use std::arch::x86_64::*;

use gptoss_formats::{E2M1, MXFP4_CODE_BYTES, scale_value};
use half::bf16;

use crate::lanes::LANES;

/// Rows of the widest tile. With [`TILE_TOKENS`] it takes twelve accumulators, three registers of activations
/// and one of weights, which is all there are: with the roles swapped, one accumulator is spilled and the
/// tile runs at a half of its speed.
const TILE_ROWS: usize = 4;
/// Tokens of the widest tile.
const TILE_TOKENS: usize = 3;
/// Columns taken at a time, whole registers: 16 rows and 3 tokens of 288 floats are 21 KB, which with the
/// sums stay in the nearest cache. Sums of rows that are no longer never leave their registers.
const CHUNK: usize = 288;

/// `out[t][r] = dot(x[t], w[r])`.
///
/// Shapes: `out [T, rows]`, `sums [T, rows]` of lanes (scratch), `w [rows, K]`, `x [T, K]`, K at least one.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn products(out: &mut [f32], sums: &mut [[f32; LANES]], w: &[f32], x: &[f32], k: usize) {
    let (rows, tokens) = (w.len() / k, x.len() / k);
    assert!(w.len() == rows * k && x.len() == tokens * k);
    assert!(sums.len() == rows * tokens && out.len() == sums.len());
    for first in (0..k).step_by(CHUNK) {
        let tile = Tile { w, x, k, rows, first, end: k.min(first + CHUNK) };
        for t in (0..tokens).step_by(TILE_TOKENS) {
            for r in (0..rows).step_by(TILE_ROWS) {
                tile.add_widest(out, sums, (r, t), tokens);
            }
        }
    }
}

/// Some columns of all rows and tokens. Invariant: `w [rows, K]`, `x [tokens, K]`, `end <= K`, and the
/// columns are whole registers unless they are the last.
struct Tile<'a> {
    w: &'a [f32],
    x: &'a [f32],
    k: usize,
    rows: usize,
    first: usize,
    end: usize,
}

impl Tile<'_> {
    /// Adds to the sums of up to 4 rows from `r` and 3 tokens from `t` on.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_widest(&self, out: &mut [f32], sums: &mut [[f32; LANES]], (r, t): (usize, usize), tokens: usize) {
        match ((self.rows - r).min(TILE_ROWS), (tokens - t).min(TILE_TOKENS)) {
            (4, 3) => self.add::<4, 3>(out, sums, r, t),
            (4, 2) => self.add::<4, 2>(out, sums, r, t),
            (4, 1) => self.add::<4, 1>(out, sums, r, t),
            (rows, 3) => (r..r + rows).for_each(|r| self.add::<1, 3>(out, sums, r, t)),
            (rows, tokens) => {
                for t in t..t + tokens {
                    (r..r + rows).for_each(|r| self.add::<1, 1>(out, sums, r, t));
                }
            }
        }
    }

    /// The first columns begin sums and the last ones fold them; between, they wait in `sums`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add<const R: usize, const T: usize>(
        &self,
        out: &mut [f32],
        sums: &mut [[f32; LANES]],
        row: usize,
        token: usize,
    ) {
        assert!((row + R) * self.k <= self.w.len() && (token + T) * self.k <= self.x.len());
        assert!(self.end <= self.k && (token + T - 1) * self.rows + row + R <= sums.len().min(out.len()));
        let (w, x) = (&self.w[row * self.k..], &self.x[token * self.k..]);
        let place = |t: usize, r: usize| (token + t) * self.rows + row + r;
        let mut kept = [[_mm256_setzero_ps(); R]; T];
        if self.first > 0 {
            for (t, kept) in kept.iter_mut().enumerate() {
                for (r, kept) in kept.iter_mut().enumerate() {
                    // SAFETY: eight floats at a place below the length asserted above.
                    *kept = unsafe { _mm256_loadu_ps(sums.as_ptr().add(place(t, r)).cast()) };
                }
            }
        }
        let whole = self.end - self.end % LANES;
        for i in (self.first..whole).step_by(LANES) {
            let mut eights = [_mm256_setzero_ps(); T];
            for (t, eight) in eights.iter_mut().enumerate() {
                // SAFETY: `i + 8 <= end <= k`, and the slices hold T and R rows of k (asserted).
                *eight = unsafe { _mm256_loadu_ps(x.as_ptr().add(t * self.k + i)) };
            }
            for r in 0..R {
                // SAFETY: as above.
                let w = unsafe { _mm256_loadu_ps(w.as_ptr().add(r * self.k + i)) };
                for (kept, x) in kept.iter_mut().zip(eights) {
                    kept[r] = _mm256_fmadd_ps(w, x, kept[r]);
                }
            }
        }
        if whole < self.end {
            let (mask, rest) = (first_lanes(self.end - whole), whole..self.end);
            for (t, kept) in kept.iter_mut().enumerate() {
                let x = load_masked(&x[t * self.k..][rest.clone()], mask);
                for (r, kept) in kept.iter_mut().enumerate() {
                    let sum = _mm256_fmadd_ps(load_masked(&w[r * self.k..][rest.clone()], mask), x, *kept);
                    // A lane without an element keeps its sum, whose zero may be negative.
                    *kept = _mm256_blendv_ps(*kept, sum, _mm256_castsi256_ps(mask));
                }
            }
        }
        for (t, kept) in kept.iter().enumerate() {
            if self.end == self.k {
                fold_rows(&mut out[place(t, 0)..][..R], kept);
                continue;
            }
            for (r, kept) in kept.iter().enumerate() {
                // SAFETY: as for the loads.
                unsafe { _mm256_storeu_ps(sums.as_mut_ptr().add(place(t, r)).cast(), *kept) };
            }
        }
    }
}

/// All bits set in the first `len` lanes, of at most eight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn first_lanes(len: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// Fewer than eight floats, of which `mask` has the lanes; the others are zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_masked(rest: &[f32], mask: __m256i) -> __m256 {
    // SAFETY: lanes beyond the slice are masked, and so not read.
    unsafe { _mm256_maskload_ps(rest.as_ptr(), mask) }
}

/// The tree of [`crate::lanes`] for each sum.
///
/// Shapes: `out [R]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_rows<const R: usize>(out: &mut [f32], sums: &[__m256; R]) {
    if let ([a, b, c, d], Some(out)) = (sums.as_slice(), out.first_chunk_mut::<4>()) {
        // SAFETY: four floats.
        return unsafe { _mm_storeu_ps(out.as_mut_ptr(), fold_four([*a, *b, *c, *d])) };
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = fold(*sum);
    }
}

/// [`fold`] of four sums, the same additions side by side.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold_four([a, b, c, d]: [__m256; 4]) -> __m128 {
    let halves =
        |x, y| _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(x, y), _mm256_permute2f128_ps::<0x31>(x, y));
    let (ac, bd) = (_mm256_castps_pd(halves(a, c)), _mm256_castps_pd(halves(b, d)));
    let (low, high) = (_mm256_unpacklo_pd(ac, bd), _mm256_unpackhi_pd(ac, bd));
    // The even and the odd lanes of a and b, then of c and d.
    let pairs = _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
    let (ab, cd) = (_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
    _mm_add_ps(_mm_shuffle_ps::<0x88>(ab, cd), _mm_shuffle_ps::<0xdd>(ab, cd))
}

/// The tree of [`crate::lanes`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn fold(lanes: __m256) -> f32 {
    let fours = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
    _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)))
}

/// Widens bf16 to f32.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack_bf16(out: &mut [f32], w: &[bf16]) {
    for (out, w) in out.iter_mut().zip(w) {
        *out = gptoss_formats::widen_bf16(*w);
    }
}

/// Columns `first..` of a bf16 matrix `w [K, N]` as the rows of `out [rows, K]`.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack_bf16_transposed(out: &mut [f32], w: &[bf16], first: usize, n: usize, k: usize) {
    let rows = out.len() / k;
    let (whole_rows, whole_k) = (rows - rows % 8, k - k % 8);
    assert!(first + rows <= n && w.len() == n * k);
    for r in (0..whole_rows).step_by(8) {
        for i in (0..whole_k).step_by(8) {
            let block: [__m256; 8] = std::array::from_fn(|j| {
                // SAFETY: row `i + j` of w has columns `first + r .. + 8` (asserted).
                let eight = unsafe { _mm_loadu_si128(w.as_ptr().add((i + j) * n + first + r).cast()) };
                widen_eight(eight)
            });
            for (j, row) in transpose(block).into_iter().enumerate() {
                // SAFETY: row `r + j` of out has columns `i .. i + 8`.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr().add((r + j) * k + i), row) };
            }
        }
    }
    for r in 0..rows {
        for i in if r < whole_rows { whole_k..k } else { 0..k } {
            out[r * k + i] = gptoss_formats::widen_bf16(w[i * n + first + r]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn widen_eight(eight: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(eight)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn transpose(m: [__m256; 8]) -> [__m256; 8] {
    let pairs: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (m[i / 2 * 2], m[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
    });
    // Quarter q of the first four rows is at q, of the last four at q + 4, lanes apart.
    let quads: [__m256; 8] = std::array::from_fn(|i| {
        let half = i / 4 * 4;
        let (a, b) = (pairs[half + i % 4 / 2], pairs[half + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
    });
    std::array::from_fn(|i| {
        let (a, b) = (quads[i % 4], quads[i % 4 + 4]);
        if i < 4 { _mm256_permute2f128_ps::<0x20>(a, b) } else { _mm256_permute2f128_ps::<0x31>(a, b) }
    })
}

/// Unpacks MXFP4 blocks.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn unpack_mxfp4(out: &mut [f32], blocks: &[u8], scales: &[u8]) {
    let codes = Codes::new();
    let outs = out.as_chunks_mut::<32>().0;
    for ((out, block), scale) in outs.iter_mut().zip(blocks.as_chunks::<MXFP4_CODE_BYTES>().0).zip(scales) {
        for (out, eight) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(codes.widen_block(block, *scale)) {
            // SAFETY: eight floats.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), eight) };
        }
    }
}

/// The high and the low byte of the bf16 form of each E2M1 code.
pub(crate) struct Codes {
    high: __m128i,
    low: __m128i,
}

impl Codes {
    /// The high bytes, then the low ones. They are there already: a panel of a transposed product begins anew
    /// with every four blocks.
    const BYTES: [[u8; 16]; 2] = {
        let (mut bytes, mut code) = ([[0; 16]; 2], 0);
        while code < E2M1.len() {
            let [_, _, low, high] = E2M1[code].to_bits().to_le_bytes();
            bytes[0][code] = high;
            bytes[1][code] = low;
            code += 1;
        }
        bytes
    };

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn new() -> Codes {
        let [high, low] = &Self::BYTES;
        // SAFETY: sixteen bytes each.
        unsafe {
            Codes { high: _mm_loadu_si128(high.as_ptr().cast()), low: _mm_loadu_si128(low.as_ptr().cast()) }
        }
    }

    /// The 32 values of a block, in order.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn widen_block(&self, block: &[u8; MXFP4_CODE_BYTES], scale: u8) -> [__m256; 4] {
        let nibble = _mm_set1_epi8(15);
        let scale = _mm256_set1_ps(scale_value(scale));
        // SAFETY: a block is 16 bytes.
        let bytes = unsafe { _mm_loadu_si128(block.as_ptr().cast()) };
        let even = _mm_and_si128(bytes, nibble);
        let odd = _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble);
        let (first, second) = (_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd));
        let (low, high) = (_mm_shuffle_epi8(self.low, first), _mm_shuffle_epi8(self.high, first));
        let (a, b) = (_mm_unpacklo_epi8(low, high), _mm_unpackhi_epi8(low, high));
        let (low, high) = (_mm_shuffle_epi8(self.low, second), _mm_shuffle_epi8(self.high, second));
        let (c, d) = (_mm_unpacklo_epi8(low, high), _mm_unpackhi_epi8(low, high));
        [
            _mm256_mul_ps(widen_eight(a), scale),
            _mm256_mul_ps(widen_eight(b), scale),
            _mm256_mul_ps(widen_eight(c), scale),
            _mm256_mul_ps(widen_eight(d), scale),
        ]
    }
}
