//! What the steps of an engine cost: a table that was measured.
//!
//! Entry points: [`Costs::read`], from a file of `plan --measure` or rows of `bench --json`, and
//! [`Costs::step`]. A step of `d` sequences that decode and `p` tokens of prompts takes what a prompt of
//! `d + p` tokens takes, what choosing `d` tokens adds to that, and a time for each position that the full
//! layers look back at: more for sequences that decode, each of which reads its own, than for the tokens of a
//! prompt, which read theirs together. Between measured sizes it is a straight line; beyond the last, the
//! line through the last two.
//!
//! A file is a stranger's: every number has a bound, so that none of them is too much for a simulation.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gptoss_engine::{SimulatedSizes, SimulatedStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::{Source, read_json};

/// Version of the file.
pub const FORMAT_VERSION: u32 = 1;
/// Most blocks of an engine: 134 million tokens.
const BLOCKS_MAX: usize = 1 << 22;
/// Most sequences that an engine runs at a time.
const SEQUENCES_MAX: usize = 1 << 16;
/// Most kept places of an engine.
const SNAPSHOTS_MAX: usize = 1 << 16;
/// Most tokens of one sequence in a step.
const CHUNK_TOKENS_MAX: usize = 1 << 17;
/// Most sizes that were measured of a kind, and the largest of them: sequences or tokens.
const POINTS_MAX: usize = 1000;
const POINT_SIZE_MAX: f64 = 1e6;
/// Longest time that is written, of a step, a token or a request. Units: seconds.
const SECONDS_MAX: f64 = 86_400.0;
/// Most servers of one machine that were measured, and how much slower each may be than alone.
const MACHINE_SERVERS_MAX: usize = 64;
const SLOWDOWN_MAX: f64 = 1000.0;
/// Longest name of a model. Units: bytes.
const NAME_BYTES_MAX: usize = 1000;
/// Blocks of an engine that `bench` has measured, which says nothing of memory: 32 sequences of 4,096 tokens.
const BENCH_BLOCKS: usize = 4096;
const BENCH_SEQUENCES: usize = 32;
const BENCH_SNAPSHOTS: usize = 128;
const BENCH_CHUNK_TOKENS: usize = 512;

/// A size and the seconds that a step of it takes.
pub type Point = (f64, f64);

/// What steps cost, and what an engine has to give.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// What was measured.
    pub model: String,
    /// Threads of the engine.
    pub threads: usize,
    /// Blocks of the KV pool.
    pub blocks: usize,
    /// Sequences that run at a time.
    pub sequences: usize,
    /// Kept places of prompts.
    pub snapshots: usize,
    /// Tokens of one sequence in a step.
    pub chunk_tokens: usize,
    /// Seconds of a step by sequences that decode, each with little before it.
    pub decode: Vec<Point>,
    /// Seconds of a step by tokens of a prompt, the choice after its last one included.
    pub prefill: Vec<Point>,
    /// Seconds for each position before a token that is decoded.
    pub position_seconds: f64,
    /// Seconds for each position before a token of a prompt; absent, they are as for one that is decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_position_seconds: Option<f64>,
    /// Seconds from a client to the engine and back that do not occupy it: the server, the network.
    #[serde(default)]
    pub request_seconds: f64,
    /// What each token of a prompt adds to that: reading, tokenizing.
    #[serde(default)]
    pub prompt_token_seconds: f64,
    /// Seconds that each chosen token adds to its step, where who sends it computes on the same cores.
    #[serde(default)]
    pub token_seconds: f64,
    /// How many times longer steps take while 1, 2, ... servers of one machine compute; the first is 1.
    #[serde(default = "alone")]
    pub slowdowns: Vec<f64>,
}

/// The slowdowns of a machine with one server.
pub fn alone() -> Vec<f64> {
    vec![1.0]
}

