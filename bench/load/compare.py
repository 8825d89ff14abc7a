"""Measure one server with `gptoss load` and with aiperf in turn, and print both beside each other.

    python bench/load/compare.py                                             the demo model of target/release/gptoss
    python bench/load/compare.py --serve "--model target/gptoss-20b" --requests 20 --json load.json
    python bench/load/compare.py --url http://127.0.0.1:8080/v1 --model NAME --rate 2
    python bench/load/compare.py --paced 200,20                              a stand-in that is known to take 200 ms and then 20 a token

Without --url the server is `gptoss serve` with the flags of --serve, on a free port, and ends with the script. aiperf is installed into
target/aiperf if it is not there; it loads its tokenizer from a folder (the demo's: the server counts the tokens), so nothing else is
fetched. Both tools send prompts of the same number of words from the same list, different ones each time, so that no prompt is kept from
before. A turn is ours, then theirs. Medians over the turns are printed. A generator on the server's own machine takes processors from it,
and each takes another share: so where the server counts times itself (gptoss's metrics), each tool is held to what the server counted
while that tool asked, and the script ends with 1 when ours is more than 10 % and more than 10 ms off. Otherwise it ends with 1 when a median of the first token,
of the time between tokens or of the output speed differs by more than 10 % between the tools. Python 3.10 or newer, standard library only.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
AIPERF = ROOT / "target" / "aiperf"
AIPERF_VERSION = "0.13.0"
WORDS = (ROOT / "crates/cli/src/load/words.txt").read_text(encoding="utf-8").split()
DIFFERENCE_MAX = 0.10
# The way to the server and back, and turns of a scheduler, which the server does not count.
WAY_MS_MAX = 10
START_SECONDS_MAX = 300
# A name, our field, their metric and statistic, whether the difference counts.
FIGURES = [
    ("requests answered", "completed", ("request_count", "avg"), False),
    ("input tokens, mean", "input_mean", ("input_sequence_length", "avg"), False),
    ("output tokens, mean", "output_mean", ("output_sequence_length", "avg"), False),
    ("TTFT p50, ms", "p50_ttft_ms", ("time_to_first_token", "p50"), True),
    ("TTFT mean, ms", "mean_ttft_ms", ("time_to_first_token", "avg"), False),
    ("TTFT p90, ms", "p90_ttft_ms", ("time_to_first_token", "p90"), False),
    ("TTFO p50, ms", "p50_ttfo_ms", ("time_to_first_output_token", "p50"), False),
    ("TPOT (their ITL) p50, ms", "p50_tpot_ms", ("inter_token_latency", "p50"), True),
    ("E2EL p50, ms", "p50_e2el_ms", ("request_latency", "p50"), False),
    ("E2EL mean, ms", "mean_e2el_ms", ("request_latency", "avg"), False),
    ("output tokens/s", "output_throughput", ("output_token_throughput", "avg"), True),
    ("requests/s", "request_throughput", ("request_throughput", "avg"), False),
]
# A figure, and the histogram in which the server counts the same.
COUNTED = [
    ("TTFT mean, ms", "gptoss_time_to_first_token_seconds"),
    ("E2EL mean, ms", "gptoss_turn_seconds"),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gptoss", default=str(ROOT / "target/release/gptoss"), help="the binary that measures, and serves without --url")
    parser.add_argument("--url", help="a running server's base address, with /v1")
    parser.add_argument("--model", help="the name to ask for [default: the first that is listed]")
    parser.add_argument("--serve", default="", metavar="FLAGS", help="flags of `gptoss serve`")
    parser.add_argument("--paced", metavar="TTFT,ITL", help="measure a stand-in with these times, in ms")
    parser.add_argument("--endpoint", choices=["chat", "completions"], default="chat")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--rate", type=float, help="open loop, Poisson arrivals, instead of --concurrency")
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--words", type=int, default=64, help="words of a prompt")
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokenizer", default=str(ROOT / "demo/model"), help="aiperf's, a folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the turns there")
    return parser.parse_args()


def install():
    """aiperf's program, installed if it is not there."""
    program = AIPERF / "bin" / "aiperf"
    if not program.exists():
        print(f"installing aiperf {AIPERF_VERSION} into {AIPERF.relative_to(ROOT)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", AIPERF], check=True)
        subprocess.run([AIPERF / "bin" / "pip", "install", "--quiet", f"aiperf=={AIPERF_VERSION}"], check=True)
    return program


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`gptoss serve`, ready."""

    def __init__(self, program, flags):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        command = [program, "serve", "--port", str(port), "--quiet", *flags.split()]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: ended with {self.process.returncode}")
            try:
                listed_model(self.url)
                return
            except OSError:
                time.sleep(0.2)
        raise SystemExit("the server did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Stand:
    """A server of Chat Completions that takes a known time: so long to the first token, so long between tokens."""

    def __init__(self, first_ms, gap_ms, tokens):
        self.first, self.gap, self.tokens = first_ms / 1000, gap_ms / 1000, tokens
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        threading.Thread(target=self.run, args=[started], daemon=True).start()
        started.wait()

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked = asyncio.get_running_loop().time()
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
                await reader.readexactly(length)
                await (self.stream(writer, asked) if head.startswith(b"POST") else self.models(writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def models(self, writer):
        body = b'{"object": "list", "data": [{"id": "stand-in", "object": "model"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def stream(self, writer, asked):
        def event(data):
            text = f"data: {data}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(text), text))

        def chunk(choices, usage=None):
            event(json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "stand-in", "choices": choices, "usage": usage}))

        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for index in range(self.tokens):
            # From the request and not from the token before, so that errors do not add up.
            await asyncio.sleep(max(0, asked + self.first + index * self.gap - asyncio.get_running_loop().time()))
            chunk([{"index": 0, "delta": {"content": " word"}, "finish_reason": None}])
        chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        chunk([], {"prompt_tokens": 1, "completion_tokens": self.tokens, "total_tokens": 1 + self.tokens})
        event("[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


def listed_model(url):
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        return json.load(answer)["data"][0]["id"]


def counted(url):
    """Sum in seconds and count of each of the server's histograms; none where it has no such metrics."""
    try:
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    values = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    ends = [[f"{name}_sum", f"{name}_count"] for _, name in COUNTED]
    return [[float(values[end]) for end in pair] for pair in ends] if all(pair[0] in values for pair in ends) else None


