//! Flags of `gptoss launch`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::MODEL;

/// `gptoss launch`.
#[derive(Debug, Args)]
pub struct LaunchArgs {
    /// The program to start
    #[arg(value_enum)]
    pub client: ClientArg,
    /// Print the commands instead of running them
    #[arg(long)]
    pub print: bool,
    /// The model, for a server that has to be started [default: the one that `serve` would take]
    #[arg(long, short, value_name = "MODEL", help = MODEL)]
    pub model: Option<String>,
    /// A server that runs elsewhere [default: where `serve` would listen]
    #[arg(long, value_name = "URL", conflicts_with = "model")]
    pub url: Option<String>,
    /// A file with the key that the server asks for
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Read the server's settings from this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// What the program is given
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// A program that speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientArg {
    /// OpenAI's Codex, over the Responses API
    Codex,
    /// Anthropic's Claude Code, over the Messages API
    Claude,
    /// opencode, over Chat Completions
    Opencode,
}
