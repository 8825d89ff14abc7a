//! From the records of a level to its figures.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::level::Ran;
use super::record::{Fault, Record};
use crate::args::{Objective, RequestTime};

/// Milliseconds of a second.
const MS: f64 = 1e3;

/// Mean, spread and percentiles of values. Units: those of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, as of a whole population.
    pub deviation: f64,
    /// Half of them are at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        let [p50, p90, p95, p99] = [0.50, 0.90, 0.95, 0.99].map(|share| percentile(&values, share));
        Some(Spread { count, mean, deviation: variance.sqrt(), p50, p90, p95, p99, max })
    }
}

/// The value below which a share of the sorted values lies, between two of them in proportion, as numpy and
/// with it the other load generators have it.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => f64::NAN,
    }
}

/// The times that are told, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// To the first token of any kind.
    Ttft,
    /// To the first token of the answer.
    Ttfo,
    /// Between tokens, each.
    Itl,
    /// Between tokens, the mean of each request.
    Tpot,
    /// To the last token.
    E2e,
    /// Between the moment at which a request was due and that at which it was sent.
    Late,
}

impl Time {
    /// All of them.
    pub const ALL: [Time; 6] = [Time::Ttft, Time::Ttfo, Time::Itl, Time::Tpot, Time::E2e, Time::Late];

    /// As the JSON object has it, where vLLM's has the same.
    pub fn name(self) -> &'static str {
        match self {
            Time::Ttft => "ttft",
            Time::Ttfo => "ttfo",
            Time::Itl => "itl",
            Time::Tpot => "tpot",
            Time::E2e => "e2el",
            Time::Late => "send_late",
        }
    }
}

/// What a level measured. Times are in milliseconds, rates are a second's.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Requests that were answered in full.
    pub completed: usize,
    /// Those that failed, by kind, with the words of the first.
    pub failures: BTreeMap<Fault, (usize, String)>,
    /// Those that Ctrl-C ended.
    pub abandoned: usize,
    /// Seconds from the start to the end of the last request.
    pub duration: f64,
    /// Tokens of the prompts of completed requests, if the server counts them.
    pub input_tokens: Option<u64>,
    /// Of these, those that the server had computed before.
    pub cached_tokens: u64,
    /// Tokens of the prompts as they were asked for; of a file's nobody knows.
    pub asked_input_tokens: Option<u64>,
    /// Tokens of the answers.
    pub output_tokens: f64,
    /// Most tokens of the answers, as they were asked for.
    pub asked_output_tokens: u64,
    /// Whether the server counted the tokens of all answers; otherwise events of some were.
    pub is_counted_by_server: bool,
    /// Completed requests that keep all bounds; `None` without bounds.
    pub good: Option<usize>,
    /// The times, in the order of [`Time::ALL`].
    pub times: [Option<Spread>; 6],
    /// Every time to the first token, sorted. Units: milliseconds.
    pub first_tokens: Vec<f64>,
}

impl Figures {
    /// Of what a level gave.
    pub fn of(ran: &Ran, bounds: &[Objective]) -> Figures {
        let done: Vec<&Record> = ran.records.iter().filter(|record| record.failure.is_none()).collect();
        let mut failures = BTreeMap::new();
        for failure in ran.records.iter().filter_map(|record| record.failure.as_ref()) {
            failures.entry(failure.fault).or_insert_with(|| (0, failure.detail.clone())).0 += 1;
        }
        let prompts = |tokens: &dyn Fn(&Record) -> Option<u32>| -> Option<u64> {
            done.iter().map(|record| tokens(record).map(u64::from)).sum()
        };
        let usage = |record: &Record| record.answer.usage;
        let mut first_tokens = times(&done, Time::Ttft);
        first_tokens.sort_by(f64::total_cmp);
        Figures {
            completed: done.len(),
            failures,
            abandoned: ran.num_abandoned,
            duration: ran.elapsed.as_secs_f64(),
            input_tokens: prompts(&|record: &Record| usage(record).map(|usage| usage.prompt_tokens)),
            cached_tokens: prompts(&|record: &Record| usage(record).map(|usage| usage.cached_tokens()))
                .unwrap_or(0),
            asked_input_tokens: prompts(&|record: &Record| record.asked.prompt),
            output_tokens: done.iter().map(|record| record.answer.num_tokens()).sum(),
            asked_output_tokens: done.iter().map(|record| u64::from(record.asked.output)).sum(),
            is_counted_by_server: done
                .iter()
                .all(|record| usage(record).is_some_and(|usage| usage.completion_tokens > 0)),
            good: (!bounds.is_empty()).then(|| done.iter().filter(|record| keeps(record, bounds)).count()),
            times: Time::ALL.map(|time| {
                // How late requests were sent is told of all: a failed one was sent too.
                let of: Vec<&Record> = match time {
                    Time::Late => ran.records.iter().collect(),
                    _ => done.clone(),
                };
                Spread::of(times(&of, time))
            }),
            first_tokens,
        }
    }

