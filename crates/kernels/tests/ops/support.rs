//! What the op tests share: a seeded source of awkward numbers, and comparisons.
//!
//! Entry points: [`Rng`], [`Fill`], [`assert_bits`], [`assert_close`], [`pools`]. Bits are compared where the
//! contract promises bits (NaN equals NaN, whatever its payload); a tolerance is always given by the caller,
//! who derives it.

use gptoss_kernels::{Pool, Tier};
use half::bf16;

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

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// What a tensor is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    Random,
    Zeros,
    NegativeZeros,
    /// Magnitudes from 1e-6 to 1e30: sums cancel and overflow nothing.
    Large,
    /// Subnormal numbers and their neighbors.
    Tiny,
    /// Some NaN and infinities among random values.
    NonFinite,
}

pub const FILLS: [Fill; 6] =
    [Fill::Random, Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::Tiny, Fill::NonFinite];

impl Fill {
    pub fn value(self, rng: &mut Rng) -> f32 {
        let unit = rng.unit();
        match self {
            Fill::Random => unit,
            Fill::Zeros => 0.0,
            Fill::NegativeZeros => [0.0, -0.0][(rng.next() % 2) as usize],
            Fill::Large => unit * 10_f32.powi((rng.next() % 36) as i32 - 6),
            Fill::Tiny => unit * 2_f32.powi(-149 + (rng.next() % 30) as i32),
            Fill::NonFinite => match rng.next() % 97 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => f32::NEG_INFINITY,
                _ => unit,
            },
        }
    }

    pub fn f32s(self, rng: &mut Rng, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value(rng)).collect()
    }

    pub fn bf16s(self, rng: &mut Rng, len: usize) -> Vec<bf16> {
        (0..len).map(|_| bf16::from_f32(self.value(rng))).collect()
    }
}

/// Every tier of this processor, alone and with three threads.
pub fn pools() -> Vec<Pool> {
    Tier::available().into_iter().flat_map(|tier| [1, 2, 3].map(|n| Pool::with_tier(n, tier))).collect()
}

pub fn scalar() -> Pool {
    Pool::with_tier(1, Tier::Scalar)
}

#[track_caller]
pub fn assert_bits(actual: &[f32], expected: &[f32], what: &dyn std::fmt::Debug) {
    assert_eq!(actual.len(), expected.len(), "{what:?}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let equal = a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan();
        assert!(equal, "{what:?}: element {i} is {a:e}, not {e:e}");
    }
}

/// Each element within its own tolerance of its own true value; a true value that is not finite is left
/// alone.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[(f64, f64)], what: &dyn std::fmt::Debug) {
    assert_eq!(actual.len(), expected.len(), "{what:?}");
    for (i, (a, (e, tolerance))) in actual.iter().zip(expected).enumerate() {
        if e.is_finite() && e.abs() < f64::from(f32::MAX) {
            let error = (f64::from(*a) - e).abs();
            assert!(
                error <= *tolerance,
                "{what:?}: element {i} is {a:e}, not {e:e} (tolerance {tolerance:e})"
            );
        }
    }
}
