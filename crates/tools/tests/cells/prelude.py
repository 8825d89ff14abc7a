# Stands before every case. A case says "out" when it got what it must not, "held" when it was refused.
import ctypes, errno, json, mmap, os, resource, signal, socket, subprocess, sys, threading, time

S = json.loads(sys.argv[1])
W, SECRET = S["workspace"], S["folder"] + "/secret"
libc = ctypes.CDLL(None, use_errno=True)


def got(claim):
    print("out" if claim else "held", flush=True)


def reach(*deeds):
    for deed in deeds:
        try:
            deed()
        except (OSError, RuntimeError, MemoryError, ValueError):
            continue
        return got(True)
    got(False)


def there(number, *arguments):
    # Whether a system call reaches the kernel at all.
    arguments = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    ended = libc.syscall(ctypes.c_long(number), *arguments, *[ctypes.c_long(0)] * (6 - len(arguments)))
    got(ended != -1 or ctypes.get_errno() != errno.ENOSYS)


def connect(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(2)
    s.connect(address)
