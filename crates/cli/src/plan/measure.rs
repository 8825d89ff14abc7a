//! The costs of an engine's steps on this machine, measured with the engine itself.
//!
//! Entry point: [`measure`]. Prompts are random tokens, because routing then spreads over the experts, and
//! nothing is guessed. Decoding is timed between the tokens of the sequence that came last, while all of the
//! others run too; a prompt from its request to its first token. Of all runs the fastest quarter's slowest
//! counts: neighbors on the machine make a step slower and never faster, and a server that does not compute
//! all the time is held up less than this program, which does.
//!
//! How servers of one machine slow each other down is measured with engines of their own beside this one,
//! each with its weights and threads as a server has them, that compute all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gptoss_engine::{
    EngineHandle, EngineOptions, Event, EventStream, KvPlan, Request, SEQUENCES_DEFAULT, Speculation,
};

use super::costs::{Costs, FORMAT_VERSION, Point, alone, at};
use crate::args::PlanArgs;
use crate::engine_start::{self, RunningEngine};
use crate::model_source::Opened;
use crate::offer;

/// Prompts of each size, and answers, of which each has many steps.
const PROMPTS: u64 = 8;
const ANSWERS: u64 = 2;
/// Which of the sorted times counts: the one that this share is below.
const SHARE: f64 = 0.25;
/// Tokens of the prompts before decoding is timed.
const PROMPT_TOKENS: usize = 32;
/// Tokens of each answer, and those at its beginning and its end that are not timed: then others may begin or
/// have ended.
const ANSWER_TOKENS: usize = 48;
const EDGE_TOKENS: usize = 12;
/// Sequences of which the cost of looking back is measured.
const DEEP_ROWS: usize = 4;
/// Sequences of an engine beside the one that is measured, and with which the two are compared.
const BESIDE_ROWS: usize = 8;
/// Tokens of their prompts.
const BESIDE_PROMPT_TOKENS: usize = 128;

/// Measures what steps of a model cost.
///
/// Errors: the model cannot be loaded; the engine's.
pub fn measure(args: &PlanArgs, model: &str) -> Result<Costs> {
    let opened = offer::opened(model)?;
    let context = (args.context as usize).min(opened.checkpoint.config().max_position_embeddings);
    let mut options = args.engine.options(context, SEQUENCES_DEFAULT);
    options.speculation = Speculation::Off;
    let room = Room { args, kv: engine_start::plan_kv(&opened, &args.compute, &options)?, opened, options };
    let (engine, chunk_tokens, threads, vocab_size) = room.engine()?;
    let seed = args.traffic.seed.unwrap_or(0);
    let mut lab = Lab { engine: engine.handle.clone(), vocab_size, seed, prompts: 0 };
    // The first steps bring weights into memory.
    lab.prefill(chunk_tokens.min(context / 2))?;
    let sizes = std::iter::successors(Some(1), |size| Some(size * 2));
    let mut decode = Vec::new();
    for rows in sizes.clone().take_while(|&rows| rows <= options.max_sequences) {
        decode.push(lab.fast(rows, ANSWERS, |lab| lab.decode(rows, PROMPT_TOKENS))?);
    }
    let mut prefill = Vec::new();
    for tokens in sizes.take_while(|&tokens| tokens <= chunk_tokens.min(context - 1)) {
        prefill.push(lab.fast(tokens, PROMPTS, |lab| lab.prefill(tokens))?);
    }
    let deep = (context - ANSWER_TOKENS).min(context * 3 / 4);
    let position_seconds = lab.looking_back(DEEP_ROWS.min(options.max_sequences), deep)?;
    let prefill_position_seconds = lab.looking_back_of_prompts(&prefill, deep)?;
    let slowdowns = match args.fleet.per_machine.unwrap_or(1) {
        1 => alone(),
        servers => lab.slowdowns(&room, servers as usize, chunk_tokens.min(context / 2))?,
    };
    // What the short sequences and prompts have looked back at is not part of their rows.
    let before = (PROMPT_TOKENS + ANSWER_TOKENS / 2) as f64;
    for (rows, seconds) in &mut decode {
        *seconds = (*seconds - position_seconds * *rows * before).max(*seconds / 2.0);
    }
    let each = prefill_position_seconds.unwrap_or(position_seconds);
    for (tokens, seconds) in &mut prefill {
        *seconds = (*seconds - each * inside(*tokens)).max(*seconds / 2.0);
    }
    let Room { kv, opened, .. } = room;
    Ok(Costs {
        format: FORMAT_VERSION,
        model: opened.source.name(),
        threads,
        blocks: kv.sizes.blocks,
        sequences: kv.sizes.rings,
        snapshots: kv.sizes.snapshots,
        chunk_tokens,
        decode,
        prefill,
        position_seconds,
        prefill_position_seconds,
        request_seconds: 0.0,
        prompt_token_seconds: 0.0,
        token_seconds: 0.0,
        slowdowns,
    })
}