impl Costs {
    /// Reads a file.
    ///
    /// Errors: it cannot be read, holds something else, or numbers that no engine could have.
    pub fn read(file: &Path) -> Result<Costs> {
        let value: Value = read_json(Source::from_argument(Some(file)), "costs of steps")?;
        Costs::parse(value).with_context(|| file.display().to_string())
    }

    /// What a file holds.
    ///
    /// Errors: it is something else, or numbers that no engine could have.
    pub fn parse(value: Value) -> Result<Costs> {
        let costs = match value {
            Value::Array(rows) => of_bench(&rows),
            value => serde_json::from_value(value).context("it is not what plan --measure writes"),
        };
        costs.and_then(Costs::checked)
    }

    /// Errors: numbers that no engine could have, by their names and bounds.
    fn checked(mut self) -> Result<Costs> {
        ensure!(
            self.format == FORMAT_VERSION,
            "`format` is {}, and this program reads {FORMAT_VERSION}: measure again with plan --measure",
            self.format
        );
        let name = self.model.len();
        ensure!(name <= NAME_BYTES_MAX, "`model` has {name} bytes: at most {NAME_BYTES_MAX}");
        whole("blocks", self.blocks, 1..=BLOCKS_MAX)?;
        whole("sequences", self.sequences, 1..=SEQUENCES_MAX)?;
        whole("snapshots", self.snapshots, 0..=SNAPSHOTS_MAX)?;
        whole("chunk_tokens", self.chunk_tokens, 1..=CHUNK_TOKENS_MAX)?;
        points("decode", &mut self.decode)?;
        points("prefill", &mut self.prefill)?;
        let looking_back = self.prefill_position_seconds.unwrap_or(0.0);
        for (name, seconds) in [
            ("position_seconds", self.position_seconds),
            ("prefill_position_seconds", looking_back),
            ("request_seconds", self.request_seconds),
            ("prompt_token_seconds", self.prompt_token_seconds),
            ("token_seconds", self.token_seconds),
        ] {
            within(name, seconds, 0.0..=SECONDS_MAX, "seconds")?;
        }
        let servers = self.slowdowns.len();
        ensure!(
            (1..=MACHINE_SERVERS_MAX).contains(&servers),
            "`slowdowns` has {servers} numbers: write one for each server of a machine, from 1 to {MACHINE_SERVERS_MAX}"
        );
        ensure!(self.slowdowns[0] == 1.0, "`slowdowns` begins with {}: alone is 1", self.slowdowns[0]);
        for &slowdown in &self.slowdowns {
            within("slowdowns", slowdown, 1.0..=SLOWDOWN_MAX, "times as long as alone")?;
        }
        Ok(self)
    }

    /// What an engine has to give.
    pub fn sizes(&self) -> SimulatedSizes {
        let Costs { blocks, sequences, snapshots, chunk_tokens, .. } = *self;
        SimulatedSizes { blocks, sequences, snapshots, chunk_tokens }
    }

    /// Slots of one engine, which a simulation keeps books of.
    pub fn slots(&self) -> usize {
        self.blocks + self.sequences + self.snapshots
    }

    /// How long a step takes on a machine that computes nothing else. Units: seconds.
    pub fn step(&self, step: &SimulatedStep) -> f64 {
        let (decode, prefill) = (step.decode_rows as f64, step.prefill_tokens as f64);
        let chosen = (step.decode_rows + step.prompts_ended) as f64;
        let rows = match (step.decode_rows, step.prefill_tokens) {
            (0, 0) => 0.0,
            (_, 0) => at(&self.decode, decode),
            (rows, _) => {
                // The time of a prompt holds one choice; of a chunk that is not its last there is none, and
                // several prompts may end in one step.
                let whole = at(&self.prefill, decode + prefill);
                let choosing = match rows {
                    0 => -self.choice(),
                    _ => (at(&self.decode, decode) - at(&self.prefill, decode)).max(0.0),
                };
                (whole + choosing + self.choice() * step.prompts_ended as f64).max(whole / 2.0)
            }
        };
        let decoded = self.position_seconds * step.decode_positions as f64;
        let looking_back = self.prefill_position_seconds.unwrap_or(self.position_seconds);
        let prefilled = looking_back * step.prefill_positions as f64;
        rows + decoded + prefilled + self.token_seconds * chosen
    }

