//! Products of int8 activations with a matrix of small integers: MXFP4, the fast mode of the experts, and Q8_0, the fast
//! mode of dense matrices.
//!
//! Entry points: [`linear_mxfp4_q8`], [`linear_mxfp4_blocks_q8`] (the layout of GGUF files), [`linear_q8_0`]. One order of summation for one token and many, and for every
//! tier: inside a block of 32 the sum of (twice the E2M1 value, or the int8 weight) times (int8 activation) is an
//! integer, exact in any order; block `b` goes to lane `b % 8`, a lane adds `sum * (activation scale * weight scale)` in
//! ascending order with fused multiply-add; the eight lanes are folded by the tree of [`crate::lanes`]; the result is
//! halved for the doubled weights of MXFP4, and the bias added in the same fused step.
//!
//! Why lanes by block: a decode kernel reads eight consecutive blocks of a row and gets their sums in one
//! register, so scaling costs once per 256 weights; a tile kernel walks the blocks of one lane after the other
//! and keeps a single accumulator per output. Neither pays for sharing the other's order.
//!
//! This module does not know experts or routing.

use std::ops::Range;

use gptoss_formats::{
    BLOCK_VALUES, E2M1_DOUBLED, MXFP4_CODE_BYTES, Q8_0Block, q8_0_scale, q8_0_values, scale_value,
};
#[cfg(target_arch = "x86_64")]
use half::f16;

use crate::lanes::{LANES, tree};
#[cfg(target_arch = "x86_64")]
use crate::q8::TILE_TOKENS;
use crate::q8::{Q8Row, SECOND_HALVES, TileBlock, num_tile_blocks, pack_tiles};
#[cfg(target_arch = "x86_64")]
use crate::q8_panels::Q8_PANEL_ROWS;
use crate::q8_panels::Q8Panels;
use crate::rows::{RowTasks, SharedRows};
use crate::scratch::{Scratch, with_scratch};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_q8::{self, Q8Panel, TILE_ROWS};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_mxfp4::{self, GEMV_TOKENS, Published, Scattered};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_q8::{self, Scale, WIDE_ROWS, WIDE_TOKENS};
#[cfg(target_arch = "x86_64")]
use crate::simd::fetch::Upcoming;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2_mxfp4_blocks, avx2_q8_0, avx512_q8_0, avx512_unpack};
use crate::{LinearDims, Mxfp4, Mxfp4Blocks, Pool, Q8Order, Q8Rows, Tier};

/// Rows of a task: 49 KB of MXFP4 or 98 KB of Q8_0 at K = 2,880, 2 or 4 us of memory bandwidth.
const PANEL_ROWS: usize = 32;
/// Rows that no two tasks share: a panel of int8, and a cache line of the output.
const TASK_UNIT: usize = 16;
/// Rows of a task at most, where it reads them once: 256 rows of 2,880 are 783 KB of Q8_0.
const TASK_ROWS_MAX: usize = 256;
/// Tokens of one tile of panels.
const TOKENS_READ_ONCE: usize = 8;
/// Tokens from which on the AVX-512 tier unpacks MXFP4 for a tile: 151 GMAC/s with 4 tokens from memory, row by row 124; with
/// 3 it is 113 and 117 (two threads of Zen 4, 2026-11-24).
const MXFP4_TILE_TOKENS: usize = 4;
/// Rows whose sums are written together.
const ROWS_AT_A_TIME: usize = 32;
/// Tiles of tokens that go through the panels of a task together: 32 tokens are 115 KB at K = 2,880, and the panels
/// 104 KB, so both stay in a core's second cache.
#[cfg(target_arch = "x86_64")]
const TILES_AT_A_TIME: usize = 8;

