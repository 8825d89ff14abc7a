//! What has the server done, in the words of Prometheus?
//!
//! Counters and two histograms, as atomics that any thread may raise; [`Metrics::page`] writes them out in the text format together with
//! what the engine counts. There are no labels made of what clients send, so their number is bounded.
//!
//! It does not know requests: whoever knows when something begins or ends says so here.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use gptoss_turn::EngineStats;

use crate::piece::Tokens;

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
    pub(crate) fn ended(&self, tokens: Tokens, after: Duration) {
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
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        let engine_seen = |value: u64| value as f64;
        let rows = [
            (
                "disconnects_total",
                "counter",
                "Streams whose reader went away before the end.",
                load(&self.disconnects),
            ),
            (
                "warnings_total",
                "counter",
                "Repairs of the model's output and other warnings.",
                load(&self.warnings),
            ),
            ("prompt_tokens_total", "counter", "Tokens read.", load(&self.prompt_tokens)),
            (
                "cached_prompt_tokens_total",
                "counter",
                "Tokens read that had been computed before.",
                load(&self.cached_tokens),
            ),
            ("completion_tokens_total", "counter", "Tokens written.", load(&self.completion_tokens)),
            (
                "reasoning_tokens_total",
                "counter",
                "Tokens written that are reasoning.",
                load(&self.reasoning_tokens),
            ),
            (
                "turns_running",
                "gauge",
                "Turns that are running.",
                self.running.load(Ordering::Relaxed) as f64,
            ),
            (
                "engine_requests_accepted_total",
                "counter",
                "Requests the engine has taken.",
                engine_seen(engine.accepted),
            ),
            (
                "engine_requests_refused_total",
                "counter",
                "Requests refused because the queue was full.",
                engine_seen(engine.refused_full),
            ),
            (
                "engine_requests_ended_total",
                "counter",
                "Requests that have ended.",
                engine_seen(engine.ended()),
            ),
            (
                "engine_requests_failed_total",
                "counter",
                "Requests that failed.",
                engine_seen(engine.ended_failed),
            ),
            ("engine_steps_total", "counter", "Forward passes.", engine_seen(engine.steps)),
            (
                "engine_preemptions_total",
                "counter",
                "Sequences that were computed again.",
                engine_seen(engine.preemptions),
            ),
            (
                "engine_prefix_hits_total",
                "counter",
                "Prompts whose beginning was in the prefix cache.",
                engine_seen(engine.prefix.hits),
            ),
            (
                "engine_starts_afresh_total",
                "counter",
                "Times that the idle engine found blocks that nobody held and nobody had given back.",
                engine_seen(engine.starts_afresh),
            ),
            ("engine_sequences_running", "gauge", "Sequences that hold blocks.", engine.running as f64),
            ("engine_requests_queued", "gauge", "Requests that wait.", engine.queued as f64),
            ("engine_kv_blocks", "gauge", "Blocks of the KV pool.", engine.blocks_total as f64),
            ("engine_kv_blocks_free", "gauge", "Blocks nobody holds.", engine.blocks_free as f64),
        ];
        for (name, kind, help, value) in rows {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_page_is_a_comment_or_a_sample() {
        let metrics = Metrics::default();
        metrics.responded("/v1/models", 200);
        metrics.first_token(Duration::from_millis(7));
        metrics.ended(Tokens { prompt: 3, cached: 1, completion: 2, reasoning: 1 }, Duration::from_secs(1));
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
