//! What an adapter changes, and by how much.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use gptoss_checkpoint::{AdapterPair, AdapterSite, hugging_face_name};
use gptoss_model::{SiteNorms, site_norms};
use serde_json::{Value, json};

use crate::adapter::{Tuned, pool};
use crate::args::AdapterInspectArgs;
use crate::progress::{Progress, Unit};
use crate::terminal::safe_for_stdout;

/// Sites of one kind, over all layers and experts.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    ranks: Vec<usize>,
    scales: Vec<f32>,
    norms: Vec<SiteNorms>,
}

/// `gptoss adapter inspect`.
pub fn run(args: &AdapterInspectArgs) -> Result<ExitCode> {
    let tuned = Tuned::open(&args.source)?;
    let mut progress = Progress::new("reading the base's matrices", Unit::Cases);
    let (base, adapter) = (&tuned.opened.checkpoint, &tuned.read.adapter);
    let norms = site_norms(base, adapter, &pool(), &mut |done, total| progress.set(done, total))?;
    progress.clear();
    let kinds = kinds(&tuned, norms);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        let mut told = summary(&tuned);
        told["sites"] = kinds.iter().map(Kind::to_json).collect();
        serde_json::to_writer_pretty(&mut out, &told)?;
        writeln!(out)?;
    } else {
        write_summary(&mut out, &tuned)?;
        write_kinds(&mut out, &kinds)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What an adapter is, for programs.
pub fn summary(tuned: &Tuned) -> Value {
    let (read, config) = (&tuned.read, tuned.opened.checkpoint.config());
    let adapter = &read.adapter;
    let layout = read.layout.map(|(layout, _)| layout.name());
    let replaced = adapter.replaced.iter().map(|(part, _)| hugging_face_name(config, *part));
    json!({
        "model": tuned.opened.source.name(),
        "base_model": read.base_model,
        "experts": tuned.form(),
        "lora_b_layout": layout,
        "dora_folded": read.had_dora,
        "quantization_aware": adapter.trained_for.map(|trained| trained.format.name()),
        "matrices": adapter.pairs.len(),
        "numbers": numbers(tuned),
        "replaced": replaced.collect::<Vec<_>>(),
        "tokens": adapter.rows.tokens,
    })
}

fn numbers(tuned: &Tuned) -> usize {
    let adapter = &tuned.read.adapter;
    let pairs = adapter.pairs.values().map(|pair| pair.a.len() + pair.b.len());
    let whole = adapter.replaced.iter().map(|(_, values)| values.len());
    pairs.chain(whole).sum::<usize>() + adapter.rows.embedding.len() + adapter.rows.unembedding.len()
}

/// The same for people.
pub fn write_summary(out: &mut dyn Write, tuned: &Tuned) -> io::Result<()> {
    let (read, adapter) = (&tuned.read, &tuned.read.adapter);
    let said = read.base_model.as_deref().unwrap_or("no name");
    writeln!(out, "trained beside  {}", safe_for_stdout(said))?;
    writeln!(out, "experts         {}", tuned.form())?;
    if let Some(layout) = tuned.layout() {
        writeln!(out, "layout of B     {layout}")?;
    }
    if read.had_dora {
        writeln!(out, "DoRA            folded into whole matrices")?;
    }
    if let Some(trained) = adapter.trained_for {
        writeln!(out, "trained with    --qat, to be merged with --format {}", trained.format.name())?;
    }
    writeln!(out, "changes         {} matrices, {} numbers", adapter.pairs.len(), numbers(tuned))?;
    if !adapter.replaced.is_empty() {
        let config = tuned.opened.checkpoint.config();
        let names: Vec<String> =
            adapter.replaced.iter().map(|(part, _)| hugging_face_name(config, *part)).collect();
        writeln!(out, "replaces        {}", names.join(", "))?;
    }
    if !adapter.rows.tokens.is_empty() {
        writeln!(out, "rows            of {} tokens", adapter.rows.tokens.len())?;
    }
    Ok(())
}

fn kinds(tuned: &Tuned, norms: Vec<SiteNorms>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for norm in norms {
        let AdapterPair { rank, scale, .. } = tuned.read.adapter.pairs[&norm.site];
        let name = kind(norm.site);
        let index = kinds.iter().position(|kind| kind.name == name).unwrap_or_else(|| {
            kinds.push(Kind { name, ranks: Vec::new(), scales: Vec::new(), norms: Vec::new() });
            kinds.len() - 1
        });
        let kind = &mut kinds[index];
        if !kind.ranks.contains(&rank) {
            kind.ranks.push(rank);
        }
        if !kind.scales.contains(&scale) {
            kind.scales.push(scale);
        }
        kind.norms.push(norm);
    }
    kinds
}

fn kind(site: AdapterSite) -> &'static str {
    match site {
        AdapterSite::Embedding => "embedding",
        AdapterSite::Query(_) => "query",
        AdapterSite::Key(_) => "key",
        AdapterSite::Value(_) => "value",
        AdapterSite::Out(_) => "attention out",
        AdapterSite::GateUp { .. } => "experts gate, up",
        AdapterSite::Down { .. } => "experts down",
        AdapterSite::Unembedding => "head",
    }
}

impl Kind {
    /// The change beside the base: of all matrices together.
    fn ratio(&self) -> f64 {
        let sum =
            |of: fn(&SiteNorms) -> f64| self.norms.iter().map(|norm| of(norm).powi(2)).sum::<f64>().sqrt();
        ratio(sum(|norm| norm.change), sum(|norm| norm.base))
    }

    /// The largest change of a matrix beside it.
    fn largest(&self) -> f64 {
        self.norms.iter().map(|norm| ratio(norm.change, norm.base)).fold(0.0, f64::max)
    }

    fn num_unchanged(&self) -> usize {
        self.norms.iter().filter(|norm| norm.change == 0.0).count()
    }

    fn to_json(&self) -> Value {
        json!({
            "site": self.name,
            "matrices": self.norms.len(),
            "unchanged": self.num_unchanged(),
            "ranks": self.ranks,
            "scales": self.scales,
            "relative_change": self.ratio(),
            "largest_relative_change": self.largest(),
        })
    }
}

fn ratio(change: f64, base: f64) -> f64 {
    if base == 0.0 { 0.0 } else { change / base }
}

fn write_kinds(out: &mut dyn Write, kinds: &[Kind]) -> io::Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    let head = ["", "matrices", "zero", "rank", "scale", "change", "largest"];
    let row = |out: &mut dyn Write, [name, count, zero, rank, scale, change, largest]: [&str; 7]| {
        writeln!(out, "{name:<18}{count:>9}{zero:>6}{rank:>8}{scale:>9}{change:>11}{largest:>11}")
    };
    writeln!(out)?;
    row(&mut *out, head)?;
    for kind in kinds {
        let [ranks, scales] = [
            kind.ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            kind.scales.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        ];
        let (count, zero) = (kind.norms.len().to_string(), kind.num_unchanged().to_string());
        let [change, largest] = [kind.ratio(), kind.largest()].map(|share| format!("{:.4} %", 100.0 * share));
        row(&mut *out, [kind.name, &count, &zero, &ranks, &scales, &change, &largest])?;
    }
    writeln!(out, "\nchange: the size of what is added beside that of the base's matrices")
}
