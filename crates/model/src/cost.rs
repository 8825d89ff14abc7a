//! The cost of a token: the bytes that are read for it and the numbers that are multiplied.
//!
//! Entry point: [`TokenCost`], which `Model::token_cost` adds up from the loaded weights, so that it counts
//! the matrices as they lie in memory (bf16, Q8_0, MXFP4) and not as the file had them. With it a measured
//! speed becomes a share of what the machine allows: bytes over the bandwidth for a single token,
//! multiply-adds over the speed of the tiles for a prompt.
//!
//! Decoding reads every dense matrix, the chosen experts, one row of the embedding, and the keys and values
//! in sight. A step of several sequences reads the dense matrices once and those experts that any of them
//! chose; how many that are depends on the router, and [`TokenCost::step_bytes`] takes the mean of a router
//! that spreads tokens evenly.
//!
//! Small vectors (norms, biases, sinks) are left out: they are a thousandth.

use crate::config::{LayerKind, ModelConfig};

/// Bytes that decoding reads and multiply-adds that a token needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCost {
    /// Attention and router matrices of all layers and the unembedding, each read once a step. Units: bytes.
    pub dense_bytes: u64,
    /// All experts of all layers, in use or not. Units: bytes.
    pub expert_bytes: u64,
    /// Keys and values that one token sees. Units: bytes.
    pub kv_bytes: u64,
    /// Experts of a layer; 1 in a dense model.
    pub num_experts: usize,
    /// Experts that a token goes to; 1 in a dense model.
    pub active_experts: usize,
    /// Multiply-adds of attention projections and router, all layers.
    pub dense_macs: u64,
    /// Multiply-adds of the chosen experts, all layers.
    pub expert_macs: u64,
    /// Multiply-adds of the unembedding, for tokens whose logits are wanted.
    pub unembedding_macs: u64,
}

impl TokenCost {
    /// Bytes that a decode step of `sequences` reads, one token each.
    ///
    /// Source: a token misses an expert with probability `1 - A / E`, so `sequences` of them use a share
    /// `1 - (1 - A / E)^sequences` of a layer's experts on average.
    pub fn step_bytes(&self, sequences: usize) -> f64 {
        let missed = 1.0 - self.active_experts as f64 / self.num_experts as f64;
        let used = 1.0 - missed.powi(sequences as i32);
        self.dense_bytes as f64 + self.expert_bytes as f64 * used + self.kv_bytes as f64 * sequences as f64
    }

    /// Bytes of one token decoded alone.
    pub fn bytes(&self) -> u64 {
        self.step_bytes(1).round() as u64
    }
}

/// Bytes of a model's matrices, as they are in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightBytes {
    /// Attention and router matrices of all layers and the unembedding.
    pub(crate) dense: u64,
    /// All experts of all layers.
    pub(crate) experts: u64,
}

/// Adds up the cost of a token that sees `context` positions, its own included, with `kv_row_bytes` bytes for
/// the keys of one position in one layer.
pub(crate) fn token_cost(
    config: &ModelConfig,
    weights: WeightBytes,
    context: usize,
    kv_row_bytes: u64,
) -> TokenCost {
    let layers = config.num_layers as u64;
    let [hidden, inner, query, kv, experts] = [
        config.hidden_size,
        config.intermediate_size,
        config.num_query_heads * config.head_dim,
        config.num_kv_heads * config.head_dim,
        config.num_experts,
    ]
    .map(|width| width as u64);
    let rows: usize = config.layer_kinds.iter().map(|kind| visible(config, *kind, context)).sum();
    TokenCost {
        dense_bytes: weights.dense,
        expert_bytes: weights.experts,
        kv_bytes: 2 * rows as u64 * kv_row_bytes,
        num_experts: config.expert_slots(),
        active_experts: config.active_experts(),
        dense_macs: layers * hidden * (2 * query + 2 * kv + experts),
        expert_macs: layers * 3 * hidden * inner * config.active_experts() as u64,
        unembedding_macs: config.vocab_size as u64 * hidden,
    }
}

/// Positions that the last of `context` tokens sees in a layer.
fn visible(config: &ModelConfig, kind: LayerKind, context: usize) -> usize {
    match kind {
        LayerKind::Full => context,
        LayerKind::Windowed => context.min(config.sliding_window),
    }
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};
    use gptoss_kernels::Pool;

    use crate::{Model, Precision};

    /// The tiny preset's bytes, counted by hand from its shape.
    #[test]
    fn costs_are_the_sums_of_what_is_read() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| ()).expect("loads");
        let config = model.config().clone();
        let [hidden, inner, vocab, layers] =
            [config.hidden_size, config.intermediate_size, config.vocab_size, config.num_layers]
                .map(|n| n as u64);
        let cost = model.token_cost(1000);
        let attention = (config.num_query_heads + config.num_kv_heads) as u64 * 2 * config.head_dim as u64;
        let dense = layers * hidden * (attention + config.num_experts as u64);
        assert_eq!(cost.dense_macs, dense);
        assert_eq!(cost.dense_bytes, 2 * (dense + vocab * hidden), "bf16");
        assert_eq!(cost.expert_bytes, layers * config.num_experts as u64 * 3 * hidden * inner * 17 / 32);
        assert_eq!(cost.expert_macs, layers * config.experts_per_token as u64 * 3 * hidden * inner);
        let full = config.layer_kinds.iter().filter(|kind| **kind == crate::LayerKind::Full).count() as u64;
        let rows = full * 1000 + (layers - full) * config.sliding_window as u64;
        assert_eq!(cost.kv_bytes, rows * 2 * 2 * (config.num_kv_heads * config.head_dim) as u64);
        let share = config.experts_per_token as f64 / config.num_experts as f64;
        let one = cost.dense_bytes as f64 + cost.expert_bytes as f64 * share + cost.kv_bytes as f64;
        assert!((cost.step_bytes(1) - one).abs() < 1.0);
        assert!(cost.step_bytes(8) < 8.0 * cost.step_bytes(1));
        let everything = (cost.dense_bytes + cost.expert_bytes) as f64;
        assert!(
            cost.step_bytes(4) > cost.step_bytes(2)
                && cost.step_bytes(10_000) - 10_000.0 * cost.kv_bytes as f64 <= everything
        );
    }
}
