//! NEON forms of the f32 product: a tile of unpacked weights, weights as stored for few tokens, and the
//! unpacking of MXFP4.
//!
//! Entry points: [`products`], [`products_bf16`], [`products_transposed`], [`products_mxfp4`],
//! [`unpack_mxfp4`]. The eight lanes of [`crate::lanes`] are two registers, so a tile of 4 rows by 3 tokens
//! keeps 24 sums, six registers of activations and two of weights: all 32 that there are.

use std::arch::aarch64::*;

use gptoss_formats::{BLOCK_VALUES, E2M1, MXFP4_CODE_BYTES, scale_value, widen_bf16};
use half::bf16;

use crate::lanes::{LANES, tree};
use crate::simd::neon::{Eight, add_product, fold, load, splat, store, widen};

/// Rows of the widest tile.
const TILE_ROWS: usize = 4;
/// Tokens of the widest tile.
const TILE_TOKENS: usize = 3;
/// Columns taken at a time, whole registers; as on the AVX2 tier.
const CHUNK: usize = 288;

/// `out[t][r] = dot(x[t], w[r])`.
///
/// Shapes: `out [T, rows]`, `sums [T, rows]` of lanes (scratch), `w [rows, K]`, `x [T, K]`, K at least one.
#[target_feature(enable = "neon")]
pub(crate) fn products(out: &mut [f32], sums: &mut [[f32; LANES]], w: &[f32], x: &[f32], k: usize) {
    let (rows, tokens) = (w.len() / k, x.len() / k);
    for first in (0..k).step_by(CHUNK) {
        let tile = Tile { w, x, k, rows, first, end: k.min(first + CHUNK) };
        for t in (0..tokens).step_by(TILE_TOKENS) {
            for r in (0..rows).step_by(TILE_ROWS) {
                match ((rows - r).min(TILE_ROWS), (tokens - t).min(TILE_TOKENS)) {
                    (4, 3) => tile.add::<4, 3>(out, sums, r, t),
                    (4, 2) => tile.add::<4, 2>(out, sums, r, t),
                    (4, 1) => tile.add::<4, 1>(out, sums, r, t),
                    (rows, 3) => (r..r + rows).for_each(|r| tile.add::<1, 3>(out, sums, r, t)),
                    (rows, tokens) => {
                        for t in t..t + tokens {
                            (r..r + rows).for_each(|r| tile.add::<1, 1>(out, sums, r, t));
                        }
                    }
                }
            }
        }
    }
}

/// Some columns of all rows and tokens; they are whole registers unless they are the last.
struct Tile<'a> {
    /// `[rows, K]`
    w: &'a [f32],
    /// `[tokens, K]`
    x: &'a [f32],
    k: usize,
    rows: usize,
    first: usize,
    end: usize,
}

impl Tile<'_> {
    /// Adds to the sums of R rows from `row` and T tokens from `token` on. The first columns begin sums and
    /// the last ones fold them; between, they wait in `sums`.
    #[inline]
    #[target_feature(enable = "neon")]
    fn add<const R: usize, const T: usize>(
        &self,
        out: &mut [f32],
        sums: &mut [[f32; LANES]],
        row: usize,
        token: usize,
    ) {
        let columns = self.first..self.end;
        let w: [&[f32]; R] = std::array::from_fn(|r| &self.w[(row + r) * self.k..][columns.clone()]);
        let x: [&[f32]; T] = std::array::from_fn(|t| &self.x[(token + t) * self.k..][columns.clone()]);
        let place = |t: usize, r: usize| (token + t) * self.rows + row + r;
        let mut kept = [[splat(0.0); R]; T];
        if self.first > 0 {
            for (t, kept) in kept.iter_mut().enumerate() {
                for (r, kept) in kept.iter_mut().enumerate() {
                    *kept = load(&sums[place(t, r)]);
                }
            }
        }
        let (w_whole, x_whole) = (w.map(|w| w.as_chunks::<LANES>()), x.map(|x| x.as_chunks::<LANES>()));
        for i in 0..columns.len() / LANES {
            // SAFETY: all slices are as long as `columns`, of which these are whole eights.
            let x = x_whole.map(|(x, _)| load(unsafe { x.get_unchecked(i) }));
            for (r, (w, _)) in w_whole.iter().enumerate() {
                // SAFETY: as above.
                let w = load(unsafe { w.get_unchecked(i) });
                for (kept, x) in kept.iter_mut().zip(x) {
                    kept[r] = add_product(kept[r], w, x);
                }
            }
        }
        for (t, kept) in kept.iter().enumerate() {
            for (r, kept) in kept.iter().enumerate() {
                let place = place(t, r);
                match (self.end == self.k, w_whole[r].1, x_whole[t].1) {
                    (false, ..) => store(&mut sums[place], *kept),
                    (true, [], _) => out[place] = fold(*kept),
                    (true, w, x) => out[place] = fold_with_tail(*kept, w.iter().copied().zip(x)),
                }
            }
        }
    }
}

/// Goes on in the first lanes with what is left after whole registers, then folds.
#[inline]
#[target_feature(enable = "neon")]
fn fold_with_tail<'x>(sums: Eight, tail: impl Iterator<Item = (f32, &'x f32)>) -> f32 {
    let mut lanes = [0.0; LANES];
    store(&mut lanes, sums);
    for (lane, (w, x)) in lanes.iter_mut().zip(tail) {
        *lane = w.mul_add(*x, *lane);
    }
    tree(&lanes)
}

