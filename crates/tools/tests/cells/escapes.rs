//! The escape suite: every case is held, and ends within its limits; and with the wall removed that holds it,
//! it gets out. So a wall that no longer stands is seen, and so is a case that would prove nothing.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gptoss_tools::cell::{Bind, Cell, End, Launcher, Limits, Program, Ran, Wall};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::cases::{CALLS, CASES, Case, Ends, OFTEN_ABSENT};
use crate::linux::{cell, interpreter, trial};

const PRELUDE: &str = include_str!("prelude.py");
/// Enough on a busy machine for what ends by itself.
const TIME: Duration = Duration::from_secs(60);
/// For what never ends.
const TIME_OF_ENDLESS: Duration = Duration::from_secs(2);
const LIMITS: Limits = Limits {
    time: TIME,
    memory_bytes: 256 << 20,
    processes: 64,
    open_files: 64,
    file_bytes: 8 << 20,
    output_bytes: 10_000,
    disk_bytes: 32 << 20,
    files: 2000,
};

pub fn trials() -> Vec<Trial> {
    let calls = CALLS.iter().map(|(name, x86_64, aarch64)| {
        let number = if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 };
        let falls = (!OFTEN_ABSENT.contains(name)).then_some(Wall::Calls);
        (format!("call {name}"), format!("there({number})"), falls, Ends::Says)
    });
    let scripts = CASES
        .iter()
        .map(|Case { name, script, falls, ends }| ((*name).to_owned(), (*script).to_owned(), *falls, *ends));
    let mut trials =
        vec![trial("a cell starts", starts), trial("every wall has a case that needs it", covers)];
    match bubblewrap() {
        Some(path) => trials.extend(CASES.iter().filter(|case| is_for_bubblewrap(case)).map(|case| {
            let path = path.clone();
            let name = format!("held by bubblewrap: {}", case.name);
            trial(&name, move || {
                let cell =
                    Cell::stand_by(Launcher::own(), Some(path)).unwrap_or_else(|error| panic!("{error}"));
                holds(cell, case.script.to_owned(), case.ends)
            })
        })),
        None => println!("    no bubblewrap here: what it builds is not tested"),
    }
    for (name, script, falls, ends) in calls.chain(scripts) {
        if let Some(wall) = falls {
            let script = script.clone();
            let name = format!("without its wall, {}, it gets out: {name}", wall.name());
            trials.push(trial(&name, move || gets_out(wall, script, ends)));
        }
        trials.push(trial(&format!("held: {name}"), move || holds(cell(), script, ends)));
    }
    trials
}

/// bubblewrap, where this machine has one or `GPTOSS_TEST_BUBBLEWRAP` names it.
#[expect(clippy::disallowed_methods, reason = "a program of its own reads its environment")]
fn bubblewrap() -> Option<PathBuf> {
    let named = std::env::var_os("GPTOSS_TEST_BUBBLEWRAP").unwrap_or_else(|| "/usr/bin/bwrap".into());
    Some(PathBuf::from(named)).filter(|path| path.exists())
}

/// Its folders in memory hold any number of files, which are then made until the time is over.
fn is_for_bubblewrap(case: &Case) -> bool {
    case.ends == Ends::Says && case.name != "make very deep folders"
}

async fn covers() {
    let uncovered: Vec<Wall> =
        Wall::ALL.into_iter().filter(|wall| CASES.iter().all(|case| case.falls != Some(*wall))).collect();
    assert_eq!(uncovered, []);
}

/// Not a limit: how long a cell takes to start, for whoever reads.
async fn starts() {
    let cell = cell();
    let program = Program { argv: vec!["true".into()], ..Program::default() };
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        assert_eq!(cell.run(&program, b"").await.unwrap().end, End::Exited(0));
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "    a program in a cell, from start to end: {:?}, at best {:?} (21 times)",
        times[10], times[0]
    );
}

