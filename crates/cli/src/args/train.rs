//! Flags of `gptoss train`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{Effort, MODEL, memory_size};

/// `gptoss train`.
#[derive(Debug, Args)]
#[command(after_help = TRY)]
pub struct TrainArgs {
    /// Rows to learn from, one JSON object a line: chats, prompts with completions, texts, tokens, or pairs
    /// of answers of which one is better (DPO); what `gptoss dataset` reads. `-` is standard input
    pub file: PathBuf,
    /// The model to start from
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// The folder to write: adapter or model, states, loss.csv, loss.svg, training.json
    #[arg(long, value_name = "DIR", required_unless_present_any = ["estimate", "lint_only"])]
    pub out: Option<PathBuf>,
    /// Go on from the newest state in DIR, to the same bytes; from the beginning where there is none
    #[arg(long)]
    pub resume: bool,
    /// Only say what it would take: memory by terms, and hours by a short measurement
    #[arg(long)]
    pub estimate: bool,
    /// Only look through the rows
    #[arg(long)]
    pub lint_only: bool,
    /// First show the first N samples, and what of them is learned
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show_mask: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Threads to compute with [default: all]; the numbers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory that the run may take, such as 24GiB; one that would take more is refused [default: what this
    /// machine has]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory: Option<u64>,
    /// Turns that the base and the tuned model write at the end, with no grammar that holds them; the exit
    /// code is 1 when more than one of 200 is malformed and more than of the base's. 0 for none
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub gate_turns: u32,
    /// What is learned.
    #[command(flatten)]
    pub tuning: TuningArgs,
    /// How steps go.
    #[command(flatten)]
    pub steps: StepArgs,
    /// What becomes of the rows.
    #[command(flatten)]
    pub data: DataArgs,
}

const TRY: &str = "\
Try it:
  gptoss train chats.jsonl --lint-only --show-mask 3     what would be learned
  gptoss train chats.jsonl --estimate                    memory and hours
  gptoss train chats.jsonl --out tuned                   an adapter for the demo model";

/// Flags for what is learned.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is learned")]
pub struct TuningArgs {
    /// Train every tensor of a small model, in f32, and write a model
    #[arg(long, conflicts_with_all = ["rank", "alpha", "sites", "expert_rank"])]
    pub full: bool,
    /// With --full: what the uneven use of experts weighs beside the loss of texts, 0 for nothing
    /// [default: 0.01]
    #[arg(long, value_name = "X", requires = "full", value_parser = balance)]
    pub balance: Option<f64>,
    /// Rank of the pairs beside the frozen matrices
    #[arg(long, value_name = "R", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub rank: u16,
    /// Numerator of the pairs' factor: ALPHA / R
    #[arg(long, value_name = "ALPHA", default_value_t = 16.0, value_parser = positive)]
    pub alpha: f64,
    /// Where pairs stand; `tokens` also trains the rows of harmony's control tokens
    #[arg(long, value_name = "SITE,...", value_delimiter = ',', default_value = "attention,experts")]
    pub sites: Vec<SiteArg>,
    /// Rank of the experts' pairs [default: R]; their factor stays ALPHA / R
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub expert_rank: Option<u16>,
    /// Train the model that a merge makes (quantization-aware): passes see experts rounded to MXFP4, and the
    /// rest to bf16, in the last SHARE of the steps [default without =SHARE: all]
    #[arg(
        long,
        value_name = "SHARE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = share
    )]
    pub qat: Option<f64>,
}

/// Where pairs stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SiteArg {
    /// The four projections of attention
    Attention,
    /// Gate, up and down projection of every expert
    Experts,
    /// Embedding and head of harmony's control tokens
    Tokens,
}

/// Flags for the steps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Steps")]
pub struct StepArgs {
    /// Highest learning rate [default: 2e-4, with --full 2e-5, for pairs of answers a tenth of it]
    #[arg(long, value_name = "X", value_parser = rate)]
    pub lr: Option<f64>,
    /// How often each text comes [default: 1 with 1,000 texts or more, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: Option<u32>,
    /// Texts of a step
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: u32,
    /// Most tokens of a text, and of the texts that go through the model together
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..=1_048_576))]
    pub tokens: u32,
    /// Steps until the highest learning rate [default: 3 % of all]
    #[arg(long, value_name = "N")]
    pub warmup: Option<u32>,
    /// Pull of the matrices towards zero, as AdamW has it
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = decay)]
    pub weight_decay: f64,
    /// For pairs of answers: what a nat counts by which the chosen one has become likelier than the
    /// rejected one; the larger, the nearer to the base the model stays [default: 0.1]
    #[arg(long, value_name = "X", value_parser = beta)]
    pub beta: Option<f64>,
    /// End after this many steps; the schedule is that of so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_steps: Option<u32>,
    /// Steps between states on disk; what a kill can lose
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub save_every: u32,
    /// Of the order of texts, and of the first pairs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// Flags for the rows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rows")]
pub struct DataArgs {
    /// Rows to test with: a file, or a share of DATA, such as 0.05, or 0 for none [default: 0.05]
    #[arg(long, value_name = "FILE|SHARE", value_parser = ValidArg::from_str)]
    pub valid: Option<ValidArg>,
    /// Cut the oldest turns of a history that is too long, instead of leaving the row out
    #[arg(long)]
    pub cut_history: bool,
    /// Read the reasoning and do not learn it
    #[arg(long)]
    pub mask_reasoning: bool,
    /// Reasoning effort of rows that do not say it [default: medium with reasoning, low without]
    #[arg(long, value_enum)]
    pub effort: Option<Effort>,
}

/// Rows to test with.
#[derive(Debug, Clone, PartialEq)]
pub enum ValidArg {
    /// Of a file.
    File(PathBuf),
    /// A share of the rows to learn from.
    Share(f64),
}

impl FromStr for ValidArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ValidArg, String> {
        match text.parse::<f64>() {
            Err(_) => Ok(ValidArg::File(PathBuf::from(text))),
            Ok(share) if (0.0..=0.5).contains(&share) => Ok(ValidArg::Share(share)),
            Ok(_) => Err("a share is from 0 to 0.5".to_owned()),
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    bounded(text, 1e-6..=1e6)
}

/// A learning rate: with at most 1, a step of AdamW moves no number by more than about that.
fn rate(text: &str) -> Result<f64, String> {
    bounded(text, f64::MIN_POSITIVE..=1.0)
}

fn beta(text: &str) -> Result<f64, String> {
    bounded(text, 1e-6..=100.0)
}

fn balance(text: &str) -> Result<f64, String> {
    bounded(text, 0.0..=100.0)
}

/// A share of the steps.
fn share(text: &str) -> Result<f64, String> {
    bounded(text, 1e-3..=1.0)
}

fn decay(text: &str) -> Result<f64, String> {
    bounded(text, 0.0..=1.0)
}

fn bounded(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|_| "not a number".to_owned())?;
    let (low, high) = (range.start(), range.end());
    if range.contains(&value) { Ok(value) } else { Err(format!("must be from {low:e} to {high:e}")) }
}
