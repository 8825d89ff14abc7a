//! Tuning jobs of a server: the rows and recipe of `gptoss train`, on a seat that may be asked to give way.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use gptoss_checkpoint::{FactorDtype, write_adapter};
use gptoss_dataset::{Dataset, Reason, Sample};
use gptoss_kernels::{Pool, keep_freed_memory};
use gptoss_server::{
    DataFile, DataProblem, DataReport, TrainingData, TrainingEnd, TrainingMethod, TrainingNumbers,
    TrainingOrder, TrainingReport, TrainingRunner, TrainingSeat, TuningMetrics,
};
use gptoss_train::{Error, Trainer, Weights};

use crate::args::{DataArgs, SiteArg, StepArgs, TrainArgs, TuningArgs, ValidArg};
use crate::dataset;
use crate::model_source::{ModelSource, Opened};

use super::estimate::Plan;
use super::lesson::Lesson;
use super::recipe::Recipe;
use super::rows::{Rows, is_learnable, options};

/// Steps between states on disk: what a kill can lose.
const SAVE_EVERY: u32 = 50;
/// The adapter of a training that has taken all its steps.
const FINAL: &str = "final";

/// Trains the models of a server.
pub struct JobRunner {
    /// By the names that clients ask for.
    pub models: Vec<(String, ModelSource)>,
    /// Threads to compute with.
    pub threads: u16,
}

impl TrainingRunner for JobRunner {
    fn check(&self, data: &TrainingData) -> Result<DataReport, String> {
        self.look(data).map_err(|error| format!("{error:#}"))
    }

    fn train(&self, order: &TrainingOrder, seat: &TrainingSeat) -> TrainingEnd {
        // Requests give back what they free; a job does not until it ends.
        keep_freed_memory(true);
        let end = self.steps(order, seat);
        keep_freed_memory(false);
        end.unwrap_or_else(|error| TrainingEnd::Failed { message: format!("{error:#}") })
    }
}

impl JobRunner {
    fn open(&self, name: &str) -> Result<Opened> {
        let found = self.models.iter().find(|(model, _)| model == name);
        let (_, source) = found.with_context(|| format!("the model {name} is not served any more"))?;
        Opened::open(source.clone())
    }

    /// What a user would have asked of `gptoss train`.
    fn args(&self, data: &TrainingData, numbers: Option<(&TrainingNumbers, u32)>) -> TrainArgs {
        let options = &data.options;
        let rank = |rank: u32| u16::try_from(rank).unwrap_or(u16::MAX);
        let site = |site: &String| match site.as_str() {
            "attention" => Some(SiteArg::Attention),
            "experts" => Some(SiteArg::Experts),
            "tokens" => Some(SiteArg::Tokens),
            _ => None,
        };
        let sites: Vec<SiteArg> = options.sites.iter().filter_map(site).collect();
        let expert_rank = sites.contains(&SiteArg::Experts).then(|| rank(options.expert_rank));
        let valid = data.validation.clone().map_or(ValidArg::Share(0.0), ValidArg::File);
        TrainArgs {
            file: data.training.clone(),
            model: data.base.clone(),
            out: None,
            resume: true,
            estimate: false,
            lint_only: false,
            show_mask: 0,
            json: false,
            threads: Some(self.threads),
            memory: None,
            gate_turns: 0,
            tuning: TuningArgs {
                full: false,
                balance: None,
                rank: rank(options.rank),
                alpha: options.alpha,
                sites,
                expert_rank,
                qat: None,
            },
            steps: StepArgs {
                lr: numbers.map(|(numbers, _)| numbers.learning_rate()),
                beta: numbers.and_then(|(numbers, _)| numbers.beta),
                epochs: numbers.map(|(numbers, _)| numbers.n_epochs),
                batch: numbers.map_or(1, |(numbers, _)| numbers.batch_size),
                tokens: options.max_tokens,
                warmup: None,
                weight_decay: 0.0,
                max_steps: None,
                save_every: SAVE_EVERY,
                seed: numbers.map_or(0, |(_, seed)| u64::from(seed)),
            },
            data: DataArgs { valid: Some(valid), cut_history: false, mask_reasoning: false, effort: None },
        }
    }

