//! The command line as the user wrote it: pure data in clap's words, one struct per command, with the help
//! texts.
//!
//! Ranges that hold for every model are checked here, so that a value out of range is clap's own usage error
//! (exit code 2). Nothing in this folder opens a file or knows a model: each command's own file turns its
//! struct into what the rooms take. Values that depend on the model (the sampling defaults, the largest token
//! id) stay `Option`s until then.

mod adapter;
mod agent;
mod batch;
mod browser;
mod compute;
mod config;
mod cost;
mod doctor;
mod engine;
mod eval;
mod eval_repositories;
mod eval_run;
mod govern;
mod launch;
mod library;
mod load;
mod mcp;
mod packaging;
mod plan;
mod redact;
mod route;
mod safety;
mod scenario_value;
mod serve;
mod train;
mod verify;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use adapter::{
    AdapterArgs, AdapterCheckArgs, AdapterCommand, AdapterExportArgs, AdapterInspectArgs, AdapterMergeArgs,
    AdapterSourceArgs, FactorDtypeArg, FactorLayoutArg, MergeFormatArg,
};
pub use agent::{AgentArgs, ApproveArg, ToolArg};
pub use batch::BatchArgs;
pub use browser::BrowserSource;
pub use compute::{ComputeArgs, DenseArg, DeviceArg, KvArg, PrecisionArg, memory_size};
pub use config::{ConfigArgs, ConfigCheckArgs, ConfigCommand, SettingsArgs};
pub use cost::CostArgs;
pub use doctor::DoctorArgs;
pub use engine::EngineArgs;
pub use eval::{EvalArgs, EvalCommand, EvalScoreArgs};
pub use eval_repositories::{RepositoryArgs, WorkArgs};
pub use eval_run::{AnswererArgs, EvalCompareArgs, EvalRunArgs};
pub use govern::{
    AuditArgs, AuditCommand, AuditEraseArgs, AuditExportArgs, AuditVerifyArgs, KeyArgs, KeyCommand,
    KeyListArgs, KeyNewArgs, KeyRevokeArgs, KeyRotateArgs, PolicyArgs, PolicyCheckArgs, PolicyCommand,
    PolicyExplainArgs, When,
};
pub use launch::{ClientArg, LaunchArgs};
pub use library::{ListArgs, PullArgs, RemoveArgs};
pub use load::{
    ArrivalsArg, AskingArgs, EndpointArg, LENGTH_TOKENS_MAX, Lengths, LoadArgs, Objective, RequestTime,
    SendingArgs,
};
pub use mcp::{McpArgs, McpToolCommand};
pub use packaging::{CompletionsArgs, ManualArgs, ProbeArgs};
pub use plan::{BegunArg, FleetArgs, PlanArgs, RouterArg, TrafficArgs};
pub use redact::RedactArgs;
pub use route::{ApiArg, RouteArgs, RouteCommand, RouteExplainArgs};
pub use safety::{Measure, SafetyArgs, SafetyCommand, SafetyCompareArgs, SafetySuiteArgs, TrialArgs};
pub use scenario_value::times as scenario_times;
pub use serve::{LogForm, ReasoningName, ServeArgs, ServedTool};
pub use train::{DataArgs, SiteArg, StepArgs, TrainArgs, TuningArgs, ValidArg};
pub use verify::VerifyArgs;

