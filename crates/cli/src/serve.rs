//! `gptoss serve`: the OpenAI API over a model.
//!
//! Puts the rooms together: the model, the engine as `engine_start` starts it, and the server on tokio's
//! threads. What is printed before the first request is what an operator wants to know: the memory by name,
//! the address, a line of curl to try. SIGTERM and Ctrl-C stop it gently, a second one at once; SIGHUP is
//! ignored.
//!
//! Lines of log go to standard error and hold nothing that a client or the model has said.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gptoss_checkpoint::ExpertFormat;
use gptoss_engine::{SEQUENCES_DEFAULT, SamplingParams};
use gptoss_model::{DenseMode, Model, ModelConfig, Term, parameters};
use gptoss_server::{
    App, CorsOrigin, Keys, Limits, Log, LogFormat, Prompts, ReasoningField, ServedModel, listen, run as serve,
};
use gptoss_turn::{Assistant, TokenTable};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::args::{ComputeArgs, EngineArgs, LogForm, ReasoningName, ServeArgs};
use crate::device;
use crate::engine_start::{self, RunningEngine};
use crate::failure::usage;
use crate::generation_config::GenerationConfig;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::machine;
use crate::memory_budget::{self, Needs};
use crate::model_source::{ModelSource, Opened, context, dense, precision};
use crate::offer;
use crate::otlp::{self, Collector};
use crate::prompt_folder;
use crate::serve_log;
use crate::today::today;

