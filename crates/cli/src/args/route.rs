//! Flags of `gptoss route`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use gptoss_gateway::Label;

/// `gptoss route`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct RouteArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RouteCommand,
}

/// What can be done with a gateway's file.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Say where a request would go, and why; nothing is sent and no key is read
    Explain(RouteExplainArgs),
}

/// `gptoss route explain`.
#[derive(Debug, Args)]
pub struct RouteExplainArgs {
    /// The file of `serve --gateway`
    pub file: PathBuf,
    /// The model that the request names
    #[arg(long, short, value_name = "NAME")]
    pub model: String,
    /// How sensitive it is: any, internal, confidential or local_only
    #[arg(long, default_value = "any", value_parser = label)]
    pub label: Label,
    /// The API that it comes in
    #[arg(long, value_enum, default_value_t = ApiArg::Chat)]
    pub api: ApiArg,
    /// It offers tools
    #[arg(long)]
    pub tools: bool,
    /// The effort that it asks for, such as high
    #[arg(long, value_name = "EFFORT")]
    pub effort: Option<String>,
    /// How long its prompt is
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub prompt_tokens: u64,
    /// Most tokens of its answer
    #[arg(long, value_name = "N")]
    pub output_tokens: Option<u64>,
    /// A model that this machine serves; may be repeated
    #[arg(long, value_name = "NAME")]
    pub local: Vec<String>,
    /// As if that one did not answer: local, or an upstream's name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub down: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

fn label(name: &str) -> Result<Label, String> {
    Label::from_name(name).ok_or_else(|| "there are any, internal, confidential and local_only".to_owned())
}

/// The API that a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApiArg {
    /// Chat Completions
    Chat,
    /// Completions
    Completions,
    /// Responses
    Responses,
    /// Anthropic's Messages
    Messages,
}