def counting(url, measure):
    """What `measure` gives, and beside it the means that the server counted meanwhile, in milliseconds."""
    before = counted(url)
    turn = measure()
    after = counted(url)
    if before and after:
        for (name, _), old, new in zip(COUNTED, before, after):
            turn[f"counted {name}"] = (new[0] - old[0]) / (new[1] - old[1]) * 1000 if new[1] > old[1] else None
    return turn


def write_prompts(options, folder, turn, tool):
    """A file of prompts that no other turn has, in the words of the tool."""
    source = random.Random(f"{options.seed} {turn} {tool}")
    path = pathlib.Path(folder) / f"{turn}-{tool}.jsonl"
    fields = {"ours": ("prompt", "output_tokens"), "aiperf": ("text", "output_length")}[tool]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(options.requests):
            text = " ".join(source.choices(WORDS, k=options.words))
            file.write(json.dumps(dict(zip(fields, (text, options.output_tokens)))) + "\n")
    return path


def ours(options, url, model, folder, turn):
    prompts = write_prompts(options, folder, turn, "ours")
    sending = ["--rate", str(options.rate)] if options.rate else ["--concurrency", str(options.concurrency)]
    command = [
        options.gptoss, "load", "--url", url, "--model", model, "--endpoint", options.endpoint, "--prompts", prompts, *sending,
        "--requests", str(options.requests), "--warmup", "0", "--seed", str(options.seed + turn), "--json",
    ]
    level = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["levels"][0]
    level["input_mean"] = (level["total_input_tokens"] or 0) / level["completed"]
    level["output_mean"] = level["total_output_tokens"] / level["completed"]
    return {name: level[field] for name, field, _, _ in FIGURES}


def theirs(options, program, url, model, folder, turn):
    prompts = write_prompts(options, folder, turn, "aiperf")
    artifacts = pathlib.Path(folder) / f"{turn}-artifacts"
    sending = ["--request-rate", str(options.rate), "--arrival-pattern", "poisson"] if options.rate else [
        "--concurrency", str(options.concurrency)]
    command = [
        program, "profile", "--model", model, "--url", url.removesuffix("/v1"), "--endpoint-type", options.endpoint, "--streaming",
        "--tokenizer", options.tokenizer, "--use-server-token-count", "--input-file", prompts, "--custom-dataset-type", "single_turn",
        "--dataset-sampling-strategy", "sequential", *sending, "--request-count", str(options.requests), "--random-seed",
        str(options.seed + turn), "--ui-type", "none", "--no-gpu-telemetry", "--no-server-metrics", "--output-artifact-dir", artifacts,
    ]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    export = artifacts / "profile_export_aiperf.json"
    if not export.exists():
        raise SystemExit(f"aiperf wrote no figures:\n{ran.stdout[-4000:]}")
    figures = json.loads(export.read_text(encoding="utf-8"))
    return {name: figures.get(metric, {}).get(statistic) for name, _, (metric, statistic), _ in FIGURES}


