//! Turns that a model writes where no grammar holds it.
//!
//! Sampled by the engine that serves, a seed each: the same model, prompts and number give the same turns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use gptoss_engine::{AdapterId, EngineOptions, Event, EventStream, Priority, Request, SamplingParams};
use gptoss_harmony::Vocab;

use crate::args::{ComputeArgs, EngineArgs};
use crate::engine_start::{self, RunningEngine};
use crate::model_source::Opened;
use crate::progress::{Progress, Unit};

/// Turns that are sampled at a time.
const SEQUENCES: usize = 16;

/// What is sampled, and how.
pub struct SampledTurns {
    /// Each up to its turn's `<|start|>assistant`.
    pub prompts: Vec<Vec<u32>>,
    /// How many are written in all.
    pub turns: usize,
    /// Tokens after which a turn has no end.
    pub tokens_max: usize,
    /// How tokens are chosen; each turn's seed is so many more than this one.
    pub sampling: SamplingParams,
    /// How the numbers are made.
    pub compute: ComputeArgs,
}

impl SampledTurns {
    /// An engine as `serve` has it without flags.
    ///
    /// Errors: the model cannot be loaded.
    pub fn engine(&self, opened: &Opened) -> Result<RunningEngine> {
        let longest = self.prompts.iter().map(Vec::len).max().unwrap_or_default();
        let context = (longest + self.tokens_max).min(opened.checkpoint.config().max_position_embeddings);
        let options = EngineOptions { max_sequences: SEQUENCES, ..EngineOptions::new(context) };
        let model = Arc::new(opened.load(&self.compute, context, None)?);
        engine_start::start(model, opened, &self.compute, &EngineArgs::default(), options)
    }

    /// Samples all turns and shows each with its prompt, in order; whether it was not cancelled.
    ///
    /// Errors: the engine's.
    pub fn each(
        &self,
        label: &str,
        (engine, adapter): (&RunningEngine, Option<AdapterId>),
        vocab: &Vocab,
        cancel: &AtomicBool,
        show: &mut dyn FnMut(&[u32], &[u32]),
    ) -> Result<bool> {
        let mut progress = Progress::new(label, Unit::Requests);
        let (mut next, mut running) = (0, VecDeque::new());
        loop {
            while next < self.turns && running.len() < 2 * SEQUENCES {
                let prompt = self.prompt_of(next);
                let request = self.request(prompt, vocab, adapter, next as u64);
                running.push_back((prompt, engine.handle.submit(request)?));
                next += 1;
            }
            let Some((prompt, events)) = running.pop_front() else { return Ok(true) };
            let turn = tokens(events)?;
            if cancel.load(Ordering::SeqCst) {
                return Ok(false);
            }
            show(prompt, &turn);
            progress.set((next - running.len()) as u64, self.turns as u64);
        }
    }

    /// The prompts in turn, or some of them from all over the rows.
    fn prompt_of(&self, turn: usize) -> &[u32] {
        let count = self.prompts.len();
        &self.prompts[if count > self.turns { turn * count / self.turns } else { turn % count }]
    }

    fn request(&self, prompt: &[u32], vocab: &Vocab, adapter: Option<AdapterId>, turn: u64) -> Request {
        let seed = self.sampling.seed.wrapping_add(turn);
        Request {
            prompt: prompt.to_vec(),
            sampling: SamplingParams { seed, ..self.sampling.clone() },
            stop_ids: vocab.stop_ids().to_vec(),
            max_new_tokens: self.tokens_max,
            adapter,
            priority: Priority::Background,
            ..Request::default()
        }
    }
}

/// The tokens of a turn, the one that ended it included.
fn tokens(mut events: EventStream) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    while let Some(event) = events.next_event() {
        match event {
            Event::Prefill { .. } | Event::Finished { .. } => {}
            Event::Token(token) => tokens.push(token.id),
            Event::Failed(failure) => return Err(anyhow!("the engine could not write a turn: {failure}")),
        }
    }
    Ok(tokens)
}
