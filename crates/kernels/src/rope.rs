//! Rotary positions with the YaRN stretch of long contexts.
//!
//! Entry points: [`Rope::yarn`], then [`Rope::apply`] for one token or [`Rope::angles`] for many. Slow pairs
//! of the head are interpolated by the factor, fast ones left alone, with a linear ramp between; gpt-oss does
//! not round the ends of the ramp (`truncate` false), which several engines got wrong. Cosine and sine carry
//! the attention factor `0.1 ln(factor) + 1`.
//!
//! Frequencies and angles are f32 and rounded where the official implementations round them, because the
//! rounding is part of the model's numbers: the angle of the fastest pair at position 300 is off by 1e-5
//! radians, at 100,000 by 4e-3. With angles in f64 the logits of a checkpoint with large weights were 2.4e-3
//! from the official ones, with these 5e-4 (measured, 300 tokens). Cosine and sine of an angle are exact to
//! the last bit.
//!
//! Angles are made for positions as they come: a table for the whole context would take 33 MB and be read a
//! row at a time. The rotation is of halves: pair `i` is `x[i]` and `x[i + D/2]`.
//!
//! This module does not know layers; windowed and full ones rotate alike.

/// How positions are stretched; the fields of the published `rope_scaling`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct YarnParams {
    /// How many times the original context; 1 means plain rotary positions.
    pub factor: f64,
    /// Rotations over the original context above which a pair is left alone.
    pub beta_fast: f64,
    /// Rotations over the original context below which a pair is interpolated in full.
    pub beta_slow: f64,
    /// Tokens of the context that the model was first trained on.
    pub original_max_position_embeddings: usize,
    /// Round the ends of the ramp to whole pairs; false in gpt-oss.
    pub truncate: bool,
}

/// The frequencies of one head.
#[derive(Clone, Debug)]
pub struct Rope {
    /// `[D / 2]` radians per position.
    inverse_frequencies: Vec<f32>,
    concentration: f32,
}

/// Cosines and sines of a run of positions, shared by all heads and layers.
#[derive(Clone, Debug, Default)]
pub struct RopeAngles {
    /// `[T, D / 2]` of (cosine, sine), with the attention factor in both.
    rotations: Vec<(f32, f32)>,
    half: usize,
}

impl Rope {
    /// Frequencies for heads of `head_dim` values with base `theta`.
    ///
    /// Panics: when `head_dim` is odd.
    /// Source: openai/gpt-oss `gpt_oss/torch/model.py`, class RotaryEmbedding.
    pub fn yarn(head_dim: usize, theta: f64, yarn: &YarnParams) -> Rope {
        assert!(head_dim.is_multiple_of(2), "rope: head_dim {head_dim} is odd");
        let (low, high) = ramp(head_dim, theta, yarn);
        let inverse_frequencies = (0..head_dim / 2)
            .map(|i| {
                let power = theta.powf(f64::from(2.0 * i as f32 / head_dim as f32)) as f32;
                let kept = 1.0 - if yarn.factor > 1.0 { position_in(low, high, i as f32) } else { 0.0 };
                1.0 / (yarn.factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
            })
            .collect();
        let concentration = if yarn.factor > 1.0 { 0.1 * yarn.factor.ln() + 1.0 } else { 1.0 };
        Rope { inverse_frequencies, concentration: concentration as f32 }
    }

    /// Radians per position of each pair.
    pub fn inverse_frequencies(&self) -> &[f32] {
        &self.inverse_frequencies
    }

    /// The factor on both queries and keys.
    pub fn concentration(&self) -> f32 {
        self.concentration
    }

    /// The rotations of `len` positions from `first` on.
    pub fn angles(&self, first: usize, len: usize) -> RopeAngles {
        let mut angles = RopeAngles::default();
        self.fill_angles(&mut angles, first, len);
        angles
    }

    /// As [`angles`](Rope::angles), in the memory of earlier ones.
    pub fn fill_angles(&self, angles: &mut RopeAngles, first: usize, len: usize) {
        angles.half = self.inverse_frequencies.len();
        angles.rotations.clear();
        angles.rotations.extend((first..first + len).flat_map(|position| {
            self.inverse_frequencies.iter().map(move |frequency| {
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                (cosine as f32 * self.concentration, sine as f32 * self.concentration)
            })
        }));
    }

    /// Rotates every head of one token at `position`, in place.
    ///
    /// Shapes: `x [heads, D]`.
    /// Panics: when the length does not fit.
    pub fn apply(&self, x: &mut [f32], heads: usize, position: usize) {
        self.angles(position, 1).apply(x, heads, 0);
    }
}

impl RopeAngles {
    /// Cosine and sine of each pair, the attention factor in both.
    ///
    /// Shapes: `[T, D / 2]`.
    pub fn rotations(&self) -> &[(f32, f32)] {
        &self.rotations
    }

    /// Cosine and sine of each pair at one position of the run.
    pub(crate) fn at(&self, index: usize) -> &[(f32, f32)] {
        &self.rotations[index * self.half..][..self.half]
    }

