//! The system calls that a cell's programs have; all others answer "not implemented", as if the kernel were
//! older, so that libraries fall back.
//!
//! Missing are those that reach past a process or a wall (`ptrace`, `process_vm_readv`, `mount`, `setns`,
//! keys, `bpf`, performance counters, `io_uring`, `userfaultfd`), that hold memory which no limit counts
//! (`memfd_create`, System V, huge pages, memory that is shared and of no file), and that could slow down the
//! process that watches or change its limits. New calls of a kernel are missing until they are listed.

use seccompiler::{BpfProgram, TargetArch};
use serde_json::{Value, json};

/// Calls that every architecture has.
const CALLS: &str = "
    accept accept4 bind brk capget capset chdir clock_getres clock_gettime clock_nanosleep close close_range connect
    copy_file_range dup dup3 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync
    fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv getcpu getcwd
    getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpid getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr
    inotify_add_watch inotify_init1 inotify_rm_watch kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lgetxattr linkat listen listxattr llistxattr lremovexattr lseek
    lsetxattr madvise membarrier mincore mkdirat mknodat mlock mlock2 mlockall mprotect mremap msync munlock
    munlockall munmap nanosleep newfstatat openat openat2 pidfd_open pidfd_send_signal pipe2 ppoll prctl pread64
    preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlinkat readv recvfrom recvmmsg
    recvmsg removexattr renameat renameat2 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_yield seccomp sendfile sendmmsg sendmsg sendto set_robust_list get_robust_list set_tid_address setfsgid
    setfsuid setgid setgroups setitimer setpgid setregid setresgid setresuid setreuid setrlimit setsid setsockopt
    setuid setxattr shutdown sigaltstack signalfd4 splice statfs statx symlinkat sync sync_file_range syncfs
    sysinfo tee tgkill timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlinkat utimensat vmsplice wait4 waitid
    write writev
";

/// Older calls, which x86-64 has beside those.
const CALLS_OF_X86_64: &str = "
    access alarm arch_prctl chmod chown creat dup2 epoll_create epoll_wait eventfd fork futimesat getdents getpgrp
    inotify_init lchown link lstat mkdir mknod open pause pipe poll readlink rename rmdir select signalfd stat
    symlink time unlink utime utimes vfork
";

/// Flags of `clone` that make namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The filter of this architecture.
pub fn filter() -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let older = if arch == TargetArch::x86_64 { CALLS_OF_X86_64 } else { "" };
    let mut rules: Vec<Value> = CALLS
        .split_whitespace()
        .chain(older.split_whitespace())
        .map(|name| json!({"syscall": name}))
        .collect();
    rules.extend(conditional());
    let filters = json!({"cell": {
        "mismatch_action": {"errno": libc::ENOSYS},
        "match_action": "allow",
        "filter": rules,
    }});
    let mut compiled = seccompiler::compile_from_json(filters.to_string().as_bytes(), arch)
        .map_err(|error| error.to_string())?;
    compiled.remove("cell").ok_or_else(|| "the filter is empty".to_owned())
}

/// Calls that some arguments are allowed of.
fn conditional() -> Vec<Value> {
    let argument =
        |index: u8, op: Value, value: i32| json!({"index": index, "type": "dword", "op": op, "val": value});
    let rule = |name: &str, args: &[Value]| json!({"syscall": name, "args": args});
    let eq = || json!("eq");
    let mut rules = vec![
        rule("clone", &[argument(0, json!({"masked_eq": NAMESPACES}), 0)]),
        // No typing into a terminal, whosever it is.
        rule("ioctl", &[argument(1, json!("ne"), libc::TIOCSTI as i32), argument(1, json!("ne"), TIOCLINUX)]),
        rule("socketpair", &[argument(0, eq(), libc::AF_UNIX)]),
        // One's own priority alone: the process that watches keeps its.
        rule("setpriority", &[argument(0, eq(), libc::PRIO_PROCESS as i32), argument(1, eq(), 0)]),
    ];
    // One's own limits and processors alone. The first process keeps its own, by which it watches.
    rules.extend(["prlimit64", "sched_setaffinity"].map(|name| rule(name, &[argument(0, eq(), 0)])));
    // A file's memory or one's own: what is shared without a file is counted only while a process holds it.
    rules.extend(
        [libc::MAP_ANONYMOUS, libc::MAP_SHARED]
            .map(|kind| rule("mmap", &[argument(3, json!({"masked_eq": kind | libc::MAP_HUGETLB}), 0)])),
    );
    // Those that the cell's own network holds: `AF_VSOCK` for one would reach past it.
    rules.extend(
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]
            .map(|family| rule("socket", &[argument(0, eq(), family)])),
    );
    rules
}

/// What a console is made to do by.
const TIOCLINUX: i32 = 0x541C;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_fits_the_kernel() {
        let filter = filter().unwrap();
        assert!(filter.len() > 400 && filter.len() < 4096, "{} instructions", filter.len());
    }
}
