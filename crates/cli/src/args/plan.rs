//! Flags of `gptoss plan`. Those of traffic and fleet are also the tables of a file of scenarios, so that
//! there is one list of names and of ranges; what neither says has the defaults that are named here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::load::{rate, time};
use super::scenario_value::{lengths, number, numbers, times, whole};
use super::{ArrivalsArg, ComputeArgs, EngineArgs, Lengths, MODEL, Objective};

/// Most servers that are tried.
pub const WORKERS_MAX: u32 = 100_000;
/// Most requests, and most requests of a conversation.
pub const REQUESTS_MAX: u32 = 10_000_000;
pub const TURNS_MAX: u32 = 100;
/// Most beginnings that prompts share.
pub const PREFIXES_MAX: u32 = 1_000_000;
/// Most servers of one machine.
pub const PER_MACHINE_MAX: u32 = 64;
/// Most sequences that an engine runs at a time.
const SEQUENCES_MAX: u32 = 1024;

/// `gptoss plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What steps cost: the file that --measure wrote, or rows of gptoss bench --json
    #[arg(long, value_name = "FILE.json", required_unless_present_any = ["measure", "scenario"])]
    pub costs: Option<PathBuf>,
    /// Measure what steps of this model cost on this machine instead, and print that file
    #[arg(long, value_name = "MODEL", help = format!("Measure what steps of a model cost on this machine instead, and print that file: {MODEL}"), conflicts_with_all = ["costs", "scenario", "workers", "slo", "plot", "json"])]
    pub measure: Option<String>,
    /// Scenarios from files of TOML, one after the other; flags win over what they say
    #[arg(long, value_name = "FILE.toml")]
    pub scenario: Vec<PathBuf>,
    /// Of these, the one of this name alone
    #[arg(long, value_name = "NAME", requires = "scenario")]
    pub only: Option<String>,
    /// Tokens of context to keep room for, with --measure
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(256..))]
    pub context: u32,
    /// What 99 of 100 requests must keep: ttft, tpot (or itl) and e2e by comma, such as ttft=500ms,itl=50ms;
    /// one that is not answered keeps none
    #[arg(long, value_name = "WHAT=TIME,...", value_delimiter = ',')]
    pub slo: Vec<Objective>,
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

/// Flags for what comes, and the table `traffic` of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[command(next_help_heading = "Traffic")]
#[serde(deny_unknown_fields, default)]
pub struct TrafficArgs {
    /// Requests a second, or with --turns conversations [default: 1]
    #[arg(long, value_name = "R", value_parser = rate)]
    #[serde(deserialize_with = "rates")]
    pub rate: Option<f64>,
    /// How they follow each other [default: poisson]
    #[arg(long, value_enum)]
    pub arrivals: Option<ArrivalsArg>,
    /// They come in bursts: the deviation of the time between them over its mean, which is 1 for poisson
    #[arg(long, value_name = "X", conflicts_with = "arrivals", value_parser = burstiness)]
    #[serde(deserialize_with = "burstinesses")]
    pub burstiness: Option<f64>,
    /// Requests, or with --turns conversations [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REQUESTS_MAX)))]
    #[serde(deserialize_with = "whole::<_, 1, REQUESTS_MAX>")]
    pub requests: Option<u32>,
    /// Tokens of a prompt: 512 | 128..1024 (uniform) | 512~64 (normal) | lognormal:512~256; of a later turn,
    /// those that are new [default: 512]
    #[arg(long, value_name = "LENGTHS")]
    #[serde(deserialize_with = "lengths")]
    pub prompt_tokens: Option<Lengths>,
    /// Tokens of an answer, in the same forms [default: 128]
    #[arg(long, value_name = "LENGTHS")]
    #[serde(deserialize_with = "lengths")]
    pub output_tokens: Option<Lengths>,
    /// Beginnings that prompts share, such as system prompts: each prompt has one of so many [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(PREFIXES_MAX)))]
    #[serde(deserialize_with = "whole::<_, 0, PREFIXES_MAX>")]
    pub prefixes: Option<u32>,
    /// Tokens of such a beginning, which are among those of the prompt
    #[arg(long, value_name = "LENGTHS")]
    #[serde(deserialize_with = "lengths")]
    pub prefix_tokens: Option<Lengths>,
    /// Which share of the prompts has one, from 0 to 1 [default: 1]
    #[arg(long, value_name = "X", value_parser = share)]
    #[serde(deserialize_with = "shares")]
    pub prefix_share: Option<f64>,
    /// Requests of a conversation: each holds those before it and their answers [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(TURNS_MAX)))]
    #[serde(deserialize_with = "whole::<_, 1, TURNS_MAX>")]
    pub turns: Option<u32>,
    /// With --turns: from the end of an answer to the next request, in the mean [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[serde(deserialize_with = "times")]
    pub think: Option<Duration>,
    /// Requests from a file in their place: a line each with {"at": SECONDS, "prompt_tokens",
    /// "output_tokens"} and perhaps "prefix": NAME and "prefix_tokens"
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["rate", "arrivals", "burstiness", "requests", "prompt_tokens", "output_tokens", "prefixes", "prefix_tokens", "prefix_share", "turns", "think"])]
    pub trace: Option<PathBuf>,
    /// Seed of everything that is drawn [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Flags for who answers, and the table `fleet` of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[command(next_help_heading = "Fleet")]
