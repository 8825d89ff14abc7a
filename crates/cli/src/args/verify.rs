//! Flags of `gptoss verify`.

use std::path::PathBuf;

use clap::Args;

use super::MODEL;
use super::compute::ComputeArgs;

/// `gptoss verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The model that is looked at
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// Turns that are sampled at temperature 1 without a grammar; 0 for none
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub turns: u32,
    /// Prompts whose answers' mean length is compared with MLPerf's for gpt-oss-120b: JSON lines, each with
    /// `prompt` (a text) or `tokens` (token ids)
    #[arg(long, value_name = "FILE")]
    pub lengths: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}
