//! Products that add rows to what is there: `out [I, J] += a [I, S] * b [S, J]`.
//!
//! Entry points: [`add_product`] over a stored matrix, [`add_strips`] over rows that are laid out already.
//! Every output is one chain: it begins with what `out` holds and takes `a[i][s] * b[s][j]` by ascending s,
//! each fused. A chain that is cut goes on where it ended, so chunks of rows, micro-batches and blocks of the
//! cache change no bit, and neither do tiers and threads, because a task owns outputs and never a part of
//! their sums. All sums of backward passes over tokens or over outputs are of this kind.
//!
//! Rows of b are unpacked some columns at a time into strips of [`STRIP`] columns, which a tile reads one
//! after the other; no matrix is ever unpacked whole.

use std::ops::Range;

use crate::lanes::LANES;
use crate::pool::Pool;
use crate::products::float::Weights;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2_chained;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon_chained;
#[cfg(target_arch = "x86_64")]
use crate::tier::Avx2;
use crate::tier::Instructions;

/// Columns of a strip: two AVX2 registers.
pub(crate) const STRIP: usize = 2 * LANES;
/// Rows of the widest tile. With two registers of a strip it takes twelve accumulators.
pub(crate) const TILE_ROWS: usize = 6;
/// Steps of a chain that are taken at a time: a strip of 8 KB stays in the nearest cache.
const STEPS: usize = 128;
/// Columns of a task: with [`STEPS`] a panel of 64 KB; whole blocks of every form.
const TASK_COLUMNS: usize = 128;
/// Rows of a task at most: unpacking a panel is a few hundredths of multiplying it by so many.
const TASK_ROWS_MAX: usize = 192;
/// Rows of a task at least, where tasks are few: unpacking is then a tenth.
const TASK_ROWS_MIN: usize = 48;
/// Rows that are unpacked at a time.
const UNPACK_ROWS: usize = 8;

/// A matrix of which some columns of some rows can be read.
pub(crate) trait Columns: Weights {
    /// Columns of rows as f32, exactly. Both ends of `columns` are whole blocks.
    ///
    /// Shapes: `out [rows, columns]`; the matrix is `[N, k]`.
    fn unpack_columns(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize);

    /// [`Columns::unpack_columns`] with wider instructions.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn unpack_columns_avx2(
        self,
        _: Avx2,
        out: &mut [f32],
        rows: Range<usize>,
        columns: Range<usize>,
        k: usize,
    ) {
        self.unpack_columns(out, rows, columns, k);
    }

    /// [`Columns::unpack_columns`] with wider instructions.
    #[cfg(target_arch = "aarch64")]
    fn unpack_columns_neon(self, out: &mut [f32], rows: Range<usize>, columns: Range<usize>, k: usize) {
        self.unpack_columns(out, rows, columns, k);
    }
}

/// A factor `a [I, S]` in any layout: element (i, s) is `values[i * by_row + s * by_step]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) by_row: usize,
    pub(crate) by_step: usize,
}

impl<'a> Left<'a> {
    /// What begins at row `row` and step `step`.
    #[inline(always)]
    pub(crate) fn from(self, row: usize, step: usize) -> Left<'a> {
        Left { values: &self.values[row * self.by_row + step * self.by_step..], ..self }
    }
}

/// The sizes of a product `out [I, J] += a [I, S] * b [S, J]`.
#[derive(Clone, Copy)]
pub(crate) struct ChainDims {
    /// I
    pub(crate) rows: usize,
    /// J
    pub(crate) columns: usize,
    /// S
    pub(crate) steps: usize,
}

/// Adds a product with a stored matrix.
///
/// Shapes: `out [I, J]`, `a [I, S]`, `b [S, J]`.
/// Panics: when a length does not fit `dims`.
pub(crate) fn add_product<B: Columns>(pool: &Pool, out: &mut [f32], a: Left<'_>, b: B, dims: ChainDims) {
    b.assert_shape(dims.steps, dims.columns);
    assert_eq!(out.len(), dims.rows * dims.columns, "add_product: out is [I, J]");
    assert_eq!(a.values.len(), dims.rows * dims.steps, "add_product: a is [I, S]");
    if out.is_empty() {
        return;
    }
    let out = SharedRows::new(out, dims.columns);
    let column_tasks = dims.columns.div_ceil(TASK_COLUMNS);
    let tiles = dims.rows.div_ceil(TILE_ROWS);
    let row_tasks =
        pool.tasks_beside(column_tasks, tiles, TASK_ROWS_MIN / TILE_ROWS, TASK_ROWS_MAX / TILE_ROWS);
    pool.run(row_tasks.count() * column_tasks, |task| {
        let (tiles, first) =
            (row_tasks.rows(task % row_tasks.count()), task / row_tasks.count() * TASK_COLUMNS);
        let block = Block {
            out: &out,
            rows: tiles.start * TILE_ROWS..dims.rows.min(tiles.end * TILE_ROWS),
            columns: first..dims.columns.min(first + TASK_COLUMNS),
        };
        add_to_block(pool.instructions(), &block, a, b, dims);
    });
}