/// How long threads that work on something may take after the last request has ended.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// How long the last lines of log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// A connection, and one that has sent no request yet.
const FILES_PER_CONNECTION: u64 = 2;
/// Files that are kept for other things than connections.
const FILES_RESERVED: u64 = 64;
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// Runs the command.
pub fn run(args: &ServeArgs) -> Result<ExitCode> {
    args.engine.check()?;
    let host = host(args)?;
    let keys = keys(args)?;
    exposed(args, host, &keys)?;
    let prompts = args.prompts.as_deref().map_or_else(|| Ok(Prompts::default()), prompt_folder::read)?;
    let collector = Collector::of_environment(args.otlp_endpoint.as_deref())?;
    let opened = offer::opened(&args.model)?;
    write_notes(args, &opened, &keys, collector.as_ref())?;
    let serving = Serving {
        compute: &args.compute,
        engine: &args.engine,
        context: args.context,
        no_date: args.no_date,
        alias: &args.alias,
    };
    let prepared = Prepared::new(&serving, &opened)?;
    let (log, written): (Log, _) = match args.quiet {
        true => (Arc::new(|_| {}), None),
        false => {
            let (log, written) = serve_log::start(io::stderr());
            (log, Some(written))
        }
    };
    let format = log_format(args.log_format);
    let lines = Arc::clone(&log);
    let notices: Log = Arc::new(move |message| lines(&format.notice(message)));
    let limits = limits(args, &notices);
    let started = collector.map(|collector| otlp::start(&collector, Arc::clone(&notices))).transpose()?;
    let (traces, sent) = started.unzip();
    let app = App::new(
        prepared.model.clone(),
        prepared.assistant.clone(),
        limits,
        keys,
        args.state_dir.as_deref(),
        log,
    )?
    .with_allowed_hosts(allowed_hosts(args))
    .with_cors_origins(args.cors_origin.clone())
    .with_prompts(prompts)
    .with_reasoning_field(reasoning_field(args.reasoning_field))
    .with_log_format(format)
    .with_traces(traces);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let listener = listen((host, args.port).into(), app.asks_for_keys()).await?;
        let address = listener.local_addr().context("the port has no address")?;
        // Whoever reads the address may send signals.
        let parent = args.until_stdin_ends.then(end_of_stdin);
        let stop = stop_signal(Duration::from_secs(args.stop_grace), notices, parent)?;
        prepared.print(address)?;
        serve(listener, app, stop).await;
        anyhow::Ok(())
    })?;
    // What waits for a disk has had the time of the drain.
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    if let Some(sent) = sent {
        sent.wait(Duration::from_secs(args.drain_timeout));
    }
    if let Some(written) = written {
        written.wait(LOG_PATIENCE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what an operator should know before anything is loaded.
fn write_notes(
    args: &ServeArgs,
    opened: &Opened,
    keys: &Keys,
    collector: Option<&Collector>,
) -> io::Result<()> {
    let notes = [collector.and_then(Collector::note), opened.source.caveat()];
    for note in notes.into_iter().flatten() {
        writeln!(io::stderr(), "note: {note}")?;
    }
    if args.cors_origin.contains(&CorsOrigin::Any) && !keys.are_asked_for() {
        writeln!(
            io::stderr(),
            "warning: any page that a browser on this machine shows can use this server and read its answers \
             (--cors-origin '*', and no API key is asked for)"
        )?;
    }
    Ok(())
}

/// The address to listen on. Of several that a name has it is the first of IPv4, which every client has.
///
/// Errors: a usage error for a name that has none.
pub fn host(args: &ServeArgs) -> Result<IpAddr> {
    let name = &args.host;
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let unknown = |why: &dyn std::fmt::Display| {
        usage(format!("--host {name} has no address: {why}\ngive an IP address, or a name of this machine"))
    };
    let found = (name.as_str(), 0).to_socket_addrs().map_err(|error| unknown(&error))?;
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| unknown(&"there is none"))
}

/// The names under which the server may be asked for; that which it listens by is one of them.
fn allowed_hosts(args: &ServeArgs) -> Vec<String> {
    args.allow_host.iter().chain([&args.host]).cloned().collect()
}

/// Errors: a usage error when other machines reach the address and no key is asked for.
pub fn exposed(args: &ServeArgs, address: IpAddr, keys: &Keys) -> Result<()> {
    if address.is_loopback() || keys.are_asked_for() {
        return Ok(());
    }
    let host = &args.host;
    Err(usage(format!(
        "--host {host} can be reached from other machines, but no API key is asked for\n\
         give --api-key-file FILE, or listen on 127.0.0.1"
    )))
}

/// The keys that clients must show; none without a file.
///
/// Errors: the file cannot be read, or holds something else.
pub fn keys(args: &ServeArgs) -> Result<Keys> {
    let Some(file) = &args.api_key_file else { return Ok(Keys::default()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Keys::parse(&text).with_context(|| format!("{} cannot be used", file.display()))
}

fn log_format(form: LogForm) -> LogFormat {
    match form {
        LogForm::Text => LogFormat::Text,
        LogForm::Json => LogFormat::Json,
    }
}

/// A number of parameters as Ollama writes it.
fn parameter_size(count: u64) -> String {
    match count as f64 {
        count if count >= 1e9 => format!("{:.1}B", count / 1e9),
        count => format!("{:.2}M", count / 1e6),
    }
}

fn reasoning_field(name: ReasoningName) -> ReasoningField {
    match name {
        ReasoningName::Both => ReasoningField::Both,
        ReasoningName::Reasoning => ReasoningField::Reasoning,
        ReasoningName::ReasoningContent => ReasoningField::ReasoningContent,
    }
}

fn limits(args: &ServeArgs, log: &Log) -> Limits {
    let wanted = u64::from(args.max_connections);
    let files = machine::raise_open_files(FILES_PER_CONNECTION * wanted + FILES_RESERVED);
    let connections = connections_max(wanted, files);
    if connections < wanted {
        log(&format!(
            "at most {connections} connections at a time: the system allows no more open files (ulimit -n)"
        ));
    }
    Limits {
        body_bytes_max: usize::from(args.max_body) * MIB as usize,
        connections_max: connections as usize,
        drain: Duration::from_secs(args.drain_timeout),
        request_time: Duration::from_secs(args.request_timeout),
        reasoning_max: args.reasoning_budget,
        forced_reasoning_max: args.forced_reasoning,
        answer_tokens: args.answer_tokens.map(|tokens| tokens as usize),
        breaks_loops: !args.no_loop_breaker,
        call_memory: Duration::from_secs(args.call_memory),
        state_bytes_max: args.state_size,
        file_bytes_max: args.max_file,
        files_max: args.max_files as usize,
        files_bytes_max: args.files_size,
        batch_lines_max: usize::from(args.batch_lines),
        batches_max: args.max_batches as usize,
        ..Limits::default()
    }
}

/// As many connections as are wanted and as the system has files for.
fn connections_max(wanted: u64, files: Option<u64>) -> u64 {
    let room = |files: u64| files.saturating_sub(FILES_RESERVED).max(files / 2) / FILES_PER_CONNECTION;
    files.map_or(wanted, |files| wanted.min(room(files)).max(1))
}

/// Ready when the first SIGTERM or Ctrl-C comes; the second ends the program. Whoever pressed Ctrl-C waits
/// for it, so only SIGTERM has a grace. A terminal that closes stops nothing.
fn stop_signal(
    grace: Duration,
    log: Log,
    parent: Option<oneshot::Receiver<()>>,
) -> Result<impl Future<Output = Duration>> {
    let parent_ends = async move {
        match parent {
            // Whichever way the other half goes, standard input has ended.
            Some(parent) => drop(parent.await),
            None => std::future::pending().await,
        }
    };
    let failed = "cannot handle signals";
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let mut hangup = signal(SignalKind::hangup()).context(failed)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            log("SIGHUP changes nothing; SIGTERM stops the server");
        }
    });
    Ok(async move {
        let grace = tokio::select! {
            _ = terminate.recv() => grace,
            _ = interrupt.recv() => Duration::ZERO,
            () = parent_ends => Duration::ZERO,
        };
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        });
        grace
    })
}