def middle(turns, name):
    values = [turn[name] for turn in turns if turn[name] is not None]
    return statistics.median(values) if values else None


def show(value):
    return "-" if value is None else f"{value:.2f}"


def print_table(turns, is_open):
    """Medians with the least and the most of each tool; true when all differences that count are small."""
    is_near = True
    # In an open loop the rate is given, and what a few random arrivals make of it says nothing of the tools.
    figures = [(name, counts and not (is_open and name == "output tokens/s")) for name, _, _, counts in FIGURES]
    print("| figure | gptoss load | aiperf | difference |")
    print("|---|---|---|---|")
    for name, counts in figures:
        cells, medians = [], []
        for tool in ("ours", "aiperf"):
            values = [turn[name] for turn in turns[tool] if turn[name] is not None]
            medians.append(middle(turns[tool], name))
            cells.append(f"{show(medians[-1])} ({show(min(values))} to {show(max(values))})" if values else "-")
        difference = None
        if all(medians):
            difference = medians[0] / medians[1] - 1
            if counts and abs(difference) > DIFFERENCE_MAX:
                is_near = False
        told = "-" if difference is None else f"{difference:+.1%}"
        print(f"| {name} | {cells[0]} | {cells[1]} | {told}{' (counts)' if counts else ''} |")
    return is_near


def print_counted(turns):
    """Each tool beside the server, medians of what they differ by in a turn; true when ours is near it."""
    is_near = True
    print("\n| figure | the server counted | gptoss load | the server counted | aiperf |")
    print("|---|---|---|---|---|")
    for name, _ in COUNTED:
        cells = []
        for tool in ("ours", "aiperf"):
            pairs = [(turn[f"counted {name}"], turn[name]) for turn in turns[tool]]
            difference = statistics.median(told / seen - 1 for seen, told in pairs)
            way = statistics.median(told - seen for seen, told in pairs)
            cells += [show(statistics.median(seen for seen, _ in pairs)), f"{show(middle(turns[tool], name))} ({difference:+.1%})"]
            if tool == "ours" and abs(difference) > DIFFERENCE_MAX and abs(way) > WAY_MS_MAX:
                is_near = False
        print(f"| {name} | {' | '.join(cells)} |")
    return is_near


def main():
    options = arguments()
    program = install()
    if options.paced:
        server = Stand(*map(float, options.paced.split(",")), options.output_tokens)
    else:
        server = None if options.url else Server(options.gptoss, options.serve)
    url = (server.url if server else options.url).rstrip("/")
    turns = {"ours": [], "aiperf": []}
    try:
        model = options.model or listed_model(url)
        with tempfile.TemporaryDirectory() as folder:
            # Ours and not counted: whoever comes first would find a cold server.
            ours(options, url, model, folder, -1)
            for turn in range(options.turns):
                print(f"turn {turn + 1} of {options.turns}, load average {os.getloadavg()[0]:.2f}", file=sys.stderr)
                turns["ours"].append(counting(url, lambda: ours(options, url, model, folder, turn)))
                turns["aiperf"].append(counting(url, lambda: theirs(options, program, url, model, folder, turn)))
    finally:
        if server:
            server.stop()
    load = f"rate {options.rate}/s" if options.rate else f"concurrency {options.concurrency}"
    print(f"{model}, {options.endpoint}, {load}, {options.requests} requests of {options.words} words, {options.turns} turns\n")
    is_near = print_table(turns, options.rate is not None)
    if all(turn.get(f"counted {name}") for tool in turns.values() for turn in tool for name, _ in COUNTED):
        is_near = print_counted(turns)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"model": model, "load": load, **turns}, indent=1) + "\n", encoding="utf-8")
    if not is_near:
        raise SystemExit(f"a median that counts is more than {DIFFERENCE_MAX:.0%} off")


if __name__ == "__main__":
    main()
