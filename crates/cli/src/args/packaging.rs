//! Flags of the hidden commands for those who package this program: `completions`, `manual`, `probe`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `gptoss completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Whose completions to print
    pub shell: Shell,
}

/// `gptoss manual`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The folder for the pages; made where it is not there
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `gptoss probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// What is asked; an answer of the status 200 is success
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8000/ready")]
    pub url: String,
}
