//! The ops on rows of f32: norm, rotary positions, SwiGLU.

use super::numbers::exp;
use super::{Fma, dot};

/// `x / sqrt(mean(x^2) + eps) * weight`.
pub fn rmsnorm(fma: Fma, x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mean = dot(fma, x, x) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect()
}

/// (cosine, sine) of every pair of a head at a position, as the host makes them: `[D / 2]`.
pub fn angles(inverse_frequencies: &[f32], concentration: f32, position: usize) -> Vec<(f32, f32)> {
    let of_pair = |frequency: &f32| {
        let angle = f64::from(position as f32 * frequency);
        (angle.cos() as f32 * concentration, angle.sin() as f32 * concentration)
    };
    inverse_frequencies.iter().map(of_pair).collect()
}

/// Rotates the heads of one row in place; every product is rounded.
pub fn rotate(x: &mut [f32], angles: &[(f32, f32)]) {
    let half = angles.len();
    for head in x.chunks_exact_mut(2 * half) {
        for (i, (cosine, sine)) in angles.iter().enumerate() {
            let (a, b) = (head[i], head[half + i]);
            head[i] = a * cosine - b * sine;
            head[half + i] = b * cosine + a * sine;
        }
    }
}

/// SwiGLU of interleaved gate (even) and up (odd): `[F]` of `[2F]`.
pub fn swiglu(fma: Fma, gate_up: &[f32], limit: f32, alpha: f32) -> Vec<f32> {
    gate_up.chunks_exact(2).map(|pair| swiglu_value(fma, pair[0], pair[1], limit, alpha)).collect()
}

fn swiglu_value(fma: Fma, gate: f32, up: f32, limit: f32, alpha: f32) -> f32 {
    let g = if gate > limit { limit } else { gate };
    let u = if up > limit { limit } else { up };
    let u = if u < -limit { -limit } else { u };
    let sigmoid = 1.0 / (1.0 + exp(fma, -(alpha * g)));
    g * sigmoid * (u + 1.0)
}