/// Talk to OpenAI's open-weight gpt-oss models on your own hardware.
#[derive(Debug, Parser)]
#[command(name = "gptoss", version, arg_required_else_help = true, after_help = TRY)]
pub struct Cli {
    /// Open no connection, not even to this machine: what would need one is refused, at the start where it
    /// is known then, and Linux refuses it to this program and to those that it starts besides
    #[arg(long, global = true)]
    pub air_gap: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const TRY: &str = "\
Try it:
  gptoss run \"What is 27 + 58?\"       one answer from the embedded demo model
  gptoss chat                         a conversation with it
  gptoss inspect gpt-oss-120b         what a large model would need

Without --model every command uses the embedded demo model, a small one inside
this binary that shows everything at work. A real one is fetched by
`gptoss pull openai/gpt-oss-20b`.";

/// Help of `--model`, the same everywhere.
pub const MODEL: &str = "demo (the embedded demo model) | a checkpoint folder | a .gguf file | gpt-oss-20b | gpt-oss:20b (Ollama's, if it is there) | synthetic:PRESET[@SEED] | ORG/NAME[:QUANT][@REVISION] after `gptoss pull`";

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Talk to a model: line editor, history, commands such as /effort and /save
    Chat(ChatArgs),
    /// Answer one prompt on standard output
    Run(RunArgs),
    /// Work on a folder's files until a task is done; changes are shown, asked for and can be undone
    Agent(AgentArgs),
    /// Show a model's shape, its parameters and the memory it needs; reads no weights
    Inspect(InspectArgs),
    /// Log-probability of every token of a text, and its perplexity
    Score(ScoreArgs),
    /// Serve a model over OpenAI's HTTP API
    Serve(Box<ServeArgs>),
    /// Answer a file of requests without a server, as OpenAI's Batch API does
    Batch(BatchArgs),
    /// Fetch a model from the Hugging Face hub into the local cache
    Pull(PullArgs),
    /// The models that are here: size, memory, whether they fit this machine
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// A model's files, license, shape and memory plan
    Show(InspectArgs),
    /// Remove a pulled model from the local cache
    Rm(RemoveArgs),
    /// Text to tokens and back
    Tokenize(TokenizeArgs),
    /// A text without personal data, by OpenAI's privacy filter
    Redact(RedactArgs),
    /// Conversation to tokens, in the harmony format
    Render(RenderArgs),
    /// Tokens to messages: the total harmony parser
    Parse(ParseArgs),
    /// Look at training data: what a model would learn of it, and which rows are wrong
    Dataset(DatasetArgs),
    /// Tune a model on your rows: low-rank pairs over frozen weights, or every tensor of a small one
    Train(TrainArgs),
    /// Adapters of fine-tunes: look at them, check them, merge them, write them as PEFT does
    Adapter(AdapterArgs),
    /// Whether a model keeps to what it should, and whether it still does after tuning
    Safety(SafetyArgs),
    /// Write a checkpoint of a known shape with random weights
    Synth(SynthArgs),
    /// How good a model is: benchmarks' rows and rules, intervals, published figures beside
    Eval(Box<EvalArgs>),
    /// How fast a model is on this machine, beside what the machine allows
    Bench(BenchArgs),
    /// How fast a server answers under load: any server of OpenAI's API
    Load(LoadArgs),
    /// What a model on machines of your own costs beside an API
    Cost(CostArgs),
    /// How many servers a load needs, by simulation over measured costs
    Plan(Box<PlanArgs>),
    /// Keys of a server: draw, list, rotate, revoke
    Key(KeyArgs),
    /// What keys may ask: check a file of rules, explain what it says to a request
    Policy(PolicyArgs),
    /// What a server did: verify and export the chain of it
    Audit(AuditArgs),
    /// Where a request would go by a gateway's file, and why
    Route(RouteArgs),
    /// Start a coding agent that speaks to this machine's model
    Launch(LaunchArgs),
    /// Serve a tool of this program to other programs, over the Model Context Protocol
    Mcp(McpArgs),
    /// The settings' file: what is wrong with it, and what holds
    Config(ConfigArgs),
    /// What this machine has, what is chosen on it, and what would fail
    Doctor(DoctorArgs),
    /// Whether a model is what was published, and whether this build computes it
    Verify(VerifyArgs),
    /// Completions for a shell, on standard output
    #[command(hide = true)]
    Completions(CompletionsArgs),
    /// Manual pages, a file for each command
    #[command(hide = true)]
    Manual(ManualArgs),
    /// Whether a server answers: for images without a shell
    #[command(hide = true)]
    Probe(ProbeArgs),
}

