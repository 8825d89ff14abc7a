//! Flags of `gptoss agent`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::load::time;
use super::{BrowserSource, GenerationArgs};

/// `gptoss agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// What is to be done; `-`, or nothing when standard input is a pipe, reads it from there
    pub task: Vec<String>,
    /// The folder whose files the model works on; its AGENTS.md is read
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub workspace: PathBuf,
    /// What the model may use, separated by commas: shell (commands in the folder, behind walls),
    /// apply_patch (changes of its files, which can be taken back), python (behind walls and without the
    /// folder), browser (needs --browser), mcp:NAME (a server of --mcp)
    #[arg(long, value_name = "TOOLS", value_parser = ToolArg::from_str, value_delimiter = ',', default_value = "shell,apply_patch")]
    pub tools: Vec<ToolArg>,
    /// Where the browser of --tools searches and reads: corpus:DIR (a folder of texts), searxng:URL (pages
    /// are fetched here), exa (EXA_API_KEY), youcom (YDC_API_KEY), or fetch (pages alone)
    #[arg(long, value_name = "SOURCE", value_parser = BrowserSource::from_str)]
    pub browser: Option<BrowserSource>,
    /// The Python of --tools: a python.wasm for WASI, run in WebAssembly and within walls, in the place of
    /// the machine's; of builds with the feature `wasm`
    #[arg(long, value_name = "FILE")]
    pub python_wasm: Option<PathBuf>,
    /// Servers of the Model Context Protocol: JSON with an object `mcpServers`, as other programs have it, or
    /// TOML with tables `mcp_servers`, as Codex has it
    #[arg(long, value_name = "FILE")]
    pub mcp: Option<PathBuf>,
    /// Who approves of changes, which are shown before they are made: you each time, nobody (they are
    /// refused), or nobody (they are made)
    #[arg(long, value_enum, default_value_t = ApproveArg::Ask)]
    pub approve: ApproveArg,
    /// Most turns of the model
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_steps: u32,
    /// Most time for the whole task, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub max_time: Option<Duration>,
    /// Print what happens as JSON lines, in the events of `codex exec --json`
    #[arg(long)]
    pub json: bool,
    /// Show the reasoning, on standard error
    #[arg(long)]
    pub show_reasoning: bool,
    /// Take the last patch in the workspace back, and do nothing else; again takes back the one before
    #[arg(long, conflicts_with_all = ["task", "json"])]
    pub undo: bool,
    /// The model and how it answers; `--max-tokens` is for all turns together.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// A tool that the model may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolArg {
    /// Changes of files by patches.
    ApplyPatch,
    /// Commands in the folder.
    Shell,
    /// Python without the folder.
    Python,
    /// Searches and pages.
    Browser,
    /// A server of this name.
    Mcp(String),
}

impl ToolArg {
    /// The names that can be written, but for the servers'.
    pub const NAMES: &str = "shell,apply_patch,python,browser";
}

impl FromStr for ToolArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ToolArg, String> {
        match text {
            "apply_patch" => Ok(ToolArg::ApplyPatch),
            "shell" => Ok(ToolArg::Shell),
            "python" => Ok(ToolArg::Python),
            "browser" => Ok(ToolArg::Browser),
            _ => match text.strip_prefix("mcp:") {
                Some(name) if !name.is_empty() => Ok(ToolArg::Mcp(name.to_owned())),
                _ => Err(format!("there is no tool `{text}`; there are {}, and mcp:NAME", ToolArg::NAMES)),
            },
        }
    }
}

impl fmt::Display for ToolArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolArg::ApplyPatch => f.write_str("apply_patch"),
            ToolArg::Shell => f.write_str("shell"),
            ToolArg::Python => f.write_str("python"),
            ToolArg::Browser => f.write_str("browser"),
            ToolArg::Mcp(name) => write!(f, "mcp:{name}"),
        }
    }
}

/// Who approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApproveArg {
    /// You are asked before each change
    Ask,
    /// Changes are refused: the model may look
    Never,
    /// Changes are made without asking
    Auto,
}
