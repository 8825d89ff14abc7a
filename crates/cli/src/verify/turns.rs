//! Whether the turns that a model writes without a grammar are harmony.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use gptoss_engine::SamplingParams;
use gptoss_harmony::{Conversation, Message, ReasoningEffort, RenderOptions, SystemContent, Vocab, render};

use crate::args::VerifyArgs;
use crate::finding::Finding;
use crate::model_source::Opened;
use crate::sampled_turns::SampledTurns;
use crate::train::Judged;

const ABOUT: &str = "turns";
/// Longest turn. Units: tokens.
const TURN_TOKENS_MAX: usize = 1024;
/// The share of well-formed turns that is enough; a model that was trained to write harmony loses a turn in
/// hundreds.
const SHARE_ENOUGH: f64 = 0.95;
/// What is asked.
const QUESTIONS: &[&str] = &[
    "What is 27 + 58?",
    "Hello!",
    "Name three colors.",
    "Is 91 a prime number?",
    "Spell the word cat.",
    "Write a sentence about rain.",
    "What is the capital of France?",
    "How many days has a week?",
];

/// What there is to say of them; `None` when it was cancelled.
///
/// Errors: the model cannot be loaded; the engine's.
pub fn finding(
    opened: &Opened,
    vocab: &Arc<Vocab>,
    args: &VerifyArgs,
    cancel: &AtomicBool,
) -> Result<Option<Finding>> {
    let prompts: Vec<Vec<u32>> = QUESTIONS.iter().map(|question| prompt(vocab, question)).collect();
    let longest = prompts.iter().map(Vec::len).max().unwrap_or_default();
    let room = opened.checkpoint.config().max_position_embeddings.saturating_sub(longest);
    let tokens_max = TURN_TOKENS_MAX.min(room);
    let sampled = SampledTurns {
        prompts,
        turns: args.turns as usize,
        tokens_max,
        sampling: SamplingParams::default(),
        compute: args.compute.clone(),
    };
    let mut judged = Judged::default();
    let engine = sampled.engine(opened)?;
    let mut judge = |prompt: &[u32], turn: &[u32]| judged.add(vocab, prompt, turn);
    if !sampled.each("turns", (&engine, opened.adapter()), vocab, cancel, &mut judge)? {
        return Ok(None);
    }
    let share = judged.share();
    let says = format!("{share} of {} are well-formed at temperature 1 without a grammar", share.count);
    if share.value() >= SHARE_ENOUGH {
        return Ok(Some(Finding::ok(ABOUT, says)));
    }
    let flaws: Vec<String> =
        judged.flaws().iter().map(|(flaw, count)| format!("{count} times: {flaw}")).collect();
    if let Some(caveat) = opened.source.caveat() {
        return Ok(Some(Finding::warn(ABOUT, says, caveat)));
    }
    Ok(Some(Finding::fail(ABOUT, says, flaws.join("\n"))))
}

/// The prompt of a question, with little reasoning.
pub fn prompt(vocab: &Vocab, question: &str) -> Vec<u32> {
    let system = SystemContent::default().with_reasoning_effort(ReasoningEffort::Low);
    let conversation = Conversation::from_messages([Message::system(system), Message::user(question)]);
    render(vocab, &conversation, RenderOptions::default()).expect("a question is rendered")
}
