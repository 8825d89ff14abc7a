//! `gptoss load`: how fast a server of OpenAI's API answers, and how many it can answer at a time.
//!
//! Levels follow each other: rates, at which requests are sent whatever the server does (open loop), or
//! numbers of requests that are kept running (closed loop). `prompt.rs` makes the requests, `level.rs` sends
//! them, `exchange.rs` is one of them on the wire, `record.rs` what it told, `figures.rs` adds up,
//! `report.rs` and `plot.rs` show. Nothing of the model is known here: any address will do.

pub mod draw;
mod exchange;
pub mod figures;
mod level;
pub mod plot;
mod prompt;
mod record;
mod report;
mod sse;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use hyper::Uri;
use hyper::header::HeaderValue;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::air_gap;
use crate::args::{ArrivalsArg, LoadArgs, SendingArgs};
use crate::failure::usage;
use crate::input;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::output::Target;
use crate::progress::{Progress, Unit};
use draw::Purpose;
use exchange::{Connector, Server};
use figures::{Figures, Time};
use level::{Ran, Room, Until};
use prompt::{Scale, Workload};
use record::Failure;
use report::Measured;

/// Requests of a level, unless the flags say otherwise.
const REQUESTS_DEFAULT: u32 = 100;
/// Words of the two prompts that show what a word costs.
const PROBE_WORDS: [u32; 2] = [64, 320];
/// Between the start of a level and its first arrival, so that the pacing thread is there in time.
const LEAD: Duration = Duration::from_millis(20);
/// The level number of requests that are not measured.
const WARMUP_LEVEL: u64 = u64::MAX - 1;

/// What is held up to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// Requests a second.
    Open(f64, ArrivalsArg),
    /// Requests at a time.
    Closed(u32),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Open(rate, ArrivalsArg::Poisson) => write!(f, "rate {rate}/s"),
            Level::Open(rate, ArrivalsArg::Constant) => write!(f, "rate {rate}/s constant"),
            Level::Closed(concurrency) => write!(f, "concurrency {concurrency}"),
        }
    }
}

/// Runs the command. Ends with 1 when no request was answered, and with 130 after Ctrl-C; what was measured
/// is printed in any case.
///
/// Errors: an address or key that cannot be one (usage), a server that lists no model, a file that cannot be
/// read or written.
pub fn run(args: &LoadArgs) -> Result<ExitCode> {
    air_gap::refused(gptoss_egress::check("load"))?;
    let server = Server::new(&base(&args.url)?, args.endpoint, authorization(args)?, args.sending.timeout);
    let [output, plot] = [&args.output, &args.plot].map(|file| file.as_deref().map(Target::at).transpose());
    let (output, plot) = (output?, plot?);
    raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let stop = stop_on_ctrl_c(&runtime);
    let workload = prepare(args, &runtime, &server, &stop)?;
    let mut measured = Vec::new();
    for (number, level) in (0..).zip(levels(&args.sending)) {
        if *stop.borrow() {
            break;
        }
        let ran = run_level(args, &runtime, &server, &stop, &workload, (number, level))?;
        let figures = Figures::of(&ran, &args.sending.slo);
        say(&summary(level, &figures));
        measured.push(Measured { level, figures });
    }
    let object = report::json(args, workload.model(), &measured);
    if let Some(target) = output {
        target.write(|out| input::write_json_line(out, &object))?;
    }
    if let Some(target) = plot {
        plot::write_svg(&target, &format!("{} at {}", workload.model(), args.url), &measured)?;
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.json {
        true => input::write_json_line(&mut out, &object)?,
        false => report::print(&mut out, args, workload.model(), &measured)?,
    }
    out.flush()?;
    if *stop.borrow() {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    if measured.iter().all(|it| it.figures.completed == 0) {
        bail!("no request was answered: see the kinds of failures above");
    }
    Ok(ExitCode::SUCCESS)
}

/// Progress, a line a step, on standard error.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "load: {}", crate::terminal::safe(line));
}

fn summary(level: Level, figures: &Figures) -> String {
    let first = figures.time(Time::Ttft).map_or("-".to_owned(), |spread| format!("{:.1} ms", spread.p50));
    format!(
        "{level}: {} answered, {} failed, {:.1} output tokens/s, TTFT p50 {first}",
        figures.completed,
        figures.failed(),
        figures.output_throughput()
    )
}

/// The base address, which must be one of http or https.
fn base(url: &str) -> Result<String> {
    let is_address = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    match url.parse::<Uri>().ok().filter(is_address) {
        Some(_) => Ok(url.to_owned()),
        None => Err(usage(format!("`{url}` is not an address: write one such as http://127.0.0.1:8000/v1"))),
    }
}

fn authorization(args: &LoadArgs) -> Result<Option<HeaderValue>> {
    let Some(name) = &args.api_key_env else { return Ok(None) };
    let Ok(key) = std::env::var(name) else {
        return Err(usage(format!("--api-key-env {name}: no such variable is set")));
    };
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.trim()))
        .map_err(|_| usage(format!("--api-key-env {name}: its value cannot be a key")))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn levels(args: &SendingArgs) -> Vec<Level> {
    match (args.rate.as_slice(), args.concurrency.as_slice()) {
        ([], []) => vec![Level::Closed(1)],
        ([], numbers) => numbers.iter().map(|number| Level::Closed(*number)).collect(),
        (rates, _) => rates.iter().map(|rate| Level::Open(*rate, args.arrivals)).collect(),
    }
}

