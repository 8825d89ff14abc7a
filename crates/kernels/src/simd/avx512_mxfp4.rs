//! AVX-512 VNNI form of the int8 by MXFP4 product, a row at a time.
//!
//! Entry points: [`gemv`] for one token and [`gemv_many`] for a few, over a [`Row`] of either layout:
//! [`SplitRow`], where codes and scales stand apart, and [`BlockRow`], the blocks of GGUF files. Both give a
//! group of eight blocks as 128 bytes of codes in two registers and eight bytes of scales; from there on they
//! are one. The order of summation is that of `products/int8.rs`.
//!
//! One row after the other is one stream through memory, which the processor fetches ahead by itself. Two
//! rows at a time fold in fewer instructions, and read a fifth slower (Zen 4, 2026-11-23).

use std::arch::x86_64::*;

use gptoss_formats::{E2M1_DOUBLED, Mxfp4Block};

use crate::q8::{GROUP_BLOCKS, OFFSET, Q8Group, Q8Row, SECOND_HALVES};
use crate::simd::avx2_f32::fold;
use crate::simd::avx2_q8::{GROUP_BYTES, scale_values};

/// Tokens that a row of weights meets while its values are in registers.
pub(crate) const GEMV_TOKENS: usize = 3;
/// Registers of lanes for them, each of two tokens.
const GEMV_LANES: usize = GEMV_TOKENS.div_ceil(2);
/// Bytes of a register.
const REGISTER: usize = 64;
/// A one in each of four bytes.
const ONES: i32 = 0x0101_0101;

/// A row of weights by groups.
pub(crate) trait Row: Copy {
    /// Whole groups.
    fn num_groups(self) -> usize;

    /// Blocks after the whole groups.
    fn tail_blocks(self) -> usize;

    /// Whole group `g`.
    ///
    /// # Safety
    /// The processor has AVX-512 with VBMI.
    unsafe fn group(self, g: usize) -> Group;

    /// The blocks after the whole groups, with zeros behind them.
    ///
    /// # Safety
    /// As for `group`.
    unsafe fn tail(self) -> Group;
}

/// Eight blocks.
pub(crate) struct Group {
    /// `[8, 16]`
    codes: [__m512i; 2],
    /// `[8]`, the first lowest.
    scales: u64,
}

/// A row of the published layout.
#[derive(Clone, Copy)]
pub(crate) struct SplitRow<'a> {
    groups: &'a [[u8; GROUP_BYTES]],
    scales: &'a [[u8; GROUP_BLOCKS]],
    tail: &'a [u8],
    tail_scales: &'a [u8],
}

impl<'a> SplitRow<'a> {
    /// Shapes: `blocks [K / 32, 16]`, `scales [K / 32]`.
    #[inline(always)]
    pub(crate) fn new((blocks, scales): (&'a [u8], &'a [u8])) -> SplitRow<'a> {
        let (groups, tail) = blocks.as_chunks();
        let (scales, tail_scales) = scales.as_chunks();
        SplitRow { groups, scales, tail, tail_scales }
    }
}

impl Row for SplitRow<'_> {
    #[inline(always)]
    fn num_groups(self) -> usize {
        self.groups.len()
    }

    #[inline(always)]
    fn tail_blocks(self) -> usize {
        self.tail_scales.len()
    }

    #[inline(always)]
    unsafe fn group(self, g: usize) -> Group {
        let place = self.groups[g].as_ptr();
        // SAFETY: a group has two times 64 bytes; the instructions are the caller's promise.
        let codes =
            unsafe { [_mm512_loadu_si512(place.cast()), _mm512_loadu_si512(place.add(REGISTER).cast())] };
        Group { codes, scales: u64::from_le_bytes(self.scales[g]) }
    }

    #[inline(always)]
    unsafe fn tail(self) -> Group {
        let first = |count: usize| u64::MAX.checked_shr(64_u32.saturating_sub(count as u32)).unwrap_or(0);
        let (tail, scales) = (self.tail, self.tail_scales);
        // SAFETY: a masked load touches no byte outside the mask, and the masks end with the tail; the second
        // place is inside or one past the slice.
        unsafe {
            let second = tail.as_ptr().add(tail.len().min(REGISTER));
            let codes = [
                _mm512_maskz_loadu_epi8(first(tail.len()), tail.as_ptr().cast()),
                _mm512_maskz_loadu_epi8(first(tail.len().saturating_sub(REGISTER)), second.cast()),
            ];
            let scales = _mm_maskz_loadu_epi8(first(scales.len()) as u16, scales.as_ptr().cast());
            Group { codes, scales: _mm_cvtsi128_si64(scales) as u64 }
        }
    }
}

