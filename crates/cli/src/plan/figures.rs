//! From a day to its figures, named as those of `gptoss load`.

use serde_json::{Map, Value, json};

use super::fleet::{Day, End, Outcome};
use super::traffic::{Ask, NANOS};
use crate::args::{Objective, RequestTime};
use crate::load::figures::Spread;

/// Milliseconds of a second.
const MS: f64 = 1e3;

/// What a number of servers came to. Times are in milliseconds, rates are a second's.
#[derive(Debug)]
pub struct Figures {
    /// Servers.
    pub workers: usize,
    /// Requests that were answered.
    pub completed: usize,
    /// Those that a full queue refused, that were cut, and that are too long.
    pub failures: [usize; 3],
    /// Requests that were sent to a second server.
    pub resent: usize,
    /// Seconds to the end of the last request.
    pub duration: f64,
    /// Tokens of answers.
    pub output_tokens: usize,
    /// Share of the tokens of prompts that was found in caches.
    pub cached_share: f64,
    /// Share of their time that servers computed.
    pub busy_share: f64,
    /// To the first token.
    pub ttft: Option<Spread>,
    /// Between tokens, each.
    pub itl: Option<Spread>,
    /// Between tokens, the mean of each request.
    pub tpot: Option<Spread>,
    /// To the last token.
    pub e2e: Option<Spread>,
    /// Every time to the first token, sorted.
    pub first_tokens: Vec<f64>,
}

impl Figures {
    /// Of a day on so many servers.
    pub fn of(day: &Day, asks: &[Ask], workers: usize) -> Figures {
        let count = |end: End| day.outcomes.iter().filter(|outcome| outcome.end == end).count();
        let answered: Vec<(&Outcome, &Ask)> =
            day.outcomes.iter().zip(asks).filter(|(outcome, _)| outcome.end == End::Answered).collect();
        let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / NANOS * MS;
        let ends = |outcome: &Outcome| (outcome.tokens[0], outcome.tokens[outcome.tokens.len() - 1]);
        let mut first_tokens: Vec<f64> =
            answered.iter().map(|(outcome, ask)| ms(ask.at, outcome.tokens[0])).collect();
        first_tokens.sort_by(f64::total_cmp);
        let gaps = answered.iter().flat_map(|(outcome, _)| outcome.tokens.windows(2));
        let means = answered.iter().filter(|(outcome, _)| outcome.tokens.len() > 1).map(|(outcome, _)| {
            let (first, last) = ends(outcome);
            ms(first, last) / (outcome.tokens.len() - 1) as f64
        });
        let duration = day.duration as f64 / NANOS;
        let cached: usize = answered.iter().map(|(outcome, _)| outcome.cached_tokens).sum();
        let prompts: f64 = answered.iter().map(|(_, ask)| f64::from(ask.prompt_tokens)).sum();
        Figures {
            workers,
            completed: answered.len(),
            failures: [count(End::Refused), count(End::Cut), count(End::TooLong)],
            resent: day.outcomes.iter().filter(|outcome| outcome.resent > 0).count(),
            duration,
            output_tokens: answered.iter().map(|(outcome, _)| outcome.tokens.len()).sum(),
            cached_share: cached as f64 / prompts.max(1.0),
            busy_share: day.busy_seconds / (duration * workers as f64).max(f64::MIN_POSITIVE),
            ttft: Spread::of(first_tokens.clone()),
            itl: Spread::of(gaps.map(|pair| ms(pair[0], pair[1])).collect()),
            tpot: Spread::of(means.collect()),
            e2e: Spread::of(answered.iter().map(|(outcome, ask)| ms(ask.at, ends(outcome).1)).collect()),
            first_tokens,
        }
    }

    /// Tokens of answers a second.
    pub fn output_throughput(&self) -> f64 {
        self.output_tokens as f64 / self.duration.max(f64::MIN_POSITIVE)
    }

    /// Whether 99 of 100 requests keep each bound: one that was not answered keeps none.
    pub fn keeps(&self, objectives: &[Objective]) -> bool {
        let failed: usize = self.failures.iter().sum();
        let within = |objective: &Objective| {
            let spread = match objective.of {
                // Reasoning is not told apart.
                RequestTime::Ttft | RequestTime::Ttfo => &self.ttft,
                RequestTime::Tpot => &self.tpot,
                RequestTime::E2e => &self.e2e,
            };
            spread.as_ref().is_some_and(|spread| spread.p99 <= objective.most.as_secs_f64() * MS)
        };
        failed * 100 <= self.completed + failed && objectives.iter().all(within)
    }

    /// As one object.
    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        let [refused, cut, too_long] = self.failures;
        let whole = json!({
            "workers": self.workers, "completed": self.completed, "refused": refused, "cut": cut, "too_long": too_long,
            "resent": self.resent, "duration": self.duration,
            "request_throughput": self.completed as f64 / self.duration.max(f64::MIN_POSITIVE),
            "output_throughput": self.output_throughput(), "total_output_tokens": self.output_tokens,
            "cached_share": self.cached_share, "busy_share": self.busy_share,
        });
        if let Value::Object(whole) = whole {
            fields.extend(whole);
        }
        let times = [("ttft", &self.ttft), ("itl", &self.itl), ("tpot", &self.tpot), ("e2el", &self.e2e)];
        for (name, spread) in times {
            let Some(spread) = spread else { continue };
            let values =
                [("mean", spread.mean), ("median", spread.p50), ("p90", spread.p90), ("p99", spread.p99)];
            for (kind, value) in values {
                fields.insert(format!("{kind}_{name}_ms"), json!(value));
            }
        }
        Value::Object(fields)
    }
}
