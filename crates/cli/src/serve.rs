//! `gptoss serve`: the OpenAI API over a model.
//!
//! Puts the rooms together: the model, an engine on a thread of its own with a watchdog beside it, and the server on tokio's threads.
//! What is printed before the first request is what an operator wants to know: the memory by name, the address, a line of curl to try.
//! SIGTERM and Ctrl-C stop it gently, a second one at once.
//!
//! Lines of log go to standard error and hold nothing that a client or the model has said.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gptoss_engine::{Engine, EngineHandle, EngineOptions, SamplingParams, watch};
use gptoss_model::{ModelConfig, Term, memory, plan_memory};
use gptoss_server::{App, Keys, Limits, Log, ServedModel, listen, run as serve};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::usage;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::model_source::{Opened, context, precision};
use crate::serve_args::ServeArgs;
use crate::today::today;

/// How long the engine may work on one step before its requests are ended.
const STALL_PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// Runs the command.
pub fn run(args: &ServeArgs) -> Result<ExitCode> {
    let keys = keys(args)?;
    if !args.host.is_loopback() && !keys.are_asked_for() {
        let host = args.host;
        return Err(usage(format!(
            "--host {host} can be reached from other machines, but no API key is asked for\n\
             give --api-key-file FILE, or listen on 127.0.0.1"
        )));
    }
    let opened = Opened::from_argument(&args.model)?;
    let prepared = Prepared::new(args, &opened)?;
    let log: Log = match args.quiet {
        true => Arc::new(|_| {}),
        // Standard error may be closed; then there is nobody left to tell.
        false => Arc::new(|line| drop(writeln!(io::stderr(), "{line}"))),
    };
    let limits = limits(args);
    let app = App::new(
        prepared.model.clone(),
        prepared.engine.clone(),
        limits,
        keys,
        args.state_dir.as_deref(),
        log,
    )?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let listener = listen((args.host, args.port).into(), app.asks_for_keys()).await?;
        let address = listener.local_addr().context("the port has no address")?;
        prepared.print(address)?;
        let stop = stop_signal()?;
        serve(listener, app, stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn keys(args: &ServeArgs) -> Result<Keys> {
    let Some(file) = &args.api_key_file else { return Ok(Keys::default()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Keys::parse(&text).with_context(|| format!("{} cannot be used", file.display()))
}

fn limits(args: &ServeArgs) -> Limits {
    Limits {
        body_bytes_max: usize::from(args.max_body) * MIB as usize,
        drain: Duration::from_secs(args.drain_timeout),
        call_memory: Duration::from_secs(args.call_memory),
        ..Limits::default()
    }
}

/// Ready when the first SIGTERM or Ctrl-C comes; the second ends the program.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let failed = "cannot handle signals";
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        });
    })
}

/// A model that is ready to be served.
struct Prepared {
    model: ServedModel,
    engine: EngineHandle,
    terms: Vec<Term>,
}

impl Prepared {
    fn new(args: &ServeArgs, opened: &Opened) -> Result<Prepared> {
        let config = opened.checkpoint.config();
        let max_context = context(args.context, config, &opened.source)?;
        let defaults = opened.generation_config()?;
        let sampling = SamplingParams {
            temperature: defaults.temperature.unwrap_or(1.0),
            top_p: defaults.top_p.unwrap_or(1.0),
            top_k: defaults.top_k.unwrap_or(0),
            min_p: defaults.min_p.unwrap_or(0.0),
            repetition_penalty: defaults.repetition_penalty.unwrap_or(1.0),
            ..SamplingParams::default()
        };
        let vocab = opened.vocab()?;
        let shape = ModelConfig::from_checkpoint(config)?;
        let plan =
            memory(&shape, &opened.checkpoint.part_bytes(), max_context, precision(args.compute.precision));
        let loaded = Arc::new(opened.load(&args.compute, max_context)?);
        let options = EngineOptions {
            max_sequences: usize::from(args.max_sequences),
            kv_bytes: args.kv_memory.map(|mib| mib * MIB),
            ..EngineOptions::new(max_context)
        };
        let engine = Engine::with_options(loaded, options)?;
        // The cache is the engine's own plan; the rest is the model's.
        let mut terms: Vec<Term> =
            plan.into_iter().filter(|term| !term.name.starts_with("KV cache")).collect();
        terms.extend(engine.kv_plan().terms.iter().cloned());
        let (handle, _thread) = engine.spawn().context("cannot start the engine's thread")?;
        let stalled =
            |ended| drop(writeln!(io::stderr(), "the engine made no progress: {ended} requests were ended"));
        watch(&handle, STALL_PATIENCE, stalled).context("cannot start the watchdog's thread")?;
        let is_demo = opened.source.is_demo();
        let name = if is_demo { "demo".to_owned() } else { opened.source.name() };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let model = ServedModel {
            fingerprint: format!("gptoss-{}-{name}-{:?}", env!("CARGO_PKG_VERSION"), args.compute.precision),
            name,
            aliases: args.alias.clone(),
            is_demo,
            vocab,
            max_context,
            sampling,
            today: (!is_demo && !args.no_date).then_some(today as fn() -> String),
            created,
            weight_bytes: terms
                .iter()
                .filter(|term| !term.name.starts_with("KV cache"))
                .map(|term| term.bytes)
                .sum(),
        };
        Ok(Prepared { model, engine: handle, terms })
    }

    /// The memory, the address, and a line to try.
    fn print(&self, address: std::net::SocketAddr) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for term in &self.terms {
            writeln!(out, "{:>10.1} MiB  {}", term.bytes as f64 / MIB as f64, term.name)?;
        }
        let total: u64 = self.terms.iter().map(|term| term.bytes).sum();
        writeln!(
            out,
            "{:>10.1} MiB  in all, for {} tokens of context",
            total as f64 / MIB as f64,
            self.model.max_context
        )?;
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
}
