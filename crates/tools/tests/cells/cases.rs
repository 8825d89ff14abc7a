//! What programs try in order to get out, or to take more than they may.

use gptoss_tools::cell::Wall;

/// A try.
pub struct Case {
    pub name: &'static str,
    /// Python, after `prelude.py`.
    pub script: &'static str,
    /// The wall without which it gets out, if one alone holds it.
    pub falls: Option<Wall>,
    pub ends: Ends,
}

/// How a held case ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It is refused, and says so.
    Says,
    /// It is killed for what it takes.
    Killed,
    /// One of the two.
    Either,
    /// It says so, and nothing of it is left a while later.
    Leaves,
}

const fn says(name: &'static str, script: &'static str) -> Case {
    Case { name, script, falls: None, ends: Ends::Says }
}

const fn falls(wall: Wall, name: &'static str, script: &'static str) -> Case {
    Case { name, script, falls: Some(wall), ends: Ends::Says }
}

const fn killed(name: &'static str, script: &'static str) -> Case {
    Case { name, script, falls: None, ends: Ends::Killed }
}

const fn either(name: &'static str, script: &'static str) -> Case {
    Case { name, script, falls: None, ends: Ends::Either }
}

/// System calls that no program needs, by name and number (x86-64, aarch64): none reaches the kernel.
#[rustfmt::skip]
pub const CALLS: &[(&str, u32, u32)] = &[
    ("acct", 163, 89), ("add_key", 248, 217), ("bpf", 321, 280), ("chroot", 161, 51), ("clock_settime", 227, 112),
    ("clone3", 435, 435), ("fanotify_init", 300, 262), ("fsopen", 430, 430), ("init_module", 175, 105),
    ("io_uring_setup", 425, 425), ("kcmp", 312, 272), ("kexec_load", 246, 104), ("keyctl", 250, 219),
    ("memfd_create", 319, 279), ("mount", 165, 40), ("move_pages", 279, 239), ("mq_open", 240, 180),
    ("msgget", 68, 186), ("name_to_handle_at", 303, 264), ("open_by_handle_at", 304, 265), ("open_tree", 428, 428),
    ("perf_event_open", 298, 241), ("personality", 135, 92), ("pidfd_getfd", 438, 438), ("pivot_root", 155, 41),
    ("process_madvise", 440, 440), ("process_vm_readv", 310, 270), ("process_vm_writev", 311, 271),
    ("ptrace", 101, 117), ("quotactl", 179, 60), ("reboot", 169, 142), ("request_key", 249, 218),
    ("sched_setscheduler", 144, 119), ("setns", 308, 268), ("settimeofday", 164, 170), ("shmget", 29, 194),
    ("swapon", 167, 224), ("syslog", 103, 116), ("umount2", 166, 39), ("unshare", 272, 97),
    ("userfaultfd", 323, 282),
];

