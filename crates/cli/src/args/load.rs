//! Flags of `gptoss load`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

/// Most tokens of a prompt or an answer that are asked for: what the published models' context holds.
pub const LENGTH_TOKENS_MAX: u32 = 131_072;

/// `gptoss load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where the API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000/v1")]
    pub url: String,
    /// The model to ask for [default: the first that the server lists]
    #[arg(long, short, value_name = "NAME")]
    pub model: Option<String>,
    /// Environment variable that holds the API key [default: no key is sent]
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// Which of the API's paths is asked
    #[arg(long, value_enum, default_value_t = EndpointArg::Chat)]
    pub endpoint: EndpointArg,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write that object into a file
    #[arg(long, value_name = "FILE.json")]
    pub output: Option<PathBuf>,
    /// Draw throughput against latency, and how the times to the first token are distributed
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// When requests are sent.
    #[command(flatten)]
    pub sending: SendingArgs,
    /// What they ask.
    #[command(flatten)]
    pub asking: AskingArgs,
}

/// Flags for when requests are sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sending")]
pub struct SendingArgs {
    /// Open loop: requests a second that are sent whatever the server does; several by comma, one after the
    /// other
    #[arg(long, value_name = "R,...", value_delimiter = ',', conflicts_with = "concurrency", value_parser = rate)]
    pub rate: Vec<f64>,
    /// How the requests of a rate follow each other
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Poisson)]
    pub arrivals: ArrivalsArg,
    /// Closed loop: requests that run at a time, each followed by the next; several by comma [default: 1]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrency: Vec<u32>,
    /// Requests of each rate or concurrency [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub requests: Option<u32>,
    /// Send for this long instead, such as 60s or 5m; what runs then is waited for
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// Requests before the first that is measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub warmup: u32,
    /// How long a request may take, from the moment it was due
    #[arg(long, value_name = "TIME", default_value = "600s", value_parser = time)]
    pub timeout: Duration,
    /// What a request must keep to count for the goodput: ttft, ttfo, tpot (or itl) and e2e by comma, such as
    /// ttft=500ms,itl=50ms
    #[arg(long, value_name = "WHAT=TIME,...", value_delimiter = ',')]
    pub slo: Vec<Objective>,
}

/// Flags for what requests ask.
#[derive(Debug, Args)]
#[command(next_help_heading = "Asking")]
pub struct AskingArgs {
    /// Tokens of a prompt as the server counts them: 512 | 128..1024 (uniform) | 512~64 (normal, mean and
    /// deviation) | lognormal:512~256
    #[arg(long, value_name = "LENGTHS", default_value = "512")]
    pub prompt_tokens: Lengths,
    /// Most tokens of an answer, in the same forms
    #[arg(long, value_name = "LENGTHS", default_value = "128")]
    pub output_tokens: Lengths,
    /// Prompts from a file, taken in turn: a line each with {"prompt": TEXT} or {"messages": [...]}, and
    /// perhaps "output_tokens"
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["prompt_tokens", "shared_prefix"])]
    pub prompts: Option<PathBuf>,
    /// Tokens at the start that all prompts share
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(LENGTH_TOKENS_MAX)))]
    pub shared_prefix: u32,
    /// Ask for answers of full length: sends ignore_eos and min_tokens, which OpenAI does not know
    #[arg(long)]
    pub ignore_eos: bool,
    /// Say max_tokens where Chat Completions has max_completion_tokens, for older servers
    #[arg(long)]
    pub legacy_max_tokens: bool,
    /// More fields of the body, such as '{"temperature": 0}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub extra_body: Option<serde_json::Map<String, serde_json::Value>>,
    /// Seed of arrivals, lengths and prompts; a server that keeps prompts knows those of the same seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// A path of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EndpointArg {
    /// /chat/completions
    Chat,
    /// /completions
    Completions,
    /// /responses
    Responses,
}

impl EndpointArg {
    /// The path below the base address.
    pub fn path(self) -> &'static str {
        match self {
            EndpointArg::Chat => "/chat/completions",
            EndpointArg::Completions => "/completions",
            EndpointArg::Responses => "/responses",
        }
    }
}

/// How the requests of a rate follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArrivalsArg {
    /// Independently of each other, as those of many people do
    #[default]
    Poisson,
    /// At equal distances
    Constant,
}