    /// What choosing one token more adds to a step: decoding the most sequences beside reading as many
    /// tokens, of which one is chosen. Units: seconds.
    fn choice(&self) -> f64 {
        match self.decode.last() {
            Some(&(rows, seconds)) if rows > 1.0 => {
                ((seconds - at(&self.prefill, rows)) / (rows - 1.0)).max(0.0)
            }
            _ => 0.0,
        }
    }

    /// How a client's request takes longer than the engine's part of it. Units: seconds.
    pub fn way(&self, prompt_tokens: u32) -> f64 {
        self.request_seconds + self.prompt_token_seconds * f64::from(prompt_tokens)
    }
}

/// Errors: a whole number beyond its bounds.
fn whole(name: &str, number: usize, bounds: RangeInclusive<usize>) -> Result<()> {
    ensure!(
        bounds.contains(&number),
        "`{name}` is {number}: an engine has from {} to {}",
        bounds.start(),
        bounds.end()
    );
    Ok(())
}

/// Errors: a number beyond its bounds.
fn within(name: &str, number: f64, bounds: RangeInclusive<f64>, unit: &str) -> Result<()> {
    let (least, most) = (bounds.start(), bounds.end());
    ensure!(bounds.contains(&number), "`{name}` is {number}: it has to be from {least} to {most} {unit}");
    Ok(())
}

/// Sorts what was measured by size.
///
/// Errors: nothing was, or sizes and times that no step has.
fn points(name: &str, points: &mut [Point]) -> Result<()> {
    let count = points.len();
    ensure!(
        (1..=POINTS_MAX).contains(&count),
        "`{name}` has {count} sizes: it needs from 1 to {POINTS_MAX} pairs of a size and its seconds"
    );
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    for &(size, seconds) in points.iter() {
        within(name, size, 1.0..=POINT_SIZE_MAX, "sequences or tokens")?;
        within(name, seconds, f64::MIN_POSITIVE..=SECONDS_MAX, "seconds of a step")?;
    }
    match points.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => anyhow::bail!("`{name}` has the size {} twice", pair[0].0),
        None => Ok(()),
    }
}

/// The line through the points at `size`; below the first and with one point alone it is flat.
pub fn at(points: &[Point], size: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < size);
    let (low, high) = match (points.len(), after) {
        (1, _) | (_, 0) => return points[0].1,
        (len, after) if after == len => (points[len - 2], points[len - 1]),
        (_, after) => (points[after - 1], points[after]),
    };
    let value = low.1 + (high.1 - low.1) * (size - low.0) / (high.0 - low.0);
    value.max(points[0].1.min(low.1))
}