/// Those of them that kernels are often built without, where no wall is needed.
pub const OFTEN_ABSENT: [&str; 2] = ["init_module", "kexec_load"];

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Files.
    falls(Wall::Files, "list a folder of the machine", "reach(lambda: os.listdir(S['folder']))"),
    says("read a file of the machine", "reach(lambda: open(SECRET), lambda: open('/mnt/data/../..' + SECRET))"),
    says("read it through the first process", "reach(lambda: open('/proc/1/root' + SECRET), lambda: open('/proc/1/cwd' + SECRET))"),
    says("read it by a symbolic link", "os.symlink(SECRET, W + '/link'); reach(lambda: open(W + '/link'))"),
    says("write it by a symbolic link", "os.symlink(SECRET, W + '/link'); reach(lambda: open(W + '/link', 'r+'))"),
    says("link it into the workspace", "reach(lambda: os.link(SECRET, W + '/hard'), lambda: os.link('/usr/bin/env', W + '/hard'))"),
    says("see the workspace's neighbors", "got(os.path.basename(S['folder']) in os.listdir(W + '/..'))"),
    says("swap a folder for a link while it is read", r"
def swap():
    while True:
        for a, b in (('d', 't'), ('l', 'd'), ('d', 'l'), ('t', 'd')):
            try: os.rename(W + '/' + a, W + '/' + b)
            except OSError: pass
os.mkdir(W + '/d'); open(W + '/d/secret', 'w').write('mine'); os.symlink(S['folder'], W + '/l')
threading.Thread(target=swap, daemon=True).start()
read, end = set(), time.monotonic() + 0.5
while time.monotonic() < end:
    try: read.add(open(W + '/d/secret').read())
    except OSError: pass
got('secret' in read)
"),
    says("write to the system's folders", "reach(*[lambda at=at: open(at + '/x', 'w') for at in ('/usr', '/usr/bin', '/etc', '/', '/dev', '/proc')])"),
    says("write to what is only shown", "reach(lambda: open(S['shown'] + '/secret', 'r+'), lambda: os.unlink(S['shown'] + '/secret'), lambda: os.chmod(S['shown'] + '/secret', 0o777))"),
    falls(Wall::Landlock, "write beside the folders that are for it", "reach(lambda: open('/mnt/x', 'w'))"),
    says("open devices of the machine", "reach(*[lambda at=at: open('/dev/' + at, 'rb') for at in ('mem', 'kmsg', 'vda', 'sda', 'tty', 'ptmx', 'kvm', 'fuse')])"),
    says("make a device", "reach(lambda: os.mknod(W + '/disk', 0o060666, os.makedev(254, 0)), lambda: os.mknod('/tmp/mem', 0o020666, os.makedev(1, 1)))"),
    says("see the kernel's files", "reach(lambda: os.listdir('/sys'), lambda: os.readlink('/proc/1/fd/0'), lambda: open('/proc/1/maps').read())"),
    says("change the kernel's settings", "reach(*[lambda at=at: open('/proc/' + at, 'w') for at in ('sys/kernel/core_pattern', 'sys/vm/drop_caches', 'sysrq-trigger', 'sys/kernel/pid_max', 'irq/0/smp_affinity')])"),
    says("read the kernel's inside", "got(any(open('/proc/' + at, 'rb').read(1) for at in ('kcore', 'keys', 'kallsyms', 'timer_list', 'kmsg') if os.path.exists('/proc/' + at)))"),
    says("fill the folders in memory", "reach(*[lambda at=at: [open('%s/%d' % (at, n), 'wb').write(bytes(4 << 20)) for n in range(9)] for at in ('/tmp', '/mnt/data', '/dev/shm')])"),
    says("make very many files", "reach(lambda: [open('/tmp/%d' % n, 'w') for n in range(20000)])"),
    says("make very deep folders", "reach(lambda: [(os.mkdir('d'), os.chdir('d')) for n in range(20000)])"),
    falls(Wall::Limits, "write a very large file", "reach(lambda: open('/tmp/large', 'wb').write(bytes(12 << 20)))"),
    falls(Wall::Limits, "open very many files", "reach(lambda: [os.dup(1) for n in range(200)])"),
    // Processes.
    falls(Wall::Processes, "see processes of the machine", "reach(lambda: open('/proc/%d/cmdline' % S['pid']).read())"),
    says("signal processes of the machine", "reach(lambda: os.kill(S['pid'], 0), lambda: os.kill(S['pid'], 9))"),
    says("stop the first process", "os.kill(1, 9); os.kill(1, signal.SIGSTOP); time.sleep(0.3); got(os.path.exists('/proc/1/x'))"),
    says("read the first process' memory", "reach(lambda: open('/proc/1/mem', 'rb'), lambda: open('/proc/1/environ').read(), lambda: os.readlink('/proc/1/exe'))"),
    falls(Wall::Calls, "slow down the first process", "reach(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))"),
    falls(Wall::Calls, "prlimit of process 1", "reach(lambda: resource.prlimit(1, resource.RLIMIT_NOFILE))"),
    says("be spared when memory is short", "reach(lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'))"),
    says("raise a limit", "reach(*[lambda k=k: resource.setrlimit(k, (1 << 40, 1 << 40)) for k in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)])"),
    says("leave a core", r"
os.chdir(W)
if os.fork() == 0: os.abort()
got(os.WCOREDUMP(os.wait()[1]) or os.listdir(W))
"),
    Case { name: "stay behind", falls: Some(Wall::Processes), ends: Ends::Leaves, script: r"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for n in range(3): os.close(n)
        time.sleep(0.5)
        open(W + '/late', 'w').close()
    os._exit(0)
os.wait(); got(False)
" },
    either("make processes", r"
def bomb():
    for n in range(1000):
        if os.fork() == 0: time.sleep(100)
reach(bomb)
"),
    either("make threads", "reach(lambda: [threading.Thread(target=time.sleep, args=(100,), daemon=True).start() for n in range(1000)])"),
    either("leave dead children", r"
def bomb():
    for n in range(1000):
        if os.fork() == 0: os._exit(0)
reach(bomb)
"),
    killed("make processes that make processes", r"
while True:
    try: os.fork()
    except OSError: time.sleep(0.01)
"),
    // Memory and time.
    either("take all memory", "reach(lambda: b'x' * (1 << 33))"),
    Case { name: "take much memory by many processes", falls: Some(Wall::Watch), ends: Ends::Killed, script: r"
for n in range(4):
    if os.fork() == 0:
        held = b'x' * (100 << 20); time.sleep(10); os._exit(0)
time.sleep(3); got(True)
" },
    falls(Wall::Calls, "hold memory that is shared and of no file", "reach(lambda: mmap.mmap(-1, 1 << 20))"),
    says("hold huge pages", "reach(lambda: mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))"),
    Case { name: "hide memory behind a thread that has ended", falls: Some(Wall::Watch), ends: Ends::Killed, script: r"
if os.fork() == 0:
    threading.Thread(target=time.sleep, args=(100,)).start()
    libc.syscall(60 if os.uname().machine == 'x86_64' else 93, 0)
time.sleep(3); got(True)
" },
    killed("sleep for ever", "time.sleep(1000)"),
    killed("compute for ever, whatever signal comes", "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]\nwhile True: pass"),
    killed("compute one number for ever", "10 ** 10 ** 9"),
    killed("print for ever", "while True: print('x' * 1000)"),
    killed("print errors for ever", "while True: sys.stderr.write('x' * 1000)"),
    // Rights.
    falls(Wall::Privileges, "have a capability", "got(any(int(line.split()[1], 16) for line in open('/proc/self/status') if line.startswith('Cap')))"),
    says("become root", "reach(lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.setresuid(0, 0, 0))"),
    says("become root by a program", r"
texts = [subprocess.run(argv, capture_output=True, input=b'').stdout for argv in (['su', '-c', 'id -u'], ['sudo', '-n', 'id', '-u'], ['pkexec', 'id', '-u'], ['newgrp', 'root']) if any(os.path.exists(at + '/' + argv[0]) for at in os.environ['PATH'].split(':'))]
got(b'0\n' in texts)
"),
    says("become root by a program of one's own", r"
open(W + '/sh', 'wb').write(open('/bin/sh', 'rb').read()); os.chmod(W + '/sh', 0o6755)
got(subprocess.run([W + '/sh', '-p', '-c', 'id -u'], capture_output=True).stdout != b'1000\n')
"),
    says("change who is who", "reach(lambda: open('/proc/self/uid_map', 'w').write('0 0 1'), lambda: open('/proc/self/setgroups', 'w').write('allow'))"),
    falls(Wall::Calls, "make a namespace by clone", "there(S['clone'], 0x10000000 | signal.SIGCHLD)\n"),
    // Sockets.
    falls(Wall::Network, "reach a server of the machine", "reach(lambda: connect(socket.AF_INET, ('127.0.0.1', S['port'])))"),
    says("reach the world", "reach(lambda: connect(socket.AF_INET, ('192.0.2.1', 80)), lambda: connect(socket.AF_INET6, ('2001:db8::1', 80)))"),
    says("ask for a name", "reach(lambda: socket.getaddrinfo('example.com', 80), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.53', 53)))"),
    says("reach an abstract socket of the machine", "reach(lambda: connect(socket.AF_UNIX, '\\0' + S['abstract']))"),
    falls(Wall::Calls, "open a socket to the kernel", "reach(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))"),
    says("open sockets of other families", "reach(*[lambda f=f: socket.socket(f, t) for f in (40, 38, 17, 44, 29, 31) for t in (1, 2, 3)])"),
    says("send raw packets", "reach(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))"),
    // What the host has.
    falls(Wall::Environment, "read the host's variables", "got(S['variable'] in os.environ)"),
    falls(Wall::Descriptors, "read an inherited descriptor", "reach(lambda: os.lseek(S['descriptor'], 0, 0))"),
    falls(Wall::Calls, "type into a terminal", "import fcntl\ntry: fcntl.ioctl(1, 0x5412, b'x')\nexcept OSError as error: got(error.errno != errno.ENOSYS)"),
    falls(Wall::Session, "have the host's session", "got(os.getsid(0) == 0)"),
    falls(Wall::HostName, "know the machine's name", "got(os.uname().nodename == S['host'])"),
    falls(Wall::Ipc, "share memory with the machine", "got(os.readlink('/proc/self/ns/ipc') == S['ipc'])"),
    falls(Wall::ControlGroups, "see the control groups", "got(os.readlink('/proc/self/ns/cgroup') == S['cgroup'])"),
    says("call the kernel as a 32-bit program", r"
# mov eax, 20 (getpid); int 0x80; ret
if os.uname().machine == 'x86_64' and os.fork() == 0:
    code = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7); code.write(bytes.fromhex('b814000000cd80c3'))
    os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() == os.getpid() else 1)
got(os.uname().machine == 'x86_64' and os.wait()[1] == 0)
"),
];
