//! Flags of `gptoss mcp`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `gptoss mcp`.
#[derive(Debug, Args)]
pub struct McpArgs {
    /// Which tool.
    #[command(subcommand)]
    pub tool: McpToolCommand,
}

/// A tool that is served.
#[derive(Debug, Subcommand)]
pub enum McpToolCommand {
    /// The browser that gpt-oss was trained to use: search, open, find
    Browser(McpBrowserArgs),
}

/// `gptoss mcp browser`.
#[derive(Debug, Args)]
pub struct McpBrowserArgs {
    /// Browse the files of this folder: text, Markdown and HTML
    #[arg(long, value_name = "DIR")]
    pub corpus: PathBuf,
    /// Where clients are.
    #[command(flatten)]
    pub clients: McpClientArgs,
}

/// Where clients are.
#[derive(Debug, Args)]
pub struct McpClientArgs {
    /// Serve over HTTP at this address, `/mcp` and the older `/sse`, such as 127.0.0.1:8001
    /// [default: standard input and output]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
}
