//! `gptoss inspect`: the shape of a model, its size, and whether it fits.
//!
//! Everything is computed from the config and the sizes of the tensors, so that a 120b can be looked at
//! anywhere: no weight is read or made. Parameters are counted by part, all of them and those that one token
//! uses; bytes come as a sum of named terms at a context that the user can choose, and are held against three
//! sizes of accelerator. `--svg` draws the presets and this model.
//!
//! The counting is the model room's; here it is shown.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use gptoss_checkpoint::{Config, ConfigForm, ExpertFormat, Layout, PRESETS, Preset};
use gptoss_engine::{EngineOptions, KvPlan};
use gptoss_model::{
    CHUNK_TOKENS_MAX, DenseMode, ModelConfig, PROGRAM_BYTES, PartCount, Term, card_bytes, memory, parameters,
};
use serde_json::{Value, json};

use crate::args::{InspectArgs, PrecisionArg};
use crate::chart::{self, ChartPoint};
use crate::device;
use crate::failure::usage;
use crate::memory_budget::{self, Needs};
use crate::model_source::{ModelSource, Opened, context, dense, precision};
use crate::output::Target;

/// Memory sizes that the plan is held against, in GB of 10^9 bytes.
const GIGABYTES: [u64; 3] = [16, 24, 80];
const GIGABYTE: u64 = 1_000_000_000;

