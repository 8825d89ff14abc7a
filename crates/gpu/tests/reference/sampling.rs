//! The best tokens of a row of logits under a mask, and the sums of the softmax.
//!
//! Which tokens are best is a question of comparisons and has one answer. The sums are the card's own: a span
//! of 2,048 logits has its largest m and l, the sum of `exp(logit - m)` in 256 chains by place modulo 256,
//! folded by halves; spans are joined in ascending order as those of attention are, from (the lowest finite
//! number, 0) on.

use super::Fma;
use super::numbers::exp;

/// Logits that are reduced on their own.
pub const SPAN: usize = 2048;
/// Chains of a span's sum.
const CHAINS: usize = 256;

/// Whether token `token` is allowed: by its bit, and always without a mask.
pub fn is_allowed(mask: Option<&[u32]>, token: usize) -> bool {
    mask.is_none_or(|words| words.get(token / 32).is_some_and(|word| word >> (token % 32) & 1 == 1))
}

/// Up to `k` allowed tokens, the largest logit first and of equals the lower id; those of negative infinity
/// and NaN never.
pub fn best(row: &[f32], mask: Option<&[u32]>, k: usize) -> Vec<u32> {
    let may_come = |token: &u32| {
        let logit = row[*token as usize];
        is_allowed(mask, *token as usize) && logit > f32::NEG_INFINITY
    };
    let mut tokens: Vec<u32> = (0..row.len() as u32).filter(may_come).collect();
    let logit = |token: &u32| row[*token as usize];
    tokens.sort_by(|a, b| logit(b).partial_cmp(&logit(a)).unwrap_or_else(|| unreachable!("no NaN is left")));
    tokens.truncate(k);
    tokens
}

/// (largest, sum of `exp(logit - largest)`) of the allowed logits.
pub fn softmax_sum(fma: Fma, row: &[f32], mask: Option<&[u32]>) -> (f32, f32) {
    let (mut top, mut sum) = (f32::MIN, 0.0);
    for (s, span) in row.chunks(SPAN).enumerate() {
        let seen = |i: &usize| is_allowed(mask, s * SPAN + i);
        let m = (0..span.len()).filter(seen).fold(f32::MIN, |m, i| if span[i] > m { span[i] } else { m });
        let mut chains = [0.0_f32; CHAINS];
        for i in (0..span.len()).filter(seen) {
            chains[i % CHAINS] += exp(fma, span[i] - m);
        }
        let mut half = CHAINS / 2;
        while half > 0 {
            for i in 0..half {
                chains[i] += chains[i + half];
            }
            half /= 2;
        }
        let t = if m > top { m } else { top };
        sum = fma.of(chains[0], exp(fma, m - t), sum * exp(fma, top - t));
        top = t;
    }
    (top, sum)
}
