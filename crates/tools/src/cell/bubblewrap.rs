//! bubblewrap in the place of our own launcher, where ordinary users are kept from namespaces and it is not.
//!
//! It builds the namespaces and the root; limits, Landlock, seccomp and the watch are those of every cell.
//! Its root has no `/etc/passwd`, and its folders in memory have a size each and any number of files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cell::launch::FIRST_IN_ROOT;
use crate::cell::limits::Limits;
use crate::cell::program::Bind;
use crate::cell::root::{ETC, HIDDEN, SCRATCH, SYSTEM};

/// Where it is looked for; never in a user's own folders.
const PLACES: [&str; 4] =
    ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap", "/run/current-system/sw/bin/bwrap"];
/// Where a cell shows its first process' program.
const LAUNCHER: &str = "/run/cell";

/// Where it is, if it is here.
pub fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// The command that builds a root and starts the first process in it.
pub fn command(bubblewrap: &Path, launcher: &Path, binds: &[Bind], limits: &Limits) -> io::Result<Command> {
    let mut command = Command::new(bubblewrap);
    command.args(["--unshare-all", "--as-pid-1", "--uid", "1000", "--gid", "1000", "--hostname", "cell"]);
    command.args(["--clearenv", "--cap-drop", "ALL"]);
    for path in SYSTEM.iter().chain(&ETC).map(Path::new) {
        match fs::symlink_metadata(path) {
            Err(_) => &mut command,
            Ok(meta) if meta.is_symlink() => command.arg("--symlink").arg(fs::read_link(path)?).arg(path),
            Ok(_) => command.arg("--ro-bind").args([path, path]),
        };
    }
    command.args(["--proc", "/proc", "--dev", "/dev"]);
    for path in HIDDEN.map(|name| Path::new("/proc").join(name)).into_iter().filter(|path| path.exists()) {
        command.args(["--dev-bind", "/dev/null"]).arg(path);
    }
    for path in SCRATCH {
        let share = limits.disk_bytes / SCRATCH.len() as u64;
        command.args(["--size", &share.max(1).to_string(), "--tmpfs", path]);
    }
    for bind in binds {
        let how = if bind.writable { "--bind" } else { "--ro-bind" };
        command.arg(how).args([&bind.outside, &bind.inside]);
    }
    // `/proc/self/exe` would be bubblewrap itself.
    command.arg("--ro-bind").args([&launcher.canonicalize()?, Path::new(LAUNCHER)]);
    command.args(["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", LAUNCHER]);
    Ok(command)
}

/// The arguments of the first process: those of a launcher, and what it is.
pub fn arguments(launcher: &[String]) -> impl Iterator<Item = &str> {
    launcher.iter().map(String::as_str).chain([FIRST_IN_ROOT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_stands_after_what_it_lies_in() {
        let binds = [Bind::writable("/tmp")];
        let built =
            command(Path::new("bwrap"), Path::new("/proc/self/exe"), &binds, &Limits::default()).unwrap();
        let args: Vec<_> = built.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let at = |wanted: &[&str]| args.windows(wanted.len()).position(|window| window == wanted);
        assert!(at(&["--tmpfs", "/tmp"]).unwrap() < at(&["--bind", "/tmp", "/tmp"]).unwrap());
        assert!(at(&["--proc", "/proc"]).is_some() && !args.contains(&"/proc/self/exe".to_owned()));
        assert_eq!(args.last().map(String::as_str), Some(LAUNCHER));
    }
}