/// `gptoss chat`.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Do not show the reasoning
    #[arg(long)]
    pub hide_reasoning: bool,
    /// Do not keep the lines that are typed; otherwise the last 1000 are in
    /// ~/.local/state/gptoss/chat_history
    #[arg(long)]
    pub no_history: bool,
    /// Where the browser of /tools searches and reads: corpus:DIR (a folder of texts), searxng:URL (pages are
    /// fetched here), exa (EXA_API_KEY), youcom (YDC_API_KEY), or fetch (pages alone)
    #[arg(long, value_name = "SOURCE", value_parser = BrowserSource::from_str)]
    pub browser: Option<BrowserSource>,
    /// The model and how it answers.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// `gptoss run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The prompt; `-`, or nothing when standard input is a pipe, reads it from there
    pub prompt: Vec<String>,
    /// Print one JSON object: messages, reasoning, answer, calls, warnings, usage, timings, seed
    #[arg(long)]
    pub json: bool,
    /// Stream the reasoning to standard error
    #[arg(long)]
    pub show_reasoning: bool,
    /// Do not show the reasoning (the default of `run`; `chat` shows it)
    #[arg(long, conflicts_with = "show_reasoning")]
    pub hide_reasoning: bool,
    /// The model and how it answers.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// What `chat` and `run` share: the model, the instructions and the sampling. Groups with a heading of their