/// Outputs that one caller alone writes.
pub(crate) struct Block<'a> {
    pub(crate) out: &'a SharedRows<'a, f32>,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

fn add_to_block<B: Columns>(
    instructions: Instructions,
    block: &Block<'_>,
    a: Left<'_>,
    b: B,
    dims: ChainDims,
) {
    let num_strips = block.columns.len().div_ceil(STRIP);
    let packed_left = if a.by_step == 1 { 0 } else { block.rows.len().next_multiple_of(TILE_ROWS) * STEPS };
    let (panel_len, rows_len) = (num_strips * STRIP * STEPS, UNPACK_ROWS * block.columns.len());
    with_scratch(panel_len + rows_len + packed_left, |scratch: &mut [f32]| {
        let (panel, scratch) = scratch.split_at_mut(panel_len);
        let (rows, left) = scratch.split_at_mut(rows_len);
        let panel = panel.as_chunks_mut::<STRIP>().0;
        for first in (0..dims.steps).step_by(STEPS) {
            let steps = first..dims.steps.min(first + STEPS);
            fill_panel(instructions, panel, rows, b, (steps.clone(), block.columns.clone(), dims.columns));
            let strips = Strips { values: panel, stride: STEPS, steps: steps.len() };
            let a = a.from(block.rows.start, first);
            if a.by_step == 1 {
                add_strips(instructions, block, a, strips);
            } else {
                pack_left(left, a, block.rows.len(), steps.len());
                for (i, left) in left.chunks_exact(TILE_ROWS * STEPS).enumerate() {
                    let start = block.rows.start + i * TILE_ROWS;
                    let rows = start..block.rows.end.min(start + TILE_ROWS);
                    let a = Left { values: left, by_row: 1, by_step: TILE_ROWS };
                    add_strips(
                        instructions,
                        &Block { rows, columns: block.columns.clone(), ..*block },
                        a,
                        strips,
                    );
                }
            }
        }
    });
}

/// Some steps of `a` tile by tile: `[tiles, STEPS, TILE_ROWS]`. Rows beyond the last are left as they are.
fn pack_left(left: &mut [f32], a: Left<'_>, rows: usize, steps: usize) {
    for (i, left) in left.chunks_exact_mut(TILE_ROWS * STEPS).enumerate() {
        let first = i * TILE_ROWS;
        let tile = TILE_ROWS.min(rows - first);
        for (step, left) in left.as_chunks_mut::<TILE_ROWS>().0[..steps].iter_mut().enumerate() {
            let a = a.from(first, step);
            match a.values.first_chunk() {
                Some(values) if a.by_row == 1 && tile == TILE_ROWS => *left = *values,
                _ => left[..tile].iter_mut().enumerate().for_each(|(r, left)| *left = a.values[r * a.by_row]),
            }
        }
    }
}

