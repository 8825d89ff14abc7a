//! `GET /v1/loads`: how full is the server, for a router that chooses between several? All models count as
//! one.

use axum::Json;
use axum::extract::State;
use gptoss_api::wire::loads::{Load, LoadMemory, LoadQueues, Loads};
use gptoss_turn::EngineStats;
use serde::Deserialize;

use crate::access_log::timestamp;
use crate::metrics::kv_usage;
use crate::query::Query;
use crate::roster::ModelState;
use crate::state::Shared;

/// What stands behind the question mark.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadsQuery {
    /// Parts of the answer, with commas between them; all when absent.
    include: Option<String>,
}

/// The handler.
pub(crate) async fn loads(State(app): State<Shared>, Query(query): Query<LoadsQuery>) -> Json<Loads> {
    let includes =
        |part: &str| query.include.as_deref().is_none_or(|list| list.split(',').any(|other| other == part));
    let models = app.models.figures();
    let stats = models.iter().fold(EngineStats::default(), |sum, model| sum.plus(&model.engine));
    let waiting = stats.queued + models.iter().map(|model| model.num_waiting).sum::<usize>();
    let loaded = models.iter().filter(|model| model.state == ModelState::Loaded);
    let weight_bytes: u64 = loaded.map(|model| model.entry.served.weight_bytes).sum();
    let capacity = stats.blocks_total * stats.block_tokens;
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let usage = kv_usage(&stats);
    let load = Load {
        dp_rank: 0,
        num_running_reqs: stats.running,
        num_waiting_reqs: waiting,
        num_total_reqs: stats.running + waiting,
        num_used_tokens: (stats.blocks_total - stats.blocks_free.min(stats.blocks_total))
            * stats.block_tokens,
        max_total_num_tokens: capacity,
        token_usage: usage,
        active_token_usage: usage,
        gen_throughput: app.metrics.throughput(stats.generated_tokens),
        cache_hit_rate: ratio(stats.cached_tokens as f64, stats.prompt_tokens as f64),
        utilization: ratio(stats.running as f64, stats.sequences_max as f64),
        max_running_requests: stats.sequences_max,
        memory: includes("memory")
            .then(|| LoadMemory { weight_gb: weight_bytes as f64 / 1e9, token_capacity: capacity }),
        queues: includes("queues").then_some(LoadQueues { waiting }),
    };
    Json(Loads {
        timestamp: timestamp(),
        version: env!("CARGO_PKG_VERSION"),
        dp_rank_count: 1,
        loads: vec![load],
    })
}
