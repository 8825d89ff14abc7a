//! Whether gpt-oss-20b begins its greedy answers as the official implementation does.

use anyhow::Result;
use gptoss_checkpoint::{PUBLISHED_VOCAB_SIZE, Preset};
use gptoss_harmony::Vocab;
use gptoss_model::{Batch, LogitRows, Model, argmax};

use super::published::{ANSWERS, Answer, KNOWN_TOKENS};
use crate::args::ComputeArgs;
use crate::finding::Finding;
use crate::model_source::{ModelSource, Opened};
use crate::progress::{Progress, Unit};

const ABOUT: &str = "known answers";
/// Tokens of each answer that no rounding changes: `<|channel|>analysis<|message|>`.
const HEADER_TOKENS: usize = 3;
/// Answers of which a later token may be another: two logits may lie nearer than the rounding of a numeric
/// mode, as for llama.cpp's second answer.
const OTHERS_MAX: usize = 2;

/// What there is to say of it, of a model of that shape.
///
/// Errors: the model cannot be loaded or computed.
pub fn finding(opened: &Opened, vocab: &Vocab, compute: &ComputeArgs) -> Result<Option<Finding>> {
    let config = opened.checkpoint.config();
    let published = Preset::GptOss20b.config();
    let is_20b = config.vocab_size == PUBLISHED_VOCAB_SIZE
        && (config.num_hidden_layers, config.hidden_size, config.num_local_experts)
            == (published.num_hidden_layers, published.hidden_size, published.num_local_experts);
    if !is_20b || matches!(opened.source, ModelSource::Synthetic(..)) {
        return Ok(None);
    }
    let prompts: Vec<Vec<u32>> = ANSWERS.iter().map(|answer| answer.prompt(vocab)).collect();
    let context = prompts.iter().map(Vec::len).max().unwrap_or_default() + KNOWN_TOKENS;
    let model = opened.load(compute, context, None)?;
    let mut progress = Progress::new("known answers", Unit::Requests);
    let mut found = Vec::new();
    for prompt in &prompts {
        found.push(greedy(&model, prompt)?);
        progress.set(found.len() as u64, prompts.len() as u64);
    }
    Ok(Some(judged(&found)))
}

/// The first tokens of the most probable answer.
fn greedy(model: &Model, prompt: &[u32]) -> Result<Vec<u32>> {
    let mut cache = model.new_cache(prompt.len() + KNOWN_TOKENS);
    let mut logits = model.forward(&Batch { tokens: prompt, logits: LogitRows::Last }, &mut cache)?;
    let mut tokens = Vec::new();
    loop {
        let token = argmax(logits.last().unwrap_or_default());
        tokens.push(token);
        if tokens.len() == KNOWN_TOKENS {
            return Ok(tokens);
        }
        logits = model.forward(&Batch { tokens: &[token], logits: LogitRows::Last }, &mut cache)?;
    }
}

fn judged(found: &[Vec<u32>]) -> Finding {
    let is_other = |(answer, found): &(&Answer, &Vec<u32>)| answer.tokens[..] != found[..];
    let others: Vec<_> = ANSWERS.iter().zip(found).filter(is_other).collect();
    let says = format!(
        "{} of {} begin with the {KNOWN_TOKENS} tokens of the official implementation",
        ANSWERS.len() - others.len(),
        ANSWERS.len()
    );
    if others.is_empty() {
        return Finding::ok(ABOUT, says);
    }
    let keeps_header =
        |(answer, found): &(&Answer, &Vec<u32>)| answer.tokens[..HEADER_TOKENS] == found[..HEADER_TOKENS];
    let told: Vec<String> = others
        .iter()
        .map(|(answer, found)| format!("{}: {found:?} in place of {:?}", answer.name(), answer.tokens))
        .collect();
    match others.len() <= OTHERS_MAX && others.iter().all(keeps_header) {
        true => Finding::warn(ABOUT, says, format!("a near tie may fall otherwise: {}", told.join("; "))),
        false => Finding::fail(ABOUT, says, told.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn near_ties_are_told_and_more_is_wrong() {
        let right: Vec<Vec<u32>> = ANSWERS.iter().map(|answer| answer.tokens.to_vec()).collect();
        let check = |changes: &[(usize, usize)], level: Level| {
            let mut found = right.clone();
            for &(answer, place) in changes {
                found[answer][place] = 1;
            }
            assert_eq!(judged(&found).level, level, "{changes:?}");
        };
        check(&[], Level::Ok);
        check(&[(1, 7)], Level::Warn);
        check(&[(1, 3), (6, 7)], Level::Warn);
        check(&[(1, 3), (4, 4), (6, 7)], Level::Fail);
        check(&[(2, 2)], Level::Fail);
    }
}