    fn look(&self, data: &TrainingData) -> Result<DataReport> {
        let (opened, args) = (self.open(&data.base)?, self.args(data, None));
        let (vocab, options) = (opened.vocab()?, options(&args, &opened));
        let training = dataset::read(&data.training, &vocab, &options, None)?;
        let num_examples = num_examples(&training, data.method);
        let mut report = DataReport { num_examples, ..DataReport::default() };
        report.problems.extend(problems(&training, DataFile::Training, data.method));
        let read = |file: &PathBuf| dataset::read(file, &vocab, &options, Some(&training));
        let validation = data.validation.as_ref().map(read).transpose()?;
        if let Some(validation) = &validation {
            report.num_validation_examples = self::num_examples(validation, data.method);
            report.problems.extend(problems(validation, DataFile::Validation, data.method));
        }
        if report.num_examples > 0 && report.problems.iter().all(|problem| !problem.is_wrong) {
            let rows = Rows::of(&args, training, |_| Ok(validation))?;
            let recipe = Recipe::of(&args, &rows, &opened, &vocab)?;
            Plan::of(&args, &opened, &recipe, &rows).refuse_too_large(&args)?;
        }
        Ok(report)
    }

    /// Takes the steps that are left.
    fn steps(&self, order: &TrainingOrder, seat: &TrainingSeat) -> Result<TrainingEnd> {
        let args = self.args(&order.data, Some((&order.numbers, order.seed)));
        let opened = self.open(&order.data.base)?;
        let vocab = opened.vocab()?;
        let rows = Rows::read(&args, &opened, &vocab)?;
        let recipe = Recipe::of(&args, &rows, &opened, &vocab)?;
        Plan::of(&args, &opened, &recipe, &rows).refuse_too_large(&args)?;
        let identity = recipe.identity(&rows, &opened)?;
        let (pool, weights) =
            (Pool::new(usize::from(self.threads)), Weights::open(&opened.checkpoint, None)?);
        let (network, trained) = recipe.network(&weights);
        let mut trainer = recipe.trainer(&pool, &network, trained);
        // Before a state is taken up: what the base makes of the rows is part of the lesson.
        let Some(lesson) = Lesson::of(&rows, &recipe, &trainer, || seat.goes_on()) else {
            return Ok(TrainingEnd::Stopped);
        };
        let states = order.work.join("state");
        trainer.restore(&states, &identity)?;
        let write = |trainer: &Trainer<'_>, name: &str| {
            let adapter = network.adapter(trainer.trained());
            let config = opened.checkpoint.config();
            let write = |folder: &Path| {
                Ok(write_adapter(folder, &adapter, config, &opened.source.name(), FactorDtype::F32)?)
            };
            write_whole(&order.adapters.join(name), write)
        };
        let course = &recipe.course;
        let num_steps = course.steps();
        while trainer.steps() < num_steps {
            if !seat.goes_on() {
                trainer.save(&states, &identity)?;
                return Ok(TrainingEnd::Stopped);
            }
            let before = trainer.steps();
            let step = before + 1;
            let score = match lesson.step(&mut trainer, &recipe) {
                Ok((_, score)) => score,
                Err(error @ Error::NotFinite { .. }) => {
                    return Ok(TrainingEnd::Failed {
                        message: format!("{error}: a smaller learning_rate_multiplier may help"),
                    });
                }
                Err(error) => return Err(error.into()),
            };
            let ends_epoch = course.ends_epoch(before);
            let valid = if ends_epoch { lesson.test(&trainer) } else { None };
            let metrics = TuningMetrics {
                step,
                train_loss: Some(score.loss),
                train_mean_token_accuracy: score.accuracy,
                full_valid_mean_token_accuracy: valid.and_then(|score| score.accuracy),
                full_valid_loss: valid.map(|score| score.loss),
                ..TuningMetrics::default()
            };
            // Told before it is saved: what a kill takes is told again, and nothing stays untold.
            seat.tell(TrainingReport::Step { metrics, num_steps });
            if ends_epoch {
                let adapter = format!("step-{step}");
                write(&trainer, &adapter)?;
                seat.tell(TrainingReport::Checkpoint { metrics, adapter });
            }
            if ends_epoch || step.is_multiple_of(u64::from(SAVE_EVERY)) {
                trainer.save(&states, &identity)?;
            }
        }
        write(&trainer, FINAL)?;
        let texts = rows.train_texts();
        let answers = rows.answers(&texts);
        let trained_tokens =
            course.sum(|place| answers[place].iter().map(|text| text.tokens.len() as u64).sum());
        Ok(TrainingEnd::Finished { adapter: FINAL.to_owned(), trained_tokens })
    }
}