/// own stand last, because clap puts whatever follows them under it.
#[derive(Debug, Args)]
pub struct GenerationArgs {
    /// The model to talk to
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// An adapter (LoRA) of the model, as PEFT, Unsloth and others save them: used as it is, not merged
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// How much the model reasons before it answers
    #[arg(long, value_enum, default_value_t = Effort::Medium)]
    pub effort: Effort,
    /// Instructions for the model (the developer message)
    #[arg(long, value_name = "TEXT")]
    pub instructions: Option<String>,
    /// Functions the model may call: a JSON array, in OpenAI's tool form or as bare {name, description,
    /// parameters}; calls are held to their schema
    #[arg(long, value_name = "FILE.json")]
    pub functions: Option<PathBuf>,
    /// The date the model is told: today, none, or YYYY-MM-DD [default: today; none for the demo]
    #[arg(long, value_name = "DATE", value_parser = Date::from_str)]
    pub date: Option<Date>,
    /// Stop after this many new tokens [default: what the context still holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// Most tokens of reasoning before the answer; 0 lets it begin at once
    #[arg(long, value_name = "N")]
    pub reasoning_budget: Option<u32>,
    /// After each answer, say on standard error how many tokens were read and written, and how fast
    #[arg(long)]
    pub stats: bool,
    /// End the answer before this text; may be given several times. Reasoning is not looked at
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub stop: Vec<String>,
    /// Tokens of context to keep room for [default: the model's, at most 32768]
    #[arg(long, visible_alias = "max-context", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// The settings' file.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How conversations share the machine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Flags of the sampler. A flag wins over the model's generation_config.json, which wins over the default.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (a flag wins over the model's generation_config.json)")]
pub struct SamplingArgs {
    /// Randomness; 0 always takes the likeliest token [default: the model's, else 1.0; the demo's is 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = Bounded::<0, 2>::parse)]
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens whose probabilities add up to this [default: the model's, else 1.0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = Bounded::<0, 1>::parse)]
    pub top_p: Option<f32>,
    /// Keep this many of the likeliest tokens; 0 keeps all [default: the model's, else 0]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<u32>,
    /// Keep tokens at least this likely relative to the likeliest [default: the model's, else 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = Bounded::<0, 1>::parse)]
    pub min_p: Option<f32>,
    /// Lower every token that has appeared by this much
    #[arg(long, value_name = "X", default_value = "0", allow_negative_numbers = true, value_parser = Bounded::<-2, 2>::parse)]
    pub presence_penalty: f32,
    /// Lower a token by this much for each time it has appeared
    #[arg(long, value_name = "X", default_value = "0", allow_negative_numbers = true, value_parser = Bounded::<-2, 2>::parse)]
    pub frequency_penalty: f32,
    /// Divide the logit of tokens that have appeared; 1 is off [default: the model's, else 1.0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = above_zero)]
    pub repetition_penalty: Option<f32>,
    /// Add BIAS (-100 to 100) to the logit of token ID; may be repeated
    #[arg(long, value_name = "ID=BIAS", value_parser = logit_bias)]
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the random numbers [default: a new one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// What `inspect` takes.
const INSPECTED: &str = "demo | a preset such as gpt-oss-120b | a checkpoint folder | a .gguf file | \
    synthetic:PRESET[@SEED] | ORG/NAME[@REVISION] after `gptoss pull`";

/// `gptoss inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The model or the preset to look at
    #[arg(value_name = "M", conflicts_with = "model_flag", help = INSPECTED)]
    pub model: Option<String>,
    /// The same, as the other commands take it
    #[arg(long = "model", short, value_name = "M", id = "model_flag")]
    pub model_flag: Option<String>,
    /// Tokens of context to plan memory for [default: the model's, at most 32768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// fast or exact: decides the bytes of the KV cache
    #[arg(long, value_enum, default_value_t = PrecisionArg::Fast)]
    pub precision: PrecisionArg,
    /// Plan for this much memory, such as 8GiB: experts beyond it stay on disk
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory: Option<u64>,
    /// Plan for a card with this much memory, such as 16GB: experts beyond it stay in the computer's memory
    #[arg(long, value_name = "SIZE", value_parser = memory_size, conflicts_with = "memory")]
    pub gpu_memory: Option<u64>,
    /// bf16 or q8: decides the bytes of dense matrices [default: q8 in fast precision, bf16 in exact]
    #[arg(long, value_enum)]
    pub dense: Option<DenseArg>,
    /// Plan keys and values for this many conversations at a time, as `serve` does
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_sequences: Option<u16>,
    /// With --max-sequences: memory for keys and values, such as 4GiB
    #[arg(long, value_name = "SIZE", value_parser = memory_size, requires = "max_sequences")]
    pub kv_memory: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Also draw total against active parameters of the presets and this model
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `gptoss score`.
#[derive(Debug, Args)]
#[group(id = "score_input", required = true, multiple = false, args = ["token_ids", "text"])]
pub struct ScoreArgs {
    /// The model to score with
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// An adapter (LoRA) of the model, as PEFT, Unsloth and others save them: used as it is, not merged
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Token ids: a JSON array, or an object with `input_ids`; `-` for standard input
    #[arg(long, value_name = "FILE.json")]
    pub token_ids: Option<PathBuf>,
    /// A UTF-8 text, tokenized as it is; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Write `logits` [T, V] in float32
    #[arg(long, value_name = "OUT.safetensors")]
    pub logits: Option<PathBuf>,
    /// Print only how far the mode is from exact mode: KL divergence, likeliest tokens, perplexity
    #[arg(long, conflicts_with_all = ["no_kl", "logits"])]
    pub divergence: bool,
    /// In fast mode, do not also run exact mode to print the divergence between the two
    #[arg(long)]
    pub no_kl: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Whose vocabulary `tokenize`, `render` and `parse` use, and their line form.
#[derive(Debug, Args)]
pub struct VocabArgs {
    /// Use this model's vocabulary
    #[arg(long, short, value_name = "MODEL", default_value = "demo", conflicts_with = "vocab", help = MODEL)]
    pub model: String,
    /// Use a built-in vocabulary instead
    #[arg(long, value_enum, value_name = "NAME")]
    pub vocab: Option<VocabName>,
    /// One JSON object a line in and out
    #[arg(long)]
    pub jsonl: bool,
}

/// `gptoss dataset`.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    /// Rows, one JSON object a line: chats, prompts with completions, preference pairs, texts; `-` is
    /// standard input
    pub file: PathBuf,
    /// Rows to test with; those that are in FILE too are left out
    #[arg(long, value_name = "FILE")]
    pub valid: Option<PathBuf>,
    /// Most tokens of an example
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens_max: u32,
    /// Cut the oldest turns of a history that is too long, instead of leaving the row out
    #[arg(long)]
    pub cut_history: bool,
    /// Reasoning effort of rows that do not say it [default: medium with reasoning, low without]
    #[arg(long, value_enum)]
    pub effort: Option<Effort>,
    /// Read the reasoning and do not learn it
    #[arg(long)]
    pub mask_reasoning: bool,
    /// Show the first N samples, and what of them is learned
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show_mask: usize,
    /// Every row that is left out, with its reason
    #[arg(long)]
    pub all: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Use this model's vocabulary
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
}

/// `gptoss tokenize`.
#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// The text, or with --decode the token ids; standard input when absent
    pub text: Option<String>,
    /// Tokens to text. With --jsonl {"tokens"} to {"text"}, without it {"text"} to {"tokens"}
    #[arg(long)]
    pub decode: bool,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
}

/// `gptoss render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// A conversation in openai-harmony's JSON form; standard input when absent. With --jsonl
    /// {"conversation"} to {"tokens"}
    pub file: Option<PathBuf>,
    /// Keep all reasoning instead of dropping that of finished turns
    #[arg(long)]
    pub keep_analysis: bool,
    /// How the conversation is closed
    #[arg(long, value_enum, default_value_t = FormArg::Completion)]
    pub form: FormArg,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
}

/// `gptoss parse`.
#[derive(Debug, Args)]
pub struct ParseArgs {
    /// Token ids: a JSON array or ids separated by spaces; standard input when absent. With --jsonl
    /// {"tokens"} to {"messages", "warnings"}
    pub file: Option<PathBuf>,
    /// Where the tokens begin [default: seen from the first token]
    #[arg(long, value_enum)]
    pub form: Option<ParseFormArg>,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
}

/// `gptoss synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// tiny, gpt-oss-20b, gpt-oss-120b, gpt-oss-15b or gpt-oss-90b
    pub preset: String,
    /// The folder to write; created, or empty
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Seed of the weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Write only this many layers [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub layers: Option<u32>,
    /// The file layout
    #[arg(long, value_enum, default_value_t = LayoutArg::Hf)]
    pub layout: LayoutArg,
}

/// `gptoss bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model to measure
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// An adapter (LoRA) of the model, as PEFT, Unsloth and others save them: used as it is, not merged
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Tokens of the prompt, several by comma; 0 measures decoding alone
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "512", value_parser = clap::value_parser!(u32).range(..=BENCH_TOKENS_MAX))]
    pub prefill: Vec<u32>,
    /// Tokens that each sequence decodes after the prompt; 0 measures the prompt alone
    #[arg(long, visible_alias = "decode-tokens", value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(..=BENCH_TOKENS_MAX))]
    pub decode: u32,
    /// Positions before the prompt, filled with random keys and values; several by comma
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u32).range(..=BENCH_TOKENS_MAX))]
    pub depth: Vec<u32>,
    /// Sequences that decode together, several by comma
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: Vec<u32>,
    /// Cases to measure in this order, in place of every prefill with every depth and batch
    #[arg(long = "case", value_name = "PREFILL:DEPTH:BATCH,...", value_delimiter = ',', value_parser = bench_case, conflicts_with_all = ["prefill", "depth", "batch"])]
    pub cases: Vec<[u32; 3]>,
    /// Runs of every case, in turn; medians are printed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Also start with the model's files evicted from the page cache
    #[arg(long)]
    pub cold: bool,
    /// Also put an object a case behind this file's lines, as soon as the case has been measured
    #[arg(long, value_name = "FILE.jsonl")]
    pub rows: Option<PathBuf>,
    /// Print one JSON array with an object a case
    #[arg(long)]
    pub json: bool,
    /// Print the same fields as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Most tokens of one kind that `bench` takes: what the published models' context holds.