/// A row whose scales stand each in front of its codes.
#[derive(Clone, Copy)]
pub(crate) struct BlockRow<'a> {
    groups: &'a [[Mxfp4Block; GROUP_BLOCKS]],
    tail: &'a [Mxfp4Block],
}

/// Bytes of eight blocks with their scales.
const BLOCK_GROUP: usize = GROUP_BLOCKS * size_of::<Mxfp4Block>();
/// Where the last 64 of them begin.
const LAST: usize = BLOCK_GROUP - REGISTER;

/// Which bytes of two registers are the codes of blocks 0 to 3 (registers at bytes 0 and 64), of blocks 4 to
/// 7 (at 64 and `LAST`), and the scales (at 0 and 64; only eight count).
static CODES_AND_SCALES: [[u8; REGISTER]; 3] = {
    let mut orders = [[0; REGISTER]; 3];
    let mut i = 0;
    while i < REGISTER {
        let (first, second) = (i / 16 * 17 + 1 + i % 16, (4 + i / 16) * 17 + 1 + i % 16);
        orders[0][i] = first as u8;
        orders[1][i] = if second < 2 * REGISTER { second - REGISTER } else { REGISTER + second - LAST } as u8;
        orders[2][i] = (i % GROUP_BLOCKS * 17) as u8;
        i += 1;
    }
    orders
};

impl<'a> BlockRow<'a> {
    /// Shapes: `row [K / 32]`.
    #[inline(always)]
    pub(crate) fn new(row: &'a [Mxfp4Block]) -> BlockRow<'a> {
        let (groups, tail) = row.as_chunks();
        BlockRow { groups, tail }
    }

    /// # Safety
    /// The processor has AVX-512 with VBMI.
    #[inline(always)]
    unsafe fn sort(group: &[Mxfp4Block; GROUP_BLOCKS]) -> Group {
        let place = group.as_ptr().cast::<u8>();
        // SAFETY: a group has 136 bytes; orders are of 64; the instructions are the caller's promise.
        unsafe {
            let at = |byte: usize| _mm512_loadu_si512(place.add(byte).cast());
            let order = |i: usize| _mm512_loadu_si512(CODES_AND_SCALES[i].as_ptr().cast());
            let [first, second, last] = [at(0), at(REGISTER), at(LAST)];
            let scales = _mm512_permutex2var_epi8(first, order(2), second);
            let codes = [
                _mm512_permutex2var_epi8(first, order(0), second),
                _mm512_permutex2var_epi8(second, order(1), last),
            ];
            Group { codes, scales: _mm_cvtsi128_si64(_mm512_castsi512_si128(scales)) as u64 }
        }
    }
}

impl Row for BlockRow<'_> {
    #[inline(always)]
    fn num_groups(self) -> usize {
        self.groups.len()
    }

    #[inline(always)]
    fn tail_blocks(self) -> usize {
        self.tail.len()
    }

    #[inline(always)]
    unsafe fn group(self, g: usize) -> Group {
        // SAFETY: by the caller's promise.
        unsafe { BlockRow::sort(&self.groups[g]) }
    }

    #[inline(always)]
    unsafe fn tail(self) -> Group {
        let mut group = [Mxfp4Block::default(); GROUP_BLOCKS];
        group[..self.tail.len()].copy_from_slice(self.tail);
        // SAFETY: by the caller's promise.
        unsafe { BlockRow::sort(&group) }
    }
}