    /// The spread of a time; `None` where nothing was measured.
    pub fn time(&self, time: Time) -> Option<Spread> {
        Time::ALL.iter().position(|it| *it == time).and_then(|place| self.times[place])
    }

    /// Requests that failed.
    pub fn failed(&self) -> usize {
        self.failures.values().map(|(count, _)| count).sum()
    }

    /// A number of the whole level as a rate. Units: 1/s.
    pub fn per_second(&self, number: f64) -> f64 {
        if self.duration > 0.0 { number / self.duration } else { 0.0 }
    }

    /// Tokens of the answers a second.
    pub fn output_throughput(&self) -> f64 {
        self.per_second(self.output_tokens)
    }

    /// The fields that `vllm bench serve` has, by its names, and ours beside them.
    pub fn json(&self) -> Map<String, Value> {
        let input = self.input_tokens.map(|tokens| tokens as f64);
        let failures: Map<String, Value> = self
            .failures
            .iter()
            .map(|(fault, (count, first))| (fault.to_string(), json!({"count": count, "first": first})))
            .collect();
        let fields = json!({
            "duration": self.duration,
            "completed": self.completed,
            "failed": self.failed(),
            "abandoned": self.abandoned,
            "errors": failures,
            "request_throughput": self.per_second(self.completed as f64),
            "request_goodput": self.good.map(|good| self.per_second(good as f64)),
            "output_throughput": self.output_throughput(),
            "total_token_throughput": input.map(|input| self.per_second(input + self.output_tokens)),
            "total_input_tokens": self.input_tokens,
            "total_cached_input_tokens": self.cached_tokens,
            "asked_input_tokens": self.asked_input_tokens,
            "total_output_tokens": self.output_tokens,
            "asked_output_tokens": self.asked_output_tokens,
            "output_tokens_counted_by": if self.is_counted_by_server { "usage" } else { "events" },
        });
        let Value::Object(mut fields) = fields else { unreachable!("an object was written") };
        for time in Time::ALL {
            let spread = self.time(time);
            let mut field = |statistic: &str, of: fn(&Spread) -> f64| {
                fields.insert(format!("{statistic}_{}_ms", time.name()), json!(spread.as_ref().map(of)));
            };
            field("mean", |spread| spread.mean);
            field("std", |spread| spread.deviation);
            field("median", |spread| spread.p50);
            field("p50", |spread| spread.p50);
            field("p90", |spread| spread.p90);
            field("p95", |spread| spread.p95);
            field("p99", |spread| spread.p99);
            field("max", |spread| spread.max);
        }
        fields
    }
}

/// One kind of time of these records. Units: milliseconds.
fn times(records: &[&Record], time: Time) -> Vec<f64> {
    let each = records.iter();
    let seconds: Vec<f64> = match time {
        Time::Ttft => each.filter_map(|it| Some(it.answer.first_token?.as_secs_f64())).collect(),
        Time::Ttfo => each.filter_map(|it| Some(it.answer.first_answer?.as_secs_f64())).collect(),
        Time::Itl => each.flat_map(|it| it.answer.itl()).collect(),
        Time::Tpot => each.filter_map(|it| it.answer.tpot()).collect(),
        Time::E2e => each.filter_map(|it| Some(it.answer.last_token?.as_secs_f64())).collect(),
        Time::Late => each.map(|it| it.late.as_secs_f64()).collect(),
    };
    seconds.into_iter().map(|seconds| seconds * MS).collect()
}