const BENCH_TOKENS_MAX: i64 = 131_072;

/// Reads a case of `bench`.
fn bench_case(text: &str) -> Result<[u32; 3], String> {
    let sizes: Option<Vec<u32>> = text.split(':').map(|size| size.parse().ok()).collect();
    match sizes.as_deref() {
        Some(&[prefill, depth, batch @ 1..=256]) if i64::from(prefill.max(depth)) <= BENCH_TOKENS_MAX => {
            Ok([prefill, depth, batch])
        }
        _ => Err(format!(
            "write PREFILL:DEPTH:BATCH, up to {BENCH_TOKENS_MAX} tokens and from 1 to 256 sequences"
        )),
    }
}

/// Reasoning effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Effort {
    /// Short or no reasoning
    Low,
    /// The official default
    Medium,
    /// Long reasoning
    High,
}

/// Vocabularies that need no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VocabName {
    /// The published models' vocabulary, 201,088 ids
    #[value(name = "o200k_harmony")]
    O200kHarmony,
}

/// How a conversation is closed when rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    /// Ends in <|start|>assistant, ready for the model to answer
    Completion,
    /// As it is
    Conversation,
    /// The last answer ends in <|return|>
    Training,
}

/// Where a token sequence to parse begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ParseFormArg {
    /// What a model writes after <|start|>assistant
    Completion,
    /// From the first <|start|> on
    Conversation,
}

