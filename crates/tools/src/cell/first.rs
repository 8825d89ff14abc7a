//! The first process of a cell: it builds the walls around itself, starts the program within, and watches.
//!
//! When it ends, for whatever reason, the kernel ends all others. It ends with the program, with the host,
//! and when the processes together take too much.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, set_dumpable_behavior,
    set_parent_process_death_signal, setsid, wait,
};

use crate::cell::order::{Order, Report, receive, report};
use crate::cell::program::{End, Program};
use crate::cell::root::{self, Refusal, step};
use crate::cell::walls::Wall;
use crate::cell::{raw, restrict, watch};

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The variables that every program has.
const VARIABLES: [(&str, &str); 5] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
    ("HOME", "/tmp"),
    ("TMPDIR", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("USER", "user"),
];
/// Where a program starts.
const FOLDER: &str = "/mnt/data";
/// The name of the machine.
const HOST_NAME: &[u8] = b"cell";

/// Whether the root is still to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// It is to be built here.
    New,
    /// bubblewrap has built it.
    Given,
}

/// Plays the first process.
pub fn run(control: &mut UnixStream, root: Root, without: Option<Wall>) -> Result<(), Refusal> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("the end with its launcher"))?;
    let (order, input) = receive(control).map_err(step("the order"))?;
    let missing = build(&order, root, without)?;
    let Some(program) = &order.program else {
        report(control, &Report::Standing { missing });
        return Ok(());
    };
    match start(program, input, without) {
        Err(error) => report(control, &Report::NotStarted { why: error.to_string() }),
        Ok(child) => {
            report(control, &Report::Standing { missing });
            // The host may have left, and then there is nobody to tell.
            if let Some(end) = attend(child, control, &order, without).map_err(step("the watch"))? {
                report(control, &Report::Ended(end));
            }
        }
    }
    Ok(())
}

/// Builds all walls but one. Tells which of those that may be missing are.
fn build(order: &Order, root: Root, without: Option<Wall>) -> Result<Vec<Wall>, Refusal> {
    let with = |wall| without != Some(wall);
    if with(Wall::Descriptors) {
        raw::close_descriptors_on_exec().map_err(step("the closing of descriptors"))?;
    }
    if with(Wall::Session) {
        setsid().map_err(step("a session of its own"))?;
    }
    if root == Root::New {
        if with(Wall::Files) {
            root::enter(&order.binds, &order.limits, with(Wall::Processes))?;
        }
        if with(Wall::HostName) {
            rustix::system::sethostname(HOST_NAME).map_err(step("a host name of its own"))?;
        }
        if with(Wall::Network) {
            // Any socket will do, and one of no network is allowed everywhere: nothing is sent.
            let socket = UnixDatagram::unbound().map_err(step("a network of its own"))?;
            raw::raise_loopback(socket.as_fd()).map_err(step("a network of its own"))?;
        }
    }
    if with(Wall::Limits) {
        restrict::set_limits(&order.limits).map_err(step("limits"))?;
    }
    if with(Wall::Privileges) {
        restrict::drop_privileges().map_err(step("the loss of privileges"))?;
    }
    let mut missing = Vec::new();
    if with(Wall::Landlock) && !restrict::restrict_paths(&order.binds).map_err(step("Landlock"))? {
        missing.push(Wall::Landlock);
    }
    // Nobody reads this process' memory, and its files in /proc are not the program's.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("a memory of its own"))?;
    if with(Wall::Calls) {
        restrict::restrict_calls().map_err(step("seccomp"))?;
    }
    Ok(missing)
}

/// Starts the program.
fn start(program: &Program, input: Option<OwnedFd>, without: Option<Wall>) -> io::Result<Pid> {
    let mut argv = program.argv.iter();
    let name =
        argv.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    let mut command = Command::new(name);
    if without != Some(Wall::Environment) {
        command.env_clear();
    }
    // Without a root of its own there is no such folder: the tests' case.
    let folder = program.folder.clone().unwrap_or_else(|| FOLDER.into());
    let folder = if without == Some(Wall::Files) { "/".into() } else { folder };
    let child = command
        .args(argv)
        .envs(VARIABLES)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .spawn()?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("a process without a number"))
}

/// Waits for the program, and looks after all processes meanwhile. Nothing if the host has left.
fn attend(child: Pid, control: &UnixStream, order: &Order, without: Option<Wall>) -> io::Result<Option<End>> {
    let ending = pidfd_open(child, PidfdFlags::empty())?;
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    loop {
        // Those whose parents have left are this process' to bury.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                return Ok(Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => End::Exited(code),
                    (None, signal) => End::Signaled(signal.unwrap_or_default()),
                }));
            }
        }
        if without != Some(Wall::Watch)
            && let Some(end) = watch::excess(&order.limits)?
        {
            return Ok(Some(end));
        }
        let mut waited = [PollFd::new(control, PollFlags::RDHUP), PollFd::new(&ending, PollFlags::IN)];
        match poll(&mut waited, Some(&look)) {
            Ok(_) if !waited[0].revents().is_empty() => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
