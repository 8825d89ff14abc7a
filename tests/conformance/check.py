"""Runs every check, or those whose names hold one of the words on the command line, and prints a line each.

Each module of checks is a program of its own, and two run at a time: a check waits for clients that start more than it computes. No check
may look at how long an answer takes.
"""

import concurrent.futures
import importlib
import subprocess
import sys
import time
import traceback

# The longest first, so that none of them is left alone at the end.
MODULES = ["openai_sdk", "fuzz", "compatibility", "tool_servers", "opencode", "anthropic_sdk", "node_clients", "codex", "mini_swe_agent", "openresponses",
           "launch", "frameworks", "published", "seeded", "claude_code", "agents_sdk", "openai_admin",
           "gateway"]
MODULES_AT_A_TIME = 2
# Longest that the checks of one module may take; each takes under three minutes on two busy cores.
MODULE_SECONDS_MAX = 900


def checks(name):
    module = importlib.import_module(name)
    for attribute in sorted(vars(module)):
        if attribute.startswith("check_"):
            yield f"{name}.{attribute[6:]}", getattr(module, attribute)


def run(name, words):
    """Runs the checks of a module; how many passed and failed."""
    passed = failed = 0
    for name, check in checks(name):
        if words and not any(word in name for word in words):
            continue
        begun = time.monotonic()
        try:
            note = check() or ""
            passed += 1
            print(f"ok     {name}  {time.monotonic() - begun:.1f} s  {note}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
    return passed, failed


def run_apart(name, words):
    """Runs the checks of a module as a program of its own, prints what it printed, and gives its counts."""
    command = [sys.executable, __file__, "--module", name, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MODULE_SECONDS_MAX)
        lines, status = done.stdout.splitlines(), done.stderr
    except subprocess.TimeoutExpired as expired:
        lines, status = (expired.stdout or b"").decode().splitlines(), f"{name} ran for more than {MODULE_SECONDS_MAX} s"
    counts = lines.pop().split() if lines and lines[-1].startswith("counts ") else ["", 0, 1]
    if counts[0] == "":
        lines.append(f"FAILED {name}, which ended before its checks did\n{status}")
    print("".join(f"{line}\n" for line in lines), end="", flush=True)
    return int(counts[1]), int(counts[2])


def main(words):
    if words[:1] == ["--module"]:
        print("counts", *run(words[1], words[2:]))
        return 0
    with concurrent.futures.ThreadPoolExecutor(MODULES_AT_A_TIME) as pool:
        counts = list(pool.map(lambda name: run_apart(name, words), MODULES))
    passed, failed = sum(count[0] for count in counts), sum(count[1] for count in counts)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
