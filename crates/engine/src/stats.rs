//! What the engine has done and how full it is: numbers for metrics and tests.
//!
//! Entry point: [`EngineStats`], a snapshot that the engine publishes after every step and
//! `EngineHandle::stats` reads. Counters only grow; gauges say how it is now. Each request counts once among
//! the accepted and once among the endings, so `accepted = running + queued + the sum of endings` whenever a
//! snapshot is taken.

use gptoss_model::ExpertTraffic;

use crate::kv_events::KvEventCounts;
use crate::prefix_disk::DiskStats;

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Requests that a ticket was given for.
    pub accepted: u64,
    /// Requests refused because the queue was full.
    pub refused_full: u64,
    /// Requests that ended with a stop.
    pub ended_stop: u64,
    /// Requests that ended with a limit.
    pub ended_length: u64,
    /// Requests that were cancelled.
    pub ended_cancelled: u64,
    /// Requests that met their deadline.
    pub ended_deadline: u64,
    /// Requests that failed.
    pub ended_failed: u64,
    /// Forward passes.
    pub steps: u64,
    /// Prompt tokens of the requests that began.
    pub prompt_tokens: u64,
    /// Those of them found in the prefix cache.
    pub cached_tokens: u64,
    /// Tokens computed for prompts, those computed again after a preemption included.
    pub prefill_tokens: u64,
    /// Tokens chosen.
    pub generated_tokens: u64,
    /// Sequences that lost their blocks to others and were computed again.
    pub preemptions: u64,
    /// Drafted tokens that were tried.
    pub drafted_tokens: u64,
    /// Drafted tokens that were what the sampler chose.
    pub accepted_drafts: u64,
    /// Those of the drafted tokens that a constraint left no choice about.
    pub forced_drafts: u64,
    /// Times that an idle engine's books were wrong and it forgot everything: mistakes of ours.
    pub integrity_resets: u64,
    /// What the prefix cache found, and why it did not.
    pub prefix: PrefixStats,
    /// What was kept on disk and came back.
    pub disk: DiskStats,
    /// What was told of kept blocks, and what was lost on the way.
    pub kv_events: KvEventCounts,
    /// Experts that were found where they are used, and those that were not; the slots are those of now.
    pub experts: ExpertTraffic,
    /// Times that the device was lost or hung.
    pub device_losses: u64,
    /// Whether it is of no use now: every request ends with the reason.
    pub has_no_device: bool,
    /// Sequences that hold blocks now.
    pub running: usize,
    /// Requests that wait now.
    pub queued: usize,
    /// Sequences that may run.
    pub sequences_max: usize,
    /// Tokens of a block.
    pub block_tokens: usize,
    /// Blocks of the pool.
    pub blocks_total: usize,
    /// Blocks nobody holds.
    pub blocks_free: usize,
    /// Blocks that the prefix cache holds, whoever else does; of an idle engine all that are not free.
    pub blocks_cached: usize,
    /// Snapshots kept in the prefix cache now.
    pub snapshots_used: usize,
    /// Snapshots that fit.
    pub snapshots_total: usize,
}

/// Look-ups of the prefix cache by outcome: every one counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixStats {
    /// A prefix was found.
    pub hits: u64,
    /// Nothing of this tenant's begins as the prompt does.
    pub misses_unknown: u64,
    /// Something begins alike, but there is no snapshot where they part or before.
    pub misses_no_snapshot: u64,
    /// The prompt is shorter than what is worth keeping.
    pub misses_short: u64,
    /// The hash was known and the tokens were others.
    pub misses_collision: u64,
    /// Entries that made room for others.
    pub evictions: u64,
}

impl PrefixStats {
    /// Of two caches together.
    pub(crate) fn plus(&self, other: &PrefixStats) -> PrefixStats {
        PrefixStats {
            hits: self.hits + other.hits,
            misses_unknown: self.misses_unknown + other.misses_unknown,
            misses_no_snapshot: self.misses_no_snapshot + other.misses_no_snapshot,
            misses_short: self.misses_short + other.misses_short,
            misses_collision: self.misses_collision + other.misses_collision,
            evictions: self.evictions + other.evictions,
        }
    }
}

impl EngineStats {
    /// Requests that have ended, in whatever way.
    pub fn ended(&self) -> u64 {
        let well = self.ended_stop + self.ended_length + self.ended_cancelled + self.ended_deadline;
        well + self.ended_failed
    }

    /// The counters alone: what stays of an engine that is gone.
    pub fn counters(&self) -> EngineStats {
        EngineStats {
            has_no_device: false,
            running: 0,
            queued: 0,
            sequences_max: 0,
            block_tokens: 0,
            blocks_total: 0,
            blocks_free: 0,
            blocks_cached: 0,
            snapshots_used: 0,
            snapshots_total: 0,
            // They are the sender's, which outlives an engine.
            kv_events: KvEventCounts::default(),
            experts: ExpertTraffic { slots: 0, experts: 0, ..self.experts },
            ..*self
        }
    }

    /// Of two engines together.
    pub fn plus(&self, other: &EngineStats) -> EngineStats {
        let disk = &other.disk;
        EngineStats {
            accepted: self.accepted + other.accepted,
            refused_full: self.refused_full + other.refused_full,
            ended_stop: self.ended_stop + other.ended_stop,
            ended_length: self.ended_length + other.ended_length,
            ended_cancelled: self.ended_cancelled + other.ended_cancelled,
            ended_deadline: self.ended_deadline + other.ended_deadline,
            ended_failed: self.ended_failed + other.ended_failed,
            steps: self.steps + other.steps,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            prefill_tokens: self.prefill_tokens + other.prefill_tokens,
            generated_tokens: self.generated_tokens + other.generated_tokens,
            preemptions: self.preemptions + other.preemptions,
            drafted_tokens: self.drafted_tokens + other.drafted_tokens,
            accepted_drafts: self.accepted_drafts + other.accepted_drafts,
            forced_drafts: self.forced_drafts + other.forced_drafts,
            integrity_resets: self.integrity_resets + other.integrity_resets,
            prefix: self.prefix.plus(&other.prefix),
            disk: DiskStats {
                hits: self.disk.hits + disk.hits,
                misses_damaged: self.disk.misses_damaged + disk.misses_damaged,
                files_written: self.disk.files_written + disk.files_written,
                files_skipped: self.disk.files_skipped + disk.files_skipped,
                files_evicted: self.disk.files_evicted + disk.files_evicted,
            },
            kv_events: self.kv_events.plus(&other.kv_events),
            experts: self.experts.plus(&other.experts),
            device_losses: self.device_losses + other.device_losses,
            has_no_device: self.has_no_device || other.has_no_device,
            running: self.running + other.running,
            queued: self.queued + other.queued,
            sequences_max: self.sequences_max + other.sequences_max,
            // All engines have blocks of one size.
            block_tokens: self.block_tokens.max(other.block_tokens),
            blocks_total: self.blocks_total + other.blocks_total,
            blocks_free: self.blocks_free + other.blocks_free,
            blocks_cached: self.blocks_cached + other.blocks_cached,
            snapshots_used: self.snapshots_used + other.snapshots_used,
            snapshots_total: self.snapshots_total + other.snapshots_total,
        }
    }
}
