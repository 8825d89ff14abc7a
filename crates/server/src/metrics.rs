//! What has the server done, in the words of Prometheus?
//!
//! Counters and histograms, as atomics that any thread may raise; [`Metrics::page`] writes them out in the
//! text format together with what the engine counts, under our own names and under vLLM's. There are no
//! labels made of what clients send, so their number is bounded.
//!
//! It does not know requests: whoever knows when something begins or ends says so here.

mod histogram;
mod process;
mod vllm;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use gptoss_api::usage::TokenUsage;
use gptoss_turn::{EngineStats, TurnEnd};
use histogram::Histogram;
pub(crate) use vllm::kv_usage;

/// Time over which tokens per second are counted, at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: SystemTime,
    /// By route and status; both come from our own tables.
    responses: Mutex<std::collections::BTreeMap<(String, u16), u64>>,
    /// Turns that are running.
    pub(crate) running: AtomicI64,
    /// Streams whose reader went away before the end.
    pub(crate) disconnects: AtomicU64,
    /// Repairs and other warnings.
    pub(crate) warnings: AtomicU64,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    reasoning_tokens: AtomicU64,
    /// Choices that have ended, in the order of [`vllm::REASONS`].
    finished: [AtomicU64; vllm::REASONS.len()],
    first_token: Histogram,
    between_tokens: Histogram,
    whole: Histogram,
    queued: Histogram,
    rate: Mutex<Rate>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            started: SystemTime::now(),
            responses: Mutex::default(),
            running: AtomicI64::default(),
            disconnects: AtomicU64::default(),
            warnings: AtomicU64::default(),
            prompt_tokens: AtomicU64::default(),
            cached_tokens: AtomicU64::default(),
            completion_tokens: AtomicU64::default(),
            reasoning_tokens: AtomicU64::default(),
            finished: Default::default(),
            first_token: Histogram::default(),
            between_tokens: Histogram::default(),
            whole: Histogram::default(),
            queued: Histogram::default(),
            rate: Mutex::new(Rate { since: Instant::now(), tokens: 0, per_second: 0.0 }),
        }
    }
}

/// Tokens per second, as they were counted last.
#[derive(Debug)]
struct Rate {
    since: Instant,
    /// Tokens by then.
    tokens: u64,
    per_second: f64,
}

impl Metrics {
    /// A response was sent.
    pub(crate) fn responded(&self, route: &str, status: u16) {
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        *responses.entry((route.to_owned(), status)).or_default() += 1;
    }

    /// A turn wrote its first token.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.observe(after);
    }

    /// A turn wrote another, so long after the one before.
    pub(crate) fn next_token(&self, after: Duration) {
        self.between_tokens.observe(after);
    }

    /// A choice that has ended was so long in the queue.
    pub(crate) fn queued(&self, time: Duration) {
        self.queued.observe(time);
    }

    /// A choice has ended.
    pub(crate) fn finished(&self, end: TurnEnd) {
        let reason = match end {
            TurnEnd::Answer | TurnEnd::Call | TurnEnd::NoAnswer => 0,
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => 1,
            TurnEnd::Cancelled => 2,
        };
        self.finished[reason].fetch_add(1, Ordering::Relaxed);
    }

    /// A choice failed.
    pub(crate) fn failed(&self) {
        self.finished[3].fetch_add(1, Ordering::Relaxed);
    }

    /// Tokens per second since this was asked before, when `tokens` have been written by now; what was told
    /// before, if that is less than a second ago.
    pub(crate) fn throughput(&self, tokens: u64) -> f64 {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let time = rate.since.elapsed();
        if time >= RATE_TIME {
            let per_second = tokens.saturating_sub(rate.tokens) as f64 / time.as_secs_f64();
            *rate = Rate { since: Instant::now(), tokens, per_second };
        }
        rate.per_second
    }

    /// A turn ended.
    pub(crate) fn ended(&self, tokens: TokenUsage, after: Duration) {
        self.prompt_tokens.fetch_add(tokens.prompt, Ordering::Relaxed);
        self.cached_tokens.fetch_add(tokens.cached, Ordering::Relaxed);
        self.completion_tokens.fetch_add(tokens.completion, Ordering::Relaxed);
        self.reasoning_tokens.fetch_add(tokens.reasoning, Ordering::Relaxed);
        self.whole.observe(after);
    }

    /// The page; `model` is the served name.
    pub(crate) fn page(&self, engine: &EngineStats, model: &str) -> String {
        let mut page = String::new();
        let name = "gptoss_http_responses_total";
        let _ = writeln!(page, "# HELP {name} Responses by route and status.\n# TYPE {name} counter");
        for ((route, status), count) in self.responses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(page, "{name}{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        for (name, kind, help, value) in self.own_rows().into_iter().chain(engine_rows(engine)) {
            let _ = writeln!(
                page,
                "# HELP gptoss_{name} {help}\n# TYPE gptoss_{name} {kind}\ngptoss_{name} {value}"
            );
        }
        let name = "gptoss_time_to_first_token_seconds";
        self.first_token.write(&mut page, name, "", "From a request to its first token.");
        self.whole.write(&mut page, "gptoss_turn_seconds", "", "From a request to its end.");
        vllm::write(&mut page, self, engine, model);
        process::write(&mut page, self.started);
        page
    }

    /// What this room counts.
    fn own_rows(&self) -> [Row; 7] {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        let counter = |name, help, value| (name, "counter", help, load(value));
        let running = self.running.load(Ordering::Relaxed) as f64;
        [
            counter("disconnects_total", "Streams whose reader went away before the end.", &self.disconnects),
            counter("warnings_total", "Repairs of the model's output and other warnings.", &self.warnings),
            counter("prompt_tokens_total", "Tokens read.", &self.prompt_tokens),
            counter(
                "cached_prompt_tokens_total",
                "Tokens read that had been computed before.",
                &self.cached_tokens,
            ),
            counter("completion_tokens_total", "Tokens written.", &self.completion_tokens),
            counter("reasoning_tokens_total", "Tokens written that are reasoning.", &self.reasoning_tokens),
            ("turns_running", "gauge", "Turns that are running.", running),
        ]
    }
}