/// Positions before the tokens of a chunk within it, summed over them.
fn inside(tokens: f64) -> f64 {
    tokens * (tokens - 1.0) / 2.0
}

/// What engines are made of.
struct Room<'a> {
    args: &'a PlanArgs,
    opened: Opened,
    options: EngineOptions,
    kv: KvPlan,
}

impl Room<'_> {
    /// An engine with weights and threads of its own; tokens of a chunk, its threads, its vocabulary.
    fn engine(&self) -> Result<(RunningEngine, usize, usize, u32)> {
        let Room { args, opened, options, kv } = self;
        let model = Arc::new(opened.load(&args.compute, options.max_context, Some(kv))?);
        let (chunk_tokens, threads) = (model.chunk_tokens(), model.pool().threads());
        let vocab_size = model.config().vocab_size as u32;
        let engine = engine_start::start(model, opened, &args.compute, &args.engine, *options)?;
        Ok((engine, chunk_tokens, threads, vocab_size))
    }
}

/// An engine that computes all the time, until it is dropped.
struct Neighbor {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _engine: RunningEngine,
}

impl Neighbor {
    fn start(engine: RunningEngine, mut lab: Lab, rows: usize) -> Result<Neighbor> {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        // Prompts and answers in turn, as a server has them.
        let work =
            move || while !told.load(Ordering::Relaxed) && lab.decode(rows, BESIDE_PROMPT_TOKENS).is_ok() {};
        let thread = std::thread::Builder::new().name("neighbor".to_owned()).spawn(work);
        Ok(Neighbor { is_over, thread: Some(thread.context("cannot start a thread")?), _engine: engine })
    }
}

impl Drop for Neighbor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends with the answers that it waits for; one that panicked has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// An engine that answers nobody else.
struct Lab {
    engine: EngineHandle,
    vocab_size: u32,
    seed: u64,
    prompts: u64,
}

impl Lab {
    fn fast(&mut self, size: usize, repeats: u64, time: impl Fn(&mut Lab) -> Result<f64>) -> Result<Point> {
        let seconds = (0..repeats).map(|_| time(self)).collect::<Result<Vec<f64>>>()?;
        Ok((size as f64, fast(seconds)))
    }