/// Product of quantised activations with an MXFP4 matrix.
///
/// Shapes: `out [T, N]`, `x` T rows of K, `w.blocks [N, K / 32, 16]`, `w.scales [N, K / 32]`, `bias [N]`.
/// Panics: when a length does not fit `dims`.
pub fn linear_mxfp4_q8(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: Mxfp4<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    linear(pool, out, x, Weights::Mxfp4(w), bias, dims);
}

/// Product of quantised activations with an MXFP4 matrix whose scales stand in front of their codes: the bits of
/// [`linear_mxfp4_q8`] on the same matrix.
///
/// Shapes: `out [T, N]`, `x` T rows of K made for `w.order()`, `w` N rows of K, `bias [N]`.
/// Panics: when a length does not fit `dims`, or `x` was made for other weights.
pub fn linear_mxfp4_blocks_q8(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: Mxfp4Blocks<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    linear(pool, out, x, Weights::Blocks(w), bias, dims);
}

/// Product of quantised activations with a matrix in blocks of Q8_0: an f16 scale, then 32 int8.
///
/// Shapes: `out [T, N]`, `x` T rows of K made for Q8_0, `w [N, K / 32]`, `bias [N]`.
/// Panics: when a length does not fit `dims`, or `x` was made for other weights.
pub fn linear_q8_0(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: &[Q8_0Block],
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(w.len() * BLOCK_VALUES, dims.n * dims.k, "linear_q8_0: w is [N, K / 32]");
    linear(pool, out, x, Weights::Q8_0(w), bias, dims);
}

/// As [`linear_q8_0`], with the same numbers in panels: the same bits.
///
/// Panics: when a length does not fit `dims`, or `x` was made for other weights.
pub fn linear_q8_panels(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: Q8Panels<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(w.values.len(), dims.n * dims.k, "linear_q8_panels: w is [N, K]");
    assert_eq!(w.scales.len() * BLOCK_VALUES, dims.n * dims.k, "linear_q8_panels: w is [N, K / 32]");
    linear(pool, out, x, Weights::Panels(w), bias, dims);
}