/// Ready when standard input ends. A thread of its own waits: it may stay until the program ends.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // An error is an end too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    receiver
}

/// What of a command's flags says how a model is served.
pub struct Serving<'a> {
    /// How the numbers are made.
    pub compute: &'a ComputeArgs,
    /// How conversations share the machine.
    pub engine: &'a EngineArgs,
    /// Tokens of context to keep room for.
    pub context: Option<u32>,
    /// Whether the model is told no date.
    pub no_date: bool,
    /// Other names for the model.
    pub alias: &'a [String],
}

/// A model that is ready to be served.
pub struct Prepared {
    /// What is known of it.
    pub model: ServedModel,
    /// The way to it.
    pub assistant: Assistant,
    /// Ends the engine's thread when it is dropped.
    _engine: RunningEngine,
    terms: Vec<Term>,
}

impl Prepared {
    /// Loads it and starts its engine.
    ///
    /// Errors: the files, the flags, the memory.
    pub fn new(args: &Serving<'_>, opened: &Opened) -> Result<Prepared> {
        let compute = args.compute;
        let max_context = context(args.context, opened.checkpoint.config(), &opened.source)?;
        let defaults = opened.generation_config()?;
        let vocab = opened.vocab()?;
        let options = args.engine.options(max_context, SEQUENCES_DEFAULT);
        let kv = engine_start::plan_kv(opened, compute, &options)?;
        let needs = Needs {
            context: max_context,
            precision: precision(compute.precision),
            dense: dense(compute.dense, compute.precision)?,
            kv: Some(&kv),
        };
        let loaded = Arc::new(opened.load(compute, max_context, Some(&kv))?);
        let terms = match loaded.device() {
            None => memory_budget::whole(&opened.checkpoint, &needs)?,
            Some(_) => device::plan(&opened.checkpoint, &needs, loaded.kv_format())?,
        };
        let fingerprint = fingerprint(opened, &loaded, needs.dense);
        let engine = engine_start::start(loaded, opened, compute, args.engine, options)?;
        let assistant = Assistant::new(engine.handle.clone(), TokenTable::new(vocab)?)?;
        let is_demo = opened.source.is_demo();
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let weights = terms.iter().filter(|term| term.name.starts_with("weights"));
        let config = ModelConfig::from_checkpoint(opened.checkpoint.config())?;
        let num_parameters = parameters(&config).iter().map(|part| part.total).sum();
        let model = ServedModel {
            fingerprint,
            name: served_name(&opened.source),
            aliases: args.alias.to_vec(),
            is_demo,
            max_context,
            sampling: sampling(&defaults),
            today: (!is_demo && !args.no_date).then_some(today as fn() -> String),
            created,
            weight_bytes: weights.map(|term| term.bytes).sum(),
            parameter_size: parameter_size(num_parameters),
            quantization: match opened.checkpoint.expert_format() {
                ExpertFormat::Mxfp4 => "MXFP4",
                ExpertFormat::Bf16 => "BF16",
            },
        };
        let terms = if compute.memory.is_some() { Vec::new() } else { terms };
        Ok(Prepared { model, assistant, _engine: engine, terms })
    }

