//! What has the server done, in the words of Prometheus?
//!
//! Counters and histograms, as atomics that any thread may raise; [`Metrics::page`] writes them out in the
//! text format together with what the engine counts, under our own names and under vLLM's. There are no
//! labels made of what clients send, so their number is bounded.
//!
//! It does not know requests: whoever knows when something begins or ends says so here.

mod histogram;
mod process;
mod turns;
mod upstreams;
mod vllm;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use gptoss_turn::EngineStats;
pub(crate) use turns::TurnMetrics;
pub(crate) use upstreams::write_upstreams;
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

    /// The page, with what is known of each model; of several, where each is is told too.
    pub(crate) fn page(&self, models: &[ModelRows<'_>]) -> String {
        let mut page = String::new();
        let name = "gptoss_http_responses_total";
        let _ = writeln!(page, "# HELP {name} Responses by route and status.\n# TYPE {name} counter");
        for ((route, status), count) in self.responses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(page, "{name}{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        let turns = TurnMetrics::default();
        models.iter().for_each(|model| turns.add(model.turns));
        let engine = models.iter().fold(EngineStats::default(), |sum, model| sum.plus(&model.engine));
        for (name, kind, help, value) in
            self.own_rows().into_iter().chain(turns.rows()).chain(engine_rows(&engine))
        {
            let _ = writeln!(
                page,
                "# HELP gptoss_{name} {help}\n# TYPE gptoss_{name} {kind}\ngptoss_{name} {value}"
            );
        }
        turns.write(&mut page);
        if models.len() > 1 {
            write_loads(&mut page, models);
        }
        vllm::write(&mut page, models);
        process::write(&mut page, self.started);
        page
    }

    /// What no model has for itself.
    fn own_rows(&self) -> [Row; 3] {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        let counter = |name, help, value| (name, "counter", help, load(value));
        let running = self.running.load(Ordering::Relaxed) as f64;
        [
            counter("disconnects_total", "Streams whose reader went away before the end.", &self.disconnects),
            counter("warnings_total", "Repairs of the model's output and other warnings.", &self.warnings),
            ("turns_running", "gauge", "Turns that are running.", running),
        ]
    }
}

/// How often a model came to memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoadCounts {
    /// Times it was loaded.
    pub(crate) loads: u64,
    /// What all of them took. Units: seconds.
    pub(crate) seconds: f64,
    /// Times it could not be.
    pub(crate) failures: u64,
    /// Times it was unloaded.
    pub(crate) unloads: u64,
    /// Requests that waited for it and got it.
    pub(crate) waits: u64,
    /// What all of them waited. Units: seconds.
    pub(crate) waited_seconds: f64,
}

/// What the page tells of a model.
pub(crate) struct ModelRows<'a> {
    /// The served name.
    pub(crate) name: &'a str,
    /// What its turns came to.
    pub(crate) turns: &'a TurnMetrics,
    /// What its engine counts.
    pub(crate) engine: EngineStats,
    /// Whether it is in memory.
    pub(crate) is_loaded: bool,
    /// How often it came there.
    pub(crate) loads: LoadCounts,
    /// Requests that wait for it to be loaded.
    pub(crate) num_waiting: usize,
}

/// A number of a model's: its name behind a prefix, its kind, what it says, and how to get it.
type ModelRow = (&'static str, &'static str, &'static str, fn(&ModelRows<'_>) -> f64);

