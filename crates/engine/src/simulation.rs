//! The scheduler and the prefix cache without a model: which step follows, not what comes out of it.
//!
//! Entry point: [`SimulatedEngine`]. [`SimulatedEngine::begin_step`] plans as the engine does and says what
//! the step computes, so that somebody with a table of costs knows how long it takes;
//! [`SimulatedEngine::end_step`] settles it. Nothing is guessed, each chosen token is another, and an answer
//! is as long as its request says. The same calls give the same steps.

use std::collections::BTreeMap;

use crate::kv_plan::EngineOptions;
use crate::limits::CACHE_POINTS_MAX;
use crate::plan::{Chunk, Ended, Outcome, Plan};
use crate::request::{KeptFor, Owner, Priority, Tenant};
use crate::scheduler::{Capacity, Scheduler};
use crate::sequence::NewSequence;

/// Chosen tokens have this bit, which no token of a vocabulary has.
const CHOSEN: u32 = 1 << 31;

/// What an engine has to give: as a `KvPlan` and a model say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedSizes {
    /// Blocks of the KV pool.
    pub blocks: usize,
    /// Sequences that run at a time.
    pub sequences: usize,
    /// Kept places of prompts.
    pub snapshots: usize,
    /// Tokens of one sequence in a step.
    pub chunk_tokens: usize,
}

/// A request of which only the lengths and the beginnings matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedRequest {
    /// Unique within an engine, and rising.
    pub id: u64,
    /// At least one token; those that begin alike share what is kept.
    pub prompt: Vec<u32>,
    /// Tokens of the answer, at least one.
    pub output_tokens: usize,
    /// Ends of messages, as numbers of tokens before them.
    pub cache_points: Vec<usize>,
}

/// What a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimulatedStep {
    /// Sequences that get their next token.
    pub decode_rows: usize,
    /// Tokens of prompts.
    pub prefill_tokens: usize,
    /// Prompts of which the last token is computed, so that a token is chosen.
    pub prompts_ended: usize,
    /// Positions before the tokens of sequences that decode, summed over them: each reads its own.
    pub decode_positions: u64,
    /// Positions before the tokens of prompts, summed over them: those of a chunk are read together.
    pub prefill_positions: u64,
}

/// What a step gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedEvent {
    /// A request runs, with so many tokens of its prompt found.
    Begun {
        /// Which.
        id: u64,
        /// Units: tokens.
        cached_tokens: usize,
    },
    /// A request has its next token.
    Token {
        /// Which.
        id: u64,
    },
    /// A request has its last token.
    Ended {
        /// Which.
        id: u64,
    },
}

/// An engine without a model.
pub struct SimulatedEngine {
    scheduler: Scheduler,
    /// Tokens that each request still gets.
    left: BTreeMap<u64, usize>,
    step: Option<Plan>,
}

impl SimulatedEngine {
    /// An engine that has computed nothing yet.
    pub fn new(sizes: SimulatedSizes) -> SimulatedEngine {
        let options = EngineOptions::new(1);
        let chunk_tokens = sizes.chunk_tokens.max(1);
        let scheduler = Scheduler::new(Capacity {
            blocks: sizes.blocks,
            rings: sizes.sequences.max(1),
            snapshots: sizes.snapshots,
            chunk_tokens,
            step_tokens: chunk_tokens.max(sizes.sequences),
            prefill_beside_decode: options.prefill_beside_decode,
        });
        SimulatedEngine { scheduler, left: BTreeMap::new(), step: None }
    }

    /// Tokens that fit together, prompt and answer: a longer request is never taken.
    pub fn tokens_max(&self) -> usize {
        self.scheduler.pool().total() * gptoss_model::BLOCK_TOKENS
    }

    /// Takes a request in. One that does not fit is not taken, which is false.
    pub fn submit(&mut self, request: SimulatedRequest) -> bool {
        let tokens_max = request.prompt.len() + request.output_tokens.max(1);
        if request.prompt.is_empty() || tokens_max > self.tokens_max() {
            return false;
        }
        self.left.insert(request.id, request.output_tokens.max(1));
        self.scheduler.add(NewSequence {
            id: request.id,
            prompt: request.prompt,
            tokens_max,
            cache_points: request.cache_points.into_iter().take(CACHE_POINTS_MAX).collect(),
            tenant: Tenant::default(),
            owner: owner(),
            priority: Priority::Normal,
            is_private: false,
            is_fetching: false,
        });
        true
    }

    /// Requests that run or wait.
    pub fn num_requests(&self) -> usize {
        self.left.len()
    }

    /// Requests that wait.
    pub fn num_waiting(&self) -> usize {
        self.left.len() - self.scheduler.num_running()
    }

    /// Whether a step was begun and not ended.
    pub fn is_stepping(&self) -> bool {
        self.step.is_some()
    }

    /// Tokens that a prompt begins with and that are kept.
    pub fn cached_tokens(&self, prompt: &[u32]) -> usize {
        self.scheduler.cache().peek(&owner(), prompt).map_or(0, |found| found.position)
    }

