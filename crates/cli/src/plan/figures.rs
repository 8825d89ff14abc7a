//! From a day to its figures, named as those of `gptoss load`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::fleet::{Day, End, Outcome};
use super::traffic::{Ask, NANOS};
use crate::args::{Objective, RequestTime};
use crate::load::figures::Spread;

/// Milliseconds of a second.
const MS: f64 = 1e3;
/// Of so many requests, how many may be late where the 99th percentile is bounded.
const HUNDRED: usize = 100;

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
    /// How each bound was kept.
    pub kept: Vec<Kept>,
}

/// How a bound was kept. A request that was not answered is late, whenever it was to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The bound.
    pub objective: Objective,
    /// Requests that have such a time, or would have had it.
    pub of: usize,
    /// Those beyond the bound.
    pub late: usize,
    /// 99 of 100 are at most this, by the nearest rank: it is one of their times. None where so many were not
    /// answered that there is none. Units: milliseconds.
    pub p99: Option<f64>,
}

impl Kept {
    /// Of the times of all requests, infinite of those that were not answered. Units: milliseconds.
    fn of(objective: Objective, mut times: Vec<f64>) -> Kept {
        times.sort_by(f64::total_cmp);
        let most = objective.most.as_secs_f64() * MS;
        let late = times.iter().filter(|time| **time > most).count();
        let rank = (times.len() * (HUNDRED - 1)).div_ceil(HUNDRED);
        let p99 = rank.checked_sub(1).map(|place| times[place]).filter(|time| time.is_finite());
        Kept { objective, of: times.len(), late, p99 }
    }

    /// Whether at most one of a hundred is late.
    pub fn is_kept(&self) -> bool {
        self.late * HUNDRED <= self.of
    }

    /// The bound's name.
    pub fn name(&self) -> &'static str {
        match self.objective.of {
            RequestTime::Ttft | RequestTime::Ttfo => "ttft",
            RequestTime::Tpot => "tpot",
            RequestTime::E2e => "e2el",
        }
    }

    fn json(&self) -> Value {
        json!({
            "of": self.name(), "most_ms": self.objective.most.as_secs_f64() * MS, "kept": self.is_kept(),
            "requests": self.of, "late": self.late, "p99_ms": self.p99,
        })
    }
}

/// A request that was answered, or not.
#[derive(Clone, Copy)]
struct Answer<'a> {
    outcome: &'a Outcome,
    ask: &'a Ask,
}

impl Answer<'_> {
    fn is_answered(&self) -> bool {
        self.outcome.end == End::Answered
    }

    /// Its times that can be bounded. An answer of one token has nothing between tokens. Units: milliseconds.
    fn time(&self, of: RequestTime) -> Option<f64> {
        let tokens = &self.outcome.tokens;
        let (first, last) = (*tokens.first()?, *tokens.last()?);
        match of {
            // Reasoning is not told apart.
            RequestTime::Ttft | RequestTime::Ttfo => Some(ms(self.outcome.arrived, first)),
            RequestTime::Tpot if tokens.len() < 2 => None,
            RequestTime::Tpot => Some(ms(first, last) / (tokens.len() - 1) as f64),
            RequestTime::E2e => Some(ms(self.outcome.arrived, last)),
        }
    }
}

impl Figures {
    /// Of a day on so many servers.
    pub fn of(day: &Day, asks: &[Ask], workers: usize, objectives: &[Objective]) -> Figures {
        let count = |end: End| day.outcomes.iter().filter(|outcome| outcome.end == end).count();
        let all: Vec<Answer<'_>> =
            day.outcomes.iter().zip(asks).map(|(outcome, ask)| Answer { outcome, ask }).collect();
        let answered: Vec<Answer<'_>> = all.iter().copied().filter(Answer::is_answered).collect();
        let times =
            |of: RequestTime| answered.iter().filter_map(|answer| answer.time(of)).collect::<Vec<f64>>();
        let mut first_tokens = times(RequestTime::Ttft);
        first_tokens.sort_by(f64::total_cmp);
        let gaps = answered.iter().flat_map(|answer| answer.outcome.tokens.windows(2));
        let kept = |objective: &Objective| {
            let time = |answer: &Answer<'_>| match answer.is_answered() {
                true => answer.time(objective.of),
                false => Some(f64::INFINITY),
            };
            Kept::of(*objective, all.iter().filter_map(time).collect())
        };
        let duration = day.duration as f64 / NANOS;
        let cached: usize = answered.iter().map(|answer| answer.outcome.cached_tokens).sum();
        let prompts: f64 = answered.iter().map(|answer| f64::from(answer.ask.prompt_tokens)).sum();
        Figures {
            workers,
            completed: answered.len(),
            failures: [count(End::Refused), count(End::Cut), count(End::TooLong)],
            resent: day.outcomes.iter().filter(|outcome| outcome.resent > 0).count(),
            duration,
            output_tokens: answered.iter().map(|answer| answer.outcome.tokens.len()).sum(),
            cached_share: cached as f64 / prompts.max(1.0),
            busy_share: day.busy_seconds / (duration * workers as f64).max(f64::MIN_POSITIVE),
            ttft: Spread::of(first_tokens.clone()),
            itl: Spread::of(gaps.map(|pair| ms(pair[0], pair[1])).collect()),
            tpot: Spread::of(times(RequestTime::Tpot)),
            e2e: Spread::of(times(RequestTime::E2e)),
            first_tokens,
            kept: objectives.iter().map(kept).collect(),
        }
    }

    /// Tokens of answers a second.
    pub fn output_throughput(&self) -> f64 {
        self.per_second(self.output_tokens)
    }

    /// A number of the whole day as a rate. Units: 1/s.
    fn per_second(&self, number: usize) -> f64 {
        if self.duration > 0.0 { number as f64 / self.duration } else { 0.0 }
    }

    /// Whether 99 of 100 requests keep each bound: one that was not answered keeps none.
    pub fn keeps(&self) -> bool {
        self.kept.iter().all(Kept::is_kept)
    }

    /// As one object.
    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        let [refused, cut, too_long] = self.failures;
        let whole = json!({
            "workers": self.workers, "completed": self.completed, "refused": refused, "cut": cut, "too_long": too_long,
            "resent": self.resent, "duration": self.duration, "request_throughput": self.per_second(self.completed),
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
        if !self.kept.is_empty() {
            fields.insert("slo".to_owned(), self.kept.iter().map(Kept::json).collect());
        }
        Value::Object(fields)
    }
}

