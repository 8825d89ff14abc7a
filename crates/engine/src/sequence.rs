//! One request's tokens and what it holds.
//!
//! Entry point: [`Sequence`]. Its tokens are prompt and chosen tokens together: after a preemption all of
//! them are computed again, in the same way as a prompt, and nothing needs to know which was which. While it
//! waits, for a slot or for what is fetched from the disk, it holds none; while it runs it holds a ring, and
//! blocks for every position that is computed.

use crate::request::{Owner, Priority, Tenant};

/// What the scheduler is told of a request.
#[derive(Debug, Clone)]
pub(crate) struct NewSequence {
    /// In the order of arrival.
    pub(crate) id: u64,
    pub(crate) prompt: Vec<u32>,
    /// Tokens of prompt and completion at most.
    pub(crate) tokens_max: usize,
    pub(crate) cache_points: Vec<usize>,
    /// Whose share of the machine it takes.
    pub(crate) tenant: Tenant,
    pub(crate) owner: Owner,
    pub(crate) priority: Priority,
    pub(crate) is_private: bool,
    /// Whether a beginning of its prompt is being fetched; it waits until `Scheduler::fetched`.
    pub(crate) is_fetching: bool,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: u64,
    /// Prompt and chosen tokens.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_len: usize,
    pub(crate) tokens_max: usize,
    /// Places to keep, ascending.
    pub(crate) cache_points: Vec<usize>,
    /// Whose share of the machine it takes.
    pub(crate) tenant: Tenant,
    pub(crate) owner: Owner,
    pub(crate) priority: Priority,
    /// Whether nothing of it may be written to disk.
    pub(crate) is_private: bool,
    /// Whether a beginning of its prompt is being fetched, so that it does not run yet.
    pub(crate) is_fetching: bool,
    /// The step it began to wait at.
    pub(crate) waits_since: u64,
    /// Whether it was admitted before.
    pub(crate) has_begun: bool,
    pub(crate) num_computed: usize,
    pub(crate) blocks: Vec<u32>,
    /// Some while it runs.
    pub(crate) ring: Option<u32>,
}

impl Sequence {
    /// A sequence that begins to wait at step `now`.
    pub(crate) fn new(job: NewSequence, now: u64) -> Sequence {
        let prompt_len = job.prompt.len();
        let mut cache_points = job.cache_points;
        // A prompt that is asked again, or by several at once, needs its last token's logits and nothing
        // before.
        cache_points.push(prompt_len - 1);
        cache_points.retain(|&cache_point| cache_point < prompt_len);
        cache_points.sort_unstable();
        cache_points.dedup();
        Sequence {
            id: job.id,
            tokens: job.prompt,
            prompt_len,
            tokens_max: job.tokens_max,
            cache_points,
            tenant: job.tenant,
            owner: job.owner,
            priority: job.priority,
            is_private: job.is_private,
            is_fetching: job.is_fetching,
            waits_since: now,
            has_begun: false,
            num_computed: 0,
            blocks: Vec::new(),
            ring: None,
        }
    }

    /// Tokens whose keys and values are missing.
    pub(crate) fn num_missing(&self) -> usize {
        self.tokens.len() - self.num_computed
    }

    /// Whether it waits for a slot.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ring.is_none() && !self.is_fetching
    }

    /// Whether one token is missing and then one is chosen.
    pub(crate) fn is_decoding(&self) -> bool {
        self.num_missing() == 1 && self.tokens.len() > self.prompt_len
    }

    /// The order among those that run: who comes first keeps its blocks.
    pub(crate) fn rank(&self) -> (std::cmp::Reverse<Priority>, u64) {
        (std::cmp::Reverse(self.priority), self.id)
    }

    /// The longest place of `self` that is not computed yet, that will be kept, and that `other` also begins
    /// with.
    pub(crate) fn coming_place(&self, other: &[u32]) -> Option<usize> {
        let usable = other.len() - 1;
        let same = self.tokens.iter().zip(&other[..usable]).take_while(|(a, b)| a == b).count();
        self.cache_points
            .iter()
            .rev()
            .copied()
            .find(|&place| place <= same)
            .filter(|&place| place > self.num_computed)
    }
}
