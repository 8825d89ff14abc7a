"""Our verdicts on logs of tests beside those of swebench's grading: python swe_bench.py GPTOSS

Logs are made by rule, of both runners. A repository of one commit holds nothing; the patch of an instance's tests adds the log and an exit
code, and the command that runs the tests shows the one and ends with the other. Started by a person, in the environment of `run`.
"""

import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import types
from pathlib import Path

SEED = 20261130
INSTANCES = 300
STATUSES = ["PASSED", "FAILED", "SKIPPED", "ERROR", "XFAIL"]
NAMES = [f"tests/t{n // 4}.py::test_{n}" for n in range(8)] + ["tests/t.py::test_p[a-1]", "tests/t.py::test_p[a-2]", "tests/t.py::test_q[x]"]
CUT = ["tests/t.py::test_p[a", "tests/t.py::test_q["]


def official():
    """The package's modules of grading, without those that start containers."""
    root = Path(importlib.util.find_spec("swebench").submodule_search_locations[0])
    for name in ["swebench", "swebench.harness"]:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    from swebench.harness import grading
    from swebench.harness.log_parsers import python as parsers

    return grading, {"pytest": parsers.parse_log_pytest, "unittest": parsers.parse_log_django}


def pytest_log(draw):
    lines = ["== short test summary info =="]
    for name in draw.sample(NAMES, draw.randint(0, len(NAMES))):
        status = draw.choice(STATUSES + ["PASSED"] * 6)
        lines.append(f"{status} {name}" + (" - AssertionError: no" if status == "FAILED" else ""))
    lines += draw.sample(["SKIPPED [2] tests/t.py:3: later", "PASSED", " PASSED tests/t0.py::test_0", "FAILED - no", "done"], draw.randint(0, 3))
    return "\n".join(lines) + "\n"


def unittest_log(draw):
    lines = []
    for name in draw.sample(NAMES, draw.randint(0, len(NAMES))):
        end = draw.choice(["ok"] * 6 + ["OK", "FAIL", "ERROR", "skipped 'x'", "it says\nok", "it says", "expected failure"])
        lines.append(f"{name} (t.A) ... {end}")
        if end in ("FAIL", "ERROR") and draw.random() < 0.5:
            lines.append(f"{end}: {name} (t.A)")
    return "\n".join(lines) + "\n"


def added(name, text):
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}"


def main():
    gptoss = sys.argv[1]
    grading, parsers = official()
    for runner, make in [("pytest", pytest_log), ("unittest", unittest_log)]:
        draw = random.Random(SEED)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            repository = folder / "repositories" / "a__b"
            repository.mkdir(parents=True)
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", repository]
            (repository / "README").write_text("nothing\n")
            for args in [["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]]:
                subprocess.run([*git, *args], check=True)
            base = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
            rows, predictions, expected = [], [], []
            for number in range(INSTANCES):
                log, code = make(draw), draw.choice([0, 0, 0, 1])
                names = NAMES if runner == "pytest" else [f"{name} (t.A)" for name in NAMES]
                chosen = draw.sample(names + (CUT if runner == "pytest" else []), draw.randint(1, 4))
                split = draw.randint(1, len(chosen))
                gold = {"FAIL_TO_PASS": chosen[:split], "PASS_TO_PASS": chosen[split:]}
                rows.append({"instance_id": f"i{number}", "repo": "a/b", "base_commit": base, "problem_statement": "p",
                             "test_patch": added("log.txt", log) + added("code.txt", str(code)), **gold})
                predictions.append({"instance_id": f"i{number}", "model_patch": added("new", "x")})
                statuses = parsers[runner](log, None)
                bad = code != 0 and statuses and not any(status in ("FAILED", "ERROR") for status in statuses.values())
                report = grading.get_eval_tests_report({} if bad else statuses, gold)
                valid = statuses and not bad
                expected.append(bool(valid) and grading.get_resolution_status(report) == "RESOLVED_FULL")
            for name, lines in [("data", rows), ("predictions", predictions)]:
                (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            command = [gptoss, "eval", "score", "swe-bench", "--data", folder / "data.jsonl", "--responses", folder / "predictions.jsonl",
                       "--repositories", folder / "repositories", "--tests", runner, "--json", "--test-command", "cat log.txt; exit $(cat code.txt)"]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ours = {item["id"]: item["outcome"] for item in told["items"]}
            differing = [n for n, right in enumerate(expected) if ours[f"i{n}"] != ("correct" if right else "wrong")]
            print(f"{runner}: {INSTANCES - len(differing)} of {INSTANCES} verdicts are swebench's, {sum(expected)} of them resolved (seed {SEED})")
            if differing:
                sys.exit(f"{runner}: instances {differing[:9]} differ")


main()
