//! Activations as int8 with one scale per 32 values, and for MXFP4 a middle.
//!
//! Entry points: [`quantize_q8`], [`quantize_q8_parts`], [`gather_q8`]. Per block of 32: the scale is the
//! largest magnitude over 127, and each value is rounded to the nearest multiple, ties to even. One scale per
//! row would lose a digit on the outliers of gpt-oss (5 % error against 1 %), and f16 scales overflow on the
//! large model, so: f32 scales, blocks of 32.
//!
//! For MXFP4 the scale is half the way from the block's least value to its greatest, zero always between
//! them, over 126.25, and the middle of that way, in whole steps, is kept beside the values and not in them:
//! of a block with one outlier the steps are half as large. Sums of products need the sum of the weights
//! then, which are small enough to add up on the way; those of int8 are not, and their blocks have no middle
//! (decision 0009 has what either costs and brings).
//!
//! Blocks that hold NaN or an infinity get a NaN scale and zero values: the product is then NaN, as it would
//! be in f32. Blocks whose largest magnitude is under 2^-100 are taken as zero.
//!
//! A row is padded with zero blocks to groups of 8 blocks, in the order of [`Q8Order`]. Beside the scales
//! stands the sum of each block's values, the middle in each, times what kernels add to the weights to make
//! them unsigned: 12 for doubled E2M1, 128 for int8. [`TileBlock`]s are rows packed for many tokens.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use gptoss_formats::{BLOCK_VALUES, largest_magnitude, round_even};

use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::scratch::{Scratch, with_scratch};
use crate::tier::{Instructions, per_tier};

/// Blocks of a group: one per lane of the f32 sum over blocks.
pub(crate) const GROUP_BLOCKS: usize = 8;
/// Values of a group.
pub(crate) const GROUP_VALUES: usize = GROUP_BLOCKS * BLOCK_VALUES;
/// What kernels add to doubled E2M1 weights to make them unsigned; see `corrections`.
pub(crate) const OFFSET: i8 = 12;
/// What kernels add to int8 weights to make them unsigned, by flipping their highest bit.
const OFFSET_INT8: i32 = 128;
/// How far behind the values that low nibbles meet those of the high nibbles stand, in either order of MXFP4.
pub(crate) const SECOND_HALVES: usize = 64;
/// Fours of bytes that a [`TileBlock`] has for a token.
pub(crate) const TILE_FOURS: usize = BLOCK_VALUES / 4 + 1;
/// Bytes of a block of a row of MXFP4 that is unpacked for tiles: its values, and by fours the sums of their
/// bytes.
pub(crate) const BLOCK_WITH_SUMS: usize = 4 * TILE_FOURS;
/// Tokens of a [`TileBlock`].
pub(crate) const TILE_TOKENS: usize = 4;
/// Steps from the middle of a block to either end: with both roundings a value keeps to 127.
const STEPS_ABOUT_MIDDLE: f32 = 126.25;
/// Blocks with a smaller largest magnitude are zero: 2^-100, far from where `127 / largest` overflows.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);

/// The weights that quantized rows are made for, and so the order in which they store their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Q8Order {
    /// MXFP4 as published. By fours of blocks: the 16 even elements of each, then the odd elements likewise,
    /// because the low nibbles of 64 bytes are the even elements of four blocks.
    #[default]
    Mxfp4,
    /// MXFP4 as GGUF files have it. By fours of blocks: the first 16 elements of each, then their last 16,
    /// because the low nibbles of a block are its first half.
    Mxfp4Halves,
    /// Q8_0. In the order of the columns.
    Q8_0,
}

/// Quantized rows of activations, T rows of K values.
#[derive(Clone, Debug, Default)]
pub struct Q8Rows {
    order: Q8Order,
    k: usize,
    t: usize,
    /// `[T, blocks_padded * 32]`, in `order`.
    values: Vec<i8>,
    /// `[T, blocks_padded]`
    scales: Vec<f32>,
    /// `[T, blocks_padded]`, what is to be added to each value; zero for int8 weights.
    middles: Vec<i8>,
    /// `[T, blocks_padded]`, the sum of a block's values with the middle in each, times the offset of the
    /// weights.
    corrections: Vec<i32>,
}