/// Whether a completed request keeps all bounds. One that has no such time, as an answer of one token has no
/// time between tokens, keeps its bound.
fn keeps(record: &Record, bounds: &[Objective]) -> bool {
    let answer = &record.answer;
    bounds.iter().all(|bound| {
        let seconds = match bound.of {
            RequestTime::Ttft => answer.first_token.map(|time| time.as_secs_f64()),
            RequestTime::Ttfo => answer.first_answer.map(|time| time.as_secs_f64()),
            RequestTime::E2e => answer.last_token.map(|time| time.as_secs_f64()),
            RequestTime::Tpot => answer.tpot(),
        };
        seconds.is_none_or(|seconds| seconds <= bound.most.as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::{Answer, Asked, Failure};
    use std::time::Duration;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([15, 20, 35, 40, 50], [50, 90, 95, 99]) and of one value.
        let spread = Spread::of(vec![50.0, 15.0, 40.0, 20.0, 35.0]).unwrap();
        let found = [spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max];
        for (found, expect) in found.into_iter().zip([32.0, 35.0, 46.0, 48.0, 49.6, 50.0]) {
            assert!((found - expect).abs() < 1e-9, "{found} {expect}");
        }
        assert!((spread.deviation - 12.884).abs() < 1e-3);
        let one = Spread::of(vec![3.0]).unwrap();
        assert_eq!((one.p50, one.p99, one.max, one.deviation), (3.0, 3.0, 3.0, 0.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    fn record(first: u64, last: u64, failure: Option<Failure>) -> Record {
        let ms = Duration::from_millis;
        let answer = Answer {
            first_token: Some(ms(first)),
            last_token: Some(ms(last)),
            gaps: vec![ms(last - first)],
            ..Answer::default()
        };
        let asked = Asked { prompt: Some(10), output: 5 };
        Record { due: ms(0), late: ms(1), ended: ms(last), asked, answer, failure }
    }

    #[test]
    fn what_failed_counts_as_failed_alone() {
        let timeout = || Some(Failure::new(Fault::Timeout, "late"));
        let records = vec![record(10, 30, None), record(20, 80, None), record(500, 900, timeout())];
        let ran = Ran { records, num_abandoned: 1, elapsed: Duration::from_secs(2) };
        let bound = |of, ms| Objective { of, most: Duration::from_millis(ms) };
        let figures = Figures::of(&ran, &[bound(RequestTime::Ttft, 20), bound(RequestTime::Tpot, 30)]);
        assert_eq!(
            (figures.completed, figures.failed(), figures.abandoned, figures.good),
            (2, 1, 1, Some(1))
        );
        assert_eq!(figures.first_tokens, [10.0, 20.0]);
        assert_eq!((figures.time(Time::Late).unwrap().count, figures.time(Time::Ttfo)), (3, None));
        let json = figures.json();
        let check = |field: &str, expect: Value| assert_eq!(json[field], expect, "{field}");
        check("request_throughput", json!(1.0));
        check("request_goodput", json!(0.5));
        check("output_throughput", json!(2.0));
        check("total_input_tokens", Value::Null);
        check("asked_input_tokens", json!(20));
        check("output_tokens_counted_by", json!("events"));
        check("mean_tpot_ms", json!(40.0));
        check("median_ttfo_ms", Value::Null);
        check("errors", json!({"timeout": {"count": 1, "first": "late"}}));
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        let ran = Ran { records: Vec::new(), num_abandoned: 0, elapsed: Duration::ZERO };
        let figures = Figures::of(&ran, &[]);
        assert_eq!((figures.output_throughput(), figures.good, figures.time(Time::Ttft)), (0.0, None, None));
        assert!(figures.json()["request_throughput"] == 0.0);
    }
}
