//! The files that a cell sees: the system's programs to be read, three folders in memory, and what it is
//! shown.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, move_mount, open_tree, unmount,
};

use crate::cell::limits::Limits;
use crate::cell::program::Bind;
use crate::cell::raw;

/// Folders of the system, where there are any: programs, their libraries, and the stores of Nix and Guix.
pub const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// Files that programs read of the machine's settings: nothing in them is of a user's.
pub const ETC: [&str; 3] = ["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"];
/// Devices that hold nothing. Not `/dev/zero`: mapped, it is memory that is shared and of no file.
pub const DEVICES: [&str; 4] = ["/dev/null", "/dev/full", "/dev/random", "/dev/urandom"];
/// Folders to write to, in memory.
pub const SCRATCH: [&str; 3] = ["/mnt/data", "/tmp", "/dev/shm"];
/// Where a new root is built; every system has it, and nobody else sees what is laid over it here.
const SITE: &str = "/tmp";
/// Files of `/proc` that tell of the kernel's inside or of the machine's keys.
pub const HIDDEN: [&str; 7] =
    ["kcore", "keys", "key-users", "kmsg", "kallsyms", "timer_list", "sysrq-trigger"];
/// The least that a kernel takes as the highest process id.
const PID_MAX_MIN: u64 = 301;
/// The files that are written for every cell.
const WRITTEN: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0::/:/bin/false\nuser:x:1000:1000::/tmp:/bin/sh\n"),
    ("etc/group", "root:x:0:\nuser:x:1000:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// What went wrong: the step, and what the system said.
pub struct Refusal(pub String, pub String);

/// Names a step that the system refused.
pub fn step<E: ToString>(what: impl Into<String>) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal(what.into(), error.to_string())
}

/// Builds the root and moves into it. The process must be the first of its process ids.
pub fn enter(binds: &[Bind], limits: &Limits, own_processes: bool) -> Result<(), Refusal> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(step("mounts of its own"))?;
    // Copies are taken before anything is laid over them.
    let system = SYSTEM.into_iter().chain(ETC).filter_map(copy_system).collect::<Result<Vec<_>, _>>()?;
    let devices =
        DEVICES.into_iter().map(|path| copy(Path::new(path), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
    let devices = devices.collect::<Result<Vec<_>, _>>()?;
    let shown = binds.iter().map(|bind| {
        let write = if bind.writable { 0 } else { MOUNT_ATTR_RDONLY };
        copy(&bind.outside, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | write)
    });
    let shown = shown.collect::<Result<Vec<_>, Refusal>>()?;

    memory(SITE, "size=1m,nr_inodes=4k,mode=755")?;
    std::env::set_current_dir(SITE).map_err(step("the new root"))?;
    for (path, what) in system {
        what.place(&path)?;
    }
    for (path, contents) in WRITTEN {
        make_file(Path::new(path)).and_then(|()| fs::write(path, contents)).map_err(step(path))?;
    }
    for (path, device) in DEVICES.into_iter().zip(devices) {
        device.place(Path::new(path))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), Path::new("dev").join(name)).map_err(step("/dev"))?;
    }
    scratch(limits)?;
    processes(limits, own_processes)?;
    for (bind, mount) in binds.iter().zip(shown) {
        mount.place(&bind.inside)?;
    }
    pivot().map_err(step("the change of the root"))
}

/// Something of the machine, to be placed in the new root.
enum Copied {
    /// A copy of a mount, and whether it is a folder.
    Mount(OwnedFd, bool),
    /// A symbolic link.
    Link(PathBuf),
}

impl Copied {
    /// Puts it at an absolute path beneath the current folder.
    fn place(self, path: &Path) -> Result<(), Refusal> {
        let at = path.strip_prefix("/").unwrap_or(path);
        let placed = match self {
            Copied::Link(target) => make_parent(at).and_then(|()| symlink(target, at)),
            Copied::Mount(mount, is_dir) => (if is_dir { fs::create_dir_all(at) } else { make_file(at) })
                .and_then(|()| {
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                    move_mount(&mount, "", CWD, at, flags).map_err(io::Error::from)
                }),
        };
        placed.map_err(step(path.display().to_string()))
    }
}

