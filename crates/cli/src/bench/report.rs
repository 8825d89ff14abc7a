//! Tables and records of what was measured.
//!
//! As a table for people, as a JSON array with an object a case, or as CSV with the same fields, for a record
//! of runs. All three come from one struct, [`Row`], in which every speed has its ceiling and its share of it
//! beside it: decoding's is the bandwidth over the bytes of a token, a prompt's is what its products would
//! take at the speed of tiles in the caches. Medians; the slowest and the fastest run stand beside them.
//! Ceilings are medians of what was measured before each run.
//!
//! It does not measure.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use gptoss_model::{Device, ExpertTraffic, Model, TokenCost};
use serde::Serialize;
use serde_json::Value;

use super::ceiling::Rates;
use super::measure::{Case, Speeds, Starts};
use crate::args::{BenchArgs, PrecisionArg};
use crate::engine_start;
use crate::input;
use crate::machine;
use crate::memory_budget;
use crate::model_source::Opened;
use crate::today;

/// One case with all its runs.
pub struct Measured {
    /// The case.
    pub case: Case,
    rates: Vec<Rates>,
    prefill: Vec<f64>,
    decode: Vec<f64>,
    /// Of the last run.
    disk: Option<ExpertTraffic>,
    /// The last run.
    last: Option<Speeds>,
    /// The most memory of the process up to the last run, without the probe's buffer. Units: bytes.
    pub peak_resident_bytes: Option<u64>,
}

impl Measured {
    /// No runs yet.
    pub fn new(case: Case) -> Measured {
        Measured {
            case,
            rates: Vec::new(),
            prefill: Vec::new(),
            decode: Vec::new(),
            disk: None,
            last: None,
            peak_resident_bytes: None,
        }
    }

    /// Adds a run and the machine's rates before and after it.
    pub fn add(&mut self, rates: [Rates; 2], speeds: Speeds) {
        self.rates.extend(rates);
        self.prefill.extend(speeds.prefill);
        self.decode.extend(speeds.decode);
        self.disk = speeds.disk;
        self.last = Some(speeds);
    }

    /// Whether there is anything to print of it.
    pub fn has_runs(&self) -> bool {
        !self.rates.is_empty()
    }

    fn rate(&self, of: impl Fn(&Rates) -> Option<f64>) -> Option<f64> {
        median(self.rates.iter().filter_map(of).collect())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.case)?;
        self.last.map_or(Ok(()), |speeds| speeds.fmt(f))
    }
}

/// What holds for all cases of a run of the program.
pub struct Conditions<'a> {
    model: &'a Model,
    name: String,
    precision: &'static str,
    repeat: u32,
    starts: Starts,
    load_average: Option<f64>,
    processor: Option<String>,
    device_class: Option<String>,
    adapter: Option<String>,
}

impl<'a> Conditions<'a> {
    /// Takes down the conditions; `load_average` is that before the first run.
    ///
    /// Errors: a device that does not pass its probes.
    pub fn new(
        args: &BenchArgs,
        opened: &Opened,
        model: &'a Model,
        starts: Starts,
        load_average: Option<f64>,
    ) -> Result<Conditions<'a>> {
        let class = engine_start::device_class(model)?;
        Ok(Conditions {
            model,
            name: opened.source.name(),
            precision: match args.compute.precision {
                PrecisionArg::Fast => "fast",
                PrecisionArg::Exact => "exact",
            },
            repeat: args.repeat,
            starts,
            load_average,
            processor: machine::processor(),
            device_class: (!class.is_empty()).then_some(class),
            adapter: opened.adapter().map(|adapter| adapter.short()),
        })
    }
}

