//! AVX2 forms of the f32 product for few tokens, straight from the stored weights.
//!
//! Entry points: [`products_bf16`], [`products_transposed`], [`products_mxfp4`]. With few tokens a weight is
//! used only a few times, so writing it out as f32 first (`avx2_f32.rs`) would cost more than it saves; here
//! it is widened in registers. The lanes and the tree are the same, so the bits are.

use std::arch::x86_64::*;

use gptoss_formats::{BLOCK_VALUES, MXFP4_CODE_BYTES, widen_bf16};
use half::bf16;

use crate::lanes::{LANES, tree};
use crate::simd::avx2_f32::{Codes, fold, widen_eight};

/// `out[t][r] = dot(x[t], w[r])` for 1 to 4 tokens.
///
/// Shapes: `out [T, rows]`, `w [rows, K]`, `x [T, K]`.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn products_bf16(out: &mut [f32], w: &[bf16], x: &[f32], k: usize) {
    let (rows, tokens) = (w.len() / k, x.len() / k);
    assert!(w.len() == rows * k && x.len() == tokens * k && out.len() == tokens * rows);
    let whole = rows - rows % 4;
    for r in (0..whole).step_by(4) {
        let w = &w[r * k..][..4 * k];
        if tokens == 2 {
            write(out, rows, r, 0, tile::<4, 2>(w, x, k));
            continue;
        }
        for half in [0, 2] {
            let w = &w[half * k..][..2 * k];
            match tokens {
                1 => write(out, rows, r + half, 0, tile::<2, 1>(w, x, k)),
                3 => write(out, rows, r + half, 0, tile::<2, 3>(w, x, k)),
                _ => write(out, rows, r + half, 0, tile::<2, 4>(w, x, k)),
            }
        }
    }
    for r in whole..rows {
        for t in 0..tokens {
            write(out, rows, r, t, tile::<1, 1>(&w[r * k..][..k], &x[t * k..][..k], k));
        }
    }
}

#[inline]
fn write<const R: usize, const T: usize>(
    out: &mut [f32],
    rows: usize,
    row: usize,
    token: usize,
    tile: [[f32; R]; T],
) {
    for (t, products) in tile.iter().enumerate() {
        out[(token + t) * rows + row..][..R].copy_from_slice(products);
    }
}

/// Bytes to fetch ahead, counted as if memory were read from one end to the other: `R` rows are as many
/// streams, of a few KB each, and the processor's own prefetching starts anew with each of them. One token,
/// two threads, two rows: 17 GB/s without fetching ahead, 32 into the first cache from 6 KB ahead, 36 into
/// the second from 16 KB (medians of eight bests; plain reads 35; Zen 4, 2026-11-23).
const BYTES_AHEAD: usize = 16 << 10;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile<const R: usize, const T: usize>(w: &[bf16], x: &[f32], k: usize) -> [[f32; R]; T] {
    assert!(w.len() == R * k && x.len() == T * k);
    let mut sums = [[_mm256_setzero_ps(); R]; T];
    let body = k - k % LANES;
    for i in (0..body).step_by(LANES) {
        // A place past the end is never read, only hinted at.
        let ahead = w.as_ptr().cast::<i8>().wrapping_add(i * R * size_of::<bf16>() + BYTES_AHEAD);
        _mm_prefetch::<_MM_HINT_T1>(ahead);
        let mut eights = [_mm256_setzero_ps(); R];
        for (r, eight) in eights.iter_mut().enumerate() {
            // SAFETY: `i + 8 <= k`, and w holds R rows of k (asserted).
            *eight = widen_eight(unsafe { _mm_loadu_si128(w.as_ptr().add(r * k + i).cast()) });
        }
        for (t, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above, T rows of x.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(t * k + i)) };
            for (sum, w) in sums.iter_mut().zip(eights) {
                *sum = _mm256_fmadd_ps(w, x, *sum);
            }
        }
    }
    let mut out = [[0.0; R]; T];
    for (t, (out, sums)) in out.iter_mut().zip(sums).enumerate() {
        for (r, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            let (w, x) = (&w[r * k + body..(r + 1) * k], &x[t * k + body..(t + 1) * k]);
            *out = if body == k { fold(sum) } else { fold_with_tail(sum, w, x) };
        }
    }
    out
}