impl Q8Rows {
    /// No rows yet, for products with MXFP4; [`quantize_q8`] fills it and keeps its memory between calls.
    pub fn new() -> Q8Rows {
        Q8Rows::default()
    }

    /// As [`Q8Rows::new`], for products with the weights of `order`.
    pub fn for_weights(order: Q8Order) -> Q8Rows {
        Q8Rows { order, ..Q8Rows::default() }
    }

    /// Makes these rows ones for the weights of `order`, and empties them.
    pub fn reset_for(&mut self, order: Q8Order) {
        (self.order, self.t) = (order, 0);
    }

    /// The weights that these rows can be multiplied with.
    pub fn order(&self) -> Q8Order {
        self.order
    }

    /// Number of rows.
    pub fn t(&self) -> usize {
        self.t
    }

    /// Values per row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Room for T rows of K values. What stands there is arbitrary, padding included.
    fn make_room(&mut self, t: usize, k: usize) {
        (self.t, self.k) = (t, k);
        let blocks = t * padded_blocks(k);
        resize(&mut self.values, blocks * BLOCK_VALUES);
        resize(&mut self.scales, blocks);
        resize(&mut self.middles, blocks);
        resize(&mut self.corrections, blocks);
    }

    /// Bytes that are reserved for the rows.
    pub fn num_bytes(&self) -> usize {
        self.values.capacity()
            + self.middles.capacity()
            + (self.scales.capacity() + self.corrections.capacity()) * size_of::<f32>()
    }

    /// The value at column `k` of row `t`, its block's middle in it. Units: the block's scale.
    pub fn value(&self, t: usize, k: usize) -> i32 {
        let row = self.row(t);
        i32::from(row.values[self.order.stored_at(k)]) + i32::from(row.middles[k / BLOCK_VALUES])
    }

    /// The scales of row `t`, `[K / 32]`.
    pub fn scales(&self, t: usize) -> &[f32] {
        &self.row(t).scales[..self.k / BLOCK_VALUES]
    }

    /// Writes row `t` back as f32.
    ///
    /// Shapes: `out [K]`.
    /// Panics: when the length does not fit.
    pub fn dequantize(&self, out: &mut [f32], t: usize) {
        assert_eq!(out.len(), self.k, "dequantize: out is [K]");
        for (k, out) in out.iter_mut().enumerate() {
            *out = self.value(t, k) as f32 * self.scales(t)[k / BLOCK_VALUES];
        }
    }

    /// `T` rows from `t` on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn rows_from<const T: usize>(&self, t: usize) -> [Q8Row<'_>; T] {
        std::array::from_fn(|i| self.row(t + i))
    }

    /// Row `t` in its stored form, padding included.
    #[inline(always)]
    pub(crate) fn row(&self, t: usize) -> Q8Row<'_> {
        let blocks = padded_blocks(self.k);
        Q8Row {
            values: &self.values[t * blocks * BLOCK_VALUES..][..blocks * BLOCK_VALUES],
            scales: &self.scales[t * blocks..][..blocks],
            middles: &self.middles[t * blocks..][..blocks],
            corrections: &self.corrections[t * blocks..][..blocks],
        }
    }
}

/// Makes a buffer `len` long and reserves no more than that.
fn resize<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) {
    buffer.reserve_exact(len.saturating_sub(buffer.len()));
    buffer.resize(len, T::default());
}

/// One stored row; all of whole groups.
#[derive(Clone, Copy)]
pub(crate) struct Q8Row<'a> {
    pub(crate) values: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) middles: &'a [i8],
    pub(crate) corrections: &'a [i32],
}

