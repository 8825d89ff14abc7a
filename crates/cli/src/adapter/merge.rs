//! A model with an adapter in its weights.
//!
//! The folder gets its name after it has been opened again, its matrices have been held against the unmerged
//! ones, and enough of the tuning is left in it. The merge that an adapter was trained for has to be the
//! trained model instead, to the bit.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use gptoss_checkpoint::{
    Adapter, Checkpoint, ExpertFormat, Part, UnfinishedFolder, num_bytes, parts, write_checkpoint,
};
use gptoss_kernels::Pool;
use gptoss_model::{MergedTensor, Merger, Tally, merged_distance};
use gptoss_train::{Divergence, Weights, base_checksum};
use serde_json::{Value, json};

use crate::adapter::losses::HeldOut;
use crate::adapter::{Tuned, pool};
use crate::args::{AdapterMergeArgs, MergeFormatArg};
use crate::failure::usage;
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::model_source::Opened;
use crate::progress::{Progress, Unit};

/// The share of a tuning that a merge must keep; below it the result is nearer the base.
const KEPT_MIN: f64 = 0.5;
/// How far a merged matrix may be from the unmerged one in bf16, beside its size: one rounding of eight bits.
const BF16_DISTANCE_MAX: f64 = 1e-2;
/// Files that belong to a model and are not weights.
const BESIDE: [&str; 5] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// What a merge came to.
struct Outcome {
    folder: UnfinishedFolder,
    changes: Vec<MergedTensor>,
    /// How far the farthest matrix is from the unmerged one.
    distance: f64,
    rows: Option<OnRows>,
    /// Whether it was trained to be merged so; then it is the trained model, to the bit.
    is_trained_for: bool,
    /// Whether it was trained to be merged, and not into this base.
    is_other_base: bool,
}

/// Base, unmerged and merged model on held-out rows.
struct OnRows {
    base: f64,
    unmerged: f64,
    merged: f64,
    divergence: Divergence,
}

impl OnRows {
    fn measure(rows: &HeldOut<'_>, tuned: &Tuned, merged: &Checkpoint) -> Result<OnRows> {
        let (base, adapter) = (&tuned.opened.checkpoint, &tuned.read.adapter);
        Ok(OnRows {
            base: rows.loss(base, None)?,
            unmerged: rows.loss(base, Some(adapter))?,
            merged: rows.loss(merged, None)?,
            divergence: rows.divergence(base, adapter, merged)?,
        })
    }

    /// Whether the merged model says what the base does, more than what the tuned one does.
    fn is_nearer_base(&self) -> bool {
        (self.merged - self.base).abs() < (self.merged - self.unmerged).abs()
    }
}

impl Outcome {
    /// Whether too little of the tuning is left.
    fn is_lost(&self) -> bool {
        !self.is_trained_for && self.of_all().share_kept() < KEPT_MIN
    }

    /// Whether it says what the base does, more than what the tuned model does.
    fn is_nearer_base(&self) -> bool {
        !self.is_trained_for && self.rows.as_ref().is_some_and(OnRows::is_nearer_base)
    }

    fn of_all(&self) -> Tally {
        Tally::of_all(self.changes.iter().map(|change| &change.tally))
    }
}