/// Writes rows, each with a line a model, behind whose labels it stands.
fn write_rows(page: &mut String, prefix: &str, rows: &[ModelRow], labeled: &[(String, &ModelRows<'_>)]) {
    for &(name, kind, help, value) in rows {
        let _ = writeln!(page, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
        for (labels, model) in labeled {
            let _ = writeln!(page, "{prefix}{name}{{{labels}}} {}", value(model));
        }
    }
}

/// Where models are, and how often they came and went.
fn write_loads(page: &mut String, models: &[ModelRows<'_>]) {
    let rows: [ModelRow; 8] = [
        ("_loaded", "gauge", "Whether the model is in memory.", |model| f64::from(u8::from(model.is_loaded))),
        ("_requests_waiting", "gauge", "Requests that wait for the model to be loaded.", |model| {
            model.num_waiting as f64
        }),
        ("_loads_total", "counter", "Times that the model was loaded.", |model| model.loads.loads as f64),
        ("_load_seconds_total", "counter", "What that took.", |model| model.loads.seconds),
        ("_load_failures_total", "counter", "Times that it could not be.", |model| {
            model.loads.failures as f64
        }),
        ("_unloads_total", "counter", "Times that it was unloaded.", |model| model.loads.unloads as f64),
        (
            "_waits_total",
            "counter",
            "Requests that waited for the model to be loaded, and got it.",
            |model| model.loads.waits as f64,
        ),
        ("_wait_seconds_total", "counter", "What they waited.", |model| model.loads.waited_seconds),
    ];
    let label = |model: &ModelRows<'_>| format!("model=\"{}\"", vllm::escaped(model.name));
    let labeled: Vec<_> = models.iter().map(|model| (label(model), model)).collect();
    write_rows(page, "gptoss_model", &rows, &labeled);
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
fn engine_rows(engine: &EngineStats) -> [Row; 23] {
    let counter = |name, help, value: u64| (name, "counter", help, value as f64);
    let gauge = |name, help, value: usize| (name, "gauge", help, value as f64);
    let stuck = "Times that the idle engine found blocks that nobody held and nobody had given back.";
    let hits = "Prompts whose beginning was in the prefix cache.";
    let experts = &engine.experts;
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
        counter("expert_hits_total", "Experts found where they are used.", experts.hits),
        counter("expert_misses_total", "Experts read from disk or sent to the card.", experts.misses),
        counter("expert_bytes_total", "Bytes of those.", experts.bytes_read),
        gauge("expert_slots", "Experts that can be where they are used; 0 when all are.", experts.slots),
        gauge("experts", "Experts of models of which only some are.", experts.experts),
        counter("engine_device_losses_total", "Times that the card was lost or hung.", engine.device_losses),
        counter("kv_event_batches_total", "Batches of events of kept blocks.", engine.kv_events.batches),
        counter(
            "kv_event_batches_lost_total",
            "Those that a full queue lost; all is told anew.",
            engine.kv_events.lost,
        ),
        counter(
            "kv_events_late_total",
            "Messages that a slow subscriber did not get.",
            engine.kv_events.late,
        ),
        gauge("kv_event_subscribers", "Subscribers to events of kept blocks.", engine.kv_events.subscribers),
        gauge("engine_sequences_running", "Sequences that hold blocks.", engine.running),
        gauge("engine_requests_queued", "Requests that wait.", engine.queued),
        gauge("engine_kv_blocks", "Blocks of the KV pool.", engine.blocks_total),
        gauge("engine_kv_blocks_free", "Blocks nobody holds.", engine.blocks_free),
        gauge("engine_kv_blocks_cached", "Blocks that the prefix cache holds.", engine.blocks_cached),
    ]
}

#[cfg(test)]
mod tests {
    use gptoss_api::usage::{PhaseTimes, TokenUsage};
    use gptoss_turn::TurnEnd;

    use super::*;

    /// A turn of every kind.
    fn turns() -> TurnMetrics {
        let turns = TurnMetrics::default();
        turns.first_token(Duration::from_millis(7));
        turns.next_token(Duration::from_millis(2));
        turns.phases(PhaseTimes {
            queued: Duration::from_secs(1700),
            prefill: Duration::from_secs(1),
            decode: Duration::from_secs(2),
        });
        turns.finished(TurnEnd::Length);
        turns.failed();
        turns
    }

    #[test]
    fn every_line_of_the_page_is_a_comment_or_a_sample() {
        let (metrics, turns) = (Metrics::default(), turns());
        metrics.responded("/v1/models", 200);
        let tokens =
            TokenUsage { prompt: 3, cached: 1, completion: 2, reasoning: 1, ..TokenUsage::default() };
        turns.ended(tokens, Duration::from_secs(1));
        let engine = EngineStats {
            running: 2,
            blocks_total: 8,
            blocks_free: 6,
            block_tokens: 32,
            prompt_tokens: 30,
            cached_tokens: 10,
            ..EngineStats::default()
        };
        let rows = |name, turns| ModelRows {
            name,
            turns,
            engine,
            is_loaded: true,
            loads: LoadCounts { loads: 3, seconds: 1.5, unloads: 2, waits: 5, ..LoadCounts::default() },
            num_waiting: 4,
        };
        let other = TurnMetrics::default();
        other.ended(tokens, Duration::from_secs(2));
        let page = metrics.page(&[rows("org/\"a\"", &turns), rows("b", &other)]);
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let is_known = ["gptoss_", "vllm:", "process_"].iter().any(|prefix| name.starts_with(prefix));
            assert!(is_known && value.parse::<f64>().is_ok(), "{line}");
        }
        let check = |line: &str| assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        check("gptoss_http_responses_total{route=\"/v1/models\",status=\"200\"} 1");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.005\"} 0");
        check("gptoss_time_to_first_token_seconds_bucket{le=\"0.01\"} 1");
        // The numbers without a model are those of all together.
        check("gptoss_cached_prompt_tokens_total 2");
        check("gptoss_turn_seconds_count 2");
        check("gptoss_engine_sequences_running 4");
        check("gptoss_model_loaded{model=\"b\"} 1");
        check("gptoss_model_requests_waiting{model=\"b\"} 4");
        check("gptoss_model_load_seconds_total{model=\"org/\\\"a\\\"\"} 1.5");
        check("gptoss_model_waits_total{model=\"b\"} 5");
        assert_eq!(page.matches("# TYPE vllm:generation_tokens_total").count(), 1);
        assert!(
            !metrics.page(&[rows("a", &turns)]).contains("gptoss_model_"),
            "one model has no place to go"
        );
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
        vllm("request_prefill_time_seconds_sum", "", "1");
        vllm("request_decode_time_seconds_bucket", ",le=\"2.5\"", "1");
        vllm("request_inference_time_seconds_sum", "", "3");
        vllm("inter_token_latency_seconds_count", "", "1");
        vllm("e2e_request_latency_seconds_sum", "", "1");
    }
}
