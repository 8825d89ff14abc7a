//! `gptoss score`: how likely a model finds a text.
//!
//! Every token's log-probability given those before it, their mean and the perplexity. With `--logits` the
//! logits themselves go to a safetensors file, row by row as they come, so that a long text with the
//! published vocabulary needs no memory for them; in exact mode they are the ones that the official
//! implementation gives. In fast mode the exact model runs beside, chunk by chunk, and the divergence between
//! the two is printed: what fast costs is measured where it is used, unless `--no-kl` says otherwise.
//! `--divergence` prints that alone.
//!
//! The first token is given, not predicted, and has no log-probability.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use gptoss_checkpoint::{Dtype, Outline, safetensors_header};
use gptoss_model::{AdapterId, Batch, Comparison, Divergence, KvCache, LogitRows, Model, log_prob};
use serde_json::{Value, json};

use crate::args::{ComputeArgs, DeviceArg, PrecisionArg, ScoreArgs};
use crate::failure::usage;
use crate::input::{self, Source};
use crate::model_source::Opened;
use crate::offer;
use crate::output::Target;
use crate::progress::{Progress, Unit};

/// Tokens computed between two steps of the progress bar. The logits do not depend on it; the exact model's
/// rows of one step are held in memory, 103 MB with the published vocabulary.
const STEP_TOKENS: usize = 128;

/// What came out.
#[derive(Debug, Default)]
struct Scores {
    /// Of each token but the first, in nats.
    logprobs: Vec<f64>,
    /// Of fast mode with exact mode; empty when only one model ran.
    comparison: Comparison,
}

/// Runs the command.
pub fn run(args: &ScoreArgs) -> Result<ExitCode> {
    if args.divergence && args.compute.precision == PrecisionArg::Exact {
        return Err(usage(
            "--divergence is how far fast mode is from exact mode\nleave out --precision exact",
        ));
    }
    let target = args.logits.as_deref().map(Target::at).transpose()?;
    let opened = offer::opened(&args.model)?.with_adapter(args.adapter.as_deref())?;
    let tokens = read_tokens(args, &opened)?;
    check_tokens(&tokens, &opened)?;
    let scored = Scored::load(&opened, args, tokens.len())?;
    let scores = match &target {
        None => scored.run(&tokens, &mut |_| Ok(()))?,
        Some(target) => write_logits(target, &scored, &tokens)?,
    };
    print(args, &opened, &tokens, &scores)?;
    Ok(ExitCode::SUCCESS)
}

fn read_tokens(args: &ScoreArgs, opened: &Opened) -> Result<Vec<u32>> {
    if let Some(file) = &args.token_ids {
        let source = Source::from_argument(Some(file));
        let text = source.read_text()?;
        return input::parse_token_ids(&text)
            .with_context(|| format!("{} holds no token ids", source.name()));
    }
    let source = Source::from_argument(args.text.as_deref());
    Ok(opened.vocab()?.encode_ids(&source.read_text()?))
}

fn check_tokens(tokens: &[u32], opened: &Opened) -> Result<()> {
    let config = opened.checkpoint.config();
    let name = opened.source.name();
    if tokens.is_empty() {
        return Err(anyhow!("there is nothing to score: the input has no token"));
    }
    if tokens.len() > config.max_position_embeddings {
        let sizes = format!(
            "{} tokens, but the context of {name} holds {}",
            tokens.len(),
            config.max_position_embeddings
        );
        return Err(anyhow!("the input is longer than the context: {sizes}\nsplit it"));
    }
    match tokens.iter().position(|&id| id as usize >= config.vocab_size) {
        None => Ok(()),
        Some(index) => {
            let what =
                format!("token id {} at index {index} is beyond the vocabulary of {name}", tokens[index]);
            Err(anyhow!(
                "{what}: its ids are 0 to {}\nuse the ids of this model's own tokenizer",
                config.vocab_size - 1
            ))
        }
    }
}

