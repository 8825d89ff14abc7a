//! What the steps of an engine cost: a table that was measured.
//!
//! Entry points: [`Costs::read`], from a file of `plan --measure` or rows of `bench --json`, and
//! [`Costs::step`]. A step of `d` sequences that decode and `p` tokens of prompts takes what a prompt of
//! `d + p` tokens takes, what choosing `d` tokens adds to that, and a time for each position that the full
//! layers look back at. Between measured sizes it is a straight line; beyond the last, the line through the
//! last two.

use anyhow::{Context, Result, ensure};
use gptoss_engine::{SimulatedSizes, SimulatedStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

use crate::input::{Source, read_json};

/// Version of the file.
pub const FORMAT_VERSION: u32 = 1;
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
    /// Seconds for each position before a token that is computed.
    pub position_seconds: f64,
    /// Seconds from a client to the engine and back that do not occupy it: the server, the network.
    #[serde(default)]
    pub request_seconds: f64,
    /// Seconds that each chosen token adds to its step, where who sends it computes on the same cores.
    #[serde(default)]
    pub token_seconds: f64,
}

impl Costs {
    /// Reads a file.
    ///
    /// Errors: it cannot be read, or holds something else.
    pub fn read(file: &Path) -> Result<Costs> {
        let value: Value = read_json(Source::from_argument(Some(file)), "costs of steps")?;
        let costs = match value {
            Value::Array(rows) => of_bench(&rows),
            value => serde_json::from_value(value).context("it is not what plan --measure writes"),
        };
        costs.and_then(Costs::checked).with_context(|| file.display().to_string())
    }

    /// Errors: numbers that no engine could have.
    fn checked(mut self) -> Result<Costs> {
        ensure!(
            self.format == FORMAT_VERSION,
            "format is {}, and this program reads {FORMAT_VERSION}",
            self.format
        );
        ensure!(self.blocks > 0 && self.sequences > 0 && self.chunk_tokens > 0, "an engine has no room");
        for points in [&mut self.decode, &mut self.prefill] {
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            let is_whole =
                points.iter().all(|(size, seconds)| *size >= 1.0 && *seconds > 0.0 && seconds.is_finite());
            let differ = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
            ensure!(
                !points.is_empty() && is_whole && differ,
                "decode and prefill need sizes and seconds above 0"
            );
        }
        let others = [self.position_seconds, self.request_seconds, self.token_seconds];
        ensure!(others.iter().all(|seconds| *seconds >= 0.0 && seconds.is_finite()), "seconds are below 0");
        Ok(self)
    }

    /// What an engine has to give.
    pub fn sizes(&self) -> SimulatedSizes {
        let Costs { blocks, sequences, snapshots, chunk_tokens, .. } = *self;
        SimulatedSizes { blocks, sequences, snapshots, chunk_tokens }
    }

    /// How long a step takes. Units: seconds.
    pub fn step(&self, step: &SimulatedStep) -> f64 {
        let (decode, prefill) = (step.decode_rows as f64, step.prefill_tokens as f64);
        let rows = match (step.decode_rows, step.prefill_tokens) {
            (0, 0) => 0.0,
            (0, _) => at(&self.prefill, prefill),
            (_, 0) => at(&self.decode, decode),
            _ => {
                let choosing = at(&self.decode, decode) - at(&self.prefill, decode);
                at(&self.prefill, decode + prefill) + choosing.max(0.0)
            }
        };
        let chosen = (step.decode_rows + step.prompts_ended) as f64;
        rows + self.position_seconds * step.context_positions as f64 + self.token_seconds * chosen
    }
}

/// The line through the points at `size`; below the first and with one point alone it is flat.
fn at(points: &[Point], size: f64) -> f64 {
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
        request_seconds: 0.0,
        token_seconds: 0.0,
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
            request_seconds: 0.0,
            token_seconds: 0.0,
        }
    }

    #[test]
    fn steps_cost_lines_between_and_beyond_what_was_measured() {
        let costs = Costs { position_seconds: 1e-6, ..costs() };
        let check = |decode_rows, prefill_tokens, context_positions, expect: f64| {
            let step = SimulatedStep { decode_rows, prefill_tokens, context_positions, prompts_ended: 0 };
            assert!((costs.step(&step) - expect).abs() < 1e-9, "{step:?}: {}", costs.step(&step));
        };
        check(1, 0, 0, 1.0e-3);
        check(6, 0, 500, 2.5e-3);
        check(21, 0, 0, 5.0e-3);
        check(0, 51, 0, 6.0e-3);
        check(0, 201, 0, 21.0e-3);
        // 50 rows of a prompt and 1 that decodes are 51 rows, and choosing one more costs nothing here.
        check(1, 50, 0, 6.0e-3);
        check(0, 0, 0, 0.0);
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
