//! What came of a run: files, and the tuned model beside its base.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use gptoss_checkpoint::{
    Adapter, Checkpoint, FactorDtype, PUBLISHED_VOCAB_SIZE, TrainedFor, read_adapter, write_adapter,
};
use gptoss_harmony::Vocab;
use gptoss_kernels::Pool;
use gptoss_train::{Network, Rounding, RunIdentity, Trained, Trainer, Tuning, Weights, write_folder};
use serde_json::{Value, json};

use crate::args::TrainArgs;
use crate::machine;
use crate::model_source::Opened;
use crate::output::Target;

use super::course::Ended;
use super::gate::Outcome;
use super::lesson::{Lesson, Score};
use super::log::Log;
use super::plot;
use super::recipe::Recipe;
use super::rows::Rows;
use super::run_folder::RunFolder;

/// The record of a run.
const RECORD: &str = "training.json";
/// What belongs to a tokenizer in a folder.
const TOKENIZER: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/// What the end of a run needs to know.
pub struct Finish<'a> {
    /// Of the user.
    pub args: &'a TrainArgs,
    /// The base.
    pub opened: &'a Opened,
    /// Its vocabulary.
    pub vocab: &'a Vocab,
    /// What decided the numbers.
    pub recipe: &'a Recipe,
    /// What was learned and what is tested with.
    pub rows: &'a Rows,
    /// The checksums.
    pub identity: &'a RunIdentity,
    /// Where it goes.
    pub folder: &'a RunFolder,
    /// To compute with.
    pub pool: &'a Pool,
    /// Memory that was planned.
    pub planned_bytes: u64,
}

/// What came of a run.
pub struct Written {
    /// What `training.json` holds.
    pub record: Value,
    /// How the run ended.
    pub ended: Ended,
    base: Option<Score>,
    tuned: Option<Score>,
    exported: Option<Exported>,
    /// Whether an adapter was trained to be merged.
    is_quantized: bool,
}

/// A model that was written, opened again.
struct Exported {
    rounding: Rounding,
    score: Option<Score>,
}

