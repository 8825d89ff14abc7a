//! Timing of loading, a prompt and decoding.
//!
//! [`Starts::measure`] loads the model and gives it its first short prompt, twice: the first time as the
//! files happen to lie (from the disk, with `--cold`), the second time with everything in the page cache, if
//! the model comes from files. [`run_case`] fills a cache to the case's depth, times the prompt, then times
//! decoding token by token. Neither compares anything with anything.
//!
//! Filling is not timed and costs little: random keys and values are written, nothing is computed.

use std::fmt;
use std::time::Instant;

use anyhow::{Result, anyhow};
use gptoss_model::{
    AdapterId, BLOCK_TOKENS, Batch, ExpertTraffic, KvMove, KvStore, LogitRows, Model, Segment, SequenceKv,
    StoreSizes, Workspace,
};
use serde::Serialize;

use super::{say, system};
use crate::args::BenchArgs;
use crate::memory_budget;
use crate::model_source::{ModelSource, Opened};

/// Tokens of the prompt whose first answer token counts as the end of a start.
const START_PROMPT: usize = 8;
/// Tokens of a prompt that is not timed: with as many, nearly every expert is used once, and its pages are
/// mapped.
const WARM_UP_PROMPT: usize = 128;
/// Positions at the beginning and at the end of a long sequence that are filled on a card: whole blocks, more
/// than a window.
const FILLED_POSITIONS: usize = 512;
/// Blocks that are copied in one submission.
const COPIES_AT_ONCE: usize = 256;
/// Decode steps before the clock starts: the first ones after a prompt still bring its last touches of
/// memory.
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
    /// The first start with the files evicted from the page cache; `None` unless `--cold` asked for it and
    /// the system could.
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
        let again = Opened::again(&opened.source, &opened.adapters)?;
        let model = again.load(&args.compute, context, None)?;
        let load_seconds = start.elapsed().as_secs_f64();
        let prompt = random_tokens(&model, START_PROMPT, 0);
        let mut cache = model.new_cache(START_PROMPT).with_adapter(opened.adapter());
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

/// Uses all weights once, untimed: what a first prompt costs beyond others is told by [`Starts`]. A model
/// that reads its experts from disk as they are needed has no weights to warm.
///
/// Errors: the forward pass fails, which with finite weights it does not.
pub fn warm_up(model: &Model, adapter: Option<AdapterId>) -> Result<()> {
    if model.expert_traffic().is_none() {
        let prompt = random_tokens(model, WARM_UP_PROMPT, 0);
        model.forward(
            &Batch { tokens: &prompt, logits: LogitRows::Last },
            &mut model.new_cache(WARM_UP_PROMPT).with_adapter(adapter),
        )?;
    }
    Ok(())
}

/// Runs a case once.
///
/// Errors: the forward pass fails, which with finite weights it does not.
pub fn run_case((model, adapter): (&Model, Option<AdapterId>), case: &Case, seed: u64) -> Result<Speeds> {
    let mut sequences = Sequences { adapter, ..Sequences::new(model, case) };
    sequences.fill(0, case.depth, seed);
    // One sequence computes its prompt; the others are given as many positions.
    for sequence in 1..case.batch {
        sequences.fill(sequence, case.depth + case.prefill, seed + sequence as u64);
    }
    let prompt = random_tokens(model, case.prefill, 2 * seed + 1);
    let start = Instant::now();
    sequences.prefill(&prompt, case.depth)?;
    let prefill = (!prompt.is_empty()).then(|| prompt.len() as f64 / start.elapsed().as_secs_f64());
    let tokens = random_tokens(model, (WARM_UP_STEPS + case.decode) * case.batch, 2 * seed + 2);
    let mut steps = tokens.chunks(case.batch).zip(case.depth + case.prefill..);
    for (tokens, position) in steps.by_ref().take(WARM_UP_STEPS) {
        sequences.decode(tokens, position)?;
    }
    let read_before = model.expert_traffic();
    let start = Instant::now();
    for (tokens, position) in steps {
        sequences.decode(tokens, position)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let disk = model.expert_traffic().zip(read_before).map(|(after, before)| after.since(&before));
    let decode = (case.decode > 0).then(|| (case.decode * case.batch) as f64 / seconds);
    Ok(Speeds { prefill, decode, disk })
}

/// The sequences of a case, with room for all their positions.
struct Sequences<'a> {
    model: &'a Model,
    store: KvStore,
    work: Workspace,
    /// The blocks of each sequence, one after another.
    blocks: Vec<Vec<u32>>,
    adapter: Option<AdapterId>,
}

