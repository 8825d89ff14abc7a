//! Flags of `gptoss serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use gptoss_server::CorsOrigin;

use super::{BrowserSource, ComputeArgs, EngineArgs, MODEL, SettingsArgs, memory_size};

/// `gptoss serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The models to serve
    #[arg(long, short, value_name = "[NAME=]MODEL", default_value = "demo", help = format!("{MODEL}; may be repeated, each loaded when it is first asked for, by NAME where one is given"))]
    pub model: Vec<String>,
    /// An adapter (LoRA), used as it is beside its model, which requests name as MODEL:NAME; may be
    /// repeated. With several models it says of which it is
    #[arg(long, value_name = "[MODEL:]NAME=DIR")]
    pub adapter: Vec<String>,
    /// The address to listen on, or a name that has one; an address that other machines reach needs
    /// --api-key-file or --govern
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// Another name under which an address of this machine is asked for, or a page's host that may use it;
    /// may be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Pages of this origin may use the server, such as `https://chat.example`; '*' for all, may be repeated
    /// [default: none]
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<CorsOrigin>,
    /// The port; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,
    /// Keys that clients must show: a line each, KEY or sha256:HEX, then name=NAME,
    /// reasoning=raw|summary|hidden, reasoning-budget=N, tokens=raw|none and scopes=SCOPE,...
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Rules instead of a file of keys: TOML of keys, groups, policies, limits, budgets and prices, counted
    /// and audited in a journal in --state-dir, and read again at SIGHUP
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_file")]
    pub govern: Option<PathBuf>,
    /// Append the entries of the audit to this file as they come, a line of JSON each
    #[arg(long, value_name = "FILE", requires = "govern")]
    pub audit_forward: Option<PathBuf>,
    /// Append what was said too, where a policy's audit_content kept it: a line behind its entry
    #[arg(long, requires = "audit_forward")]
    pub audit_forward_content: bool,
    /// Speak TLS with this certificate: PEM, with those that lead to its authority behind it. It is read
    /// again when it changes, and at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert: PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of these authorities: PEM. Keys are asked for as without it
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Speak vLLM's gRPC protocol there too, such as 127.0.0.1:8001, so that NVIDIA Dynamo and other routers
    /// take the server as a worker. It asks for no key: an address that other machines reach needs --grpc-tls
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub grpc: Option<SocketAddr>,
    /// Speak TLS at --grpc, with the certificate of --tls-cert, to clients of --tls-client-ca alone
    #[arg(long, requires = "grpc", requires = "tls_client_ca")]
    pub grpc_tls: bool,
    /// Write the tokenizer, its template and the configuration to this folder, from which routers of --grpc
    /// read them [default: the model's own folder; of the demo or a GGUF file one that goes with the server]
    #[arg(long, value_name = "DIR", requires = "grpc")]
    pub grpc_model_dir: Option<PathBuf>,
    /// Seconds without use after which a model is unloaded; 0 is never [default: 0 for one model, 1800 for
    /// each of several]
    #[arg(long, value_name = "SECONDS")]
    pub model_idle: Option<u64>,
    /// Seconds that a request waits for its model to be loaded
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub load_timeout: u64,
    /// Another name under which clients may ask for the first model, '*' for any, or NAME=MODEL for another;
    /// may be repeated
    #[arg(long, value_name = "NAME")]
    pub alias: Vec<String>,
    /// Keep stored responses and conversations in this folder [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Offer fine-tuning (/v1/fine_tuning/jobs), computed by N threads while no request runs; needs
    /// --state-dir, and computes on the processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub train_threads: Option<u16>,
    /// Let requests load and unload adapters from this folder (/v1/load_lora_adapter, as vLLM has it)
    #[arg(long, value_name = "DIR")]
    pub adapter_root: Option<PathBuf>,
    /// Most bytes of all that is stored, such as 4GiB [default: 256 MiB in memory, 16 GiB in a folder]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub state_size: Option<u64>,
    /// Longest file that is uploaded, such as 1GiB
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = memory_size)]
    pub max_file: u64,
    /// Most files of one tenant
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_files: u32,
    /// Most bytes of one tenant's files and of what its batches have written, such as 4GiB [default: 256 MiB
    /// in memory, 4 GiB in a folder]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub files_size: Option<u64>,
    /// Lines of all batches that are answered at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch_lines: u16,
    /// Most batches of one tenant that have not ended
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_batches: u32,
    /// Prompts that requests may name: a folder of files ID.md or ID@VERSION.md, with {{name}} where a
    /// request's variable goes
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,
    /// Tools that run here for Responses that ask for them [default: none]
    #[arg(long, value_name = "TOOL,...", value_delimiter = ',')]
    pub tools: Vec<ServedTool>,
    /// Where the browser of --tools searches and reads: corpus:DIR (a folder of texts), searxng:URL (pages
    /// are fetched here), exa (EXA_API_KEY), youcom (YDC_API_KEY), or fetch (pages alone)
    #[arg(long, value_name = "SOURCE", value_parser = BrowserSource::from_str)]
    pub browser: Option<BrowserSource>,
    /// The Python of --tools: a python.wasm for WASI, run in WebAssembly and within walls, in the place of
    /// the machine's; of builds with the feature `wasm`
    #[arg(long, value_name = "FILE")]
    pub python_wasm: Option<PathBuf>,
    /// MCP servers that Responses may use: a file of JSON with mcpServers, as other programs read it, or of
    /// TOML with mcp_servers, as Codex does
    #[arg(long, value_name = "FILE")]
    pub mcp: Option<PathBuf>,
    /// Policies by which what goes in and comes out is judged: TOML of this program's, or openai-guardrails'
    /// JSON
    #[arg(long, value_name = "FILE")]
    pub guard: Option<PathBuf>,
    /// Servers elsewhere to which requests may go, and by which rules: TOML, read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub gateway: Option<PathBuf>,
    /// Tell routers which blocks of prompts are cached here, by vLLM's events over ZeroMQ, such as
    /// 127.0.0.1:5557. The events hold the tokens of prompts, and whoever reaches the address reads them
    #[arg(long, value_name = "ADDRESS")]
    pub kv_events: Option<KvEventsAddress>,
    /// Where routers ask for events that they have missed, such as 127.0.0.1:5558
    #[arg(long, value_name = "ADDRESS", requires = "kv_events")]
    pub kv_events_replay: Option<KvEventsAddress>,
    /// The topic of the events: none for NVIDIA Dynamo, kv@POD-IP:PORT@MODEL for llm-d
    #[arg(long, value_name = "TEXT", requires = "kv_events", default_value = "", hide_default_value = true)]
    pub kv_events_topic: String,
    /// Offer /v1/redact, texts without personal data, by the privacy filter in this folder [default: none]
    #[arg(long, value_name = "DIR")]
    pub redact: Option<PathBuf>,
    /// What Chat Completions calls the reasoning
    #[arg(long, value_name = "NAME", default_value = "both")]
    pub reasoning_field: ReasoningName,
    /// Tell the model no date; the demo is told none anyway
    #[arg(long)]
    pub no_date: bool,
    /// How lines of log look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogForm,
    /// Send traces of requests to this OpenTelemetry collector, such as http://127.0.0.1:4318, over HTTP
    /// [default: that of OTEL_EXPORTER_OTLP_ENDPOINT, else none]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Write no line of log for each request
    #[arg(long)]
    pub quiet: bool,
    /// Tokens of context to keep room for [default: the model's, at most 32768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// Longest request body, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_body: u16,
    /// Seconds that a shutdown waits for running requests
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub drain_timeout: u64,
    /// Seconds after SIGTERM in which the listener still answers that the server stops
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub stop_grace: u64,
    /// Connections at a time that have sent a request; more wait until one ends
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Seconds that a request may take, waiting included; then it ends with what it has
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..))]
    pub request_timeout: u64,
    /// Most tokens of reasoning of any request; a request, or a key's reasoning-budget=N, may ask for fewer
    #[arg(long, value_name = "N")]
    pub reasoning_budget: Option<u32>,
    /// Tokens that reasoning leaves to the answer or call [default: a quarter of those that there is room
    /// for, 16 to 512]
    #[arg(long, value_name = "N")]
    pub answer_tokens: Option<u32>,
    /// Let reasoning go on that repeats itself word for word
    #[arg(long)]
    pub no_loop_breaker: bool,
    /// Most tokens of reasoning before a call that a request demands
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub forced_reasoning: u32,
    /// Seconds for which the reasoning before a call is kept for clients that do not send it back
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub call_memory: u64,
    /// Stop when standard input ends: `gptoss launch` holds the other end
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
    /// The settings' file.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How conversations share the machine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// An address to listen at for ZeroMQ: IP:PORT, with tcp:// before it or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvEventsAddress(pub SocketAddr);

impl FromStr for KvEventsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<KvEventsAddress, String> {
        let plain = text.strip_prefix("tcp://").unwrap_or(text);
        // As ZeroMQ writes all addresses of a machine.
        let plain = plain.strip_prefix("*:").map_or(plain.to_owned(), |port| format!("0.0.0.0:{port}"));
        let address =
            plain.parse().map_err(|_| format!("`{text}` is not an address: write 127.0.0.1:5557"))?;
        Ok(KvEventsAddress(address))
    }
}

/// A tool that the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServedTool {
    /// web_search: searches, opens pages and finds in them; needs --browser
    Browser,
    /// code_interpreter: Python that keeps its state, behind walls
    Python,
}

/// How lines of log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What Chat Completions calls the reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReasoningName {
    /// It is sent twice, under both names
    Both,
    /// As OpenAI's guide for the models has it
    Reasoning,
    /// As older clients read it
    #[value(name = "reasoning_content")]
    ReasoningContent,
}