async fn holds(cell: Cell, script: String, ends: Ends) {
    let (ran, is_late) = run(cell, &script, ends, |_| {}).await;
    let (text, errors) = (ran.stdout.text(), ran.stderr.text());
    let is_held = text == "held\n" && ran.end == End::Exited(0) && !is_late;
    let is_killed = matches!(ran.end, End::OutOfTime | End::OutOfMemory | End::TooManyProcesses)
        && !text.lines().any(|line| line == "out");
    let is_as_it_should = match ends {
        Ends::Says | Ends::Leaves => is_held,
        Ends::Killed => is_killed,
        Ends::Either => is_held || (is_killed && ran.end != End::OutOfTime),
    };
    assert!(is_as_it_should, "{:?}, late {is_late}\n{text}\n{errors}", ran.end);
    assert!(ran.stdout.head.len() + ran.stdout.tail.len() <= LIMITS.output_bytes);
    assert!(ran.stderr.head.len() + ran.stderr.tail.len() <= LIMITS.output_bytes);
}

async fn gets_out(wall: Wall, script: String, ends: Ends) {
    let mut launcher = Launcher::own();
    launcher.args.push(json!(wall).as_str().unwrap().to_owned());
    let without = Cell::stand(launcher).unwrap();
    if without.missing().contains(&wall) || cell().missing().contains(&wall) {
        println!("    this kernel lacks the wall {}: nothing to remove", wall.name());
        return;
    }
    let (ran, is_late) = run(without, &script, ends, |limits| {
        // The processes that are seen are then those of the machine.
        if matches!(wall, Wall::Processes | Wall::Files) {
            (limits.processes, limits.memory_bytes) = (1 << 20, 1 << 50);
        }
    })
    .await;
    let is_out = is_late || ran.stdout.text().lines().any(|line| line == "out");
    assert!(is_out, "{:?}\n{}\n{}", ran.end, ran.stdout.text(), ran.stderr.text());
}

/// Runs a case, and tells whether something of it was left.
async fn run(mut cell: Cell, script: &str, ends: Ends, change: impl FnOnce(&mut Limits)) -> (Ran, bool) {
    let (workspace, shown, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), secret());
    std::fs::write(shown.path().join("secret"), "shown").unwrap();
    let python = interpreter();
    cell.limits = LIMITS;
    cell.binds = python.binds();
    cell.binds.push(Bind::writable(workspace.path()));
    cell.binds.push(Bind::read_only(shown.path()));
    if ends == Ends::Killed {
        cell.limits.time =
            TIME_OF_ENDLESS.max(if script.contains("got(True)") { TIME } else { Duration::ZERO });
    }
    change(&mut cell.limits);
    let mut facts = facts(folder);
    facts["workspace"] = json!(workspace.path());
    facts["shown"] = json!(shown.path());
    let code = PRELUDE.to_owned() + script;
    let argv = [&python.path.display().to_string(), "-I", "-c", &code, &facts.to_string()];
    let program = Program { argv: argv.map(str::to_owned).into(), ..Program::default() };
    let started = Instant::now();
    let ran = cell.run(&program, b"").await.unwrap();
    assert!(
        started.elapsed() < cell.limits.time + Duration::from_secs(30),
        "it ended {:?} late",
        started.elapsed()
    );
    if ends == Ends::Leaves {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    (ran, workspace.path().join("late").exists())
}

/// A folder of the machine that no cell shows.
fn secret() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        folder
    });
    folder.path()
}

/// What there is on this machine to be reached.
#[expect(clippy::disallowed_methods, reason = "what a cell must not see of the environment")]
fn facts(folder: &Path) -> Value {
    static OPEN: OnceLock<(TcpListener, UnixListener, std::fs::File)> = OnceLock::new();
    let name = format!("gptoss-cells-{}", std::process::id());
    let (server, _, file) = OPEN.get_or_init(|| {
        let abstract_socket = SocketAddr::from_abstract_name(&name).unwrap();
        let file = std::fs::File::open(folder.join("secret")).unwrap();
        // As a library might that knows nothing of programs that are started.
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind_addr(&abstract_socket).unwrap(), file)
    });
    let given = ["PATH", "HOME", "TMPDIR", "LANG", "USER", "LC_CTYPE"];
    let variable = std::env::vars().map(|(name, _)| name).find(|name| !given.contains(&name.as_str()));
    let namespace = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    json!({
        "folder": folder,
        "pid": std::process::id(),
        "port": server.local_addr().unwrap().port(),
        "abstract": name,
        "descriptor": file.as_raw_fd(),
        "variable": variable.expect("a variable of our own"),
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "ipc": namespace("ipc"),
        "cgroup": namespace("cgroup"),
        "clone": if cfg!(target_arch = "x86_64") { 56 } else { 220 },
    })
}