    /// Plans the next step. None when there is nothing to do.
    ///
    /// Panics: when the step before was not ended.
    pub fn begin_step(&mut self) -> Option<SimulatedStep> {
        // Invariant: an engine has one step at a time.
        assert!(self.step.is_none(), "a step is begun before the last has ended");
        if self.left.is_empty() {
            return None;
        }
        let plan = self.scheduler.schedule(&mut |_| Vec::new());
        let mut step = SimulatedStep::default();
        for chunk in &plan.chunks {
            let tokens = chunk.end - chunk.start;
            // The chunk's tokens see those before the chunk and each other.
            let positions = (tokens * chunk.start + tokens * (tokens - 1) / 2) as u64;
            if self.is_decoding(chunk) {
                step.decode_rows += 1;
                step.decode_positions += positions;
            } else {
                step.prefill_tokens += tokens;
                step.prefill_positions += positions;
                step.prompts_ended += usize::from(chunk.is_chosen);
            }
        }
        self.step = Some(plan);
        Some(step)
    }

    fn is_decoding(&self, chunk: &Chunk) -> bool {
        self.scheduler.sequence(chunk.id).is_some_and(|sequence| sequence.is_decoding())
    }

    /// Settles the step that was begun; what it gave, in order.
    pub fn end_step(&mut self) -> Vec<SimulatedEvent> {
        let Some(plan) = self.step.take() else { return Vec::new() };
        let begun = plan.begun.iter().map(|&(id, cached_tokens)| SimulatedEvent::Begun { id, cached_tokens });
        let mut events: Vec<SimulatedEvent> = begun.collect();
        let outcomes = plan.chunks.iter().map(|chunk| match chunk.is_chosen {
            false => Outcome::Computed,
            true => {
                events.push(SimulatedEvent::Token { id: chunk.id });
                let left = self.left.entry(chunk.id).or_insert(1);
                *left -= 1;
                let token = CHOSEN | (chunk.id as u32).wrapping_mul(0x9e37_79b9).wrapping_add(*left as u32);
                Outcome::Chosen { tokens: vec![token], is_stop: *left == 0 }
            }
        });
        let outcomes = outcomes.collect();
        let committed = self.scheduler.commit(plan, outcomes);
        for (id, ended) in committed.ended {
            debug_assert_ne!(ended, Ended::Failed);
            self.left.remove(&id);
            events.push(SimulatedEvent::Ended { id });
        }
        events
    }
}

fn owner() -> Owner {
    Owner { kept_for: KeptFor::Tenant(Tenant::default()), adapter: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: SimulatedSizes =
        SimulatedSizes { blocks: 64, sequences: 4, snapshots: 16, chunk_tokens: 128 };

    fn request(id: u64, prompt: usize, output_tokens: usize) -> SimulatedRequest {
        let prompt =
            (0..prompt as u32).map(|token| if token < 40 { token } else { token + 1000 * id as u32 });
        SimulatedRequest { id, prompt: prompt.collect(), output_tokens, cache_points: vec![40] }
    }

    fn run(engine: &mut SimulatedEngine) -> (Vec<SimulatedStep>, Vec<SimulatedEvent>) {
        let (mut steps, mut events) = (Vec::new(), Vec::new());
        while let Some(step) = engine.begin_step() {
            steps.push(step);
            events.extend(engine.end_step());
        }
        (steps, events)
    }

    #[test]
    fn a_prompt_is_cut_into_chunks_and_an_answer_is_a_step_a_token() {
        let mut engine = SimulatedEngine::new(SIZES);
        assert!(engine.submit(request(0, 200, 3)));
        let (steps, events) = run(&mut engine);
        let shape = |step: &SimulatedStep| (step.decode_rows, step.prefill_tokens, step.prompts_ended);
        let shapes: Vec<_> = steps.iter().map(shape).collect();
        assert_eq!(shapes, [(0, 128, 0), (0, 72, 1), (1, 0, 0), (1, 0, 0)]);
        // 0 + 1 + ... + 127, and the last token's: 201 before it.
        assert_eq!((steps[0].prefill_positions, steps[3].decode_positions), (127 * 64, 201));
        assert_eq!((steps[0].decode_positions, steps[3].prefill_positions), (0, 0));
        let tokens = events.iter().filter(|event| matches!(event, SimulatedEvent::Token { .. })).count();
        assert_eq!((tokens, events.last()), (3, Some(&SimulatedEvent::Ended { id: 0 })));
    }

    #[test]
    fn beginnings_are_found_and_the_same_calls_give_the_same() {
        let day = || {
            let mut engine = SimulatedEngine::new(SIZES);
            engine.submit(request(0, 100, 2));
            let first = run(&mut engine);
            assert_eq!(engine.cached_tokens(&request(1, 90, 1).prompt), 40);
            for id in 1..9 {
                assert!(engine.submit(request(id, 60 + 10 * id as usize, 5 + id as usize)));
            }
            assert_eq!((engine.num_requests(), engine.num_waiting()), (8, 8));
            (first, run(&mut engine))
        };
        let (first, second) = day();
        let cached = second.1.iter().filter_map(|event| match event {
            SimulatedEvent::Begun { cached_tokens, .. } => Some(*cached_tokens),
            _ => None,
        });
        assert_eq!(cached.collect::<Vec<_>>(), [40; 8]);
        assert_eq!(second.1.iter().filter(|event| matches!(event, SimulatedEvent::Ended { .. })).count(), 8);
        assert_eq!(day(), (first, second));
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut engine = SimulatedEngine::new(SIZES);
        assert!(!engine.submit(request(0, 64 * 32, 1)));
        assert!(!engine.submit(request(0, 0, 1)));
        assert!(engine.submit(request(0, 64 * 32 - 1, 1)));
        assert_eq!(run(&mut engine).0.len(), 16);
    }
}
