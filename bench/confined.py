"""Run a command in a control group with a bound on its memory, the page cache it fills included.

    python confined.py 8GiB [--evict FILE...] -- COMMAND...

Linux, as root (control groups version 1 or 2). Pages that are already in the page cache belong to whoever read them first
and would not count, so name the model's files under --evict: they leave the cache before the command starts.
"""

import os
import subprocess
import sys

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
GROUP = "gptoss-bench"


def size(text):
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def evict(path):
    names = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [path]
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def group_of(limit):
    version_1 = "/sys/fs/cgroup/memory"
    root, bound = (version_1, "memory.limit_in_bytes") if os.path.isdir(version_1) else ("/sys/fs/cgroup", "memory.max")
    group = os.path.join(root, f"{GROUP}-{os.getpid()}")
    os.makedirs(group, exist_ok=True)
    write(os.path.join(group, bound), str(limit))
    return group


def main():
    if "--" not in sys.argv or len(sys.argv) < 4:
        sys.exit(__doc__)
    split = sys.argv.index("--")
    words, command = sys.argv[1:split], sys.argv[split + 1 :]
    for path in words[2:] if words[1:2] == ["--evict"] else []:
        evict(path)
    group = group_of(size(words[0]))
    # The command joins before it is executed, so that nothing of it is outside.
    ended = subprocess.run(command, preexec_fn=lambda: write(os.path.join(group, "cgroup.procs"), str(os.getpid())))
    os.rmdir(group)
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
