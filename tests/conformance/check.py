"""Runs every check, or those whose names hold one of the words on the command line, and prints a line each."""

import importlib
import sys
import time
import traceback

MODULES = ["openai_sdk", "agents_sdk", "frameworks", "compatibility", "openresponses", "published", "seeded", "anthropic_sdk", "node_clients", "codex", "claude_code", "opencode", "launch", "tool_servers", "fuzz"]


def checks():
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute in sorted(vars(module)):
            if attribute.startswith("check_"):
                yield f"{name}.{attribute[6:]}", getattr(module, attribute)


def main(words):
    passed = failed = 0
    for name, check in checks():
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
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