/// How lengths are distributed. Units: tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lengths {
    /// Always the same.
    Fixed(u32),
    /// Every length from the first to the last, alike.
    Uniform(u32, u32),
    /// By mean and standard deviation.
    Normal(f64, f64),
    /// The same, of lengths whose logarithms are distributed normally.
    LogNormal(f64, f64),
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Lengths, String> {
        let moments = |text: &str| {
            let (mean, deviation) = text.split_once('~').ok_or("write MEAN~DEVIATION, for example 512~64")?;
            let mean = length(mean)?;
            let number = deviation.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
            Ok((
                f64::from(mean),
                number.ok_or_else(|| format!("`{deviation}` is not a deviation in tokens"))?,
            ))
        };
        if let Some(rest) = text.strip_prefix("lognormal:") {
            return moments(rest).map(|(mean, deviation)| Lengths::LogNormal(mean, deviation));
        }
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (length(low)?, length(high)?);
            return match low <= high {
                true => Ok(Lengths::Uniform(low, high)),
                false => Err(format!("{low} is more than {high}")),
            };
        }
        match text.contains('~') {
            true => moments(text).map(|(mean, deviation)| Lengths::Normal(mean, deviation)),
            false => length(text).map(Lengths::Fixed),
        }
    }
}

fn length(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| (1..=LENGTH_TOKENS_MAX).contains(number));
    number.ok_or_else(|| {
        format!(
            "`{text}` is not a length: write 512, 128..1024, 512~64 or lognormal:512~256, from 1 to {LENGTH_TOKENS_MAX} tokens"
        )
    })
}

/// What a request of the goodput keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objective {
    /// What is bounded.
    pub of: RequestTime,
    /// The most it may be.
    pub most: Duration,
}

/// A time of a request that can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestTime {
    /// To the first token of any kind.
    Ttft,
    /// To the first token of the answer.
    Ttfo,
    /// Between tokens, on average.
    Tpot,
    /// To the end.
    E2e,
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Objective, String> {
        let (of, most) = text.split_once('=').ok_or("write WHAT=TIME, for example ttft=500ms")?;
        let of = match of.trim() {
            "ttft" => RequestTime::Ttft,
            "ttfo" => RequestTime::Ttfo,
            "tpot" | "itl" => RequestTime::Tpot,
            "e2e" | "e2el" => RequestTime::E2e,
            other => return Err(format!("`{other}` is none of ttft, ttfo, tpot, itl and e2e")),
        };
        Ok(Objective { of, most: time(most)? })
    }
}

/// A length of time: `500ms`, `1.5s`, `5m`; a bare number is seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let seconds = text.parse::<f64>().ok();
    let parsed = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok()),
    };
    let is_possible = |time: &Duration| (1..=TIME_SECONDS_MAX * 1000).contains(&time.as_millis());
    parsed.filter(is_possible).ok_or_else(|| {
        format!("`{text}` is not a time: write 500ms, 1.5s or 5m, from 1 ms to {TIME_SECONDS_MAX} s")
    })
}

/// Longest time that can be written. Units: seconds.
const TIME_SECONDS_MAX: u128 = 30 * 24 * 3600;

/// Requests a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|rate| (1e-4..=1e6).contains(rate));
    number.ok_or_else(|| format!("`{text}` is not a rate: write requests a second, from 0.0001 to 1000000"))
}

pub(super) fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_every_form() {
        let check =
            |text: &str, expect: Option<Lengths>| assert_eq!(text.parse::<Lengths>().ok(), expect, "{text}");
        check("512", Some(Lengths::Fixed(512)));
        check("128..1024", Some(Lengths::Uniform(128, 1024)));
        check("7..7", Some(Lengths::Uniform(7, 7)));
        check("512~64", Some(Lengths::Normal(512.0, 64.0)));
        check("lognormal:512~256.5", Some(Lengths::LogNormal(512.0, 256.5)));
        for bad in ["", "0", "-1", "9..3", "0..3", "131073", "512~", "512~-1", "512~NaN", "lognormal:5", "x"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn times_have_units() {
        let check = |text: &str, milliseconds: Option<u64>| {
            assert_eq!(time(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        };
        check("500ms", Some(500));
        check("1.5s", Some(1500));
        check("5m", Some(300_000));
        check("2", Some(2000));
        for bad in ["", "0", "-1s", "soon", "1e99", "NaN", "100000h"] {
            check(bad, None);
        }
        assert_eq!(
            "itl=50ms".parse::<Objective>(),
            Ok(Objective { of: RequestTime::Tpot, most: Duration::from_millis(50) })
        );
        assert!("p99=50ms".parse::<Objective>().is_err() && "ttft".parse::<Objective>().is_err());
    }
}