#[serde(deny_unknown_fields, default)]
pub struct FleetArgs {
    /// Servers; several by comma, one after the other [default: the fewest that keep --slo, else 1]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    #[serde(deserialize_with = "numbers::<_, 1, WORKERS_MAX>")]
    pub workers: Vec<u32>,
    /// Most servers that are tried to keep --slo [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    #[serde(deserialize_with = "whole::<_, 1, WORKERS_MAX>")]
    pub workers_max: Option<u32>,
    /// Servers of one machine, which slow each other down as --measure with the same flag has found
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PER_MACHINE_MAX)))]
    #[serde(deserialize_with = "whole::<_, 1, PER_MACHINE_MAX>")]
    pub per_machine: Option<u32>,
    /// Where the router sends a request [default: least-load]
    #[arg(long, value_enum)]
    pub router: Option<RouterArg>,
    /// Mean time between failures of a server [default: none fails]
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[serde(deserialize_with = "times")]
    pub mtbf: Option<Duration>,
    /// Time until a server that failed is back, with an empty cache [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[serde(deserialize_with = "times")]
    pub mttr: Option<Duration>,
    /// What becomes of answers that had begun on a server that fails [default: cut]
    #[arg(long, value_enum)]
    pub begun: Option<BegunArg>,
    /// Sequences of an engine at a time, in place of what was measured; as a flag it is --max-sequences.
    #[arg(skip)]
    #[serde(deserialize_with = "whole::<_, 1, SEQUENCES_MAX>")]
    pub max_sequences: Option<u32>,
}

/// Where a router sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterArg {
    /// To one after the other
    RoundRobin,
    /// To any
    Random,
    /// To the one that has fewest requests
    #[default]
    LeastLoad,
    /// To the one that has most of the prompt in its cache, as events of kept blocks tell, unless it has many
    /// more requests than others
    PrefixAware,
}

/// What becomes of an answer that had begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BegunArg {
    /// It is cut, as over HTTP
    #[default]
    Cut,
    /// It goes on elsewhere, as behind a router that sends the tokens so far along
    Migrate,
}

impl TrafficArgs {
    /// Whether it says how requests are drawn.
    pub fn is_drawn(&self) -> bool {
        let TrafficArgs { seed, trace, .. } = self.clone();
        *self != TrafficArgs { seed, trace, ..TrafficArgs::default() }
    }

    /// These flags, and what they leave open from a file. A recording and what is drawn exclude each other,
    /// and so do the kinds of arrivals: what the flags say drops what the file has of the other.
    pub fn over(&self, file: &TrafficArgs) -> TrafficArgs {
        let file = match (&self.trace, self.is_drawn()) {
            (Some(_), _) => TrafficArgs { seed: file.seed, ..TrafficArgs::default() },
            (None, true) => TrafficArgs { trace: None, ..file.clone() },
            (None, false) => file.clone(),
        };
        let flags = self.clone();
        TrafficArgs {
            rate: flags.rate.or(file.rate),
            arrivals: flags.arrivals.or(file.arrivals.filter(|_| flags.burstiness.is_none())),
            burstiness: flags.burstiness.or(file.burstiness.filter(|_| flags.arrivals.is_none())),
            requests: flags.requests.or(file.requests),
            prompt_tokens: flags.prompt_tokens.or(file.prompt_tokens),
            output_tokens: flags.output_tokens.or(file.output_tokens),
            prefixes: flags.prefixes.or(file.prefixes),
            prefix_tokens: flags.prefix_tokens.or(file.prefix_tokens),
            prefix_share: flags.prefix_share.or(file.prefix_share),
            turns: flags.turns.or(file.turns),
            think: flags.think.or(file.think),
            trace: flags.trace.or(file.trace),
            seed: flags.seed.or(file.seed),
        }
    }
}

impl FleetArgs {
    /// These flags, and what they leave open from a file.
    pub fn over(&self, file: &FleetArgs) -> FleetArgs {
        let workers = if self.workers.is_empty() { &file.workers } else { &self.workers };
        FleetArgs {
            workers: workers.clone(),
            workers_max: self.workers_max.or(file.workers_max),
            per_machine: self.per_machine.or(file.per_machine),
            router: self.router.or(file.router),
            mtbf: self.mtbf.or(file.mtbf),
            mttr: self.mttr.or(file.mttr),
            begun: self.begun.or(file.begun),
            max_sequences: self.max_sequences.or(file.max_sequences),
        }
    }
}

/// A deviation over a mean.
fn burstiness(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.01..=100.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a burstiness: write a number from 0.01 to 100"))
}

/// A part of all.
fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a share: write a number from 0 to 1"))
}

fn rates<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<f64>, D::Error> {
    number(value, rate)
}

fn burstinesses<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<f64>, D::Error> {
    number(value, burstiness)
}

fn shares<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<f64>, D::Error> {
    number(value, share)
}