/// The model that is scored with, and in fast mode the exact one it is compared to.
struct Scored {
    model: Model,
    exact: Option<Model>,
    /// Of both.
    adapter: Option<AdapterId>,
}

impl Scored {
    fn load(opened: &Opened, args: &ScoreArgs, num_tokens: usize) -> Result<Scored> {
        let compares = args.compute.precision == PrecisionArg::Fast && !args.no_kl;
        if compares && args.compute.memory.is_some() {
            return Err(usage(
                "--memory is for one model, and fast mode is compared with exact mode\nadd --no-kl",
            ));
        }
        let exact = ComputeArgs {
            precision: PrecisionArg::Exact,
            dense: None,
            kv: None,
            // One measure for all devices; and a card would have to hold both models.
            device: DeviceArg::Cpu,
            gpu_memory: None,
            ..args.compute.clone()
        };
        let exact = if compares { Some(opened.load(&exact, num_tokens, None)?) } else { None };
        let model = opened.load(&args.compute, num_tokens, None)?;
        Ok(Scored { model, exact, adapter: opened.adapter() })
    }

    /// Computes every row of logits in order, shows each to `on_row`, and keeps the scores.
    fn run(&self, tokens: &[u32], on_row: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Scores> {
        let mut scores = Scores::default();
        let new_cache = |model: &Model| model.new_cache(tokens.len()).with_adapter(self.adapter);
        let (mut cache, mut exact_cache) = (new_cache(&self.model), self.exact.as_ref().map(new_cache));
        let mut progress = Progress::new("scoring", Unit::Tokens);
        let mut failed = Ok(());
        for (step, chunk) in tokens.chunks(STEP_TOKENS).enumerate() {
            let first = step * STEP_TOKENS;
            let exact_rows = self.exact_rows(chunk, exact_cache.as_mut())?;
            let batch = Batch { tokens: chunk, logits: LogitRows::All };
            self.model.forward_rows(&batch, &mut cache, &mut |index, row| {
                if failed.is_ok() {
                    failed = on_row(row);
                }
                let next = tokens.get(first + index + 1).copied();
                scores.logprobs.extend(next.map(|token| log_prob(row, token)));
                if let Some(exact) = &exact_rows {
                    scores.comparison.add(&exact[index * row.len()..][..row.len()], row, next);
                }
            })?;
            std::mem::replace(&mut failed, Ok(()))?;
            progress.set((first + chunk.len()) as u64, tokens.len() as u64);
        }
        Ok(scores)
    }

    fn exact_rows(&self, chunk: &[u32], cache: Option<&mut KvCache>) -> Result<Option<Vec<f32>>> {
        let (Some(model), Some(cache)) = (&self.exact, cache) else { return Ok(None) };
        Ok(Some(model.forward(&Batch { tokens: chunk, logits: LogitRows::All }, cache)?.rows))
    }
}

impl Scores {
    fn mean_logprob(&self) -> Option<f64> {
        let count = self.logprobs.len();
        (count > 0).then(|| self.logprobs.iter().sum::<f64>() / count as f64)
    }
}

/// The scores, while the logits go to a safetensors file: one tensor `logits` [T, V], f32, little endian.
fn write_logits(target: &Target, scored: &Scored, tokens: &[u32]) -> Result<Scores> {
    let shape = vec![tokens.len(), scored.model.config().vocab_size];
    let outline = Outline { name: "logits".to_owned(), dtype: Dtype::F32, shape };
    let mut scores = Scores::default();
    let written = target.write(|out| {
        out.write_all(&safetensors_header(&[outline]))?;
        scores = scored.run(tokens, &mut |row| {
            for value in row {
                out.write_all(&value.to_le_bytes())?;
            }
            Ok(())
        })?;
        Ok(())
    });
    // What the model could not compute is not the file's fault.
    let own_words = |error: anyhow::Error| match error.downcast::<gptoss_model::Error>() {
        Ok(of_model) => of_model.into(),
        Err(of_file) => of_file,
    };
    written.map_err(own_words)?;
    Ok(scores)
}

fn print(args: &ScoreArgs, opened: &Opened, tokens: &[u32], scores: &Scores) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mean = scores.mean_logprob();
    let perplexity = mean.map(|mean| (-mean).exp());
    let precision = match args.compute.precision {
        PrecisionArg::Fast => "fast",
        PrecisionArg::Exact => "exact",
    };
    let divergence = scores.comparison.divergence();
    if args.json {
        let mut object = json!({
            "model": opened.source.name(),
            "demo": opened.source.is_demo(),
            "precision": precision,
        });
        if let Some(adapter) = opened.adapter() {
            object["adapter"] = json!(adapter.short());
        }
        if !args.divergence {
            let first = std::iter::once(None);
            let logprobs: Vec<Option<f64>> = first.chain(scores.logprobs.iter().copied().map(Some)).collect();
            object["tokens"] = json!(tokens);
            object["logprobs"] = json!(logprobs);
        }
        object["mean_logprob"] = json!(mean);
        object["perplexity"] = json!(perplexity);
        object["against_exact"] = divergence.as_ref().map(divergence_json).into();
        input::write_json_line(&mut out, &object)?;
        return Ok(out.flush()?);
    }
    if !args.divergence {
        print_tokens(&mut out, opened, tokens, scores)?;
        writeln!(out)?;
    }
    if let (Some(mean), Some(perplexity)) = (mean, perplexity) {
        let count = tokens.len();
        writeln!(out, "{count} tokens, mean log-probability {mean:.6} nats, perplexity {perplexity:.4}")?;
    }
    if opened.source.is_demo() {
        writeln!(
            out,
            "the demo knows its own kind of conversation: of other text its perplexity says nothing"
        )?;
    }
    if let Some(divergence) = &divergence {
        write_divergence(&mut out, divergence)?;
    }
    Ok(out.flush()?)
}

