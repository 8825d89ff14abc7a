//! `gptoss doctor`: what this machine has, what the program chooses on it, and what would fail.
//!
//! Each line is `ok`, `warn` or `fail`, with what to do. Nothing is changed and nothing asks the network; the
//! one measurement, reading memory with all threads, is bounded. The exit code is 1 when a line fails.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use gptoss_kernels::{HugePages, Pool, Tier};
use serde_json::json;

use crate::args::{Command, DoctorArgs};
use crate::config::{self, Layers};
use crate::finding::{Finding, Level, worst, write_lines};
use crate::hub::Settings;
use crate::memory_budget::human;
use crate::{cells, checks, device, machine, proof, serve, state_folder};

/// How long memory is read, at most.
const READ_TIME: Duration = Duration::from_millis(500);
/// Bytes that are read again and again: more than caches hold.
const READ_BYTES: usize = 128 << 20;
/// Bytes of one task.
const TASK_BYTES: usize = 2 << 20;
/// Bytes of weights that one token of gpt-oss-20b reads, with int8 dense matrices.
const TOKEN_BYTES_20B: f64 = 3.3e9;
/// What gpt-oss-20b takes wholly, and what its files do. Units: bytes.
const MEMORY_20B: u64 = 13_000_000_000;
const FILES_20B: u64 = 13_800_000_000;
/// The least for gpt-oss-20b under `--memory`. Units: bytes.
const MEMORY_LEAST: u64 = 4_000_000_000;
/// Open files that a server with its usual connections wants.
const OPEN_FILES_WANTED: u64 = 1088;
/// The day on which this was written, in seconds since 1970: a clock before it is wrong.
const WRITTEN: u64 = 1_790_000_000;

/// Runs the command.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    if args.prove {
        return proof::run(args);
    }
    let mut findings = vec![processor(), cores(), memory(), huge_pages(), bandwidth(), open_files(), clock()];
    findings.extend(device::findings());
    findings.push(cache());
    findings.push(state());
    findings.extend(cells::findings());
    findings.extend(configuration(args)?);
    let mut out = io::stdout().lock();
    match args.json {
        true => {
            let lines: Vec<_> = findings.iter().map(Finding::to_json).collect();
            let object = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "level": worst(&findings).word(),
                "findings": lines,
            });
            writeln!(out, "{object:#}")?;
        }
        false => write_lines(&mut out, &findings)?,
    }
    out.flush()?;
    Ok(if worst(&findings) == Level::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The processor, and the kernels that are chosen for it.
fn processor() -> Finding {
    let name = machine::processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    match Tier::detect() {
        Tier::Scalar => Finding::warn(
            "processor",
            format!("{name}: scalar kernels, correct and slow"),
            "a processor with AVX2, or 64-bit Arm with dotprod, is many times as fast",
        ),
        tier => Finding::ok("processor", format!("{name}: {} kernels", tier_name(tier))),
    }
}

fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Scalar => "scalar",
        Tier::Neon => "NEON",
        Tier::Avx2 => "AVX2",
        Tier::Avx512Vnni => "AVX-512 VNNI",
        Tier::Avx512Bf16 => "AVX-512 VNNI and BF16",
    }
}

/// How many threads there are for computing, and whether a group allows less.
fn cores() -> Finding {
    let available = machine::threads(None);
    match machine::group_processors() {
        Some(share) if share < available as f64 => Finding::warn(
            "threads",
            format!("{available}, but the control group allows {share:.1} processors"),
            format!("--threads {}, or a larger share of the processors", share.floor().max(1.0)),
        ),
        _ => Finding::ok("threads", format!("{available}, all used unless --threads says otherwise")),
    }
}

fn memory() -> Finding {
    let Some(memory) = machine::memory() else {
        return Finding::warn("memory", "the system does not say how much there is", "give --memory SIZE");
    };
    let (most, available) = (memory.most(), memory.available);
    let limit = memory
        .group_max
        .map_or(String::new(), |limit| format!(", the control group allows {}", human(limit)));
    let says = format!("{} in all, {} free{limit}", human(memory.total), human(available));
    if most < MEMORY_LEAST {
        return Finding::warn("memory", says, "too little for gpt-oss-20b; the demo runs");
    }
    if most.min(available) < MEMORY_20B {
        let share = human(most.min(available) / 10 * 8);
        return Finding::warn(
            "memory",
            says,
            format!(
                "gpt-oss-20b wants {}: run it with --memory {}",
                human(MEMORY_20B),
                share.replace(' ', "")
            ),
        );
    }
    Finding::ok("memory", says)
}

