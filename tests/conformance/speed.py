"""How much time the server itself takes: python speed.py [MODEL], after tests/conformance/run has built everything.

Of the scripted engine, which answers at once, the time to the first token is the server's own; of the demo it is what a client sees.
With a model, eight streams of it, and the processor time of the server's threads beside that of the engine's (Linux).
Requests are written to plain sockets and read line by line, because an HTTP client takes longer than the server. No check: it prints.
"""

import asyncio
import json
import os
import pathlib
import statistics
import sys
import time

import servers

QUESTION = "What is 27 + 58?"


async def stream(base, path, body):
    """Times of all events that hold text, counted from the request. Units: seconds."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    text = json.dumps({**body, "stream": True})
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(text)}\r\n\r\n"
    begun = time.perf_counter()
    writer.write((head + text).encode())
    times = []
    while line := await reader.readline():
        if b'"reasoning":"' in line or b'"content":"' in line or b".delta" in line and line.startswith(b"data: "):
            times.append(time.perf_counter() - begun)
    writer.close()
    return times


def chat(question=QUESTION, **more):
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": question}], "temperature": 0, **more}


def responses(question=QUESTION):
    return "/v1/responses", {"input": question, "store": False, "temperature": 0}


def milliseconds(values):
    values = sorted(values)
    return f"p50 {statistics.median(values) * 1e3:.2f} ms, p99 {values[len(values) * 99 // 100] * 1e3:.2f} ms"


async def one_by_one(base, ask, count):
    firsts = []
    for number in range(count + 10):
        times = await stream(base, *ask)
        if number >= 10:
            firsts.append(times[0])
    return milliseconds(firsts)


async def together(base, count, tokens):
    asks = [chat(f"What is {number} + 58?", max_tokens=tokens, ignore_eos=True) for number in range(count)]
    begun = time.perf_counter()
    all_times = await asyncio.gather(*(stream(base, *ask) for ask in asks))
    took = time.perf_counter() - begun
    gaps = [later - earlier for times in all_times for earlier, later in zip(times, times[1:])]
    events = sum(len(times) for times in all_times)
    print(f"{count} streams: {events} events in {took:.2f} s; to the first {milliseconds([times[0] for times in all_times])}; "
          f"between two {milliseconds(gaps)}, longest {max(gaps) * 1e3:.1f} ms")


def thread_seconds():
    """Processor time so far of the threads of this process's children, by name."""
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = {}
    for stat in (stat for child in children for stat in pathlib.Path(f"/proc/{child}/task").glob("*/stat")):
        name, fields = stat.read_text().split("(", 1)[1].rsplit(") ", 1)
        seconds[name] = seconds.get(name, 0) + sum(map(int, fields.split()[11:13])) / ticks
    return seconds


def eight_streams_of(model):
    """The engine computes on its own thread and the workers; all other threads are the server's."""
    with servers.demo("--quiet", "--model", model) as base:
        asyncio.run(together(base, 8, 8))
        before = thread_seconds()
        asyncio.run(together(base, 8, 48))
        spent = {name: seconds - before.get(name, 0) for name, seconds in thread_seconds().items()}
    engine = sum(seconds for name, seconds in spent.items() if name.startswith(("engine", "gptoss-worker")))
    rest = sum(spent.values()) - engine
    print(f"processor time: engine {engine:.2f} s, server {rest:.2f} s, {100 * rest / (engine + rest):.2f} % of both; by thread {spent}")


def main(words):
    if words:
        return eight_streams_of(words[0])
    count = int(os.environ.get("SPEED_REQUESTS", "300"))
    with servers.scripted([servers.answer("Yes.")]) as base:
        for name, ask in [("chat", chat()), ("responses", responses())]:
            print(f"scripted engine, {name}: first token after {asyncio.run(one_by_one(base, ask, count))}")
    with servers.demo("--quiet") as base:
        for name, ask in [("chat", chat()), ("responses", responses())]:
            print(f"demo, {name}: first token after {asyncio.run(one_by_one(base, ask, count))}")
        for streams in [1, 8, 32]:
            asyncio.run(together(base, streams, 200))


if __name__ == "__main__":
    main(sys.argv[1:])
