//! How long do loading, a prompt and decoding take?
//!
//! [`Starts::measure`] loads the model and gives it its first short prompt, twice: the first time as the files happen to lie (from the
//! disk, with `--cold`), the second time with everything in the page cache, if the model comes from files. [`run_case`] fills a cache to
//! the case's depth, times the prompt, then times decoding token by token. Neither compares anything with anything.
//!
//! Filling is not timed and costs little: random keys and values are written, nothing is computed.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result};
use gptoss_model::{Batch, ExpertTraffic, KvCache, LogitRows, Model};
use serde::Serialize;

use super::{say, system};
use crate::args::BenchArgs;
use crate::memory_budget;
use crate::model_source::{ModelSource, Opened};

/// Tokens of the prompt whose first answer token counts as the end of a start.
const START_PROMPT: usize = 8;
/// Decode steps before the clock starts: the first ones after a prompt still bring its last touches of memory.
const WARM_UP_STEPS: usize = 1;

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Tokens of the prompt; with 0 there is none.
    pub prefill: usize,
    /// Positions filled before it.
    pub depth: usize,
    /// Sequences that decode together.
    pub batch: usize,
    /// Tokens that each sequence decodes.
    pub decode: usize,
}

impl Case {
    /// Positions that a sequence comes to.
    pub fn context(&self) -> usize {
        self.depth + self.prefill + WARM_UP_STEPS + self.decode
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "prefill {}, depth {}, batch {}, decode {}",
            self.prefill, self.depth, self.batch, self.decode
        )
    }
}

/// Tokens per second of one run; none of what was not asked for.
#[derive(Debug, Clone, Copy)]
pub struct Speeds {
    /// Of the prompt of one sequence.
    pub prefill: Option<f64>,
    /// Of all sequences together.
    pub decode: Option<f64>,
    /// What was read from disk while they decoded; `None` when all weights are in memory.
    pub disk: Option<ExpertTraffic>,
}

impl fmt::Display for Speeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number =
            |speed: Option<f64>| speed.map_or("-".to_owned(), |speed| format!("{speed:.2} tokens/s"));
        write!(f, "prefill {}, decode {}", number(self.prefill), number(self.decode))?;
        self.disk.map_or(Ok(()), |disk| write!(f, "; decoding: {}", memory_budget::traffic_line(&disk)))
    }
}

/// Seconds from opening the files to the first token of an 8-token prompt. Units: seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Starts {
    /// The first start with the files evicted from the page cache; `None` unless `--cold` asked for it and the system could.
    pub cold_first_token_seconds: Option<f64>,
    /// A start with the files in the page cache; of a model without files, the only start.
    pub first_token_seconds: f64,
    /// The part of it until the model was loaded.
    pub load_seconds: f64,
}

impl Starts {
    /// Starts the model once, or twice if it has files, and keeps the last.
    ///
    /// `context` is what `--memory` plans for. Units: tokens.
    ///
    /// Errors: the model cannot be loaded.
    pub fn measure(args: &BenchArgs, opened: &Opened, context: usize) -> Result<(Model, Starts)> {
        let has_files = !matches!(opened.source, ModelSource::Synthetic(..) | ModelSource::Demo);
        let is_cold = args.cold && has_files && evict(opened);
        let first = Start::measure(args, opened, context)?;
        say(&format!("{} start: {first}", if is_cold { "cold" } else { "first" }));
        let cold_first_token_seconds = is_cold.then_some(first.first_token_seconds);
        let last = if has_files {
            drop(first);
            let again = Start::measure(args, opened, context)?;
            say(&format!("warm start: {again}"));
            again
        } else {
            first
        };
        let Start { model, load_seconds, first_token_seconds } = last;
        Ok((model, Starts { cold_first_token_seconds, first_token_seconds, load_seconds }))
    }
}

/// Whether all files of the model have left the page cache, as far as the system tells.
fn evict(opened: &Opened) -> bool {
    opened.checkpoint.files().iter().all(|file| match system::evict(&file.path) {
        Ok(()) => true,
        Err(error) => {
            say(&format!("no cold start: {} cannot be evicted: {error}", file.path.display()));
            false
        }
    })
}

struct Start {
    model: Model,
    load_seconds: f64,
    first_token_seconds: f64,
}

impl Start {
    /// Opens the model anew, as a new process would.
    fn measure(args: &BenchArgs, opened: &Opened, context: usize) -> Result<Start> {
        let start = Instant::now();
        let model = Opened::open(opened.source.clone())?.load(&args.compute, context)?;
        let load_seconds = start.elapsed().as_secs_f64();
        let prompt = random_tokens(&model, START_PROMPT, 0);
        let mut cache = model.new_cache(START_PROMPT);
        model.forward(&Batch { tokens: &prompt, logits: LogitRows::Last }, &mut cache)?;
        Ok(Start { model, load_seconds, first_token_seconds: start.elapsed().as_secs_f64() })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "loaded after {:.2} s, first token after {:.2} s",
            self.load_seconds, self.first_token_seconds
        )
    }
}

/// Runs a case once.
///
/// Errors: the forward pass fails, which with finite weights it does not.
pub fn run_case(model: &Model, case: &Case, seed: u64) -> Result<Speeds> {
    let mut cache = model.new_cache(case.context());
    cache.append_random(case.depth, seed).context("cannot fill the cache")?;
    let prompt = random_tokens(model, case.prefill, 2 * seed + 1);
    let prefill = if prompt.is_empty() {
        None
    } else {
        let start = Instant::now();
        model.forward(&Batch { tokens: &prompt, logits: LogitRows::Last }, &mut cache)?;
        Some(prompt.len() as f64 / start.elapsed().as_secs_f64())
    };
    let tokens = random_tokens(model, WARM_UP_STEPS + case.decode, 2 * seed + 2);
    let (warm_up, timed) = tokens.split_at(WARM_UP_STEPS);
    decode(model, &mut cache, warm_up)?;
    let read_before = model.expert_traffic();
    let start = Instant::now();
    decode(model, &mut cache, timed)?;
    let seconds = start.elapsed().as_secs_f64();
    let disk = model.expert_traffic().zip(read_before).map(|(after, before)| after.since(&before));
    Ok(Speeds { prefill, decode: (!timed.is_empty()).then(|| timed.len() as f64 / seconds), disk })
}

fn decode(model: &Model, cache: &mut KvCache, tokens: &[u32]) -> Result<()> {
    for token in tokens.chunks(1) {
        model.forward(&Batch { tokens: token, logits: LogitRows::Last }, cache)?;
    }
    Ok(())
}

/// Ids spread over the vocabulary, the same for the same seed.
fn random_tokens(model: &Model, count: usize, seed: u64) -> Vec<u32> {
    let vocab_size = model.config().vocab_size as u64;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) % vocab_size) as u32
    };
    (0..count).map(next).collect()
}