/// Runs the command.
pub fn run(args: &AdapterMergeArgs) -> Result<ExitCode> {
    let tuned = Tuned::open(&args.source)?;
    let experts = match args.format {
        MergeFormatArg::Bf16 => ExpertFormat::Bf16,
        MergeFormatArg::Mxfp4 => ExpertFormat::Mxfp4,
    };
    if experts == ExpertFormat::Mxfp4 && tuned.opened.checkpoint.expert_format() != ExpertFormat::Mxfp4 {
        return Err(usage("the model's experts are bf16, which has no grid to round to\nuse --format bf16"));
    }
    if tuned.opened.checkpoint.config().tie_word_embeddings && changes_an_end(&tuned.read.adapter) {
        return Err(anyhow!(
            "the embedding and the head of this model are one tensor, and the adapter changes one of them\nserve it \
             unmerged"
        ));
    }
    let interrupt = Interrupt::install(SecondPress::Waits)?;
    let Some(outcome) = interrupt.stoppable(|cancel| merge(args, &tuned, experts, cancel))? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    let all = outcome.of_all();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        writeln!(out, "{}", to_json(&outcome, args))?;
    } else {
        write_changes(&mut out, &outcome)?;
        write_trained_for(&mut out, &tuned, &outcome)?;
    }
    out.flush()?;
    if experts == ExpertFormat::Bf16 && outcome.distance > BF16_DISTANCE_MAX {
        return Err(anyhow!(
            "the merged model is off by {:.1e} of the unmerged one, which rounding does not explain\nreport this",
            outcome.distance
        ));
    }
    if outcome.is_lost() && !args.force {
        return Err(anyhow!(
            "only {:.1} % of the tuning is left after rounding: the result would be the base more than the tuned \
             model, so nothing was written\nserve the adapter unmerged, merge with --format bf16, or train with \
             --qat; --force writes it all the same",
            100.0 * all.share_kept()
        ));
    }
    if outcome.is_nearer_base() && !args.force {
        return Err(anyhow!(
            "the loss of the merged model is nearer the base's than the tuned one's, so nothing was written\nserve \
             the adapter unmerged, merge with --format bf16, or train with --qat; --force writes it all the same"
        ));
    }
    outcome.folder.finish()?;
    if !args.json {
        writeln!(io::stdout(), "\nwritten to {}", args.out.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether an adapter changes the embedding or the head.
fn changes_an_end(adapter: &Adapter) -> bool {
    let is_end = |part: Option<Part>| matches!(part, Some(Part::Embedding | Part::Unembedding));
    adapter.pairs.keys().any(|site| is_end(site.part()))
        || adapter.replaced.iter().any(|(part, _)| is_end(Some(*part)))
        || !adapter.rows.tokens.is_empty()
}

/// Writes the folder, opens it again and compares; `None` when Ctrl-C stopped it, and then nothing is left.
fn merge(
    args: &AdapterMergeArgs,
    tuned: &Tuned,
    experts: ExpertFormat,
    cancel: &AtomicBool,
) -> Result<Option<Outcome>> {
    let (base, adapter, pool) = (&tuned.opened.checkpoint, &tuned.read.adapter, pool());
    let config = base.config();
    let rows = args.data.as_deref().map(|file| HeldOut::read(file, &tuned.opened, &pool)).transpose()?;
    let total: u64 = parts(config, experts).iter().map(|part| num_bytes(config, *part) as u64).sum();
    let mut progress = Progress::new(format!("merging into {}", args.out.display()), Unit::Bytes);
    let mut merger = Merger::new(base, adapter, experts, &pool);
    let mut done = 0;
    let written = write_checkpoint(&args.out, config, experts, &beside(&tuned.opened), &mut |part, sink| {
        if cancel.load(Ordering::SeqCst) {
            return Err(io::Error::other("stopped by Ctrl-C"));
        }
        merger.write(part, sink)?;
        done += num_bytes(config, part) as u64;
        progress.set(done, total);
        Ok(())
    });
    progress.clear();
    if cancel.load(Ordering::SeqCst) {
        return Ok(None);
    }
    let folder = written?;
    let again = Checkpoint::open(folder.path())?;
    let distance = merged_distance(base, &again, adapter, &pool)?;
    let is_other_base = match adapter.trained_for {
        None => false,
        Some(trained) => trained.base() != Some(base_checksum(base)?.as_str()),
    };
    let is_of_format = adapter.trained_for.is_some_and(|trained| trained.format == experts);
    let is_trained_for = is_of_format && !is_other_base;
    if is_trained_for && !is_what_was_trained(base, &again, adapter, experts, &pool)? {
        return Err(anyhow!("the merged weights are not those that --qat trained with\nreport this"));
    }
    let rows = rows.map(|rows| OnRows::measure(&rows, tuned, &again)).transpose()?;
    let changes = merger.changes().to_vec();
    Ok(Some(Outcome { changes, folder, distance, rows, is_trained_for, is_other_base }))
}

/// Whether the merged weights are those that the passes of quantization-aware training saw.
fn is_what_was_trained(
    base: &Checkpoint,
    merged: &Checkpoint,
    adapter: &Adapter,
    experts: ExpertFormat,
    pool: &Pool,
) -> Result<bool> {
    let (base, merged) = (Weights::open(base, None)?, Weights::open(merged, None)?);
    Ok(base.tuned(Some(adapter)).stored(experts).is_same(pool, &merged.tuned(None)))
}

/// What goes with the weights: the base's own files, or its vocabulary from wherever it has it.
fn beside(opened: &Opened) -> Vec<(String, Vec<u8>)> {
    let read =
        |folder: &Path, name: &str| fs::read(folder.join(name)).ok().map(|bytes| (name.to_owned(), bytes));
    let folder = opened.folder();
    let mut files: Vec<_> = folder
        .into_iter()
        .flat_map(|folder| BESIDE.iter().filter_map(move |name| read(folder, name)))
        .collect();
    if !files.iter().any(|(name, _)| name == "tokenizer.json")
        && let Ok(vocab) = opened.vocab()
    {
        files.push(("tokenizer.json".to_owned(), vocab.to_tokenizer_json()));
    }
    files
}

fn write_changes(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let width = outcome.changes.iter().map(|change| change.name.len()).max().unwrap_or(0);
    let row = |out: &mut dyn Write, name: &str, tally: &Tally| {
        writeln!(
            out,
            "{name:<width$}{:>11.4} %{:>11.3} %{:>10.3}{:>10.3}",
            100.0 * tally.relative_change(),
            100.0 * tally.share_changed(),
            tally.share_kept(),
            tally.relative_error()
        )
    };
    writeln!(out, "{:<width$}{:>13}{:>13}{:>10}{:>10}", "", "change", "codes", "kept", "error")?;
    for change in &outcome.changes {
        row(&mut *out, &change.name, &change.tally)?;
    }
    row(&mut *out, "all", &outcome.of_all())?;
    writeln!(
        out,
        "\nchange: its size beside the base's; codes: numbers stored otherwise than before; kept: the share of the \
         change that is in the merged weights; error: what is missing, beside the change\nopened again: the farthest \
         matrix is off by {:.1e} of the unmerged one",
        outcome.distance
    )?;
    let Some(OnRows { base, unmerged, merged, divergence }) = &outcome.rows else { return Ok(()) };
    writeln!(out, "\nmean loss: base {base:.4}, unmerged {unmerged:.4}, merged {merged:.4}")?;
    writeln!(
        out,
        "merged beside unmerged, {} rows: mean KL {:.2e} nats, the same likeliest token in {:.1} %",
        divergence.rows,
        divergence.kl,
        100.0 * divergence.agreement
    )
}

/// What the merge is to a model that was trained to be merged.
fn write_trained_for(out: &mut dyn Write, tuned: &Tuned, outcome: &Outcome) -> io::Result<()> {
    match tuned.read.adapter.trained_for {
        None => Ok(()),
        Some(_) if outcome.is_trained_for => {
            writeln!(
                out,
                "\ntrained with --qat: the merged weights are those it was trained with, to the bit"
            )
        }
        Some(_) if outcome.is_other_base => writeln!(
            out,
            "\ntrained with --qat beside another base: this one's checksum is not in its config, so that the merge \
             is not known as the model that was trained"
        ),
        Some(trained) => writeln!(
            out,
            "\ntrained with --qat for --format {}: merged so it is the model that was trained, and this is another",
            trained.format.name()
        ),
    }
}

fn to_json(outcome: &Outcome, args: &AdapterMergeArgs) -> Value {
    let told = |tally: &Tally| {
        json!({
            "relative_change": tally.relative_change(),
            "share_changed": tally.share_changed(),
            "kept": tally.share_kept(),
            "relative_error": tally.relative_error(),
        })
    };
    let tensors = outcome.changes.iter().map(|change| {
        let mut tensor = told(&change.tally);
        tensor["name"] = json!(change.name);
        tensor
    });
    let all = outcome.of_all();
    let is_lost = outcome.is_lost() || outcome.is_nearer_base();
    let rows = outcome.rows.as_ref().map(|rows| {
        json!({
            "base_loss": rows.base,
            "unmerged_loss": rows.unmerged,
            "merged_loss": rows.merged,
            "kl": rows.divergence.kl,
            "agreement": rows.divergence.agreement,
        })
    });
    json!({
        "folder": args.out,
        "written": !is_lost || args.force,
        "tensors": tensors.collect::<Vec<_>>(),
        "all": told(&all),
        "is_trained_model": outcome.is_trained_for,
        "is_other_base": outcome.is_other_base,
        "distance": outcome.distance,
        "data": rows,
    })
}