/// A copy of what the system has at a path, if it has something there.
fn copy_system(path: &'static str) -> Option<Result<(PathBuf, Copied), Refusal>> {
    let meta = fs::symlink_metadata(path).ok()?;
    let copied = match meta.is_symlink() {
        true => fs::read_link(path).map(Copied::Link).map_err(step(path)),
        false => copy(Path::new(path), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV),
    };
    Some(copied.map(|copied| (path.into(), copied)))
}

/// A copy of the mounts from a path on, with attributes. No symbolic link is followed: a program could have
/// made it, in a folder that was shown to it.
fn copy(path: &Path, attributes: u64) -> Result<Copied, Refusal> {
    let refuse = || step(path.display().to_string());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(refuse())?;
    let kind = FileType::from_raw_mode(fstat(&opened).map_err(refuse())?.st_mode);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copied = open_tree(&opened, "", flags).map_err(refuse())?;
    raw::set_mount_attributes(copied.as_fd(), attributes, true).map_err(step(path.display().to_string()))?;
    Ok(Copied::Mount(copied, kind == FileType::Directory))
}

fn make_parent(at: &Path) -> io::Result<()> {
    at.parent().map_or(Ok(()), fs::create_dir_all)
}

fn make_file(at: &Path) -> io::Result<()> {
    if at.exists() {
        return Ok(());
    }
    make_parent(at)?;
    fs::write(at, "")
}

/// A file system in memory.
fn memory(at: &str, options: &str) -> Result<(), Refusal> {
    let options = CString::new(options).map_err(step("options of a file system"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("cell", at, "tmpfs", flags, options.as_c_str()).map_err(step("a file system in memory"))
}

/// The three folders to write to: one file system, so that they have one size together.
fn scratch(limits: &Limits) -> Result<(), Refusal> {
    fs::create_dir_all("mnt").map_err(step("/mnt"))?;
    memory("mnt", &format!("size={},nr_inodes={},mode=755", limits.disk_bytes, limits.files))?;
    for (folder, place) in [("mnt/data", "mnt/data"), ("mnt/tmp", "tmp"), ("mnt/shm", "dev/shm")] {
        fs::create_dir_all(folder).map_err(step(folder))?;
        if folder != place {
            fs::create_dir_all(place).map_err(step(place))?;
            mount_bind(folder, place).map_err(step(place))?;
        }
    }
    Ok(())
}

/// The cell's own processes as files, to be read.
fn processes(limits: &Limits, own: bool) -> Result<(), Refusal> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    fs::create_dir_all("proc").map_err(step("/proc"))?;
    if !own {
        return mount_bind_recursive("/proc", "proc").map_err(step("/proc"));
    }
    mount("proc", "proc", "proc", flags, None).map_err(step("/proc of its own"))?;
    // When memory is short on the machine, a program of the model's goes first.
    fs::write("proc/self/oom_score_adj", "1000").map_err(step("/proc/self/oom_score_adj"))?;
    // Kernels before 6.14 have one for all: there it cannot be written to from here.
    let _ = fs::write("proc/sys/kernel/pid_max", limits.processes.max(PID_MAX_MIN).to_string());
    for name in HIDDEN {
        let path = Path::new("proc").join(name);
        if path.exists() {
            mount_bind("dev/null", &path).map_err(step(path.display().to_string()))?;
        }
    }
    let opened = open("proc").map_err(step("/proc"))?;
    raw::set_mount_attributes(opened.as_fd(), MOUNT_ATTR_RDONLY, true).map_err(step("/proc to be read"))
}

/// Makes the current folder the root, and leaves the old one.
fn pivot() -> io::Result<()> {
    // The old root is laid over the new one, and taken away from there.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    raw::set_mount_attributes(open("/")?.as_fd(), MOUNT_ATTR_RDONLY, false)
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