/// A case as it is printed. Units are in the names; speeds of several sequences are those of all together.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    date: String,
    processor: Option<String>,
    load_average: Option<f64>,
    threads: usize,
    tier: String,
    precision: &'static str,
    repeats: u32,
    prefill_tokens: usize,
    depth_tokens: usize,
    batch: usize,
    decode_tokens: usize,
    prefill_tokens_per_second: Option<f64>,
    prefill_slowest: Option<f64>,
    prefill_fastest: Option<f64>,
    prefill_ceiling_tokens_per_second: Option<f64>,
    prefill_share_of_ceiling: Option<f64>,
    decode_tokens_per_second: Option<f64>,
    decode_slowest: Option<f64>,
    decode_fastest: Option<f64>,
    decode_ceiling_tokens_per_second: f64,
    decode_share_of_ceiling: Option<f64>,
    read_bandwidth_bytes_per_second: f64,
    dense_tile_macs_per_second: Option<f64>,
    expert_tile_macs_per_second: Option<f64>,
    bytes_per_token: f64,
    kv_bytes_per_token: u64,
    macs_per_prefill_token: u64,
    peak_resident_bytes: Option<u64>,
    first_token_seconds: f64,
    cold_first_token_seconds: Option<f64>,
    load_seconds: f64,
    /// `disk` or `host`: where the experts are that do not fit where they are used.
    expert_home: Option<&'static str>,
    expert_slots: Option<usize>,
    expert_hit_rate: Option<f64>,
    disk_bytes_per_token: Option<f64>,
    disk_bytes_per_second: Option<f64>,
    disk_wait_seconds: Option<f64>,
    device: Option<String>,
    device_driver: Option<String>,
    device_class: Option<String>,
    dispatch_seconds: Option<f64>,
    /// The first digits of its identity. The ceilings do not count what it adds.
    adapter: Option<String>,
}

impl Row {
    fn new(conditions: &Conditions<'_>, measured: &Measured) -> Row {
        let case = measured.case;
        let read_bandwidth = measured.rate(|rates| Some(rates.read_bandwidth)).unwrap_or(0.0);
        let dense_tile = measured.rate(|rates| rates.tiles.map(|tiles| tiles.dense));
        let expert_tile = measured.rate(|rates| rates.tiles.map(|tiles| tiles.expert));
        // A token in the middle of those that were decoded stands for all.
        let cost = conditions.model.token_cost(case.depth + case.prefill + case.decode / 2 + 1);
        let prefill_ceiling =
            dense_tile.zip(expert_tile).map(|(dense, expert)| prefill_ceiling(&cost, dense, expert));
        let bytes_per_token = cost.step_bytes(case.batch) / case.batch as f64;
        let decode_ceiling = read_bandwidth / bytes_per_token;
        let (prefill, decode) = (median(measured.prefill.clone()), median(measured.decode.clone()));
        let pool = conditions.model.pool();
        let device = conditions.model.device().map(Device::description);
        let decoded = (case.batch * case.decode).max(1) as f64;
        Row {
            model: conditions.name.clone(),
            date: today::today(),
            processor: conditions.processor.clone(),
            load_average: conditions.load_average,
            threads: pool.threads(),
            tier: format!("{:?}", pool.tier()),
            precision: conditions.precision,
            repeats: conditions.repeat,
            prefill_tokens: case.prefill,
            depth_tokens: case.depth,
            batch: case.batch,
            decode_tokens: case.decode,
            prefill_tokens_per_second: prefill,
            prefill_slowest: least(&measured.prefill),
            prefill_fastest: most(&measured.prefill),
            prefill_ceiling_tokens_per_second: prefill_ceiling,
            prefill_share_of_ceiling: prefill.zip(prefill_ceiling).map(|(speed, ceiling)| speed / ceiling),
            decode_tokens_per_second: decode,
            decode_slowest: least(&measured.decode),
            decode_fastest: most(&measured.decode),
            decode_ceiling_tokens_per_second: decode_ceiling,
            decode_share_of_ceiling: decode.map(|speed| speed / decode_ceiling),
            read_bandwidth_bytes_per_second: read_bandwidth,
            dense_tile_macs_per_second: dense_tile,
            expert_tile_macs_per_second: expert_tile,
            bytes_per_token,
            kv_bytes_per_token: cost.kv_bytes,
            macs_per_prefill_token: cost.dense_macs + cost.expert_macs,
            peak_resident_bytes: measured.peak_resident_bytes,
            first_token_seconds: conditions.starts.first_token_seconds,
            cold_first_token_seconds: conditions.starts.cold_first_token_seconds,
            load_seconds: conditions.starts.load_seconds,
            expert_home: measured.disk.map(|disk| memory_budget::home_word(disk.home)),
            expert_slots: measured.disk.map(|disk| disk.slots),
            expert_hit_rate: measured.disk.map(|disk| disk.hit_rate()),
            disk_bytes_per_token: measured.disk.map(|disk| disk.bytes_read as f64 / decoded),
            disk_bytes_per_second: measured.disk.map(|disk| disk.read_bytes_per_second()),
            disk_wait_seconds: measured.disk.map(|disk| disk.wait_time.as_secs_f64()),
            device: device.map(|device| device.name.clone()),
            device_driver: device.map(|device| device.driver.clone()),
            device_class: conditions.device_class.clone(),
            dispatch_seconds: measured.rate(|rates| rates.dispatch_seconds),
            adapter: conditions.adapter.clone(),
        }
    }
}

