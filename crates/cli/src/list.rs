//! `gptoss list`: the models that are here, and which of them fit this machine.
//!
//! Looks at headers alone. Memory is what `inspect` plans: everything in memory, and the least under
//! `--memory`, with experts read from disk. A model fits `yes` when all of it does, `partly` when the least
//! does; what the machine has is its memory or the limit of the control group, whichever is smaller.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use gptoss_model::{ModelConfig, parameters};
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::hub::Settings;
use crate::memory_budget::{self, Needs, human};
use crate::model_source::{Opened, context, dense, precision};
use crate::pulled::{self, Pulled};
use crate::{chart, inspect, last_used, machine, terminal};

/// Whether a model fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// All of it in memory.
    Yes,
    /// With experts on disk.
    Partly,
    /// Not at all.
    No,
}

impl Fits {
    /// By what a model needs, at best and at least, and what there is. Units: bytes.
    pub fn of(whole: u64, least: Option<u64>, most: u64) -> Fits {
        match whole <= most {
            true => Fits::Yes,
            false if least.is_some_and(|least| least <= most) => Fits::Partly,
            false => Fits::No,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Fits::Yes => "yes",
            Fits::Partly => "partly",
            Fits::No => "no",
        }
    }
}

/// What is known of a model that can be opened.
struct Readable {
    layout: String,
    parameters: u64,
    /// Units: bytes.
    whole: u64,
    /// Units: bytes.
    least: Option<u64>,
}

struct Row {
    name: String,
    commit: Option<String>,
    num_bytes: u64,
    /// Why it cannot be opened.
    readable: std::result::Result<Readable, String>,
    fits: Option<Fits>,
    last_used: Option<SystemTime>,
}

/// Runs the command.
pub fn run(args: &ListArgs) -> Result<ExitCode> {
    let settings = Settings::from_environment()?;
    let most = machine::memory().map(|memory| memory.most());
    let rows: Vec<Row> =
        pulled::all(&settings.cache)?.into_iter().map(|model| Row::new(model, args, most)).collect();
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", Value::Array(rows.iter().map(Row::to_json).collect()))?;
    } else if rows.is_empty() {
        writeln!(io::stderr(), "nothing was pulled yet: `gptoss pull openai/gpt-oss-20b` fetches a model")?;
    } else {
        write_table(&mut out, &rows)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

impl Row {
    fn new(model: Pulled, args: &ListArgs, most: Option<u64>) -> Row {
        let num_bytes = model.num_bytes();
        let readable = Readable::new(&model, args).map_err(|error| format!("{error:#}"));
        let fits = match (&readable, most) {
            (Ok(readable), Some(most)) => Some(Fits::of(readable.whole, readable.least, most)),
            _ => None,
        };
        let last_used = last_used::when(&model.name);
        Row { name: model.source.name(), commit: model.commit, num_bytes, readable, fits, last_used }
    }

    fn to_json(&self) -> Value {
        let readable = self.readable.as_ref().ok();
        json!({
            "model": self.name,
            "commit": self.commit,
            "layout": readable.map(|readable| &readable.layout),
            "bytes": self.num_bytes,
            "parameters": readable.map(|readable| readable.parameters),
            "memory_bytes": readable.map(|readable| readable.whole),
            "least_memory_bytes": readable.and_then(|readable| readable.least),
            "fits": self.fits.map(Fits::word),
            "last_used": self.last_used.and_then(seconds),
            "error": self.readable.as_ref().err(),
        })
    }

    fn cells(&self) -> [String; 8] {
        let dash = || "-".to_owned();
        let used = self.last_used.map_or_else(dash, day);
        match &self.readable {
            Ok(readable) => [
                self.name.clone(),
                readable.layout.clone(),
                human(self.num_bytes),
                chart::short(readable.parameters),
                human(readable.whole),
                readable.least.map_or_else(dash, human),
                self.fits.map_or("-", Fits::word).to_owned(),
                used,
            ],
            Err(_) => {
                let unreadable = "not readable".to_owned();
                [self.name.clone(), unreadable, human(self.num_bytes), dash(), dash(), dash(), dash(), used]
            }
        }
    }
}

impl Readable {
    fn new(model: &Pulled, args: &ListArgs) -> Result<Readable> {
        let opened = Opened::open(model.source.clone())?;
        let needs = Needs {
            context: context(args.context, opened.checkpoint.config(), &opened.source)?,
            precision: precision(args.precision),
            dense: dense(None, args.precision)?,
            kv: None,
            adapters: 0,
        };
        let terms = memory_budget::whole(&opened.checkpoint, &needs)?;
        let parts = parameters(&ModelConfig::from_checkpoint(opened.checkpoint.config())?);
        let whole = terms.iter().map(|term| term.bytes).sum();
        Ok(Readable {
            layout: inspect::stored(&opened),
            parameters: parts.iter().map(|part| part.total).sum(),
            whole,
            // A small model gains nothing by leaving experts on disk, whose reader takes memory too.
            least: memory_budget::least(&opened.checkpoint, &needs).filter(|&least| least < whole),
        })
    }
}

const HEADINGS: [&str; 8] = ["MODEL", "LAYOUT", "DISK", "PARAMETERS", "MEMORY", "LEAST", "FITS", "USED"];

fn write_table(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    let cells: Vec<[String; 8]> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).max(HEADINGS[column].len())
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut line = |row: [&str; 8]| -> io::Result<()> {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", terminal::safe(text.trim_end()))
    };
    line(HEADINGS)?;
    for row in &cells {
        line(std::array::from_fn(|column| row[column].as_str()))?;
    }
    for (name, error) in rows.iter().filter_map(|row| Some((&row.name, row.readable.as_ref().err()?))) {
        let error = error.lines().next().unwrap_or_default();
        writeln!(io::stderr(), "{}", terminal::safe(&format!("{name}: {error}")))?;
    }
    Ok(())
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The day, in UTC.
fn day(time: SystemTime) -> String {
    let seconds = seconds(time).and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default();
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_fits_wholly_partly_or_not() {
        let check = |whole, least, most, expect| assert_eq!(Fits::of(whole, least, most), expect);
        check(10, Some(3), 10, Fits::Yes);
        check(10, Some(3), 9, Fits::Partly);
        check(10, Some(3), 2, Fits::No);
        check(10, None, 9, Fits::No);
    }
}
