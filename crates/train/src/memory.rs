//! What a run holds in memory, in named terms, before it starts.

use gptoss_checkpoint::{Checkpoint, Config, ExpertFormat, Layout, parts, shape};
use gptoss_formats::{BLOCK_VALUES, Mxfp4Block};

use crate::graph::LOGITS_MAX;
use crate::tuning::{LowRankTuning, Tuning};

/// A summand of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What it is for.
    pub name: &'static str,
    /// Units: bytes.
    pub bytes: u64,
}

/// Bytes of a trained number: itself, its gradient, two moments.
const TRAINED_BYTES: u64 = 16;
/// How many times its share of the rows one expert is taken to be chosen by.
const EXPERT_SHARE: usize = 2;

/// The terms of a run in which `rows` rows go through the network together, and something is asked of
/// `asked` of them; its passes see the weights as they are, or as they will be stored with experts in a
/// format.
pub fn memory(
    checkpoint: &Checkpoint,
    (tuning, stored): (&Tuning, Option<ExpertFormat>),
    rows: usize,
    asked: usize,
) -> Vec<Term> {
    let config = checkpoint.config();
    let (t, layers) = (rows as u64, config.num_hidden_layers as u64);
    let [c, f, e] = [config.hidden_size, config.intermediate_size, config.num_local_experts.max(1)];
    let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|n| n * config.head_dim);
    let active = config.experts_per_token.max(1);
    // Full training copies them and gives the pages of mapped files back.
    let stays = *tuning != Tuning::Full || matches!(checkpoint.layout(), Layout::Synthetic(..));
    let kept = layers * t * (8 * c + 8 * active) as u64;
    let attention = t * 4 * (3 * c + 4 * heads + 4 * kv + 2 * config.num_attention_heads) as u64;
    let expert_rows = (EXPERT_SHARE * rows * active / e).min(rows) as u64;
    let experts = t * 4 * (3 * c + 2 * e) as u64 + expert_rows * 4 * (3 * c + 6 * f) as u64;
    let logits = LOGITS_MAX.max(config.vocab_size).min(asked * config.vocab_size) as u64;
    let head = t * 4 * (2 * c) as u64 + asked as u64 * 4 * (4 * c) as u64 + 4 * logits;
    let mut terms = vec![
        Term { name: "weights where they lie", bytes: if stays { checkpoint.tensor_bytes() } else { 0 } },
        Term {
            name: "trained numbers, their gradients and moments",
            bytes: TRAINED_BYTES * num_trained(config, tuning),
        },
        Term { name: "rows kept for the backward pass", bytes: kept },
        Term { name: "a layer or the head at work", bytes: attention.max(experts).max(head) },
    ];
    if let Some(format) = stored {
        terms.push(Term { name: "matrices as they will be stored", bytes: made(checkpoint, tuning, format) });
    }
    terms
}

/// The matrices that a pass makes and holds at a time: those of attention, of an expert, or the head where
/// it does not lie in bf16.
fn made(checkpoint: &Checkpoint, tuning: &Tuning, format: ExpertFormat) -> u64 {
    let config = checkpoint.config();
    let [c, f] = [config.hidden_size, config.intermediate_size];
    let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|n| n * config.head_dim);
    let expert = match format {
        ExpertFormat::Mxfp4 => 3 * c * f / BLOCK_VALUES * size_of::<Mxfp4Block>(),
        ExpertFormat::Bf16 => 2 * 3 * c * f,
    };
    let head = match (tuning, checkpoint.layout()) {
        (Tuning::Full, _) | (_, Layout::Gguf(_)) => 2 * c * config.vocab_size,
        _ => 0,
    };
    expert.max(2 * 2 * c * (heads + kv)).max(head) as u64
}

/// How many numbers are trained.
pub fn num_trained(config: &Config, tuning: &Tuning) -> u64 {
    let [c, f, e] = [config.hidden_size, config.intermediate_size, config.num_local_experts.max(1)];
    let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|n| n * config.head_dim);
    let count = match tuning {
        Tuning::Full => {
            let parts = parts(config, ExpertFormat::Bf16).into_iter();
            parts.map(|part| shape(config, part).iter().product::<usize>()).sum()
        }
        Tuning::LowRank(LowRankTuning { attention_rank, expert_rank, tokens, .. }) => {
            let attention = attention_rank.unwrap_or(0) * (2 * (c + heads) + 2 * (c + kv));
            let experts = expert_rank.unwrap_or(0) * e * (2 * c + 3 * f);
            config.num_hidden_layers * (attention + experts) + 2 * tokens.len() * c
        }
    };
    count as u64
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::Preset;

    use super::*;
    use crate::weights::Weights;

    fn low_rank(tokens: Vec<u32>) -> Tuning {
        let (attention_rank, expert_rank) = (Some(8), Some(4));
        Tuning::LowRank(LowRankTuning { attention_rank, expert_rank, scale: 2.0, tokens })
    }

    #[test]
    fn the_count_is_that_of_the_network() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        let weights = Weights::open(&checkpoint, None).expect("opens");
        for tuning in [Tuning::Full, low_rank(vec![1, 5])] {
            let (_, trained) = weights.network(&tuning, 0);
            assert_eq!(trained.len() as u64, num_trained(checkpoint.config(), &tuning), "{tuning:?}");
        }
    }

    #[test]
    fn the_published_model_needs_what_was_planned_for_it() {
        let checkpoint = Checkpoint::synthetic(Preset::GptOss20b, 0, None).expect("a preset");
        let tuning = Tuning::LowRank(LowRankTuning {
            attention_rank: Some(8),
            expert_rank: Some(8),
            scale: 2.0,
            tokens: Vec::new(),
        });
        // 497,664 and 11,059,200 a unit of rank.
        assert_eq!(num_trained(checkpoint.config(), &tuning), 8 * (497_664 + 11_059_200));
        let sum_of = |stored: Option<ExpertFormat>| -> u64 {
            memory(&checkpoint, (&tuning, stored), 2048, 2048).iter().map(|term| term.bytes).sum()
        };
        let bytes = sum_of(None);
        assert!((16_500_000_000..17_500_000_000).contains(&bytes), "{bytes}");
        // Attention's four matrices in bf16 are more than an expert in MXFP4.
        assert_eq!(sum_of(Some(ExpertFormat::Mxfp4)) - bytes, 4 * 2880 * (4096 + 512));
    }
}
