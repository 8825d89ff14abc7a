//! Flags of `gptoss plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::load::{rate, time};
use super::{ArrivalsArg, ComputeArgs, EngineArgs, Lengths, MODEL, Objective};

/// Most servers that are tried.
const WORKERS_MAX: u32 = 100_000;

/// `gptoss plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What steps cost: the file that --measure wrote, or rows of gptoss bench --json
    #[arg(long, value_name = "FILE.json", required_unless_present = "measure")]
    pub costs: Option<PathBuf>,
    /// Measure what steps of this model cost on this machine instead, and print that file
    #[arg(long, value_name = "MODEL", help = format!("Measure what steps of a model cost on this machine instead, and print that file: {MODEL}"), conflicts_with_all = ["costs", "workers", "slo", "plot", "json"])]
    pub measure: Option<String>,
    /// Tokens of context to keep room for, with --measure
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(256..))]
    pub context: u32,
    /// Servers; several by comma, one after the other [default: the fewest that keep --slo, else 1]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Vec<u32>,
    /// What 99 of 100 requests must keep: ttft, tpot (or itl) and e2e by comma, such as ttft=500ms,itl=50ms
    #[arg(long, value_name = "WHAT=TIME,...", value_delimiter = ',')]
    pub slo: Vec<Objective>,
    /// Most servers that are tried to keep --slo
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers_max: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Draw latencies by number of servers, and how the times to the first token are distributed
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// What comes.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Who answers.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// How the numbers are made, with --measure.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How conversations share a machine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Flags for what comes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traffic")]
pub struct TrafficArgs {
    /// Requests a second
    #[arg(long, value_name = "R", default_value = "1", value_parser = rate)]
    pub rate: f64,
    /// How requests follow each other
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Poisson)]
    pub arrivals: ArrivalsArg,
    /// Requests come in bursts: the deviation of the time between them over its mean, which is 1 for poisson
    #[arg(long, value_name = "X", conflicts_with = "arrivals", value_parser = burstiness)]
    pub burstiness: Option<f64>,
    /// Requests
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub requests: u32,
    /// Tokens of a prompt: 512 | 128..1024 (uniform) | 512~64 (normal) | lognormal:512~256
    #[arg(long, value_name = "LENGTHS", default_value = "512")]
    pub prompt_tokens: Lengths,
    /// Tokens of an answer, in the same forms
    #[arg(long, value_name = "LENGTHS", default_value = "128")]
    pub output_tokens: Lengths,
    /// Beginnings that prompts share, such as system prompts: each prompt has one of so many
    #[arg(long, value_name = "N", default_value_t = 0, requires = "prefix_tokens", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub prefixes: u32,
    /// Tokens of such a beginning, which are among those of the prompt
    #[arg(long, value_name = "LENGTHS")]
    pub prefix_tokens: Option<Lengths>,
    /// Requests from a file in their place: a line each with {"at": SECONDS, "prompt_tokens",
    /// "output_tokens"} and perhaps "prefix": NAME and "prefix_tokens"
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["rate", "arrivals", "burstiness", "requests", "prompt_tokens", "output_tokens", "prefixes", "prefix_tokens"])]
    pub trace: Option<PathBuf>,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// Flags for who answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fleet")]
pub struct FleetArgs {
    /// Where the router sends a request
    #[arg(long, value_enum, default_value_t = RouterArg::LeastLoad)]
    pub router: RouterArg,
    /// Mean time between failures of a server [default: none fails]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub mtbf: Option<Duration>,
    /// Mean time until a server that failed is back, with an empty cache
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub mttr: Duration,
    /// What becomes of answers that had begun on a server that fails
    #[arg(long, value_enum, default_value_t = BegunArg::Cut)]
    pub begun: BegunArg,
}

/// Where a router sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RouterArg {
    /// To one after the other
    RoundRobin,
    /// To any
    Random,
    /// To the one that has fewest requests
    LeastLoad,
    /// To the one that has most of the prompt in its cache, as events of kept blocks tell, unless it has many
    /// more requests than others
    PrefixAware,
}

/// What becomes of an answer that had begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BegunArg {
    /// It is cut, as over HTTP
    Cut,
    /// It goes on elsewhere, as behind a router that sends the tokens so far along
    Migrate,
}

/// A deviation over a mean.
fn burstiness(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.01..=100.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a burstiness: write a number from 0.01 to 100"))
}