/// `out[t][r] = dot(x[t], w[r])` for few tokens.
///
/// Shapes: `out [T, rows]`, `w [rows, K]`, `x [T, K]`.
#[target_feature(enable = "neon")]
pub(crate) fn products_bf16(out: &mut [f32], w: &[bf16], x: &[f32], k: usize) {
    let rows = w.len() / k;
    for (t, x) in x.chunks_exact(k).enumerate() {
        let out = &mut out[t * rows..][..rows];
        // Two rows at a time, because a row alone waits for its sums.
        let (pairs, last) = out.as_chunks_mut::<2>();
        for (i, out) in pairs.iter_mut().enumerate() {
            *out = rows_bf16([&w[2 * i * k..][..k], &w[(2 * i + 1) * k..][..k]], x);
        }
        if let [out] = last {
            [*out] = rows_bf16([&w[(rows - 1) * k..][..k]], x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn rows_bf16<const R: usize>(w: [&[bf16]; R], x: &[f32]) -> [f32; R] {
    let (x, x_tail) = x.as_chunks::<LANES>();
    let w = w.map(|w| w.as_chunks::<LANES>());
    let mut sums = [splat(0.0); R];
    for (i, x) in x.iter().enumerate() {
        let x = load(x);
        for (sum, (w, _)) in sums.iter_mut().zip(w) {
            // SAFETY: eight numbers of sixteen bits.
            let w = unsafe { vld1q_u16(w[i].as_ptr().cast()) };
            *sum = add_product(*sum, widen(w), x);
        }
    }
    std::array::from_fn(|r| fold_with_tail(sums[r], w[r].1.iter().map(|w| widen_bf16(*w)).zip(x_tail)))
}

/// `out[t][r] = dot(x[t], w[r])` where `column(i)` is element i of every row: each is added to the sums of
/// its lane, in plain Rust, for which the compiler uses whole registers.
///
/// Shapes: `out [T, rows]`, `lanes [T, 8, rows]` (scratch), columns `[rows]`, `x [T, K]`.
pub(crate) fn products_transposed<'w>(
    out: &mut [f32],
    lanes: &mut [f32],
    column: impl Fn(usize) -> &'w [bf16],
    x: &[f32],
    k: usize,
) {
    lanes.fill(0.0);
    let len = out.len() * k / x.len();
    for i in 0..k {
        let column = column(i);
        for (lanes, x) in lanes.chunks_exact_mut(LANES * len).zip(x.chunks_exact(k)) {
            let lane = &mut lanes[i % LANES * len..][..len];
            for (sum, w) in lane.iter_mut().zip(column) {
                *sum = widen_bf16(*w).mul_add(x[i], *sum);
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
#[target_feature(enable = "neon")]
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

#[inline]
#[target_feature(enable = "neon")]
fn rows_mxfp4<const R: usize>(
    codes: &Codes,
    rows: [(&[[u8; MXFP4_CODE_BYTES]], &[u8]); R],
    x: &[[f32; BLOCK_VALUES]],
) -> [f32; R] {
    let mut sums = [splat(0.0); R];
    for (b, x) in x.iter().enumerate() {
        for (sum, (blocks, scales)) in sums.iter_mut().zip(rows) {
            for (w, x) in codes.widen_block(&blocks[b], scales[b]).into_iter().zip(x.as_chunks::<LANES>().0) {
                *sum = add_product(*sum, w, load(x));
            }
        }
    }
    sums.map(|sum| fold(sum))
}

/// Unpacks MXFP4 blocks.
#[target_feature(enable = "neon")]
pub(crate) fn unpack_mxfp4(out: &mut [f32], blocks: &[u8], scales: &[u8]) {
    let codes = Codes::new();
    let outs = out.as_chunks_mut::<BLOCK_VALUES>().0;
    for ((out, block), scale) in outs.iter_mut().zip(blocks.as_chunks::<MXFP4_CODE_BYTES>().0).zip(scales) {
        for (out, eight) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(codes.widen_block(block, *scale)) {
            store(out, eight);
        }
    }
}

/// The high and the low byte of the bf16 form of each E2M1 code.
struct Codes {
    high: uint8x16_t,
    low: uint8x16_t,
}

impl Codes {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new() -> Codes {
        let byte = |place: usize| E2M1.map(|value| value.to_bits().to_le_bytes()[place]);
        // SAFETY: sixteen bytes each.
        unsafe { Codes { high: vld1q_u8(byte(3).as_ptr()), low: vld1q_u8(byte(2).as_ptr()) } }
    }

    /// The 32 values of a block, in order.
    #[inline]
    #[target_feature(enable = "neon")]
    fn widen_block(&self, block: &[u8; MXFP4_CODE_BYTES], scale: u8) -> [Eight; 4] {
        let scale = scale_value(scale);
        // SAFETY: a block is sixteen bytes.
        let bytes = unsafe { vld1q_u8(block.as_ptr()) };
        let (even, odd) = (vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes));
        let sixteen = |codes: uint8x16_t| {
            let (low, high) = (vqtbl1q_u8(self.low, codes), vqtbl1q_u8(self.high, codes));
            [vzip1q_u8(low, high), vzip2q_u8(low, high)]
                .map(|numbers| widen(vreinterpretq_u16_u8(numbers)).map(|values| vmulq_n_f32(values, scale)))
        };
        let [[a, b], [c, d]] = [sixteen(vzip1q_u8(even, odd)), sixteen(vzip2q_u8(even, odd))];
        [a, b, c, d]
    }
}
