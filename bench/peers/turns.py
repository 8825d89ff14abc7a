"""gptoss and llama.cpp in turn on the same weights: A B A B A B, medians and ratios.

    python turns.py --gptoss target/release/gptoss --peer-python peers/bin/python --gguf MODEL.gguf \\
        --ours "q8=--model FOLDER --dense q8" --ours "bf16=--model FOLDER" --prefill 512 --turns 3 --json OUT.json

Every turn starts every contestant once, each in its own process, one after the other; so all of them meet the same
machine, however its neighbours behave. The first `--ours` is the one that ratios are made for. `--before CMD` is put in front of
every contestant's command (a lock, `taskset`, `confined.py`). Results go to standard output as a markdown table and, with --json, to a file with
every single run; with --add a long comparison is made in several sittings. No measurement is thrown away.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = ["prefill_tokens_per_second", "decode_tokens_per_second"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gptoss", default="target/release/gptoss")
    parser.add_argument("--ours", action="append", required=True, metavar="NAME=ARGS")
    parser.add_argument("--peer-python", help="the Python that has llama-cpp-python; without it only ours run")
    parser.add_argument("--gguf")
    parser.add_argument("--peer-args", default="", help="more arguments for llama.py, such as --no-repack")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=48)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--before", default="", metavar="CMD")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--add", action="store_true", help="to the turns that FILE already holds")
    return parser.parse_args()


def contestants(options):
    """Name and command of each; the peer, if there is one, comes last."""
    sizes = ["--prefill", options.prefill, "--decode", options.decode, "--depth", options.depth, "--batch", options.batch, "--threads", options.threads]
    sizes = [str(word) for word in sizes]
    before = shlex.split(options.before)
    for ours in options.ours:
        name, _, words = ours.partition("=")
        command = [options.gptoss, "bench", *shlex.split(words), *sizes, "--repeat", "1", "--json"]
        yield f"gptoss {name}", before + command
    if options.peer_python:
        script = os.path.join(HERE, "llama.py")
        yield "llama.cpp", [*before, options.peer_python, script, options.gguf, *sizes, *shlex.split(options.peer_args)]


def run(command):
    print("$", shlex.join(command), file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(result.stdout.strip().splitlines()[-1])
    answer = answer[0] if isinstance(answer, list) else answer
    print({figure: answer.get(figure) for figure in FIGURES}, file=sys.stderr, flush=True)
    return answer | {"load_average_before": load}


def median(runs, figure):
    values = [run[figure] for run in runs if run.get(figure) is not None]
    return statistics.median(values) if values else None


def spread(runs, figure):
    values = [run[figure] for run in runs if run.get(figure) is not None]
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "-"


def share(runs, figure):
    value = median(runs, figure)
    return f"{value * 100:.0f} %" if value is not None else "-"


def table(results, options):
    first = next(iter(results))
    lines = [
        f"prompt {options.prefill}, depth {options.depth}, batch {options.batch}, {options.decode} decoded, {options.threads} threads, medians of {len(results[first])} turns",
        "",
        "| | prompt, tokens/s | of the tiles' ceiling | decode, tokens/s | of the bandwidth | peak resident | first token |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        peak = median(runs, "peak_resident_bytes")
        lines.append(
            f"| {name} | {spread(runs, FIGURES[0])} | {share(runs, 'prefill_share_of_ceiling')} | {spread(runs, FIGURES[1])}"
            f" | {share(runs, 'decode_share_of_ceiling')} | {peak / 1e9:.1f} GB | {median(runs, 'first_token_seconds'):.1f} s |"
        )
    if "llama.cpp" in results:
        ratios = []
        for figure in FIGURES:
            ours, peer = median(results[first], figure), median(results["llama.cpp"], figure)
            ratios.append(f"{ours / peer:.2f}" if ours and peer else "-")
        lines += ["", f"{first} over llama.cpp: prompt {ratios[0]}, decode {ratios[1]}"]
    return "\n".join(lines)


def main():
    options = arguments()
    commands = dict(contestants(options))
    results = {name: [] for name in commands}
    if options.add and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as file:
            results |= json.load(file)["results"]
    for _ in range(options.turns):
        for name, command in commands.items():
            results[name].append(run(command))
    print(table(results, options))
    if options.json:
        record = {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
            "machine": platform.platform(),
            "options": {key: value for key, value in vars(options).items() if key != "json"},
            "results": results,
        }
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