/// Asks for the model's name if none is given, for the cost of words, and for the requests of the warm-up.
fn prepare(
    args: &LoadArgs,
    runtime: &Runtime,
    server: &Server<Connector>,
    stop: &watch::Receiver<bool>,
) -> Result<Workload> {
    let model = match &args.model {
        Some(model) => model.clone(),
        None => match runtime.block_on(unless_stopped(stop, server.first_model())) {
            Some(listed) => listed.map_err(|failure| unlisted(&args.url, &failure))?,
            None => String::new(),
        },
    };
    let mut workload = Workload::new(&args.asking, args.endpoint, model)?;
    if workload.has_lengths() {
        match runtime.block_on(unless_stopped(stop, scale(server, &workload))) {
            Some(Some(scale)) => workload = workload.scaled(scale),
            Some(None) => say("the server counts no tokens of prompts: a word is taken for a token"),
            None => {}
        }
    }
    if args.sending.warmup > 0 {
        let mut progress = Progress::new("warming up", Unit::Requests);
        let total = u64::from(args.sending.warmup);
        let mut heard = |done: usize| progress.set(done as u64, total);
        let room = Room { server, stop: stop.clone(), progress: &mut heard };
        let until = Until::Requests(args.sending.warmup);
        let ask = |index| workload.ask(WARMUP_LEVEL, index);
        runtime.block_on(level::closed(room, 1, until, ask));
    }
    Ok(workload)
}

/// The work's result, unless Ctrl-C comes first.
async fn unless_stopped<T>(stop: &watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! { () = level::stopped(&mut stop) => None, done = work => Some(done) }
}

fn unlisted(url: &str, failure: &Failure) -> anyhow::Error {
    anyhow!("{}: {}", failure.fault, failure.detail).context(format!(
        "{url} does not say which models it has\nis it running, and is the address right? Otherwise give --model"
    ))
}

/// What a word costs this server's tokenizer, by the usage of two prompts.
async fn scale(server: &Server<Connector>, workload: &Workload) -> Option<Scale> {
    let mut counts = Vec::new();
    for num_words in PROBE_WORDS {
        let record = server.exchange(workload.probe(num_words), Instant::now(), None).await;
        // An answer of one token may be all header: it is counted and shows nothing.
        let Some(usage) = record.answer.usage else {
            if let Some(failure) = &record.failure {
                say(&format!("a prompt of {num_words} words: {}: {}", failure.fault, failure.detail));
            }
            return None;
        };
        counts.push((num_words, usage.prompt_tokens));
    }
    Scale::through(counts[0], counts[1])
}

fn run_level(
    args: &LoadArgs,
    runtime: &Runtime,
    server: &Server<Connector>,
    stop: &watch::Receiver<bool>,
    workload: &Workload,
    (number, level): (u64, Level),
) -> Result<Ran> {
    let sending = &args.sending;
    let (until, total) = match sending.duration {
        Some(time) => (Until::Elapsed(time), None),
        None => {
            let requests = sending.requests.unwrap_or(REQUESTS_DEFAULT);
            (Until::Requests(requests), Some(u64::from(requests)))
        }
    };
    let started = Instant::now();
    let unit = if total.is_some() { Unit::Requests } else { Unit::Seconds };
    let mut progress = Progress::new(level.to_string(), unit);
    let mut heard = |done: usize| match (total, sending.duration) {
        (None, Some(time)) => progress.set(started.elapsed().as_secs(), time.as_secs()),
        _ => progress.set(done as u64, total.unwrap_or(0)),
    };
    let room = Room { server, stop: stop.clone(), progress: &mut heard };
    match level {
        Level::Closed(concurrency) => {
            let ask = |index| workload.ask(number, index);
            Ok(runtime.block_on(level::closed(room, concurrency, until, ask)))
        }
        Level::Open(rate, kind) => {
            let random = draw::random(args.asking.seed, Purpose::Arrivals, number, 0);
            let arrivals = level::until(draw::arrivals(rate, kind, random), until);
            let origin = Instant::now() + LEAD;
            let workload = workload.clone();
            let due = level::pace(origin, arrivals, move |index| workload.ask(number, index))?;
            Ok(runtime.block_on(level::open(room, origin, due)))
        }
    }
}

/// Becomes true at the first Ctrl-C, or never where the system tells of none; the second ends the program.
fn stop_on_ctrl_c(runtime: &Runtime) -> watch::Receiver<bool> {
    let (stop, listener) = watch::channel(false);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        say("interrupted: what was measured follows");
        stop.send_replace(true);
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(i32::from(EXIT_INTERRUPTED));
    });
    listener
}

/// A thousand requests at a time are a thousand connections, which is where many systems stop by default.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, connections fail, and the report says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
