//! Products of int8 activations with a matrix of small integers.
//!
//! Entry point: [`product`]. One order of summation for one token and many, and for every tier: inside a
//! block of 32 the sum of (weight as an integer) times (int8 activation, with the middle of its block where
//! it has one) is an integer, exact in any order; block `b` goes to lane `b % 8`, a lane adds `sum *
//! (activation scale * weight scale)` in ascending order with fused multiply-add; the eight lanes are folded
//! by the tree of [`crate::lanes`]; the result is multiplied by [`Int8Weights::FACTOR`] (half, where the
//! integers are twice the weights), and the bias added in the same fused step.
//!
//! Why lanes by block: a decode kernel reads eight consecutive blocks of a row and gets their sums in one
//! register, so scaling costs once per 256 weights; a tile kernel walks the blocks of one lane after the
//! other and keeps a single accumulator per output. Neither pays for sharing the other's order.
//!
//! How a form reads its blocks is its own business ([`Int8Weights`]); here is what all share: the cut into
//! tasks, the walk over rows, tiles and panels, and the last step of a sum.

use std::ops::Range;

use gptoss_formats::BLOCK_VALUES;

use crate::lanes::{LANES, tree};
use crate::pool::Pool;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::prefetch::StreamPrefetch;
use crate::products::float::{LinearDims, Weights};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::q8::TILE_TOKENS;
use crate::q8::{Q8Order, Q8Row, Q8Rows, TileBlock, num_tile_blocks, pack_tiles};
use crate::rows::{RowTasks, SharedRows};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::scratch::Scratch;
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_q8::{self, TILE_ROWS};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_mxfp4::{self, GEMV_TOKENS};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512_q8::{self, Scale, WIDE_ROWS};
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_q8;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::panel::Q8Panel;
use crate::tier::Instructions;
#[cfg(target_arch = "aarch64")]
use crate::tier::Neon;
#[cfg(target_arch = "x86_64")]
use crate::tier::{Avx2, Avx512};

/// Rows of a task: 49 KB of MXFP4 or 98 KB of Q8_0 at K = 2,880, 2 or 4 us of memory bandwidth.
const PANEL_ROWS: usize = 32;
/// Rows that no two tasks share: a panel of int8, and a cache line of the output.
const TASK_UNIT: usize = 16;
/// Rows of a task at most, where it reads them once: 256 rows of 2,880 are 783 KB of Q8_0.
const TASK_ROWS_MAX: usize = 256;
/// Rows whose sums are written together.
const ROWS_AT_A_TIME: usize = 32;
/// Tiles of tokens that go through the panels of a task together: 32 tokens are 115 KB at K = 2,880, and the
/// panels 104 KB, so both stay in a core's second cache.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const TILES_AT_A_TIME: usize = 8;

/// A matrix that int8 activations can be multiplied with. A new form brings the methods without a body; the
/// others are there to be faster.
pub(crate) trait Int8Weights: Weights {
    /// What the sums are multiplied with in the end.
    const FACTOR: f32;
    /// Bytes of a block of a row that is unpacked for tiles.
    const UNPACKED_BYTES: usize = BLOCK_VALUES;

    /// The order that activations have for it.
    fn order(self) -> Q8Order;

    /// Where it lies.
    fn memory(&self) -> [&[u8]; 2];

