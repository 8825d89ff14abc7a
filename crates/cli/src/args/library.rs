//! Flags of `gptoss list`, `show` and `rm`, and of `pull`, which fills what they look at.

use clap::{Args, value_parser};

use super::PrecisionArg;

/// `gptoss pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The repository, for example openai/gpt-oss-20b; of several GGUF models :QUANT names one
    #[arg(value_name = "ORG/NAME[:QUANT]")]
    pub repository: String,
    /// A branch, tag or commit
    #[arg(long, value_name = "R", default_value = "main")]
    pub revision: String,
    /// Of a repository of GGUF files, those whose names fit, such as '*Q8_0*'; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
}

/// `gptoss list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Tokens of context to plan memory for [default: the model's, at most 32768]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// fast or exact: decides the bytes of the KV cache
    #[arg(long, value_enum, default_value_t = PrecisionArg::Fast)]
    pub precision: PrecisionArg,
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// `gptoss rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The repository, all of it, or with @REVISION one branch, tag or commit
    #[arg(value_name = "ORG/NAME[@REVISION]")]
    pub model: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