/// The formats.
#[derive(Clone, Copy)]
enum Weights<'a> {
    Mxfp4(Mxfp4<'a>),
    Blocks(Mxfp4Blocks<'a>),
    Q8_0(&'a [Q8_0Block]),
    Panels(Q8Panels<'a>),
}

impl<'a> Weights<'a> {
    fn order(self) -> Q8Order {
        match self {
            Weights::Mxfp4(_) => Q8Order::Mxfp4,
            Weights::Blocks(w) => w.order(),
            Weights::Q8_0(_) | Weights::Panels(_) => Q8Order::Q8_0,
        }
    }

    /// What the sums are multiplied with in the end.
    fn factor(self) -> f32 {
        match self {
            Weights::Mxfp4(_) | Weights::Blocks(_) => 0.5,
            Weights::Q8_0(_) | Weights::Panels(_) => 1.0,
        }
    }

    fn rows(self, first: usize, rows: usize, num_blocks: usize) -> Self {
        let (start, len) = (first * num_blocks, rows * num_blocks);
        match self {
            Weights::Mxfp4(w) => Weights::Mxfp4(w.rows(first, rows, num_blocks)),
            Weights::Blocks(w) => Weights::Blocks(w.rows(first, rows, num_blocks)),
            Weights::Q8_0(blocks) => Weights::Q8_0(&blocks[start..][..len]),
            Weights::Panels(w) => Weights::Panels(w.rows(first, rows, num_blocks * BLOCK_VALUES)),
        }
    }

    /// Where they lie.
    #[cfg(target_arch = "x86_64")]
    fn memory(self) -> [&'a [u8]; 2] {
        match self {
            Weights::Mxfp4(w) => [w.blocks, w.scales],
            Weights::Blocks(w) => [w.even.as_flattened(), w.odd.as_flattened()],
            Weights::Q8_0(blocks) => [blocks.as_flattened(), &[]],
            Weights::Panels(w) => [w.values, bytemuck::cast_slice(w.scales)],
        }
    }

    /// The `place`-th of `rows` rows in the order in which they lie in memory.
    #[inline(always)]
    fn nth_in_memory(self, place: usize, rows: usize) -> usize {
        match self {
            Weights::Blocks(w) => w.nth_in_memory(place, rows),
            Weights::Mxfp4(_) | Weights::Q8_0(_) | Weights::Panels(_) => place,
        }
    }
}

fn linear(pool: &Pool, out: &mut [f32], x: &Q8Rows, w: Weights<'_>, bias: Option<&[f32]>, dims: LinearDims) {
    assert_eq!(out.len(), dims.t * dims.n, "linear_q8: out is [T, N]");
    assert_eq!((x.t(), x.k()), (dims.t, dims.k), "linear_q8: x is T rows of K");
    assert_eq!(x.order(), w.order(), "linear_q8: x is made for these weights");
    assert!(bias.is_none_or(|bias| bias.len() == dims.n), "linear_q8: bias is [N]");
    if out.is_empty() {
        return;
    }
    let num_tiles = if uses_tiles(pool.tier(), w, dims) { num_tile_blocks(x) } else { 0 };
    with_scratch(num_tiles, |tiles| {
        if !tiles.is_empty() {
            pack_tiles(pool, tiles, x);
        }
        by_task(pool, out, x, tiles, w, bias, dims);
    });
}

/// The product, with tokens packed in `tiles` where a tile takes them.
fn by_task(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    tiles: &[TileBlock],
    w: Weights<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    let out = SharedRows::new(out, dims.n);
    let num_blocks = dims.k / BLOCK_VALUES;
    let tasks = match tiles.is_empty() || reads_once(w, dims) {
        true => pool.tasks_of_rows(dims.n, TASK_UNIT, TASK_ROWS_MAX),
        false => RowTasks::units(dims.n, PANEL_ROWS),
    };
    pool.run(tasks.count(), |task| {
        let rows = tasks.rows(task);
        let (first, rows) = (rows.start, rows.len());
        // Threads take tasks in turn, so this is the likely next one of this thread.
        let next = tasks.rows(task + pool.threads());
        // What is read once is a stream that the processor fetches by itself.
        let rows_ahead = if reads_once(w, dims) { 0 } else { next.len() };
        let next = w.rows(next.start, rows_ahead, num_blocks);
        let (w, factor) = (w.rows(first, rows, num_blocks), w.factor());
        let bias = bias.map(|bias| &bias[first..][..rows]);
        let panel = Panel { out: &out, first, rows, num_blocks, w, factor, bias, next };
        match pool.tier() {
            Tier::Scalar => panel.scalar(x),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a pool carries only tiers that this processor supports.
            Tier::Avx2 => unsafe { panel.avx2(x, tiles) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Tier::Avx512Vnni => unsafe { panel.avx512(x, tiles) },
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512Vnni => unreachable!("not supported here"),
        }
    });
}

/// From some number of tokens on, unpacking rows for a tile is cheaper than going through them for each token. Panels are never unpacked.
fn uses_tiles(tier: Tier, w: Weights<'_>, dims: LinearDims) -> bool {
    match w {
        Weights::Panels(_) => tier == Tier::Avx512Vnni && dims.k > 0,
        Weights::Mxfp4(_) | Weights::Blocks(_) if tier == Tier::Avx512Vnni => {
            dims.t >= MXFP4_TILE_TOKENS && dims.k > 0
        }
        _ => tier != Tier::Scalar && dims.t >= 3 && dims.k > 0,
    }
}

/// Whether all tokens fit into one tile of panels that nobody unpacks.
fn reads_once(w: Weights<'_>, dims: LinearDims) -> bool {
    matches!(w, Weights::Panels(_)) && dims.t <= TOKENS_READ_ONCE
}

/// Some consecutive rows of the matrix, for all tokens.
struct Panel<'a> {
    out: &'a SharedRows<'a, f32>,
    first: usize,
    rows: usize,
    num_blocks: usize,
    /// The rows of this panel alone, as the bias.
    w: Weights<'a>,
    factor: f32,
    bias: Option<&'a [f32]>,
    /// What this thread will probably read after this panel, if anything.
    next: Weights<'a>,
}

impl Panel<'_> {
    /// Finishes the sums of token `t` for rows from `row` on.
    #[inline(always)]
    fn write(&self, t: usize, row: usize, sums: &[f32]) {
        // SAFETY: this panel alone writes its columns, one call at a time.
        let out = unsafe { self.out.part(t, self.first + row, sums.len()) };
        match self.bias {
            Some(bias) => {
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(&bias[row..]) {
                    *out = sum.mul_add(self.factor, *bias);
                }
            }
            None => {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum.mul_add(self.factor, 0.0);
                }
            }
        }
    }

    fn scalar(&self, x: &Q8Rows) {
        match self.w {
            Weights::Mxfp4(w) => self.by_row(x, |x, row| {
                let (blocks, scales) = w.row(row, self.num_blocks);
                dot_mxfp4(x, blocks.as_chunks().0.iter().zip(scales.iter().copied()))
            }),
            Weights::Blocks(w) => self.by_row(x, |x, row| {
                let blocks = w.row(row, self.num_blocks).iter();
                dot_mxfp4(x, blocks.map(|[scale, codes @ ..]| (codes, *scale)))
            }),
            Weights::Q8_0(w) => self.by_row(x, |x, row| {
                let blocks = self.q8_0_row(w, row).iter();
                dot_q8(x, blocks.map(|block| (q8_0_scale(block).to_f32(), q8_0_values(block))))
            }),
            Weights::Panels(w) => self.by_row(x, |x, row| dot_q8(x, w.row(row, self.num_blocks).into_iter())),
        }
    }

    /// One row after the other, each for all tokens while it is in the nearest cache.
    #[inline(always)]
    fn by_row(&self, x: &Q8Rows, dot: impl Fn(Q8Row<'_>, usize) -> f32) {
        for first in (0..self.rows).step_by(ROWS_AT_A_TIME) {
            let rows = first..self.rows.min(first + ROWS_AT_A_TIME);
            for t in 0..x.t() {
                self.rows_for([x.row(t)], t, rows.clone(), |row| row, |[x], row| [dot(x, row)]);
            }
        }
    }

    /// As `by_row`, with a few tokens at a time; `row(i)` is row i of the panel.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn by_row_for_many<R: avx512_mxfp4::Row>(&self, x: &Q8Rows, row: impl Fn(usize) -> R) {
        for first in (0..self.rows).step_by(ROWS_AT_A_TIME) {
            let rows = first..self.rows.min(first + ROWS_AT_A_TIME);
            for t in (0..x.t()).step_by(GEMV_TOKENS) {
                let rows = rows.clone();
                match x.t() - t {
                    1 => {
                        self.rows_for(x.rows_from(t), t, rows, &row, |[x], row| [avx512_mxfp4::gemv(x, row)])
                    }
                    2 => self.rows_for::<2, R>(x.rows_from(t), t, rows, &row, |x, row| {
                        avx512_mxfp4::gemv_many(x, row)
                    }),
                    _ => self.rows_for::<GEMV_TOKENS, R>(x.rows_from(t), t, rows, &row, |x, row| {
                        avx512_mxfp4::gemv_many(x, row)
                    }),
                }
            }
        }
    }

    /// Some rows for the tokens from `t` on.
    #[inline(always)]
    fn rows_for<const T: usize, R>(
        &self,
        x: [Q8Row<'_>; T],
        t: usize,
        rows: Range<usize>,
        row: impl Fn(usize) -> R,
        dots: impl Fn([Q8Row<'_>; T], R) -> [f32; T],
    ) {
        let mut sums = [[0.0; ROWS_AT_A_TIME]; T];
        for place in (0..rows.len()).map(|place| self.w.nth_in_memory(place, rows.len())) {
            for (sums, dot) in sums.iter_mut().zip(dots(x, row(rows.start + place))) {
                sums[place] = dot;
            }
        }
        for (token, sums) in (t..).zip(&sums) {
            self.write(token, rows.start, &sums[..rows.len()]);
        }
    }

    #[inline(always)]
    fn q8_0_row<'b>(&self, w: &'b [Q8_0Block], row: usize) -> &'b [Q8_0Block] {
        self.q8_0_rows(w, row..row + 1)
    }

    #[inline(always)]
    fn q8_0_rows<'b>(&self, w: &'b [Q8_0Block], rows: Range<usize>) -> &'b [Q8_0Block] {
        &w[rows.start * self.num_blocks..rows.end * self.num_blocks]
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2(&self, x: &Q8Rows, tiles: &[TileBlock]) {
        match self.w {
            Weights::Mxfp4(w) if tiles.is_empty() => {
                self.by_row(x, |x, row| avx2_q8::gemv(x, w.row(row, self.num_blocks)));
            }
            Weights::Blocks(w) if tiles.is_empty() => {
                self.by_row(x, |x, row| avx2_mxfp4_blocks::gemv(x, w.row(row, self.num_blocks)));
            }
            Weights::Q8_0(w) if tiles.is_empty() => {
                self.by_row(x, |x, row| avx2_q8_0::gemv(x, self.q8_0_row(w, row)));
            }
            Weights::Mxfp4(w) => self.by_tile(
                tiles,
                x.t(),
                TILE_TOKENS,
                |weights, scales, rows| {
                    avx2_q8::unpack(weights, scales, w.rows(rows.start, rows.len(), self.num_blocks));
                },
                |panel, x, rows, tokens, upcoming| {
                    self.tile_avx2::<false>(panel, x, rows, tokens, upcoming);
                },
            ),
            Weights::Blocks(w) => self.by_tile(
                tiles,
                x.t(),
                TILE_TOKENS,
                |weights, scales, rows| {
                    let row = |r| w.row(rows.start + r, self.num_blocks);
                    avx2_mxfp4_blocks::unpack(weights, scales, rows.len(), row);
                },
                |panel, x, rows, tokens, upcoming| {
                    self.tile_avx2::<false>(panel, x, rows, tokens, upcoming);
                },
            ),
            Weights::Q8_0(w) => self.by_tile(
                tiles,
                x.t(),
                TILE_TOKENS,
                |weights, scales, rows| {
                    avx2_q8_0::unpack(weights, scales, self.q8_0_rows(w, rows), false);
                },
                |panel, x, rows, tokens, upcoming| {
                    self.tile_avx2::<true>(panel, x, rows, tokens, upcoming);
                },
            ),
            // Nobody lays them out for this tier, and if somebody does, the numbers are right.
            Weights::Panels(_) => self.scalar(x),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn avx512(&self, x: &Q8Rows, tiles: &[TileBlock]) {
        match self.w {
            Weights::Mxfp4(w) if tiles.is_empty() => {
                self.by_row_for_many(x, |row| Published::new(w.row(row, self.num_blocks)));
            }
            Weights::Blocks(w) if tiles.is_empty() => {
                self.by_row_for_many(x, |row| Scattered::new(w.row(row, self.num_blocks)));
            }
            Weights::Q8_0(w) if tiles.is_empty() => {
                self.by_row(x, |x, row| avx512_q8_0::gemv(x, self.q8_0_row(w, row)));
            }
            Weights::Panels(w) => {
                let k = self.num_blocks * BLOCK_VALUES;
                let panels = w.values.chunks_exact(Q8_PANEL_ROWS * k);
                let panels = panels.zip(w.scales.chunks_exact(Q8_PANEL_ROWS * self.num_blocks));
                let panels: Vec<Q8Panel<'_, Q8_PANEL_ROWS, f16>> = panels
                    .map(|(weights, scales)| Q8Panel { weights, scales: scales.as_chunks().0 })
                    .collect();
                self.by_panel(&panels, tiles, x.t(), WIDE_TOKENS, |panel, x, rows, tokens, upcoming| {
                    self.tile_avx512(panel, x, rows, tokens, upcoming);
                });
            }
            Weights::Mxfp4(w) => self.by_tile(
                tiles,
                x.t(),
                WIDE_TOKENS,
                |weights, exponents, rows| {
                    avx512_unpack::unpack(
                        weights,
                        exponents,
                        w.rows(rows.start, rows.len(), self.num_blocks),
                    );
                },
                |panel, x, rows, tokens, upcoming| self.tile_avx512(panel, x, rows, tokens, upcoming),
            ),
            Weights::Blocks(w) => self.by_tile(
                tiles,
                x.t(),
                WIDE_TOKENS,
                |weights, exponents, rows| {
                    let row = |r| w.row(rows.start + r, self.num_blocks);
                    avx512_unpack::unpack_blocks(weights, exponents, rows.len(), row);
                },
                |panel, x, rows, tokens, upcoming| self.tile_avx512(panel, x, rows, tokens, upcoming),
            ),
            Weights::Q8_0(w) => self.by_tile::<_, f32>(
                tiles,
                x.t(),
                WIDE_TOKENS,
                |weights, scales, rows| {
                    avx2_q8_0::unpack(weights, scales, self.q8_0_rows(w, rows), true);
                },
                |panel, x, rows, tokens, upcoming| self.tile_avx512(panel, x, rows, tokens, upcoming),
            ),
        }
    }

    /// All rows unpacked once, `R` to a panel, and then as `by_panel`.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn by_tile<const R: usize, S: Scratch>(
        &self,
        tiles: &[TileBlock],
        t: usize,
        tile_tokens: usize,
        unpack: impl Fn(&mut [u8], &mut [[S; R]], Range<usize>),
        tile: impl Fn(&Q8Panel<'_, R, S>, &[TileBlock], Range<usize>, Range<usize>, &mut Upcoming),
    ) {
        let k = self.num_blocks * BLOCK_VALUES;
        let num_panels = self.rows.div_ceil(R);
        with_scratch(num_panels * R * k, |weights: &mut [u8]| {
            with_scratch(num_panels * R * self.num_blocks, |scales: &mut [S]| {
                let scales = scales.as_chunks_mut().0.chunks_exact_mut(self.num_blocks);
                let mut panels = Vec::with_capacity(num_panels);
                for (p, (weights, scales)) in weights.chunks_exact_mut(R * k).zip(scales).enumerate() {
                    unpack(weights, scales, p * R..self.rows.min((p + 1) * R));
                    panels.push(Q8Panel { weights, scales });
                }
                self.by_panel(&panels, tiles, t, tile_tokens, tile);
            });
        });
    }

    /// Up to `tile_tokens` at a time with every panel: `tile(panel, x, rows, tokens, upcoming)` makes the products of the
    /// panel's rows with packed tokens.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn by_panel<const R: usize, S>(
        &self,
        panels: &[Q8Panel<'_, R, S>],
        tiles: &[TileBlock],
        t: usize,
        tile_tokens: usize,
        tile: impl Fn(&Q8Panel<'_, R, S>, &[TileBlock], Range<usize>, Range<usize>, &mut Upcoming),
    ) {
        let num_parts = panels.len() * t.div_ceil(tile_tokens) * self.num_blocks;
        // The panel that will be unpacked next, on its way from memory while this one is multiplied.
        let mut upcoming = Upcoming::new(self.next.memory(), num_parts);
        for (i, tiles) in tiles.chunks(TILES_AT_A_TIME * self.num_blocks).enumerate() {
            for (p, panel) in panels.iter().enumerate() {
                let rows = p * R..self.rows.min((p + 1) * R);
                for (j, x) in tiles.chunks(tile_tokens / TILE_TOKENS * self.num_blocks).enumerate() {
                    let first = i * TILES_AT_A_TIME * TILE_TOKENS + j * tile_tokens;
                    let tokens = first..t.min(first + tile_tokens);
                    tile(panel, x, rows.clone(), tokens, &mut upcoming);
                }
            }
        }
    }

    /// A tile of eight rows; `SIGNED` as in `avx2_q8.rs`.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn tile_avx2<const SIGNED: bool>(
        &self,
        panel: &Q8Panel<'_, TILE_ROWS>,
        x: &[TileBlock],
        rows: Range<usize>,
        tokens: Range<usize>,
        upcoming: &mut Upcoming,
    ) {
        let sums = avx2_q8::products::<SIGNED>(panel, x, tokens.len(), upcoming);
        for (token, sums) in tokens.zip(&sums) {
            self.write(token, rows.start, &sums[..rows.len()]);
        }
    }

    /// A tile of sixteen rows.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn tile_avx512<S: Scale>(
        &self,
        panel: &Q8Panel<'_, WIDE_ROWS, S>,
        x: &[TileBlock],
        rows: Range<usize>,
        tokens: Range<usize>,
        upcoming: &mut Upcoming,
    ) {
        let mut bias = [0.0; WIDE_ROWS];
        if let Some(all) = self.bias {
            bias[..rows.len()].copy_from_slice(&all[rows.clone()]);
        }
        let finish = (self.factor, &bias);
        avx512_q8::products(panel, x, tokens.len(), finish, upcoming, |token| {
            // SAFETY: this panel alone writes its columns, one call at a time.
            unsafe { self.out.part(tokens.start + token, self.first + rows.start, rows.len()) }
        });
    }
}

/// Twice the product of one row of activations and one of weights, given as codes with a scale.
#[inline(always)]
fn dot_mxfp4<'a>(x: Q8Row<'_>, row: impl Iterator<Item = (&'a [u8; MXFP4_CODE_BYTES], u8)>) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (b, (codes, weight_scale)) in row.enumerate() {
        let scale = x.scales[b] * scale_value(weight_scale);
        lanes[b % LANES] = (mxfp4_sum(x, b, codes) as f32).mul_add(scale, lanes[b % LANES]);
    }
    tree(&lanes)
}

/// The sum of a block: where activations meet the low nibbles first, in either order of MXFP4.
fn mxfp4_sum(x: Q8Row<'_>, b: usize, block: &[u8; MXFP4_CODE_BYTES]) -> i32 {
    let first = Q8Order::Mxfp4.stored_at(b * BLOCK_VALUES);
    let (low, high) = (&x.values[first..][..16], &x.values[first + SECOND_HALVES..][..16]);
    let mut sum = 0;
    for ((byte, low), high) in block.iter().zip(low).zip(high) {
        sum += i32::from(*low) * i32::from(E2M1_DOUBLED[usize::from(byte & 15)]);
        sum += i32::from(*high) * i32::from(E2M1_DOUBLED[usize::from(byte >> 4)]);
    }
    sum
}

/// The product of one row of activations and one of weights.
fn dot_q8(x: Q8Row<'_>, blocks: impl Iterator<Item = (f32, [i8; BLOCK_VALUES])>) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (b, (scale, values)) in blocks.enumerate() {
        let scale = x.scales[b] * scale;
        let products = values.iter().zip(&x.values[b * BLOCK_VALUES..]);
        let sum: i32 = products.map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
        lanes[b % LANES] = (sum as f32).mul_add(scale, lanes[b % LANES]);
    }
    tree(&lanes)
}
