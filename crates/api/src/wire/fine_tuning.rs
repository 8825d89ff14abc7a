//! What do the bodies of the fine-tuning API look like?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// A number, or `auto` for the server to choose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a number")]
pub enum AutoOr {
    /// `auto`.
    Word(String),
    /// The number.
    Number(Number),
}

/// How much is learned at a time, how far it goes, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hyperparameters {
    /// Examples of a step, from 1 to 256.
    pub batch_size: Option<AutoOr>,
    /// Factor on the usual learning rate, above 0.
    pub learning_rate_multiplier: Option<AutoOr>,
    /// How often all examples are learned, from 1 to 50.
    pub n_epochs: Option<AutoOr>,
    /// Of `dpo` alone: how near the model stays to the one that learns, above 0 and at most 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<AutoOr>,
}

/// Learning from examples of what is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Supervised {
    /// How it learns.
    pub hyperparameters: Option<Hyperparameters>,
}

/// Learning from pairs of answers of which one is better.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dpo {
    /// How it learns.
    pub hyperparameters: Option<Hyperparameters>,
}

/// How is learned, as it is asked for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct TuningMethodRequest {
    /// `supervised`, or `dpo`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What `supervised` needs to know.
    pub supervised: Option<Supervised>,
    /// What `dpo` needs to know.
    pub dpo: Option<Dpo>,
    /// Not taken.
    pub reinforcement: Option<Value>,
}

/// How is learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TuningMethod {
    /// `supervised`, or `dpo`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it learns from examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervised: Option<Supervised>,
    /// How it learns from pairs of answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpo: Option<Dpo>,
}

impl TuningMethod {
    /// Learning from examples, or by a beta from pairs of answers.
    pub fn of(hyperparameters: Hyperparameters) -> TuningMethod {
        let is_dpo = hyperparameters.beta.is_some();
        let hyperparameters = Some(hyperparameters);
        match is_dpo {
            true => {
                TuningMethod { kind: "dpo".to_owned(), supervised: None, dpo: Some(Dpo { hyperparameters }) }
            }
            false => TuningMethod {
                kind: "supervised".to_owned(),
                supervised: Some(Supervised { hyperparameters }),
                dpo: None,
            },
        }
    }
}

/// What is trained of a model, which OpenAI's API has no words for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct TuningOptionsRequest {
    /// Rank of what is added to a matrix, from 1 to 1024.
    pub rank: Option<u32>,
    /// Scale of what is added: it is multiplied by `alpha / rank`.
    pub alpha: Option<f64>,
    /// What is trained: `attention`, `experts`, `tokens`, which are the rows of control tokens.
    pub sites: Option<Vec<String>>,
    /// Rank in the experts, where it is another.
    pub expert_rank: Option<u32>,
    /// Not taken but for 0.
    pub qat: Option<f64>,
    /// Longest example. Units: tokens.
    pub max_tokens: Option<u32>,
}

/// What is trained of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuningOptions {
    /// Rank of what is added to a matrix.
    pub rank: u32,
    /// Scale of what is added: it is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// What is trained: `attention`, `experts`, `tokens`.
    pub sites: Vec<String>,
    /// Rank in the experts.
    pub expert_rank: u32,
    /// Longest example. Units: tokens.
    pub max_tokens: u32,
}

/// A request for a tuned model.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct TuningRequest {
    /// The model that learns.
    pub model: Option<String>,
    /// The file with an example a line.
    pub training_file: Option<String>,
    /// A file with examples that are not learned, by which it is told how well it goes.
    pub validation_file: Option<String>,
    /// How is learned.
    pub method: Option<TuningMethodRequest>,
    /// As in `method`, where OpenAI's API had it before.
    pub hyperparameters: Option<Hyperparameters>,
    /// A word in the name of the tuned model, of letters, digits, `-`, `_` and `.`, at most 64.
    pub suffix: Option<String>,
    /// The same seed, files and numbers give the same model, from 0 to 2147483647.
    pub seed: Option<i64>,
    /// Pairs that are kept with it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Not taken.
    pub integrations: Option<Vec<Value>>,
    /// What is trained of the model.
    pub gptoss: Option<TuningOptionsRequest>,
}

/// Where a tuning job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TuningStatus {
    /// Its files are looked through.
    ValidatingFiles,
    /// Others are trained before it.
    Queued,
    /// It is trained.
    Running,
    /// Somebody has paused it.
    Paused,
    /// The tuned model is there.
    Succeeded,
    /// It could not be trained; `error` says why.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl TuningStatus {
    /// The word in bodies.
    pub fn word(self) -> &'static str {
        match self {
            TuningStatus::ValidatingFiles => "validating_files",
            TuningStatus::Queued => "queued",
            TuningStatus::Running => "running",
            TuningStatus::Paused => "paused",
            TuningStatus::Succeeded => "succeeded",
            TuningStatus::Failed => "failed",
            TuningStatus::Cancelled => "cancelled",
        }
    }

    /// Whether nothing changes any more.
    pub fn has_ended(self) -> bool {
        match self {
            TuningStatus::Succeeded | TuningStatus::Failed | TuningStatus::Cancelled => true,
            TuningStatus::ValidatingFiles
            | TuningStatus::Queued
            | TuningStatus::Running
            | TuningStatus::Paused => false,
        }
    }
}

