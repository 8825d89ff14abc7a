//! The inner loops of attention: what a tier has to bring, and their plain form.
//!
//! Entry points: the trait [`Arithmetic`] and [`Plain`], its reference. Eight query heads that share a kv head stand
//! in lanes; a number of theirs is a [`Lanes`]. Every loop adds in one order, fixed here:
//!
//! * a score is a dot product in two chains of fused multiply-add, ascending, one for the even elements and one for
//!   the odd, then even + odd, then times the scale; a row of keys is padded with a zero to an even length;
//! * values are added by ascending position with fused multiply-add, one chain an output;
//! * int8 products are sums of integers, exact in any order.
//!
//! Queries are laid out for it, `[pairs, 8 heads, 2]`: the even and the odd element of a pair side by side, so that a
//! register of them meets a pair of a key that is broadcast as one 64-bit number. For int8 an "element" is itself a
//! pair of 16-bit integers in one `i32`.
//!
//! This module does not know positions, windows or softmax.

use half::bf16;

use super::KvSlice;
use crate::embedding::widen;
use crate::lanes::LANES;

/// One number of each of eight query heads.
pub(crate) type Lanes = [f32; LANES];
/// The same for integers.
pub(crate) type IntLanes = [i32; LANES];

/// A type that values are stored in.
pub(crate) trait Stored: Copy + 'static {
    /// The numbers of a slice of this type.
    fn of(slice: KvSlice<'_>) -> &[Self];
    /// As f32, exactly.
    fn widen(self) -> f32;
    /// Eight numbers from `place` on, as f32.
    ///
    /// # Safety
    /// Eight numbers are readable at `place`, and the processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn widen_8(place: *const Self) -> std::arch::x86_64::__m256;
    /// Sixteen numbers from `place` on, as f32.
    ///
    /// # Safety
    /// Sixteen numbers are readable at `place`, and the processor has AVX-512F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn widen_16(place: *const Self) -> std::arch::x86_64::__m512;
}

/// The inner loops, one form a tier.
pub(crate) trait Arithmetic {
    /// `scores[i][h] = dot(q[h], keys[i]) * scale`.
    ///
    /// Shapes: `scores [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`.
    fn scores(scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32);

    /// `sums[h][d] += weights[i][h] * rows[i][column + d]`, i ascending.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `rows` n rows.
    fn add_values<V: Stored>(sums: &mut [f32], weights: &[Lanes], rows: &[&[V]], column: usize);

    /// `dots[i][h] = dot(q[h], keys[i])`, of 16-bit integers.
    ///
    /// Shapes: `dots [n]`, `q [pairs, 8, 2]`, `keys [n, 2 pairs]`, each element two integers.
    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32]);

    /// `sums[h][d] += weights[i][h] * values[i][d]`, where each element is two 16-bit integers whose products are
    /// both added.
    ///
    /// Shapes: `sums [8, D]`, `weights [n]`, `values [n, D]`.
    fn int_add_values(sums: &mut [i32], weights: &[IntLanes], values: &[i32]);
}

/// Plain Rust.
pub(crate) struct Plain;

impl Arithmetic for Plain {
    fn scores(scores: &mut [Lanes], q: &[f32], keys: &[f32], scale: f32) {
        let width = q.len() / LANES;
        for (scores, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
            let mut chains = [0.0_f32; 2 * LANES];
            for (q, pair) in q.as_chunks::<{ 2 * LANES }>().0.iter().zip(key.as_chunks::<2>().0) {
                for (lane, chain) in chains.iter_mut().enumerate() {
                    *chain = q[lane].mul_add(pair[lane % 2], *chain);
                }
            }
            for (score, chain) in scores.iter_mut().zip(chains.as_chunks::<2>().0) {
                *score = (chain[0] + chain[1]) * scale;
            }
        }
    }

    fn add_values<V: Stored>(sums: &mut [f32], weights: &[Lanes], rows: &[&[V]], column: usize) {
        add_values_from(sums, weights, rows, column, 0);
    }

    fn int_scores(dots: &mut [IntLanes], q: &[i32], keys: &[i32]) {
        let width = q.len() / LANES;
        for (dots, key) in dots.iter_mut().zip(keys.chunks_exact(width)) {
            *dots = [0; LANES];
            for (q, pair) in q.as_chunks::<{ 2 * LANES }>().0.iter().zip(key.as_chunks::<2>().0) {
                for (dot, q) in dots.iter_mut().zip(q.as_chunks::<2>().0) {
                    *dot += product_of_halves(q[0], pair[0]) + product_of_halves(q[1], pair[1]);
                }
            }
        }
    }

    fn int_add_values(sums: &mut [i32], weights: &[IntLanes], values: &[i32]) {
        int_add_values_from(sums, weights, values, 0);
    }
}

/// [`Arithmetic::add_values`] for the columns from `first` on.
#[inline(always)]
pub(crate) fn add_values_from<V: Stored>(
    sums: &mut [f32],
    weights: &[Lanes],
    rows: &[&[V]],
    column: usize,
    first: usize,
) {
    let d = sums.len() / LANES;
    for (weights, row) in weights.iter().zip(rows) {
        let values = &row[column..][..d];
        for (sums, weight) in sums.chunks_exact_mut(d).zip(weights) {
            for (sum, value) in sums[first..].iter_mut().zip(&values[first..]) {
                *sum = weight.mul_add(value.widen(), *sum);
            }
        }
    }
}

/// [`Arithmetic::int_add_values`] for the columns from `first` on.
#[inline(always)]
pub(crate) fn int_add_values_from(sums: &mut [i32], weights: &[IntLanes], values: &[i32], first: usize) {
    let d = sums.len() / LANES;
    for (weights, values) in weights.iter().zip(values.chunks_exact(d)) {
        for (sums, weight) in sums.chunks_exact_mut(d).zip(weights) {
            for (sum, value) in sums[first..].iter_mut().zip(&values[first..]) {
                *sum += product_of_halves(*weight, *value);
            }
        }
    }
}

/// Two 16-bit integers in one element, `low` in the low half.
#[inline(always)]
pub(crate) fn halves(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}

/// The sum of the products of the low halves and of the high halves.
#[inline(always)]
fn product_of_halves(x: i32, y: i32) -> i32 {
    i32::from(x as i16) * i32::from(y as i16) + (x >> 16) * (y >> 16)
}

impl Stored for f32 {
    #[inline(always)]
    fn of(slice: KvSlice<'_>) -> &[f32] {
        let KvSlice::F32(numbers) = slice else { panic!("attention: runs are of one type") };
        numbers
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widen_8(place: *const f32) -> std::arch::x86_64::__m256 {
        // SAFETY: by the caller's promise.
        unsafe { std::arch::x86_64::_mm256_loadu_ps(place) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widen_16(place: *const f32) -> std::arch::x86_64::__m512 {
        // SAFETY: by the caller's promise.
        unsafe { std::arch::x86_64::_mm512_loadu_ps(place) }
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn of(slice: KvSlice<'_>) -> &[bf16] {
        let KvSlice::Bf16(numbers) = slice else { panic!("attention: runs are of one type") };
        numbers
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        widen(self)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widen_8(place: *const bf16) -> std::arch::x86_64::__m256 {
        use std::arch::x86_64::*;
        // SAFETY: by the caller's promise.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(place.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widen_16(place: *const bf16) -> std::arch::x86_64::__m512 {
        use std::arch::x86_64::*;
        // SAFETY: by the caller's promise.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(place.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
}
