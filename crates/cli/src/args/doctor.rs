//! Flags of `gptoss doctor`.

use std::path::PathBuf;

use clap::Args;

/// `gptoss doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Read settings from this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