impl<'a> Q8Row<'a> {
    /// The groups of the row, the last one padded.
    #[inline(always)]
    pub(crate) fn groups(self) -> impl Iterator<Item = Q8Group<'a>> {
        let (values, scales) = (self.values.as_chunks().0, self.scales.as_chunks().0);
        let (middles, corrections) = (self.middles.as_chunks().0, self.corrections.as_chunks().0);
        let rest = scales.iter().zip(middles).zip(corrections);
        values.iter().zip(rest).map(|(values, ((scales, middles), corrections))| Q8Group {
            values,
            scales,
            middles,
            corrections,
        })
    }
}

/// Eight blocks of a stored row.
pub(crate) struct Q8Group<'a> {
    pub(crate) values: &'a [i8; GROUP_VALUES],
    pub(crate) scales: &'a [f32; GROUP_BLOCKS],
    pub(crate) middles: &'a [i8; GROUP_BLOCKS],
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "signed weights need none"))]
    pub(crate) corrections: &'a [i32; GROUP_BLOCKS],
}

/// One block of four tokens, everything a tile needs of it side by side.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct TileBlock {
    /// `[9, T]` of four values in stored order; for MXFP4 four times the even elements, four times the odd.
    /// The last are four times the middle, which meet the sums of the others' weights.
    pub(crate) fours: [[[i8; 4]; TILE_TOKENS]; TILE_FOURS],
    pub(crate) scales: [f32; TILE_TOKENS],
    /// Minus the corrections of the rows, ready to be added.
    pub(crate) corrections: [i32; TILE_TOKENS],
}

thread_local! {
    static TILES: Cell<Vec<TileBlock>> = const { Cell::new(Vec::new()) };
}

impl Scratch for TileBlock {
    fn kept() -> &'static LocalKey<Cell<Vec<TileBlock>>> {
        &TILES
    }
}

/// The blocks of a row in the order of a tile: those of lane 0, then of lane 1, and so on.
pub(crate) fn lane_major(num_blocks: usize) -> impl Iterator<Item = usize> {
    (0..GROUP_BLOCKS).flat_map(move |lane| (lane..num_blocks).step_by(GROUP_BLOCKS))
}

/// Where the blocks of a lane stand in that order.
#[inline(always)]
pub(crate) fn lane_range(num_blocks: usize, lane: usize) -> Range<usize> {
    // All lanes have so many blocks, and the first few one more.
    let (each, longer) = (num_blocks / GROUP_BLOCKS, num_blocks % GROUP_BLOCKS);
    let start = |lane: usize| lane * each + lane.min(longer);
    start(lane)..start(lane + 1)
}

/// How many blocks the rows make when they are packed.
pub(crate) fn num_tile_blocks(rows: &Q8Rows) -> usize {
    rows.t.div_ceil(TILE_TOKENS) * (rows.k / BLOCK_VALUES)
}

/// Packs rows by fours: `tiles [T / 4, K / 32]`, blocks in the order of [`lane_major`]; tokens that are
/// missing are zero.
pub(crate) fn pack_tiles(pool: &Pool, tiles: &mut [TileBlock], rows: &Q8Rows) {
    let num_blocks = rows.k / BLOCK_VALUES;
    let shared = SharedRows::new(tiles, num_blocks);
    pool.run(rows.t.div_ceil(TILE_TOKENS), |tile| {
        // SAFETY: task `tile` alone touches its row.
        let blocks = unsafe { shared.row(tile) };
        let first = tile * TILE_TOKENS;
        if rows.t < first + TILE_TOKENS {
            blocks.fill(TileBlock::default());
        }
        for (token, t) in (first..rows.t.min(first + TILE_TOKENS)).enumerate() {
            let row = rows.row(t);
            for (block, b) in blocks.iter_mut().zip(lane_major(num_blocks)) {
                let [first, second] = rows.order.halves(b).map(|place| &row.values[place..][..16]);
                let halves = first.as_chunks::<4>().0.iter().chain(second.as_chunks::<4>().0);
                for (fours, four) in block.fours.iter_mut().zip(halves) {
                    fours[token] = *four;
                }
                block.fours[TILE_FOURS - 1][token] = [row.middles[b]; 4];
                block.scales[token] = row.scales[b];
                block.corrections[token] = -row.corrections[b];
            }
        }
    });
}