/// Units: milliseconds, of two moments in nanoseconds.
fn ms(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / NANOS * MS
}

/// A bound as people write it.
pub fn told(most: Duration) -> String {
    format!("{} ms", most.as_secs_f64() * MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of answers that take a millisecond to the first token and as much to the second; of these so
    /// many take a hundred, and so many more are cut after their first token.
    fn figures(count: usize, late: usize, cut: usize, what: &str) -> Figures {
        let outcome = |number: usize| {
            let first = if number < late { 100_000_000 } else { 1_000_000 };
            let is_cut = (late..late + cut).contains(&number);
            let tokens = if is_cut { vec![first] } else { vec![first, 2 * first] };
            let end = if is_cut { End::Cut } else { End::Answered };
            Outcome { end, arrived: 0, tokens, cached_tokens: 0, resent: 0 }
        };
        let outcomes: Vec<Outcome> = (0..count).map(outcome).collect();
        let ask = Ask {
            at: 0,
            prompt_tokens: 1,
            output_tokens: 2,
            prefix: None,
            conversation: 0,
            is_later_turn: false,
        };
        let day = Day { outcomes, busy_seconds: 0.1, duration: 1_000_000_000 };
        let objectives: Vec<Objective> = what.split(',').map(|text| text.parse().unwrap()).collect();
        Figures::of(&day, &vec![ask; count], 1, &objectives)
    }

    /// By the interpolated percentile of the answered, and failures counted apart, 19 of 1,000 passed.
    #[test]
    fn at_most_one_of_a_hundred_is_late_and_who_is_not_answered_is() {
        let check = |count: usize, late: usize, cut: usize, expect: bool, p99: Option<f64>| {
            for what in ["ttft=50ms", "tpot=50ms", "e2e=50ms"] {
                let figures = figures(count, late, cut, what);
                let kept = &figures.kept[0];
                assert_eq!(figures.keeps(), expect, "{count} {late} {cut} {kept:?}");
                assert_eq!((kept.of, kept.late), (count, late + cut), "{kept:?}");
                let doubled = if what == "e2e=50ms" { 2.0 } else { 1.0 };
                assert_eq!(kept.p99, p99.map(|p99| p99 * doubled), "{count} {late} {cut} {what}");
                // What the percentile says is what the count says.
                assert_eq!(kept.p99.is_some_and(|p99| p99 <= 50.0), expect);
            }
        };
        check(1000, 0, 0, true, Some(1.0));
        check(1000, 10, 0, true, Some(1.0));
        check(1000, 11, 0, false, Some(100.0));
        check(1000, 0, 10, true, Some(1.0));
        check(1000, 0, 11, false, None);
        check(1000, 5, 5, true, Some(1.0));
        check(1000, 9, 10, false, Some(100.0));
        check(1000, 10, 9, false, Some(100.0));
        check(199, 1, 0, true, Some(1.0));
        check(199, 2, 0, false, Some(100.0));
        check(99, 1, 0, false, Some(100.0));
        check(1, 0, 0, true, Some(1.0));
        check(1, 0, 1, false, None);
    }

    #[test]
    fn every_bound_counts_for_itself() {
        let figures = figures(1000, 12, 0, "ttft=200ms,e2e=150ms");
        assert_eq!(figures.kept.iter().map(Kept::is_kept).collect::<Vec<_>>(), [true, false]);
        assert!(!figures.keeps());
        let json = figures.json();
        assert_eq!(json["slo"][1]["late"], 12);
        assert_eq!(json["slo"][1]["of"], "e2el");
        assert!((json["p99_ttft_ms"].as_f64().unwrap() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_day_without_requests_or_time_has_no_rates() {
        let figures = figures(1, 0, 1, "ttft=1ms");
        assert_eq!((figures.completed, figures.output_throughput()), (0, 0.0));
        let day = Day { outcomes: Vec::new(), busy_seconds: 0.0, duration: 0 };
        let empty = Figures::of(&day, &[], 1, &[]);
        assert!(empty.keeps() && empty.json()["request_throughput"] == 0.0 && empty.busy_share == 0.0);
    }
}