/// File layout of a written checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// Hugging Face names, MXFP4 experts
    Hf,
    /// OpenAI's own names, MXFP4 experts
    Original,
    /// Hugging Face names, dequantised experts as fine-tunes have them
    Bf16,
}

/// The date the model is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Date {
    /// The day on which the program runs, in UTC.
    Today,
    /// No line about the date.
    None,
    /// This day, `YYYY-MM-DD`.
    Day(String),
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        match text {
            "today" => return Ok(Date::Today),
            "none" => return Ok(Date::None),
            _ => {}
        }
        let day: jiff::civil::Date = text
            .parse()
            .map_err(|_| "write today, none, or a day of the calendar as YYYY-MM-DD".to_owned())?;
        Ok(Date::Day(day.to_string()))
    }
}

/// A number between two whole numbers, ends included.
struct Bounded<const LOW: i32, const HIGH: i32>;

impl<const LOW: i32, const HIGH: i32> Bounded<LOW, HIGH> {
    fn parse(text: &str) -> Result<f32, String> {
        let value = number(text)?;
        match (LOW as f32..=HIGH as f32).contains(&value) {
            true => Ok(value),
            false => Err(format!("must be from {LOW} to {HIGH}")),
        }
    }
}

fn number(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().map_err(|_| "not a number".to_owned())?;
    match value.is_finite() {
        true => Ok(value),
        false => Err("must be finite".to_owned()),
    }
}

fn above_zero(text: &str) -> Result<f32, String> {
    match number(text)? {
        value if value > 0.0 && value <= 10.0 => Ok(value),
        _ => Err("must be above 0 and at most 10".to_owned()),
    }
}

fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) = text.split_once('=').ok_or("write ID=BIAS, for example 17196=-100")?;
    let id = id.parse().map_err(|_| format!("`{id}` is not a token id"))?;
    Ok((id, Bounded::<-100, 100>::parse(bias)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_surface_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_are_usage_errors() {
        let bad = [
            "--temperature -1",
            "--temperature NaN",
            "--temperature inf",
            "--top-p -1",
            "--top-p 1.1",
            "--min-p 2",
            "--top-k -1",
            "--presence-penalty 3",
            "--repetition-penalty 0",
            "--logit-bias 5",
            "--logit-bias x=1",
            "--logit-bias 1=200",
            "--seed -1",
            "--max-tokens 0",
            "--context 0",
            "--threads 0",
            "--precision half",
            "--memory 8",
            "--dense q4",
            "--device gpu",
            "--effort max",
            "--date 2026-13-01",
            "--date soon",
            "--date 2026-02-31",
            "--date 2026-02-29",
            "--date 2100-02-29",
            "--date 2026-04-31",
            "--date 2026-04-00",
            "--show-reasoning --hide-reasoning",
            "--nope",
        ];
        for flags in bad {
            let error = parse(&format!("gptoss run hello {flags}")).expect_err(flags);
            assert_eq!(error.exit_code(), 2, "{flags}");
        }
        let good = "--temperature 0 --top-p 1 --min-p 0.1 --top-k 0 --presence-penalty -1 --logit-bias 5=-1.5 --seed 0 --date none";
        let Command::Run(run) = parse(&format!("gptoss run hello {good}")).unwrap().command else {
            panic!("run")
        };
        assert_eq!(run.generation.sampling.logit_bias, [(5, -1.5)]);
        assert_eq!(run.generation.date, Some(Date::None));
        for flags in ["--date 2024-02-29", "--date 2000-02-29", "--date 2026-12-31", "--hide-reasoning"] {
            parse(&format!("gptoss run hello {flags}")).expect(flags);
        }
    }

    #[test]
    fn score_wants_exactly_one_input() {
        assert!(parse("gptoss score --model demo").is_err());
        assert!(parse("gptoss score --text a --token-ids b").is_err());
        assert!(parse("gptoss score --text a").is_ok());
        assert!(parse("gptoss tokenize --model demo --vocab o200k_harmony").is_err());
        assert!(parse("gptoss tokenize --vocab o200k_harmony x").is_ok());
    }
}
