//! Flags of `gptoss batch`.

use std::path::PathBuf;

use clap::Args;

use super::{ComputeArgs, EngineArgs, MODEL};

/// `gptoss batch`.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// Requests, a line of JSON each, as OpenAI's Batch API has them: {"custom_id", "method", "url", "body"}
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,
    /// Where results go, a line each; what an earlier run wrote there is kept and not asked again [default:
    /// FILE.output.jsonl]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The model that answers
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// Another name under which lines may ask for the model; may be repeated
    #[arg(long, value_name = "NAME")]
    pub alias: Vec<String>,
    /// Tell the model no date; the demo is told none anyway
    #[arg(long)]
    pub no_date: bool,
    /// Print one JSON object at the end: lines, answered, failed, kept, usage
    #[arg(long)]
    pub json: bool,
    /// Tokens of context to keep room for [default: the model's, at most 32768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How lines share the machine.
    #[command(flatten)]
    pub engine: EngineArgs,
}
