//! What the next step is to do, and what became of it: the words between the scheduler and the engine.
//!
//! Entry points: [`Plan`], made by `Scheduler::schedule`, and [`Outcome`], one for each of its chunks, given
//! back with the plan to `Scheduler::commit`. A plan is used up by committing it, so no step can be settled
//! twice.
//!
//! The engine carries a plan out in this order: copies, restores, the forward pass over all chunks, sampling,
//! commit, saves. Copies and restores stand in the order in which the scheduler gave slots away, which
//! matters when one is given twice in a step.
//!
//! Nothing here knows tensors: blocks, rings and snapshots are numbers.

use gptoss_model::KvMove;

/// Everything that one step does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) copies: Vec<BlockCopy>,
    pub(crate) restores: Vec<Restore>,
    pub(crate) chunks: Vec<Chunk>,
    /// Sequences that were admitted for the first time, with the tokens found in the prefix cache.
    pub(crate) begun: Vec<(u64, usize)>,
}

impl Plan {
    /// What happens to the store's slots before the step.
    pub(crate) fn moves(&self) -> Vec<KvMove> {
        let copies =
            self.copies.iter().map(|&BlockCopy { from, to, rows }| KvMove::CopyBlock { from, to, rows });
        let restores = self
            .restores
            .iter()
            .map(|&Restore { snapshot, position, ring }| KvMove::RestoreWindow { snapshot, position, ring });
        copies.chain(restores).collect()
    }
}

/// A shared block is about to be written to: its first rows go into one of the sequence's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockCopy {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) rows: usize,
}

/// A sequence goes on from a kept place: its ring gets what the windowed layers see there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restore {
    pub(crate) snapshot: u32,
    pub(crate) position: usize,
    pub(crate) ring: u32,
}

/// A place is kept: a snapshot gets what a ring holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Save {
    pub(crate) ring: u32,
    pub(crate) position: usize,
    pub(crate) snapshot: u32,
    /// Whether it may be written to disk too.
    pub(crate) is_private: bool,
}

/// The part of a step that belongs to one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) id: u64,
    /// Position of the first token to compute.
    pub(crate) start: usize,
    /// Position after the last token to compute, guesses not counted.
    pub(crate) end: usize,
    /// Whether `end` is the end of the sequence, so that a token is to be chosen.
    pub(crate) is_chosen: bool,
    /// Guesses of the tokens after `end`, computed in the same step. Only with `is_chosen`.
    pub(crate) draft: Vec<u32>,
}

/// What became of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its tokens are computed; none was to be chosen.
    Computed,
    /// Tokens were chosen, one more than guesses were right.
    Chosen {
        /// At least one.
        tokens: Vec<u32>,
        /// Whether the last of them ends the sequence.
        is_stop: bool,
    },
    /// The sequence cannot go on; whoever says so ends the request.
    Failed,
}

/// Why the scheduler let a sequence go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Stop,
    Length,
    Failed,
}

/// What is to be done after a commit.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// Before the next step's forward pass.
    pub(crate) saves: Vec<Save>,
    /// Sequences that are over and hold nothing any more.
    pub(crate) ended: Vec<(u64, Ended)>,
}