fn divergence_json(divergence: &Divergence) -> Value {
    json!({
        "tokens": divergence.num_rows,
        "mean_kl": divergence.mean,
        "median_kl": divergence.median,
        "p99_kl": divergence.p99,
        "max_kl": divergence.max,
        "same_top_token": divergence.same_top,
        "perplexity_change": divergence.perplexity_change,
    })
}

fn write_divergence(out: &mut dyn Write, divergence: &Divergence) -> io::Result<()> {
    let Divergence { mean, median, p99, max, same_top, perplexity_change, .. } = divergence;
    let spread = format!("median {median:.3e}, 99 of 100 below {p99:.3e}, largest {max:.3e}");
    writeln!(out, "fast against exact: mean KL {mean:.3e} nats ({spread})")?;
    write!(out, "likeliest token the same: {:.2} %", 100.0 * same_top)?;
    if let Some(change) = perplexity_change {
        write!(out, ", perplexity {:+.3} %", 100.0 * change)?;
    }
    writeln!(out)
}

/// One line a token: its index, its id, its log-probability, and its text where the model has a vocabulary.
fn print_tokens(out: &mut dyn Write, opened: &Opened, tokens: &[u32], scores: &Scores) -> Result<()> {
    let vocab = opened.vocab().ok();
    for (index, &token) in tokens.iter().enumerate() {
        let logprob = match index.checked_sub(1).and_then(|before| scores.logprobs.get(before)) {
            Some(logprob) => format!("{logprob:.6}"),
            None => "-".to_owned(),
        };
        let text = vocab.as_ref().and_then(|vocab| vocab.decode(&[token]).ok());
        let text = text.map(|bytes| format!("{:?}", String::from_utf8_lossy(&bytes))).unwrap_or_default();
        writeln!(out, "{}", format!("{index:>6} {token:>7} {logprob:>12}  {text}").trim_end())?;
    }
    Ok(())
}