/// Twice the product of one row of weights with one row of activations.
///
/// Shapes: `row` and `x` K values, `x` padded to whole groups and stored in the order of the row.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn gemv(x: Q8Row<'_>, row: impl Row) -> f32 {
    let codes = codes();
    let mut x = x.groups();
    let mut lanes = _mm256_setzero_ps();
    for (g, x) in (0..row.num_groups()).zip(&mut x) {
        // SAFETY: this function has the features.
        let group = unsafe { row.group(g) };
        lanes = _mm256_fmadd_ps(group_sums(codes, &x, group.codes), group_scale(&x, group.scales), lanes);
    }
    if let (1.., Some(x)) = (row.tail_blocks(), x.next()) {
        // SAFETY: as above.
        let group = unsafe { row.tail() };
        let used = first_lanes(row.tail_blocks());
        // Lanes without a block keep even the sign of their zero.
        let scale = group_scale(&x, group.scales);
        lanes = _mm256_mask3_fmadd_ps(group_sums(codes, &x, group.codes), scale, lanes, used);
    }
    fold(lanes)
}

/// The lanes of a group of only `num_blocks`.
#[inline(always)]
fn first_lanes(num_blocks: usize) -> u8 {
    (1_u8 << num_blocks) - 1
}

/// Twice the products of one row of weights with up to [`GEMV_TOKENS`] rows of activations: the bits of
/// [`gemv`]. Weights are looked up once, and two tokens share a register from their block sums on.
///
/// Shapes: as of [`gemv`].
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn gemv_many<const T: usize>(x: [Q8Row<'_>; T], row: impl Row) -> [f32; T] {
    const { assert!(T <= GEMV_TOKENS) };
    let codes = codes();
    let mut x = x.map(Q8Row::groups);
    let mut lanes = [_mm512_setzero_ps(); GEMV_LANES];
    for g in 0..row.num_groups() {
        // SAFETY: this function has the features.
        let group = unsafe { row.group(g) };
        add_group(&mut lanes, codes, &mut x, &group, u8::MAX);
    }
    if row.tail_blocks() > 0 {
        // SAFETY: as above.
        let group = unsafe { row.tail() };
        add_group(&mut lanes, codes, &mut x, &group, first_lanes(row.tail_blocks()));
    }
    let halves = lanes.map(|lanes| {
        let upper = _mm512_castps_pd(lanes);
        [_mm512_castps512_ps256(lanes), _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(upper))]
    });
    std::array::from_fn(|t| fold(halves[t / 2][t % 2]))
}

/// Adds eight blocks for all tokens, to the lanes that `used` names.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn add_group<'a, const T: usize>(
    lanes: &mut [__m512; GEMV_LANES],
    codes: __m512i,
    x: &mut [impl Iterator<Item = Q8Group<'a>>; T],
    group: &Group,
    used: u8,
) {
    let weights = group.codes.map(|bytes| look_up(codes, bytes));
    let scales = _mm512_castps256_ps512(scale_values(group.scales));
    let scales = _mm512_shuffle_f32x4::<0x44>(scales, scales);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 16, 20, 24, 28, 18, 22, 26, 30);
    let next = _mm512_add_epi32(order, _mm512_set1_epi32(1));
    let used = u16::from(used) << 8 | u16::from(used);
    let mut x = x.iter_mut();
    for lanes in &mut lanes[..T.div_ceil(2)] {
        let Some(first) = x.next().and_then(Iterator::next) else { return };
        let twos = partial_sums(weights, &first);
        // An odd token is its own neighbor.
        let (second, second_twos) = match x.next().and_then(Iterator::next) {
            Some(second) => {
                let twos = partial_sums(weights, &second);
                (second, twos)
            }
            None => (Q8Group { ..first }, twos),
        };
        let raw = _mm512_add_epi32(
            _mm512_permutex2var_epi32(twos, order, second_twos),
            _mm512_permutex2var_epi32(twos, next, second_twos),
        );
        // SAFETY: eight corrections and eight scales of each.
        let (corrections, activations) = unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(first.corrections.as_ptr().cast()));
            let high = _mm256_loadu_si256(second.corrections.as_ptr().cast());
            let low_scales = _mm512_castpd256_pd512(_mm256_loadu_pd(first.scales.as_ptr().cast()));
            let high_scales = _mm256_loadu_pd(second.scales.as_ptr().cast());
            (_mm512_inserti64x4::<1>(low, high), _mm512_insertf64x4::<1>(low_scales, high_scales))
        };
        let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(raw, corrections));
        let scale = _mm512_mul_ps(_mm512_castpd_ps(activations), scales);
        // Lanes without a block keep even the sign of their zero.
        *lanes = _mm512_mask3_fmadd_ps(sums, scale, *lanes, used);
    }
}