/// Goes on in the first lanes with what is left after whole registers, then folds.
#[target_feature(enable = "avx2,fma")]
fn fold_with_tail(sums: __m256, w: &[bf16], x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: eight floats into an array of eight.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
    for (lane, (w, x)) in lanes.iter_mut().zip(w.iter().zip(x)) {
        *lane = widen_bf16(*w).mul_add(*x, *lane);
    }
    tree(&lanes)
}

/// Rows of a transposed matrix to fetch ahead. Each is on a page of its own, where the processor's own
/// prefetching does not follow.
const ROWS_AHEAD: usize = 16;

/// `out[t][r] = dot(x[t], column first + r of w)`: each row of `w` is added to the sums of its lane, all
/// columns at once.
///
/// Shapes: `out [T, columns]`, `lanes [T, 8, columns]` (scratch), `w [K, N]`, `x [T, K]`; columns a multiple
/// of 8.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn products_transposed(
    out: &mut [f32],
    lanes: &mut [f32],
    w: &[bf16],
    x: &[f32],
    columns: std::ops::Range<usize>,
    n: usize,
) {
    let (k, len) = (w.len() / n, columns.len());
    let tokens = x.len() / k;
    assert!(columns.end <= n && w.len() == n * k && x.len() == tokens * k && len.is_multiple_of(LANES));
    assert!(out.len() == tokens * len && lanes.len() == LANES * out.len());
    lanes.fill(0.0);
    for i in 0..k {
        // A place past the end is never read, only hinted at.
        let ahead = w.as_ptr().wrapping_add((i + ROWS_AHEAD) * n + columns.start);
        for line in (0..len).step_by(32) {
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line).cast());
        }
        for c in (0..len).step_by(LANES) {
            // SAFETY: row i of w has columns `columns.start + c .. + 8` (asserted).
            let eight = unsafe { _mm_loadu_si128(w.as_ptr().add(i * n + columns.start + c).cast()) };
            let w = widen_eight(eight);
            for t in 0..tokens {
                let x = _mm256_set1_ps(x[t * k + i]);
                let place = (t * LANES + i % LANES) * len + c;
                // SAFETY: `t < tokens`, so the place and seven more are within `lanes` (asserted).
                unsafe {
                    let sum = lanes.as_mut_ptr().add(place);
                    _mm256_storeu_ps(sum, _mm256_fmadd_ps(w, x, _mm256_loadu_ps(sum)));
                }
            }
        }
    }
    for (out, lanes) in out.chunks_exact_mut(len).zip(lanes.chunks_exact(LANES * len)) {
        for (c, out) in out.iter_mut().enumerate() {
            *out = tree(&std::array::from_fn(|lane| lanes[lane * len + c]));
        }
    }
}

/// `out[r] = dot(x, w[r])` for one token.
///
/// Shapes: `out [rows]`, `blocks [rows, K / 32, 16]`, `scales [rows, K / 32]`, `x [K]`.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn products_mxfp4(out: &mut [f32], blocks: &[u8], scales: &[u8], x: &[f32]) {
    let codes = Codes::new();
    let x = x.as_chunks::<BLOCK_VALUES>().0;
    let blocks = blocks.as_chunks::<MXFP4_CODE_BYTES>().0;
    let row = |r: usize| (&blocks[r * x.len()..][..x.len()], &scales[r * x.len()..][..x.len()]);
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (i, out) in pairs.iter_mut().enumerate() {
        *out = rows_mxfp4(&codes, [row(i * 2), row(i * 2 + 1)], x);
    }
    if let [out] = last {
        [*out] = rows_mxfp4(&codes, [row(pairs.len() * 2)], x);
    }
}

/// Two rows at a time, because a row alone waits for its one sum at every step.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn rows_mxfp4<const R: usize>(
    codes: &Codes,
    rows: [(&[[u8; MXFP4_CODE_BYTES]], &[u8]); R],
    x: &[[f32; BLOCK_VALUES]],
) -> [f32; R] {
    let mut sums = [_mm256_setzero_ps(); R];
    for (b, x) in x.iter().enumerate() {
        for (sum, (blocks, scales)) in sums.iter_mut().zip(rows) {
            for (w, x) in codes.widen_block(&blocks[b], scales[b]).into_iter().zip(x.as_chunks::<LANES>().0) {
                // SAFETY: eight floats.
                *sum = _mm256_fmadd_ps(w, unsafe { _mm256_loadu_ps(x.as_ptr()) }, *sum);
            }
        }
    }
    let mut out = [0.0; R];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = fold(sum);
    }
    out
}
