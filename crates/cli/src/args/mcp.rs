//! Flags of `gptoss mcp`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::BrowserSource;

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
    Browser {
        /// Where it searches and reads: corpus:DIR (a folder of text, Markdown and HTML), searxng:URL (pages
        /// are fetched here), exa (EXA_API_KEY), youcom (YDC_API_KEY), or fetch (pages alone)
        #[arg(value_name = "SOURCE", value_parser = BrowserSource::from_str)]
        source: BrowserSource,
        /// Where clients are.
        #[command(flatten)]
        clients: McpClientArgs,
    },
    /// The Python that gpt-oss was trained to use, in a cell for each session
    Python {
        /// A python.wasm for WASI, run in WebAssembly and within walls, in the place of the machine's; of
        /// builds with the feature `wasm`
        #[arg(long, value_name = "FILE")]
        python_wasm: Option<PathBuf>,
        /// Where clients are.
        #[command(flatten)]
        clients: McpClientArgs,
    },
}

/// Where clients are.
#[derive(Debug, Args)]
pub struct McpClientArgs {
    /// Serve over HTTP at this address, `/mcp` and the older `/sse`, such as 127.0.0.1:8001
    /// [default: standard input and output]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
}