    /// The memory, the address, and a line to try.
    fn print(&self, address: std::net::SocketAddr) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.print_memory(&mut out)?;
        let name = &self.model.name;
        writeln!(
            out,
            "\n{name} is served at http://{address}/v1 ; the API is described at http://{address}/"
        )?;
        if self.model.is_demo {
            writeln!(
                out,
                "It is the small demo model inside this program, made to show everything at work."
            )?;
        }
        let body = format!(
            r#"{{"model": "{name}", "messages": [{{"role": "user", "content": "What is 27 + 58?"}}]}}"#
        );
        writeln!(
            out,
            "\ncurl http://{address}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n"
        )?;
        out.flush()
    }

    /// The plan of `--memory` was shown when the model was loaded; without that flag nothing is planned, and
    /// this is what it adds up to.
    fn print_memory(&self, out: &mut impl Write) -> io::Result<()> {
        if self.terms.is_empty() {
            return Ok(());
        }
        for term in &self.terms {
            writeln!(out, "  {:>9}  {}", memory_budget::human(term.bytes), term.name)?;
        }
        let total: u64 = self.terms.iter().map(|term| term.bytes).sum();
        let context = self.model.max_context;
        writeln!(out, "  {:>9}  in all, for {context} tokens of context", memory_budget::human(total))
    }
}

/// The name that clients see. Of a folder or a file it is the last part without `.gguf`: where models lie is
/// the operator's business.
pub fn served_name(source: &ModelSource) -> String {
    let last = match source {
        // `.` and `..` have no last part before they are resolved.
        ModelSource::Folder(path) => {
            path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        }
        ModelSource::Gguf(path) => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        ModelSource::Demo
        | ModelSource::Synthetic(..)
        | ModelSource::Ollama { .. }
        | ModelSource::Repository { .. } => None,
    };
    last.unwrap_or_else(|| source.name())
}

/// Sampling of requests that say nothing: the model's own file, else the recommended.
fn sampling(file: &GenerationConfig) -> SamplingParams {
    let default = SamplingParams::default();
    SamplingParams {
        temperature: file.temperature.unwrap_or(default.temperature),
        top_p: file.top_p.unwrap_or(default.top_p),
        top_k: file.top_k.unwrap_or(default.top_k),
        min_p: file.min_p.unwrap_or(default.min_p),
        repetition_penalty: file.repetition_penalty.unwrap_or(default.repetition_penalty),
        ..default
    }
}

/// Build, model and numeric mode: what the bytes of a seeded request depend on besides itself.
fn fingerprint(opened: &Opened, model: &Model, dense: DenseMode) -> String {
    let (version, name) = (env!("CARGO_PKG_VERSION"), served_name(&opened.source));
    let numbers = format!("{:?}-{dense:?}-{:?}", model.precision(), model.kv_format());
    let fingerprint = format!("gptoss-{version}-{name}-{numbers}");
    match engine_start::device_class(model) {
        device if device.is_empty() => fingerprint,
        device => format!("{fingerprint}-{}", device.replace(' ', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(connections_max(512, None), 512);
        assert_eq!(connections_max(512, Some(1088)), 512);
        assert_eq!(connections_max(512, Some(1024)), 480);
        assert_eq!(connections_max(512, Some(256)), 96);
        assert_eq!(connections_max(512, Some(20)), 5);
    }

    #[test]
    fn clients_do_not_see_where_a_model_lies() {
        let check = |text: &str, expected: &str| {
            assert_eq!(served_name(&ModelSource::parse(text).unwrap()), expected);
        };
        check("demo", "demo");
        check("synthetic:tiny@3", "synthetic:tiny@3");
        check("src", "src");
        check("./src/..", env!("CARGO_PKG_NAME").trim_start_matches("gptoss-"));
    }
}
