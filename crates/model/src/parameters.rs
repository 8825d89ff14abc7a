//! The parameters of a gpt-oss, counted: all, and those that one token uses.
//!
//! Entry point: [`parameters`], one [`PartCount`] per part of the model; their sums are the totals that
//! OpenAI publishes (116.83 B and 5.13 B for gpt-oss-120b). Counts are computed from the config alone, so
//! that looking at a model of any size allocates nothing and reads no weight.
//!
//! *Active* follows the published convention: every parameter that takes part in computing one token's logits
//! counts, the unembedding among them; the embedding does not, because one token reads a single row of it. Of
//! the experts only the chosen ones count.
//!
//! How many bytes they take is the business of `memory.rs`.

use gptoss_checkpoint::{LayerPart, Part};

use crate::config::ModelConfig;

/// One part of the model and its number of parameters.
///
/// Units: parameters (unpacked numbers, not bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartCount {
    /// The part's name: `embedding`, `attention`, `router`, `experts` (or `feed-forward` in a dense model),
    /// `norms`, `unembedding`.
    pub name: &'static str,
    /// All parameters of the part.
    pub total: u64,
    /// Those that one token's logits depend on.
    pub active: u64,
}

impl PartCount {
    fn always_active(name: &'static str, total: u64) -> PartCount {
        PartCount { name, total, active: total }
    }
}

/// Parameters by part, in the order of the forward pass.
///
/// Source: spec of the architecture, sections 1 and 2.7.
pub fn parameters(config: &ModelConfig) -> Vec<PartCount> {
    let counts = Counts::of(config);
    // A matrix for both ends counts once, as the unembedding.
    let embedding = if config.is_tied { 0 } else { counts.embedding };
    let mut parts = vec![PartCount { name: "embedding", total: embedding, active: 0 }];
    parts.push(PartCount::always_active("attention", counts.attention));
    if config.num_experts > 0 {
        parts.push(PartCount::always_active("router", counts.router));
    }
    let layers = config.num_layers as u64;
    parts.push(PartCount {
        name: mlp_part_name(config),
        total: counts.expert * config.expert_slots() as u64 * layers,
        active: counts.expert * config.active_experts() as u64 * layers,
    });
    parts.push(PartCount::always_active("norms", counts.norms));
    parts.push(PartCount::always_active("unembedding", counts.embedding));
    parts
}

/// What the MLPs of the model are called: `experts`, or `feed-forward` when the layers are dense.
pub(crate) fn mlp_part_name(config: &ModelConfig) -> &'static str {
    if config.num_experts > 0 { "experts" } else { "feed-forward" }
}

/// The numbers that `parameters` and `memory` are both built from. Units: parameters.
pub(crate) struct Counts {
    /// `[V, C]`; the unembedding has the same size.
    pub(crate) embedding: u64,
    /// Query, key, value and output projections with biases, and sinks, of all layers.
    pub(crate) attention: u64,
    /// `[E, C]` and `[E]` of all layers; 0 in a dense model.
    pub(crate) router: u64,
    /// Weights and biases of one expert of one layer.
    pub(crate) expert: u64,
    /// Biases of one expert of one layer: `[2F]` and `[C]`.
    pub(crate) expert_biases: u64,
    /// Two norms a layer and the final one.
    pub(crate) norms: u64,
}

impl Counts {
    pub(crate) fn of(config: &ModelConfig) -> Counts {
        let [layers, hidden, inner] =
            [config.num_layers, config.hidden_size, config.intermediate_size].map(|n| n as u64);
        let query = (config.num_query_heads * config.head_dim) as u64;
        let kv = (config.num_kv_heads * config.head_dim) as u64;
        let fused_rows = query + 2 * kv;
        let per_layer_attention =
            fused_rows * (hidden + 1) + hidden * (query + 1) + config.num_query_heads as u64;
        let expert_biases = 2 * inner + hidden;
        Counts {
            embedding: config.vocab_size as u64 * hidden,
            attention: layers * per_layer_attention,
            router: layers * config.num_experts as u64 * (hidden + 1),
            expert: 3 * inner * hidden + expert_biases,
            expert_biases,
            norms: (2 * layers + 1) * hidden,
        }
    }
}

/// Whether a part is matrices of the experts, which can stay on disk.
pub(crate) fn is_expert_matrix(part: Part) -> bool {
    use LayerPart::{DownBf16, DownBlocks, DownScales, GateUpBf16, GateUpBlocks, GateUpScales};
    matches!(
        part,
        Part::Layer(_, GateUpBlocks | GateUpScales | DownBlocks | DownScales | GateUpBf16 | DownBf16)
    )
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::Preset;

    use super::*;

    fn config(preset: Preset) -> ModelConfig {
        ModelConfig::from_checkpoint(&preset.config()).expect("a preset is legal")
    }

    fn totals(preset: Preset) -> (u64, u64) {
        let parts = parameters(&config(preset));
        (parts.iter().map(|part| part.total).sum(), parts.iter().map(|part| part.active).sum())
    }

    #[test]
    fn published_totals() {
        assert_eq!(totals(Preset::GptOss120b), (116_829_156_672, 5_132_849_472));
        assert_eq!(totals(Preset::GptOss20b), (20_914_757_184, 3_608_307_264));
    }

    #[test]
    fn announced_totals() {
        let billions = |number: u64| (number as f64 / 1e8).round() / 10.0;
        let (total, active) = totals(Preset::GptOss15b);
        assert_eq!((total as f64 / 1e7).round() / 100.0, 14.99);
        assert_eq!(active, total - 201_088 * 4096);
        let (total, active) = totals(Preset::GptOss90b);
        assert_eq!((billions(total), billions(active)), (90.0, 16.7));
    }
}