impl Finish<'_> {
    /// Writes everything, `base` being how well the base says what is tested with.
    ///
    /// Errors: a file cannot be written, or does not read back as what was trained.
    pub fn write(
        &self,
        network: &Network<'_>,
        trainer: Trainer<'_>,
        (lesson, base): (&Lesson<'_>, Option<Score>),
        log: &Log,
        ended: Ended,
    ) -> Result<Written> {
        let steps = trainer.steps();
        // The last step has tested already, unless what came after the state was lost.
        let last = log.lines().last().filter(|line| line.step == steps).and_then(|line| line.valid);
        let tuned = last.or_else(|| lesson.test(&trainer));
        let is_quantized = trainer.has_seen_stored();
        let trained = trainer.into_trained();
        let (exported, unmerged) = match self.recipe.tuning {
            Tuning::Full => (Some(self.write_model(network, &trained, lesson)?), None),
            Tuning::LowRank(_) => {
                let mut adapter = network.adapter(&trained);
                let seen = self.recipe.quantized.filter(|_| is_quantized);
                adapter.trained_for = seen.map(|(format, _)| TrainedFor::new(format, &self.identity.base));
                (None, self.write_adapter(&adapter, lesson)?)
            }
        };
        plot::write_svg(&Target::at(&self.folder.path().join("loss.svg"))?, log.lines())?;
        let mut record = json!({
            "program": format!("gptoss {}", env!("CARGO_PKG_VERSION")),
            "model": self.opened.source.name(),
            "base": self.identity.base,
            "data": {
                "file": self.args.file.display().to_string(),
                "checksum": self.identity.data,
                "train_texts": self.recipe.course.num_texts(),
                "valid_texts": self.rows.num_valid(),
            },
            "recipe": self.recipe.to_json(),
            "steps": steps,
            "trained_numbers": trained.len(),
            "seconds": log.lines().iter().map(|line| line.seconds).sum::<f64>(),
            "tokens": log.lines().iter().map(|line| line.tokens).sum::<usize>(),
            "first_loss": log.lines().first().map(|line| line.score.loss),
            "balance": {
                "first": log.lines().first().and_then(|line| line.score.balance),
                "last": log.lines().last().and_then(|line| line.score.balance),
            },
            "last_loss": log.lines().last().map(|line| line.score.loss),
            "memory": {"planned_bytes": self.planned_bytes, "peak_bytes": machine::peak_bytes()},
            "valid_loss": {"base": base.map(|score| score.loss), "tuned": tuned.map(|score| score.loss)},
            "valid": {"base": base.map(Score::to_json), "tuned": tuned.map(Score::to_json)},
            "ended": match &ended {
                Ended::NotFinite(error) => error.to_string(),
                Ended::Done | Ended::Interrupted => "done".to_owned(),
            },
        });
        if let Some(Exported { rounding, score }) = &exported {
            record["rounding"] = json!({"bf16": rounding.bf16, "mxfp4": rounding.mxfp4});
            record["valid_loss"]["written"] = json!(score.map(|score| score.loss));
            record["valid"]["written"] = json!(score.map(Score::to_json));
        }
        if unmerged.is_some() {
            record["valid_loss"]["unmerged"] = json!(unmerged);
        }
        self.write_record(&record)?;
        Ok(Written { record, ended, base, tuned, exported, is_quantized })
    }

    /// Writes `training.json`.
    ///
    /// Errors: the disk's.
    pub fn write_record(&self, record: &Value) -> Result<()> {
        let target = Target::at(&self.folder.path().join(RECORD))?;
        target.write(|out| Ok(writeln!(out, "{record:#}")?))
    }

    /// The loss with the adapter beside the weights, where that is another model than was trained.
    ///
    /// Errors: what was written is not read as what was trained.
    fn write_adapter(&self, adapter: &Adapter, lesson: &Lesson<'_>) -> Result<Option<f64>> {
        let (folder, checkpoint) = (self.folder.path(), &self.opened.checkpoint);
        write_adapter(folder, adapter, checkpoint.config(), &self.opened.source.name(), FactorDtype::F32)?;
        let read = read_adapter(folder, checkpoint, None)
            .with_context(|| format!("{}: the adapter that was written cannot be read", folder.display()))?;
        let same = adapter.pairs.iter().all(|(site, pair)| read.adapter.pairs.get(site) == Some(pair));
        let is_as_marked = adapter.trained_for == read.adapter.trained_for;
        if !same || adapter.rows != read.adapter.rows || !is_as_marked {
            bail!("{}: the adapter does not read back as what was trained", folder.display());
        }
        if adapter.trained_for.is_none() {
            return Ok(None);
        }
        let weights = Weights::open(checkpoint, None)?;
        let unmerged = weights.tuned(Some(&read.adapter));
        Ok(lesson.test_written(&unmerged, self.pool, self.recipe.tokens).map(|score| score.loss))
    }

    fn write_model(&self, network: &Network<'_>, trained: &Trained, lesson: &Lesson<'_>) -> Result<Exported> {
        let (folder, base) = (self.folder.path(), &self.opened.checkpoint);
        let rounding = write_folder(folder, base, network, trained)?;
        self.write_tokenizer(folder)?;
        let written = Checkpoint::open(folder)
            .with_context(|| format!("{}: the model that was written cannot be opened", folder.display()))?;
        let weights = Weights::open(&written, None)?;
        let model = weights.tuned(None);
        if network.stored.is_some() && !model.is_same_as(self.pool, network, trained) {
            bail!("{}: the model does not read back as what was trained", folder.display());
        }
        let score = lesson.test_written(&model, self.pool, self.recipe.tokens);
        Ok(Exported { rounding, score })
    }

    fn write_tokenizer(&self, folder: &Path) -> Result<()> {
        let write =
            |name: &str, bytes: &[u8]| Target::at(&folder.join(name))?.write(|out| Ok(out.write_all(bytes)?));
        for name in TOKENIZER {
            if let Some(file) =
                self.opened.folder().map(|folder| folder.join(name)).filter(|file| file.exists())
            {
                let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                write(name, &bytes)?;
            }
        }
        if folder.join(TOKENIZER[0]).exists() {
            return Ok(());
        }
        match self.opened.checkpoint.tokenizer_json()? {
            Some(bytes) => write(TOKENIZER[0], &bytes),
            // The published one is known to every program by the size of the model.
            None if self.opened.checkpoint.config().vocab_size == PUBLISHED_VOCAB_SIZE => Ok(()),
            None => write(TOKENIZER[0], &self.vocab.to_tokenizer_json()),
        }
    }

    /// Says what came of it, for people or as one JSON object.
    ///
    /// Errors: standard output's.
    pub fn tell(&self, written: &Written, gate: Option<&Outcome>) -> Result<()> {
        let (record, exported) = (&written.record, written.exported.as_ref());
        let mut out = io::stdout().lock();
        if self.args.json {
            return Ok(writeln!(out, "{record}")?);
        }
        let number = |name: &str| record[name].as_f64().unwrap_or(f64::NAN);
        let what = if exported.is_some() { "model" } else { "adapter" };
        let (folder, steps) = (self.folder.path().display(), &record["steps"]);
        writeln!(out, "{folder}: {what} after {steps} steps, {} numbers trained", record["trained_numbers"])?;
        writeln!(
            out,
            "loss: {:.4} at the first step, {:.4} at the last",
            number("first_loss"),
            number("last_loss")
        )?;
        if let (Some(base), Some(tuned)) = (written.base, written.tuned) {
            let (count, what) = (self.rows.num_valid(), self.rows.what());
            writeln!(
                out,
                "tested on {count} {what} that were not learned: {} with the base, {} tuned",
                base.describe(),
                tuned.describe()
            )?;
            if tuned.loss > base.loss {
                writeln!(out, "that is worse than the base: fewer epochs, a lower --lr, or more rows")?;
            }
        }
        let balance = &record["balance"];
        if let (Some(first), Some(last)) = (balance["first"].as_f64(), balance["last"].as_f64()) {
            writeln!(
                out,
                "balance of experts: {first:.3} at the first step, {last:.3} at the last; 1 is even"
            )?;
        }
        if let Some(Exported { rounding, score }) = exported {
            let experts = rounding
                .mxfp4
                .map_or(String::new(), |error| format!(", experts to MXFP4 ({:.2} %)", 100.0 * error));
            writeln!(out, "rounded to bf16 ({:.2} % of the numbers' size){experts}", 100.0 * rounding.bf16)?;
            if let Some(score) = score {
                writeln!(out, "tested as it was written: {}", score.describe())?;
            }
        }
        if exported.is_none() && written.is_quantized {
            self.tell_quantized(&mut out, &record["valid_loss"]["unmerged"])?;
        }
        if let Some(gate) = gate {
            gate.tell(&mut out)?;
        }
        Ok(out.flush()?)
    }

    /// Says what an adapter is that was trained to be merged.
    fn tell_quantized(&self, out: &mut dyn Write, unmerged: &Value) -> io::Result<()> {
        let Some((format, _)) = self.recipe.quantized else { return Ok(()) };
        let (folder, model) = (self.folder.path().display(), self.opened.source.name());
        writeln!(out, "what was trained and tested is the merged model:")?;
        let format = format.name();
        writeln!(out, "  gptoss adapter merge {folder} --model {model} --format {format} --out FOLDER")?;
        match unmerged.as_f64() {
            Some(loss) => writeln!(out, "served unmerged it is another one: {loss:.4} on the same texts"),
            None => Ok(()),
        }
    }
}