/// Unpacks some columns of some rows of a matrix of `k` columns into strips.
///
/// Shapes: `panel [strips, STEPS, STRIP]`, `rows [UNPACK_ROWS, columns]` (scratch).
fn fill_panel<B: Columns>(
    instructions: Instructions,
    panel: &mut [[f32; STRIP]],
    rows: &mut [f32],
    b: B,
    (steps, columns, k): (Range<usize>, Range<usize>, usize),
) {
    let width = columns.len();
    for first in steps.clone().step_by(UNPACK_ROWS) {
        let part = first..steps.end.min(first + UNPACK_ROWS);
        let rows = &mut rows[..part.len() * width];
        unpack(instructions, rows, b, part, (columns.clone(), k));
        for (row, values) in rows.chunks_exact(width).enumerate() {
            let place = first - steps.start + row;
            let (whole, rest) = values.as_chunks::<STRIP>();
            for (strip, values) in whole.iter().enumerate() {
                panel[strip * STEPS + place] = *values;
            }
            if !rest.is_empty() {
                let last = &mut panel[whole.len() * STEPS + place];
                *last = [0.0; STRIP];
                last[..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

#[inline]
fn unpack<B: Columns>(
    instructions: Instructions,
    out: &mut [f32],
    b: B,
    rows: Range<usize>,
    (columns, k): (Range<usize>, usize),
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = instructions.avx2() {
        #[target_feature(enable = "avx2,fma")]
        fn wide<B: Columns>(
            avx2: Avx2,
            out: &mut [f32],
            b: B,
            rows: Range<usize>,
            columns: Range<usize>,
            k: usize,
        ) {
            b.unpack_columns_avx2(avx2, out, rows, columns, k);
        }
        // SAFETY: the processor has the features, of which the token is the proof.
        return unsafe { wide(avx2, out, b, rows, columns, k) };
    }
    #[cfg(target_arch = "aarch64")]
    if instructions.neon().is_some() {
        return b.unpack_columns_neon(out, rows, columns, k);
    }
    let _ = instructions;
    b.unpack_columns(out, rows, columns, k);
}

/// Rows of b, strip after strip: row `s` of strip `n` is `values[n * stride + s]`.
#[derive(Clone, Copy)]
pub(crate) struct Strips<'a> {
    pub(crate) values: &'a [[f32; STRIP]],
    pub(crate) stride: usize,
    /// S
    pub(crate) steps: usize,
}

/// Adds the product of `a` and strips to a block of outputs, whose columns are those of the strips.
///
/// Panics: when `a` or the strips are too short.
pub(crate) fn add_strips(instructions: Instructions, block: &Block<'_>, a: Left<'_>, b: Strips<'_>) {
    if b.steps == 0 {
        return;
    }
    for (n, first) in block.columns.clone().step_by(STRIP).enumerate() {
        let columns = first..block.columns.end.min(first + STRIP);
        let strip = &b.values[n * b.stride..][..b.steps];
        for first in block.rows.clone().step_by(TILE_ROWS) {
            let rows = first..block.rows.end.min(first + TILE_ROWS);
            let tile = Block { out: block.out, columns: columns.clone(), rows };
            let a = a.from(first - block.rows.start, 0);
            match tile.rows.len() {
                6 => add_tile::<6>(instructions, &tile, a, strip),
                5 => add_tile::<5>(instructions, &tile, a, strip),
                4 => add_tile::<4>(instructions, &tile, a, strip),
                3 => add_tile::<3>(instructions, &tile, a, strip),
                2 => add_tile::<2>(instructions, &tile, a, strip),
                _ => add_tile::<1>(instructions, &tile, a, strip),
            }
        }
    }
}

/// Adds to up to [`STRIP`] columns of R rows.
fn add_tile<const R: usize>(
    instructions: Instructions,
    tile: &Block<'_>,
    a: Left<'_>,
    strip: &[[f32; STRIP]],
) {
    let width = tile.columns.len();
    // SAFETY: the caller alone writes this block.
    let mut rows: [&mut [f32]; R] =
        std::array::from_fn(|r| unsafe { tile.out.part(tile.rows.start + r, tile.columns.start, width) });
    let mut sums = [[0.0; STRIP]; R];
    for (sums, row) in sums.iter_mut().zip(&rows) {
        // Of a known length, a copy is two registers and not a call.
        match row.first_chunk() {
            Some(row) => *sums = *row,
            None => sums[..width].copy_from_slice(row),
        }
    }
    add_to_sums(instructions, &mut sums, (a, strip), width);
    for (sums, row) in sums.iter().zip(&mut rows) {
        match row.first_chunk_mut() {
            Some(row) => *row = *sums,
            None => row.copy_from_slice(&sums[..width]),
        }
    }
}

/// Of the sums, those of the first `width` columns count.
#[inline(always)]
fn add_to_sums<const R: usize>(
    instructions: Instructions,
    sums: &mut [[f32; STRIP]; R],
    (a, strip): (Left<'_>, &[[f32; STRIP]]),
    width: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if instructions.avx2().is_some() {
        let layout = (a.by_row, a.by_step);
        if width <= LANES {
            // SAFETY: the processor has the features, of which the value is the proof.
            return unsafe { avx2_chained::add::<R, 1>(sums, a.values, layout, strip) };
        }
        // SAFETY: as above.
        return unsafe { avx2_chained::add::<R, 2>(sums, a.values, layout, strip) };
    }
    #[cfg(target_arch = "aarch64")]
    if instructions.neon().is_some() {
        // SAFETY: the processor has the features, of which the value is the proof.
        return unsafe { neon_chained::add::<R>(sums, a.values, (a.by_row, a.by_step), strip) };
    }
    let _ = (instructions, width);
    for (step, row) in strip.iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = a.values[r * a.by_row + step * a.by_step];
            for (sum, b) in sums.iter_mut().zip(row) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
}