    /// Seconds of a prompt alone, to its first token.
    fn prefill(&mut self, tokens: usize) -> Result<f64> {
        let begun = Instant::now();
        let mut events = self.submit(tokens, 1)?;
        next_token(&mut events)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds between tokens while so many sequences decode.
    fn decode(&mut self, rows: usize, prompt: usize) -> Result<f64> {
        // Prompts that take many steps begin long after one another: each answers for as long as all begin.
        let begin = prompt.div_ceil(64) * rows;
        let answer = ANSWER_TOKENS + begin;
        let mut streams =
            (0..rows).map(|_| self.submit(prompt, answer)).collect::<Result<Vec<EventStream>>>()?;
        let Some(last) = streams.last_mut() else { bail!("nothing decodes") };
        let mut times = Vec::new();
        for _ in 0..ANSWER_TOKENS - EDGE_TOKENS {
            next_token(last)?;
            times.push(Instant::now());
        }
        streams.iter().for_each(EventStream::cancel);
        for stream in &mut streams {
            while stream.next_event().is_some() {}
        }
        let gaps = times[EDGE_TOKENS..].windows(2);
        Ok(fast(gaps.map(|pair| pair[1].saturating_duration_since(pair[0]).as_secs_f64()).collect()))
    }

    /// Seconds for each position before a token that is decoded: of so many sequences with short and with
    /// deep prompts.
    fn looking_back(&mut self, rows: usize, deep: usize) -> Result<f64> {
        let shallow = self.fast(rows, ANSWERS, |lab| lab.decode(rows, PROMPT_TOKENS))?.1;
        let more = self.fast(rows, ANSWERS, |lab| lab.decode(rows, deep))?.1 - shallow;
        Ok((more / (rows * (deep - PROMPT_TOKENS)) as f64).max(0.0))
    }

    /// Seconds for each position before a token of a prompt: what a prompt of several chunks takes beyond
    /// its chunks alone, each of which looks back at itself. None where there is one chunk.
    fn looking_back_of_prompts(&mut self, prefill: &[Point], deep: usize) -> Result<Option<f64>> {
        let Some(&(chunk, of_chunk)) = prefill.last() else { return Ok(None) };
        let deep = deep as f64;
        let (whole, rest) = ((deep / chunk).floor(), deep % chunk);
        if whole < 2.0 {
            return Ok(None);
        }
        let seconds = self.fast(deep as usize, ANSWERS, |lab| lab.prefill(deep as usize))?.1;
        let of_rest = if rest > 0.0 { at(prefill, rest) } else { 0.0 };
        let across = inside(deep) - whole * inside(chunk) - inside(rest);
        Ok(Some(((seconds - whole * of_chunk - of_rest) / across).max(0.0)))
    }

    /// How many times longer steps take beside 0, 1, 2, ... other engines that compute.
    fn slowdowns(&mut self, room: &Room<'_>, servers: usize, tokens: usize) -> Result<Vec<f64>> {
        let rows = BESIDE_ROWS.min(room.options.max_sequences);
        let (mut slowdowns, mut neighbors) = (alone(), Vec::new());
        let first = self.compared(rows, tokens)?;
        while slowdowns.len() < servers {
            let (engine, _, _, vocab_size) = room.engine()?;
            let seed = self.seed ^ (slowdowns.len() as u64) << 32;
            let lab = Lab { engine: engine.handle.clone(), vocab_size, seed, prompts: 0 };
            neighbors.push(Neighbor::start(engine, lab, rows)?);
            let beside = self.compared(rows, tokens)?;
            let ratio = (beside.0 / first.0).midpoint(beside.1 / first.1);
            // More neighbors make nothing faster.
            slowdowns.push(slowdowns.iter().copied().fold(ratio, f64::max));
        }
        Ok(slowdowns)
    }

    /// Seconds of a step of decoding, and of a prompt.
    fn compared(&mut self, rows: usize, tokens: usize) -> Result<(f64, f64)> {
        let decode = self.fast(rows, 2 * ANSWERS, |lab| lab.decode(rows, PROMPT_TOKENS))?.1;
        Ok((decode, self.fast(tokens, PROMPTS, |lab| lab.prefill(tokens))?.1))
    }

    fn submit(&mut self, prompt: usize, answer: usize) -> Result<EventStream> {
        self.prompts += 1;
        let mut state = self.seed ^ self.prompts.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32 % self.vocab_size
        };
        let request =
            Request { prompt: (0..prompt).map(next).collect(), max_new_tokens: answer, ..Request::default() };
        Ok(self.engine.submit(request)?)
    }
}

/// The time that counts.
fn fast(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[(seconds.len() as f64 * SHARE) as usize]
}

/// Waits for the next token.
///
/// Errors: the request has ended.
fn next_token(events: &mut EventStream) -> Result<()> {
    loop {
        match events.next_event() {
            Some(Event::Token(_)) => return Ok(()),
            Some(Event::Prefill { .. }) => {}
            Some(Event::Failed(failure)) => return Err(failure.into()),
            Some(Event::Finished { .. }) | None => bail!("an answer ended before it was measured"),
        }
    }
}
