//! The gate at the end of a training: whether the tuned model still writes harmony where nothing holds it to.
//!
//! A server holds every turn to a grammar, which hides that a tuned model has lost the format. Here turns are
//! sampled at temperature 1 from prompts of the rows, by the engine that serves them, without any grammar,
//! and judged to the letter ([`verdict`](super::verdict)); the base does the same beside it. The same model,
//! rows and number of turns give the same turns.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use gptoss_engine::{AdapterId, SamplingParams};
use gptoss_harmony::{Control, Vocab};
use gptoss_train::Text;
use serde_json::{Value, json};

use crate::args::{ComputeArgs, DeviceArg, PrecisionArg};
use crate::engine_start::RunningEngine;
use crate::model_source::{ModelSource, Opened};
use crate::sampled_turns::SampledTurns;

use super::rows::Rows;
use super::share::Share;
use super::verdict::flaw;

/// The share of well-formed turns that is enough whatever the base does.
const SHARE_ENOUGH: f64 = 0.995;
/// Longest turn, in tokens of the longest that was to be learned or tested with.
const LENGTHS_MAX: usize = 2;
/// Longest turn where those are short. Units: tokens.
const TURN_TOKENS_MIN: usize = 256;
/// Flaws that are told.
const FLAWS_TOLD: usize = 3;

/// What is sampled.
pub struct Gate {
    sampled: SampledTurns,
}

/// What a model wrote.
#[derive(Debug, Default)]
pub struct Judged {
    share: Share,
    flaws: BTreeMap<String, usize>,
}

/// What the base and the tuned model wrote.
#[derive(Debug)]
pub struct Outcome {
    base: Judged,
    tuned: Judged,
    tokens_max: usize,
}

impl Gate {
    /// With prompts of what is tested with, and where that has none, of what is learned; `None` where no row
    /// has a turn, or no turns are asked for.
    pub fn of(rows: &Rows, vocab: &Vocab, turns: u32, threads: Option<u16>) -> Option<Gate> {
        if turns == 0 {
            return None;
        }
        let (head, train, valid) = (turn_head(vocab), rows.train_texts(), rows.valid_texts());
        let of = |texts: &[Text<'_>]| -> Vec<Vec<u32>> {
            texts.iter().filter_map(|text| Some(prompt(text, &head)?.to_vec())).collect()
        };
        let mut prompts = of(&valid);
        if prompts.is_empty() {
            prompts = of(&train);
        }
        let length = |text: &Text<'_>| turn_tokens(text, &head);
        let longest = train.iter().chain(&valid).filter_map(length).max().unwrap_or_default();
        let tokens_max = (LENGTHS_MAX * longest).max(TURN_TOKENS_MIN);
        let compute = ComputeArgs {
            precision: PrecisionArg::Fast,
            dense: None,
            kv: None,
            threads,
            memory: None,
            device: DeviceArg::Cpu,
            gpu_memory: None,
        };
        let sampled = SampledTurns {
            prompts,
            turns: turns as usize,
            tokens_max,
            sampling: SamplingParams::default(),
            compute,
        };
        (!sampled.prompts.is_empty()).then_some(Gate { sampled })
    }

    /// Has an adapter's base write, and the base with it.
    ///
    /// Errors: the model or the adapter cannot be loaded; the engine's.
    pub fn of_adapter(
        &self,
        source: &ModelSource,
        folder: &Path,
        cancel: &AtomicBool,
    ) -> Result<Option<Outcome>> {
        let opened = Opened::open(source.clone())?.with_adapter(Some(folder))?;
        let (vocab, engine) = (opened.vocab()?, self.sampled.engine(&opened)?);
        let Some(base) = self.judged(&engine, &vocab, None, cancel)? else { return Ok(None) };
        let tuned = self.judged(&engine, &vocab, opened.adapter(), cancel)?;
        Ok(tuned.map(|tuned| Outcome { base, tuned, tokens_max: self.sampled.tokens_max }))
    }

    /// Has a base write, and then the model in a folder.
    ///
    /// Errors: as [`Gate::of_adapter`].
    pub fn of_model(
        &self,
        source: &ModelSource,
        folder: &Path,
        cancel: &AtomicBool,
    ) -> Result<Option<Outcome>> {
        let judged = |source: ModelSource| {
            let opened = Opened::open(source)?;
            let (vocab, engine) = (opened.vocab()?, self.sampled.engine(&opened)?);
            self.judged(&engine, &vocab, None, cancel)
        };
        let Some(base) = judged(source.clone())? else { return Ok(None) };
        let tuned = judged(ModelSource::Folder(folder.to_owned()))?;
        Ok(tuned.map(|tuned| Outcome { base, tuned, tokens_max: self.sampled.tokens_max }))
    }

    /// Samples all turns; `None` when it was cancelled.
    fn judged(
        &self,
        engine: &RunningEngine,
        vocab: &Arc<Vocab>,
        adapter: Option<AdapterId>,
        cancel: &AtomicBool,
    ) -> Result<Option<Judged>> {
        let whose = if adapter.is_some() { "the tuned model's" } else { "the model's" };
        let mut judged = Judged::default();
        let mut judge = |prompt: &[u32], turn: &[u32]| judged.add(vocab, prompt, turn);
        let label = format!("gate: {whose} turns");
        let is_whole = self.sampled.each(&label, (engine, adapter), vocab, cancel, &mut judge)?;
        Ok(is_whole.then_some(judged))
    }
}

