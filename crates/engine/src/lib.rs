//! Which tokens a model emits: requests in, events out.
//!
//! Entry points: [`channel`] makes the seam: [`EngineHandle::submit`] gives an [`EventStream`] for a
//! [`Request`], and [`Engine::run`] on a thread of its own answers what comes through the [`Inbox`]; a test
//! can hold the inbox instead and play the engine. [`Sampler`] chooses tokens under [`SamplingParams`] and a
//! [`Constraint`]. The beat is schedule, forward, sample, commit.
//!
//! Two contracts. The same request gives the same tokens and log-probabilities, to the bit, whatever ran
//! before, runs beside it or is still in a cache, for a fixed build and precision. And every accepted request
//! ends exactly once.
//!
//! Tokens are `u32`: text, channels, messages and files are above this room.

mod active_request;
mod block_pool;
mod constraint;
mod engine;
mod error;
mod handle;
mod kv_events;
mod kv_journal;
mod kv_plan;
pub mod limits;
mod plan;
mod prefix_cache;
mod prefix_disk;
mod random;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod simulation;
mod speculation;
mod stats;
mod stream;
mod worker;

pub use constraint::{Constraint, Mask};
pub use engine::Engine;
pub use error::{Class, Error, Failure};
pub use handle::{
    Canceller, ChannelLimits, EngineHandle, EventSender, EventStream, Inbox, QueuedRequest, channel,
};
pub use kv_events::{
    KvEvent, KvEventBatch, KvEventCounts, KvEventReceiver, KvEventSender, KvSubscribers, kv_event_channel,
};
pub use kv_plan::{EngineOptions, KvPlan, SEQUENCES_DEFAULT, Speculation};
pub use limits::Sampling;
pub use prefix_disk::{DISK_TOKENS_MIN, DiskStats, PrefixDisk};
pub use request::{
    Completion, Event, FinishReason, KeptFor, MaskedLogprobs, Priority, Request, SamplingParams, Sharing,
    Tenant, Timings, Token, TokenLogprob, Usage,
};
pub use sampler::{Sampled, Sampler};
pub use simulation::{SimulatedEngine, SimulatedEvent, SimulatedRequest, SimulatedSizes, SimulatedStep};
pub use stats::{EngineStats, PrefixStats};
pub use stream::TimedRecv;
pub use worker::{REMAKES_MAX, Remake, watch};

/// Which adapter of the model a request means.
pub use gptoss_model::AdapterId;