/// Rows of `bench --json`: each has a prompt's length, a depth and a number of sequences.
///
/// Errors: no row decodes, or none has a prompt.
fn of_bench(rows: &[Value]) -> Result<Costs> {
    let number = |row: &Value, name: &str| row[name].as_f64();
    ensure!(rows.len() <= POINTS_MAX, "{} rows of bench: at most {POINTS_MAX}", rows.len());
    let (mut decode, mut prefill): (Vec<(Point, f64)>, Vec<Point>) = Default::default();
    for row in rows {
        let batch = number(row, "batch").context("a row has no `batch`: it is not one of bench --json")?;
        let tokens = number(row, "prefill_tokens").unwrap_or(0.0);
        let depth = number(row, "depth_tokens").unwrap_or(0.0) + tokens;
        let before = depth + number(row, "decode_tokens").unwrap_or(0.0) / 2.0;
        if let Some(speed) = number(row, "decode_tokens_per_second") {
            decode.push(((batch, batch / speed), before));
        }
        if let Some(speed) = number(row, "prefill_tokens_per_second") {
            prefill
                .push((tokens.min(BENCH_CHUNK_TOKENS as f64), tokens.min(BENCH_CHUNK_TOKENS as f64) / speed));
        }
    }
    // The same number of sequences at two depths tells what a position costs.
    let slopes = decode.iter().flat_map(|(one, before)| {
        let deeper = decode.iter().filter(move |(other, depth)| other.0 == one.0 && depth > before);
        deeper.map(move |(other, depth)| ((other.1 - one.1) / (one.0 * (depth - before))).max(0.0))
    });
    let slopes: Vec<f64> = slopes.collect();
    let position_seconds = slopes.iter().sum::<f64>() / slopes.len().max(1) as f64;
    let shallow = decode.into_iter().map(|((batch, seconds), before)| {
        (batch, (seconds - position_seconds * batch * before).max(seconds / 2.0))
    });
    let first = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Ok(Costs {
        format: FORMAT_VERSION,
        model: rows.first().map(|row| first(row, "model")).unwrap_or_default(),
        threads: rows.first().and_then(|row| row["threads"].as_u64()).unwrap_or(0) as usize,
        blocks: BENCH_BLOCKS,
        sequences: BENCH_SEQUENCES,
        snapshots: BENCH_SNAPSHOTS,
        chunk_tokens: BENCH_CHUNK_TOKENS,
        decode: one_a_size(shallow.collect()),
        prefill: one_a_size(prefill),
        position_seconds,
        prefill_position_seconds: None,
        request_seconds: 0.0,
        prompt_token_seconds: 0.0,
        token_seconds: 0.0,
        slowdowns: alone(),
    })
}