/// Adds what is known of traces, where any are sent.
pub(crate) fn write_traces(page: &mut String, num_dropped: u64) {
    let name = "gptoss_traces_dropped_total";
    let help = "Requests whose spans reached no collector: the queue was full, or it did not take them.";
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {num_dropped}");
}

/// A sample: its name without `gptoss_`, its kind, what it says, and its value.
type Row = (&'static str, &'static str, &'static str, f64);

/// What the engine counts.
fn engine_rows(engine: &EngineStats) -> [Row; 13] {
    let counter = |name, help, value: u64| (name, "counter", help, value as f64);
    let gauge = |name, help, value: usize| (name, "gauge", help, value as f64);
    let stuck = "Times that the idle engine found blocks that nobody held and nobody had given back.";
    let hits = "Prompts whose beginning was in the prefix cache.";
    [
        counter("engine_requests_accepted_total", "Requests the engine has taken.", engine.accepted),
        counter(
            "engine_requests_refused_total",
            "Requests refused because the queue was full.",
            engine.refused_full,
        ),
        counter("engine_requests_ended_total", "Requests that have ended.", engine.ended()),
        counter("engine_requests_failed_total", "Requests that failed.", engine.ended_failed),
        counter("engine_steps_total", "Forward passes.", engine.steps),
        counter("engine_preemptions_total", "Sequences that were computed again.", engine.preemptions),
        counter("engine_prefix_hits_total", hits, engine.prefix.hits),
        counter("engine_integrity_resets_total", stuck, engine.integrity_resets),
        gauge("engine_sequences_running", "Sequences that hold blocks.", engine.running),
        gauge("engine_requests_queued", "Requests that wait.", engine.queued),
        gauge("engine_kv_blocks", "Blocks of the KV pool.", engine.blocks_total),
        gauge("engine_kv_blocks_free", "Blocks nobody holds.", engine.blocks_free),
        gauge("engine_kv_blocks_cached", "Blocks that the prefix cache holds.", engine.blocks_cached),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_page_is_a_comment_or_a_sample() {
        let metrics = Metrics::default();
        metrics.responded("/v1/models", 200);
        metrics.first_token(Duration::from_millis(7));
        metrics.next_token(Duration::from_millis(2));
        metrics.queued(Duration::from_secs(1700));
        metrics.finished(TurnEnd::Length);
        metrics.failed();
        let tokens =
            TokenUsage { prompt: 3, cached: 1, completion: 2, reasoning: 1, ..TokenUsage::default() };
        metrics.ended(tokens, Duration::from_secs(1));
        let engine = EngineStats {
            running: 2,
            blocks_total: 8,
            blocks_free: 6,
            block_tokens: 32,
            prompt_tokens: 30,
            cached_tokens: 10,
            ..EngineStats::default()
        };
        let page = metrics.page(&engine, "org/\"a\"");
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let is_known = ["gptoss_", "vllm:", "process_"].iter().any(|prefix| name.starts_with(prefix));
            assert!(is_known && value.parse::<f64>().is_ok(), "{line}");
        }
        let check = |line: &str| assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        check("gptoss_http_responses_total{route=\"/v1/models\",status=\"200\"} 1");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.005\"} 0");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.01\"} 1");
        check("gptoss_cached_prompt_tokens_total 1");
        let vllm = |name: &str, label: &str, value: &str| {
            check(&format!("vllm:{name}{{engine=\"0\",model_name=\"org/\\\"a\\\"\"{label}}} {value}"));
        };
        vllm("num_requests_running", "", "2");
        vllm("kv_cache_usage_perc", "", "0.25");
        vllm("prefix_cache_queries_total", "", "30");
        vllm("prefix_cache_hits_total", "", "10");
        vllm("generation_tokens_total", "", "2");
        vllm("request_success_total", ",finished_reason=\"length\"", "1");
        vllm("request_success_total", ",finished_reason=\"error\"", "1");
        vllm("request_success_total", ",finished_reason=\"stop\"", "0");
        vllm("request_queue_time_seconds_bucket", ",le=\"1200\"", "0");
        vllm("request_queue_time_seconds_bucket", ",le=\"1800\"", "1");
        vllm("inter_token_latency_seconds_count", "", "1");
        vllm("e2e_request_latency_seconds_sum", "", "1");
    }
}
