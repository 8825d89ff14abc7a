"""Random patches and what the published `apply_patch` makes of them.

Usage: python make_patches.py OUT.jsonl COUNT SEED, with `gpt_oss/tools/apply_patch.py` of the `gpt-oss` package 0.0.9 (pure Python,
3.12) on the path. A line holds the files before, the patch, the files after (null where it was refused), and which holes of the
reference the patch went through: `outside` for files written or removed outside of the folder, `overwrites` for files that the patch did not
name as changed, `twice` for a file under two names, `nothing` for an update that says nothing.
"""

import json
import os
import pathlib
import random
import re
import sys
import tempfile

from gpt_oss.tools.apply_patch import apply_patch

WORDS = ["def load(path):", "class Store:", "return None", "x = 1", "x = 2", "", "", "pass", "# note", "for row in rows:", "größe = 3", "}"]
MARKERS = ("*** Add File: ", "*** Delete File: ", "*** Update File: ", "*** Move to: ")
NAMES = ["a.py", "b.txt", "src/c.py", "src/deep/d.md"]


def random_lines(rng, count):
    return [(" " * rng.choice([0, 0, 4, 8]) + word) if (word := rng.choice(WORDS)) else "" for _ in range(count)]


def random_text(rng):
    ending = "\r\n" if rng.random() < 0.15 else "\n"
    text = ending.join(random_lines(rng, rng.randint(1, 14)))
    return text + ending if rng.random() < 0.8 else text


def blurred(rng, line, how):
    if how == "ends":
        return line + " " * rng.randint(1, 3)
    if how == "around":
        return " " * rng.randint(0, 3) + line.strip() + " "
    return line


def random_hunks(rng, text):
    lines = text.replace("\r\n", "\n").split("\n")
    last = len(lines) - 1 if lines[-1] == "" else len(lines)
    patch, start = [], 0
    for number in range(rng.randint(1, 3)):
        if start >= last:
            break
        at = rng.randint(start, last - 1)
        removed = rng.randint(0, min(2, last - at))
        above = rng.randint(0, min(3, at - start))
        below = rng.randint(0, min(3, last - at - removed))
        how = rng.choice(["", "", "", "ends", "around"])
        header = rng.choice(["@@", "@@", "line", "blurred", "missing"])
        first = at - above
        if header == "line" and first > start:
            patch.append("@@ " + lines[rng.randint(start, first - 1)])
        elif header == "blurred" and first > start:
            patch.append("@@ " + blurred(rng, lines[rng.randint(start, first - 1)], "around"))
        elif header == "missing":
            patch.append("@@ nothing like this")
        elif number > 0 or rng.random() < 0.8:
            patch.append("@@")
        end = at + removed + below
        is_last = end == last and rng.random() < 0.5
        if is_last and last < len(lines):
            end += 1  # the reference wants the empty line behind the last newline
        old = [" " + blurred(rng, line, how) for line in lines[first:at]]
        change = ["-" + line for line in lines[at:at + removed]] + ["+" + line for line in random_lines(rng, rng.randint(0, 2))]
        old += change + [" " + blurred(rng, line, how) for line in lines[at + removed:end]]
        if not old or (is_last and not change):
            patch = patch[:-1] if patch and patch[-1].startswith("@@") else patch
            continue
        patch += [line if line != " " or rng.random() < 0.5 else "" for line in old]
        if is_last:
            patch.append("*** End of File")
            break
        start = end
    return patch


def random_case(rng):
    files = {name: random_text(rng) for name in NAMES if rng.random() < 0.7}
    patch = ["*** Begin Patch"]
    names = list(NAMES) + ["new/e.py", "f.txt"]
    rng.shuffle(names)
    for name in names[:rng.randint(1, 3)]:
        kind = rng.choice(["add", "delete", "update", "update", "update", "update"])
        if rng.random() < 0.03:
            name = rng.choice(["../outside.txt", "src/../../outside.txt", "{outer}/outside.txt", "./" + name])
        if kind == "update" and name not in files and rng.random() < 0.9:
            kind = "add"
        if kind == "add":
            patch += ["*** Add File: " + name] + ["+" + line for line in random_lines(rng, rng.randint(0, 5))]
        elif kind == "delete":
            patch.append("*** Delete File: " + name)
        else:
            patch.append("*** Update File: " + name)
            if rng.random() < 0.15:
                patch.append("*** Move to: " + rng.choice(NAMES + ["moved/g.py", "h.py", "../outside.txt"]))
            patch += random_hunks(rng, files.get(name, "x = 1\n"))
    patch.append("*** End Patch")
    if rng.random() < 0.15:  # a slip of the pen
        index = rng.randrange(len(patch))
        slip = rng.choice(["drop", "twice", "letter", "other", "stars"])
        if slip == "drop":
            del patch[index]
        elif slip == "twice":
            patch.insert(index, patch[index])
        elif slip == "letter":
            patch[index] = "x" + patch[index]
        elif slip == "other":
            patch[index] = " no such line"
        else:
            patch.insert(index, "*** Rename File: q")
    return files, "\n".join(patch) + rng.choice(["", "\n"])


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(files, patch):
    with tempfile.TemporaryDirectory() as outer:
        outer = pathlib.Path(outer)
        work = outer / "work"
        work.mkdir()
        (outer / "outside.txt").write_text("x = 1\n")
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(text.encode())
        before = snapshot(outer)
        os.chdir(work)
        try:
            apply_patch(patch.replace("{outer}", str(outer)))
            error = None
        except Exception as raised:  # any failure is a refusal
            error = f"{type(raised).__name__}"
        os.chdir("/")
        after = snapshot(outer)
        holes = []
        if {k: v for k, v in before.items() if not k.startswith("work/")} != {k: v for k, v in after.items() if not k.startswith("work/")}:
            holes.append("outside")
        targets = [line.split(": ", 1)[1] for line in patch.splitlines() if line.startswith(("*** Add File: ", "*** Move to: "))]
        if error is None and any(os.path.normpath(target) in files for target in targets):
            holes.append("overwrites")
        named = [os.path.normpath(line.split(": ", 1)[1]) for line in patch.splitlines() if line.startswith(MARKERS)]
        if error is None and len(set(named)) < len(named):
            holes.append("twice")
        if error is None and re.search(r"^\*\*\* Update File: .*\n\*\*\* (End Patch|Add|Delete|Update)", patch, re.M):
            holes.append("nothing")
        inside = {k.removeprefix("work/"): v for k, v in after.items() if k.startswith("work/")}
        return None if error else inside, holes


def main():
    out, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    with open(out, "w") as lines:
        for _ in range(count):
            files, patch = random_case(rng)
            after, holes = run(files, patch)
            lines.write(json.dumps({"files": files, "patch": patch, "after": after, "holes": holes}, ensure_ascii=False) + "\n")


main()
