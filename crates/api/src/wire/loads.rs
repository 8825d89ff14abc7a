//! How full is the server, in the words of SGLang's and SMG's `/v1/loads`?

use schemars::JsonSchema;
use serde::Serialize;

/// How full it is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Loads {
    /// When, in RFC 3339.
    pub timestamp: String,
    /// The version of the server.
    pub version: &'static str,
    /// Always 1: there is one engine.
    pub dp_rank_count: u32,
    /// One entry.
    pub loads: Vec<Load>,
}

/// How full an engine is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Load {
    /// Always 0.
    pub dp_rank: u32,
    /// Sequences that hold blocks.
    pub num_running_reqs: usize,
    /// Requests that wait.
    pub num_waiting_reqs: usize,
    /// Both.
    pub num_total_reqs: usize,
    /// Tokens that the blocks have room for that somebody holds.
    pub num_used_tokens: usize,
    /// Tokens that all blocks have room for.
    pub max_total_num_tokens: usize,
    /// The one as a part of the other.
    pub token_usage: f64,
    /// The same: what nobody holds is not counted.
    pub active_token_usage: f64,
    /// Tokens written per second, lately.
    pub gen_throughput: f64,
    /// Prompt tokens found in the prefix cache, as a part of all.
    pub cache_hit_rate: f64,
    /// Sequences that run, as a part of those that may.
    pub utilization: f64,
    /// Sequences that may run.
    pub max_running_requests: usize,
    /// Where the memory went; only if `include` is absent or names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<LoadMemory>,
    /// What waits where; only if `include` is absent or names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<LoadQueues>,
}

/// Where the memory went.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LoadMemory {
    /// Of the weights. Units: 10^9 bytes.
    pub weight_gb: f64,
    /// Tokens that all blocks have room for.
    pub token_capacity: usize,
}

/// What waits where.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LoadQueues {
    /// Requests that wait.
    pub waiting: usize,
}
