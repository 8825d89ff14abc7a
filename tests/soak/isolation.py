#!/usr/bin/env python3
"""What others feel of clients that mean harm: the time to the first token beside silent connections and slow readers.

    python3 tests/soak/isolation.py PROGRAM [--rounds 10] [--requests 200] [--streams 4] [--json FILE]

PROGRAM is a built `gptoss`; it serves the demo model on a free port of 127.0.0.1 with the connections that it has by
itself. Rounds without and with 500 connections that never end their head and 100 readers of a byte a second follow
each other in turn, so that whatever else the machine does is in both. Every ordinary request has to be answered;
the times are printed and judged by whoever reads them. Needs Linux, Python 3.10 and nothing else.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import clients
import server as servers
from run import be_silent, percentile

SILENT, READERS = 500, 100
# Between two bytes of a reader, and of a head: a program of 600 connections that does more takes the processor
# from others by itself. Units: seconds.
READ_PAUSE, HEAD_PAUSE = 1.0, 5.0
# What the system takes in for a reader: the least there is.
RECEIVE_BYTES = 2048
# For attackers to have all their connections. Units: seconds.
SETTLE = 5
# An ordinary request that hears nothing for longer is not answered. Units: seconds.
PATIENCE = 120


async def read_slowly(port):
    """A reader of a byte a second, until it is cut off: it asks once, so that only its reading is felt."""
    loop = asyncio.get_running_loop()
    ask = clients.body_of("chat", "What is 27 + 58?", 60, True)
    text = json.dumps({**ask, "logprobs": True, "top_logprobs": 20})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(text)}\r\n\r\n{text}"
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        link.setblocking(False)
        try:
            await loop.sock_connect(link, ("127.0.0.1", port))
            await loop.sock_sendall(link, head.encode())
            while await loop.sock_recv(link, 1):
                await asyncio.sleep(READ_PAUSE)
        except OSError:
            pass


async def attack(port):
    await asyncio.gather(*(be_silent(port, HEAD_PAUSE) for _ in range(SILENT)), *(read_slowly(port) for _ in range(READERS)))


async def ordinary(port, number, firsts):
    """One ordinary request; None, or what is wrong with its answer."""
    api = ("chat", "responses")[number % 2]
    more = {"store": False} if api == "responses" else {}
    ask = clients.Ask(api, clients.body_of(api, f"What is {number % 90 + 10} + 58?", 40, True, **more))
    begun, seen, first = time.perf_counter(), [], None
    try:
        async for event in clients.patiently(clients.events(port, ask), PATIENCE):
            seen.append(event)
            if first is None and clients.text(ask, [event]) != ("", ""):
                first = time.perf_counter() - begun
    except (clients.Broken, clients.Refused, asyncio.TimeoutError) as error:
        return repr(error)
    firsts.append(first)
    return clients.problem(ask, seen)


async def ask_all(port, options, firsts):
    """The ordinary requests of one round: what is wrong with them."""
    numbers = iter(range(options.requests))

    async def worker():
        return [found for number in numbers if (found := await ordinary(port, number, firsts))]
    found = await asyncio.gather(*(worker() for _ in range(options.streams)))
    return [problem for problems in found for problem in problems]


async def measure(server, options):
    quiet, attacked, problems, most = [], [], [], 0
    await ask_all(server.port, options, [])
    for _ in range(options.rounds):
        problems += await ask_all(server.port, options, quiet)
        # A process of its own: it waits for the processor as any stranger would.
        attackers = subprocess.Popen([sys.executable, __file__, "--attack", str(server.port)])
        try:
            await asyncio.sleep(SETTLE)
            await server.idle(sys.maxsize)
            problems += await ask_all(server.port, options, attacked)
            most = max(most, server.files())
        finally:
            attackers.send_signal(signal.SIGKILL)
            attackers.wait()
    return quiet, attacked, problems, most


def main():
    if sys.argv[1:2] == ["--attack"]:
        return asyncio.run(attack(int(sys.argv[2])))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=200, help="of each half of a round")
    parser.add_argument("--streams", type=int, default=4, help="of those, at a time")
    parser.add_argument("--json", type=pathlib.Path, help="the report, for programs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = servers.Server(options.program.resolve(), "--state-dir", folder, "--drain-timeout", 1)
        try:
            quiet, attacked, problems, most = asyncio.run(measure(server, options))
        finally:
            server.kill()
    report = {name: {f"p{part}_ms": percentile(times, part) for part in (50, 90, 99)} | {"requests": len(times)}
              for name, times in (("quiet", quiet), ("attacked", attacked))}
    report |= {"silent": SILENT, "readers": READERS, "open_files_most": most, "problems": problems}
    print(f"time to the first token of ordinary requests, {options.streams} at a time:")
    for part in ("p50_ms", "p90_ms", "p99_ms"):
        before, after = report["quiet"][part], report["attacked"][part]
        print(f"  {part[:-3]}  {before:>8} ms quiet  {after:>8} ms beside {SILENT} silent and {READERS} slow  {100 * (after / before - 1):+.1f} %")
    print(f"{len(quiet)} and {len(attacked)} answered, {len(problems)} not; {most} files open at most")
    for problem in problems[:10]:
        print(f"isolation: {problem}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
