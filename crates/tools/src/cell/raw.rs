//! The few calls of the kernel that have no safe form elsewhere.

#![expect(unsafe_code, reason = "calls of the kernel that no crate here has in a safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Leaves namespaces for new ones. The new process ids are those of children.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the launcher has one thread, and the table of descriptors is not among what is left.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// No program started from here on inherits a descriptor beside the first three.
pub fn close_descriptors_on_exec() -> io::Result<()> {
    // SAFETY: plain numbers; descriptors get a flag and stay open.
    let ended = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    of_status(ended)
}

/// Sets attributes (`libc::MOUNT_ATTR_*`) of a mount, and of all beneath it if they are to be. None is
/// cleared.
pub fn set_mount_attributes(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let set = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let depth = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | depth;
    // SAFETY: the path is an empty string that ends, and the structure lives as long as the call, which has
    // its size.
    let ended = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const set,
            size_of::<libc::mount_attr>(),
        )
    };
    of_status(ended)
}

/// Turns on the loopback device of a new network, through any socket of it.
pub fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a structure of plain numbers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the call reads the structure, whose name ends in zeros, and keeps nothing of it.
    let ended = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    of_status(ended.into())
}

fn of_status(status: libc::c_long) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
