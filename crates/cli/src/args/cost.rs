//! Flags of `gptoss cost`.

use std::path::PathBuf;

use clap::Args;

/// `gptoss cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// What is used, what a machine costs and how fast it is, and which prices it stands beside: a TOML file;
    /// docs/cost.md says what may be in it
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// Draw the costs of a month against the requests of a month
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Draw what the difference to the cheapest price becomes when each number is 30 % lower or higher
    #[arg(long, value_name = "FILE.svg")]
    pub sensitivity: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
