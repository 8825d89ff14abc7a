//! What a run measured, as a table with bars and as one JSON object.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Level;
use super::figures::{Figures, Time};
use crate::args::{ArrivalsArg, LoadArgs};
use crate::terminal;
use crate::today;

/// Characters of the longest bar.
const BAR_CHARS: usize = 40;
/// Version of the JSON object: raised when a field changes its meaning or goes.
const FORMAT_VERSION: u32 = 1;

/// A level and what it measured.
#[derive(Debug)]
pub struct Measured {
    /// The level.
    pub level: Level,
    /// Its figures.
    pub figures: Figures,
}

/// The run as one object.
pub fn json(args: &LoadArgs, model: &str, measured: &[Measured]) -> Value {
    let levels: Vec<Value> = measured.iter().map(level_json).collect();
    json!({
        "format": FORMAT_VERSION,
        "tool": "gptoss load",
        "version": env!("CARGO_PKG_VERSION"),
        "date": today::today(),
        "url": args.url,
        "endpoint": args.endpoint.path(),
        "model": model,
        "seed": args.asking.seed,
        "warmup": args.sending.warmup,
        "levels": levels,
    })
}

fn level_json(measured: &Measured) -> Value {
    let mut fields = Map::new();
    let (rate, concurrency, arrivals) = match measured.level {
        Level::Open(rate, arrivals) => (Some(rate), None, Some(arrivals_name(arrivals))),
        Level::Closed(concurrency) => (None, Some(concurrency), None),
    };
    fields.insert("loop".to_owned(), json!(if rate.is_some() { "open" } else { "closed" }));
    fields.insert("request_rate".to_owned(), json!(rate));
    fields.insert("arrivals".to_owned(), json!(arrivals));
    fields.insert("max_concurrency".to_owned(), json!(concurrency));
    fields.extend(measured.figures.json());
    Value::Object(fields)
}

fn arrivals_name(arrivals: ArrivalsArg) -> &'static str {
    match arrivals {
        ArrivalsArg::Poisson => "poisson",
        ArrivalsArg::Constant => "constant",
    }
}

/// Prints every level, and bars to compare them by.
///
/// Errors: the output cannot be written to.
pub fn print(out: &mut dyn Write, args: &LoadArgs, model: &str, measured: &[Measured]) -> Result<()> {
    let place = terminal::safe(&format!("{model} at {}{}", args.url, args.endpoint.path()));
    writeln!(out, "{place}, seed {}, {}", args.asking.seed, today::today())?;
    for measured in measured {
        print_level(out, measured)?;
    }
    if measured.len() > 1 {
        let names: Vec<String> = measured.iter().map(|it| it.level.to_string()).collect();
        let median = |time: Time| {
            measured.iter().map(|it| it.figures.time(time).map_or(0.0, |spread| spread.p50)).collect()
        };
        let throughput = measured.iter().map(|it| it.figures.output_throughput()).collect();
        print_bars(out, "output tokens/s", &names, throughput)?;
        print_bars(out, "TTFT p50, ms", &names, median(Time::Ttft))?;
    }
    Ok(())
}

fn print_level(out: &mut dyn Write, measured: &Measured) -> Result<()> {
    let Measured { level, figures } = measured;
    let abandoned = match figures.abandoned {
        0 => String::new(),
        number => format!(", {number} interrupted"),
    };
    writeln!(
        out,
        "\n{level}: {} answered, {} failed{abandoned} in {:.2} s",
        figures.completed,
        figures.failed(),
        figures.duration
    )?;
    for (fault, (count, first)) in &figures.failures {
        writeln!(out, "  {count} {fault}: {}", terminal::safe(first).replace('\n', " "))?;
    }
    if figures.completed == 0 {
        return Ok(());
    }
    print_rates(out, figures)?;
    writeln!(
        out,
        "  {:<22}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "ms", "mean", "p50", "p90", "p95", "p99", "max"
    )?;
    for time in Time::ALL {
        // A closed loop has no times at which requests were due.
        if matches!((level, time), (Level::Closed(_), Time::Late)) {
            continue;
        }
        let Some(spread) = figures.time(time) else { continue };
        write!(out, "  {:<22}", label(time))?;
        for value in [spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max] {
            write!(out, "{:>10}", milliseconds(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_rates(out: &mut dyn Write, figures: &Figures) -> Result<()> {
    let completed = figures.completed as f64;
    let mut rates = vec![format!("{:.2} requests/s", figures.per_second(completed))];
    if let Some(good) = figures.good {
        rates.push(format!("goodput {:.2} requests/s", figures.per_second(good as f64)));
    }
    rates.push(format!("{:.1} output tokens/s", figures.output_throughput()));
    if let Some(input) = figures.input_tokens {
        rates.push(format!("{:.1} input tokens/s", figures.per_second(input as f64)));
    }
    writeln!(out, "  {}", rates.join(", "))?;
    let mean = |tokens: f64| format!("{:.1}", tokens / completed);
    let asked = |tokens: Option<u64>| tokens.map_or("-".to_owned(), |tokens| mean(tokens as f64));
    let counted = match figures.input_tokens {
        Some(tokens) => mean(tokens as f64),
        None => "not".to_owned(),
    };
    let cached = match figures.cached_tokens {
        0 => String::new(),
        tokens => format!(" ({} of them known already)", mean(tokens as f64)),
    };
    let by = if figures.is_counted_by_server { "the server" } else { "events" };
    writeln!(
        out,
        "  prompts: {} tokens asked, {counted} counted{cached}; answers: {} asked, {} counted by {by}",
        asked(figures.asked_input_tokens),
        mean(figures.asked_output_tokens as f64),
        mean(figures.output_tokens),
    )?;
    Ok(())
}

fn label(time: Time) -> &'static str {
    match time {
        Time::Ttft => "TTFT first token",
        Time::Ttfo => "TTFO first of answer",
        Time::Itl => "ITL between tokens",
        Time::Tpot => "TPOT mean of a request",
        Time::E2e => "E2EL last token",
        Time::Late => "sent late",
    }
}

/// Three digits or so.
fn milliseconds(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn print_bars(out: &mut dyn Write, title: &str, names: &[String], values: Vec<f64>) -> Result<()> {
    let most = values.iter().copied().fold(0.0, f64::max);
    let width = names.iter().map(String::len).max().unwrap_or(0);
    writeln!(out, "\n{title}")?;
    for (name, value) in names.iter().zip(values) {
        let share = if most > 0.0 { value / most } else { 0.0 };
        let bar = "#".repeat((share * BAR_CHARS as f64).round() as usize);
        writeln!(out, "  {name:<width$} {bar} {}", milliseconds(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        let mut out = Vec::new();
        let names = ["rate 1/s".to_owned(), "rate 10/s".to_owned(), "rate 100/s".to_owned()];
        print_bars(&mut out, "x", &names, vec![10.0, 20.0, 0.0]).unwrap();
        let expect = format!(
            "\nx\n  rate 1/s   {} 10.00\n  rate 10/s  {} 20.00\n  rate 100/s  0.00\n",
            "#".repeat(BAR_CHARS / 2),
            "#".repeat(BAR_CHARS)
        );
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }
}
