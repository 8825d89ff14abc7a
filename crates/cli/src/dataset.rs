//! `gptoss dataset`: what would a model learn of these rows, and which of them are wrong?

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use gptoss_dataset::{Dataset, Options, Report, Sample, TooLong};
use gptoss_harmony::Vocab;
use serde_json::{Value, json};

use crate::args::DatasetArgs;
use crate::generation;
use crate::input::Source;
use crate::model_source::Opened;
use crate::terminal::{Style, safe_for_stdout};

/// Rows of one reason that are shown without `--all`.
const LINES_SHOWN: usize = 5;

/// Runs the command; ends with 1 when nothing can be learned.
pub fn run(args: &DatasetArgs) -> Result<ExitCode> {
    let vocab = Opened::from_argument(&args.model)?.vocab()?;
    let options = Options {
        tokens_max: args.tokens_max as usize,
        too_long: if args.cut_history { TooLong::CutHistory } else { TooLong::LeaveOut },
        effort: args.effort.map(generation::effort),
        date: None,
        mask_reasoning: args.mask_reasoning,
    };
    let train = read(&args.file, &vocab, &options, None)?;
    let valid = args.valid.as_deref().map(|file| read(file, &vocab, &options, Some(&train))).transpose()?;
    let mut out = anstream::stdout().lock();
    if args.json {
        let mut told = json!({"train": to_json(&train)});
        if let Some(valid) = &valid {
            told["valid"] = to_json(valid);
        }
        writeln!(out, "{told}")?;
    } else {
        show_masks(&mut out, &train, &vocab, args.show_mask)?;
        write_report(&mut out, &args.file, &train, args.all)?;
        if let (Some(valid), Some(file)) = (&valid, &args.valid) {
            write_report(&mut out, file, valid, args.all)?;
        }
    }
    out.flush()?;
    let files = [(&args.file, Some(&train)), (args.valid.as_ref().unwrap_or(&args.file), valid.as_ref())];
    for (file, dataset) in files {
        if dataset.is_some_and(|dataset| dataset.samples.is_empty()) {
            return Err(anyhow!("nothing can be learned of {}: no row is left", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a file of rows, or standard input; rows that are `train`'s too are left out.
///
/// Errors: it cannot be read.
pub fn read(file: &Path, vocab: &Vocab, options: &Options, train: Option<&Dataset>) -> Result<Dataset> {
    let source = Source::from_argument(Some(file));
    let rows = source.open()?;
    Dataset::read(rows, vocab, options, train).with_context(|| format!("cannot read {}", source.name()))
}

/// Shows the first samples; what is learned is bold, or stands in brackets where nothing can be.
pub fn show_masks(out: &mut dyn Write, dataset: &Dataset, vocab: &Vocab, count: usize) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    for (line, sample) in dataset.samples.iter().take(count) {
        let names: &[&str] = match sample {
            Sample::Text(_) => &[""],
            Sample::Pair { .. } => &[", chosen", ", rejected"],
        };
        for (example, name) in sample.examples().zip(names) {
            let (tokens, targets) = (example.tokens.len(), example.num_targets());
            writeln!(out, "line {line}{name}: {tokens} tokens, {targets} learned")?;
            for span in example.spans(vocab) {
                let text = safe_for_stdout(&span.text);
                match (style.has_color(), span.is_target) {
                    (true, true) => write!(out, "{}{text}{:#}", style.bold, style.bold)?,
                    (true, false) => write!(out, "{}{text}{:#}", style.dim, style.dim)?,
                    (false, true) => write!(out, "⟦{text}⟧")?,
                    (false, false) => write!(out, "{text}")?,
                }
            }
            writeln!(out, "\n")?;
        }
    }
    Ok(())
}

/// Says what was seen in a file: kinds, counts, and what was left out, `all` of it or some.
pub fn write_report(out: &mut dyn Write, file: &Path, dataset: &Dataset, all: bool) -> io::Result<()> {
    let Report { rows, kinds, left_out, tokens, targets, longest, without_reasoning } = &dataset.report;
    writeln!(out, "{}: {rows} rows, {} samples", file.display(), dataset.samples.len())?;
    for (kind, count) in kinds {
        writeln!(out, "  {count} of {kind}")?;
    }
    let share = *targets as f64 / (*tokens).max(1) as f64 * 100.0;
    writeln!(out, "  {tokens} tokens, the longest text has {longest}; {targets} are learned, {share:.1} %")?;
    if *without_reasoning > 0 {
        writeln!(
            out,
            "  {without_reasoning} turns have no reasoning where their prompt asks for it: a model that learns \
             them puts answers where its reasoning belongs (--effort low)"
        )?;
    }
    for (group, (count, _)) in dataset.report.groups() {
        writeln!(out, "  left out, {group}: {count}")?;
        let shown = if all { usize::MAX } else { LINES_SHOWN };
        for (line, reason) in left_out.iter().filter(|(_, reason)| reason.group() == group).take(shown) {
            writeln!(out, "    line {line}: {}", safe_for_stdout(&reason.to_string()))?;
        }
        if count > shown {
            writeln!(out, "    and {} more (--all)", count - shown)?;
        }
    }
    Ok(())
}

/// The same for programs.
pub fn to_json(dataset: &Dataset) -> Value {
    let report = &dataset.report;
    let left_out = report
        .left_out
        .iter()
        .map(|(line, reason)| json!({"line": line, "group": reason.group(), "reason": reason.to_string()}));
    let kinds: serde_json::Map<String, Value> =
        report.kinds.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
    json!({
        "rows": report.rows,
        "samples": dataset.samples.len(),
        "kinds": kinds,
        "tokens": report.tokens,
        "targets": report.targets,
        "longest": report.longest,
        "without_reasoning": report.without_reasoning,
        "left_out": left_out.collect::<Vec<_>>(),
    })
}