impl Q8Order {
    /// Where column `k` is stored. Of MXFP4, bits of `k` are four of blocks, block in it, place by two,
    /// parity; the parity moves above the block.
    #[inline(always)]
    pub(crate) fn stored_at(self, k: usize) -> usize {
        match self {
            Q8Order::Mxfp4 => k / 128 * 128 + k % 2 * SECOND_HALVES + k / 32 % 4 * 16 + k % 32 / 2,
            Q8Order::Mxfp4Halves => k / 128 * 128 + k / 16 % 2 * SECOND_HALVES + k / 32 % 4 * 16 + k % 16,
            Q8Order::Q8_0 => k,
        }
    }

    /// Where the two runs of 16 values that make up block `b` are stored.
    #[inline(always)]
    fn halves(self, b: usize) -> [usize; 2] {
        let first = self.stored_at(b * BLOCK_VALUES);
        match self {
            Q8Order::Mxfp4 | Q8Order::Mxfp4Halves => [first, first + SECOND_HALVES],
            Q8Order::Q8_0 => [first, first + 16],
        }
    }

    /// What the kernels add to a weight.
    #[inline(always)]
    fn offset(self) -> i32 {
        match self {
            Q8Order::Mxfp4 | Q8Order::Mxfp4Halves => i32::from(OFFSET),
            Q8Order::Q8_0 => OFFSET_INT8,
        }
    }
}

fn padded_blocks(k: usize) -> usize {
    (k / BLOCK_VALUES).next_multiple_of(GROUP_BLOCKS)
}

/// Quantizes T rows of K values into `out`, whose memory is used again.
///
/// Shapes: `x [T, K]`, K a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn quantize_q8(pool: &Pool, out: &mut Q8Rows, x: &[f32], t: usize, k: usize) {
    assert_eq!(x.len(), t * k, "quantize_q8: x is [T, K]");
    assert!(k.is_multiple_of(BLOCK_VALUES), "quantize_q8: K = {k} is not a multiple of 32");
    out.make_room(t, k);
    let order = out.order;
    for_each_stored_row(pool, out, |row, stored| {
        quantize_row_on(pool.instructions(), stored, &x[row * k..][..k], order);
    });
}

/// As [`quantize_q8`], each row in two parts: the rows, then as many that hold what rounding took from them.
/// The sum of a row's two products is a product of 15 or 16 bits a value, for one reading of the weights.
///
/// Shapes: `x [T, K]`, K a multiple of 32; `out` is 2T rows.
/// Panics: when the lengths do not fit together.
pub fn quantize_q8_parts(pool: &Pool, out: &mut Q8Rows, x: &[f32], t: usize, k: usize) {
    assert_eq!(x.len(), t * k, "quantize_q8_parts: x is [T, K]");
    assert!(k.is_multiple_of(BLOCK_VALUES), "quantize_q8_parts: K = {k} is not a multiple of 32");
    assert_eq!(out.order, Q8Order::Q8_0, "quantize_q8_parts: parts are for int8 weights");
    out.make_room(2 * t, k);
    let (instructions, order) = (pool.instructions(), out.order);
    for_each_stored_row(pool, out, |row, stored| match row.checked_sub(t) {
        None => quantize_row_on(instructions, stored, &x[row * k..][..k], order),
        Some(row) => with_scratch(k, |rest: &mut [f32]| {
            take_rounded_on(instructions, rest, &x[row * k..][..k]);
            quantize_row_on(instructions, stored, rest, order);
        }),
    });
}

/// As [`quantize_q8`] of rows that `make(row, x)` writes, each while its thread has it at hand.
///
/// Panics: when K is not a multiple of 32.
pub(crate) fn quantize_made(
    pool: &Pool,
    out: &mut Q8Rows,
    t: usize,
    k: usize,
    make: impl Fn(usize, &mut [f32]) + Sync,
) {
    assert!(k.is_multiple_of(BLOCK_VALUES), "quantize_made: K = {k} is not a multiple of 32");
    out.make_room(t, k);
    let order = out.order;
    for_each_stored_row(pool, out, |row, stored| {
        with_scratch(k, |x: &mut [f32]| {
            make(row, x);
            quantize_row_on(pool.instructions(), stored, x, order);
        });
    });
}

