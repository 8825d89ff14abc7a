//! Rotations of queries and keys by their positions.
//!
//! Entry point: [`Rotation`]. Frequencies and stretch are those of gpt-oss; the pairs are neighbors (`x[2i]`
//! and `x[2i + 1]`), as the filter's are. Angles are made of absolute positions in f64, so that they are the
//! same wherever a text is cut and as good at its millionth token as at its first: only differences of
//! positions count, and those of a band are small.

use gptoss_kernels::Rope;

use crate::config::FilterConfig;

/// The frequencies of a head.
pub(crate) struct Rotation(Rope);

/// Cosine and sine of each pair at a run of positions.
pub(crate) struct Angles {
    /// `[T, D / 2]`
    rotations: Vec<(f32, f32)>,
    half: usize,
}

impl Rotation {
    pub(crate) fn of(config: &FilterConfig) -> Rotation {
        Rotation(Rope::yarn(config.head_dim, config.rope_theta, &config.yarn))
    }

    /// The rotations of `len` positions from `first` on.
    pub(crate) fn angles(&self, first: usize, len: usize) -> Angles {
        let (frequencies, concentration) = (self.0.inverse_frequencies(), self.0.concentration());
        let of_position = |position: usize| {
            frequencies.iter().map(move |&frequency| {
                let (sine, cosine) = (position as f64 * f64::from(frequency)).sin_cos();
                (cosine as f32 * concentration, sine as f32 * concentration)
            })
        };
        let rotations = (first..first + len).flat_map(of_position).collect();
        Angles { rotations, half: frequencies.len() }
    }
}

impl Angles {
    /// Rotates every head of one token in place; `index` counts from the first position of the run.
    ///
    /// Shapes: `x [heads, D]`.
    pub(crate) fn apply(&self, x: &mut [f32], index: usize) {
        let rotations = &self.rotations[index * self.half..][..self.half];
        for head in x.chunks_exact_mut(2 * self.half) {
            for ([a, b], (cosine, sine)) in head.as_chunks_mut().0.iter_mut().zip(rotations) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}
