//! Rotations of queries and keys by their positions.
//!
//! Entry point: [`Angles`]. Frequencies and stretch are those of gpt-oss; the pairs are neighbors (`x[2i]`
//! and `x[2i + 1]`), as the filter's are. Angles are made of absolute positions in f64, so that they are the
//! same wherever a text is cut and as good at its millionth token as at its first: only differences of
//! positions count, and those of a band are small.

use std::ops::Range;

use gptoss_kernels::Rope;

use crate::config::FilterConfig;

/// Cosine and sine of each pair at a run of positions, shared by all heads and layers.
pub(crate) struct Angles {
    /// `[T, D / 2]`
    rotations: Vec<(f32, f32)>,
    half: usize,
    /// The first position of the run.
    first: usize,
}

impl Angles {
    /// The rotations at `positions`.
    pub(crate) fn of(config: &FilterConfig, positions: Range<usize>) -> Angles {
        let rope = Rope::yarn(config.head_dim, config.rope_theta, &config.yarn);
        let (frequencies, concentration) = (rope.inverse_frequencies(), rope.concentration());
        let first = positions.start;
        let of_position = |position: usize| {
            frequencies.iter().map(move |&frequency| {
                let (sine, cosine) = (position as f64 * f64::from(frequency)).sin_cos();
                (cosine as f32 * concentration, sine as f32 * concentration)
            })
        };
        let rotations = positions.flat_map(of_position).collect();
        Angles { rotations, half: frequencies.len(), first }
    }

    /// Rotates every head of the token at a position of the run, in place.
    ///
    /// Shapes: `x [heads, D]`.
    pub(crate) fn apply(&self, x: &mut [f32], position: usize) {
        let rotations = &self.rotations[(position - self.first) * self.half..][..self.half];
        for head in x.chunks_exact_mut(2 * self.half) {
            for ([a, b], (cosine, sine)) in head.as_chunks_mut().0.iter_mut().zip(rotations) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}