/// Fills `out` with the rows of `from` that `rows` names, in its order; the memory of `out` is used again.
///
/// Panics: when a row is not there.
pub fn gather_q8(pool: &Pool, out: &mut Q8Rows, from: &Q8Rows, rows: &[usize]) {
    out.order = from.order;
    out.make_room(rows.len(), from.k);
    for_each_stored_row(pool, out, |place, stored| {
        let row = from.row(rows[place]);
        stored.values.copy_from_slice(row.values);
        stored.scales.copy_from_slice(row.scales);
        stored.middles.copy_from_slice(row.middles);
        stored.corrections.copy_from_slice(row.corrections);
    });
}

/// A row that is being filled: what a [`Q8Row`] shows, padding included.
struct Q8RowMut<'a> {
    values: &'a mut [i8],
    scales: &'a mut [f32],
    middles: &'a mut [i8],
    corrections: &'a mut [i32],
}

/// Calls `fill(row, stored)` for every row of `out`, shared between the threads of the pool.
fn for_each_stored_row(pool: &Pool, out: &mut Q8Rows, fill: impl Fn(usize, Q8RowMut<'_>) + Sync) {
    let blocks = padded_blocks(out.k);
    let values = SharedRows::new(&mut out.values, blocks * BLOCK_VALUES);
    let scales = SharedRows::new(&mut out.scales, blocks);
    let middles = SharedRows::new(&mut out.middles, blocks);
    let corrections = SharedRows::new(&mut out.corrections, blocks);
    pool.run(out.t, |row| {
        // SAFETY: task `row` is the only one that touches row `row` of any of the four.
        let (values, scales, middles, corrections) =
            unsafe { (values.row(row), scales.row(row), middles.row(row), corrections.row(row)) };
        fill(row, Q8RowMut { values, scales, middles, corrections });
    });
}

fn quantize_row_on(instructions: Instructions, stored: Q8RowMut<'_>, x: &[f32], order: Q8Order) {
    per_tier!(instructions, quantize_row(stored: Q8RowMut<'_>, x: &[f32], order: Q8Order));
}

#[inline(always)]
fn quantize_row(stored: Q8RowMut<'_>, x: &[f32], order: Q8Order) {
    let Q8RowMut { values, scales, middles, corrections } = stored;
    if !x.len().is_multiple_of(GROUP_VALUES) {
        // The padding of the last group, among which its own blocks are scattered.
        let last = scales.len() - GROUP_BLOCKS;
        values[last * BLOCK_VALUES..].fill(0);
        scales[last..].fill(0.0);
        middles[last..].fill(0);
        corrections[last..].fill(0);
    }
    for (b, x) in x.as_chunks::<BLOCK_VALUES>().0.iter().enumerate() {
        let mut block = [0; BLOCK_VALUES];
        (scales[b], middles[b]) = match order {
            Q8Order::Q8_0 => (quantize_block(&mut block, x), 0),
            Q8Order::Mxfp4 | Q8Order::Mxfp4Halves => quantize_about_middle(&mut block, x),
        };
        let sum = block.iter().map(|v| i32::from(*v)).sum::<i32>();
        corrections[b] = (sum + BLOCK_VALUES as i32 * i32::from(middles[b])) * order.offset();
        let place = order.stored_at(b * BLOCK_VALUES);
        match order {
            Q8Order::Q8_0 => values[place..][..BLOCK_VALUES].copy_from_slice(&block),
            Q8Order::Mxfp4Halves => {
                values[place..][..16].copy_from_slice(&block[..16]);
                values[place + SECOND_HALVES..][..16].copy_from_slice(&block[16..]);
            }
            Q8Order::Mxfp4 => {
                for (i, pair) in block.as_chunks::<2>().0.iter().enumerate() {
                    values[place + i] = pair[0];
                    values[place + SECOND_HALVES + i] = pair[1];
                }
            }
        }
    }
}

fn take_rounded_on(instructions: Instructions, rest: &mut [f32], x: &[f32]) {
    per_tier!(instructions, take_rounded(rest: &mut [f32], x: &[f32]));
}

/// What is left of a row when its quantized values are taken off: `rest [K]`, `x [K]`.
#[inline(always)]
fn take_rounded(rest: &mut [f32], x: &[f32]) {
    let blocks = x.as_chunks::<BLOCK_VALUES>().0.iter();
    for (rest, x) in rest.as_chunks_mut::<BLOCK_VALUES>().0.iter_mut().zip(blocks) {
        let mut values = [0; BLOCK_VALUES];
        let scale = quantize_block(&mut values, x);
        for ((rest, value), x) in rest.iter_mut().zip(values).zip(x) {
            *rest = f32::from(value).mul_add(-scale, *x);
        }
    }
}

/// Quantizes one block and gives its scale.
#[inline(always)]
fn quantize_block(values: &mut [i8; BLOCK_VALUES], x: &[f32; BLOCK_VALUES]) -> f32 {
    let largest = largest_magnitude(x);
    if !largest.is_finite() {
        return f32::NAN;
    }
    if largest < SMALLEST {
        return 0.0;
    }
    let inverse = 127.0 / largest;
    for (value, x) in values.iter_mut().zip(x) {
        *value = round_even(x * inverse);
    }
    largest / 127.0
}

/// Quantizes one block about the middle of its values; gives the scale and the middle.
#[inline(always)]
fn quantize_about_middle(values: &mut [i8; BLOCK_VALUES], x: &[f32; BLOCK_VALUES]) -> (f32, i8) {
    let largest = largest_magnitude(x);
    if !largest.is_finite() {
        return (f32::NAN, 0);
    }
    if largest < SMALLEST {
        return (0.0, 0);
    }
    let (least, greatest) = ends(x);
    // Halved before they are added, which could leave the range.
    let (middle, way) = (0.5 * greatest + 0.5 * least, 0.5 * greatest - 0.5 * least);
    let inverse = STEPS_ABOUT_MIDDLE / way;
    let middle = round_even(middle * inverse);
    for (value, x) in values.iter_mut().zip(x) {
        *value = round_even(x.mul_add(inverse, -f32::from(middle)));
    }
    (way / STEPS_ABOUT_MIDDLE, middle)
}

/// The least and the greatest of a block's values and zero.
#[inline(always)]
fn ends(x: &[f32; BLOCK_VALUES]) -> (f32, f32) {
    // As integers of the same order, of which a loop takes eight at a time.
    let swap = |bits: i32| bits ^ ((bits >> 31) & i32::MAX);
    let ordered = || x.iter().map(|x| swap(x.to_bits() as i32));
    let (least, greatest) = (ordered().fold(0, i32::min), ordered().fold(0, i32::max));
    (f32::from_bits(swap(least) as u32), f32::from_bits(swap(greatest) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Tier;

    fn quantize(x: &[f32]) -> Q8Rows {
        let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
        quantize_q8(&Pool::new(1), &mut rows, x, 1, x.len());
        rows
    }

    fn values(rows: &Q8Rows) -> Vec<i32> {
        (0..rows.k()).map(|k| rows.value(0, k)).collect()
    }

    #[test]
    fn loans_of_tiles_begin_with_a_cache_line() {
        for len in [1, 7, 64, 1000] {
            with_scratch(len, |lent: &mut [TileBlock]| assert_eq!(lent.as_ptr().addr() % 64, 0, "{len}"));
        }
    }

    #[test]
    fn largest_is_127_and_ties_go_to_even() {
        let mut x = [0.0; 32];
        (x[0], x[1], x[2], x[3], x[4]) = (254.0, -254.0, 5.0, 7.0, -5.0);
        let rows = quantize(&x);
        assert_eq!(rows.scales(0), [2.0]);
        assert_eq!(values(&rows)[..6], [127, -127, 2, 4, -2, 0]);
        assert_eq!(rows.row(0).corrections[..2], [4 * 128, 0]);
    }

    /// One outlier made the steps of its block twice as large as they need be.
    #[test]
    fn blocks_for_mxfp4_have_a_middle() {
        let mut x = [0.0; 96];
        (x[0], x[1], x[2]) = (252.5, -1.0, 3.25);
        (x[32], x[33]) = (-126.25, 126.25);
        x[64..].fill(f32::MAX);
        x[65] = -f32::MAX;
        let mut rows = Q8Rows::new();
        quantize_q8(&Pool::new(1), &mut rows, &x, 1, 96);
        assert_eq!(rows.scales(0)[..2], [253.5 / 2.0 / 126.25, 1.0]);
        let row = rows.row(0);
        assert_eq!((row.middles[0], row.middles[1], row.middles[2]), (125, 0, 0));
        assert_eq!(values(&rows)[..3], [252, -1, 3]);
        assert_eq!(values(&rows)[32..35], [-126, 126, 0]);
        assert_eq!(values(&rows)[64..67], [126, -126, 126]);
        assert_eq!(row.corrections[0], (252 - 1 + 3) * 12);
        // All of one sign: zero is an end, so that the middle fits.
        let mut high = Q8Rows::new();
        quantize_q8(&Pool::new(1), &mut high, &[7.0; 32], 1, 32);
        assert_eq!((high.row(0).middles[0], high.value(0, 5)), (126, 253));
        assert!((high.scales(0)[0] * 253.0 - 7.0).abs() <= 0.5001 * high.scales(0)[0]);
    }

    #[test]
    fn zero_tiny_and_non_finite_blocks() {
        let mut x = [1.0; 160];
        x[..32].fill(0.0);
        x[32..64].fill(1e-38);
        x[64] = f32::NAN;
        x[96] = f32::NEG_INFINITY;
        let rows = quantize(&x);
        assert_eq!(rows.scales(0)[..2], [0.0, 0.0]);
        assert!(rows.scales(0)[2].is_nan() && rows.scales(0)[3].is_nan());
        assert!(values(&rows)[..128].iter().all(|v| *v == 0));
        assert!(values(&rows)[128..].iter().all(|v| *v == 127));
    }

    #[test]
    fn error_is_at_most_half_a_step() {
        let x: Vec<f32> = (0..256).map(|i| (i as f32 * 0.7).sin() * (i as f32).exp2().min(1e30)).collect();
        for order in [Q8Order::Q8_0, Q8Order::Mxfp4] {
            let mut rows = Q8Rows::for_weights(order);
            quantize_q8(&Pool::new(1), &mut rows, &x, 1, x.len());
            let mut back = vec![0.0; x.len()];
            rows.dequantize(&mut back, 0);
            for (i, (x, back)) in x.iter().zip(back).enumerate() {
                assert!((back - x).abs() <= rows.scales(0)[i / 32] * 0.5001, "{back} is not {x}");
            }
        }
    }

    /// A tier with another rounding of the rest would give other bits.
    #[test]
    fn two_parts_leave_a_sixteenth_of_a_thousandth_in_every_tier() {
        let x: Vec<f32> = (0..3 * 96).map(|i| (i as f32 * 0.7).sin() * (i as f32 * 0.03).exp()).collect();
        let quantize = |tier| {
            let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
            quantize_q8_parts(&Pool::with_tier(2, tier), &mut rows, &x, 3, 96);
            rows
        };
        let parts = quantize(Tier::Scalar);
        for tier in Tier::available() {
            assert_stored_alike(&quantize(tier), &parts);
        }
        let mut plain = Q8Rows::for_weights(Q8Order::Q8_0);
        quantize_q8(&Pool::new(1), &mut plain, &x, 3, 96);
        assert_eq!(parts.t(), 6);
        let (mut high, mut low) = (vec![0.0; 96], vec![0.0; 96]);
        for (t, x) in x.chunks_exact(96).enumerate() {
            parts.dequantize(&mut high, t);
            parts.dequantize(&mut low, 3 + t);
            assert_eq!(parts.scales(t), plain.scales(t));
            for (k, x) in x.iter().enumerate() {
                assert_eq!(parts.value(t, k), plain.value(t, k));
                assert!((high[k] + low[k] - x).abs() <= parts.scales(t)[k / 32] * 0.0021, "{x}");
            }
        }
    }

    #[test]
    fn the_rest_of_what_is_not_finite_is_not_finite() {
        let mut x = [1.0; 96];
        x[..32].fill(1e-38);
        (x[32], x[64]) = (f32::NAN, f32::INFINITY);
        let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
        quantize_q8_parts(&Pool::new(1), &mut rows, &x, 1, 96);
        assert_eq!((rows.scales(0)[0], rows.scales(1)[0]), (0.0, 0.0));
        assert!((0..2).all(|t| rows.scales(t)[1..].iter().all(|scale| scale.is_nan())));
    }

    #[test]
    fn stored_places_are_a_permutation_of_each_four_of_blocks() {
        let stored_at = |k| Q8Order::Mxfp4.stored_at(k);
        let mut places: Vec<usize> = (0..256).map(stored_at).collect();
        assert_eq!(places[..4], [0, 64, 1, 65]);
        assert_eq!(places[32..36], [16, 80, 17, 81]);
        places.sort_unstable();
        assert!(places.into_iter().eq(0..256));
    }

    #[test]
    fn the_orders_of_mxfp4_differ_in_places_alone() {
        let x: Vec<f32> = (0..96).map(|i| (i as f32 * 0.3).sin()).collect();
        let [published, halves] = [Q8Order::Mxfp4, Q8Order::Mxfp4Halves].map(|order| {
            let mut rows = Q8Rows::for_weights(order);
            quantize_q8(&Pool::new(1), &mut rows, &x, 1, 96);
            rows
        });
        assert_eq!(values(&halves), values(&published));
        assert_eq!((&halves.scales, &halves.middles), (&published.scales, &published.middles));
        assert_eq!(halves.corrections, published.corrections);
        let int8 = quantize(&x);
        assert!(int8.row(0).values[..96].iter().map(|v| i32::from(*v)).eq(values(&int8)));
    }

    /// Rows `[T, K]` with their padding.
    fn assert_stored_alike(a: &Q8Rows, b: &Q8Rows) {
        assert_eq!((a.t, a.k), (b.t, b.k));
        assert_eq!(a.values, b.values);
        assert_eq!(a.scales, b.scales);
        assert_eq!(a.middles, b.middles);
        assert_eq!(a.corrections, b.corrections);
    }

    #[test]
    fn memory_used_again_leaves_nothing_in_the_padding() {
        let pool = Pool::new(2);
        let x: Vec<f32> = (0..3 * 256).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut rows = Q8Rows::new();
        quantize_q8(&pool, &mut rows, &x, 3, 256);
        quantize_q8(&pool, &mut rows, &x[..3 * 96], 3, 96);
        let mut fresh = Q8Rows::new();
        quantize_q8(&pool, &mut fresh, &x[..3 * 96], 3, 96);
        assert_stored_alike(&rows, &fresh);
    }

    #[test]
    fn gathered_rows_are_the_rows() {
        let pool = Pool::new(2);
        let x: Vec<f32> = (0..4 * 96).map(|i| (i as f32 * 0.3).sin()).collect();
        let mut rows = Q8Rows::for_weights(Q8Order::Mxfp4Halves);
        quantize_q8(&pool, &mut rows, &x, 4, 96);
        let mut gathered = quantize(&x[..320]);
        let order = [3, 0, 3];
        gather_q8(&pool, &mut gathered, &rows, &order);
        let x: Vec<f32> = order.iter().flat_map(|row| &x[row * 96..][..96]).copied().collect();
        let mut direct = Q8Rows::for_weights(Q8Order::Mxfp4Halves);
        quantize_q8(&pool, &mut direct, &x, 3, 96);
        assert_stored_alike(&gathered, &direct);
        assert_eq!(gathered.order(), Q8Order::Mxfp4Halves);
    }
}