/// The unsigned weight of each code, four times over: a look-up by six bits then ignores the two above a
/// nibble.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn codes() -> __m512i {
    let mut shifted = E2M1_DOUBLED;
    for code in &mut shifted {
        *code += OFFSET;
    }
    // SAFETY: sixteen bytes from an array of sixteen.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(shifted.as_ptr().cast()) })
}

/// The integer sums of eight blocks, in order, as floats.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn group_sums(codes: __m512i, x: &Q8Group<'_>, bytes: [__m512i; 2]) -> __m256 {
    let twos = partial_sums(bytes.map(|bytes| look_up(codes, bytes)), x);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    let next = _mm512_add_epi32(order, _mm512_set1_epi32(1));
    let raw = _mm256_add_epi32(
        _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, twos)),
        _mm512_castsi512_si256(_mm512_permutexvar_epi32(next, twos)),
    );
    // SAFETY: eight corrections.
    let corrections = unsafe { _mm256_loadu_si256(x.corrections.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_sub_epi32(raw, corrections))
}

/// The unsigned weights of the low and of the high nibbles.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn look_up(codes: __m512i, bytes: __m512i) -> [__m512i; 2] {
    let high = _mm512_srli_epi16::<4>(bytes);
    [_mm512_permutexvar_epi8(bytes, codes), _mm512_permutexvar_epi8(high, codes)]
}

/// Sums of eight blocks: each quarter of the register holds two partial ones of block q and two of block q +
/// 4.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn partial_sums(weights: [[__m512i; 2]; 2], x: &Q8Group<'_>) -> __m512i {
    // Each quarter of a register has the weights of one block, and its bytes of middles are that block's.
    let middles = _mm512_set1_epi64(i64::from_le_bytes(x.middles.map(|middle| middle as u8)));
    let quarters = _mm512_setr_epi32(
        0,
        0,
        0,
        0,
        ONES,
        ONES,
        ONES,
        ONES,
        2 * ONES,
        2 * ONES,
        2 * ONES,
        2 * ONES,
        3 * ONES,
        3 * ONES,
        3 * ONES,
        3 * ONES,
    );
    let mut fours = [_mm512_setzero_si512(); 2];
    for (i, (fours, [low, high])) in fours.iter_mut().zip(weights).enumerate() {
        // SAFETY: a group has 2 * 128 activations.
        let (low_half, high_half) = unsafe {
            let place = x.values.as_ptr().add(i * 128);
            (_mm512_loadu_si512(place.cast()), _mm512_loadu_si512(place.add(SECOND_HALVES).cast()))
        };
        let of_blocks = _mm512_add_epi8(quarters, _mm512_set1_epi8(4 * i as i8));
        let middles = _mm512_shuffle_epi8(middles, of_blocks);
        *fours = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(*fours, low, low_half), high, high_half);
        *fours = _mm512_dpbusd_epi32(*fours, _mm512_add_epi8(low, high), middles);
    }
    _mm512_add_epi32(_mm512_unpacklo_epi64(fours[0], fours[1]), _mm512_unpackhi_epi64(fours[0], fours[1]))
}

/// Activation scale times weight scale of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn group_scale(x: &Q8Group<'_>, scales: u64) -> __m256 {
    // SAFETY: eight scales.
    let activations = unsafe { _mm256_loadu_ps(x.scales.as_ptr()) };
    _mm256_mul_ps(activations, scale_values(scales))
}
