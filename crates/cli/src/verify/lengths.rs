//! Whether a model's answers are as long as MLPerf Inference found those of gpt-oss-120b.
//!
//! Its compliance test TEST09: effort low, temperature 1, at most 10,240 tokens; the mean of an answer's
//! tokens is within a tenth of 1,278.20 over its 6,396 prompts. Source: mlcommons/inference
//! `language/gpt-oss-120b` @b66003e. The prompts are the user's to bring; of fewer, the interval says more.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, bail};
use gptoss_checkpoint::Preset;
use gptoss_engine::SamplingParams;
use gptoss_harmony::Vocab;
use serde::Deserialize;

use super::turns::prompt;
use crate::args::ComputeArgs;
use crate::finding::Finding;
use crate::input::Source;
use crate::model_source::Opened;
use crate::sampled_turns::SampledTurns;
use crate::train::Z;

const ABOUT: &str = "lengths";
/// Tokens of an answer in the mean, of gpt-oss-120b.
const MEAN: f64 = 1278.20;
/// What a mean may differ by.
const SHARE: f64 = 0.1;
/// Longest answer. Units: tokens.
const TOKENS_MAX: usize = 10_240;

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Row {
    Text { prompt: String },
    Tokens { tokens: Vec<u32> },
}

/// What there is to say of them; `None` when it was cancelled.
///
/// Errors: the file is not what it should be; the model cannot be loaded; the engine's.
pub fn finding(
    opened: &Opened,
    vocab: &Vocab,
    file: &Path,
    compute: &ComputeArgs,
    cancel: &AtomicBool,
) -> Result<Option<Finding>> {
    let prompts = read(file, vocab)?;
    let config = opened.checkpoint.config();
    let longest = prompts.iter().map(Vec::len).max().unwrap_or_default();
    if longest >= config.max_position_embeddings {
        bail!(
            "{}: a prompt has {longest} tokens, and the context {}",
            file.display(),
            config.max_position_embeddings
        );
    }
    let tokens_max = TOKENS_MAX.min(config.max_position_embeddings - longest);
    let turns = prompts.len();
    let sampled = SampledTurns {
        prompts,
        turns,
        tokens_max,
        sampling: SamplingParams::default(),
        compute: compute.clone(),
    };
    let engine = sampled.engine(opened)?;
    let mut lengths = Vec::new();
    let mut count = |_: &[u32], turn: &[u32]| lengths.push(turn.len() as f64);
    if !sampled.each("lengths", (&engine, opened.adapter()), vocab, cancel, &mut count)? {
        return Ok(None);
    }
    let published = Preset::GptOss120b.config();
    let is_120b = (config.num_hidden_layers, config.num_local_experts)
        == (published.num_hidden_layers, published.num_local_experts);
    Ok(Some(judged(&lengths, is_120b)))
}

fn read(file: &Path, vocab: &Vocab) -> Result<Vec<Vec<u32>>> {
    let text = Source::from_argument(Some(file)).read_text()?;
    let mut prompts = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).with_context(|| {
            format!(
                "{}:{}: expected {{\"prompt\": TEXT}} or {{\"tokens\": [ID...]}}",
                file.display(),
                index + 1
            )
        })?;
        let tokens = match row {
            Row::Text { prompt: text } => prompt(vocab, &text),
            Row::Tokens { tokens } if tokens.is_empty() => {
                bail!("{}:{}: no tokens", file.display(), index + 1)
            }
            Row::Tokens { tokens } => tokens,
        };
        if let Some(id) = tokens.iter().find(|id| **id as usize >= vocab.len()) {
            bail!("{}:{}: token id {id} is beyond the vocabulary", file.display(), index + 1);
        }
        prompts.push(tokens);
    }
    if prompts.is_empty() {
        return Err(anyhow!("{} has no prompts\ngive a line of JSON for each", file.display()));
    }
    Ok(prompts)
}

fn judged(lengths: &[f64], is_120b: bool) -> Finding {
    let count = lengths.len() as f64;
    let mean = lengths.iter().sum::<f64>() / count;
    let variance = lengths.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let half = Z * (variance / count).sqrt();
    let says = format!("{mean:.1} tokens in the mean of {count} answers, give or take {half:.1}");
    if !is_120b {
        return Finding::warn(ABOUT, says, format!("gpt-oss-120b has {MEAN}; this is another model"));
    }
    let bounds = [MEAN * (1.0 - SHARE), MEAN * (1.0 + SHARE)];
    let is_apart = mean + half < bounds[0] || mean - half > bounds[1];
    match (bounds[0] <= mean && mean <= bounds[1], is_apart) {
        (true, _) => Finding::ok(ABOUT, format!("{says}; within a tenth of MLPerf's {MEAN}")),
        (false, false) => Finding::warn(
            ABOUT,
            says,
            format!("not within a tenth of MLPerf's {MEAN}, but chance may be why"),
        ),
        (false, true) => {
            Finding::fail(ABOUT, says, format!("MLPerf's compliance test wants {MEAN}, within a tenth"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn a_mean_is_within_a_tenth_or_apart() {
        let check =
            |lengths: &[f64], level: Level| assert_eq!(judged(lengths, true).level, level, "{lengths:?}");
        check(&[1200.0, 1300.0], Level::Ok);
        check(&[100.0, 2000.0], Level::Warn);
        check(&[100.0, 101.0, 102.0], Level::Fail);
        assert_eq!(judged(&[1278.0], false).level, Level::Warn);
    }
}