impl Judged {
    /// Counts a turn.
    pub fn add(&mut self, vocab: &Arc<Vocab>, prompt: &[u32], turn: &[u32]) {
        self.share.count += 1;
        match flaw(vocab, prompt, turn) {
            None => self.share.hits += 1,
            Some(flaw) => *self.flaws.entry(flaw).or_default() += 1,
        }
    }

    /// The well-formed ones among them.
    pub fn share(&self) -> Share {
        self.share
    }

    fn to_json(&self) -> Value {
        let mut told = self.share.to_json();
        told["flaws"] = json!(self.flaws);
        told
    }

    /// The most frequent flaws.
    pub fn flaws(&self) -> Vec<(&str, usize)> {
        let mut flaws: Vec<_> = self.flaws.iter().map(|(flaw, count)| (flaw.as_str(), *count)).collect();
        flaws.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        flaws.truncate(FLAWS_TOLD);
        flaws
    }
}

impl Outcome {
    /// Whether nearly every turn of the tuned model is well-formed, or no fewer than of the base.
    pub fn is_passed(&self) -> bool {
        let [base, tuned] = [&self.base, &self.tuned].map(|judged| judged.share.value());
        tuned >= SHARE_ENOUGH || tuned >= base
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "base": self.base.to_json(),
            "tuned": self.tuned.to_json(),
            "turn_tokens_max": self.tokens_max,
            "is_passed": self.is_passed(),
        })
    }

    /// For people.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let (base, tuned) = (self.base.share, self.tuned.share);
        writeln!(
            out,
            "well-formed of {} turns without a grammar: {base} with the base, {tuned} tuned",
            base.count
        )?;
        for (flaw, count) in self.tuned.flaws() {
            writeln!(out, "  not well-formed, {count} times: {flaw}")?;
        }
        Ok(())
    }

    /// Errors: the gate is not passed.
    pub fn check(&self, folder: &Path) -> Result<()> {
        if self.is_passed() {
            return Ok(());
        }
        let Share { hits, count } = self.tuned.share;
        Err(anyhow!(
            "failed gate: {hits} of {count} turns of the tuned model are well-formed, {} of the base's\nwhat was \
             trained is kept in {}; a lower --lr or fewer epochs keep more of the format, and so does `tokens` among \
             --sites; --gate-turns 0 does without the gate",
            self.base.share.hits,
            folder.display()
        ))
    }
}

/// How a turn of the model begins: `<|start|>assistant`.
fn turn_head(vocab: &Vocab) -> Vec<u32> {
    std::iter::once(vocab.control(Control::Start)).chain(vocab.encode_ids("assistant")).collect()
}

/// What stands before the turn that a text teaches, up to its `<|start|>assistant`, where it is a turn of a
/// conversation. Reasoning that is not learned is of the turn.
fn prompt<'a>(text: &Text<'a>, head: &[u32]) -> Option<&'a [u32]> {
    let first = text.weights.iter().position(|weight| *weight != 0.0)?;
    let starts = (0..=first).rev().filter(|place| text.tokens[*place] == head[0]);
    let of_turn = starts.take_while(|place| text.tokens[*place..].starts_with(head)).last();
    let place = of_turn.filter(|place| *place > 0)?;
    Some(&text.tokens[..place + head.len()])
}

/// How much is written behind such a prompt, reasoning that is not learned included.
fn turn_tokens(text: &Text<'_>, head: &[u32]) -> Option<usize> {
    Some(text.tokens.len() - prompt(text, head)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_ends_where_its_turn_begins() {
        let vocab = Vocab::o200k_harmony();
        let head = turn_head(&vocab);
        let [start, message, end] =
            [Control::Start, Control::Message, Control::End].map(|control| vocab.control(control));
        let said = |who: &str, what: &str| {
            [&[start][..], &vocab.encode_ids(who), &[message], &vocab.encode_ids(what), &[end]].concat()
        };
        let [asks, thinks, answers] = [said("user", "1+1"), said("assistant", "Hm."), said("assistant", "2")];
        let tokens = [asks.clone(), thinks.clone(), answers.clone()].concat();
        let expected = [&asks[..], &[start], &vocab.encode_ids("assistant")].concat();
        let check = |tokens: &[u32], first: usize, expected: Option<&[u32]>| {
            let weights: Vec<f32> =
                (0..tokens.len()).map(|place| f32::from(u8::from(place >= first))).collect();
            let text = Text { tokens, weights: &weights };
            assert_eq!(prompt(&text, &head), expected, "{first}");
            let length = expected.map(|prompt| tokens.len() - prompt.len());
            assert_eq!(turn_tokens(&text, &head), length, "{first}: reasoning that is masked is written too");
        };
        for first in [asks.len() + 2, asks.len() + thinks.len(), tokens.len() - 1] {
            check(&tokens, first, Some(&expected));
        }
        check(&tokens, asks.len() - 1, None);
        check(&tokens, tokens.len(), None);
        check(&answers, 3, None);
        check(&vocab.encode_ids("a text alone"), 1, None);
    }
}
