#!/usr/bin/env python3
"""Many streams over five APIs for a while, from clients that go away, read slowly or speak slowly, and a SIGTERM.

    python3 tests/soak/run.py PROGRAM [--requests 2000 | --minutes 30] [--streams 64] [--seed 1] [--json FILE]

PROGRAM is a built `gptoss`; it serves the demo model on a free port of 127.0.0.1. Every request whose client
stayed has to come to one whole answer, and to the same one as the same question before; none may hang. When all
clients are gone every block of the KV pool is free or the prefix cache's, no more files are open than before, and
memory is what it was half-way. Then SIGTERM: with time for it, streams end whole; without, each ends with the
error that its API has for that. Prints a table; ends with 1 if something was lost. Needs Linux, Python 3.10 and
nothing else.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import random
import sys
import tempfile
import time

import clients
import server as servers

# How many of the clients go away; of those that stay, read slowly, and send the head slowly.
CUT, SLOW_READER, SLOW_HEAD = 0.3, 0.1, 0.1
# The pauses of the slow ones, and of those that go away after what they have read. Units: seconds.
READ_PAUSE_MAX, HEAD_PAUSE_MAX = 0.05, 0.05
CUT_EVENTS_MAX = 12
# Of answers without a stream, and of responses that are stored.
WHOLE_BODY, STORED = 0.2, 0.3
# Connections that never end their head, and their pause between two bytes. Units: seconds.
SILENT, SILENT_PAUSE = 16, 1.0
QUESTIONS = 40
TOKENS_MAX = 120
# A beginning that many prompts have, long enough to be kept for others.
PREFIX = "You are asked by a program that checks whether a server keeps its promises. Answer in few words. " * 2
# 2,200 tokens beside the rings of 32 sequences: less than these want, so that some are sent back to wait and kept
# prefixes go. With twice as many nobody is.
KV_MEMORY = "19MiB"
# A request that hears nothing for longer hangs: how long a whole one takes is the machine's. Units: seconds.
PATIENCE = 120
# The server waits 10 s for a head. A slow one that took longer than this, by its client's own clock, on a machine that is
# busy with others, may have met that: it is counted as slow and not as lost. Units: seconds.
HEAD_TOOK_MAX = 8
# The part of the requests after which what is held is counted for the first time.
WARM = 0.1
# Memory half-way and at the end may differ by what the allocator keeps back: measured 1 to 3 MiB over ten runs,
# and no less for fewer requests. Units: bytes.
MEMORY_SLACK = 8 << 20
# The drain of a server whose streams are to end, and of one whose streams are not. Units: seconds.
DRAIN_LONG, DRAIN_SHORT = 120, 1
PROBLEMS_TOLD_MAX = 20


class Counts:
    """What became of the requests."""

    def __init__(self):
        self.ends = collections.defaultdict(collections.Counter)
        self.firsts = collections.defaultdict(list)
        self.texts = {}
        self.problems = []

    def total(self, end):
        return sum(counts[end] for counts in self.ends.values())

    def lose(self, api, end, problem):
        self.ends[api][end] += 1
        self.problems.append(f"{api}: {end}: {problem}")
        if len(self.problems) <= PROBLEMS_TOLD_MAX:
            print(self.problems[-1], flush=True)


def request(seed, number):
    """Request `number` of a run, and which of the questions it asks."""
    chance = random.Random(f"{seed}/{number}")
    api = chance.choice(clients.APIS)
    asked = chance.randrange(QUESTIONS)
    question = f"What is {asked + 10} + 58?"
    if asked % 4 == 0:
        question = PREFIX + question
    streams = api == "websocket" or chance.random() >= WHOLE_BODY
    more = {"store": chance.random() < STORED} if api in ("responses", "websocket") else {}
    ask = clients.Ask(api, clients.body_of(api, question, TOKENS_MAX, streams, **more))
    if chance.random() < CUT:
        # Of a body there is one event: its client goes away before it.
        ask.cut_after = chance.randint(0 if api != "websocket" else 1, CUT_EVENTS_MAX) if streams else 0
        ask.resets = chance.random() < 0.5
    elif chance.random() < SLOW_READER:
        ask.read_pause = chance.uniform(0, READ_PAUSE_MAX)
    if chance.random() < SLOW_HEAD:
        ask.head_pause = chance.uniform(0, HEAD_PAUSE_MAX)
    # Chats and responses are of one prompt and show the same.
    return ask, (api if api in ("completions", "messages") else "conversation", question)


async def one(port, ask, question, counts):
    """One request from its beginning to whichever end."""
    begun, seen = time.monotonic(), []
    try:
        async for event in clients.patiently(clients.events(port, ask), PATIENCE):
            if not seen and ask.streams and not ask.head_pause:
                counts.firsts[ask.api].append(time.monotonic() - begun)
            seen.append(event)
        found = clients.problem(ask, seen)
    except clients.Cut:
        counts.ends[ask.api]["cut"] += 1
        return
    except clients.Refused as error:
        return counts.lose(ask.api, "refused", error)
    except clients.Broken as error:
        if ask.head_pause and ask.head_took > HEAD_TOOK_MAX and not seen:
            counts.ends[ask.api]["slow"] += 1
            return
        return counts.lose(ask.api, "lost", error)
    except asyncio.TimeoutError:
        return counts.lose(ask.api, "hung", f"after {len(seen)} events")
    if found:
        return counts.lose(ask.api, "lost", found)
    said = clients.text(ask, seen)
    # A whole answer is the same whatever runs beside it.
    if counts.texts.setdefault(question, said) != said:
        return counts.lose(ask.api, "lost", f"{question[1]!r} was answered {said} and {counts.texts[question]}")
    counts.ends[ask.api]["whole"] += 1


class Load:
    """The requests of a run, so many at a time, in phases."""

    def __init__(self, port, options, counts):
        self.port, self.options, self.counts = port, options, counts
        self.number = 0

    async def run(self, is_over):
        """Asks until `is_over` says so, and waits for what runs."""
        async def worker():
            while not is_over(self.number):
                ask, question = request(self.options.seed, self.number)
                self.number += 1
                await one(self.port, ask, question, self.counts)
        await asyncio.gather(*(worker() for _ in range(self.options.streams)))


async def be_silent(port, pause=SILENT_PAUSE):
    """A connection that sends a byte of its head now and then, and another one when it is closed."""
    while True:
        try:
            _, writer = await clients.open_connection(port)
        except OSError:
            return
        try:
            for byte in b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 4096:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass
        finally:
            writer.close()


async def quiet(server, files=None):
    """What the server holds when its clients are gone."""
    metrics = await server.idle(files if files is not None else sys.maxsize)
    if files is None:
        # The server sees the ends of connections a moment after their clients.
        looks = []
        for _ in range(20):
            looks.append(server.files())
            await asyncio.sleep(servers.LOOK_PAUSE)
        metrics = await server.metrics()
        files = min(looks)
    return {
        "memory_bytes": server.memory(),
        "files": max(files, server.files()),
        "blocks": int(metrics["gptoss_engine_kv_blocks"]),
        "blocks_free": int(metrics["gptoss_engine_kv_blocks_free"]),
        "blocks_cached": int(metrics["gptoss_engine_kv_blocks_cached"]),
        "running": int(sum(metrics[name] for name in servers.GAUGES)),
        "accepted": int(metrics["gptoss_engine_requests_accepted_total"]),
        "ended": int(metrics["gptoss_engine_requests_ended_total"]),
        "resets": int(metrics["gptoss_engine_integrity_resets_total"]),
        "preemptions": int(metrics["gptoss_engine_preemptions_total"]),
    }


def leaks(name, held, base):
    """What is held that nobody should hold."""
    leaked = held["blocks"] - held["blocks_free"] - held["blocks_cached"]
    found = [
        (leaked != 0, f"{leaked} blocks are neither free nor the prefix cache's"),
        (held["resets"] != 0, f"{held['resets']} times the engine's books were wrong"),
        (held["running"] != 0, f"{held['running']} turns, sequences and waiting requests"),
        (held["accepted"] != held["ended"], f"{held['accepted']} requests were taken and {held['ended']} ended"),
        (base is not None and held["files"] > base["files"], f"{held['files']} open files, {base and base['files']} before"),
    ]
    return [f"{name}: {words}" for is_so, words in found if is_so]


async def stop(server, streams, expect, body):
    """SIGTERM when all streams have begun: the kinds of ends, and what is wrong with them."""
    begun, ends, problems = asyncio.Semaphore(0), collections.Counter(), []

    async def stream(number):
        ask = body(number)
        seen = []
        try:
            async for event in clients.patiently(clients.events(server.port, ask, begun.release), PATIENCE):
                seen.append(event)
        except (clients.Broken, clients.Refused, asyncio.TimeoutError) as error:
            problems.append(f"at SIGTERM {ask.api} ended without a last event: {error!r}, {seen[-1:]}")
            return
        code = clients.typed_end(ask, seen)
        found = code or clients.problem(ask, seen)
        ends[code or "whole"] += 1
        if code not in (None, *expect) or (code is None and found):
            problems.append(f"at SIGTERM {ask.api} ended with {found}")

    tasks = [asyncio.create_task(stream(number)) for number in range(streams)]
    for _ in range(streams):
        await asyncio.wait_for(begun.acquire(), PATIENCE)
    running = sum(not task.done() for task in tasks)
    server.terminate()
    await asyncio.gather(*tasks)
    status = await asyncio.to_thread(server.process.wait, PATIENCE)
    if status != 0:
        problems.append(f"after SIGTERM the server ended with {status}")
    if running == 0:
        problems.append("no stream was running at SIGTERM")
    return dict(ends), running, problems


def stays(number):
    """A stream that ends by itself."""
    api = clients.APIS[number % len(clients.APIS)]
    return clients.Ask(api, clients.body_of(api, f"What is {number} + 58?", TOKENS_MAX, True))


def goes_on(number):
    """A stream that does not end for long."""
    api = clients.APIS[number % len(clients.APIS)]
    # 2022 is `<|return|>`: the answer never ends by itself.
    more = {"ignore_eos": True} if api == "completions" else {"logit_bias": {"2022": -100}} if api == "chat" else {}
    return clients.Ask(api, clients.body_of(api, f"What is {number} + 58?", 100_000, True, **more))


async def soak(options, folder):
    counts, problems, begun = Counts(), [], time.monotonic()
    flags = ["--context", 1024, "--kv-memory", KV_MEMORY, "--state-dir", folder, "--drain-timeout", DRAIN_LONG]
    server = servers.Server(options.program, *flags)
    try:
        load = Load(server.port, options, counts)
        silent = [asyncio.create_task(be_silent(server.port)) for _ in range(SILENT)]

        def until(part):
            """The end of a phase, by the number of requests or the time."""
            if options.minutes is None:
                return lambda number: number >= part * options.requests
            end = begun + part * options.minutes * 60
            return lambda number: time.monotonic() >= end

        held, numbers = [], []
        for name, part in (("warm", WARM), ("middle", 0.5), ("end", 1)):
            await load.run(until(part))
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            held.append(await quiet(server, held[0]["files"] if held else None))
            numbers.append(load.number)
            problems += leaks(name, held[-1], held[0])
            silent = [asyncio.create_task(be_silent(server.port)) for _ in range(SILENT)]
        num_second = numbers[2] - numbers[1]
        growth = held[2]["memory_bytes"] - held[1]["memory_bytes"]
        if growth > MEMORY_SLACK:
            problems.append(f"memory grew by {growth >> 10} KiB in the second half, {MEMORY_SLACK >> 10} may be noise")
        if held[2]["preemptions"] == 0:
            problems.append(f"no sequence was ever sent back to wait: {KV_MEMORY} is too much for what was asked")
        took = time.monotonic() - begun
        ends, running, found = await stop(server, options.streams, (), stays)
        problems += found
        for task in silent:
            task.cancel()
    finally:
        server.kill()
    server = servers.Server(options.program, "--context", 4096, "--drain-timeout", DRAIN_SHORT, "--stop-grace", 0)
    try:
        cut_ends, cut_running, found = await stop(server, options.streams, ("shutting_down", "server_error", "overloaded_error"), goes_on)
        problems += found
    finally:
        server.kill()
    problems += [] if counts.problems == [] else [f"{len(counts.problems)} requests were lost, refused or hung"]
    return {
        "seed": options.seed,
        "requests": load.number,
        "seconds": round(took, 1),
        "streams": options.streams,
        "ends": {api: dict(counts.ends[api]) for api in clients.APIS},
        "first_event_ms": {api: {"p50": percentile(counts.firsts[api], 50), "p99": percentile(counts.firsts[api], 99)} for api in clients.APIS},
        "held": dict(zip(("warm", "middle", "end"), held)),
        "memory_growth_bytes": growth,
        "memory_sensitivity_bytes": MEMORY_SLACK // max(num_second, 1),
        "sigterm_with_time": {"running": running, "ends": ends},
        "sigterm_without_time": {"running": cut_running, "ends": cut_ends},
        "problems": problems,
    }


def percentile(values, part):
    """Units: milliseconds."""
    values = sorted(values)
    return round(1e3 * values[min(len(values) * part // 100, len(values) - 1)], 1) if values else None


def table(report):
    kinds = ("whole", "cut", "slow", "lost", "refused", "hung")
    rows = [("", *kinds, "first p50", "p99 ms")]
    for api, ends in report["ends"].items():
        first = report["first_event_ms"][api]
        rows.append((api, *(ends.get(kind, 0) for kind in kinds), first["p50"], first["p99"]))
    rows.append(("all", *(sum(ends.get(kind, 0) for ends in report["ends"].values()) for kind in kinds), "", ""))
    lines = ["  ".join(f"{cell:>{12 if at == 0 else 9}}" for at, cell in enumerate(map(str, row))) for row in rows]
    for name, held in report["held"].items():
        lines.append(
            f"{name:>12}: {held['memory_bytes'] / 2**20:.1f} MiB of memory, {held['files']} files, blocks {held['blocks_free']} free + "
            f"{held['blocks_cached']} cached of {held['blocks']}, {held['running']} running, {held['preemptions']} preemptions"
        )
    lines.append(
        f"memory from the middle to the end: {report['memory_growth_bytes'] / 1024:+.0f} KiB; a leak of "
        f"{report['memory_sensitivity_bytes']} bytes a request would show"
    )
    for name in ("sigterm_with_time", "sigterm_without_time"):
        lines.append(f"{name}: {report[name]['running']} running, ended as {report[name]['ends']}")
    lines.append(f"{report['requests']} requests, {report['streams']} at a time, seed {report['seed']}, {report['seconds']} s")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--minutes", type=float, help="for so long, whatever the number of requests")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path, help="the report, for programs")
    options = parser.parse_args()
    options.program = options.program.resolve()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(options, folder))
    print(table(report))
    for problem in report["problems"]:
        print(f"soak: {problem}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