    /// Rotates every head of one token in place; `index` counts from the first position of the run.
    ///
    /// Shapes: `x [heads, D]`.
    /// Panics: when the length does not fit or `index` is past the run.
    pub fn apply(&self, x: &mut [f32], heads: usize, index: usize) {
        assert_eq!(x.len(), heads * 2 * self.half, "rope: x is [heads, D]");
        let rotations = self.at(index);
        for head in x.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(rotations) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}

/// The ends of the ramp, in pairs.
fn ramp(head_dim: usize, theta: f64, yarn: &YarnParams) -> (f64, f64) {
    let dim = head_dim as f64;
    let pair_of = |rotations: f64| {
        let wavelength = yarn.original_max_position_embeddings as f64 / (rotations * std::f64::consts::TAU);
        dim * wavelength.ln() / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (pair_of(yarn.beta_fast), pair_of(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low.max(0.0), high.min(dim - 1.0))
}

/// Where `i` lies between `low` (0) and `high` (1), cut at both ends.
fn position_in(low: f64, high: f64, i: f32) -> f32 {
    // Equal ends would divide by zero; the step is then made this steep, as in transformers.
    let high = if low == high { high + 0.001 } else { high };
    ((i - low as f32) / (high - low) as f32).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: YarnParams = YarnParams {
        factor: 32.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_max_position_embeddings: 4096,
        truncate: false,
    };

    /// Equal but for the roundings of f32, of which the steep end of the ramp makes the most.
    fn assert_close(actual: impl Into<f64>, expected: f64) {
        let actual = actual.into();
        assert!((actual / expected - 1.0).abs() < 1e-6, "{actual} is not {expected}");
    }

    #[test]
    fn frequencies_of_the_specification() {
        let rope = Rope::yarn(64, 150_000.0, &PUBLISHED);
        let (low, high) = ramp(64, 150_000.0, &PUBLISHED);
        assert_close(low, 8.092779115512402);
        assert_close(high, 17.39802450158856);
        assert_close(rope.concentration(), 1.3465735902799727);
        let expected = [
            (0, 1.0),
            (8, 0.0508132748),
            (9, 0.0317056962),
            (12, 0.00679495949),
            (16, 0.000456483919),
            (17, 0.000129318701),
            (18, 3.83088124e-5),
            (31, 3.02351143e-7),
        ];
        for (i, frequency) in expected {
            assert_close(rope.inverse_frequencies()[i], frequency);
        }
    }

    type Rotations = [(usize, f32, f32); 5];

    /// (pair, cosine, sine) of transformers 5.23 (`GptOssRotaryEmbedding`, float32) at positions 300, 100,000
    /// and 131,071. With angles in f64 the last two rows would be off by up to 5e-3.
    const OFFICIAL: [(usize, Rotations); 3] = [
        (
            300,
            [
                (0, -0.029754724, -1.3462448),
                (1, 1.0866166, -0.79531425),
                (5, -1.1638726, 0.67724526),
                (12, -0.6070717, 1.2019669),
                (17, 1.3455603, 0.05222804),
            ],
        ),
        (
            100_000,
            [
                (0, -1.3457129, 0.048138388),
                (1, -1.3365675, 0.16385295),
                (5, 1.2996566, 0.3523536),
                (12, 0.82443506, 1.0646912),
                (17, 1.2576265, 0.481286),
            ],
        ),
        (
            131_071,
            [
                (0, -1.101475, -0.7746053),
                (1, 0.9582033, -0.94610083),
                (5, 0.9211241, 0.9822377),
                (12, -0.026102966, -1.3463206),
                (17, -0.43485624, -1.2744255),
            ],
        ),
    ];

    #[test]
    fn rotations_are_rounded_as_the_official_ones() {
        let rope = Rope::yarn(64, 150_000.0, &PUBLISHED);
        for (position, pairs) in OFFICIAL {
            let angles = rope.angles(position, 1);
            for (pair, cosine, sine) in pairs {
                let (ours, theirs) = (angles.rotations[pair], (cosine, sine));
                let difference = (ours.0 - theirs.0).abs().max((ours.1 - theirs.1).abs());
                assert!(difference < 1e-6, "position {position}, pair {pair}: {ours:?} is not {theirs:?}");
            }
        }
    }

    #[test]
    fn truncation_rounds_the_ramp_outwards() {
        let rope = Rope::yarn(64, 150_000.0, &YarnParams { truncate: true, ..PUBLISHED });
        assert_close(rope.inverse_frequencies()[17], 0.000227947796);
    }

    #[test]
    fn rotation_is_of_halves_and_keeps_length() {
        let plain = YarnParams { factor: 1.0, ..PUBLISHED };
        let rope = Rope::yarn(4, 100.0, &plain);
        let mut x = [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0];
        rope.apply(&mut x, 2, 3);
        let expected = [
            3.0_f32.cos(),
            2.0 * 0.3_f32.cos(),
            3.0_f32.sin(),
            2.0 * 0.3_f32.sin(),
            -(3.0_f32.sin()),
            -2.0 * 0.3_f32.sin(),
            3.0_f32.cos(),
            2.0 * 0.3_f32.cos(),
        ];
        for (x, expected) in x.iter().zip(expected) {
            assert!((x - expected).abs() < 1e-6, "{x} is not {expected}");
        }
    }

    #[test]
    fn a_run_of_angles_equals_single_positions() {
        let rope = Rope::yarn(64, 150_000.0, &PUBLISHED);
        let angles = rope.angles(126, 4);
        for index in 0..4 {
            let mut one: Vec<f32> = (0..128).map(|i| (i as f32).sin()).collect();
            let mut many = one.clone();
            rope.apply(&mut one, 2, 126 + index);
            angles.apply(&mut many, 2, index);
            assert_eq!(one, many);
        }
    }
}