/// Writes a folder whole or not at all, in the place of what a kill has left of it.
fn write_whole(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let part: PathBuf = folder.with_extension("part");
    for old in [&part, folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot clear {}", old.display()))?;
        }
    }
    write(&part)?;
    fs::rename(&part, folder).map_err(|error| anyhow!("cannot write {}: {error}", folder.display()))
}

/// Rows of the right kind that something can be learned of.
fn num_examples(dataset: &Dataset, method: TrainingMethod) -> u64 {
    let is_one = |(_, sample): &&(usize, Sample)| fits(sample, method) && sample.examples().all(is_learnable);
    dataset.samples.iter().filter(is_one).count() as u64
}

fn fits(sample: &Sample, method: TrainingMethod) -> bool {
    match method {
        TrainingMethod::Supervised => matches!(sample, Sample::Text(_)),
        TrainingMethod::Dpo => matches!(sample, Sample::Pair { .. }),
    }
}

/// Rows that nothing is learned of: wrong ones, and those that are left out of a file that is right.
fn problems(dataset: &Dataset, file: DataFile, method: TrainingMethod) -> Vec<DataProblem> {
    let left_out = dataset.report.left_out.iter().map(|(line, reason)| DataProblem {
        file,
        line: *line,
        why: reason.to_string(),
        is_wrong: is_wrong(reason),
    });
    let why = match method {
        TrainingMethod::Supervised => {
            "it is a pair of answers to choose from, which are not learned by 'supervised' but by 'dpo'"
        }
        TrainingMethod::Dpo => {
            "it is not a pair of answers to choose from ('input', 'preferred_output', 'non_preferred_output'), and \
             'dpo' learns nothing else"
        }
    };
    let others = dataset.samples.iter().filter(|(_, sample)| !fits(sample, method));
    let others =
        others.map(|(line, _)| DataProblem { file, line: *line, why: why.to_owned(), is_wrong: true });
    left_out.chain(others).collect()
}

fn is_wrong(reason: &Reason) -> bool {
    match reason {
        Reason::MarkedBad
        | Reason::TooLong { .. }
        | Reason::CutApart
        | Reason::NoTarget
        | Reason::Duplicate { .. }
        | Reason::Overlap { .. } => false,
        Reason::TooManyBytes { .. }
        | Reason::NotJson { .. }
        | Reason::NotAnObject
        | Reason::UnknownColumns { .. }
        | Reason::Column { .. }
        | Reason::Body { .. }
        | Reason::Role { .. }
        | Reason::NoTurn
        | Reason::SpeaksFirst { .. }
        | Reason::EmptyAnswer { .. }
        | Reason::SecondAnswer { .. }
        | Reason::SeveralCalls { .. }
        | Reason::UndeclaredTool { .. }
        | Reason::ArgumentsNotJson { .. }
        | Reason::ControlText { .. }
        | Reason::SamePair => true,
    }
}
