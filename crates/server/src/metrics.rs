//! What has the server done, in the words of Prometheus?
//!
//! Counters and two histograms, as atomics that any thread may raise; [`Metrics::page`] writes them out in
//! the text format together with what the engine counts. There are no labels made of what clients send, so
//! their number is bounded.
//!
//! It does not know requests: whoever knows when something begins or ends says so here.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use gptoss_api::usage::TokenUsage;
use gptoss_turn::EngineStats;

/// Upper bounds of the buckets. Units: seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
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
    first_token: Histogram,
    whole: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (bound, count) in BUCKETS.iter().zip(&self.counts) {
            if seconds <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, page: &mut String, name: &str, help: &str) {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (bound, count) in BUCKETS.iter().zip(&self.counts) {
            let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {}", count.load(Ordering::Relaxed));
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ =
            writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }
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

    /// A turn ended.
    pub(crate) fn ended(&self, tokens: TokenUsage, after: Duration) {
        self.prompt_tokens.fetch_add(tokens.prompt, Ordering::Relaxed);
        self.cached_tokens.fetch_add(tokens.cached, Ordering::Relaxed);
        self.completion_tokens.fetch_add(tokens.completion, Ordering::Relaxed);
        self.reasoning_tokens.fetch_add(tokens.reasoning, Ordering::Relaxed);
        self.whole.observe(after);
    }

    /// The page.
    pub(crate) fn page(&self, engine: &EngineStats) -> String {
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
        self.first_token.write(
            &mut page,
            "gptoss_time_to_first_token_seconds",
            "From a request to its first token.",
        );
        self.whole.write(&mut page, "gptoss_turn_seconds", "From a request to its end.");
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

/// A sample: its name without `gptoss_`, its kind, what it says, and its value.
type Row = (&'static str, &'static str, &'static str, f64);

/// What the engine counts.
fn engine_rows(engine: &EngineStats) -> [Row; 12] {
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
        metrics
            .ended(TokenUsage { prompt: 3, cached: 1, completion: 2, reasoning: 1 }, Duration::from_secs(1));
        let page = metrics.page(&EngineStats::default());
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("gptoss_") && value.parse::<f64>().is_ok(), "{line}");
        }
        let check = |line: &str| assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        check("gptoss_http_responses_total{route=\"/v1/models\",status=\"200\"} 1");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.005\"} 0");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.01\"} 1");
        check("gptoss_cached_prompt_tokens_total 1");
    }
}
