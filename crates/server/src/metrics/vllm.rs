//! The same numbers under vLLM's names, which routers, load generators and dashboards read.
//!
//! Each has the labels `model_name`, the served name, and `engine`, of which there is one. Nothing is counted
//! here that our own names do not count, but for requests that wait for one model to come; what vLLM has and
//! this server does not measure is left out.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use gptoss_turn::EngineStats;

use super::histogram::Histogram;
use super::turns::{FIRST_TOKEN, REASONS, TurnMetrics, WHOLE};
use super::{ModelRow, ModelRows, write_rows};

fn load(value: &AtomicU64) -> f64 {
    value.load(Ordering::Relaxed) as f64
}

const ROWS: [ModelRow; 8] = [
    ("num_requests_running", "gauge", "Sequences that hold blocks.", |model| model.engine.running as f64),
    ("num_requests_waiting", "gauge", "Requests that wait.", |model| {
        (model.engine.queued + model.num_waiting) as f64
    }),
    ("kv_cache_usage_perc", "gauge", "Part of the KV blocks that somebody holds, 0 to 1.", |model| {
        kv_usage(&model.engine)
    }),
    (
        "prefix_cache_queries_total",
        "counter",
        "Prompt tokens that were looked for in the prefix cache.",
        |model| model.engine.prompt_tokens as f64,
    ),
    ("prefix_cache_hits_total", "counter", "Those of them that were found.", |model| {
        model.engine.cached_tokens as f64
    }),
    ("prompt_tokens_total", "counter", "Tokens read.", |model| load(&model.turns.prompt_tokens)),
    ("generation_tokens_total", "counter", "Tokens written.", |model| load(&model.turns.completion_tokens)),
    ("num_preemptions_total", "counter", "Sequences that were computed again.", |model| {
        model.engine.preemptions as f64
    }),
];

/// Times: their name without `vllm:`, what they say, and how to get them.
type Times = (&'static str, &'static str, fn(&TurnMetrics) -> &Histogram);

const TIMES: [Times; 7] = [
    ("time_to_first_token_seconds", FIRST_TOKEN, |turns| &turns.first_token),
    ("inter_token_latency_seconds", "Between two deltas of a choice.", |turns| &turns.between_tokens),
    ("e2e_request_latency_seconds", WHOLE, |turns| &turns.whole),
    ("request_queue_time_seconds", "From being accepted to the first step.", |turns| &turns.queued),
    ("request_prefill_time_seconds", "From the first step to the first token.", |turns| &turns.prefill),
    ("request_decode_time_seconds", "From the first token to the end.", |turns| &turns.decode),
    ("request_inference_time_seconds", "From the first step to the end.", |turns| &turns.inference),
];

/// Writes them, each with a line a model.
pub(super) fn write(page: &mut String, models: &[ModelRows<'_>]) {
    let label = |model: &ModelRows<'_>| format!("engine=\"0\",model_name=\"{}\"", escaped(model.name));
    let labeled: Vec<(String, &ModelRows<'_>)> = models.iter().map(|model| (label(model), model)).collect();
    write_rows(page, "vllm:", &ROWS, &labeled);
    let name = "vllm:cache_config_info";
    let _ = writeln!(page, "# HELP {name} The KV pool.\n# TYPE {name} gauge");
    for (labels, ModelRows { engine, .. }) in &labeled {
        let (block, blocks) = (engine.block_tokens, engine.blocks_total);
        let _ = writeln!(page, "{name}{{{labels},block_size=\"{block}\",num_gpu_blocks=\"{blocks}\"}} 1");
    }
    let name = "vllm:request_success_total";
    let _ = writeln!(page, "# HELP {name} Choices that have ended, by how.\n# TYPE {name} counter");
    for (labels, model) in &labeled {
        for (reason, count) in REASONS.iter().zip(&model.turns.finished) {
            let _ = writeln!(page, "{name}{{{labels},finished_reason=\"{reason}\"}} {}", load(count));
        }
    }
    for (name, help, times) in TIMES {
        let name = format!("vllm:{name}");
        Histogram::write_head(page, &name, help);
        for (labels, model) in &labeled {
            times(model.turns).write(page, &name, &format!("{labels},"));
        }
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
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
