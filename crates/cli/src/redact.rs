//! `gptoss redact`: a text without personal data, by OpenAI's privacy filter.
//!
//! The text goes to standard output as it came, but for the spans that were found. With `--json` it is one
//! object with the fields that the published program prints, and offsets in bytes beside those in characters.
//! Nothing is printed of a text that could not be read whole.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use gptoss_server::{RedactOptions, RedactProblem, RedactResult};
use serde_json::{Value, json};

use crate::args::RedactArgs;
use crate::failure::usage;
use crate::input::Source;
use crate::progress::{Progress, Unit};
use crate::served_filter::ServedFilter;
use crate::terminal;

/// Runs the command.
pub fn run(args: &RedactArgs) -> Result<ExitCode> {
    let filter = ServedFilter::open(&args.model, args.threads)?;
    let text = Source::from_argument(args.file.as_deref()).read_text()?;
    let options = RedactOptions { labels: args.labels.clone(), replace: Some(args.replace.clone()) };
    let mut progress = Progress::new("reading", Unit::Tokens);
    let total = filter.num_tokens(&text) as u64;
    let redacted = filter.redacted(&text, &options, &mut |done| {
        progress.set(done as u64, total);
        true
    });
    drop(progress);
    let result = redacted.map_err(|problem| match problem {
        RedactProblem::Labels(message) => usage(format!("--labels: {message}")),
        RedactProblem::Replace(message) => usage(format!("--replace: {message}")),
        RedactProblem::Failed(message) => anyhow!(message),
        RedactProblem::Stopped => anyhow!("stopped before the text was read whole"),
    })?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", object(&text, &result))?,
        false => out.write_all(&terminal::safe_bytes_for_stdout(result.redacted_text.into_bytes()))?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn object(text: &str, result: &RedactResult) -> Value {
    let mut by_label: BTreeMap<&str, usize> = BTreeMap::new();
    result.spans.iter().for_each(|span| *by_label.entry(&span.label).or_default() += 1);
    json!({
        "schema_version": 1,
        "summary": {"span_count": result.spans.len(), "by_label": by_label},
        "text": text,
        "detected_spans": result.spans,
        "redacted_text": result.redacted_text,
    })
}