/// Tokens per second if a prompt were nothing but its products at the speed of tiles. Units: multiply-adds a
/// second in.
fn prefill_ceiling(cost: &TokenCost, dense_tile: f64, expert_tile: f64) -> f64 {
    1.0 / (cost.dense_macs as f64 / dense_tile + cost.expert_macs as f64 / expert_tile)
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// Prints all cases in the form that was asked for.
///
/// Errors: standard output cannot be written to.
pub fn print(args: &BenchArgs, conditions: &Conditions<'_>, measured: &[Measured]) -> Result<()> {
    let rows: Vec<Row> = measured.iter().map(|measured| Row::new(conditions, measured)).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        input::write_json_line(&mut out, &rows)?;
    } else if args.csv {
        write_csv(&mut out, &rows)?;
    } else {
        write_table(&mut out, &rows)?;
    }
    Ok(out.flush()?)
}

/// Puts the row of one case behind those of a file, a line of JSON.
///
/// Errors: the file cannot be written to.
pub fn append(file: &Path, conditions: &Conditions<'_>, measured: &Measured) -> Result<()> {
    let mut line = Vec::new();
    input::write_json_line(&mut line, &Row::new(conditions, measured))?;
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(&line));
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn write_csv(out: &mut dyn Write, rows: &[Row]) -> Result<()> {
    for (index, row) in rows.iter().enumerate() {
        let Value::Object(fields) = serde_json::to_value(row)? else { unreachable!("a struct is an object") };
        if index == 0 {
            writeln!(out, "{}", fields.keys().cloned().collect::<Vec<_>>().join(","))?;
        }
        writeln!(out, "{}", fields.values().map(csv_field).collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// Text in quotes, with its own quotes doubled; nothing for null.
fn csv_field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        number => number.to_string(),
    }
}

fn write_table(out: &mut dyn Write, rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let unknown = || "unknown".to_owned();
    writeln!(
        out,
        "{}: {}{} threads of {}, {}, {} precision, load average {}, medians of {} runs",
        first.model,
        first.device.as_ref().map_or(String::new(), |device| format!("{device} and ")),
        first.threads,
        first.processor.clone().unwrap_or_else(unknown),
        first.tier,
        first.precision,
        first.load_average.map_or_else(unknown, |load| format!("{load:.2}")),
        first.repeats
    )?;
    writeln!(
        out,
        "start: loaded after {:.2} s, first token after {:.2} s{}\n",
        first.load_seconds,
        first.first_token_seconds,
        first.cold_first_token_seconds.map_or(String::new(), |seconds| format!("; cold {seconds:.2} s"))
    )?;
    writeln!(
        out,
        "prefill  depth batch | prompt tokens/s          ceiling  share | decode tokens/s          ceiling  share | GB/token  read GB/s | peak GB"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:>7} {:>6} {:>5} | {} {} {} | {} {:>7.2} {} | {:>8.3} {:>10.1} | {:>7}",
            row.prefill_tokens,
            row.depth_tokens,
            row.batch,
            spread(row.prefill_tokens_per_second, row.prefill_slowest, row.prefill_fastest),
            row.prefill_ceiling_tokens_per_second
                .map_or(format!("{:>7}", "-"), |ceiling| format!("{ceiling:>7.2}")),
            percent(row.prefill_share_of_ceiling),
            spread(row.decode_tokens_per_second, row.decode_slowest, row.decode_fastest),
            row.decode_ceiling_tokens_per_second,
            percent(row.decode_share_of_ceiling),
            row.bytes_per_token / 1e9,
            row.read_bandwidth_bytes_per_second / 1e9,
            row.peak_resident_bytes.map_or("-".to_owned(), |bytes| format!("{:.2}", bytes as f64 / 1e9)),
        )?;
    }
    write_experts(out, rows)?;
    if first.model == "demo" {
        writeln!(
            out,
            "\nthe demo is too small for these ceilings: its steps are shorter than handing work to threads takes"
        )?;
        return Ok(());
    }
    let of_prompts = match (first.dense_tile_macs_per_second, first.expert_tile_macs_per_second) {
        (Some(dense), Some(expert)) => format!(
            "a prompt's is its {:.2} G multiply-adds a token at the speed of tiles in the caches ({:.0} G/s dense, {:.0} G/s experts),\n",
            first.macs_per_prefill_token as f64 / 1e9,
            dense / 1e9,
            expert / 1e9,
        ),
        _ => String::new(),
    };
    writeln!(out, "\nceilings: {of_prompts}decoding's is the bandwidth over the bytes of a token")?;
    if let Some(seconds) = first.dispatch_seconds {
        writeln!(
            out,
            "on a card the bandwidth is that of copies, read and written; a dispatch takes {:.2} us there",
            seconds * 1e6
        )?;
    }
    Ok(())
}

