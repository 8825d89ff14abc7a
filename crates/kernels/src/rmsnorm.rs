//! Root-mean-square normalization of one row.
//!
//! Entry point: [`rmsnorm`]. The mean of squares is taken in the eight lanes of [`crate::lanes`], so a row
//! has the same bits on every tier; the square root and the division are single IEEE operations. One body
//! serves all tiers: it is compiled again with wider instructions, which changes its speed and not its bits.

use crate::lanes::dot;
use crate::tier::{Tier, per_tier};

/// `out = x / sqrt(mean(x^2) + eps) * weight`, eps inside the root.
///
/// Shapes: `out [C]`, `x [C]`, `weight [C]`.
/// Panics: when the lengths differ.
/// Source: openai/gpt-oss `gpt_oss/torch/model.py`, class RMSNorm.
pub fn rmsnorm(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    rmsnorm_on(Tier::detect(), out, x, weight, eps);
}

/// [`rmsnorm`] on a tier of the caller's choice.
pub fn rmsnorm_on(tier: Tier, out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    assert_eq!(out.len(), x.len(), "rmsnorm: out and x");
    assert_eq!(weight.len(), x.len(), "rmsnorm: weight and x");
    per_tier!(tier.instructions(), rmsnorm_row(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32));
}

#[inline(always)]
fn rmsnorm_row(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let scale = row_scale(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub(crate) fn row_scale(x: &[f32], eps: f32) -> f32 {
    let mean = dot(x, x) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use super::rmsnorm;

    #[test]
    fn eps_is_inside_the_root() {
        let mut out = [0.0; 2];
        rmsnorm(&mut out, &[3.0, 4.0], &[1.0, 2.0], 12.5);
        assert_eq!(out, [3.0 / 5.0, 4.0 / 5.0 * 2.0]);
        rmsnorm(&mut out, &[0.0, -0.0], &[1.0, 2.0], 1e-5);
        assert_eq!(out, [0.0, 0.0]);
    }
}