/// Weights lie on large pages: decoding is slower by a third without.
fn huge_pages() -> Finding {
    match machine::huge_pages().as_deref() {
        Some("never") => Finding::warn(
            "large pages",
            "the system gives none",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(how) => Finding::ok("large pages", format!("given ({how})")),
        None => Finding::ok("large pages", "the system does not say"),
    }
}

/// How fast all threads together read memory: what bounds the tokens a second of one conversation.
fn bandwidth() -> Finding {
    let threads = machine::threads(None);
    let rate = read_rate(&Pool::new(threads), READ_BYTES, READ_TIME);
    let tokens = rate / TOKEN_BYTES_20B;
    Finding::ok(
        "bandwidth",
        format!(
            "{:.1} GB/s of reads: at most {tokens:.1} tokens/s of one conversation with gpt-oss-20b",
            rate / 1e9
        ),
    )
}

/// The best of the passes over a buffer within a time. Units: bytes a second.
fn read_rate(pool: &Pool, num_bytes: usize, time: Duration) -> f64 {
    let mut words = HugePages::<u64>::zeroed(num_bytes / size_of::<u64>());
    // Pages come to be when they are written.
    (0..).zip(words.iter_mut()).for_each(|(number, word)| *word = number);
    let parts: Vec<&[u64]> = words.chunks(TASK_BYTES / size_of::<u64>()).collect();
    let start = Instant::now();
    let mut best = 0.0_f64;
    while start.elapsed() < time {
        let pass = Instant::now();
        pool.run(parts.len(), |part| {
            black_box(parts[part].iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        });
        best = best.max(num_bytes as f64 / pass.elapsed().as_secs_f64());
    }
    best
}

fn open_files() -> Finding {
    match machine::open_files() {
        Some(files) if files < OPEN_FILES_WANTED => Finding::warn(
            "open files",
            format!("at most {files}: `serve` takes fewer connections than its 512"),
            format!("ulimit -n {OPEN_FILES_WANTED}, or LimitNOFILE in a systemd unit"),
        ),
        Some(files) => Finding::ok("open files", format!("at most {files}")),
        None => Finding::ok("open files", "no limit"),
    }
}

/// Models are told the date, and TLS wants the right one.
fn clock() -> Finding {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match seconds < WRITTEN {
        true => Finding::fail(
            "clock",
            format!("it is {} here", crate::today::today()),
            "set the clock: models are told the date, and no certificate is valid yet",
        ),
        false => Finding::ok("clock", format!("it is {} (UTC)", crate::today::today())),
    }
}

/// The folder that `pull` writes to: permission and room.
fn cache() -> Finding {
    let cache = match Settings::from_environment() {
        Ok(settings) => settings.cache,
        Err(error) => return Finding::of_error("model cache", &error),
    };
    let found = checks::folder("model cache", &cache);
    if found.level != Level::Ok {
        return found;
    }
    let existing = cache.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    match machine::free_bytes(existing) {
        Some(free) if free < FILES_20B => Finding::warn(
            "model cache",
            format!("{}, {} free on its disk", found.says, human(free)),
            format!(
                "gpt-oss-20b takes {}: `gptoss list` shows what is there, HF_HOME names another disk",
                human(FILES_20B)
            ),
        ),
        Some(free) => Finding::ok("model cache", format!("{}, {} free on its disk", found.says, human(free))),
        None => found,
    }
}

/// The folder of what is remembered between runs.
fn state() -> Finding {
    let Some(folder) = state_folder::place() else {
        return Finding::warn(
            "user's state",
            "there is no folder for it: chat keeps no history",
            "set HOME or XDG_STATE_HOME to a folder that can be written to",
        );
    };
    let found = checks::folder("user's state", &folder);
    match fs::metadata(&folder).ok().filter(writable_by_all) {
        Some(_) => Finding::warn(
            "user's state",
            format!("{} can be written to by everybody", folder.display()),
            format!("chmod 700 {}", folder.display()),
        ),
        None => found,
    }
}

#[cfg(unix)]
fn writable_by_all(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn writable_by_all(_: &fs::Metadata) -> bool {
    false
}

/// What `serve` would stumble over with the settings that hold.
fn configuration(args: &DoctorArgs) -> Result<Vec<Finding>> {
    let layers = Layers::gather(args.config.as_deref())?;
    let name = layers.file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    if !layers.problems.is_empty() {
        let lines: Vec<String> = layers.problems.iter().map(|problem| layers.describe(problem)).collect();
        return Ok(vec![Finding::fail("settings", format!("{name} is not right"), lines.join("\n"))]);
    }
    let mut findings =
        vec![Finding::ok("settings", format!("{name} (`gptoss config check` shows what holds)"))];
    match config::effective(&layers, "serve") {
        Err(error) => findings.push(Finding::of_error("settings", &error)),
        Ok((_, cli)) => {
            if let Command::Serve(serve) = &cli.command {
                findings.extend(checks::of_serve(serve));
                // A name without an address is told with the other checks.
                let http = serve::host(serve).ok().map(|host| SocketAddr::from((host, serve.port)));
                let events = [serve.kv_events, serve.kv_events_replay].map(|address| Some(address?.0));
                let addresses = [
                    ("port", "--port", http),
                    ("gRPC port", "--grpc", serve.grpc),
                    ("KV events' port", "--kv-events", events[0]),
                    ("KV events' replay port", "--kv-events-replay", events[1]),
                ];
                let each = addresses.into_iter();
                findings.extend(each.filter_map(|(about, flag, address)| Some(port(about, flag, address?))));
            }
        }
    }
    Ok(findings)
}

/// Whether the port is free.
fn port(about: &'static str, flag: &str, address: SocketAddr) -> Finding {
    let port = address.port();
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(about, format!("{port} is free")),
        Err(error) => Finding::warn(
            about,
            format!("{port} cannot be listened on: {error}"),
            format!("a server may run there already; {flag} takes another, 0 a free one"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_and_takes_some_time() {
        let rate = read_rate(&Pool::new(1), 1 << 20, Duration::from_millis(1));
        assert!(rate.is_finite() && rate > 0.0, "{rate}");
        assert_eq!(read_rate(&Pool::new(1), 1 << 20, Duration::ZERO), 0.0);
    }

    #[test]
    fn a_port_that_is_taken_is_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port("port", "--port", address).level, Level::Warn);
        assert_eq!(port("port", "--port", (address.ip(), 0).into()).level, Level::Ok);
    }
}