impl<'a> Sequences<'a> {
    fn new(model: &'a Model, case: &Case) -> Sequences<'a> {
        let blocks_each = case.context().div_ceil(BLOCK_TOKENS);
        let sizes = StoreSizes { blocks: blocks_each * case.batch, rings: case.batch, snapshots: 0 };
        let blocks = (0..case.batch)
            .map(|sequence| {
                (sequence * blocks_each..(sequence + 1) * blocks_each).map(|block| block as u32).collect()
            })
            .collect();
        Sequences {
            model,
            store: model.new_store(sizes, case.context()),
            work: model.new_workspace(),
            blocks,
            adapter: None,
        }
    }

    /// Fills the first `end` positions of a sequence. Rows go to a card one by one, so there a few blocks are
    /// copied over and over; windows see the last ones.
    fn fill(&mut self, sequence: usize, end: usize, seed: u64) {
        let kv = SequenceKv { blocks: &self.blocks[sequence], ring: sequence as u32 };
        if self.model.device().is_none() || end <= 3 * FILLED_POSITIONS {
            return self.store.fill_random(&kv, 0..end, seed);
        }
        let tail = (end - FILLED_POSITIONS) / BLOCK_TOKENS;
        self.store.fill_random(&kv, 0..FILLED_POSITIONS, seed);
        self.store.fill_random(&kv, tail * BLOCK_TOKENS..end, seed);
        let num_filled = FILLED_POSITIONS / BLOCK_TOKENS;
        let copies: Vec<KvMove> = (num_filled..tail)
            .map(|block| {
                let (from, to) = (kv.blocks[block % num_filled], kv.blocks[block]);
                KvMove::CopyBlock { from, to, rows: BLOCK_TOKENS }
            })
            .collect();
        copies.chunks(COPIES_AT_ONCE).for_each(|copies| self.store.apply(copies));
    }

    /// Computes a prompt of the first sequence in chunks, with the logits of its last token.
    fn prefill(&mut self, prompt: &[u32], mut first_position: usize) -> Result<()> {
        let end = first_position + prompt.len();
        for tokens in prompt.chunks(self.model.chunk_tokens()) {
            let is_last = first_position + tokens.len() == end;
            let logits = if is_last { LogitRows::Last } else { LogitRows::None };
            let kv = SequenceKv { blocks: &self.blocks[0], ring: 0 };
            let segment = Segment { tokens, first_position, kv, logits, adapter: self.adapter };
            step(self.model, &mut self.store, &mut self.work, &[segment])?;
            first_position += tokens.len();
        }
        Ok(())
    }

    /// One token of every sequence, all at the same position.
    fn decode(&mut self, tokens: &[u32], first_position: usize) -> Result<()> {
        let places = self.blocks.iter().zip(0..).map(|(blocks, ring)| SequenceKv { blocks, ring });
        let logits = LogitRows::Last;
        let segments: Vec<Segment<'_>> = tokens
            .chunks(1)
            .zip(places)
            .map(|(tokens, kv)| Segment { tokens, first_position, kv, logits, adapter: self.adapter })
            .collect();
        step(self.model, &mut self.store, &mut self.work, &segments)
    }
}

fn step(model: &Model, store: &mut KvStore, work: &mut Workspace, segments: &[Segment<'_>]) -> Result<()> {
    work.clear();
    model.forward_segments(segments, store, work)?;
    for segment in 0..segments.len() {
        work.logits(segment).map_err(|error| anyhow!("{error}"))?;
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
