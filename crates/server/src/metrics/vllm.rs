//! The same numbers under vLLM's names, which routers, load generators and dashboards read.
//!
//! Each has the labels `model_name`, the served name, and `engine`, of which there is one. Nothing is counted
//! here that our own names do not count; what vLLM has and this server does not measure is left out.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use gptoss_turn::EngineStats;

use super::Metrics;

/// Ends of requests, by vLLM's word for them.
pub(super) const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// Writes them.
pub(super) fn write(page: &mut String, metrics: &Metrics, engine: &EngineStats, model: &str) {
    let labels = format!("engine=\"0\",model_name=\"{}\"", escaped(model));
    let mut one = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(
            page,
            "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}\nvllm:{name}{{{labels}}} {value}"
        );
    };
    one("num_requests_running", "gauge", "Sequences that hold blocks.", engine.running as f64);
    one("num_requests_waiting", "gauge", "Requests that wait.", engine.queued as f64);
    one(
        "kv_cache_usage_perc",
        "gauge",
        "Part of the KV blocks that somebody holds, 0 to 1.",
        kv_usage(engine),
    );
    let queries = "Prompt tokens that were looked for in the prefix cache.";
    one("prefix_cache_queries_total", "counter", queries, engine.prompt_tokens as f64);
    one("prefix_cache_hits_total", "counter", "Those of them that were found.", engine.cached_tokens as f64);
    let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed) as f64;
    one("prompt_tokens_total", "counter", "Tokens read.", load(&metrics.prompt_tokens));
    one("generation_tokens_total", "counter", "Tokens written.", load(&metrics.completion_tokens));
    let preempted = "Sequences that were computed again.";
    one("num_preemptions_total", "counter", preempted, engine.preemptions as f64);
    let name = "vllm:cache_config_info";
    let (block, blocks) = (engine.block_tokens, engine.blocks_total);
    let _ = writeln!(
        page,
        "# HELP {name} The KV pool.\n# TYPE {name} gauge\n\
         {name}{{{labels},block_size=\"{block}\",num_gpu_blocks=\"{blocks}\"}} 1"
    );
    let name = "vllm:request_success_total";
    let _ = writeln!(page, "# HELP {name} Choices that have ended, by how.\n# TYPE {name} counter");
    for (reason, count) in REASONS.iter().zip(&metrics.finished) {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(page, "{name}{{{labels},finished_reason=\"{reason}\"}} {count}");
    }
    let labels = format!("{labels},");
    let histograms = [
        ("time_to_first_token_seconds", "From a request to its first token.", &metrics.first_token),
        ("inter_token_latency_seconds", "Between two deltas of a choice.", &metrics.between_tokens),
        ("e2e_request_latency_seconds", "From a request to its end.", &metrics.whole),
        ("request_queue_time_seconds", "From being accepted to the first step.", &metrics.queued),
    ];
    for (name, help, histogram) in histograms {
        histogram.write(page, &format!("vllm:{name}"), &labels, help);
    }
}

/// Part of the blocks that somebody holds.
pub(crate) fn kv_usage(engine: &EngineStats) -> f64 {
    match engine.blocks_total {
        0 => 0.0,
        total => (total - engine.blocks_free.min(total)) as f64 / total as f64,
    }
}

/// A label's value, as the format of Prometheus wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