    /// The sum over a row of `num_blocks` blocks, not yet times [`Int8Weights::FACTOR`].
    fn dot(self, x: Q8Row<'_>, row: usize, num_blocks: usize) -> f32;

    /// The `place`-th of `rows` rows in the order in which they lie in memory.
    #[inline(always)]
    fn nth_in_memory(self, place: usize, _rows: usize) -> usize {
        place
    }

    /// From how many tokens on activations are packed in tiles: from then on, unpacking rows for a tile is
    /// cheaper than going through them for each token.
    fn tile_tokens(_: Instructions) -> Option<usize> {
        None
    }

    /// Whether a task reads its rows once for so many tokens, as a stream that the processor fetches by
    /// itself.
    fn is_read_once(_tokens: usize) -> bool {
        false
    }

    /// The products of a panel; `tiles` are empty where none are packed.
    #[cfg(target_arch = "x86_64")]
    fn multiply_avx2(_: Avx2, panel: &Panel<'_, Self>, x: &Q8Rows, _tiles: &[TileBlock]) {
        panel.scalar(x);
    }

    /// As [`Int8Weights::multiply_avx2`].
    #[cfg(target_arch = "x86_64")]
    fn multiply_avx512(token: Avx512, panel: &Panel<'_, Self>, x: &Q8Rows, tiles: &[TileBlock]) {
        Self::multiply_avx2(token.avx2(), panel, x, tiles);
    }

    /// The products of a panel; `tiles` are empty where none are packed.
    #[cfg(target_arch = "aarch64")]
    fn multiply_neon(_: Neon, panel: &Panel<'_, Self>, x: &Q8Rows, _tiles: &[TileBlock]) {
        panel.scalar(x);
    }
}

/// Product of every token.
///
/// Shapes: `out [T, N]`, `x` T rows of K made for `w`, `bias [N]`.
/// Panics: when a length does not fit `dims`, or `x` was made for other weights.
pub(crate) fn product<W: Int8Weights>(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    w: W,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    w.assert_shape(dims.n, dims.k);
    assert_eq!(out.len(), dims.t * dims.n, "linear: out is [T, N]");
    assert_eq!((x.t(), x.k()), (dims.t, dims.k), "linear: x is T rows of K");
    assert_eq!(x.order(), w.order(), "linear: x is made for these weights");
    assert!(bias.is_none_or(|bias| bias.len() == dims.n), "linear: bias is [N]");
    if out.is_empty() {
        return;
    }
    let uses_tiles = dims.k > 0 && W::tile_tokens(pool.instructions()).is_some_and(|least| dims.t >= least);
    with_scratch(if uses_tiles { num_tile_blocks(x) } else { 0 }, |tiles| {
        if !tiles.is_empty() {
            pack_tiles(pool, tiles, x);
        }
        by_task(pool, out, x, tiles, w, bias, dims);
    });
}

/// The product, with tokens packed in `tiles` where a tile takes them.
fn by_task<W: Int8Weights>(
    pool: &Pool,
    out: &mut [f32],
    x: &Q8Rows,
    tiles: &[TileBlock],
    w: W,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    let out = SharedRows::new(out, dims.n);
    let is_read_once = W::is_read_once(dims.t);
    let tasks = match tiles.is_empty() || is_read_once {
        true => pool.tasks_of_rows(dims.n, TASK_UNIT, TASK_ROWS_MAX),
        false => RowTasks::units(dims.n, PANEL_ROWS),
    };
    pool.run(tasks.count(), |task| {
        let rows = tasks.rows(task);
        let (first, rows) = (rows.start, rows.len());
        // Threads take tasks in turn, so this is the likely next one of this thread.
        let next = tasks.rows(task + pool.threads());
        let rows_ahead = if is_read_once { 0 } else { next.len() };
        let next = w.rows(next.start, rows_ahead, dims.k);
        let (w, num_blocks) = (w.rows(first, rows, dims.k), dims.k / BLOCK_VALUES);
        let bias = bias.map(|bias| &bias[first..][..rows]);
        let panel = Panel { out: &out, first, rows, num_blocks, w, bias, next };
        panel.multiply(pool.instructions(), x, tiles);
    });
}

/// Some consecutive rows of the matrix, for all tokens.
pub(crate) struct Panel<'a, W> {
    out: &'a SharedRows<'a, f32>,
    first: usize,
    rows: usize,
    pub(crate) num_blocks: usize,
    /// The rows of this panel alone, as the bias.
    pub(crate) w: W,
    bias: Option<&'a [f32]>,
    /// What this thread will probably read after this panel, if anything.
    next: W,
}