/// Everything that is said about a model.
pub struct Report {
    name: String,
    is_demo: bool,
    stored: String,
    config: Config,
    expert_format: ExpertFormat,
    parts: Vec<PartCount>,
    context: usize,
    precision: PrecisionArg,
    dense: DenseMode,
    terms: Vec<Term>,
    /// What a flag allows, and the flag. Units: bytes.
    budget: Option<(&'static str, u64)>,
}

/// Runs the command.
pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let svg = args.svg.as_deref().map(Target::at).transpose()?;
    let opened = opened(args)?;
    let report = Report::new(&opened, args)?;
    if let Some(target) = &svg {
        chart::write_svg(target, &report.chart_points()?)?;
        writeln!(io::stderr(), "the chart is in {}", target.name().display())?;
    }
    let mut output = io::BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut output, &report.to_json())?;
        writeln!(output)?;
    } else {
        report.write_text(&mut output)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The model that the arguments name.
///
/// Errors: those of opening it.
fn opened(args: &InspectArgs) -> Result<Opened> {
    Opened::open(ModelSource::parse_or_preset(name(args))?)
}

/// What the arguments call the model.
pub fn name(args: &InspectArgs) -> &str {
    args.model.as_deref().or(args.model_flag.as_deref()).unwrap_or("demo")
}

impl Report {
    /// Everything about an opened model.
    ///
    /// Errors: a usage error for a plan that cannot be.
    pub fn new(opened: &Opened, args: &InspectArgs) -> Result<Report> {
        let config = opened.checkpoint.config().clone();
        let model = ModelConfig::from_checkpoint(&config)?;
        let expert_format = opened.checkpoint.expert_format();
        let context = context(args.context, &config, &opened.source)?;
        let (precision, dense) = (precision(args.precision), dense(args.dense, args.precision)?);
        let kv = args.max_sequences.map(|sequences| {
            let options = EngineOptions {
                max_sequences: usize::from(sequences),
                kv_bytes: args.kv_memory,
                ..EngineOptions::new(context)
            };
            let plan = KvPlan::new(&model, precision.kv_format(), CHUNK_TOKENS_MAX, &options);
            plan.map_err(|error| usage(error.to_string()))
        });
        let kv = kv.transpose()?;
        let one = Needs { context, precision, dense, kv: None, adapters: 0 };
        let (checkpoint, is_card) = (&opened.checkpoint, args.gpu_memory.is_some());
        let mut terms = match (args.gpu_memory, args.memory) {
            (Some(budget), _) => device::plan_within(
                budget,
                checkpoint,
                &Needs { kv: kv.as_ref(), ..one },
                precision.kv_format(),
            )?,
            (None, Some(budget)) => {
                memory_budget::plan_of_shape(checkpoint, &opened.source.subject(), &one, budget)?
            }
            (None, None) => memory(&model, &checkpoint.part_bytes(), context, precision, dense),
        };
        if let Some(plan) = kv.filter(|_| !is_card) {
            // The plan of one conversation makes way for that of many.
            terms.retain(|term| !term.name.starts_with("KV cache"));
            terms.extend(plan.terms);
        }
        Ok(Report {
            name: opened.source.name(),
            is_demo: opened.source.is_demo(),
            stored: stored(opened),
            parts: parameters(&model),
            terms,
            config,
            expert_format,
            context,
            precision: args.precision,
            dense,
            budget: args
                .gpu_memory
                .map(|size| ("--gpu-memory", size))
                .or(args.memory.map(|size| ("--memory", size))),
        })
    }

    fn total(&self) -> u64 {
        self.parts.iter().map(|part| part.total).sum()
    }

    fn active(&self) -> u64 {
        self.parts.iter().map(|part| part.active).sum()
    }

    fn bytes(&self) -> u64 {
        // Of a plan for a card, what is the card's.
        card_bytes(&self.terms)
    }

    fn precision_word(&self) -> &'static str {
        match self.precision {
            PrecisionArg::Fast => "fast",
            PrecisionArg::Exact => "exact",
        }
    }

    /// The four presets of real size, and the inspected model if it is none of them.
    fn chart_points(&self) -> Result<Vec<ChartPoint>> {
        let mut points = Vec::new();
        for preset in PRESETS.into_iter().filter(|preset| *preset != Preset::Tiny) {
            let parts = parameters(&ModelConfig::from_checkpoint(&preset.config())?);
            let total = parts.iter().map(|part| part.total).sum();
            let active = parts.iter().map(|part| part.active).sum();
            let inspected = (total, active) == (self.total(), self.active());
            points.push(ChartPoint { name: preset.to_string(), total, active, inspected });
        }
        if !points.iter().any(|point| point.inspected) {
            let name = if self.is_demo { "the demo model".to_owned() } else { self.name.clone() };
            points.push(ChartPoint { name, total: self.total(), active: self.active(), inspected: true });
        }
        Ok(points)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let form = ConfigForm::HuggingFace(self.expert_format);
        let config = serde_json::from_str(&self.config.to_json(form)).unwrap_or(Value::Null);
        let parts = self.parts.iter().map(|p| json!({"name": p.name, "total": p.total, "active": p.active}));
        let terms = self.terms.iter().map(|term| json!({"name": term.name, "bytes": term.bytes}));
        let fits = GIGABYTES.map(|size| (format!("{size} GB"), Value::Bool(self.fits(size))));
        json!({
            "model": self.name,
            "demo": self.is_demo,
            "stored": self.stored,
            "config": config,
            "parameters": {
                "total": self.total(),
                "active": self.active(),
                "parts": parts.collect::<Vec<_>>(),
            },
            "memory": {
                "context": self.context,
                "precision": self.precision_word(),
                "dense": dense_word(self.dense),
                "terms": terms.collect::<Vec<_>>(),
                "total_bytes": self.bytes(),
            },
            "fits": Value::Object(fits.into_iter().collect()),
        })
    }

    fn fits(&self, gigabytes: u64) -> bool {
        self.bytes() <= gigabytes * GIGABYTE
    }

    /// For people.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} ({})\n", self.name, self.stored)?;
        self.write_config(out)?;
        self.write_parameters(out)?;
        self.write_memory(out)
    }

    fn write_config(&self, out: &mut dyn Write) -> io::Result<()> {
        let c = &self.config;
        let windowed =
            c.layer_types.iter().filter(|kind| **kind == gptoss_checkpoint::LayerKind::Sliding).count();
        let full = c.num_hidden_layers - windowed;
        writeln!(
            out,
            "layers        {} ({windowed} with a window of {}, {full} full)",
            c.num_hidden_layers, c.sliding_window
        )?;
        writeln!(out, "hidden        {}, feed-forward {}", c.hidden_size, c.intermediate_size)?;
        let heads = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        writeln!(out, "attention     {} query heads, {} kv heads of {}", heads.0, heads.1, heads.2)?;
        match c.num_local_experts {
            0 => writeln!(out, "experts       none: every layer is dense")?,
            experts => {
                writeln!(out, "experts       {experts} a layer, {} active for a token", c.experts_per_token)?
            }
        }
        writeln!(out, "vocabulary    {} ids", grouped(c.vocab_size as u64))?;
        let rope = &c.rope;
        let origin = grouped(rope.original_max_position_embeddings as u64);
        let context = grouped(c.max_position_embeddings as u64);
        writeln!(
            out,
            "context       {context} tokens (YaRN, {} times {origin}, theta {})\n",
            rope.factor, c.rope_theta
        )
    }

    fn write_parameters(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:<14}{:>22}{:>22}", "parameters", "total", "active")?;
        for part in &self.parts {
            writeln!(out, "  {:<12}{:>22}{:>22}", part.name, grouped(part.total), grouped(part.active))?;
        }
        let sums = (self.total(), self.active());
        writeln!(out, "  {:<12}{:>22}{:>22}", "sum", grouped(sums.0), grouped(sums.1))?;
        writeln!(out, "  {:<12}{:>22}{:>22}\n", "", chart::short(sums.0), chart::short(sums.1))
    }

    fn write_memory(&self, out: &mut dyn Write) -> io::Result<()> {
        let context = grouped(self.context as u64);
        let (precision, dense) = (self.precision_word(), dense_word(self.dense));
        writeln!(
            out,
            "bytes at a context of {context} tokens, {precision} precision, dense matrices {dense}"
        )?;
        let width = self.terms.iter().map(|term| term.name.chars().count()).max().unwrap_or(0);
        for term in &self.terms {
            let bytes = (grouped(term.bytes), memory_budget::human(term.bytes));
            writeln!(out, "  {:<width$}{:>18}  {:>9}", term.name, bytes.0, bytes.1)?;
        }
        let sum = (grouped(self.bytes()), memory_budget::human(self.bytes()));
        writeln!(out, "  {:<width$}{:>18}  {:>9}\n", "sum", sum.0, sum.1)?;
        let verdicts = GIGABYTES
            .map(|size| format!("{size} GB: {}", if self.fits(size) { "fits" } else { "does not fit" }));
        writeln!(out, "{}", verdicts.join("   "))?;
        match self.budget {
            Some((flag, size)) => writeln!(out, "\nplanned for {flag} {}", memory_budget::human(size)),
            None => writeln!(
                out,
                "\nThe program itself takes {} more, and `serve` keys and values for its conversations (--max-sequences).",
                memory_budget::human(PROGRAM_BYTES)
            ),
        }
    }
}

/// The format of dense matrices, in a word: what `--dense` would be.
fn dense_word(dense: DenseMode) -> &'static str {
    match dense {
        DenseMode::AsStored => "as stored",
        DenseMode::Q8 => "q8",
    }
}

/// Where the weights are, in words.
pub fn stored(opened: &Opened) -> String {
    match opened.checkpoint.layout() {
        _ if opened.source.is_demo() => "the embedded demo model".to_owned(),
        Layout::HuggingFaceMxfp4 => "Hugging Face layout, MXFP4 experts".to_owned(),
        Layout::HuggingFaceBf16 => "Hugging Face layout, bf16 experts".to_owned(),
        Layout::Original => "OpenAI's original layout, MXFP4 experts".to_owned(),
        Layout::Synthetic(_, seed) => format!("random weights of this shape, seed {seed}"),
        gguf @ Layout::Gguf(_) => gguf.to_string(),
    }
}

/// A number with its thousands set apart: 116,829,156,672.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let check = |number, expect: &str| assert_eq!(grouped(number), expect);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(116_829_156_672, "116,829,156,672");
    }
}
