//! Attention in a band: each row sees keys on both sides of its own, and the head's sink.
//!
//! Entry point: [`banded`], over the causal [`attention`]. A row that stands `right` positions further and
//! whose window holds both sides sees the same keys, so one call does all rows that have their whole right
//! side; those at the end of the text have less of it, each another part, and are done one by one at the last
//! position. Which way a row goes depends on the text alone, and positions are absolute, so its bits depend
//! on no window.

use std::ops::Range;

use gptoss_kernels::{AttentionJob, AttentionParams, KvRun, KvSlice, Pool, attention};

use crate::config::FilterConfig;

/// Keys and values of consecutive rows.
pub(crate) struct KeyRows<'a> {
    /// `[R, K, D]`, rotated.
    pub(crate) keys: &'a [f32],
    /// `[R, K, D]`
    pub(crate) values: &'a [f32],
    /// Which rows of the text they are.
    pub(crate) rows: Range<usize>,
}

/// What the rows `rows` of a text of `num_tokens` see.
///
/// Shapes: `out [R, H, D]`, `query [R, H, D]`, rotated.
/// Panics: when a key that a row sees is not there.
pub(crate) fn banded(
    pool: &Pool,
    config: &FilterConfig,
    sinks: &[f32],
    (out, query): (&mut [f32], &[f32]),
    rows: Range<usize>,
    kv: &KeyRows<'_>,
    num_tokens: usize,
) {
    let (left, right) = (config.left_context, config.right_context);
    let runs = [KvRun {
        keys: KvSlice::F32(kv.keys),
        values: KvSlice::F32(kv.values),
        first_position: kv.rows.start,
        len: kv.rows.len(),
    }];
    let attend = |out: &mut [f32], q: &[f32], first_position: usize, window: usize| {
        let params = AttentionParams {
            num_query_heads: config.num_query_heads,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            window: Some(window),
            sinks,
            scale: 1.0 / (config.head_dim as f32).sqrt(),
        };
        attention(pool, &mut [AttentionJob { out, q, runs: &runs, first_position }], &params);
    };
    let width = config.num_query_heads * config.head_dim;
    let num_whole = num_tokens.saturating_sub(right).clamp(rows.start, rows.end) - rows.start;
    let (out, tail) = out.split_at_mut(num_whole * width);
    let (query, tail_query) = query.split_at(num_whole * width);
    if num_whole > 0 {
        attend(out, query, rows.start + right, left + right + 1);
    }
    for (index, (out, q)) in tail.chunks_exact_mut(width).zip(tail_query.chunks_exact(width)).enumerate() {
        let row = rows.start + num_whole + index;
        attend(out, q, num_tokens - 1, num_tokens - row + left);
    }
}

#[cfg(test)]
mod tests {
    use gptoss_kernels::YarnParams;

    use super::*;

    const YARN: YarnParams = YarnParams {
        factor: 1.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_max_position_embeddings: 4096,
        truncate: false,
    };

    fn config(left_context: usize, right_context: usize) -> FilterConfig {
        FilterConfig {
            vocab_size: 1,
            hidden_size: 1,
            intermediate_size: 1,
            num_layers: 1,
            num_experts: 1,
            experts_per_token: 1,
            num_query_heads: 6,
            num_kv_heads: 2,
            head_dim: 8,
            left_context,
            right_context,
            rms_norm_eps: 1e-5,
            swiglu_limit: 7.0,
            rope_theta: 1e4,
            yarn: YARN,
        }
    }

    fn numbers(seed: f32, len: usize) -> Vec<f32> {
        (0..len).map(|i| (seed + i as f32 * 0.7311).sin()).collect()
    }

    /// One number of the output as its definition has it, in f64.
    fn defined(config: &FilterConfig, [q, keys, values]: [&[f32]; 3], sinks: &[f32], at: [usize; 4]) -> f64 {
        let [row, head, d, num_tokens] = at;
        let dim = config.head_dim;
        let kv_head = head / (config.num_query_heads / config.num_kv_heads);
        let q = &q[(row * config.num_query_heads + head) * dim..][..dim];
        let seen = row.saturating_sub(config.left_context)..(row + config.right_context + 1).min(num_tokens);
        let of_kv = |rows: &[f32], key: usize, d: usize| {
            f64::from(rows[(key * config.num_kv_heads + kv_head) * dim + d])
        };
        let score = |key: usize| -> f64 {
            (0..dim).map(|d| f64::from(q[d]) * of_kv(keys, key, d)).sum::<f64>() / (dim as f64).sqrt()
        };
        let weights: Vec<f64> = seen.clone().map(|key| score(key).exp()).collect();
        let sum: f64 = f64::from(sinks[head]).exp() + weights.iter().sum::<f64>();
        seen.zip(weights).map(|(key, weight)| weight / sum * of_kv(values, key, d)).sum()
    }

    #[test]
    fn every_row_sees_its_band() {
        for (left, right, num_tokens) in
            [(3, 3, 20), (0, 5, 20), (5, 0, 20), (2, 7, 5), (128, 128, 300), (0, 0, 3)]
        {
            let config = config(left, right);
            let q = numbers(0.1, num_tokens * 48);
            let [keys, values] = [0.2, 0.9].map(|seed| numbers(seed, num_tokens * 16));
            let sinks = numbers(3.0, 6);
            let mut out = vec![0.0; q.len()];
            let kv = KeyRows { keys: &keys, values: &values, rows: 0..num_tokens };
            banded(&Pool::new(2), &config, &sinks, (&mut out, &q), 0..num_tokens, &kv, num_tokens);
            for (index, &ours) in out.iter().enumerate() {
                let [row, head, d] = [index / 48, index / 8 % 6, index % 8];
                let expected = defined(&config, [&q, &keys, &values], &sinks, [row, head, d, num_tokens]);
                let difference = (f64::from(ours) - expected).abs();
                assert!(
                    difference < 2e-6,
                    "{left}, {right}, {num_tokens}: row {row} head {head}: {difference}"
                );
            }
        }
    }
}