impl<W: Int8Weights> Panel<'_, W> {
    fn multiply(&self, instructions: Instructions, x: &Q8Rows, tiles: &[TileBlock]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = instructions.avx512() {
            return W::multiply_avx512(avx512, self, x, tiles);
        } else if let Some(avx2) = instructions.avx2() {
            return W::multiply_avx2(avx2, self, x, tiles);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(neon) = instructions.neon() {
            return W::multiply_neon(neon, self, x, tiles);
        }
        let _ = (instructions, tiles, &self.next);
        self.scalar(x);
    }

    /// Finishes the sums of token `t` for rows from `row` on.
    #[inline(always)]
    fn write(&self, t: usize, row: usize, sums: &[f32]) {
        // SAFETY: this panel alone writes its columns, one call at a time.
        let out = unsafe { self.out.part(t, self.first + row, sums.len()) };
        match self.bias {
            Some(bias) => {
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(&bias[row..]) {
                    *out = sum.mul_add(W::FACTOR, *bias);
                }
            }
            None => {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum.mul_add(W::FACTOR, 0.0);
                }
            }
        }
    }

    /// The reference.
    pub(crate) fn scalar(&self, x: &Q8Rows) {
        self.by_row(x, |x, row| self.w.dot(x, row, self.num_blocks));
    }

    /// One row after the other, each for all tokens while it is in the nearest cache.
    #[inline(always)]
    pub(crate) fn by_row(&self, x: &Q8Rows, dot: impl Fn(Q8Row<'_>, usize) -> f32) {
        for first in (0..self.rows).step_by(ROWS_AT_A_TIME) {
            let rows = first..self.rows.min(first + ROWS_AT_A_TIME);
            for t in 0..x.t() {
                self.rows_for([x.row(t)], t, rows.clone(), |row| row, |[x], row| [dot(x, row)]);
            }
        }
    }

    /// As `by_row`, with a few tokens at a time; `row(i)` is row i of the panel.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    pub(crate) fn by_row_for_many<R: avx512_mxfp4::Row>(&self, x: &Q8Rows, row: impl Fn(usize) -> R) {
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

    /// All rows unpacked once, `R` to a panel, and then as `by_panel`.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(crate) fn by_tile<const R: usize, S: Scratch>(
        &self,
        tiles: &[TileBlock],
        t: usize,
        tile_tokens: usize,
        unpack: impl Fn(&mut [u8], &mut [[S; R]], Range<usize>),
        tile: impl Fn(&Q8Panel<'_, R, S>, &[TileBlock], Range<usize>, Range<usize>, &mut StreamPrefetch),
    ) {
        let panel_bytes = R * self.num_blocks * W::UNPACKED_BYTES;
        let num_panels = self.rows.div_ceil(R);
        with_scratch(num_panels * panel_bytes, |weights: &mut [u8]| {
            with_scratch(num_panels * R * self.num_blocks, |scales: &mut [S]| {
                let scales: &mut [[S; R]] = scales.as_chunks_mut().0;
                let unpacked = weights.chunks_exact_mut(panel_bytes);
                let unpacked = unpacked.zip(scales.chunks_exact_mut(self.num_blocks));
                for (p, (weights, scales)) in unpacked.enumerate() {
                    unpack(weights, scales, p * R..self.rows.min((p + 1) * R));
                }
                let panels = weights.chunks_exact(panel_bytes).zip(scales.chunks_exact(self.num_blocks));
                let panels = panels.map(|(weights, scales)| Q8Panel { weights, scales });
                self.by_panel(panels, tiles, t, tile_tokens, tile);
            });
        });
    }

    /// Up to `tile_tokens` at a time with every panel: `tile(panel, x, rows, tokens, prefetch)` makes the
    /// products of the panel's rows with packed tokens.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(crate) fn by_panel<'p, const R: usize, S: 'p>(
        &self,
        panels: impl ExactSizeIterator<Item = Q8Panel<'p, R, S>> + Clone,
        tiles: &[TileBlock],
        t: usize,
        tile_tokens: usize,
        tile: impl Fn(&Q8Panel<'_, R, S>, &[TileBlock], Range<usize>, Range<usize>, &mut StreamPrefetch),
    ) {
        let num_parts = panels.len() * t.div_ceil(tile_tokens) * self.num_blocks;
        // The panel that will be unpacked next, on its way from memory while this one is multiplied.
        let mut prefetch = StreamPrefetch::new(self.next.memory(), num_parts);
        for (i, tiles) in tiles.chunks(TILES_AT_A_TIME * self.num_blocks).enumerate() {
            for (p, panel) in panels.clone().enumerate() {
                let rows = p * R..self.rows.min((p + 1) * R);
                for (j, x) in tiles.chunks(tile_tokens / TILE_TOKENS * self.num_blocks).enumerate() {
                    let first = i * TILES_AT_A_TIME * TILE_TOKENS + j * tile_tokens;
                    let tokens = first..t.min(first + tile_tokens);
                    tile(&panel, x, rows.clone(), tokens, &mut prefetch);
                }
            }
        }
    }

    /// A tile of eight rows; `SIGNED` as in `avx2_q8.rs`.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(crate) fn tile_avx2<const SIGNED: bool>(
        &self,
        panel: &Q8Panel<'_, TILE_ROWS>,
        x: &[TileBlock],
        rows: Range<usize>,
        tokens: Range<usize>,
        prefetch: &mut StreamPrefetch,
    ) {
        let sums = avx2_q8::products::<SIGNED>(panel, x, tokens.len(), prefetch);
        for (token, sums) in tokens.zip(&sums) {
            self.write(token, rows.start, &sums[..rows.len()]);
        }
    }

    /// A tile of eight rows; `FOURS` as in `neon_q8.rs`.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(crate) fn tile_neon<const FOURS: usize>(
        &self,
        panel: &Q8Panel<'_, { neon_q8::TILE_ROWS }>,
        x: &[TileBlock],
        rows: Range<usize>,
        tokens: Range<usize>,
        prefetch: &mut StreamPrefetch,
    ) {
        let sums = neon_q8::products::<FOURS>(panel, x, prefetch);
        for (token, sums) in tokens.zip(&sums) {
            self.write(token, rows.start, &sums[..rows.len()]);
        }
    }

    /// A tile of sixteen rows.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    pub(crate) fn tile_avx512<S: Scale>(
        &self,
        panel: &Q8Panel<'_, WIDE_ROWS, S>,
        x: &[TileBlock],
        rows: Range<usize>,
        tokens: Range<usize>,
        prefetch: &mut StreamPrefetch,
    ) {
        let mut bias = [0.0; WIDE_ROWS];
        if let Some(all) = self.bias {
            bias[..rows.len()].copy_from_slice(&all[rows.clone()]);
        }
        avx512_q8::products(panel, x, tokens.len(), (W::FACTOR, &bias), prefetch, |token| {
            // SAFETY: this panel alone writes its columns, one call at a time.
            unsafe { self.out.part(tokens.start + token, self.first + rows.start, rows.len()) }
        });
    }
}

/// The sum over a row, of blocks whose integer sum with block `b` of the activations is `sum(b)`.
#[inline(always)]
pub(crate) fn dot_blocks(x: Q8Row<'_>, blocks: impl Iterator<Item = (f32, i32)>) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (b, (weight_scale, sum)) in blocks.enumerate() {
        let scale = x.scales[b] * weight_scale;
        lanes[b % LANES] = (sum as f32).mul_add(scale, lanes[b % LANES]);
    }
    tree(&lanes)
}

/// The integer sum of a block of int8 weights with block `b` of activations in the order of the columns.
#[inline(always)]
pub(crate) fn int8_sum(x: Q8Row<'_>, b: usize, values: &[i8; BLOCK_VALUES]) -> i32 {
    let products = values.iter().zip(&x.values[b * BLOCK_VALUES..]);
    products.map(|(w, x)| i32::from(*w) * i32::from(*x)).sum()
}
