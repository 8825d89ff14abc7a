"""What a gateway adds to an upstream's answers, by `gptoss load`.

    cargo build --release --bin gptoss && cargo build --release -p gptoss-gateway --example upstream
    python bench/gateway/added.py [--rate 1000] [--duration 20s] [--turns 3] [--other http://127.0.0.1:4000/v1 --other-model NAME]

An upstream that answers at once, and `gptoss serve --gateway` before it, get the same load in turn: the upstream alone, then the gateway,
then the other way round. Printed are the percentiles of whole answers of both and their difference, turn by turn and as medians. Another
proxy before the same upstream (its port is printed) can be measured in the same run with --other. Everything runs on this machine, the
generator too, so the differences are those of a machine that is shared by all of them. Run it by hand on a release build, on a machine
that does nothing else. Python 3.10 or newer, standard library only.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PERCENTILES = ["p50_e2el_ms", "p90_e2el_ms", "p99_e2el_ms"]


@contextlib.contextmanager
def running(command, pattern):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in process.stdout:
            found = re.search(pattern, line)
            if found:
                yield f"http://{found.group(1)}/v1"
                return
        raise SystemExit(f"{command[0]} ended before it listened")
    finally:
        process.terminate()
        process.wait(30)


def load(url, model, args):
    command = [RELEASE / "gptoss", "load", "--url", url, "--model", model, "--rate", str(args.rate), "--duration", args.duration,
               "--prompt-tokens", "64", "--output-tokens", str(args.words), "--arrivals", "constant", "--timeout", "30s", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["levels"][0]


def figure(level, name):
    """A figure wherever the report has it."""
    if name in level:
        return level[name]
    for value in level.values():
        if isinstance(value, dict) and name in value:
            return value[name]
    raise SystemExit(f"the report of gptoss load has no {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--duration", default="20s")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--words", type=int, default=8)
    parser.add_argument("--port", type=int, default=18090)
    parser.add_argument("--other")
    parser.add_argument("--other-model", default="stub")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(running([RELEASE / "examples/upstream", str(args.port)], r"listening on ([0-9.:]+)"))
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan = folder / "gateway.toml"
        plan.write_text(f'[[upstreams]]\nname = "stub"\nbase_url = "{upstream}"\nmodels = {{ stub = "stub" }}\nmax_parallel = 10000\n')
        command = [RELEASE / "gptoss", "serve", "--port", "0", "--quiet", "--gateway", plan, "--max-connections", "4096"]
        gateway = stack.enter_context(running(command, r"served at http://([0-9.:]+)/v1"))
        sides = {"upstream": (upstream, "stub"), "gateway": (gateway, "stub")}
        if args.other:
            sides["other"] = (args.other, args.other_model)
        print(f"upstream {upstream}, {args.rate:.0f} requests/s for {args.duration}, {args.words} words an answer, {os.cpu_count()} processors")
        rows = {name: [] for name in sides}
        for turn in range(args.turns):
            order = list(sides) if turn % 2 == 0 else list(reversed(sides))
            for name in order:
                url, model = sides[name]
                level = load(url, model, args)
                rows[name].append([figure(level, key) for key in PERCENTILES])
        print(f"{'':10}" + "".join(f"{key:>16}" for key in PERCENTILES))
        medians = {name: [statistics.median(column) for column in zip(*found)] for name, found in rows.items()}
        for name, found in rows.items():
            for turn, values in enumerate(found):
                print(f"{name:10}" + "".join(f"{value:16.3f}" for value in values) + f"   turn {turn + 1}")
        for name in list(sides)[1:]:
            added = [ours - theirs for ours, theirs in zip(medians[name], medians["upstream"])]
            print(f"{name} adds" + "".join(f"{value:16.3f}" for value in added))


if __name__ == "__main__":
    main()
