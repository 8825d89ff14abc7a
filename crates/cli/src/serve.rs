//! `gptoss serve`: the OpenAI API over a model, or over several.
//!
//! Puts the rooms together: the models as `served_models` prepares them, and the server on tokio's
//! threads. What is printed before the first request is what an operator wants to know: the memory by name,
//! the address, a line of curl to try. SIGTERM and Ctrl-C stop it gently, a second one at once; SIGHUP has
//! what can be read again read again (`reload`).
//!
//! Lines of log go to standard error and hold nothing that a client or the model has said.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use gptoss_engine::KvEventSender;
use gptoss_govern::Texts;
use gptoss_guard::Guard;
use gptoss_server::{
    App, CorsOrigin, Governance, Keys, Limits, Log, LogFormat, Prompts, ReasoningField, Tls, ToolHost, bind,
    run as serve,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::air_gap;
use crate::args::{DeviceArg, LogForm, ReasoningName, ServeArgs};
use crate::audit_forward::AuditForward;
use crate::crash;
use crate::failure::usage;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::kv_events;
use crate::machine;
use crate::memory_budget;
use crate::model_source::{ModelSource, Opened};
use crate::named_model::NamedModel;
use crate::offer;
use crate::opened_adapter::{OpenedAdapter, assign};
use crate::otlp::{self, Collector};
use crate::prompt_folder;
use crate::reload::Reload;
use crate::serve_log;
use crate::served_filter::ServedFilter;
use crate::served_gateway::ServedGateway;
use crate::served_guard;
use crate::served_models::{NamedSource, Planned, Prepared, Serving, served_name};
use crate::served_rules;
use crate::served_tls;
use crate::served_tools;
use crate::served_worker::BoundWorker;
use crate::supervisor::{Supervisor, attended};
use crate::train::JobRunner;

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
    crash::keep_words();
    args.engine.check()?;
    let host = host(args)?;
    let guard = served_guard::open(args)?;
    let (governance, keys) = admission(args, guard.as_ref())?;
    exposed(args, host, &keys)?;
    let forward = forward(args)?;
    let prompts = args.prompts.as_deref().map_or_else(|| Ok(Prompts::default()), prompt_folder::read)?;
    let tls = served_tls::open(args)?;
    // Before models are loaded: a port that is taken is told at once.
    let bound = bind((host, args.port).into(), keys.are_asked_for())?;
    let worker = BoundWorker::bind(args, tls.as_ref())?;
    air_gap::wall()?;
    let (collector, note) = Collector::of_environment(args.otlp_endpoint.as_deref())?;
    write_notes(args, (host, tls.as_deref()), &keys, note.as_deref())?;
    let training = training(args)?
        .map(|(threads, folder)| Ok::<_, Error>((runner(args, threads)?, folder)))
        .transpose()?;
    let tools = served_tools::open(args)?;
    let filter =
        args.redact.as_deref().map(|folder| ServedFilter::open(folder, args.compute.threads)).transpose()?;
    let filter = filter.map(Arc::new);
    let gateway = ServedGateway::open(args, filter.as_ref())?;
    let (events, source) = kv_events::open(args)?.map(|told| (told.sender, told.source)).unzip();
    let Prepared { models, plans, budget, alone } = prepared(args, events)?;
    let worker = worker.map(|worker| worker.of(args, &plans, alone, source)).transpose()?;
    let (log, written) = lines_of_log(args.quiet);
    let format = log_format(args.log_format);
    let lines = Arc::clone(&log);
    let notices: Log = Arc::new(move |message| lines(&format.notice(message)));
    let limits = limits(args, &notices);
    // Who has something to read again subscribes.
    let reload = Reload::default();
    let started = collector.map(|collector| otlp::start(&collector, Arc::clone(&notices))).transpose()?;
    let (traces, sent) = started.unzip();
    let app = App::new(models, limits, keys, args.state_dir.as_deref(), log)?
        .with_allowed_hosts(allowed_hosts(args))
        .with_cors_origins(args.cors_origin.clone())
        .with_prompts(prompts)
        .with_adapter_root(adapter_root(args)?)
        .with_reasoning_field(reasoning_field(args.reasoning_field))
        .with_log_format(format)
        .with_tls(tls.clone())
        .with_traces(traces);
    let app = with_offers(app, (tools, guard), filter, gateway.as_ref(), training)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let listener = bound.listen()?;
        let address = listener.local_addr().context("the port has no address")?;
        // Whoever reads the address may send signals.
        let parent = args.until_stdin_ends.then(end_of_stdin);
        follow(args, (governance, tls.as_ref(), gateway), forward, &reload, &notices);
        let told = Arc::clone(&notices);
        reload.follow_hangups(notices)?;
        let stop = stop_signal(Duration::from_secs(args.stop_grace), parent)?;
        print(&plans, budget, (address, tls.is_some()))?;
        let stop = attended(Supervisor::of_environment(), app.pulse(), format!("at {address}"), stop);
        match worker {
            Some(worker) => worker.beside(stop, told, |stop| serve(listener, app, stop)).await?,
            None => serve(listener, app, stop).await,
        }
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

/// Where lines of log go, and who waits for the last of them.
fn lines_of_log(is_quiet: bool) -> (Log, Option<serve_log::Written>) {
    if is_quiet {
        return (Arc::new(|_| {}), None);
    }
    let (log, written) = serve_log::start(io::stderr());
    (log, Some(written))
}

/// Where the audit's entries go as they come.
fn forward(args: &ServeArgs) -> Result<Option<AuditForward>> {
    let texts = if args.audit_forward_content { Texts::With } else { Texts::Without };
    let open = |file| AuditForward::open(file, args.state_dir.as_deref(), texts);
    args.audit_forward.as_deref().map(open).transpose()
}

/// What can be read again is, at the operator's word.
fn follow(
    args: &ServeArgs,
    (governance, tls, gateway): (Option<Arc<Governance>>, Option<&Arc<Tls>>, Option<ServedGateway>),
    forward: Option<AuditForward>,
    reload: &Reload,
    notices: &Log,
) {
    if let Some(governance) = governance {
        if let Some(forward) = forward {
            forward.follow(Arc::clone(&governance), Arc::clone(notices));
        }
        let file = args.govern.clone().unwrap_or_default();
        reload.follow(notices, move || served_rules::reread(&file, &governance));
    }
    if let Some(tls) = tls.cloned() {
        reload.follow(notices, move || tls.reload());
    }
    if let Some(gateway) = gateway {
        reload.follow(notices, move || gateway.reload());
    }
}

/// Whom the server lets in, and by which rules.
///
/// Errors: rules or keys that cannot be read or held to.
fn admission(args: &ServeArgs, guard: Option<&Guard>) -> Result<(Option<Arc<Governance>>, Keys)> {
    let Some(rules) = served_rules::read(args, guard)? else { return Ok((None, keys(args)?)) };
    let governance = served_rules::open(args, rules, guard)?;
    Ok((Some(Arc::clone(&governance)), Keys::governed(governance)))
}

/// With what the flags turn on besides the models.
///
/// Errors: a policy whose model is not served; a folder that cannot be made.
fn with_offers(
    app: App,
    (tools, guard): (Option<Arc<dyn ToolHost>>, Option<Guard>),
    filter: Option<Arc<ServedFilter>>,
    gateway: Option<&ServedGateway>,
    training: Option<(JobRunner, PathBuf)>,
) -> Result<App> {
    let app = match tools {
        Some(tools) => app.with_tools(tools),
        None => app,
    };
    let app = match guard {
        Some(guard) => app.with_guard(guard, served_guard::ask())?,
        None => app,
    };
    let app = match filter {
        Some(filter) => app.with_redactor(filter),
        None => app,
    };
    let app = match gateway {
        Some(served) => app.with_gateway(Arc::clone(&served.gateway)),
        None => app,
    };
    Ok(match training {
        Some((runner, folder)) => app.with_training(Arc::new(runner), &folder)?,
        None => app,
    })
}

/// The folder whose adapters requests may load.
///
/// Errors: a usage error when it is no folder.
fn adapter_root(args: &ServeArgs) -> Result<Option<PathBuf>> {
    match &args.adapter_root {
        Some(folder) if !folder.is_dir() => {
            Err(usage(format!("--adapter-root {}: there is no such folder", folder.display())))
        }
        folder => Ok(folder.clone()),
    }
}

/// By how many threads is trained, and in which folder, if at all.
///
/// Errors: a usage error for flags that do not go together.
fn training(args: &ServeArgs) -> Result<Option<(u16, PathBuf)>> {
    let Some(threads) = args.train_threads else { return Ok(None) };
    let Some(folder) = &args.state_dir else {
        return Err(usage(
            "--train-threads: what is trained lies in the state folder, and there is none\ngive --state-dir DIR too",
        ));
    };
    if args.compute.device != DeviceArg::Cpu {
        return Err(usage(
            "--train-threads: tuned models run on the CPU for now\nadd --device cpu, or leave --device out",
        ));
    }
    Ok(Some((threads, folder.join("tuning"))))
}

/// Who trains the models that are served.
///
/// Errors: a word that means no model.
fn runner(args: &ServeArgs, threads: u16) -> Result<JobRunner> {
    let model = |text: &String| {
        let NamedModel { name, source } = NamedModel::parse(text);
        let source = ModelSource::parse(source)?;
        Ok((name.map_or_else(|| served_name(&source), str::to_owned), source))
    };
    Ok(JobRunner { models: args.model.iter().map(model).collect::<Result<_>>()?, threads })
}

/// Says what an operator should know before anything is loaded.
fn write_notes(
    args: &ServeArgs,
    (host, tls): (IpAddr, Option<&Tls>),
    keys: &Keys,
    note: Option<&str>,
) -> io::Result<()> {
    if let Some(note) = note {
        writeln!(io::stderr(), "note: {note}")?;
    }
    for warning in tls.into_iter().flat_map(|tls| served_tls::warnings(args, tls)) {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    if tls.is_none() && !host.is_loopback() {
        writeln!(
            io::stderr(),
            "note: keys and texts cross the network in the clear: give --tls-cert and --tls-key, or put a \
             proxy that speaks TLS before --host 127.0.0.1"
        )?;
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
    if let Some(address) = air_gap::address_of(name) {
        return Ok(address);
    }
    air_gap::refused(gptoss_egress::check(format_args!("--host {name}, whose address would be asked for,")))?;
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
    if address.is_loopback() || keys.are_asked_for() || args.govern.is_some() {
        return Ok(());
    }
    let host = &args.host;
    Err(usage(format!(
        "--host {host} can be reached from other machines, but no API key is asked for\n\
         give --api-key-file FILE or --govern FILE, or listen on 127.0.0.1"
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
        load_patience: Duration::from_secs(args.load_timeout),
        ..Limits::default()
    }
}

/// As many connections as are wanted and as the system has files for.
fn connections_max(wanted: u64, files: Option<u64>) -> u64 {
    let room = |files: u64| files.saturating_sub(FILES_RESERVED).max(files / 2) / FILES_PER_CONNECTION;
    files.map_or(wanted, |files| wanted.min(room(files)).max(1))
}

/// Ready when the first SIGTERM or Ctrl-C comes; the second ends the program. Whoever pressed Ctrl-C waits
/// for it, so only SIGTERM has a grace.
fn stop_signal(
    grace: Duration,
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

/// All models as `open` opens them.
///
/// Errors: the files, a word that means nothing.
fn sources(args: &ServeArgs, open: impl Fn(&str) -> Result<Opened>) -> Result<Vec<NamedSource>> {
    let source = |text: &String| {
        let NamedModel { name, source } = NamedModel::parse(text);
        let opened = open(source)?;
        let name = name.map_or_else(|| served_name(&opened.source), str::to_owned);
        Ok(NamedSource { name, opened })
    };
    let mut sources = args.model.iter().map(source).collect::<Result<Vec<NamedSource>>>()?;
    for text in &args.adapter {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let assigned = assign(text, &names)?;
        let opened = &mut sources[assigned.model].opened;
        let adapter = OpenedAdapter::open(assigned.name, assigned.folder, &opened.checkpoint)?;
        opened.adapters.push(adapter);
    }
    Ok(sources)
}

/// Whether the adapters fit their models: what each is called.
///
/// Errors: as opening models and adapters.
pub fn adapters(args: &ServeArgs) -> Result<Vec<String>> {
    let sources = sources(args, Opened::from_argument)?;
    let names = |source: &NamedSource| {
        let each = source.opened.adapters.iter().map(|adapter| format!("{}:{}", source.name, adapter.name));
        each.collect::<Vec<_>>()
    };
    Ok(sources.iter().flat_map(names).collect())
}

/// Several models, looked at and not loaded.
///
/// Errors: as [`Prepared::several`].
pub fn prepared_unloaded(args: &ServeArgs) -> Result<Prepared> {
    Prepared::several(&serving(args, None), &sources(args, Opened::from_argument)?)
}

/// The flags that say how models are served.
fn serving<'a>(args: &'a ServeArgs, kv_events: Option<&'a KvEventSender>) -> Serving<'a> {
    Serving {
        compute: &args.compute,
        engine: &args.engine,
        context: args.context,
        no_date: args.no_date,
        alias: &args.alias,
        idle: args.model_idle,
        kv_events,
    }
}

/// The models, of which one alone is loaded now.
fn prepared(args: &ServeArgs, events: Option<KvEventSender>) -> Result<Prepared> {
    let sources = sources(args, offer::opened)?;
    for caveat in sources.iter().filter_map(|source| source.opened.source.caveat()) {
        writeln!(io::stderr(), "note: {caveat}")?;
    }
    let serving = serving(args, events.as_ref());
    match sources.as_slice() {
        [one] => Prepared::one(&serving, one),
        several => Prepared::several(&serving, several),
    }
}

/// The memory, the address, and a line to try.
fn print(plans: &[Planned], budget: Option<u64>, (address, is_tls): (SocketAddr, bool)) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for planned in plans.iter().filter(|planned| !planned.terms.is_empty()) {
        if plans.len() > 1 {
            writeln!(out, "{}:", planned.served.name)?;
        }
        planned.write(&mut out)?;
    }
    let Some((first, others)) = plans.split_first() else { return Ok(()) };
    let name = &first.served.name;
    let page = format!("{}://{address}/", if is_tls { "https" } else { "http" });
    writeln!(
        out,
        "\n{name} is served at {page}v1 ; talk to it at {page} ; the API is described at {page}docs"
    )?;
    if first.served.is_demo {
        writeln!(out, "It is the small demo model inside this program, made to show everything at work.")?;
    }
    let adapted = |planned: &Planned| {
        planned.adapters.iter().map(|name| format!("{}:{name}", planned.served.name)).collect::<Vec<_>>()
    };
    let adapters: Vec<String> = plans.iter().flat_map(adapted).collect();
    if !adapters.is_empty() {
        let are = if adapters.len() == 1 { "Its adapter is served as" } else { "Adapters are served as" };
        writeln!(out, "{are} {}.", adapters.join(", "))?;
    }
    if let Some(budget) = budget {
        let names: Vec<&str> = others.iter().map(|planned| planned.served.name.as_str()).collect();
        writeln!(
            out,
            "So {} {}: each is loaded when it is asked for, and those in memory take at most {} together.",
            if names.len() == 1 { "is" } else { "are" },
            names.join(", "),
            memory_budget::human(budget)
        )?;
    }
    let body =
        format!(r#"{{"model": "{name}", "messages": [{{"role": "user", "content": "What is 27 + 58?"}}]}}"#);
    writeln!(out, "\ncurl {page}v1/chat/completions -H 'content-type: application/json' -d '{body}'\n")?;
    out.flush()
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
}
