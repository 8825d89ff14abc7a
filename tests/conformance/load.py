"""Many streams at a time, a third cut off by the client: nothing is lost, nothing hangs, nothing leaks."""

import asyncio
import json
import os
import random
import re
import time

import httpx

import servers

REQUESTS = int(os.environ.get("LOAD_REQUESTS", "1000"))
STREAMS = int(os.environ.get("LOAD_STREAMS", "64"))
CUT = 0.3


async def one(client, number, gate, counts, randomness):
    chat = number % 2 == 0
    a, b = randomness.randint(1, 99), randomness.randint(1, 99)
    question = f"What is {a} + {b}?"
    if chat:
        path, body = "/v1/chat/completions", {"messages": [{"role": "user", "content": question}], "max_tokens": 200}
    else:
        path, body = "/v1/responses", {"input": question, "max_output_tokens": 200, "store": False}
    cut_after = randomness.randint(1, 8) if randomness.random() < CUT else None
    async with gate:
        begun = time.monotonic()
        seen, is_whole = 0, False
        async with client.stream("POST", path, json={**body, "stream": True}) as response:
            assert response.status_code == 200, response.status_code
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if seen == 0:
                    counts["first"].append(time.monotonic() - begun)
                seen += 1
                if line == "data: [DONE]":
                    is_whole = True
                elif not chat and json.loads(line[6:])["type"] in ("response.failed",):
                    counts["failed"] += 1
                if cut_after is not None and seen >= cut_after:
                    counts["cut"] += 1
                    return
        counts["whole" if is_whole else "lost"] += 1


def metric(page, name):
    return float(re.search(rf"^{name} (\S+)$", page, re.M).group(1))


async def run(base):
    counts = {"first": [], "whole": 0, "lost": 0, "cut": 0, "failed": 0}
    randomness = random.Random(7)
    gate = asyncio.Semaphore(STREAMS)
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=STREAMS)
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as client:
        begun = time.monotonic()
        await asyncio.gather(*(one(client, number, gate, counts, randomness) for number in range(REQUESTS)))
        took = time.monotonic() - begun
        for _ in range(100):
            page = (await client.get("/metrics")).text
            if metric(page, "gptoss_turns_running") == 0 and metric(page, "gptoss_engine_sequences_running") == 0:
                break
            await asyncio.sleep(0.1)
    assert counts["lost"] == 0 and counts["failed"] == 0, counts
    assert counts["whole"] + counts["cut"] == REQUESTS, counts
    # The idle engine looks through its blocks: one that nobody holds and that is not free resets it, and is counted.
    for name in ["gptoss_turns_running", "gptoss_engine_sequences_running", "gptoss_engine_requests_queued", "gptoss_engine_integrity_resets_total"]:
        assert metric(page, name) == 0, name
    accepted, ended = metric(page, "gptoss_engine_requests_accepted_total"), metric(page, "gptoss_engine_requests_ended_total")
    assert accepted == ended == REQUESTS, (accepted, ended)
    first = sorted(counts["first"])
    tokens = metric(page, "gptoss_completion_tokens_total")
    return (f"{counts['whole']} whole, {counts['cut']} cut, 0 lost in {took:.1f} s; first event p50 "
            f"{first[len(first) // 2] * 1e3:.0f} ms, p99 {first[len(first) * 99 // 100] * 1e3:.0f} ms; {tokens / took:.0f} tokens/s")


def check_streams_cut_off():
    with servers.demo("--quiet", "--context", "1024") as base:
        return asyncio.run(run(base))


async def stopped(base, process_stop):
    """SIGTERM while as many streams run as may: those that nobody cuts off end whole, and none hangs."""
    randomness = random.Random(11)
    begun = asyncio.Semaphore(0)
    counts = {"whole": 0, "cut": 0}
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=httpx.Limits(max_connections=STREAMS)) as client:
        async def stream(number):
            body = {"messages": [{"role": "user", "content": f"What is {number} + 58?"}], "stream": True, "max_tokens": 200}
            cut_after = randomness.randint(2, 8) if number % 10 < 10 * CUT else None
            seen, text = 0, ""
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                assert response.status_code == 200, response.status_code
                begun.release()
                async for line in response.aiter_lines():
                    text, seen = text + line + "\n", seen + line.startswith("data: ")
                    if cut_after is not None and seen >= cut_after:
                        counts["cut"] += 1
                        return
            assert "[DONE]" in text, text[-80:]
            counts["whole"] += 1
        tasks = [asyncio.create_task(stream(number)) for number in range(STREAMS)]
        for _ in range(STREAMS):
            await asyncio.wait_for(begun.acquire(), 60)
        running = sum(not task.done() for task in tasks)
        process_stop()
        await asyncio.gather(*tasks)
    assert counts["whole"] + counts["cut"] == STREAMS, counts
    return f"{counts['whole']} whole, {counts['cut']} cut, {running} running at SIGTERM"


def check_sigterm_lets_streams_end():
    import signal
    import subprocess

    command = [os.environ["GPTOSS"], "serve", "--port", "0", "--quiet", "--drain-timeout", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    base = "http://" + servers._address(process, r"served at http://([0-9.:]+)/v1")
    try:
        note = asyncio.run(stopped(base, lambda: process.send_signal(signal.SIGTERM)))
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
    return note
