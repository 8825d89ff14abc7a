//! Flags of `gptoss eval`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::eval_repositories::RepositoryArgs;
use super::eval_run::{EvalCompareArgs, EvalRunArgs};

/// `gptoss eval`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct EvalArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<EvalCommand>,
    /// A benchmark to run.
    #[command(flatten)]
    pub run: EvalRunArgs,
}

/// What else can be done with a benchmark.
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Score recorded answers, without a model
    Score(Box<EvalScoreArgs>),
    /// Two runs of one task: their difference in pairs, with its interval
    Compare(EvalCompareArgs),
}

/// `gptoss eval score`.
#[derive(Debug, Args)]
pub struct EvalScoreArgs {
    /// mmlu, mmlu-pro, gpqa, aime, gsm8k, humaneval, ifeval, simpleqa, healthbench, bfcl, xstest, swe-bench,
    /// or a specification of your own: FILE.toml
    pub task: String,
    /// The benchmark's rows: JSON lines, JSON or CSV, also in gzip; several files are read one after the
    /// other
    #[arg(long, value_name = "FILE", required = true)]
    pub data: Vec<PathBuf>,
    /// The answers: rows with `id`, the row's own or its number, and `response`; rows of one id are repeats
    #[arg(long, value_name = "FILE.jsonl")]
    pub responses: PathBuf,
    /// Whose rules, and whose figures beside: gpt-oss, simple-evals, mlperf
    #[arg(long, value_name = "RECIPE", default_value = "gpt-oss")]
    pub recipe: String,
    /// Another rule for letters than the task's: abcd, abcd-strict, simple-evals, simple-evals-gpqa,
    /// mmlu-pro, mmlu-pro-first, mlperf
    #[arg(long, value_name = "RULE")]
    pub letter_rule: Option<String>,
    /// No lenient rule: of letters `abcd-strict` in the place of `abcd`, of GSM8K's numbers only `#### N`
    #[arg(long)]
    pub strict: bool,
    /// The effort that the answers were made with
    #[arg(long, value_enum)]
    pub effort: Option<EvalEffort>,
    /// The limit of tokens that they were made with
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// The temperature that they were made with
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Print one JSON object, with each item's extracted answer and verdict
    #[arg(long)]
    pub json: bool,
    /// End with 3 when the score, from 0 to 1, is below this
    #[arg(long, value_name = "SCORE")]
    pub fail_under: Option<f64>,
    /// Where patches are tried.
    #[command(flatten)]
    pub repositories: RepositoryArgs,
}

/// How much a model reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EvalEffort {
    /// A little
    Low,
    /// Some
    Medium,
    /// A lot
    High,
}

impl EvalEffort {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            EvalEffort::Low => "low",
            EvalEffort::Medium => "medium",
            EvalEffort::High => "high",
        }
    }
}