/// Why a tuning job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TuningError {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The parameter at fault: `training_file` or `validation_file`.
    pub param: Option<String>,
}

/// A tuning job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TuningJob {
    /// Its id.
    pub id: String,
    /// Always `fine_tuning.job`.
    pub object: String,
    /// Units: seconds since 1970, as all times here.
    pub created_at: u64,
    /// Why it failed.
    pub error: Option<TuningError>,
    /// When it will probably have ended.
    pub estimated_finish: Option<u64>,
    /// The name to ask for, when it has succeeded.
    pub fine_tuned_model: Option<String>,
    /// When it ended.
    pub finished_at: Option<u64>,
    /// How it learns: `auto` until the files have been looked through, then numbers.
    pub hyperparameters: Hyperparameters,
    /// Always null.
    pub integrations: Option<Vec<Value>>,
    /// Pairs that are kept with it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// How is learned.
    pub method: TuningMethod,
    /// The model that learns.
    pub model: String,
    /// The tenant of the key that made it.
    pub organization_id: String,
    /// The file with the numbers of each step, when it has ended.
    pub result_files: Vec<String>,
    /// The seed.
    pub seed: u32,
    /// Where it is on its way.
    pub status: TuningStatus,
    /// Tokens that were read to learn, when it has succeeded.
    pub trained_tokens: Option<u64>,
    /// The file with what is learned.
    pub training_file: String,
    /// The word in the name of the tuned model.
    pub user_provided_suffix: Option<String>,
    /// The file by which it is told how well it goes.
    pub validation_file: Option<String>,
    /// What is trained of the model.
    pub gptoss: TuningOptions,
}

/// One page of tuning jobs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TuningJobList {
    /// Always `list`.
    pub object: &'static str,
    /// The jobs, the newest first.
    pub data: Vec<TuningJob>,
    /// Whether there are more behind it.
    pub has_more: bool,
}

/// How well a step went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuningMetrics {
    /// From 1.
    pub step: u64,
    /// The loss of what was learned.
    pub train_loss: Option<f64>,
    /// The share of its tokens that were the likeliest; with `dpo`, of its pairs whose better answer has
    /// become likelier beside the other.
    pub train_mean_token_accuracy: Option<f64>,
    /// The loss of some of the validation file.
    pub valid_loss: Option<f64>,
    /// The share of its tokens that were the likeliest.
    pub valid_mean_token_accuracy: Option<f64>,
    /// The loss of all of the validation file.
    pub full_valid_loss: Option<f64>,
    /// The share of its tokens that were the likeliest.
    pub full_valid_mean_token_accuracy: Option<f64>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TuningLevel {
    /// What happens usually.
    Info,
    /// What should be looked at.
    Warn,
    /// What ended it.
    Error,
}

/// What happened to a tuning job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuningEvent {
    /// Its id.
    pub id: String,
    /// Always `fine_tuning.job.event`.
    pub object: String,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// How much it matters.
    pub level: TuningLevel,
    /// A sentence for people.
    pub message: String,
    /// `message` or `metrics`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The numbers of `metrics`.
    pub data: Option<TuningMetrics>,
}

/// One page of events.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TuningEventList {
    /// Always `list`.
    pub object: &'static str,
    /// The events, the newest first.
    pub data: Vec<TuningEvent>,
    /// Whether there are more behind it.
    pub has_more: bool,
}

/// A model on the way to the tuned one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuningCheckpoint {
    /// Its id.
    pub id: String,
    /// Always `fine_tuning.job.checkpoint`.
    pub object: String,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// The name to ask for.
    pub fine_tuned_model_checkpoint: String,
    /// The job that it is of.
    pub fine_tuning_job_id: String,
    /// How well it did.
    pub metrics: TuningMetrics,
    /// The step behind which it was made.
    pub step_number: u64,
}

/// One page of checkpoints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TuningCheckpointList {
    /// Always `list`.
    pub object: &'static str,
    /// The checkpoints, the newest first.
    pub data: Vec<TuningCheckpoint>,
    /// Id of the first.
    pub first_id: Option<String>,
    /// Id of the last.
    pub last_id: Option<String>,
    /// Whether there are more behind it.
    pub has_more: bool,
}
