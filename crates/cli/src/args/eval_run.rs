//! Flags of `gptoss eval TASK` and of `gptoss eval compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::eval_repositories::{RepositoryArgs, WorkArgs};
use super::load::{object, time};
use super::{Bounded, ComputeArgs, Date, Effort, MODEL};

/// `gptoss eval TASK`.
#[derive(Debug, Args)]
pub struct EvalRunArgs {
    /// mmlu, mmlu-pro, gpqa, aime, gsm8k, humaneval, ifeval, simpleqa, healthbench, bfcl, xstest, swe-bench,
    /// or a specification of your own, a .toml file
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// The benchmark's rows: JSON lines, JSON or CSV, also in gzip; several files are read one after the
    /// other
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Of mmlu-pro: the file of rows whose worked answers stand before each question
    #[arg(long, value_name = "FILE")]
    pub shots: Option<PathBuf>,
    /// Whose prompts, permutations and limits: gpt-oss, simple-evals or mlperf
    #[arg(long, value_name = "NAME", default_value = "gpt-oss")]
    pub recipe: String,
    /// How much the model reasons; several by comma, one run each [default: medium; a server's own]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "E,...")]
    pub effort: Vec<Effort>,
    /// Times that each row is asked [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: Option<u32>,
    /// Only so many rows, drawn as the recipe's reference draws them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Questions that are under way at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Print the first two prompts whole, and ask nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Folder of answers and reports; what is in it is not asked again [default: eval-TASK-RUN here]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Ask again what ended in an error
    #[arg(long)]
    pub retry_errors: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// End with 3 when a score, from 0 to 1, is below this
    #[arg(long, value_name = "SCORE")]
    pub fail_under: Option<f64>,
    /// Who answers.
    #[command(flatten)]
    pub answerer: AnswererArgs,
    /// Who grades.
    #[command(flatten)]
    pub grader: GraderArgs,
    /// Where patches are made and tried.
    #[command(flatten)]
    pub repositories: RepositoryArgs,
    /// How long a patch may take.
    #[command(flatten)]
    pub work: WorkArgs,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Flags for who answers, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
pub struct AnswererArgs {
    /// The model; with --base-url its name there [default: demo; the first that the server lists]
    #[arg(long, short, value_name = "MODEL", long_help = MODEL)]
    pub model: Option<String>,
    /// Ask a server of OpenAI's Chat Completions, such as http://127.0.0.1:8000/v1
    #[arg(long, value_name = "URL", conflicts_with_all = ["adapter", "context", "date"])]
    pub base_url: Option<String>,
    /// With --base-url: environment variable that holds the API key [default: no key is sent]
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// With --base-url: more fields of the body, such as '{"max_tokens": 512}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub extra_body: Option<serde_json::Map<String, serde_json::Value>>,
    /// An adapter (LoRA) of the model
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Most tokens of an answer, reasoning among them [default: the recipe's, else what the context holds; a
    /// server's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// Randomness; 0 always takes the likeliest token [default: the recipe's, else the model's]
    #[arg(long, value_name = "T", value_parser = Bounded::<0, 2>::parse)]
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens whose probabilities add up to this [default: the model's]
    #[arg(long, value_name = "P", value_parser = Bounded::<0, 1>::parse)]
    pub top_p: Option<f32>,
    /// Each question has a seed of its own, made from this one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Tokens of context to keep room for [default: the model's, at most 32768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// The date the model is told: today, none, or YYYY-MM-DD [default: none, so that runs can be compared]
    #[arg(long, value_name = "DATE", value_parser = <Date as std::str::FromStr>::from_str)]
    pub date: Option<Date>,
    /// How long a server may take for one answer
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub timeout: Duration,
    /// Times that a request is sent again after 429, 5xx, a lost connection or no answer in time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=100))]
    pub retries: u32,
    /// The pause before that; it doubles, and a server's retry-after wins
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub retry_pause: Duration,
}

/// Flags for who grades what no rule can.
#[derive(Debug, Args)]
#[command(next_help_heading = "Grader (simpleqa, healthbench, kind = \"judge\")")]
pub struct GraderArgs {
    /// A server of OpenAI's Chat Completions that grades
    #[arg(long, value_name = "URL")]
    pub grader_url: Option<String>,
    /// The grader's name there [default: the first that it lists]
    #[arg(long, value_name = "NAME", requires = "grader_url")]
    pub grader_model: Option<String>,
    /// A file with the grader's prompt, such as the reference's own, in the place of ours
    #[arg(long, value_name = "FILE")]
    pub grader_prompt: Option<PathBuf>,
    /// Environment variable that holds its API key [default: no key is sent]
    #[arg(long, value_name = "NAME", requires = "grader_url")]
    pub grader_key_env: Option<String>,
}

/// `gptoss eval compare`.
#[derive(Debug, Args)]
pub struct EvalCompareArgs {
    /// Folder of the first run
    #[arg(value_name = "RUN")]
    pub first: PathBuf,
    /// Folder of the second
    #[arg(value_name = "RUN")]
    pub second: PathBuf,
    /// End with 3 when the second is worse, and its interval does not reach the first
    #[arg(long)]
    pub fail_worse: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
