//! Seeded awkward numbers, and the comparison of bits, for test programs of this room.

#![allow(dead_code, reason = "each test program takes what it needs")]

pub mod experts;

use std::fmt::Debug;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `len` numbers in -1..1, an outlier of up to 40 among every hundred or so.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit() * if self.below(97) == 0 { 40.0 } else { 1.0 }).collect()
    }

    /// `0..len` in some order.
    pub fn shuffled(&mut self, len: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..len as u32).collect();
        for i in (1..len).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// What a tensor is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// In -1..1, with outliers.
    Random,
    Zeros,
    NegativeZeros,
    /// Magnitudes from 1e-6 to 1e30.
    Large,
    /// Subnormal numbers and their neighbors.
    Tiny,
    /// Some NaN and infinities among random values.
    NonFinite,
}

pub const FILLS: [Fill; 6] =
    [Fill::Random, Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::Tiny, Fill::NonFinite];

impl Fill {
    pub fn floats(self, rng: &mut Rng, len: usize) -> Vec<f32> {
        let mut x = rng.floats(len);
        for x in &mut x {
            match self {
                Fill::Random => {}
                Fill::Zeros => *x = 0.0,
                Fill::NegativeZeros => *x = [0.0, -0.0][rng.below(2)],
                Fill::Large => *x *= 10_f32.powi(rng.below(34) as i32 - 6),
                Fill::Tiny => *x *= 2_f32.powi(-149 + rng.below(30) as i32),
                Fill::NonFinite => match rng.below(97) {
                    0 => *x = f32::NAN,
                    1 => *x = f32::INFINITY,
                    2 => *x = f32::NEG_INFINITY,
                    _ => {}
                },
            }
        }
        x
    }
}

/// How many numbers differ in their bits, and the first that does.
pub fn difference(actual: &[f32], expected: &[f32]) -> Option<(usize, usize)> {
    assert_eq!(actual.len(), expected.len(), "as many numbers");
    let differs = |(a, e): (&f32, &f32)| a.to_bits() != e.to_bits() && !(a.is_nan() && e.is_nan());
    let mut places = actual.iter().zip(expected).enumerate().filter(|(_, pair)| differs(*pair));
    let (first, _) = places.next()?;
    Some((1 + places.count(), first))
}

#[track_caller]
pub fn assert_bits(actual: &[f32], expected: &[f32], what: &dyn Debug) {
    if let Some((count, i)) = difference(actual, expected) {
        let (a, e, of) = (actual[i], expected[i], actual.len());
        panic!("{what:?}: {count} of {of} differ; number {i} is {a:e}, not {e:e}");
    }
}