/// The mean of points of one size.
fn one_a_size(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let sizes = points.chunk_by(|one, other| one.0 == other.0);
    sizes.map(|same| (same[0].0, same.iter().map(|point| point.1).sum::<f64>() / same.len() as f64)).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A millisecond a step, a tenth for each prompt token beyond the first, two tenths a decoding row.
    pub fn costs() -> Costs {
        Costs {
            format: FORMAT_VERSION,
            model: "test".to_owned(),
            threads: 1,
            blocks: 1024,
            sequences: 8,
            snapshots: 32,
            chunk_tokens: 256,
            decode: vec![(1.0, 1.0e-3), (11.0, 3.0e-3)],
            prefill: vec![(1.0, 1.0e-3), (101.0, 11.0e-3)],
            position_seconds: 0.0,
            prefill_position_seconds: None,
            request_seconds: 0.0,
            prompt_token_seconds: 0.0,
            token_seconds: 0.0,
            slowdowns: alone(),
        }
    }

    #[test]
    fn steps_cost_lines_between_and_beyond_what_was_measured() {
        let costs = Costs { position_seconds: 1e-6, ..costs() };
        let check = |decode_rows, prefill_tokens, prompts_ended, expect: f64| {
            let step =
                SimulatedStep { decode_rows, prefill_tokens, prompts_ended, ..SimulatedStep::default() };
            assert!((costs.step(&step) - expect).abs() < 1e-9, "{step:?}: {}", costs.step(&step));
        };
        check(1, 0, 0, 1.0e-3);
        check(6, 0, 0, 2.0e-3);
        check(21, 0, 0, 5.0e-3);
        check(0, 51, 1, 6.0e-3);
        check(0, 201, 1, 21.0e-3);
        // 50 rows of a prompt and 1 that decodes are 51 rows, and choosing one more costs nothing here.
        check(1, 50, 0, 6.0e-3);
        check(0, 0, 0, 0.0);
        // 11 sequences take 3 ms and a prompt of 11 tokens 2: each choice but the first is a tenth.
        check(0, 51, 0, 5.9e-3);
        check(0, 51, 3, 6.2e-3);
        check(11, 40, 0, 7.0e-3);
        check(11, 40, 1, 7.1e-3);
    }

    #[test]
    fn looking_back_costs_a_prompt_what_was_measured_of_prompts() {
        let step = SimulatedStep { decode_rows: 1, decode_positions: 500, ..SimulatedStep::default() };
        let chunk = SimulatedStep {
            prefill_tokens: 51,
            prompts_ended: 1,
            prefill_positions: 500,
            ..SimulatedStep::default()
        };
        let alike = Costs { position_seconds: 1e-6, ..costs() };
        let apart = Costs { prefill_position_seconds: Some(1e-7), ..alike.clone() };
        for (costs, decode, prefill) in [(&alike, 1.5e-3, 6.5e-3), (&apart, 1.5e-3, 6.05e-3)] {
            assert!((costs.step(&step) - decode).abs() < 1e-9, "{}", costs.step(&step));
            assert!((costs.step(&chunk) - prefill).abs() < 1e-9, "{}", costs.step(&chunk));
        }
    }

    #[test]
    fn numbers_that_no_engine_has_are_refused_by_name() {
        let check = |name: &str, value: Value, facts: &[&str]| {
            let mut file = serde_json::to_value(costs()).unwrap();
            file[name] = value;
            let error = format!("{:#}", Costs::parse(file).unwrap_err());
            assert!(error.contains(name) && facts.iter().all(|fact| error.contains(fact)), "{error}");
        };
        check("blocks", 0.into(), &["from 1 to 4194304"]);
        check("blocks", u64::MAX.into(), &["18446744073709551615", "4194304"]);
        check("sequences", (1_u64 << 40).into(), &["65536"]);
        check("snapshots", (1_u64 << 40).into(), &["from 0 to 65536"]);
        check("chunk_tokens", u64::MAX.into(), &["131072"]);
        check("decode", serde_json::json!([]), &["1 to 1000"]);
        check("decode", serde_json::json!([[1e300, 1.0]]), &["sequences or tokens"]);
        check("prefill", serde_json::json!([[1, 1e300]]), &["seconds of a step"]);
        check("prefill", serde_json::json!([[1, 0.0]]), &["seconds of a step"]);
        check("prefill", serde_json::json!([[1, 0.1], [1, 0.2]]), &["twice"]);
        check("position_seconds", (-1.0).into(), &["from 0 to 86400 seconds"]);
        check("request_seconds", 1e300.into(), &["86400"]);
        check("slowdowns", serde_json::json!([]), &["from 1 to 64"]);
        check("slowdowns", serde_json::json!([2.0]), &["alone is 1"]);
        check("slowdowns", serde_json::json!([1.0, 1e9]), &["1000"]);
        check("format", 7.into(), &["7", "measure again"]);
        let mut unknown = serde_json::to_value(costs()).unwrap();
        unknown["block"] = 1.into();
        assert!(format!("{:#}", Costs::parse(unknown).unwrap_err()).contains("unknown field `block`"));
    }

    #[test]
    fn rows_of_bench_are_costs_too() {
        let row = |batch: f64, depth: f64, decode: f64| {
            serde_json::json!({"model": "m", "threads": 2, "batch": batch, "prefill_tokens": 100, "depth_tokens": depth,
                "decode_tokens": 0, "decode_tokens_per_second": decode, "prefill_tokens_per_second": 1000.0})
        };
        let costs = of_bench(&[row(1.0, 0.0, 100.0), row(1.0, 1000.0, 50.0), row(4.0, 0.0, 200.0)]).unwrap();
        assert!((costs.position_seconds - 1e-5).abs() < 1e-12, "{costs:?}");
        let rounded = |points: &[Point]| -> Vec<Point> {
            points.iter().map(|(size, seconds)| (*size, (seconds * 1e6).round() / 1e6)).collect()
        };
        assert_eq!(rounded(&costs.prefill), [(100.0, 0.1)]);
        // The deeper of the two keeps half of its time whatever looking back would take of it.
        assert_eq!(rounded(&costs.decode), [(1.0, 0.0095), (4.0, 0.016)]);
        assert!(of_bench(&[serde_json::json!({"batch": 1})]).unwrap().checked().is_err());
        assert!(of_bench(&[serde_json::json!({})]).is_err());
    }
}