/// How many experts were found where they are used, for cases in which some are not.
fn write_experts(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    for row in rows {
        let (Some(home), Some(slots), Some(rate)) = (row.expert_home, row.expert_slots, row.expert_hit_rate)
        else {
            continue;
        };
        writeln!(
            out,
            "\nexperts at home on the {home}, {slots} where they are used: {:.1} % found there, {:.3} GB a token, {:.2} s waited",
            100.0 * rate,
            row.disk_bytes_per_token.unwrap_or(0.0) / 1e9,
            row.disk_wait_seconds.unwrap_or(0.0),
        )?;
    }
    Ok(())
}

/// A median with the slowest and the fastest run, 24 characters wide.
fn spread(median: Option<f64>, slowest: Option<f64>, fastest: Option<f64>) -> String {
    let (Some(median), Some(slowest), Some(fastest)) = (median, slowest, fastest) else {
        return format!("{:>24}", "-");
    };
    format!("{median:>8.2} {:<15}", format!("({slowest:.2}-{fastest:.2})"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or(format!("{:>5} ", "-"), |share| format!("{:>5.1}%", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0, 8.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]), Some(3.0));
    }

    /// Half of the work at 2 a second and half at 6 is 1 in (1/2 + 1/6) seconds, not at 4 a second.
    #[test]
    fn a_ceiling_adds_times_and_not_speeds() {
        let cost = TokenCost {
            dense_bytes: 0,
            expert_bytes: 0,
            kv_bytes: 0,
            num_experts: 1,
            active_experts: 1,
            dense_macs: 1,
            expert_macs: 1,
            unembedding_macs: 0,
        };
        assert!((prefill_ceiling(&cost, 2.0, 6.0) - 1.5).abs() < 1e-12);
    }

    #[test]
    fn fields_of_a_record() {
        assert_eq!(csv_field(&Value::Null), "");
        assert_eq!(csv_field(&Value::from("a \"b\", c")), "\"a \"\"b\"\", c\"");
        assert_eq!(csv_field(&Value::from(1.5)), "1.5");
    }
}
