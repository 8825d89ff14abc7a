//! The launcher of a cell: a process of one thread that leaves the machine's namespaces, and starts the first
//! process of the new ones.
//!
//! It is this program itself, started again with a word in front, so that nothing is to be installed and no
//! thread or memory of the program that serves is copied.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};

use crate::cell::first::{self, Root};
use crate::cell::order::{Report, report};
use crate::cell::raw;
use crate::cell::root::{Refusal, step};
use crate::cell::walls::Wall;

/// The first argument of a launcher.
pub const CELL: &str = "__cell";
/// The last argument of a cell's first process.
pub const FIRST: &str = "first";
/// The same, when its root stands already.
pub const FIRST_IN_ROOT: &str = "first-in-root";
/// Who a program is in its cell, whoever started it.
const USER: u32 = 1000;
/// What the first process needs to build the walls; it gives all of them up then.
const NEEDED: [CapabilitySet; 3] =
    [CapabilitySet::SYS_ADMIN, CapabilitySet::SETPCAP, CapabilitySet::NET_ADMIN];

/// Plays the launcher if the arguments, without the program's name, ask for it. A program that makes cells
/// calls this before it starts a thread.
pub fn launch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    launch_without(args, None)
}

/// The same with a wall left out: for the tests that show what each wall holds.
#[doc(hidden)]
pub fn launch_without(args: impl IntoIterator<Item = OsString>, without: Option<Wall>) -> Option<ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.first()? != CELL {
        return None;
    }
    let control = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut control) = control else { return Some(ExitCode::FAILURE) };
    let last = args.last()?;
    let ended = match () {
        () if last == FIRST => first::run(&mut control, Root::New, without),
        () if last == FIRST_IN_ROOT => first::run(&mut control, Root::Given, without),
        () => outer(&args, without),
    };
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal(what, why)) => {
            report(&mut control, &Report::Refused { what, why });
            ExitCode::FAILURE
        }
    })
}

/// Leaves the namespaces, starts the first process of the new ones and waits for it.
fn outer(args: &[OsString], without: Option<Wall>) -> Result<(), Refusal> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let own = [
        (None, UnshareFlags::NEWUSER | UnshareFlags::NEWNS),
        (Some(Wall::Processes), UnshareFlags::NEWPID),
        (Some(Wall::Network), UnshareFlags::NEWNET),
        (Some(Wall::Ipc), UnshareFlags::NEWIPC),
        (Some(Wall::HostName), UnshareFlags::NEWUTS),
        (Some(Wall::ControlGroups), UnshareFlags::NEWCGROUP),
    ];
    let flags = own.into_iter().filter(|(wall, _)| wall.is_none() || *wall != without);
    raw::unshare(flags.fold(UnshareFlags::empty(), |all, (_, flag)| all | flag))
        .map_err(step("namespaces of an ordinary user"))?;
    let map = |inner: u32, outer: u32| format!("{inner} {outer} 1");
    let files = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", map(USER, user)),
        ("/proc/self/gid_map", map(USER, group)),
    ];
    for (path, text) in files {
        fs::write(path, text).map_err(step(path))?;
    }
    keep_capabilities().map_err(step("capabilities among the cell's own"))?;
    let mut first = Command::new("/proc/self/exe");
    first.args(args).arg(FIRST);
    if without != Some(Wall::Environment) {
        first.env_clear();
    }
    first.status().map(drop).map_err(step("the cell's first process"))
}

/// Hands the capabilities that are needed on to the next program; they count in the new namespaces alone.
fn keep_capabilities() -> io::Result<()> {
    let now = capabilities(None)?;
    let needed = NEEDED.into_iter().fold(CapabilitySet::empty(), |all, one| all | one);
    set_capabilities(None, CapabilitySets { inheritable: needed, ..now })?;
    NEEDED.into_iter().try_for_each(|one| Ok(configure_capability_in_ambient_set(one, true)?))
}
